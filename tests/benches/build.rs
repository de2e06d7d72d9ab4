//! What does the gateway add to a build? The same builds, by turns through the gateway and by hand.
//!
//! By hand means: the very bundle that the gateway made for such a build, taken from a run of the gateway by way of a
//! runtime that keeps a copy, run by the same runtime with nothing around it. The clock of the one runs from before
//! CreateBuild until the watcher hears of the end; that of the other is the runtime's alone, its bundle being ready.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use ignite_proto::v1;
use ignite_tests::{
    caller::{Caller, inline, is_terminal},
    command,
    context::{Context, noise},
    gateway::Gateway,
    registry::Registry,
    times::Times,
    wait::eventually_blocking,
};

const RUNTIME: &str = "/usr/sbin/runc";
const RATIO_MAX: f64 = 1.05;
const ADDED_MS_MAX: f64 = 200.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let registry = Registry::shared();
    let cases = [
        ("busybox", on_busybox(registry), 30),
        ("debian", on_debian(registry), 8),
    ];
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let chosen = cases
        .into_iter()
        .filter(|(name, ..)| only.as_ref().is_none_or(|only| only == name));
    let met = chosen.map(|(name, context, pairs)| {
        let request = v1::CreateBuildRequest {
            no_cache: true,
            ..inline(name, &context)
        };
        runtime.block_on(compare(name, request, pairs))
    });
    // All of them, whatever the first says.
    let met: Vec<bool> = met.collect();
    if met.contains(&false) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn on_busybox(registry: &Registry) -> Context {
    let dockerfile = format!(
        "FROM {}\n\
         WORKDIR /app\n\
         COPY . /app\n\
         RUN mkdir -p /app/out && for i in 1 2 3 4 5; do cat assets/$i | sha256sum > out/$i; done\n\
         RUN tar -czf out/src.tar.gz src && chown -R 1000:1000 out\n\
         USER 1000\n\
         CMD [\"cat\", \"/app/out/1\"]\n",
        registry.busybox()
    );
    with_assets(Context::new(&dockerfile))
}

fn on_debian(registry: &Registry) -> Context {
    let dockerfile = format!(
        "FROM {}\n\
         WORKDIR /app\n\
         COPY . /app\n\
         RUN useradd --create-home app && mkdir out && sha256sum assets/* > out/sums\n\
         RUN tar -czf out/assets.tar.gz assets && chown -R app out\n\
         USER app\n\
         CMD [\"cat\", \"/app/out/sums\"]\n",
        registry.debian()
    );
    with_assets(Context::new(&dockerfile))
}

/// Half a megabyte of noise and two hundred small files.
fn with_assets(mut context: Context) -> Context {
    for (name, seed) in ["1", "2", "3", "4", "5"].iter().zip(1..) {
        context = context.file(&format!("assets/{name}"), noise(100 << 10, seed));
    }
    for number in 0..200 {
        context = context.file(
            &format!("src/module{number}.txt"),
            format!("module {number}\n").repeat(50),
        );
    }
    context
}

/// Whether the target is met.
async fn compare(name: &str, request: v1::CreateBuildRequest, pairs: usize) -> bool {
    let by_hand = ByHand::capture(&request).await;
    let gateway = Gateway::builder().setting("runtime", RUNTIME).start();
    let caller = gateway.caller();
    // Once for the caches of the machine.
    by_hand.run();
    build(&caller, &request).await;

    let (mut through, mut hand) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        if pair.is_multiple_of(2) {
            through.push(build(&caller, &request).await);
            wait_until_tidy(&gateway);
            hand.push(by_hand.run());
        } else {
            hand.push(by_hand.run());
            through.push(build(&caller, &request).await);
            wait_until_tidy(&gateway);
        }
    }
    let (through, hand) = (Times::of(&through), Times::of(&hand));
    let above_ms = through.median_ms - RATIO_MAX * hand.median_ms;
    let met = above_ms <= ADDED_MS_MAX;
    println!(
        "build on {name}: gateway {through}, by hand {hand}: ratio {:.3}, gateway - {RATIO_MAX} x by hand = {above_ms:.0} ms \
         (median of {pairs} pairs; at most {ADDED_MS_MAX:.0} ms wanted: {})",
        through.median_ms / hand.median_ms,
        if met { "met" } else { "MISSED" },
    );
    met
}

/// As a client sees it: from the request to the news of the end.
async fn build(caller: &Caller, request: &v1::CreateBuildRequest) -> Duration {
    let start = Instant::now();
    let build_id = caller.create(request.clone()).await;
    let watch = v1::WatchBuildRequest { build_id };
    let mut states = caller.grpc.clone().watch_build(watch).await.unwrap().into_inner();
    while let Some(build) = states.message().await.unwrap() {
        if is_terminal(build.status()) {
            let took = start.elapsed();
            assert_eq!(build.status(), v1::BuildStatus::Succeeded, "{build:#?}");
            return took;
        }
    }
    panic!("the watch ended before the build");
}

/// Until what the gateway does after a build is over: it must not slow down the other side.
fn wait_until_tidy(gateway: &Gateway) {
    let runs = gateway.data_dir().join("runs");
    eventually_blocking("the run to be gone", Duration::from_secs(30), || {
        fs::read_dir(&runs).unwrap().next().is_none().then_some(())
    });
}

/// A run's directory as it was when its container was about to start.
struct ByHand {
    folder: tempfile::TempDir,
    /// Where the gateway had it, and its name there: both stand in the bundle.
    original: PathBuf,
}

// === impl ByHand ===

impl ByHand {
    async fn capture(request: &v1::CreateBuildRequest) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The sandbox's root user must be able to pass.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let (captured, original) = (folder.path().join("captured"), folder.path().join("original"));
        let script = format!(
            "#!/bin/sh\n\
             for arg; do [ \"$before\" = --bundle ] && run=${{arg%/bundle}}; before=$arg; done\n\
             case \"$run\" in ''|*/.*) ;; *) cp -a \"$run\" {} && printf %s \"$run\" > {};; esac\n\
             exec {RUNTIME} \"$@\"\n",
            captured.display(),
            original.display(),
        );
        let wrapper = folder.path().join("runtime");
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        {
            let gateway = Gateway::builder().setting("runtime", wrapper.display()).start();
            build(&gateway.caller(), request).await;
        }
        let original = PathBuf::from(fs::read_to_string(original).unwrap());
        Self { folder, original }
    }

    fn run(&self) -> Duration {
        let here = self.folder.path().join("run");
        self.copy_to(&here);
        let log = File::create(here.join("log")).unwrap();
        let (input, _closed) = io::pipe().unwrap();
        let start = Instant::now();
        let status = Command::new(RUNTIME)
            .arg("--root")
            .arg(here.join("state"))
            .args(["run", "--bundle"])
            .arg(here.join("bundle"))
            .arg("by-hand")
            .stdin(input)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        let took = start.elapsed();
        assert!(
            status.success(),
            "{status}: {}",
            fs::read_to_string(here.join("log")).unwrap()
        );
        fs::remove_dir_all(&here).unwrap();
        took
    }

    fn copy_to(&self, here: &Path) {
        command::run(
            Command::new("cp")
                .arg("-a")
                .arg(self.folder.path().join("captured"))
                .arg(here),
        );
        let config = here.join("bundle/config.json");
        let run = self.original.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace(self.original.to_str().unwrap(), here.to_str().unwrap());
        let group = format!("by-hand-{}", std::process::id());
        assert!(text.contains(run), "the control group is not the run's");
        fs::write(&config, text.replace(run, &group)).unwrap();
    }
}

//! What git servers, registries and receivers of announcements say of secrets that they have got to know.

use std::sync::atomic::{AtomicUsize, Ordering};

use ignite_proto::v1::BuildStatus;
use ignite_tests::{
    caller::{BUILD_DEADLINE, git, inline},
    context::Context,
    gateway::{Gateway, PLATFORM},
    parrot::{Answer, Parrot},
    paths,
    planted::{forms, values},
    wait::eventually,
};

use super::scene::{Given, Scene, arg_lines, with_args};

/// What fits on a line of an error message.
const SHORT_BYTES_MAX: usize = 90;

/// Short forms of all secrets, so many together as `bytes_max` holds.
fn pieces(bytes_max: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for (_, value) in values::all() {
        for form in forms::of(&value) {
            let text = String::from_utf8(form.printed).unwrap();
            if text.len() > SHORT_BYTES_MAX || text.contains(['\n', '\r', '\x1b']) {
                continue;
            }
            if pieces.last().unwrap().len() + text.len() + 1 > bytes_max {
                pieces.push(String::new());
            }
            let last = pieces.last_mut().unwrap();
            last.push_str(&text);
            last.push(' ');
        }
    }
    pieces
}

/// A build that must fail, and what its error and log hold.
async fn failed(scene: &mut Scene, request: ignite_proto::v1::CreateBuildRequest) -> String {
    let id = scene.begin(request).await;
    let build = scene.caller.wait_terminal(&id).await;
    let log = scene.log(&id).await;
    assert_eq!(build.status(), BuildStatus::Failed, "{build:#?}\n{log}");
    format!("{}\n{log}", build.error)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_servers_say_is_nowhere() {
    let texts = pieces(180);
    let said = texts.clone();
    let server = Parrot::start(move |_, path| {
        let index: usize = path
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let line = format!("ERR {}", said[index]);
        let body = format!("001e# service=git-upload-pack\n0000{:04x}{line}", line.len() + 4);
        Answer {
            status: "200 OK",
            headers: "content-type: application/x-git-upload-pack-advertisement\r\n".to_owned(),
            body: body.into_bytes(),
        }
    });
    let mut scene = Scene::start(Gateway::builder().setting("builds_running_max", 3), Given::AsArgs).await;
    let mut masks = 0;
    for index in (0..texts.len()).step_by(texts.len() / 8) {
        let url = format!("http://{}/{index}/app.git", server.address());
        let said = failed(&mut scene, with_args(git("said", &url, "main", ""))).await;
        masks += said.matches("***").count();
    }
    println!("{masks} secrets taken out of what git says");
    assert!(server.asked() >= 8 && masks >= 8, "{masks}");
    scene.nothing_is_found().await;
}

/// A registry that refuses with a text: `docker-registry` repeats no secrets, but others do.
fn refusing(texts: Vec<String>) -> Parrot {
    Parrot::start(move |_, path| {
        if path == "/v2/" {
            return Answer {
                status: "200 OK",
                headers: "docker-distribution-api-version: registry/2.0\r\n".to_owned(),
                body: b"{}".to_vec(),
            };
        }
        // The name tells which text: `/v2/acme/refused-7/…`.
        let index = path.split(['/', '-']).find_map(|part| part.parse::<usize>().ok());
        let text = &texts[index.unwrap_or(0) % texts.len()];
        let body = serde_json::json!({"errors": [{"code": "DENIED", "message": text, "detail": text}]});
        Answer {
            status: "403 Forbidden",
            headers: "content-type: application/json\r\n".to_owned(),
            body: body.to_string().into_bytes(),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_registries_say_is_nowhere() {
    let texts = pieces(4000);
    let count = texts.len();
    let registry = refusing(texts);
    let address = registry.address().to_owned();
    let mut pulling = Scene::start(Gateway::builder(), Given::AsArgs).await;
    let mut masks = 0;
    for index in 0..count {
        let context = Context::new(&format!("FROM {address}/base/refused-{index}:1\n{}", arg_lines()));
        let said = failed(&mut pulling, with_args(inline("pulling", &context))).await;
        masks += said.matches("***").count();
    }
    let builder = Gateway::builder().setting("registry", &address);
    let mut pushing = Scene::start(builder, Given::AsArgs).await;
    for index in 0..count {
        let context = Context::scratch(&arg_lines());
        let asked = with_args(inline(&format!("refused-{index}"), &context));
        let said = failed(&mut pushing, asked).await;
        masks += said.matches("***").count();
    }
    println!("{masks} secrets taken out of {count} texts, said twice");
    assert!(masks > 200, "{masks}");
    pulling.nothing_is_found().await;
    pushing.nothing_is_found().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_receivers_say_is_nowhere() {
    // As much of an answer as the plugin passes on.
    let texts = pieces(150);
    let said = AtomicUsize::new(0);
    let receiver = Parrot::start(move |_, _| {
        let next = said.fetch_add(1, Ordering::Relaxed);
        Answer {
            status: "200 OK",
            headers: String::new(),
            body: texts[next % texts.len()].clone().into_bytes(),
        }
    });
    let builder = Gateway::builder().setting("plugin_private_addresses_allowed", true);
    let mut scene = Scene::start(builder, Given::AsArgs).await;
    let platform = scene.gateway.cli_of("platform", PLATFORM);
    platform.run(&["plugin", "push", &paths::plugin("hostile/puppet")]);
    let address = receiver.address();
    let policy = format!(
        "[[plugin]]\nname = 'puppet'\nversion = '0.1.0'\nhooks = ['notify']\nhosts = ['http://{address}']\n\
         [plugin.config]\nnotify = {{ call = {{ url = 'http://{address}/', tell = true }} }}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    platform.run(&["policy", "put", file.to_str().unwrap()]);
    let mut masks = 0;
    for index in 0..12 {
        let asked = with_args(inline(&format!("told-{index}"), &Context::scratch(&arg_lines())));
        let id = scene.begin(asked).await;
        scene.caller.wait_terminal(&id).await;
        let build = eventually("the report of its announcement", BUILD_DEADLINE, async || {
            let build = scene.caller.get(&id).await;
            let is_told = build.hook_reports.iter().any(|report| report.hook == "notify");
            is_told.then_some(build)
        })
        .await;
        let messages = build.hook_reports.iter().flat_map(|report| &report.messages);
        masks += messages
            .map(|message| message.matches("***").count())
            .sum::<usize>();
    }
    println!("{masks} secrets taken out of what receivers say");
    assert!(masks > 30, "{masks}");
    scene.nothing_is_found().await;
}

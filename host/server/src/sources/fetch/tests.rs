use std::{cell::RefCell, os::unix::fs::symlink};

use super::*;
use crate::sources::git::tests::{Upstream, commit, open_rules};

/// A run's directory.
struct Run {
    dir: tempfile::TempDir,
    /// The step's standard input.
    login: Option<GitLogin>,
    build_args: BTreeMap<String, bool>,
    lines: RefCell<Vec<String>>,
}

// === impl Run ===

impl Run {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            login: None,
            build_args: BTreeMap::new(),
            lines: RefCell::default(),
        }
    }

    /// Runs the step, which must say what it wrote.
    fn fetch(&self, source: RunSource, dockerfile: &str) -> Result<FetchReport, Failed> {
        let plan = FetchPlan {
            source,
            dockerfile: dockerfile.to_owned(),
            limits: ArchiveLimits::default(),
            git: open_rules(),
            has_login: self.login.is_some(),
            build_args: self.build_args.clone(),
        };
        fs::write(
            self.dir.path().join(PLAN_FILE),
            serde_json::to_vec(&plan).unwrap(),
        )
        .unwrap();
        self.run()
    }

    fn run(&self) -> Result<FetchReport, Failed> {
        let input = serde_json::to_vec(&self.login).unwrap();
        let said = run_with(self.dir.path(), &mut input.as_slice(), &mut |line| {
            self.lines.borrow_mut().push(line.to_owned());
        })
        .unwrap();
        let written = |name| fs::read(self.dir.path().join(name)).ok();
        match (&said, written(REPORT_FILE), written(FAILED_FILE)) {
            (Ok(report), Some(written), None) => {
                assert_eq!(serde_json::from_slice::<FetchReport>(&written).unwrap(), *report);
            }
            (Err(failed), None, Some(written)) => {
                assert_eq!(serde_json::from_slice::<Failed>(&written).unwrap(), *failed);
                assert!(!self.workspace().exists() || self.files().is_empty());
            }
            other => panic!("{other:?}"),
        }
        said
    }

    /// Runs the step on an archive of what `fill` makes of a directory.
    fn fetch_archive(&self, dockerfile: &str, fill: impl FnOnce(&Path)) -> Result<FetchReport, Failed> {
        let tree = tempfile::tempdir().unwrap();
        fill(tree.path());
        let mut builder = tar::Builder::new(Vec::new());
        builder.follow_symlinks(false);
        builder.append_dir_all(".", tree.path()).unwrap();
        let (path, sha256) = self.keep(&builder.into_inner().unwrap());
        self.fetch(RunSource::Archive { path, sha256 }, dockerfile)
    }

    fn keep(&self, archive: &[u8]) -> (std::path::PathBuf, String) {
        let path = self.dir.path().join("blob");
        fs::write(&path, archive).unwrap();
        (path, hex::encode(Sha256::digest(archive)))
    }

    fn workspace(&self) -> std::path::PathBuf {
        self.dir.path().join(WORKSPACE_DIR)
    }

    fn files(&self) -> Vec<String> {
        git::tests::files(&self.workspace())
    }
}

fn write(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
    fs::write(dir.join(path), content).unwrap();
}

#[track_caller]
fn assert_failed(outcome: Result<FetchReport, Failed>, failure: FetchFailure, why: &str) {
    let failed = outcome.unwrap_err();
    assert!(
        failed.failure == failure && failed.message.contains(why),
        "{failed:?}"
    );
}

#[test]
fn an_archive_is_unpacked_and_reported() {
    let run = Run::new();
    let report = run.fetch_archive("docker/Dockerfile", |tree| {
        write(tree, "docker/Dockerfile", "FROM scratch\n");
        write(tree, "data", vec![0; 34_000]);
    });
    let report = report.unwrap();
    assert_eq!(report.context_size_bytes, 34_013);
    assert_eq!(report.dockerfile.as_deref(), Some("FROM scratch\n"));
    assert_eq!(report.resolved_commit, None);
    assert_eq!(run.files(), ["data", "docker/Dockerfile"]);
    assert_eq!(
        *run.lines.borrow(),
        ["Unpacking the context (37.8 kB)", "Context: 2 files, 34.0 kB"]
    );
}

#[test]
fn a_step_that_was_interrupted_starts_over() {
    let run = Run::new();
    write(&run.workspace(), "left/over", "x");
    symlink("/etc", run.workspace().join("link")).unwrap();
    fs::write(run.dir.path().join(FAILED_FILE), "{}").unwrap();
    run.fetch_archive("Dockerfile", |tree| write(tree, "Dockerfile", "FROM scratch"))
        .unwrap();
    assert_eq!(run.files(), ["Dockerfile"]);
    run.run().unwrap();
}

#[test]
fn a_stored_context_that_is_gone_or_changed_is_our_fault() {
    let run = Run::new();
    let source = RunSource::Archive {
        path: run.dir.path().join("gone"),
        sha256: "00".to_owned(),
    };
    assert_failed(
        run.fetch(source, "Dockerfile"),
        FetchFailure::Internal,
        "opening the stored context",
    );
    let (path, _) = run.keep(&[0; 1024]);
    let source = RunSource::Archive {
        path,
        sha256: "00".repeat(32),
    };
    assert_failed(
        run.fetch(source, "Dockerfile"),
        FetchFailure::Internal,
        "not what was uploaded",
    );
    fs::write(run.dir.path().join(PLAN_FILE), "no plan").unwrap();
    assert_failed(run.run(), FetchFailure::Internal, "reading the plan");
}

#[test]
fn a_refused_archive_is_the_sources_fault() {
    let run = Run::new();
    let (path, sha256) = run.keep(b"no archive");
    let outcome = run.fetch(RunSource::Archive { path, sha256 }, "Dockerfile");
    assert_failed(outcome, FetchFailure::Source, "not a tar");
    assert!(run.lines.borrow().last().unwrap().starts_with("Error: not a tar"));
}

#[test]
fn a_missing_dockerfile_is_told_with_what_there_is() {
    let run = Run::new();
    let outcome = run.fetch_archive("Dockerfile", |tree| {
        write(tree, "app/Dockerfile.prod", "FROM scratch");
        write(tree, "dockerfile", "FROM scratch");
        write(tree, "Dockerfile.dockerignore", "");
    });
    let message =
        "the Dockerfile \"Dockerfile\" is not in the context; it has app/Dockerfile.prod, dockerfile";
    assert_failed(outcome, FetchFailure::Dockerfile, message);
    let outcome = run.fetch_archive("a/b", |tree| write(tree, "a", "FROM scratch"));
    assert_failed(
        outcome,
        FetchFailure::Dockerfile,
        "is not in the context; it has none under another name",
    );
    let outcome = run.fetch_archive("a", |tree| write(tree, "a/Dockerfile", "FROM scratch"));
    assert_failed(
        outcome,
        FetchFailure::Dockerfile,
        "is not a file of the context; it has a/Dockerfile",
    );
}

#[test]
fn a_dockerfile_may_be_a_link_that_stays_inside() {
    let run = Run::new();
    let report = run.fetch_archive("Dockerfile", |tree| {
        write(tree, "docker/main", "FROM scratch");
        symlink("docker/main", tree.join("Dockerfile")).unwrap();
    });
    assert_eq!(report.unwrap().dockerfile.as_deref(), Some("FROM scratch"));
    for target in [
        "/etc/passwd",
        "../../../../etc/passwd",
        "/proc/self/environ",
        "Dockerfile",
    ] {
        let outcome = run.fetch_archive("Dockerfile", |tree| {
            symlink(target, tree.join("Dockerfile")).unwrap();
        });
        assert_failed(outcome, FetchFailure::Dockerfile, "leads out of the context");
    }
    let outcome = run.fetch_archive("d/passwd", |tree| symlink("/etc", tree.join("d")).unwrap());
    assert_failed(outcome, FetchFailure::Dockerfile, "leads out of the context");
}

#[test]
fn a_dockerfile_that_is_no_short_text_is_not_reported() {
    let run = Run::new();
    for content in [vec![b'x'; (1 << 20) + 1], vec![0xff, 0xfe]] {
        let report = run.fetch_archive("Dockerfile", |tree| write(tree, "Dockerfile", content));
        assert_eq!(report.unwrap().dockerfile, None);
    }
    let whole = "#".repeat(1 << 20);
    let report = run.fetch_archive("Dockerfile", |tree| write(tree, "Dockerfile", &whole));
    assert_eq!(report.unwrap().dockerfile, Some(whole));
}

#[test]
fn a_git_source_is_cloned_and_its_context_dir_measured() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    fs::create_dir(app.join("sub")).unwrap();
    symlink("../Dockerfile.shared", app.join("sub/linked")).unwrap();
    let id = commit(
        &app,
        &[
            ("Dockerfile.shared", "FROM shared"),
            ("sub/Dockerfile", "FROM scratch"),
            ("sub/data", "12345"),
            ("other", "not of the context"),
        ],
    );
    let run = Run::new();
    let source = upstream.source("app", "main", "sub");
    let report = run.fetch(RunSource::Git(source.clone()), "Dockerfile").unwrap();
    assert_eq!(report.resolved_commit, Some(id));
    assert_eq!(report.context_size_bytes, 17);
    assert_eq!(report.dockerfile.as_deref(), Some("FROM scratch"));
    assert!(run.files().contains(&"other".to_owned()));
    let linked = run.fetch(RunSource::Git(source.clone()), "linked").unwrap();
    assert_eq!(linked.dockerfile.as_deref(), Some("FROM shared"));
    let outcome = run.fetch(RunSource::Git(source), "missing");
    assert_failed(outcome, FetchFailure::Dockerfile, "it has Dockerfile");
    let private = upstream.source("private/app", "main", "");
    assert_failed(
        run.fetch(RunSource::Git(private), "Dockerfile"),
        FetchFailure::Auth,
        "credentials",
    );
    let unknown = upstream.source("app", "nowhere", "");
    assert_failed(
        run.fetch(RunSource::Git(unknown), "Dockerfile"),
        FetchFailure::Source,
        "nowhere",
    );
}

#[test]
fn sizes_are_shown_in_decimal_units() {
    for (bytes, shown) in [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_999, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (34_560_000_000, "34.5 GB"),
    ] {
        assert_eq!(shown_size(bytes), shown);
    }
}

#[test]
fn a_login_comes_by_standard_input_and_is_in_no_file() {
    let upstream = Upstream::new();
    let repository = upstream.repository("app");
    commit(&repository, &[("Dockerfile", "FROM scratch\n")]);
    let source = || {
        let url = upstream.url("guarded/app");
        RunSource::Git(ignite_core::spec::GitSource {
            url,
            ..upstream.source("", "main", "")
        })
    };
    let refused = Run::new().fetch(source(), "Dockerfile").unwrap_err();
    assert_eq!(refused.failure, FetchFailure::Auth);
    let mut run = Run::new();
    run.login = Some(git::tests::password(&[]));
    assert!(run.fetch(source(), "Dockerfile").is_ok());
    for entry in walkdir::WalkDir::new(run.dir.path()).into_iter().flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(git::tests::PASSWORD), "{}", entry.path().display());
    }
}

#[test]
fn a_damaged_login_is_our_fault_and_not_quoted() {
    let error = read_login(&mut br#"{"hosts": hunter2"#.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "it is damaged");
}

#[test]
fn the_log_warns_of_secrets_that_end_in_the_image() {
    let mut run = Run::new();
    run.build_args = [("TOKEN", true), ("PLAIN", false)]
        .map(|(name, secret)| (name.to_owned(), secret))
        .into();
    run.fetch_archive("Dockerfile", |tree| {
        let text = "FROM scratch\nARG TOKEN\nARG PLAIN\nENV A=$PLAIN\nENV B=$TOKEN\nRUN use $TOKEN\n";
        fs::write(tree.join("Dockerfile"), text).unwrap();
    })
    .unwrap();
    let lines = run.lines.borrow();
    let warnings: Vec<_> = lines.iter().filter(|line| line.contains("warning")).collect();
    assert_eq!(
        warnings,
        [
            "[ignite] warning: Dockerfile line 5: ENV puts the secret TOKEN into the image's configuration, for everybody \
             who can pull it; in a RUN step take it by --mount=type=secret,id=TOKEN"
        ]
    );
}

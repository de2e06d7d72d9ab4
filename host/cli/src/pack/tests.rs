//! Packs real folders and has the system's own `tar` say what is in the result.

use std::{
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::*;

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn pack_all(root: &Path, dockerfile: &str) -> (Vec<u8>, Packed) {
    let mut packed = pack(root, dockerfile, 1 << 20, &mut |_| {}).unwrap();
    let mut bytes = Vec::new();
    packed.archive.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, packed.size_bytes);
    (bytes, packed)
}

fn tar(args: &[&str], archive: &[u8]) -> String {
    let mut child = Command::new("tar")
        .args(args)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What `tar tzf` lists.
fn names(archive: &[u8]) -> Vec<String> {
    let listed = tar(&["tzf", "-", "--quoting-style=literal"], archive);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_folder_unpacks_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("context");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    write(&root, "Dockerfile", b"FROM scratch\n");
    write(&root, "b/run.sh", b"#!/bin/sh\n");
    write(&root, "größe/日本.txt", b"x");
    write(&root, &long, b"long");
    fs::create_dir(root.join("empty")).unwrap();
    fs::set_permissions(root.join("b/run.sh"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::hard_link(root.join("Dockerfile"), root.join("hard")).unwrap();
    let far = "t".repeat(150);
    for (target, link) in [
        ("./b/../Dockerfile", "link"),
        ("/etc/passwd", "out"),
        ("nowhere", "broken"),
        (&far, "far"),
    ] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
    File::open(root.join("b/run.sh"))
        .unwrap()
        .set_modified(at)
        .unwrap();

    let (archive, packed) = pack_all(&root, "Dockerfile");
    assert!(packed.warnings.is_empty());
    let listed = tar(&["tvzf", "-", "--numeric-owner", "--full-time"], &archive);
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap();
    assert!(line("b/run.sh").starts_with("-rwsr-x--x 0/0"), "{listed}");
    assert!(line("b/run.sh").contains("2017-07-14 02:40:00"), "{listed}");
    assert!(line(" b/\n".trim_end()).starts_with("drwxr-s--- 0/0"), "{listed}");
    assert!(line(" hard").starts_with('-'), "{listed}");

    let target = dir.path().join("unpacked");
    fs::create_dir(&target).unwrap();
    tar(&["xzf", "-", "-C", target.to_str().unwrap()], &archive);
    let same = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(&root)
        .arg(&target)
        .status();
    assert!(same.unwrap().success());
    assert_eq!(
        fs::read_link(target.join("link")).unwrap(),
        Path::new("./b/../Dockerfile")
    );
    assert_eq!(fs::read_link(target.join("far")).unwrap(), Path::new(&far));
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["z", "a/b", "a.b", "a/a", "Dockerfile", "a-b"] {
        write(dir.path(), name, name.as_bytes());
    }
    let (first, _) = pack_all(dir.path(), "Dockerfile");
    // Another inode order and access time.
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", dir.path().display()))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    let (second, _) = pack_all(copy.path(), "Dockerfile");
    assert_eq!(first, second);
    assert_eq!(
        names(&first),
        ["Dockerfile", "a/", "a/a", "a/b", "a-b", "a.b", "z"]
    );
}

#[test]
fn what_no_image_can_hold_stays_out_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Dockerfile", b"FROM scratch");
    let _listener = UnixListener::bind(dir.path().join("sock")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let (archive, packed) = pack_all(dir.path(), "Dockerfile");
    assert_eq!(names(&archive), ["Dockerfile"]);
    assert_eq!(
        packed.warnings,
        ["pipe is a pipe and stays out", "sock is a socket and stays out"]
    );
}

#[test]
fn ignored_files_stay_out_but_the_dockerfile_and_the_rules_never_do() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "docker/Dockerfile",
        "docker/other",
        "src/main.c",
        "src/keep/x",
        "src/keep/y",
        "note.md",
        ".dockerignore",
    ] {
        write(dir.path(), name, b"x");
    }
    write(dir.path(), ".dockerignore", b"*\n!src/keep/x\n");
    let (archive, _) = pack_all(dir.path(), "docker/Dockerfile");
    assert_eq!(
        names(&archive),
        [
            ".dockerignore",
            "docker/",
            "docker/Dockerfile",
            "src/",
            "src/keep/",
            "src/keep/x"
        ]
    );
    // The Dockerfile's own rules replace the folder's.
    write(dir.path(), "docker/Dockerfile.dockerignore", b"src\n*.md\n");
    let (archive, _) = pack_all(dir.path(), "docker/Dockerfile");
    assert_eq!(
        names(&archive),
        [
            ".dockerignore",
            "docker/",
            "docker/Dockerfile",
            "docker/Dockerfile.dockerignore",
            "docker/other"
        ]
    );
}

#[test]
fn a_large_folder_goes_to_a_file_and_not_to_memory() {
    let dir = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..300_000).map(|_| rand::random()).collect();
    write(dir.path(), "noise", &noise);
    let mut read_bytes = 0;
    let packed = pack(dir.path(), "Dockerfile", 100_000, &mut |done| read_bytes = done).unwrap();
    assert!(packed.archive.is_rolled() && packed.size_bytes > 300_000);
    assert_eq!(read_bytes, 300_000);
    let (_, small) = pack_all(dir.path(), "Dockerfile");
    assert!(!small.archive.is_rolled());
}

#[test]
fn errors_say_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = |result: Result<Packed>| result.unwrap_err().to_string();
    let missing = dir.path().join("missing");
    assert!(error(pack(&missing, "Dockerfile", 0, &mut |_| {})).ends_with("missing does not exist"));
    assert!(error(pack(dir.path(), "Dockerfile", 0, &mut |_| {})).ends_with("has nothing to send"));
    write(dir.path(), "file", b"x");
    assert!(error(pack(&dir.path().join("file"), "Dockerfile", 0, &mut |_| {})).ends_with("is not a folder"));

    let root = context_root(dir.path()).unwrap();
    let locate = |name: &str| locate_dockerfile(&root, name).map_err(|error| error.to_string());
    assert!(
        locate("Dockerfile")
            .unwrap_err()
            .contains("there is no Dockerfile in")
    );
    assert!(locate("../Dockerfile").unwrap_err().contains("stay inside"));
    assert!(locate("/etc/passwd").unwrap_err().contains("relative"));
    write(dir.path(), "docker/app", b"FROM scratch");
    assert_eq!(locate("./docker//app").unwrap(), "docker/app");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tree_is_listed_by_tar_as_it_is_on_disk(
        paths in proptest::collection::btree_set("[a-cé ]{1,3}(/[a-cé.]{0,2}x){0,3}", 1..12)
    ) {
        let dir = tempfile::tempdir().unwrap();
        for path in &paths {
            let path = dir.path().join(path);
            if fs::create_dir_all(path.parent().unwrap()).is_ok() {
                let _ = fs::write(path, b"content");
            }
        }
        let (archive, _) = pack_all(dir.path(), "Dockerfile");
        let mut expected: Vec<String> = WalkDir::new(dir.path()).min_depth(1).into_iter().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
            if entry.file_type().is_dir() { name + "/" } else { name }
        }).collect();
        let mut listed = names(&archive);
        expected.sort();
        listed.sort();
        prop_assert_eq!(listed, expected);
    }
}

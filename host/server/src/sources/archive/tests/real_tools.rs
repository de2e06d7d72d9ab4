//! What people's own tools make of a tree unpacks to that tree.

use std::process::Command;

use super::*;

const LONG: &str = "a directory whose name is long enough that no old header can hold it/another one of the same \
                    length, so that the two are past a hundred bytes/and a file below them with a name of its own";

fn sample(root: &Path) {
    let write = |path: &str, content: &[u8], mode: u32| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("Dockerfile", b"FROM scratch\n", 0o644);
    write("src/main.c", &[b'x'; 100_000], 0o600);
    write("bin/run me", b"#!/bin/sh\n", 0o755);
    write("zażółć/gęślą jaźń.txt", "日本語".as_bytes(), 0o644);
    write(LONG, b"long", 0o444);
    write("setuid", b"s", 0o4755);
    write("empty", b"", 0o640);
    fs::create_dir(root.join("empty dir")).unwrap();
    fs::set_permissions(root.join("empty dir"), fs::Permissions::from_mode(0o1777)).unwrap();
    std::os::unix::fs::symlink("../bin/run me", root.join("src/relative")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("absolute")).unwrap();
    std::os::unix::fs::symlink(LONG, root.join("far")).unwrap();
}

/// Runs a tool in the tree; its archive is compared with the tree itself, times included.
fn assert_same(root: &Path, tool: &str, args: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("archive");
    let args: Vec<&str> = args
        .iter()
        .map(|arg| {
            if *arg == "ARCHIVE" {
                archive.to_str().unwrap()
            } else {
                arg
            }
        })
        .collect();
    let output = Command::new(tool).args(&args).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let dest = place.path().join("dest");
    fs::create_dir(&dest).unwrap();
    let file = File::open(&archive).unwrap();
    let summary = unpack(&file, &dest, &ArchiveLimits::default()).unwrap_or_else(|e| panic!("{args:?}: {e}"));
    assert_eq!(inspect(&file, &ArchiveLimits::default()).unwrap(), summary);
    assert_eq!(tree(&dest), tree(root), "{tool} {args:?}");
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let path = entry.unwrap().into_path();
        let mine = dest.join(path.strip_prefix(root).unwrap());
        let (theirs, mine) = (path.symlink_metadata().unwrap(), mine.symlink_metadata().unwrap());
        assert!(
            (theirs.mtime() - mine.mtime()).abs() <= 1,
            "{path:?} by {tool} {args:?}"
        );
        if theirs.is_file() {
            let mine = dest.join(path.strip_prefix(root).unwrap());
            assert!(fs::read(&path).unwrap() == fs::read(mine).unwrap(), "{path:?}");
        }
    }
}

#[test]
fn gnu_tar_in_every_format() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path());
    fs::hard_link(
        root.path().join("src/main.c"),
        root.path().join("src/second name"),
    )
    .unwrap();
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        assert_same(
            root.path(),
            "tar",
            &["czf", "ARCHIVE", &format!("--format={format}"), "."],
        );
    }
    assert_same(
        root.path(),
        "tar",
        &["cf", "ARCHIVE", "--zstd", "--sort=name", "."],
    );
    assert_same(
        root.path(),
        "tar",
        &["cf", "ARCHIVE", "--blocking-factor=2000", "."],
    );
    assert_same(root.path(), "sh", &["-c", "tar cf \"$0\" *", "ARCHIVE"]);
}

#[test]
fn older_tar_formats() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path());
    fs::remove_file(root.path().join("far")).unwrap();
    assert_same(root.path(), "tar", &["czf", "ARCHIVE", "--format=ustar", "."]);
    fs::remove_dir_all(root.path().join(LONG.split('/').next().unwrap())).unwrap();
    assert_same(root.path(), "tar", &["czf", "ARCHIVE", "--format=v7", "."]);
}

#[test]
fn gnu_tar_sparse_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    File::create(root.path().join("hole"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    for format in ["gnu", "pax"] {
        let output = Command::new("tar")
            .args(["c", "--sparse", &format!("--format={format}"), "hole"])
            .current_dir(root.path())
            .output()
            .unwrap();
        let message = refusal(&output.stdout, &ArchiveLimits::default());
        assert!(message.contains("sparse"), "{message}");
    }
}

#[test]
fn git_archive() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path());
    for path in ["empty dir", "setuid", "src/main.c", "empty"] {
        let path = root.path().join(path);
        fs::remove_dir_all(&path)
            .or_else(|_| fs::remove_file(&path))
            .unwrap();
    }
    fs::set_permissions(root.path().join(LONG), fs::Permissions::from_mode(0o644)).unwrap();
    let git = |args: &[&str]| {
        let identity = [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "init.defaultBranch=main",
        ];
        let status = Command::new("git")
            .args(identity)
            .args(args)
            .current_dir(root.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        status.stdout
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "x"]);
    let archive = git(&["-c", "tar.umask=0022", "archive", "--format=tar.gz", "HEAD"]);
    fs::remove_dir_all(root.path().join(".git")).unwrap();
    assert_eq!(unpacked(&archive).unwrap().0, tree(root.path()));
}

#[test]
fn info_zip() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path());
    // Without an ending in its name it would get one.
    assert_same(root.path(), "sh", &["-c", "zip -qry - . > \"$0\"", "ARCHIVE"]);
    assert_same(
        root.path(),
        "sh",
        &["-c", "zip -qry \"$0.zip\" . && mv \"$0.zip\" \"$0\"", "ARCHIVE"],
    );
}

#[test]
fn python_zipfile() {
    let root = tempfile::tempdir().unwrap();
    sample(root.path());
    // zipfile follows links.
    for link in ["src/relative", "absolute", "far"] {
        fs::remove_file(root.path().join(link)).unwrap();
    }
    let script = r"
import os, sys, time, zipfile
def add(out, **options):
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as z:
        for at, dirs, files in os.walk('.'):
            for name in dirs + files:
                path = os.path.join(at, name)
                info = zipfile.ZipInfo.from_file(path)
                info.date_time = time.gmtime(os.stat(path).st_mtime)[:6]
                if os.path.isdir(path):
                    z.writestr(info, b'')
                else:
                    info.compress_type = zipfile.ZIP_DEFLATED
                    with open(path, 'rb') as f, z.open(info, 'w', force_zip64=sys.argv[2] == 'zip64') as to:
                        to.write(f.read())
class Pipe:
    def __init__(self, to): self.to = to
    def write(self, bytes): return self.to.write(bytes)
    def flush(self): self.to.flush()
with open(sys.argv[1], 'wb') as out:
    add(Pipe(out) if sys.argv[2] == 'pipe' else out)
";
    for way in ["file", "pipe", "zip64"] {
        assert_same(root.path(), "python3", &["-c", script, "ARCHIVE", way]);
    }
}

#[test]
fn a_zip_past_65535_entries_uses_zip64() {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("many.zip");
    let script = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    for n in range(70000): z.writestr(str(n), b'')
";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(&archive)
        .status()
        .unwrap();
    assert!(status.success());
    let summary = inspect(&File::open(&archive).unwrap(), &ArchiveLimits::default()).unwrap();
    assert_eq!(summary.files, 70_000);
}

//! Where the things are that a test needs: what `make setup` made, and this workspace's binaries.

use std::{env, fs, path::PathBuf, sync::LazyLock};

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// A path that `make setup` recorded: `KANIKO`, `DEBIAN_IMAGE`, `BUSYBOX_IMAGE`, `GRPCURL`, `PYTHON`,
/// `PLUGINS`.
pub fn made_by_setup(name: &str) -> String {
    static RECORD: LazyLock<String> = LazyLock::new(|| {
        fs::read_to_string(repository().join(".cache/paths"))
            .expect("nothing is set up here: run `make setup`")
    });
    RECORD
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("{name} is not set up: run `make setup`"))
        .to_owned()
}

/// The component of a sample plugin.
pub fn plugin(name: &str) -> String {
    format!("{}/{name}.wasm", made_by_setup("PLUGINS"))
}

/// A binary of this workspace, of the same profile as the running test.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.parent().and_then(|deps| deps.parent()).unwrap().join(name);
    assert!(
        path.is_file(),
        "{} is not built: run `cargo build --workspace --bins`",
        path.display()
    );
    path
}

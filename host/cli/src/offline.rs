//! The gateway's plugin runtime in this process: plugins and policies are tried with the very code that will run them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use ignite_core::{hook::ConfigProblem, ids::PluginDigest, policy::Settings as PluginSettings};
use ignite_plugins::{
    AdmitError, Admitted, ComponentSource, Plugin, Runtime, RuntimeError, RuntimeOptions,
    config::{self, ConfigError},
    schema,
};

use crate::{
    error::{Error, Result},
    settings::{Env, process_env},
};

/// First argument of the child that compiles a component; see [`ignite_plugins::runtime::compile_child`].
pub(crate) const COMPILE_CHILD: &str = "compile-plugin";

// The limits are the gateway's defaults: what is taken here is taken there, unless its operator chose otherwise.
const COMPONENT_BYTES_MAX: usize = 64 << 20;
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
const COMPILE_MEMORY_BYTES: u64 = 4 << 30;
const CALLS_MAX: usize = 8;

/// The runtime and the components that were shown to it.
#[derive(Debug)]
pub(crate) struct Offline {
    pub(crate) runtime: Arc<Runtime>,
    schema_checker: Vec<String>,
    shelf: Arc<Shelf>,
    /// Where there is no folder for caches, one that goes when this does.
    _throwaway: Option<tempfile::TempDir>,
}

#[derive(Debug, Default)]
struct Shelf(Mutex<BTreeMap<String, Bytes>>);

// === impl Offline ===

impl Offline {
    /// Must be called inside the async runtime.
    pub(crate) fn new() -> Result<Self> {
        let unusable = |error| Error::local("cannot use the cache for compiled plugins", error);
        let (folder, throwaway) = match cache_dir(&process_env) {
            Some(folder) => (folder, None),
            None => {
                let folder = tempfile::tempdir().map_err(unusable)?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(unusable)?;
        let own = std::env::current_exe().map_err(|error| Error::local("cannot find this program", error))?;
        let own = own
            .into_os_string()
            .into_string()
            .map_err(|_| Error::input("the path of this program must be UTF-8"))?;
        let options = RuntimeOptions {
            cache_key: cache_key(&folder.join("plugins.key")).map_err(unusable)?,
            cache_dir: folder.join("plugins"),
            compiler: vec![own.clone(), COMPILE_CHILD.to_owned()],
            calls_max: CALLS_MAX,
            component_bytes_max: COMPONENT_BYTES_MAX,
            compile_timeout: COMPILE_TIMEOUT,
            compile_memory_bytes: COMPILE_MEMORY_BYTES,
            // The tester's own machine, and a receiver of announcements on it.
            private_addresses_allowed: true,
        };
        let shelf = Arc::<Shelf>::default();
        let source = Arc::clone(&shelf);
        Ok(Self {
            runtime: Runtime::new(options, source).map_err(engine)?,
            schema_checker: vec![own, schema::CHILD_COMMAND.to_owned()],
            shelf,
            _throwaway: throwaway,
        })
    }

    /// Checks a component as an upload would. The inner error says why the gateway would not take it.
    pub(crate) async fn admit(&self, component: Bytes) -> Result<Result<Admitted, String>> {
        match self.runtime.admit(component.clone()).await {
            Ok(admitted) => {
                self.shelf.put(&admitted.digest, component);
                Ok(Ok(admitted))
            }
            Err(AdmitError::Runtime(error)) => Err(engine(error)),
            Err(refused) => Ok(Err(chain(&refused))),
        }
    }

    /// A file's component, which must be one that the gateway would take.
    pub(crate) async fn load(&self, path: &Path) -> Result<Admitted> {
        let admitted = self.admit(read(path)?).await?;
        admitted.map_err(|why| Error::input(format!("{}: {why}", path.display())))
    }

    pub(crate) async fn plugin(&self, digest: &PluginDigest) -> Result<Arc<Plugin>> {
        let plugin = self.runtime.plugin(digest).await;
        plugin.map_err(|error| Error::input(error.to_string()))
    }

    /// What is wrong with the configuration in `settings`, as the gateway would find it when a policy is put.
    pub(crate) async fn config_problems(
        &self,
        admitted: &Admitted,
        settings: &PluginSettings,
    ) -> std::result::Result<Vec<ConfigProblem>, ConfigError> {
        let plugin = self.runtime.plugin(&admitted.digest);
        let schema = &admitted.description.config_schema;
        config::problems(&self.schema_checker, schema, settings, plugin).await
    }
}

// === impl Shelf ===

impl Shelf {
    fn put(&self, digest: &PluginDigest, component: Bytes) {
        let mut components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        components.insert(digest.to_string(), component);
    }
}

#[async_trait::async_trait]
impl ComponentSource for Shelf {
    async fn component(&self, digest: &PluginDigest) -> io::Result<Option<Bytes>> {
        let components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(components.get(&digest.to_string()).cloned())
    }
}

/// A component's file.
pub(crate) fn read(path: &Path) -> Result<Bytes> {
    fs::read(path)
        .map(Bytes::from)
        .map_err(|error| Error::input(format!("cannot read {}: {error}", path.display())))
}

/// `$XDG_CACHE_HOME/ignite`, or `~/.cache/ignite`.
fn cache_dir(env: Env<'_>) -> Option<PathBuf> {
    let base = match (env("XDG_CACHE_HOME"), env("HOME")) {
        // The specification has relative ones ignored.
        (Some(base), _) if Path::new(&base).is_absolute() => PathBuf::from(base),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        (_, None) => return None,
    };
    Some(base.join("ignite"))
}

/// The key in `path`; made if there is none, readable by its owner alone. Two that make it at once end up with the same.
fn cache_key(path: &Path) -> io::Result<[u8; 32]> {
    let read = || {
        let bytes = fs::read(path)?;
        let mode = fs::metadata(path)?.permissions().mode();
        <[u8; 32]>::try_from(bytes.as_slice())
            .ok()
            // Who could read it could have put machine code of theirs into the cache.
            .filter(|_| mode & 0o077 == 0)
            .ok_or_else(|| {
                let wrong = "must be 32 bytes that only you can read; remove it, and a new one is made";
                io::Error::other(format!("{}: {wrong}", path.display()))
            })
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        known => return known,
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".key")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(&rand::random::<[u8; 32]>())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    read()
}

fn engine(error: RuntimeError) -> Error {
    match error {
        RuntimeError::Io { doing, source } => Error::local(doing, source),
        other @ RuntimeError::Engine(_) => Error::local("cannot run plugins", io::Error::other(other)),
    }
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_users_own() {
        let env = |pairs: &'static [(&str, &str)]| {
            cache_dir(&move |name| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(env(&[("HOME", "/h")]), Some("/h/.cache/ignite".into()));
        let both = env(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]);
        assert_eq!(both, Some("/c/ignite".into()));
        let relative = env(&[("HOME", "/h"), ("XDG_CACHE_HOME", "c")]);
        assert_eq!(relative, Some("/h/.cache/ignite".into()));
        assert_eq!(env(&[]), None);
    }

    #[test]
    fn the_key_is_made_once_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = cache_key(&path).unwrap();
        assert_eq!(cache_key(&path).unwrap(), key);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(cache_key(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(cache_key(&path).unwrap_err().to_string().contains("32 bytes"));
    }
}

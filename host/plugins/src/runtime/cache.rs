//! Compiled modules, kept in files.
//!
//! A compiled module is machine code: whoever can make us load one runs anything as us. So a file counts only if its first
//! 32 bytes are the HMAC-SHA-256, under the runtime's key, of the component's digest, the engine it was compiled for and
//! the module. Any other file is as good as none.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use ignite_core::ids::PluginDigest;
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

use super::RuntimeError;

const TAG_BYTES: usize = 32;
const SUFFIX: &str = "cwasm";

pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
    /// Of the engine's version and settings: what another one compiled does not load.
    engine_hash: u64,
}

// === impl Cache ===

impl Cache {
    /// Makes the directory, and removes what other engines left there.
    pub(crate) fn open(dir: &Path, key: [u8; 32], engine: &Engine) -> Result<Self, RuntimeError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| RuntimeError::Io {
                doing: format!("making {}", dir.display()),
                source,
            })?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = Self {
            dir: dir.to_owned(),
            key,
            engine_hash: hasher.finish(),
        };
        if let Err(error) = cache.remove_others() {
            tracing::warn!(%error, "old compiled plugins could not be removed");
        }
        Ok(cache)
    }

    /// None if there is no such file or it is not ours.
    pub(crate) fn load(&self, engine: &Engine, digest: &PluginDigest) -> Option<Component> {
        let path = self.path(digest);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%digest, %error, "a compiled plugin could not be read; compiling it again");
                return None;
            }
        };
        let authentic = file.split_at_checked(TAG_BYTES).filter(|(tag, module)| {
            self.mac(digest, module)
                .is_some_and(|mac| mac.verify_slice(tag).is_ok())
        });
        let Some((_, module)) = authentic else {
            tracing::warn!(%digest, "a compiled plugin is not the one that was written; compiling it again");
            return None;
        };
        deserialize(engine, module)
            .inspect_err(|error| tracing::warn!(%digest, %error, "a compiled plugin does not load; compiling it again"))
            .ok()
    }

    /// Loads `module`, which was just compiled, and keeps it. It fails only where the component does not fit the engine's pool: the
    /// text says what of it is too much.
    pub(crate) fn keep(
        &self,
        engine: &Engine,
        digest: &PluginDigest,
        module: &[u8],
    ) -> Result<Component, String> {
        let component = deserialize(engine, module)
            .map_err(|error| format!("the component needs more than a plugin may: {error:#}"))?;
        // A full disk costs the next start a compilation, not this one its plugin.
        if let Err(error) = self.write(digest, module) {
            tracing::warn!(%digest, %error, "a compiled plugin could not be kept");
        }
        Ok(component)
    }

    pub(crate) fn remove(&self, digest: &PluginDigest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, digest: &PluginDigest, module: &[u8]) -> io::Result<()> {
        let tag = self
            .mac(digest, module)
            .ok_or_else(|| io::Error::other("the key has no length that an HMAC takes"))?
            .finalize()
            .into_bytes();
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&tag)?;
        file.write_all(module)?;
        file.persist(self.path(digest))?;
        Ok(())
    }

    fn mac(&self, digest: &PluginDigest, module: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(digest.sha256());
        mac.update(&self.engine_hash.to_be_bytes());
        mac.update(module);
        Some(mac)
    }

    fn path(&self, digest: &PluginDigest) -> PathBuf {
        let digest = hex::encode(digest.sha256());
        self.dir
            .join(format!("{digest}-{:016x}.{SUFFIX}", self.engine_hash))
    }

    fn remove_others(&self) -> io::Result<()> {
        let ours = format!("-{:016x}.{SUFFIX}", self.engine_hash);
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(SUFFIX) && !name.ends_with(&ours) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// The only unsafe code of the project: machine code is taken at its word.
#[allow(
    unsafe_code,
    reason = "the module comes from our own compiling child or carries our own HMAC; see the head of this file"
)]
fn deserialize(engine: &Engine, module: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `module` is what `Engine::precompile_component` returned, unchanged: it came through a pipe from our own
    // child, or was authenticated. The bytes are in memory, so nobody changes them between that check and here.
    unsafe { Component::deserialize(engine, module) }
}

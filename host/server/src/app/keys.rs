//! What an operator does with keys: rotates them, and hands the master key over in the environment.

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use super::AppError;
use crate::{
    config::Config,
    store::{DataDir, OpenError, Store, StoreOptions},
    vault::{FROM_STDIN, MASTER_KEY_VARIABLE, MasterKeySource, Vault},
};

/// Starts this program over with the master key, if it stands in the environment, on standard input instead. A process cannot
/// safely take a variable away from itself, and every child inherits it: those that run builds too.
///
/// # Errors
/// Returns only if there was nothing to do, or if it failed.
pub fn take_key_out_of_environment() -> io::Result<()> {
    let key = match std::env::var(MASTER_KEY_VARIABLE) {
        // What is wrong with an empty one is told with all that is wrong with the settings.
        Ok(key) if !key.is_empty() && key != FROM_STDIN => zeroize::Zeroizing::new(key),
        Ok(_) | Err(_) => return Ok(()),
    };
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(key.as_bytes())?;
    drop(writer);
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let error = Command::new(std::env::current_exe()?)
        .arg0(name.as_deref().unwrap_or(OsStr::new("ignited")))
        .args(arguments)
        .env(MASTER_KEY_VARIABLE, FROM_STDIN)
        .stdin(Stdio::from(reader))
        .exec();
    Err(error)
}

/// Puts the store under the master key in `new_key_file`, if that is given, then new data keys in the place of the old ones, if
/// that is asked for. What was done, in lines for the operator. The daemon must not be running.
pub async fn rotate_keys(
    config: &Config,
    new_key_file: Option<&Path>,
    data_keys: bool,
) -> Result<String, AppError> {
    let data = DataDir::open(&config.data_dir).map_err(OpenError::from)?;
    let store = Arc::new(Store::open(&data, StoreOptions::default())?);
    let rotated = rotate(&store, &config.master_key, new_key_file, data_keys).await;
    store.shutdown().await;
    rotated
}

async fn rotate(
    store: &Arc<Store>,
    current: &MasterKeySource,
    new_key_file: Option<&Path>,
    data_keys: bool,
) -> Result<String, AppError> {
    let mut said = String::new();
    let mut source = current.clone();
    if let Some(path) = new_key_file {
        let new = MasterKeySource::File(path.to_owned());
        let id = Vault::rotate_master_key(current, &new, store).await?;
        said.push_str(&format!(
            "the store is under {new} (id {id}): start the daemon with it, and keep a copy; the old one opens older exports only\n"
        ));
        source = new;
    }
    if data_keys {
        let vault = Vault::open(&source, store).await?;
        let done = vault.rotate_data_keys().await?;
        said.push_str(&format!(
            "{} organizations have new data keys; {} rows were sealed anew, and the old keys are removed\n",
            done.organizations, done.rows
        ));
    }
    Ok(said)
}

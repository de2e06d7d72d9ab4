//! What the runs of a gateway really wrote: the independent record that a served log is compared with.
//!
//! The gateway removes a run's raw log when the run has ended. A hard link made while it runs keeps the very file that
//! the run's supervisor writes, whatever happens to the gateway; and a copy of the key that it is read with.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use tokio::task::JoinHandle;

use crate::{gateway::Gateway, leftovers};

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What is kept, in a folder each; named as the runs are.
const LOGS: &str = "logs";
const KEYS: &str = "keys";
const KEY_BYTES: usize = 32;

/// Keeps the raw log of every run of a gateway from now on.
#[derive(Debug)]
pub struct RawLogs {
    runs: PathBuf,
    kept: tempfile::TempDir,
    keeper: JoinHandle<()>,
}

/// How far a run is, as its folder shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Fetching,
    Building,
    Pushing,
    /// It is over; its end may be recorded or not.
    Ended,
}

// === impl RawLogs ===

impl RawLogs {
    pub fn keep(gateway: &Gateway) -> Self {
        let runs = gateway.data_dir().join("runs");
        let kept = tempfile::Builder::new()
            .prefix("ignite-raw-logs-")
            .tempdir()
            .unwrap();
        for folder in [LOGS, KEYS] {
            fs::create_dir(kept.path().join(folder)).unwrap();
        }
        let (from, to) = (runs.clone(), kept.path().to_owned());
        let keeper = tokio::spawn(async move {
            loop {
                link_all(&from, &to);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { runs, kept, keeper }
    }

    /// Name and raw log of each run that the build ever had.
    pub fn of(&self, build_id: &str) -> Vec<(String, Vec<u8>)> {
        let prefix = format!("{}-", build_id.replace('_', "-").to_lowercase());
        let mut found: Vec<_> = names(&self.kept.path().join(LOGS))
            .into_iter()
            .filter(|name| name.starts_with(&prefix))
            .map(|name| {
                let [log, key] = [LOGS, KEYS].map(|folder| self.kept.path().join(folder).join(&name));
                let log = read(&log, &key).unwrap_or_default();
                (name, log)
            })
            .collect();
        found.sort();
        found
    }

    /// The raw log of the one run that the build had.
    pub fn of_only_run(&self, build_id: &str) -> Vec<u8> {
        let mut runs = self.of(build_id);
        assert_eq!(runs.len(), 1, "{build_id} had other than one run: {runs:?}");
        runs.remove(0).1
    }

    /// How many runs are over.
    pub fn over(&self) -> usize {
        let is_over = |run: &String| {
            let folder = self.runs.join(run);
            !folder.exists() || folder.join("end.json").exists()
        };
        let runs = names(&self.kept.path().join(LOGS));
        runs.iter().filter(|run| is_over(run)).count()
    }

    /// How many runs are in which phase; those whose folder is gone are in none.
    pub fn phases(&self) -> BTreeMap<Phase, usize> {
        let mut phases = BTreeMap::new();
        for run in names(&self.runs)
            .into_iter()
            .filter(|name| !name.starts_with('.'))
        {
            *phases.entry(phase(&self.runs.join(run))).or_default() += 1;
        }
        phases
    }
}

fn phase(run: &Path) -> Phase {
    if run.join("end.json").exists() {
        Phase::Ended
    } else if !run.join("fetched.json").exists() {
        Phase::Fetching
    } else if key_of(run)
        .and_then(|key| read(&run.join("log"), &key))
        .is_some_and(|log| String::from_utf8_lossy(&log).contains("Pushing image to"))
    {
        Phase::Pushing
    } else {
        Phase::Building
    }
}

impl Drop for RawLogs {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// `None` while there is nothing.
fn read(log: &Path, key: &Path) -> Option<Vec<u8>> {
    let mut log = fs::read(log).ok()?;
    let key = fs::read(key).ok()?;
    let (key, from) = key.split_at_checked(KEY_BYTES)?;
    assert_eq!(from, 0_u64.to_le_bytes(), "one key is for the whole log");
    let key: [u8; KEY_BYTES] = key.try_into().unwrap();
    ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(&mut log);
    Some(log)
}

/// Of the run with this folder.
fn key_of(run: &Path) -> Option<PathBuf> {
    let name = run.file_name()?.to_str()?.to_owned();
    let private = leftovers::private_folders(&[name]);
    private.first().map(|folder| folder.join("log.key"))
}

fn link_all(runs: &Path, kept: &Path) {
    for run in names(runs).into_iter().filter(|name| !name.starts_with('.')) {
        let kept_key = kept.join(KEYS).join(&run);
        if !kept_key.exists()
            && let Some(key) = key_of(&runs.join(&run))
        {
            // Not there yet, or gone by now: then there is no more to read either.
            let _copied = fs::copy(key, kept_key);
        }
        match fs::hard_link(runs.join(&run).join("log"), kept.join(LOGS).join(&run)) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

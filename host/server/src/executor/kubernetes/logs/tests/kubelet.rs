//! A kubelet and a container runtime as far as a log's reader can tell: files of entries, rotated, and answers made of them as
//! the kubelet makes them, entry by entry.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;

use super::super::{Query, Source, SourceError};

pub(super) const NANOS_IN_SECOND: u64 = 1_000_000_000;
/// The runtime cuts lines here.
const ENTRY_BYTES: usize = 16 << 10;

/// So that an end comes.
const CUTS_MAX: u32 = 12;

#[derive(Debug, Clone)]
struct Entry {
    stamp: u64,
    text: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// All there ever were; the last is the one that is served.
    files: Vec<Vec<Entry>>,
    pub(super) over: bool,
    pub(super) questions: Vec<Query>,
    /// What the next questions are refused with.
    pub(super) refusals: Vec<SourceError>,
    /// All the text that was printed.
    pub(super) log: Vec<u8>,
    pub(super) rotations: usize,
    cut: u32,
}

#[derive(Clone)]
pub(super) struct Kubelet {
    pub(super) state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    /// One chunk in so many is followed by an end of the answer that is none of the log; 0 for never.
    pub(super) cuts: u32,
    random: Arc<Mutex<StdRng>>,
}

struct Reader {
    kubelet: Kubelet,
    query: Query,
    file: usize,
    entry: usize,
    is_new_line: bool,
    waiting: Vec<u8>,
    is_done: bool,
}

impl Kubelet {
    pub(super) fn new(seed: u64, cuts: u32) -> Self {
        let state = State {
            files: vec![Vec::new()],
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: watch::Sender::new(()),
            cuts,
            random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    fn may_cut(&self) -> bool {
        self.state.lock().unwrap().cut < CUTS_MAX
    }

    fn roll<T>(&self, roll: impl FnOnce(&mut StdRng) -> T) -> T {
        roll(&mut self.random.lock().unwrap())
    }

    /// Prints text as a container does: numbered. With a newline behind it, if it is a line.
    pub(super) fn print(&self, stamp: u64, text: &str, is_line: bool) {
        let (kind, newline) = if is_line { ('.', "\n") } else { ('+', "") };
        let at = {
            let mut state = self.state.lock().unwrap();
            let at = state.log.len();
            state.log.extend(format!("{text}{newline}").into_bytes());
            at
        };
        self.write(stamp, format!("{kind}{at} {text}\n").as_bytes());
    }

    /// Prints a container's last line.
    pub(super) fn print_end(&self, stamp: u64) {
        let at = self.state.lock().unwrap().log.len();
        self.write(stamp, format!("!{at}\n").as_bytes());
    }

    /// Writes a line, or what there is of one, as the runtime does.
    pub(super) fn write(&self, stamp: u64, text: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let file = state.files.last_mut().unwrap();
        for (n, part) in text.chunks(ENTRY_BYTES).enumerate() {
            file.push(Entry {
                stamp: stamp + n as u64,
                text: part.to_vec(),
            });
        }
        drop(state);
        self.changed.send_replace(());
    }

    pub(super) fn rotate(&self) {
        let mut state = self.state.lock().unwrap();
        state.files.push(Vec::new());
        state.rotations += 1;
        drop(state);
        self.changed.send_replace(());
    }

    pub(super) fn end(&self) {
        self.state.lock().unwrap().over = true;
        self.changed.send_replace(());
    }

    /// Ends or breaks every answer that is under way.
    pub(super) fn refuse(&self, error: SourceError) {
        self.state.lock().unwrap().refusals.push(error);
    }
}

#[async_trait::async_trait]
impl Source for Kubelet {
    async fn open(
        &self,
        query: Query,
    ) -> Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError> {
        let mut state = self.state.lock().unwrap();
        state.questions.push(query);
        if let Some(refusal) = state.refusals.pop() {
            return Err(refusal);
        }
        let reader = Reader {
            kubelet: self.clone(),
            query,
            file: state.files.len() - 1,
            entry: 0,
            is_new_line: true,
            waiting: Vec::new(),
            is_done: false,
        };
        let changed = self.changed.subscribe();
        Ok(
            stream::unfold((reader, changed), |(mut reader, mut changed)| async move {
                loop {
                    changed.mark_unchanged();
                    if let Some(chunk) = reader.chunk() {
                        return Some((chunk, (reader, changed)));
                    }
                    if reader.is_done || changed.changed().await.is_err() {
                        return None;
                    }
                }
            })
            .boxed(),
        )
    }
}

impl Reader {
    /// What the kubelet would write next; None if it would wait, or is done.
    fn chunk(&mut self) -> Option<Result<Bytes, SourceError>> {
        if self.is_done {
            return None;
        }
        let size = self.kubelet.roll(|random| match random.random_range(0..3) {
            0 => random.random_range(1..40),
            1 => random.random_range(1..3000),
            _ => random.random_range(50_000..200_000),
        });
        while self.waiting.len() < size && self.entry() {}
        if self.waiting.is_empty() {
            let state = self.kubelet.state.lock().unwrap();
            self.is_done = !self.query.follow || state.over;
            return None;
        }
        let rest = self.waiting.split_off(size.min(self.waiting.len()));
        let chunk = std::mem::replace(&mut self.waiting, rest);
        let cuts = self.kubelet.cuts;
        if cuts > 0 && self.kubelet.may_cut() && self.kubelet.roll(|random| random.random_range(0..cuts) == 0)
        {
            self.is_done = true;
            self.kubelet.state.lock().unwrap().cut += 1;
            match self.kubelet.roll(|random| random.random_range(0..3)) {
                0 => return Some(Err(SourceError::Unreachable("cut off".to_owned()))),
                1 => {
                    return Some(Ok([chunk.as_slice(), b"\nfailed to read log file"]
                        .concat()
                        .into()))
                    .filter(|_| chunk.ends_with(b"\n"))
                    .or(Some(Ok(chunk.into())));
                }
                _ => {}
            }
        }
        Some(Ok(chunk.into()))
    }

    /// Takes the next entry; false at the end of what is written.
    fn entry(&mut self) -> bool {
        let state = self.kubelet.state.lock().unwrap();
        let Some(entry) = state.files[self.file].get(self.entry) else {
            let goes_on = self.query.follow && self.file + 1 < state.files.len();
            if goes_on {
                // One that reads slowly leaves out what was rotated in the meantime.
                let last = state.files.len() - 1;
                let next = self
                    .kubelet
                    .roll(|random| random.random_range(self.file + 1..=last));
                (self.file, self.entry) = (next, 0);
                self.is_new_line = true;
            }
            return goes_on;
        };
        self.entry += 1;
        let since = self
            .query
            .since_s
            .map_or(0, |since| u64::try_from(since).unwrap() * NANOS_IN_SECOND);
        if entry.stamp >= since {
            if self.is_new_line {
                let time = DateTime::from_timestamp_nanos(i64::try_from(entry.stamp).unwrap());
                let time = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
                self.waiting.extend(format!("{time} ").into_bytes());
            }
            self.waiting.extend_from_slice(&entry.text);
        }
        self.is_new_line = entry.text.last().is_none_or(|byte| *byte == b'\n');
        true
    }
}

//! One thread owns all writes of one database.
//!
//! ```text
//! commit() ──▶ bounded queue ──▶ [ take what is there │ check conditions │ one transaction │ flush │ fdatasync ] ──▶ answers
//! ```
//!
//! What came in while the last group was on its way to disk is the next group, so the cost of a sync is shared by all who wait for it.
//! sled's own flush ends in `sync_file_range`, which a power loss may undo: the `fdatasync` behind it is what makes an answer true.
//! After an I/O error nothing can be known about the file any more, so the committer is poisoned: it answers every later batch with
//! that error. So it does once its [`Tenure`] is over.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::JoinHandle,
};

use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional, TransactionalTree};
use tokio::sync::{mpsc, oneshot};

use super::{
    batch::{Batch, Check, Write},
    codec::CodecError,
    database::{Database, ReadError},
    rows,
    table::TableInfo,
    tenure::Tenure,
};

#[derive(Debug)]
pub struct Committer {
    queue: mpsc::Sender<Request>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    failure: Arc<OnceLock<Arc<str>>>,
}

#[derive(Debug, Clone)]
pub struct CommitterOptions {
    /// Batches that may wait; beyond that, committing waits for a place.
    pub queue_batches_max: usize,
    /// Batches of one transaction.
    pub group_batches_max: usize,
    /// Bytes of one transaction, but for its last batch.
    pub group_bytes_max: usize,
    /// Until when this process may write.
    pub tenure: Tenure,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A condition of this batch did not hold; nothing of it was written.
    #[error("a row of table {table} is not {expected}")]
    Rejected {
        table: &'static str,
        expected: &'static str,
    },
    #[error("a value of {bytes} bytes is too large for table {table}, which takes {bytes_max}")]
    TooLarge {
        table: &'static str,
        bytes: usize,
        bytes_max: usize,
    },
    #[error("a stored value of table {table} is damaged")]
    Damaged {
        table: &'static str,
        #[source]
        source: CodecError,
    },
    /// The disk failed, now or earlier: this batch may or may not be there after a restart.
    #[error("the store can no longer write: {0}")]
    Failed(Arc<str>),
    #[error("the store is shut down")]
    Stopped,
}

#[derive(Debug)]
enum Request {
    Commit(Batch, oneshot::Sender<Result<(), CommitError>>),
    Stop,
}

type Answer = oneshot::Sender<Result<(), CommitError>>;

/// What the group's accepted batches leave behind: for each key its last write.
type Overlay = HashMap<(&'static str, Vec<u8>), (TableInfo, Option<Vec<u8>>)>;

struct Worker {
    db: Arc<Database>,
    queue: mpsc::Receiver<Request>,
    options: CommitterOptions,
    sync: Sync,
    failure: Arc<OnceLock<Arc<str>>>,
}

/// Makes everything written so far durable.
type Sync = Box<dyn FnMut(&Database) -> io::Result<()> + Send>;

// === impl CommitterOptions ===

impl Default for CommitterOptions {
    fn default() -> Self {
        Self {
            queue_batches_max: 1024,
            group_batches_max: 512,
            group_bytes_max: 1 << 20,
            tenure: Tenure::default(),
        }
    }
}

// === impl Committer ===

impl Committer {
    pub fn start(db: Arc<Database>, options: CommitterOptions) -> io::Result<Self> {
        Self::start_with(db, options, Box::new(Database::sync))
    }

    fn start_with(db: Arc<Database>, options: CommitterOptions, sync: Sync) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(options.queue_batches_max);
        let failure = Arc::new(OnceLock::new());
        let worker = Worker {
            db,
            queue: receiver,
            options,
            sync,
            failure: Arc::clone(&failure),
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            queue: sender,
            thread: Arc::new(Mutex::new(Some(thread))),
            failure,
        })
    }

    /// Ok once the batch is on disk. If the future is dropped, the batch may be committed all the same.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        check_sizes(&batch)?;
        let (answer, answered) = oneshot::channel();
        let request = Request::Commit(batch, answer);
        self.queue.send(request).await.map_err(|_| self.stopped())?;
        answered.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// As [`Self::commit`], for threads that may block: not from async code.
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), CommitError> {
        check_sizes(&batch)?;
        let (answer, answered) = oneshot::channel();
        let request = Request::Commit(batch, answer);
        self.queue.blocking_send(request).map_err(|_| self.stopped())?;
        answered.blocking_recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Err if no commit can succeed any more.
    pub fn health(&self) -> Result<(), CommitError> {
        if self.failure.get().is_some() || self.queue.is_closed() {
            Err(self.stopped())
        } else {
            Ok(())
        }
    }

    /// Commits what is in the queue, refuses what comes later, and waits for the thread to end.
    pub async fn shutdown(&self) {
        let _ = self.queue.send(Request::Stop).await;
        let thread = Arc::clone(&self.thread);
        let _ = tokio::task::spawn_blocking(move || join(&thread)).await;
    }

    /// As [`Self::shutdown`], for threads that may block: not from async code.
    pub fn shutdown_blocking(&self) {
        let _ = self.queue.blocking_send(Request::Stop);
        join(&self.thread);
    }

    fn stopped(&self) -> CommitError {
        match self.failure.get() {
            Some(cause) => CommitError::Failed(Arc::clone(cause)),
            None => CommitError::Stopped,
        }
    }
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(thread) = thread
        && thread.join().is_err()
    {
        tracing::error!("the writing thread of a database panicked");
    }
}

fn check_sizes(batch: &Batch) -> Result<(), CommitError> {
    for Write { table, payload, .. } in &batch.writes {
        let bytes = payload.as_ref().map_or(0, Vec::len);
        let bytes_max = if table.splits {
            rows::RECORD_BYTES_MAX
        } else {
            rows::ROW_PAYLOAD_BYTES_MAX
        };
        if bytes > bytes_max {
            return Err(CommitError::TooLarge {
                table: table.name,
                bytes,
                bytes_max,
            });
        }
    }
    Ok(())
}

// === impl Worker ===

impl Worker {
    fn run(mut self) {
        while let Some(request) = self.queue.blocking_recv() {
            let group = self.take_group(request);
            self.commit_group(group);
        }
    }

    /// `first` and what else is waiting, up to the limits.
    fn take_group(&mut self, first: Request) -> Vec<(Batch, Answer)> {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Commit(batch, answer) => {
                    bytes += batch.size_bytes();
                    group.push((batch, answer));
                }
                // What was sent before is still received; sending fails from here on.
                Request::Stop => self.queue.close(),
            }
            if group.len() >= self.options.group_batches_max || bytes >= self.options.group_bytes_max {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        group
    }

    fn commit_group(&mut self, group: Vec<(Batch, Answer)>) {
        let mut overlay = Overlay::new();
        let mut verdicts = Vec::with_capacity(group.len());
        for (mut batch, answer) in group {
            let committed = batch.committed.take();
            verdicts.push((self.accept(batch, &mut overlay), committed, answer));
        }
        let written = if overlay.is_empty() {
            Ok(())
        } else {
            self.write(overlay)
        };
        // Rejections wait too: what a batch was rejected for may be a row of this very group, and the caller acts on that row.
        for (verdict, committed, answer) in verdicts {
            let result = written.clone().and(verdict);
            if let (Ok(()), Some(committed)) = (&result, committed) {
                committed();
            }
            let _ = answer.send(result);
        }
    }

    /// Checks the batch against the store as the group's earlier batches leave it, and adds its writes to them.
    fn accept(&self, batch: Batch, overlay: &mut Overlay) -> Result<(), CommitError> {
        if let Some(cause) = self.failure.get() {
            return Err(CommitError::Failed(Arc::clone(cause)));
        }
        for check in batch.checks {
            self.check(check, overlay)?;
        }
        for Write { table, key, payload } in batch.writes {
            overlay.insert((table.name, key), (table, payload));
        }
        Ok(())
    }

    fn check(&self, check: Check, overlay: &Overlay) -> Result<(), CommitError> {
        let table = check.table.name;
        let id = (table, check.key);
        let verdict = match overlay.get(&id) {
            Some((_, written)) => (check.test)(written.as_deref()),
            None => {
                let stored = self.db.get_raw(table, &id.1).map_err(|e| self.poison(&e))?;
                (check.test)(stored.as_deref())
            }
        };
        match verdict {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommitError::Rejected {
                table,
                expected: check.expected,
            }),
            Err(source) => Err(CommitError::Damaged { table, source }),
        }
    }

    fn write(&mut self, overlay: Overlay) -> Result<(), CommitError> {
        let rows = self.rows_of(overlay).map_err(|e| self.poison(&e))?;
        self.require_tenure()?;
        transact(&self.db, &rows).map_err(|e| self.poison(&e))?;
        (self.sync)(&self.db).map_err(|e| self.poison(&e))?;
        // The disk may have taken its time: what somebody else writes by now does not know of this.
        self.require_tenure()
    }

    fn require_tenure(&self) -> Result<(), CommitError> {
        self.options.tenure.check().map_err(|error| self.poison(&error))
    }

    /// The overlay as rows for each tree; the surplus parts of values that shrink are deleted.
    fn rows_of(&self, overlay: Overlay) -> Result<Vec<TreeRows>, ReadError> {
        let mut trees: HashMap<&'static str, TreeRows> = HashMap::new();
        let mut parts = TreeRows::new(self.db.parts());
        for ((name, key), (table, payload)) in overlay {
            let (_, tree) = self.db.tree(name)?;
            let parts_before = if table.splits {
                let row = tree.get(&key);
                let row = row.map_err(|source| ReadError::Sled { table: name, source })?;
                row.map_or(0, |row| rows::part_count(&row))
            } else {
                0
            };
            let mut parts_now = 0;
            let head = payload.map(|payload| {
                let rows = rows::split(&payload);
                for part in rows.parts {
                    parts
                        .rows
                        .push((rows::part_key(name, &key, parts_now), Some(part)));
                    parts_now += 1;
                }
                rows.head
            });
            for surplus in parts_now..parts_before {
                parts.rows.push((rows::part_key(name, &key, surplus), None));
            }
            let entry = trees.entry(name).or_insert_with(|| TreeRows::new(tree));
            entry.rows.push((key, head));
        }
        Ok(trees
            .into_values()
            .chain([parts])
            .filter(|tree| !tree.rows.is_empty())
            .collect())
    }

    fn poison(&self, error: &dyn std::error::Error) -> CommitError {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        tracing::error!(db.path = %self.db.path().display(), error = %text, "a database failed; it takes no more writes");
        CommitError::Failed(Arc::clone(self.failure.get_or_init(|| text.into())))
    }
}

struct TreeRows {
    tree: sled::Tree,
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl TreeRows {
    fn new(tree: &sled::Tree) -> Self {
        Self {
            tree: tree.clone(),
            rows: Vec::new(),
        }
    }
}

/// Writes all rows in one transaction of sled. Not durable yet.
fn transact(db: &Database, trees: &[TreeRows]) -> Result<(), sled::Error> {
    debug_assert_eq!(
        trees
            .iter()
            .map(|tree| tree.tree.name())
            .collect::<BTreeSet<_>>()
            .len(),
        trees.len(),
        "{db:?}: a tree twice in one transaction would lose writes"
    );
    let handles: Vec<sled::Tree> = trees.iter().map(|tree| tree.tree.clone()).collect();
    let apply = |views: &Vec<TransactionalTree>| {
        for (view, tree) in views.iter().zip(trees) {
            for (key, row) in &tree.rows {
                match row {
                    Some(row) => view.insert(key.as_slice(), row.as_slice())?,
                    None => view.remove(key.as_slice())?,
                };
            }
        }
        Ok::<(), ConflictableTransactionError<()>>(())
    };
    handles
        .as_slice()
        .transaction(apply)
        .map_err(|error| match error {
            TransactionError::Storage(error) => error,
            TransactionError::Abort(()) => sled::Error::Unsupported("nothing aborts here".to_owned()),
        })
}

#[cfg(test)]
mod tests;

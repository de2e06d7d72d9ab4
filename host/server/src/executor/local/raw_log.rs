//! A run's raw log: what its steps wrote, before any of it is redacted.
//!
//! On disk it is enciphered (ChaCha20), each byte where it stands in the log. The key lies in the run's private folder, so it is
//! gone when the machine restarts, and what nobody had read by then is lost. Nothing vouches for the bytes: who could change them
//! is root here and could change all else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use bytes::Bytes;
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _},
};
use zeroize::Zeroizing;

use crate::executor::local::layout::{RunDir, create};

/// In the private folder: the key, then where what it is for begins (little-endian, 8 bytes).
pub(super) const KEY_FILE: &str = "log.key";
const KEY_BYTES: usize = 32;
const KEY_FILE_BYTES: usize = KEY_BYTES + size_of::<u64>();
/// No key is for more than one log.
const NONCE: [u8; 12] = [0; 12];
const CHUNK_BYTES: usize = 64 * 1024;

/// The one writer.
pub(super) struct Writer {
    file: File,
    key: Key,
    end: u64,
}

pub(super) struct Reader {
    dir: RunDir,
    file: File,
    /// Once there is one.
    key: Option<Key>,
}

/// What is to be had from a position on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Bytes(Bytes),
    /// So many bytes nobody can read any more.
    Lost(u64),
}

struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    from: u64,
}

// === impl Writer ===

impl Writer {
    /// Goes on where the log ends, with a new key. The private folder is there and has none yet.
    pub(super) fn create(dir: &RunDir) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.log())?;
        let end = file.metadata()?.len();
        let key = Key {
            bytes: Zeroizing::new(rand::random()),
            from: end,
        };
        key.write(dir)?;
        Ok(Self { file, key, end })
    }

    /// Leaves the bytes enciphered.
    pub(super) fn push(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.key.apply(self.end, bytes)?;
        self.file.write_all_at(bytes, self.end)?;
        self.end = self
            .end
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

// === impl Reader ===

impl Reader {
    pub(super) fn open(dir: RunDir) -> io::Result<Self> {
        Ok(Self {
            file: File::open(dir.log())?,
            dir,
            key: None,
        })
    }

    /// What stands at `offset`; None if there is nothing yet. `is_over`: nothing more will be written.
    pub(super) fn read(&mut self, offset: u64, is_over: bool) -> io::Result<Option<Part>> {
        if self.key.is_none() {
            self.key = Key::read(&self.dir)?;
        }
        let readable_from = match &self.key {
            Some(key) => key.from,
            // Nobody has begun to write: what is there was written before the machine restarted.
            None if is_over => self.file.metadata()?.len(),
            None => return Ok(None),
        };
        let lost = readable_from.saturating_sub(offset);
        if lost > 0 {
            return Ok(Some(Part::Lost(lost)));
        }
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let mut bytes = vec![0; CHUNK_BYTES];
        let count = self.file.read_at(&mut bytes, offset)?;
        bytes.truncate(count);
        key.apply(offset, &mut bytes)?;
        Ok((count > 0).then(|| Part::Bytes(bytes.into())))
    }
}

// === impl Key ===

impl Key {
    /// There whole or not at all.
    fn write(&self, dir: &RunDir) -> io::Result<()> {
        let partial = dir.private().join(".log.key.partial");
        let mut file = create(&partial, 0o600)?;
        file.write_all(&*self.bytes)?;
        file.write_all(&self.from.to_le_bytes())?;
        fs::rename(partial, dir.private().join(KEY_FILE))
    }

    fn read(dir: &RunDir) -> io::Result<Option<Self>> {
        let file = match File::open(dir.private().join(KEY_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Zeroizing::new([0; KEY_FILE_BYTES]);
        file.read_exact_at(&mut *text, 0)?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let mut from = [0; size_of::<u64>()];
        for (to, byte) in bytes.iter_mut().chain(&mut from).zip(&*text) {
            *to = *byte;
        }
        Ok(Some(Self {
            bytes,
            from: u64::from_le_bytes(from),
        }))
    }

    /// Enciphers, or deciphers, what stands at `offset`.
    fn apply(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut cipher = ChaCha20::new((&*self.bytes).into(), &NONCE.into());
        cipher
            .try_seek(offset)
            .and_then(|()| cipher.try_apply_keystream(bytes))
            .map_err(|_| io::Error::other("the log is longer than its cipher goes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::local::{layout::create_dir, private};

    fn run_dir() -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = RunDir::new(folder.path().join("run"));
        create_dir(dir.path(), 0o700).unwrap();
        create_dir(dir.private(), 0o700).unwrap();
        create(&dir.log(), 0o600).unwrap();
        (folder, dir)
    }

    fn bytes(text: &str) -> Part {
        Part::Bytes(Bytes::from(text.to_owned()))
    }

    #[test]
    fn what_is_written_is_read_from_anywhere_and_not_on_disk() {
        let (_folder, dir) = run_dir();
        let mut reader = Reader::open(dir.clone()).unwrap();
        assert_eq!(reader.read(0, false).unwrap(), None);
        let mut writer = Writer::create(&dir).unwrap();
        assert_eq!(reader.read(0, true).unwrap(), None);
        writer.push(&mut b"correct horse ".to_vec()).unwrap();
        assert_eq!(reader.read(0, false).unwrap(), Some(bytes("correct horse ")));
        writer.push(&mut b"battery staple".to_vec()).unwrap();
        assert_eq!(
            reader.read(8, false).unwrap(),
            Some(bytes("horse battery staple"))
        );
        // Another daemon, once the run is over and its secrets are cleared away.
        private::clear(dir.private()).unwrap();
        let mut reader = Reader::open(dir.clone()).unwrap();
        assert_eq!(reader.read(22, true).unwrap(), Some(bytes("staple")));
        assert_eq!(reader.read(28, true).unwrap(), None);
        let stored = fs::read(dir.log()).unwrap();
        assert_eq!(stored.len(), 28);
        for word in ["correct", "horse", "battery", "staple"] {
            assert!(!stored.windows(word.len()).any(|it| it == word.as_bytes()));
        }
        private::remove(dir.private()).unwrap();
    }

    #[test]
    fn what_a_restart_of_the_machine_made_unreadable_is_told_as_lost() {
        let (_folder, dir) = run_dir();
        Writer::create(&dir)
            .unwrap()
            .push(&mut b"before".to_vec())
            .unwrap();
        private::remove(dir.private()).unwrap();
        let mut reader = Reader::open(dir.clone()).unwrap();
        assert_eq!(reader.read(2, false).unwrap(), None);
        assert_eq!(reader.read(2, true).unwrap(), Some(Part::Lost(4)));
        assert_eq!(reader.read(6, true).unwrap(), None);
        // It had not begun as far as the disk knows, so it begins again.
        create_dir(dir.private(), 0o700).unwrap();
        Writer::create(&dir)
            .unwrap()
            .push(&mut b"after".to_vec())
            .unwrap();
        assert_eq!(reader.read(2, false).unwrap(), Some(Part::Lost(4)));
        assert_eq!(reader.read(6, false).unwrap(), Some(bytes("after")));
        private::remove(dir.private()).unwrap();
    }
}

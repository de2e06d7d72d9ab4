//! Files in memory that have no name: how secrets get from one process of ours to another without a trace.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
};

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

/// A file that holds `bytes`, to be read from its beginning, by this user alone. It goes with its last handle.
pub(crate) fn holding(bytes: &[u8]) -> io::Result<File> {
    let file = memfd_create("ignited", MemfdFlags::CLOEXEC)?;
    // ssh takes no key that others may read.
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

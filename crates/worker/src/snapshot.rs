//! A private copy of a file that others may change, so that what is inspected is what is served.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use chaperone_quota::{Held, HeldFile};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use sha2::{Digest, Sha256};

/// Tries to copy a file while it stays the same.
const TRIES: u32 = 3;

/// A copy that nobody else can change.
#[derive(Debug)]
pub struct Snapshot {
    pub file: HeldFile,
    pub sha256: [u8; 32],
    pub len: u64,
}

/// Where a copy is made, and what it takes of the session's share.
#[derive(Debug)]
pub enum Place<'a> {
    Memory(Held),
    /// An unlinked file in this directory.
    Disk(&'a Path, Held),
}

impl Place<'_> {
    /// An empty file there, which has no name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(self) -> io::Result<HeldFile> {
        Ok(match self {
            Self::Memory(held) => {
                let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
                HeldFile::new(rustix::fs::memfd_create("chaperone-snapshot", flags)?.into(), held)
            }
            Self::Disk(dir, held) => {
                let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
                HeldFile::new(rustix::fs::openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR)?.into(), held)
            }
        })
    }
}

/// Copies `file` (at most `limit` bytes) to where `place` says of its length: to sealed memory, or to the disk.
///
/// # Errors
/// `FileTooLarge` beyond the limit, `ResourceBusy` when the file changes at each of three tries, and what `place`, reading
/// and writing give.
pub fn snapshot<'a>(
    file: &File,
    limit: u64,
    place: &dyn Fn(u64) -> io::Result<Place<'a>>,
) -> io::Result<Snapshot> {
    for _ in 0..TRIES {
        let before = file.metadata()?;
        if before.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {limit} bytes, the most that is inspected"),
            ));
        }
        let taken = copy(file, before.len(), limit, place(before.len())?)?;
        let after = file.metadata()?;
        let version = |m: &std::fs::Metadata| (m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        if version(&before) == version(&after) && taken.len == after.len() {
            return Ok(taken);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "it keeps changing; try again when it is written"))
}

fn copy(from: &File, len: u64, limit: u64, place: Place<'_>) -> io::Result<Snapshot> {
    let in_memory = matches!(place, Place::Memory(_));
    let made = place.make()?;
    let mut to: &File = &made;
    let (mut hash, mut block, mut at) = (Sha256::new(), vec![0; 256 * 1024], 0);
    loop {
        let n = match from.read_at(&mut block, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(part) = block.get(..n).filter(|p| !p.is_empty()) else { break };
        at += n as u64;
        // A file that grows while it is read is a changed one; stop early.
        if at > limit.min(len) {
            break;
        }
        hash.update(part);
        // Of a file with holes the copy has them, too.
        if part.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Start(at))?;
        } else {
            to.write_all(part)?;
        }
    }
    let written = to.stream_position()?;
    to.set_len(written)?;
    if in_memory {
        rustix::fs::fcntl_add_seals(
            to,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
    }
    to.seek(SeekFrom::Start(0))?;
    Ok(Snapshot { file: made, sha256: hash.finalize().into(), len: at })
}

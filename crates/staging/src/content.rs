//! Content on its way from the stage to the tree: a private copy to judge, and the same bytes to write.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::report::Stop;
use crate::sparse::{self, Extents, Stretch};

/// Content up to this size is judged in sealed memory, larger content in an unlinked file of the history: protects
/// the memory of the broker.
const IN_MEMORY_BYTES: u64 = 16 << 20;
/// Bytes moved at once.
const BLOCK_BYTES: usize = 128 << 10;

/// Length and SHA-256 of content: what was judged must be what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub size: u64,
    pub sha256: [u8; 32],
}

impl Fingerprint {
    pub fn hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// Bytes of holes that one commit, or one look at what is staged, works through: they cost the agent nothing, and us the time
/// to hash them. A file with more of them is refused.
const HOLE_BYTES: u64 = 16 << 30;
/// Bytes between two looks at whether anybody still waits.
const ASK_EVERY: u64 = 16 << 20;
/// Bytes that stay free on a disk that something is written to.
const STAYS_FREE: u64 = 1 << 20;

/// Asked from time to time whether anybody still waits for what is done.
pub type Wanted = Arc<dyn Fn() -> bool + Send + Sync>;

/// What one call of the engine may still do.
pub(crate) struct Work {
    wanted: Option<Wanted>,
    holes: Cell<u64>,
}

impl Work {
    pub fn new(wanted: Option<Wanted>) -> Self {
        Self { wanted, holes: Cell::new(HOLE_BYTES) }
    }

    /// For what was the user's own, however large.
    pub fn of_the_user(wanted: Option<Wanted>) -> Self {
        Self { wanted, holes: Cell::new(u64::MAX) }
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted())
    }

    /// Takes what the holes of `file` cost from what may still be done.
    pub fn take(&self, file: &File) -> Result<(), Stop> {
        let left = self.holes.get();
        let holes = Extents::of(file).holes(left)?;
        self.holes.set(left.checked_sub(holes).ok_or(Stop::refused("too_many_holes"))?);
        Ok(())
    }

    fn must_be_wanted(&self) -> io::Result<()> {
        if self.is_wanted() { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }
}

/// Copies `source` from its start to where nobody else can change it.
pub(crate) fn private_copy(
    source: &File,
    history: BorrowedFd<'_>,
    work: &Work,
) -> io::Result<(File, Fingerprint)> {
    if source.metadata()?.len() <= IN_MEMORY_BYTES {
        let memory = rustix::fs::memfd_create("staged", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let memory = File::from(memory);
        // A file that grows meanwhile is cut here; the fingerprint is that of the copy, and the write checks it.
        let fingerprint = copy(source, Some(&memory), IN_MEMORY_BYTES, work)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        return Ok((memory, fingerprint));
    }
    must_have_room(history, source)?;
    let file = File::from(unlinked_file(history)?);
    let fingerprint = copy(source, Some(&file), u64::MAX, work)?;
    Ok((file, fingerprint))
}

/// Whether the disk of `directory` has room for a copy of `source`, before any of it is written.
pub(crate) fn must_have_room(folder: BorrowedFd<'_>, source: &File) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(folder)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if sparse::taken(source)?.saturating_add(STAYS_FREE) > free {
        return Err(Errno::NOSPC.into());
    }
    Ok(())
}

/// Writes `source` from its start into the empty file `target`, at most `limit` bytes, and says what was written. Holes stay
/// holes; in the fingerprint they are the zeros that they read as.
pub(crate) fn copy(source: &File, target: Option<&File>, limit: u64, work: &Work) -> io::Result<Fingerprint> {
    static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let extents = Extents::of(source);
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let (mut at, mut stretch, mut asked) = (0u64, Stretch::Data { until: 0 }, 0u64);
    while at < limit {
        if at >= asked {
            work.must_be_wanted()?;
            asked = at.saturating_add(ASK_EVERY);
        }
        if !matches!(stretch, Stretch::Data { until } | Stretch::Hole { until } if until > at) {
            stretch = extents.at(at)?;
        }
        let most = |until: u64| BLOCK_BYTES.min(usize::try_from(until.min(limit) - at).unwrap_or(usize::MAX));
        let count = match stretch {
            Stretch::End => break,
            Stretch::Hole { until } => {
                let zeros = ZEROS.get(..most(until)).unwrap_or_default();
                hash.update(zeros);
                zeros.len()
            }
            Stretch::Data { until } => {
                let wanted = block.get_mut(..most(until)).unwrap_or_default();
                let count = match source.read_at(wanted, at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                };
                let bytes = wanted.get(..count).unwrap_or_default();
                hash.update(bytes);
                if let Some(target) = target {
                    target.write_all_at(bytes, at)?;
                }
                count
            }
        };
        if count == 0 {
            break;
        }
        at += count as u64;
    }
    if let Some(target) = target {
        target.set_len(at)?;
    }
    Ok(Fingerprint { size: at, sha256: hash.finalize().into() })
}

/// The fingerprint of a file's content.
pub(crate) fn fingerprint(file: &File, work: &Work) -> io::Result<Fingerprint> {
    copy(file, None, u64::MAX, work)
}

/// The SHA-256 of a file's content, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(file: &File) -> io::Result<String> {
    Ok(fingerprint(file, &Work::new(None))?.hex())
}

/// The SHA-256 of the text of a symlink.
pub(crate) fn link_sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn unlinked_file(folder: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, ".", flags, Mode::RUSR | Mode::WUSR) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
        other => return Ok(other?),
    }
    let name = format!("judging-{}", random_tag()?);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(folder, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::unlinkat(folder.as_fd(), name.as_str(), rustix::fs::AtFlags::empty())?;
    Ok(fd)
}

/// Sixteen hexadecimal digits that nobody can guess.
pub(crate) fn random_tag() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    let count = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if count != bytes.len() {
        return Err(io::Error::other("the system gave too few random bytes"));
    }
    Ok(hex::encode(bytes))
}

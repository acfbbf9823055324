//! Content on its way from the stage to the tree: a private copy to judge, and the same bytes to write.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use sha2::{Digest, Sha256};

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

/// Copies `source` from its start to where nobody else can change it.
pub(crate) fn private_copy(source: &File, history: BorrowedFd<'_>) -> io::Result<(File, Fingerprint)> {
    if source.metadata()?.len() <= IN_MEMORY_BYTES {
        let memory = rustix::fs::memfd_create("staged", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut memory = File::from(memory);
        // A file that grows meanwhile is cut here; the fingerprint is that of the copy, and the write checks it.
        let fingerprint = copy(source, &mut memory, IN_MEMORY_BYTES)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        return Ok((memory, fingerprint));
    }
    let mut file = File::from(unlinked_file(history)?);
    let fingerprint = copy(source, &mut file, u64::MAX)?;
    Ok((file, fingerprint))
}

/// Writes `source` from its start into `target`, at most `limit` bytes, and says what was written.
pub(crate) fn copy(source: &File, target: &mut impl Write, limit: u64) -> io::Result<Fingerprint> {
    let mut hash = Sha256::new();
    let mut size = 0u64;
    let mut block = vec![0; BLOCK_BYTES];
    while size < limit {
        let wanted = block.len().min(usize::try_from(limit - size).unwrap_or(usize::MAX));
        let Some(wanted) = block.get_mut(..wanted) else { break };
        let count = match source.read_at(wanted, size) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(bytes) = wanted.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        target.write_all(bytes)?;
        size += count as u64;
    }
    Ok(Fingerprint { size, sha256: hash.finalize().into() })
}

/// The fingerprint of a file's content.
pub(crate) fn fingerprint(file: &File) -> io::Result<Fingerprint> {
    copy(file, &mut io::sink(), u64::MAX)
}

/// The SHA-256 of a file's content, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(file: &File) -> io::Result<String> {
    Ok(fingerprint(file)?.hex())
}

/// The SHA-256 of the text of a symlink.
pub(crate) fn link_sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// The first bytes of a file, at most `limit`.
pub(crate) fn head(file: &File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    copy(file, &mut bytes, limit as u64)?;
    Ok(bytes)
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

//! Reaching objects of a tree by path without ever leaving it or following a link.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use chaperone_names::{name_as_text, native};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::BaseVersion;

/// How often a resolution that raced with a rename is tried again before it counts as failed.
const RESOLVE_ATTEMPTS: usize = 64;

/// A directory that is open, and the path by which it was found.
pub(crate) struct Parent {
    pub fd: OwnedFd,
    /// Relative to the root; empty for the root itself.
    pub path: String,
    /// The last name of the path that was asked for.
    pub name: String,
}

impl Parent {
    /// Opens the directory that holds `path`.
    pub fn open(root: BorrowedFd<'_>, path: &str) -> Result<Self, Errno> {
        let (folder, name) = split(path);
        Ok(Self { fd: open_folder(root, folder)?, path: folder.to_owned(), name: name.to_owned() })
    }

    /// Whether the directory is still where it was found; one that was moved out of the tree must not be written.
    pub fn is_still_there(&self, root: BorrowedFd<'_>) -> bool {
        let Ok(again) = open_folder(root, &self.path) else { return false };
        match (rustix::fs::fstat(&again), rustix::fs::fstat(&self.fd)) {
            (Ok(now), Ok(then)) => (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino),
            _ => false,
        }
    }

    /// The version of this directory's own `name`, links not followed; `None` when there is nothing.
    pub fn version(&self) -> Result<Option<BaseVersion>, Errno> {
        version_at(self.fd.as_fd(), &self.name)
    }
}

/// The directory and the last name of a relative path.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Opens the directory at `path` (empty: the root itself).
pub(crate) fn open_folder(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a regular file for reading; anything else is `ELOOP` (links) or `EINVAL`, and nothing blocks.
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &str) -> Result<File, Errno> {
    let fd = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = rustix::fs::fstat(&fd)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(File::from(fd))
}

/// `openat2` beneath `root`, with neither symlinks nor magic links on the way.
pub(crate) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = native(path);
    for _ in 0..RESOLVE_ATTEMPTS {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat2(root, &*path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The version of `name` in `directory`, links not followed; `None` when there is nothing.
pub(crate) fn version_at(folder: BorrowedFd<'_>, name: &str) -> Result<Option<BaseVersion>, Errno> {
    match rustix::fs::statat(folder, &*native(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(BaseVersion::of(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The text of the symlink `name` in `directory`.
pub(crate) fn link_text(folder: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let text = rustix::fs::readlinkat(folder, &*native(name), Vec::new())?;
    Ok(name_as_text(text.as_bytes()).into_owned())
}

//! The tree as this process sees it: reached from its root downwards alone, and without following a link.
//!
//! Attributes are asked of a name in its directory, not of a descriptor: on some kernels `O_PATH` tells those who watch a file that
//! it was opened, and only what the guest opens is to look so.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfs};
use rustix::io::Errno;

/// A directory, and nothing that is not below it.
pub(super) struct Beneath {
    root: OwnedFd,
}

impl Beneath {
    /// # Errors
    /// When it is no directory, or this kernel does not keep to what is beneath one.
    pub fn open(root: &Path) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = Self { root: rustix::fs::open(root, flags, Mode::empty())? };
        tree.folder(Path::new(""))?;
        Ok(tree)
    }

    /// What a path stands for; a link's size is the length of its target.
    pub fn attributes(&self, path: &Path) -> Result<Stat, Errno> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
                attributes_in(self.folder(parent)?, &name)
            }
            _ => rustix::fs::fstat(&self.root),
        }
    }

    pub fn read_link(&self, path: &Path) -> Result<CString, Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
        rustix::fs::readlinkat(self.folder(parent)?, name, Vec::new())
    }

    /// Open a regular file for reading; nothing else is ever opened, as opening a device or a pipe would do something.
    pub fn open_file(&self, path: &Path) -> Result<File, Errno> {
        let seen = self.attributes(path)?;
        must_be_file(&seen)?;
        let opened = self.at(path, OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK)?;
        // Should the name stand for something else by now, it was not looked at.
        let stat = rustix::fs::fstat(&opened)?;
        must_be_file(&stat)?;
        if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) {
            return Err(Errno::STALE);
        }
        Ok(File::from(opened))
    }

    /// A directory to look up names in.
    pub fn folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.at(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// A directory to list.
    pub fn open_folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The file system that a directory, or the directory of anything else, is on.
    pub fn file_system(&self, path: &Path) -> Result<StatVfs, Errno> {
        let folder = match self.folder(path) {
            Err(Errno::NOTDIR | Errno::LOOP) => self.folder(path.parent().unwrap_or(path))?,
            folder => folder?,
        };
        rustix::fs::fstatvfs(folder)
    }

    fn at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), how)
    }
}

/// What a name in a directory stands for; a link's size is the length of its target, because that is where a guest that keeps
/// links cuts them, and those in `/proc` have none.
pub(super) fn attributes_in(folder: impl AsFd, name: &CStr) -> Result<Stat, Errno> {
    let mut stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)?;
    if kind(&stat) == FileType::Symlink
        && let Ok(target) = rustix::fs::readlinkat(&folder, name, Vec::new())
    {
        stat.st_size = i64::try_from(target.as_bytes().len()).unwrap_or(i64::MAX);
    }
    Ok(stat)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn must_be_file(stat: &Stat) -> Result<(), Errno> {
    match kind(stat) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::ACCESS),
    }
}

//! One function for each request that the guest may make of the tree.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Stat, major, minor};
use rustix::io::Errno;

use super::beneath::attributes_in;
use super::{MAX_DATA, Shown};
use crate::nodes::ROOT;
use crate::protocol::{Header, Reader, Reply, dirent_length, open as open_flag};

/// How long the guest may believe a name, that there is none, and attributes, where the tree does not change.
const TRUST_SECONDS: u64 = 86400;
/// `fuse_entry_out`, in bytes.
const ENTRY: usize = 128;
/// What kernels take for an inode number that is not known.
const UNKNOWN: u64 = 0xffff_ffff;
const MAX_NAME: usize = 255;
/// Bytes of a path below the root, as the kernel takes it.
const MAX_PATH: usize = 4095;
/// Nothing runs as somebody else because of whom a file belongs to on this machine.
const SET_IDS: u32 = 0o6000;
// Open flags of Linux.
const O_ACCMODE: u32 = 3;
const O_CREAT: u32 = 0o100;
const O_TRUNC: u32 = 0o1000;

pub(super) type Answer = Result<Reply, Errno>;

impl Shown {
    pub(super) fn lookup(&mut self, header: Header, mut body: Reader<'_>) -> Answer {
        let path = child(&self.nodes.path(header.node)?, body.name()?)?;
        let mut reply = Reply::new();
        match self.tree.attributes(&path) {
            Ok(stat) => entry(self.nodes.looked_up(&path, &stat)?, &stat, self.trust(&path), &mut reply),
            // Node 0: there is no such name, and the guest may believe that, too.
            Err(Errno::NOENT) => {
                reply.u64(0).u64(0).u64(self.trust(&path)).u64(0).bytes(&[0; ENTRY - 32]);
            }
            Err(e) => return Err(e),
        }
        Ok(reply)
    }

    pub(super) fn getattr(&self, header: Header, mut body: Reader<'_>) -> Answer {
        let (_flags, _, _fh) = (body.u32()?, body.u32()?, body.u64()?);
        let path = self.nodes.path(header.node)?;
        let stat = self.tree.attributes(&path)?;
        let mut reply = Reply::new();
        reply.u64(self.trust(&path)).u32(0).u32(0);
        attributes(header.node, &stat, &mut reply);
        Ok(reply)
    }

    pub(super) fn readlink(&self, header: Header) -> Answer {
        let target = self.tree.read_link(&self.nodes.path(header.node)?)?;
        let mut reply = Reply::new();
        reply.bytes(target.as_bytes());
        Ok(reply)
    }

    pub(super) fn open(&mut self, header: Header, mut body: Reader<'_>) -> Answer {
        let (flags, _open_flags) = (body.u32()?, body.u32()?);
        if flags & (O_ACCMODE | O_CREAT | O_TRUNC) != 0 {
            return Err(Errno::ROFS);
        }
        if self.files.len() >= self.most_files {
            return Err(Errno::NFILE);
        }
        let path = self.nodes.path(header.node)?;
        let file = self.tree.open_file(&path)?;
        self.last_file += 1;
        self.files.insert(self.last_file, file);
        let mut reply = Reply::new();
        let kept = if self.trust(&path) > 0 { open_flag::KEEP_CACHE } else { 0 };
        reply.u64(self.last_file).u32(kept).u32(0);
        Ok(reply)
    }

    pub(super) fn read(&self, mut body: Reader<'_>) -> Answer {
        let (fh, offset, size) = read_in(&mut body)?;
        let file = self.files.get(&fh).ok_or(Errno::BADF)?;
        let mut reply = Reply::new();
        let buffer = reply.body_mut();
        let before = buffer.len();
        buffer.resize(before + size, 0);
        let mut have = 0;
        while let Some(rest) = buffer.get_mut(before + have..).filter(|rest| !rest.is_empty()) {
            let at = offset.checked_add(have as u64).ok_or(Errno::INVAL)?;
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
            }
        }
        reply.truncate(have);
        Ok(reply)
    }

    pub(super) fn release(&mut self, mut body: Reader<'_>) -> Answer {
        let (fh, _flags, _release_flags, _owner) = (body.u64()?, body.u32()?, body.u32()?, body.u64()?);
        self.files.remove(&fh).map(|_| Reply::new()).ok_or(Errno::BADF)
    }

    /// A directory is read by its node and an offset, so there is nothing to open. A guest that can be told so never asks again,
    /// and keeps the names.
    pub(super) fn opendir(&self, mut body: Reader<'_>) -> Answer {
        let (_flags, _open_flags) = (body.u32()?, body.u32()?);
        if self.without_opendir {
            return Err(Errno::NOSYS);
        }
        let mut reply = Reply::new();
        reply.u64(0).u32(open_flag::CACHE_DIR | open_flag::KEEP_CACHE).u32(0);
        Ok(reply)
    }

    pub(super) fn readdir(&mut self, header: Header, mut body: Reader<'_>, plus: bool) -> Answer {
        let (_fh, offset, mut room) = read_in(&mut body)?;
        let path = self.nodes.path(header.node)?;
        let listing = self.listings.of(header.node, || self.tree.open_folder(&path))?;
        let folder = if plus { Some(self.tree.folder(&path)?) } else { None };
        let before = if plus { ENTRY } else { 0 };
        let mut reply = Reply::new();
        let mut next = offset;
        while let Some((name, kind)) = listing.at(next) {
            let Some(left) = room.checked_sub(before + dirent_length(name.to_bytes())) else {
                // Nothing at all would look like the end.
                return if next == offset { Err(Errno::INVAL) } else { Ok(reply) };
            };
            room = left;
            let ino = match (next, &folder) {
                (2.., Some(folder)) => self.entry_in((folder, &path), name, &mut reply),
                (2.., None) => self.nodes.number_of(&path.join(as_path(name.to_bytes()))).unwrap_or(UNKNOWN),
                (own_or_above, _) => {
                    if plus {
                        // Node 0: the guest knows these two.
                        reply.bytes(&[0; ENTRY]);
                    }
                    if own_or_above == 0 { header.node } else { self.number_above(&path) }
                }
            };
            next += 1;
            reply.dirent(ino, next, kind, name.to_bytes());
        }
        if next == offset {
            // That is the end; the guest has the names now.
            self.listings.drop_of(header.node);
        }
        Ok(reply)
    }

    pub(super) fn statfs(&self, header: Header) -> Answer {
        let stat = self.tree.file_system(&self.nodes.path(header.node)?)?;
        let mut reply = Reply::new();
        reply.statfs(&stat);
        Ok(reply)
    }

    /// What a listed name stands for, as if it were looked up; its number.
    fn entry_in(&mut self, (folder, path): (&OwnedFd, &Path), name: &CStr, reply: &mut Reply) -> u64 {
        let known = attributes_in(folder, name).and_then(|stat| {
            let path = child(path, name.to_bytes())?;
            Ok((self.nodes.looked_up(&path, &stat)?, stat))
        });
        if let Ok((number, stat)) = known {
            entry(number, &stat, self.trust(path), reply);
            return number;
        }
        // Node 0: the guest looks the name up when somebody wants it, and is told then why not.
        reply.bytes(&[0; ENTRY]);
        UNKNOWN
    }

    /// Seconds.
    fn trust(&self, path: &Path) -> u64 {
        let changes = self.changing.iter().any(|at| path.starts_with(at));
        if changes { 0 } else { TRUST_SECONDS }
    }

    fn number_above(&self, path: &Path) -> u64 {
        path.parent().map_or(Some(ROOT), |above| self.nodes.number_of(above)).unwrap_or(UNKNOWN)
    }
}

/// `fuse_read_in`: handle, offset and size, no larger than an answer may be.
fn read_in(body: &mut Reader<'_>) -> Result<(u64, u64, usize), Errno> {
    let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
    let (_read_flags, _owner, _flags, _) = (body.u32()?, body.u64()?, body.u32()?, body.u32()?);
    Ok((fh, offset, size.min(MAX_DATA) as usize))
}

/// The path of a name, which is one name and nothing else.
fn child(parent: &Path, name: &[u8]) -> Result<PathBuf, Errno> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(Errno::INVAL);
    }
    if name.len() > MAX_NAME || parent.as_os_str().len() + 1 + name.len() > MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(parent.join(as_path(name)))
}

fn as_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// `fuse_entry_out`.
fn entry(number: u64, stat: &Stat, trust: u64, reply: &mut Reply) {
    reply.u64(number).u64(0).u64(trust).u64(trust).u32(0).u32(0);
    attributes(number, stat, reply);
}

/// `fuse_attr`. The inode number is the node's: those of this machine are not unique across mounts, and the guest sees one.
fn attributes(number: u64, stat: &Stat, reply: &mut Reply) {
    reply.u64(number).u64(stat.st_size.cast_unsigned()).u64(stat.st_blocks.cast_unsigned());
    reply.u64(stat.st_atime.cast_unsigned()).u64(stat.st_mtime.cast_unsigned());
    reply.u64(stat.st_ctime.cast_unsigned());
    for nanoseconds in [stat.st_atime_nsec, stat.st_mtime_nsec, stat.st_ctime_nsec] {
        reply.u32(u32::try_from(nanoseconds).unwrap_or(0));
    }
    reply.u32(stat.st_mode & !SET_IDS).u32(u32::try_from(stat.st_nlink).unwrap_or(u32::MAX));
    reply.u32(stat.st_uid).u32(stat.st_gid).u32(device_number(stat)).u32(4096).u32(0);
}

/// As the protocol has it: the lower byte of the minor number, the major number, the rest of the minor number.
fn device_number(stat: &Stat) -> u32 {
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

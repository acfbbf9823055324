//! Names looked up, and the attributes behind them.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use chaperone_names::native;
use rustix::io::Errno;

use super::answer::{Answer, Failed, TRUST_SECONDS, child, path_of};
use super::data::{content_of, handle};
use super::decided::{also, staged};
use super::verdict::release_to_resize;
use crate::change::NewAttributes;
use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::object::{Attributes, Located, Object, ObjectKind};
use crate::protocol::{Header, Reader, Reply, Short};
use crate::shared::{Handle, Shared};

pub(super) fn lookup(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let seen = if shared.gate.visible(&path) { shared.tree.attributes(&path) } else { Err(Errno::NOENT) };
    let mut reply = Reply::new();
    match seen {
        Ok(seen) => entry(shared, &path, &seen, &mut reply)?,
        // Node 0: there is no such name, and the kernel may believe that, too, for a while.
        Err(Errno::NOENT | Errno::NXIO) => {
            reply.u64(0).u64(0).u64(TRUST_SECONDS).u64(0).bytes(&[0; 8 + 88]);
        }
        Err(e) => return Err(e.into()),
    }
    Ok(reply)
}

/// `fuse_entry_out`.
///
/// # Errors
/// `ENOMEM` when the kernel knows of as many names as one session may have; the reply is as it was.
pub(super) fn entry(shared: &Shared, path: &str, seen: &Attributes, reply: &mut Reply) -> Result<(), Errno> {
    let same = if seen.object.nlink > 1 && !seen.object.is_dir() {
        shared.tree.names_beside(path)
    } else {
        Vec::new()
    };
    let waits = {
        let nodes = shared.nodes.read();
        let mut names = std::iter::once(path).chain(same.iter().map(String::as_str));
        names.find(|name| nodes.is_prepared(name))
    };
    let waits = waits.and_then(|name| Some((name, shared.tree.locate(name).ok()?.identity())));
    let (number, is_new) = {
        let mut nodes = shared.nodes.write();
        (nodes.looked_up(path, &seen.object, &same, waits)?, nodes.has_new_directories())
    };
    if is_new {
        shared.announcing.wake();
    }
    entry_of_node(shared, number, seen, reply);
    Ok(())
}

/// The same of a node that the kernel is told of once more.
pub(super) fn entry_of_node(shared: &Shared, number: u64, seen: &Attributes, reply: &mut Reply) {
    reply.u64(number).u64(1).u64(TRUST_SECONDS).u64(TRUST_SECONDS).u32(0).u32(0);
    attributes(shared, number, seen, reply);
}

pub(super) fn getattr(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (flags, _, fh) = (body.u32()?, body.u32()?, body.u64()?);
    let named = path_of(shared, header.node).ok().map(|path| shared.tree.attributes(&path));
    match named {
        Some(Ok(seen)) => Ok(attr_out(shared, header.node, &seen)),
        // Deleted or replaced while open: what the descriptor still holds.
        Some(Err(Errno::NOENT)) | None => {
            let held = if flags & 1 != 0 { handle(shared, fh).ok() } else { None };
            let held =
                held.or_else(|| shared.handles.read().values().find(|h| h.node == header.node).cloned());
            let held = held.ok_or(Errno::NOENT)?;
            Ok(attr_out(shared, header.node, &held_attributes(shared, &held)?))
        }
        Some(Err(e)) => Err(e.into()),
    }
}

pub(super) fn setattr(shared: &Arc<Shared>, header: Header, body: Reader<'_>, slow: &dyn Fn()) -> Answer {
    let asked = Asked::parse(body)?;
    if asked.uid.is_some_and(|uid| uid != shared.options.uid)
        || asked.gid.is_some_and(|gid| gid != shared.options.gid)
    {
        return Err(Errno::PERM.into());
    }
    let named = path_of(shared, header.node);
    let open = match asked.handle {
        Some(fh) => handle(shared, fh).ok(),
        // The kernel does not say by which descriptor, but there is one.
        None if named.is_err() => {
            let handles = shared.handles.read();
            handles.values().find(|held| held.node == header.node && held.writes.is_some()).cloned()
        }
        None => None,
    };
    let open = open.filter(|held| held.writes.is_some());
    let path = match (named, &open) {
        (Ok(path), _) => Some(path),
        // Deleted while open: size and times are the descriptor's, a mode has nothing to belong to.
        (Err(_), Some(_)) => None,
        (Err(e), None) => return Err(e),
    };
    let seen = match (&open, &path) {
        (Some(held), path) => {
            set_on_handle(shared, held, path.as_deref(), &asked.new)?;
            match path {
                Some(path) => shared.tree.attributes(path)?,
                None => held_attributes(shared, held)?,
            }
        }
        (None, Some(path)) => {
            if asked.new.size.is_some_and(|size| size > 0) {
                release_to_resize(shared, header, path, slow)?;
            }
            let is_write = |at: &Located| {
                asked.new.size.is_some() && at.object().is_some_and(|object| object.kind == ObjectKind::File)
            };
            let kind = |at: &Located| if is_write(at) { ChangeKind::Write } else { ChangeKind::Attributes };
            let also = |at: &Located| also(shared, at, kind(at), header.pid);
            staged(shared, (kind, also), path, header.pid, |at| shared.tree.set_attributes(at, &asked.new))?
        }
        (None, None) => return Err(Errno::STALE.into()),
    };
    if asked.new.size.is_some()
        && let Some(node) = shared.nodes.write().node(header.node)
    {
        node.shown = None;
    }
    Ok(attr_out(shared, header.node, &seen))
}

/// The opening was decided on; what it may write, it may also resize.
fn set_on_handle(
    shared: &Shared,
    held: &Handle,
    path: Option<&str>,
    new: &NewAttributes,
) -> Result<(), Failed> {
    if let Some(size) = new.size {
        held.file.set_len(size)?;
    }
    if let (Some(_), Some(path)) = (new.mode, path) {
        let at = shared.tree.locate(path)?;
        if let Some(decided) = Decided::through((held.writes, held.opening), &at) {
            shared
                .tree
                .set_attributes(&decided, &NewAttributes { mode: new.mode, ..NewAttributes::default() })?;
        }
    }
    if let (Some(mode), None, Some(blob)) = (new.mode, path, held.writes) {
        shared.tree.set_unnamed_mode(blob, mode);
    }
    if let Some(times) = &new.times {
        rustix::fs::futimens(&*held.file, times)?;
    }
    Ok(())
}

/// `fuse_setattr_in`.
struct Asked {
    handle: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    new: NewAttributes,
}

impl Asked {
    fn parse(mut body: Reader<'_>) -> Result<Self, Short> {
        const MODE: u32 = 1;
        const UID: u32 = 2;
        const GID: u32 = 4;
        const SIZE: u32 = 8;
        const ATIME: u32 = 16;
        const MTIME: u32 = 32;
        const FH: u32 = 64;
        const ATIME_NOW: u32 = 128;
        const MTIME_NOW: u32 = 256;
        let (valid, _, fh, size) = (body.u32()?, body.u32()?, body.u64()?, body.u64()?);
        let (_lock, atime, mtime, _ctime) = (body.u64()?, body.u64()?, body.u64()?, body.u64()?);
        let (atime_ns, mtime_ns, _ctime_ns, mode) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        let (_unused, uid, gid) = (body.u32()?, body.u32()?, body.u32()?);
        let time = |given: u32, now: u32, s: u64, ns: u32| rustix::fs::Timespec {
            tv_sec: s.cast_signed(),
            tv_nsec: if valid & now != 0 {
                rustix::fs::UTIME_NOW
            } else if valid & given != 0 {
                i64::from(ns)
            } else {
                rustix::fs::UTIME_OMIT
            },
        };
        let times = rustix::fs::Timestamps {
            last_access: time(ATIME, ATIME_NOW, atime, atime_ns),
            last_modification: time(MTIME, MTIME_NOW, mtime, mtime_ns),
        };
        let sets_times = valid & (ATIME | MTIME | ATIME_NOW | MTIME_NOW) != 0;
        Ok(Self {
            handle: (valid & FH != 0).then_some(fh),
            uid: (valid & UID != 0).then_some(uid),
            gid: (valid & GID != 0).then_some(gid),
            new: NewAttributes {
                size: (valid & SIZE != 0).then_some(size),
                mode: (valid & MODE != 0).then_some(mode),
                times: sets_times.then_some(times),
            },
        })
    }
}

pub(super) fn readlink(shared: &Shared, header: Header) -> Answer {
    let mut reply = Reply::new();
    reply.bytes(native(&shared.tree.read_link(&path_of(shared, header.node)?)?).as_bytes());
    Ok(reply)
}

/// `fuse_attr`.
pub(super) fn attributes(shared: &Shared, number: u64, seen: &Attributes, reply: &mut Reply) {
    let object = seen.object;
    let mut size = object.size;
    if object.kind == ObjectKind::File
        && let Some(node) = shared.nodes.write().node(number)
    {
        size = node.shown.unwrap_or(size);
        node.told = Some(size);
    }
    let split = |ns: i128| {
        let seconds = u64::try_from(ns.div_euclid(1_000_000_000)).unwrap_or(0);
        (seconds, u32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0))
    };
    let (atime, mtime, ctime) = (split(seen.atime_ns), split(object.mtime_ns), split(object.ctime_ns));
    reply.u64(object.ino).u64(size).u64(seen.blocks).u64(atime.0).u64(mtime.0).u64(ctime.0);
    reply.u32(atime.1).u32(mtime.1).u32(ctime.1).u32(seen.mode);
    reply.u32(u32::try_from(object.nlink).unwrap_or(u32::MAX));
    reply.u32(shared.options.uid).u32(shared.options.gid).u32(0).u32(4096).u32(0);
}

pub(super) fn attr_out(shared: &Shared, number: u64, seen: &Attributes) -> Reply {
    let mut reply = Reply::new();
    reply.u64(TRUST_SECONDS).u32(0).u32(0);
    attributes(shared, number, seen, &mut reply);
    reply
}

/// What an open file is that no name stands for any more.
pub(super) fn held_attributes(shared: &Shared, held: &Handle) -> Result<Attributes, Failed> {
    let stat = rustix::fs::fstat(&*content_of(shared, held))?;
    let time = |s: i64, n: u64| i128::from(s) * 1_000_000_000 + i128::from(n);
    Ok(Attributes {
        object: Object {
            kind: ObjectKind::File,
            dev: stat.st_dev,
            ino: stat.st_ino,
            nlink: 0,
            size: stat.st_size.cast_unsigned(),
            mtime_ns: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: time(stat.st_ctime, stat.st_ctime_nsec),
            staged: true,
        },
        mode: held
            .writes
            .and_then(|blob| shared.tree.unnamed_mode(blob))
            .map_or(held.mode, |bits| 0o100_000 | bits),
        blocks: stat.st_blocks.cast_unsigned(),
        atime_ns: time(stat.st_atime, stat.st_atime_nsec),
    })
}

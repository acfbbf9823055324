//! One function for each request of the kernel.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::io::Errno;

use crate::gate::{
    Cancel, ChangeKind, ChangeRequest, Closed, Object, ObjectKind, OpenRequest, Opened, Opening, Refused,
};
use crate::nodes::{Fit, Version};
use crate::protocol::{Header, MAX_IO, Reader, Reply, Short, op, open as open_flag};
use crate::server::{Handle, Listing, MAX_HANDLES, MAX_WAITING, Shared};
use crate::tree::{Attributes, ListingVersion, join};

/// How long the kernel may believe a name and its attributes without asking: what the person changes from outside
/// is seen after that.
const TRUST_SECONDS: u64 = 1;
/// Bringing a larger file into the stage takes its time, in bytes.
const LARGE: u64 = 4 << 20;
/// Moving more than so many files takes its time.
const MANY: usize = 16;
/// Open flags of Linux.
const O_ACCMODE: u32 = 3;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_EXCL: u32 = 0o200;

/// Why a request failed.
pub(crate) struct Failed(i32);

impl From<Errno> for Failed {
    fn from(e: Errno) -> Self {
        Self(e.raw_os_error())
    }
}

impl From<Short> for Failed {
    fn from(_: Short) -> Self {
        Self(Errno::INVAL.raw_os_error())
    }
}

impl From<Refused> for Failed {
    fn from(r: Refused) -> Self {
        Self(r.0)
    }
}

impl From<std::io::Error> for Failed {
    fn from(e: std::io::Error) -> Self {
        crate::tree::errno(e).into()
    }
}

type Answer = Result<Reply, Failed>;

/// Answer one request; `None` when no answer is due. `slow` is called before what takes its time: another thread
/// reads from then on.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    header: Header,
    body: Reader<'_>,
    slow: &dyn Fn(),
) -> Option<Vec<u8>> {
    let done = match header.opcode {
        op::FORGET | op::BATCH_FORGET => {
            // A short one forgets nothing: the node lives a little longer.
            forget(shared, header, body).ok();
            return None;
        }
        op::INTERRUPT => {
            let Ok(unique) = { body }.u64() else { return None };
            if let Some(cancel) = shared.waiting.lock().get(&unique) {
                cancel.cancel();
                return None;
            }
            // It was read by another thread that has not come so far yet, or is answered: the kernel asks again.
            return Some(Reply::error(header.unique, Errno::AGAIN.raw_os_error()));
        }
        op::OPEN => open(shared, header, body, slow),
        op::LOOKUP => lookup(shared, header, body),
        op::GETATTR => getattr(shared, header, body),
        op::SETATTR => setattr(shared, header, body),
        op::READLINK => readlink(shared, header),
        op::SYMLINK => symlink(shared, header, body),
        op::MKNOD => mknod(shared, header, body),
        op::MKDIR => mkdir(shared, header, body),
        op::UNLINK => remove(shared, header, body, false),
        op::RMDIR => remove(shared, header, body, true),
        op::RENAME => rename(shared, header, body, false, slow),
        op::RENAME2 => rename(shared, header, body, true, slow),
        op::LINK => Err(Errno::PERM.into()),
        op::READ => read(shared, body),
        op::WRITE => write(shared, body),
        op::STATFS => statfs(shared),
        op::RELEASE => release(shared, body),
        op::FSYNC => {
            slow();
            fsync(shared, body)
        }
        op::FSYNCDIR => {
            slow();
            shared.tree.sync().map(|()| Reply::new()).map_err(Into::into)
        }
        // ENOSYS: there are none, on any file. Callers see EOPNOTSUPP, and the kernel does not ask again; else it would
        // ask for the capabilities of a file before each write.
        op::SETXATTR | op::GETXATTR | op::LISTXATTR | op::REMOVEXATTR => Err(Errno::NOSYS.into()),
        op::OPENDIR => opendir(shared, header),
        op::READDIR => readdir(shared, header, body, false),
        op::READDIRPLUS => readdir(shared, header, body, true),
        op::RELEASEDIR => releasedir(shared, body),
        op::CREATE => create(shared, header, body),
        op::FALLOCATE => fallocate(shared, body),
        _ => Err(Errno::NOSYS.into()),
    };
    Some(match done {
        Ok(reply) => reply.finish(header.unique, 0),
        Err(Failed(errno)) => Reply::error(header.unique, errno),
    })
}

/// Decide a change, make it, and say how it ended.
fn staged<T>(
    shared: &Shared,
    (kind, path, to): (ChangeKind, &str, Option<&str>),
    object: Option<Object>,
    pid: u32,
    make: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Failed> {
    let request = ChangeRequest { kind, path, to, object, pid };
    let handle = shared.gate.change(&request)?;
    let made = make();
    shared.gate.changed(&request, handle, made.is_ok());
    Ok(made?)
}

fn forget(shared: &Shared, header: Header, mut body: Reader<'_>) -> Result<(), Short> {
    if header.opcode == op::FORGET {
        let times = body.u64()?;
        shared.nodes.write().forget(header.node, times);
        return Ok(());
    }
    let count = body.u32()?;
    let _padding = body.u32()?;
    let mut nodes = shared.nodes.write();
    for _ in 0..count {
        let (node, times) = (body.u64()?, body.u64()?);
        nodes.forget(node, times);
    }
    Ok(())
}

fn path_of(shared: &Shared, node: u64) -> Result<String, Failed> {
    shared.nodes.read().path(node).map(str::to_owned).ok_or_else(|| Errno::STALE.into())
}

fn child(shared: &Shared, parent: u64, name: &[u8]) -> Result<String, Failed> {
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG.into());
    }
    // A name that is not UTF-8 cannot be named in a policy, so it does not exist here.
    let name = std::str::from_utf8(name).map_err(|_| Failed(Errno::ILSEQ.raw_os_error()))?;
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Errno::INVAL.into());
    }
    let path = join(&path_of(shared, parent)?, name);
    if path.len() > 4000 {
        return Err(Errno::NAMETOOLONG.into());
    }
    Ok(path)
}

fn lookup(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let seen = if shared.gate.visible(&path) { shared.tree.attributes(&path) } else { Err(Errno::NOENT) };
    let mut reply = Reply::new();
    match seen {
        Ok(seen) => entry(shared, &path, &seen, &mut reply),
        // Node 0: there is no such name, and the kernel may believe that, too, for a while.
        Err(Errno::NOENT | Errno::NXIO) => {
            reply.u64(0).u64(0).u64(TRUST_SECONDS).u64(0).bytes(&[0; 8 + 88]);
        }
        Err(e) => return Err(e.into()),
    }
    Ok(reply)
}

/// `fuse_entry_out`.
fn entry(shared: &Shared, path: &str, seen: &Attributes, reply: &mut Reply) {
    let number = shared.nodes.write().looked_up(path);
    reply.u64(number).u64(1).u64(TRUST_SECONDS).u64(TRUST_SECONDS).u32(0).u32(0);
    attributes(shared, number, seen, reply);
}

/// `fuse_attr`.
fn attributes(shared: &Shared, number: u64, seen: &Attributes, reply: &mut Reply) {
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

fn attr_out(shared: &Shared, number: u64, seen: &Attributes) -> Reply {
    let mut reply = Reply::new();
    reply.u64(TRUST_SECONDS).u32(0).u32(0);
    attributes(shared, number, seen, &mut reply);
    reply
}

fn getattr(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
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

/// What an open file is that no name stands for any more.
fn held_attributes(shared: &Shared, held: &Handle) -> Result<Attributes, Failed> {
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
        mode: held.mode,
        blocks: stat.st_blocks.cast_unsigned(),
        atime_ns: time(stat.st_atime, stat.st_atime_nsec),
    })
}

fn setattr(shared: &Arc<Shared>, header: Header, mut body: Reader<'_>) -> Answer {
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
    if valid & UID != 0 && uid != shared.options.uid || valid & GID != 0 && gid != shared.options.gid {
        return Err(Errno::PERM.into());
    }
    let open = if valid & FH != 0 { handle(shared, fh).ok().filter(|h| h.writes.is_some()) } else { None };
    let path = match (path_of(shared, header.node), &open) {
        (Ok(path), _) => Some(path),
        // Deleted while open: size and times are the descriptor's, a mode has nothing to belong to.
        (Err(_), Some(_)) => None,
        (Err(e), None) => return Err(e),
    };
    let file = match (&open, &path) {
        (Some(handle), _) => Arc::clone(&handle.file),
        (None, None) => return Err(Errno::STALE.into()),
        (None, Some(path)) => {
            let seen = shared.tree.attributes(path)?;
            if seen.object.kind == ObjectKind::Dir {
                staged(shared, (ChangeKind::Attributes, path, None), Some(seen.object), header.pid, || {
                    if valid & MODE != 0 && shared.tree.is_staged(path) {
                        shared.tree.set_mode(path, mode)?;
                    }
                    Ok(())
                })?;
                // Times and modes of the person's own folders stay as they are.
                return Ok(attr_out(shared, header.node, &shared.tree.attributes(path)?));
            }
            let kind = if valid & SIZE != 0 { ChangeKind::Write } else { ChangeKind::Attributes };
            staged(shared, (kind, path, None), Some(seen.object), header.pid, || {
                let opened = shared.tree.open_file(path)?;
                let whole = valid & SIZE != 0 && size == 0;
                let from = if opened.blob.is_some() || whole { None } else { Some(&*opened.file) };
                Ok(shared.tree.copy_up(path, from, whole)?.file)
            })?
        }
    };
    if valid & SIZE != 0 {
        file.set_len(size)?;
    }
    if valid & MODE != 0
        && let Some(path) = &path
    {
        shared.tree.set_mode(path, mode)?;
    }
    if valid & (ATIME | MTIME | ATIME_NOW | MTIME_NOW) != 0 {
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
        rustix::fs::futimens(&*file, &times)?;
    }
    if valid & SIZE != 0
        && let Some(node) = shared.nodes.write().node(header.node)
    {
        node.shown = None;
    }
    let seen = match (&path, &open) {
        (Some(path), _) => shared.tree.attributes(path)?,
        (None, Some(held)) => held_attributes(shared, held)?,
        (None, None) => return Err(Errno::STALE.into()),
    };
    Ok(attr_out(shared, header.node, &seen))
}

fn readlink(shared: &Shared, header: Header) -> Answer {
    let mut reply = Reply::new();
    reply.bytes(shared.tree.read_link(&path_of(shared, header.node)?)?.as_bytes());
    Ok(reply)
}

fn symlink(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let target = std::str::from_utf8(body.name()?).map_err(|_| Failed(Errno::ILSEQ.raw_os_error()))?;
    staged(shared, (ChangeKind::Create, &path, None), None, header.pid, || {
        shared.tree.make_link(&path, target)
    })?;
    made(shared, &path)
}

fn mknod(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, _rdev, umask, _) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    if mode & 0o170_000 != 0o100_000 && mode & 0o170_000 != 0 {
        return Err(Errno::PERM.into());
    }
    staged(shared, (ChangeKind::Create, &path, None), None, header.pid, || {
        shared.tree.create(&path, mode & !umask)
    })?;
    made(shared, &path)
}

fn mkdir(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, umask) = (body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    staged(shared, (ChangeKind::Create, &path, None), None, header.pid, || {
        shared.tree.make_dir(&path, mode & !umask)
    })?;
    made(shared, &path)
}

fn made(shared: &Shared, path: &str) -> Answer {
    let seen = shared.tree.attributes(path)?;
    let mut reply = Reply::new();
    entry(shared, path, &seen, &mut reply);
    Ok(reply)
}

fn remove(shared: &Shared, header: Header, mut body: Reader<'_>, dir: bool) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let seen = shared.tree.attributes(&path)?;
    staged(shared, (ChangeKind::Delete, &path, None), Some(seen.object), header.pid, || {
        if dir { shared.tree.remove_dir(&path) } else { shared.tree.remove_file(&path) }
    })?;
    shared.nodes.write().unname(&path);
    Ok(Reply::new())
}

fn rename(shared: &Shared, header: Header, mut body: Reader<'_>, flagged: bool, slow: &dyn Fn()) -> Answer {
    const NOREPLACE: u32 = 1;
    let new_parent = body.u64()?;
    let flags = if flagged { (body.u32()?, body.u32()?).0 } else { 0 };
    let from = child(shared, header.node, body.name()?)?;
    let to = child(shared, new_parent, body.name()?)?;
    if flags & !NOREPLACE != 0 {
        return Err(Errno::INVAL.into());
    }
    let moved = shared.tree.moved_with(&from)?;
    if moved.len() > MANY {
        slow();
    }
    // Each file of a folder that moves is decided for itself: policy may protect one inside.
    let places: Vec<String> = moved
        .iter()
        .map(|(path, _)| format!("{to}{}", path.strip_prefix(&from).unwrap_or_default()))
        .collect();
    let requests = moved.iter().zip(&places).map(|((path, object), place)| ChangeRequest {
        kind: ChangeKind::Rename,
        path,
        to: Some(place),
        object: Some(*object),
        pid: header.pid,
    });
    let mut granted = Vec::new();
    let mut made = Ok(());
    for request in requests {
        match shared.gate.change(&request) {
            Ok(handle) => granted.push((request, handle)),
            Err(refused) => {
                made = Err(refused.into());
                break;
            }
        }
    }
    if made.is_ok() {
        made = shared.tree.rename(&from, &to, flags & NOREPLACE != 0, &moved).map_err(Failed::from);
    }
    for (request, handle) in granted {
        shared.gate.changed(&request, handle, made.is_ok());
    }
    made?;
    shared.nodes.write().renamed(&from, &to);
    Ok(Reply::new())
}

fn handle(shared: &Shared, fh: u64) -> Result<Arc<Handle>, Failed> {
    shared.handles.read().get(&fh).cloned().ok_or_else(|| Errno::BADF.into())
}

/// The opening of an existing file: the one request that may wait for a person.
fn open(shared: &Arc<Shared>, header: Header, mut body: Reader<'_>, slow: &dyn Fn()) -> Answer {
    let flags = body.u32()?;
    let path = path_of(shared, header.node)?;
    if shared.handles.read().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    let prepared = shared.nodes.write().prepared(&path, flags);
    if let Some(prepared) = prepared {
        return finish_open(shared, header.node, &path, flags, prepared.opened, prepared.verdict, true);
    }
    let opened = shared.tree.open_file(&path)?;
    let write = flags & O_ACCMODE != 0;
    let request = OpenRequest {
        path: path.clone(),
        origin: opened.origin.clone(),
        object: opened.object,
        file: Arc::clone(&opened.file),
        read: flags & O_ACCMODE != 1,
        write,
        truncate: flags & O_TRUNC != 0 && write,
        pid: header.pid,
    };
    // Known before the gate is asked, so that no interruption falls between.
    let cancel = Cancel::default();
    {
        let mut waiting = shared.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            return Err(Errno::AGAIN.into());
        }
        waiting.insert(header.unique, cancel.clone());
    }
    if write && opened.object.size > LARGE {
        slow();
    }
    let verdict = match shared.gate.open(request) {
        Opening::Now(verdict) => verdict,
        Opening::Later(decide) => {
            slow();
            decide(&cancel)
        }
    };
    shared.waiting.lock().remove(&header.unique);
    if cancel.is_cancelled() {
        return Err(Errno::INTR.into());
    }
    finish_open(shared, header.node, &path, flags, opened, verdict?, false)
}

/// Give a granted opening its handle. When the node's pages are of another version, or the kernel believes in another
/// size, the opening is kept and `ESTALE` makes the kernel look the path up once more: it comes back with a node of
/// its own (`own`).
fn finish_open(
    shared: &Shared,
    number: u64,
    path: &str,
    flags: u32,
    opened: crate::tree::Opened,
    verdict: Opened,
    own: bool,
) -> Answer {
    let write = flags & O_ACCMODE != 0;
    let truncate = flags & O_TRUNC != 0 && write;
    let (version, len) = match (&verdict.bytes, opened.blob) {
        (Some((_, version, len)), _) => (Version::Exact(*version), *len),
        (None, Some(blob)) => (Version::Staged(blob), opened.object.size),
        (None, None) => {
            let o = opened.object;
            let (mtime_ns, ctime_ns) = (o.mtime_ns, o.ctime_ns);
            (Version::Live { dev: o.dev, ino: o.ino, size: o.size, mtime_ns, ctime_ns }, o.size)
        }
    };
    let mut answer = open_flag::NOFLUSH;
    if !truncate {
        let mut nodes = shared.nodes.write();
        match nodes.fit(number, version, len) {
            Fit::Same => answer |= open_flag::KEEP_CACHE,
            Fit::Fresh => {}
            Fit::Elsewhere if own => {}
            Fit::Elsewhere => {
                nodes.prepare(path, flags, opened, verdict);
                return Err(Errno::STALE.into());
            }
        }
        if let Some(node) = nodes.node(number) {
            node.open += 1;
            node.version = Some(version);
            node.shown =
                verdict.bytes.as_ref().map(|(_, _, len)| *len).filter(|len| *len != opened.object.size);
        }
    }
    let (file, writes) = if write {
        let staged = match bring_up(shared, path, &opened, &verdict, truncate) {
            Ok(staged) => staged,
            Err(e) => {
                if !truncate {
                    closed_on_node(shared, number);
                }
                return Err(e);
            }
        };
        if let Some(node) = shared.nodes.write().node(number) {
            node.open += usize::from(truncate);
            node.version = staged.blob.map(Version::Staged);
            node.shown = None;
            // Whoever has this version open sees what is written to it.
            node.written = Some(Arc::clone(&staged.file));
        }
        (staged.file, staged.blob)
    } else {
        (verdict.bytes.map_or(opened.file, |(file, _, _)| file), None)
    };
    if let Some(blob) = writes {
        shared.tree.writer_opened(blob);
    }
    let mode = 0o100_000 | opened.mode;
    Ok(new_handle(shared, (number, path), file, verdict.handle, writes, flags, mode, answer))
}

/// The staged file that an opening for writing writes.
fn bring_up(
    shared: &Shared,
    path: &str,
    opened: &crate::tree::Opened,
    verdict: &Opened,
    truncate: bool,
) -> Result<crate::tree::Opened, Failed> {
    let exact = verdict.bytes.as_ref().map_or(&*opened.file, |(file, _, _)| &**file);
    let from = if truncate || opened.blob.is_some() { None } else { Some(exact) };
    let staged = shared.tree.copy_up(path, from, true)?;
    if truncate {
        staged.file.set_len(0)?;
    }
    Ok(staged)
}

#[allow(clippy::too_many_arguments)]
fn new_handle(
    shared: &Shared,
    (node, path): (u64, &str),
    file: Arc<std::fs::File>,
    opening: u64,
    writes: Option<u64>,
    flags: u32,
    mode: u32,
    answer: u32,
) -> Reply {
    let fh = shared.next_handle.fetch_add(1, Ordering::Relaxed);
    let open = Handle {
        node,
        path: path.to_owned(),
        file,
        opening,
        writes,
        append: flags & O_APPEND != 0,
        mode,
        read: AtomicU64::new(0),
        written: AtomicU64::new(0),
    };
    shared.handles.write().insert(fh, Arc::new(open));
    let mut reply = Reply::new();
    reply.u64(fh).u32(answer).u32(0);
    reply
}

fn create(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (flags, mode, umask, _) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    if shared.handles.read().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    let request =
        ChangeRequest { kind: ChangeKind::Create, path: &path, to: None, object: None, pid: header.pid };
    let opening = shared.gate.change(&request)?;
    let opened = match shared.tree.create(&path, mode & !umask) {
        Ok(opened) => opened,
        Err(e) => {
            shared.gate.changed(&request, opening, false);
            // Somebody was faster: the kernel looks it up and opens it as an existing file.
            let again = e == Errno::EXIST && flags & O_EXCL == 0;
            return Err(if again { Errno::STALE.into() } else { e.into() });
        }
    };
    let seen = shared.tree.attributes(&path)?;
    let mut reply = Reply::new();
    entry(shared, &path, &seen, &mut reply);
    let number = {
        let mut nodes = shared.nodes.write();
        let number = nodes.number_of(&path).unwrap_or(0);
        if let Some(node) = nodes.node(number) {
            node.open += 1;
            node.version = opened.blob.map(Version::Staged);
        }
        number
    };
    if let Some(blob) = opened.blob {
        shared.tree.writer_opened(blob);
    }
    // The outcome of the creation is told when it is closed, with what was written.
    let open = new_handle(
        shared,
        (number, &path),
        opened.file,
        opening,
        opened.blob,
        flags,
        seen.mode,
        open_flag::NOFLUSH | open_flag::KEEP_CACHE,
    );
    reply.bytes(open.body());
    Ok(reply)
}

/// The bytes behind a handle: those that it was opened with, or what was written since by one that shares its node.
fn content_of(shared: &Shared, open: &Handle) -> Arc<std::fs::File> {
    if open.writes.is_none()
        && let Some(written) = shared.nodes.read().get(open.node).and_then(|n| n.written.clone())
    {
        return written;
    }
    Arc::clone(&open.file)
}

fn read(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
    let open = handle(shared, fh)?;
    let file = content_of(shared, &open);
    let mut reply = Reply::new();
    let buffer = reply.body_mut();
    buffer.resize(16 + size.min(MAX_IO) as usize, 0);
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(16 + have..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    reply.truncate(have);
    open.read.fetch_add(have as u64, Ordering::Relaxed);
    Ok(reply)
}

fn write(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let (fh, offset, size, _flags) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
    let (_owner, _open_flags, _) = (body.u64()?, body.u32()?, body.u32()?);
    let data = body.bytes(size as usize)?;
    let open = handle(shared, fh)?;
    if open.writes.is_none() {
        return Err(Errno::BADF.into());
    }
    let offset = if open.append && !shared.options.write_back { open.file.metadata()?.len() } else { offset };
    shared.tree.room(u64::from(size))?;
    open.file.write_all_at(data, offset)?;
    open.written.fetch_add(u64::from(size), Ordering::Relaxed);
    let mut reply = Reply::new();
    reply.u32(size).u32(0);
    Ok(reply)
}

fn release(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let fh = body.u64()?;
    let open = shared.handles.write().remove(&fh);
    if let Some(open) = open {
        closed_on_node(shared, open.node);
        if let Some(blob) = open.writes {
            shared.tree.writer_closed(blob);
        }
        let closed = Closed {
            path: &open.path,
            writable: open.writes.is_some(),
            read: open.read.load(Ordering::Relaxed),
            written: open.written.load(Ordering::Relaxed),
        };
        shared.gate.closed(open.opening, &closed);
    }
    Ok(Reply::new())
}

fn closed_on_node(shared: &Shared, number: u64) {
    if let Some(node) = shared.nodes.write().node(number) {
        node.open = node.open.saturating_sub(1);
        if node.open == 0 {
            node.written = None;
        }
    }
}

fn fsync(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let open = handle(shared, body.u64()?)?;
    if open.writes.is_some() {
        open.file.sync_data()?;
        shared.tree.sync()?;
    }
    Ok(Reply::new())
}

fn fallocate(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let (fh, offset, length, mode) = (body.u64()?, body.u64()?, body.u64()?, body.u32()?);
    let open = handle(shared, fh)?;
    if open.writes.is_none() {
        return Err(Errno::BADF.into());
    }
    shared.tree.room(length)?;
    rustix::fs::fallocate(&*open.file, rustix::fs::FallocateFlags::from_bits_retain(mode), offset, length)?;
    Ok(Reply::new())
}

fn statfs(shared: &Shared) -> Answer {
    let stat = rustix::fs::fstatvfs(shared.tree.root())?;
    let mut reply = Reply::new();
    reply.u64(stat.f_blocks).u64(stat.f_bfree).u64(stat.f_bavail).u64(stat.f_files).u64(stat.f_ffree);
    reply
        .u32(u32::try_from(stat.f_bsize).unwrap_or(4096))
        .u32(255)
        .u32(u32::try_from(stat.f_frsize).unwrap_or(4096));
    reply.u32(0).bytes(&[0; 24]);
    Ok(reply)
}

fn opendir(shared: &Shared, header: Header) -> Answer {
    let path = path_of(shared, header.node)?;
    shared.gate.list(&path, header.pid)?;
    let version = if shared.gate.hides_names() { None } else { shared.tree.listing_version(&path)? };
    let kept =
        version.is_some()
            && shared.nodes.read().get(header.node).and_then(|n| n.listed).is_some_and(|(listed, at)| {
                Some(listed) == version && at.elapsed().as_secs() < TRUST_SECONDS
            });
    let (names, flags) = if kept {
        (None, open_flag::CACHE_DIR | open_flag::KEEP_CACHE)
    } else {
        let names = names_in(shared, &path)?;
        if let Some(node) = shared.nodes.write().node(header.node) {
            node.listed = version.filter(ListingVersion::is_settled).map(|v| (v, Instant::now()));
        }
        (Some(names), open_flag::CACHE_DIR)
    };
    let fh = shared.next_handle.fetch_add(1, Ordering::Relaxed);
    shared.folders.lock().insert(fh, names);
    let mut reply = Reply::new();
    reply.u64(fh).u32(flags).u32(0);
    Ok(reply)
}

fn names_in(shared: &Shared, folder: &str) -> Result<Listing, Failed> {
    let mut names = shared.tree.list(folder)?;
    names.retain(|(name, _)| shared.gate.visible(&join(folder, name)));
    Ok(Arc::new(names))
}

fn readdir(shared: &Shared, header: Header, mut body: Reader<'_>, plus: bool) -> Answer {
    let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
    let known = shared.folders.lock().get(&fh).cloned().ok_or(Errno::BADF)?;
    let folder = path_of(shared, header.node)?;
    let names = if let Some(names) = known {
        names
    } else {
        // The kernel has dropped the names that it was told to keep.
        let names = names_in(shared, &folder)?;
        shared.folders.lock().insert(fh, Some(Arc::clone(&names)));
        names
    };
    let mut reply = Reply::new();
    let dot = |o: u64| if o == 0 { "." } else { ".." };
    let mut at = offset;
    loop {
        let (name, seen) = match at {
            0 | 1 => (dot(at), None),
            n => match usize::try_from(n - 2).ok().and_then(|i| names.get(i)) {
                Some((name, seen)) => (name.as_str(), Some(seen)),
                None => break,
            },
        };
        let fixed = if plus { 128 + 24 } else { 24 };
        let needed = (fixed + name.len()).next_multiple_of(8);
        if reply.len() + needed > size as usize {
            break;
        }
        let (ino, kind) = seen.map_or((1, 4), |s| (s.object.ino, s.mode >> 12));
        if plus {
            match seen {
                Some(seen) => entry(shared, &join(&folder, name), seen, &mut reply),
                None => drop(reply.bytes(&[0; 128])),
            }
        }
        let before = reply.len();
        reply
            .u64(ino)
            .u64(at + 1)
            .u32(u32::try_from(name.len()).unwrap_or(0))
            .u32(kind)
            .bytes(name.as_bytes());
        let padding = (reply.len() - before).next_multiple_of(8) - (reply.len() - before);
        reply.bytes(&[0; 8][..padding]);
        at += 1;
    }
    Ok(reply)
}

fn releasedir(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let fh = body.u64()?;
    shared.folders.lock().remove(&fh);
    Ok(Reply::new())
}

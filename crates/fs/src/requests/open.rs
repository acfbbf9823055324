//! Openings, of what is there and of what is made by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chaperone_quota::{Held, HeldFile};
use rustix::io::Errno;

use super::answer::{Answer, Failed, child, path_of};
use super::attributes::entry;
use super::data::closed_on_node;
use super::decided::DECISIONS;
use super::verdict::{O_ACCMODE, O_TRUNC, decided, unused, written};
use crate::change::Content;
use crate::decided::{Decided, DecidedOpening};
use crate::gate::{ChangeKind, Closed};
use crate::nodes::{Fit, Prepared, Version};
use crate::object::FileVersion;
use crate::protocol::{Header, Reader, Reply, open as open_flag};
use crate::shared::{Handle, MAX_HANDLES, Shared};
use crate::tree;

// Open flags of Linux.
const O_WRONLY: u32 = 1;
const O_APPEND: u32 = 0o2000;
const O_EXCL: u32 = 0o200;

/// The opening of an existing file: the one request that may wait for the user.
pub(super) fn open(shared: &Arc<Shared>, header: Header, mut body: Reader<'_>, slow: &dyn Fn()) -> Answer {
    let flags = body.u32()?;
    let mut path = path_of(shared, header.node)?;
    if shared.handles.read().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    for _ in 0..DECISIONS {
        match open_once(shared, header, &path, flags, slow) {
            // What was decided on is another object by now; where the node's name is gone, the kernel looks it up.
            Err(failed) if failed.is(Errno::STALE) => path = path_of(shared, header.node)?,
            // Nothing has the name any more: the kernel, which knew it, looks it up once more, and makes it where that was asked for.
            Err(failed) if failed.is(Errno::NOENT) && is_gone(shared, &path) => {
                return Err(Errno::STALE.into());
            }
            done => return done,
        }
    }
    Err(Errno::STALE.into())
}

fn is_gone(shared: &Shared, path: &str) -> bool {
    shared.tree.locate(path).is_ok_and(|at| at.object().is_none())
}

fn open_once(shared: &Shared, header: Header, path: &str, flags: u32, slow: &dyn Fn()) -> Answer {
    let is_prepared = shared.nodes.read().is_prepared(path);
    let prepared = if is_prepared { shared.nodes.write().prepared(path) } else { None };
    if let Some(prepared) = prepared {
        if shared.tree.locate(path).is_ok_and(|now| prepared.fits(flags, now.identity())) {
            return finish_open(shared, (header.node, header.pid), flags, prepared.granted, true);
        }
        came_to_nothing(shared, [prepared]);
    }
    let granted = decided(shared, header, path, flags, slow)?;
    finish_open(shared, (header.node, header.pid), flags, granted, false)
}

pub(super) fn create(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (flags, mode, umask, _) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    if shared.handles.read().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    for _ in 0..DECISIONS {
        let at = shared.tree.locate(&path)?;
        let decided = Decided::by(&*shared.gate, ChangeKind::Create, &at, header.pid)?;
        match shared.tree.create(&decided, mode & !umask) {
            Ok(opened) => return created(shared, opened, decided.handle(), flags),
            Err(e) => {
                shared.gate.changed(&decided.request(), decided.handle(), false);
                match e {
                    Errno::STALE => {}
                    // Somebody was faster: the kernel looks it up and opens it as an existing file.
                    Errno::EXIST if flags & O_EXCL == 0 => return Err(Errno::STALE.into()),
                    e => return Err(e.into()),
                }
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// The outcome of the creation is reported when it is closed, with what was written.
fn created(shared: &Shared, opened: tree::Opened, opening: u64, flags: u32) -> Answer {
    let path = opened.located.path().to_owned();
    let mut reply = Reply::new();
    let known = opened.located.attributes().map(|seen| entry(shared, &path, seen, &mut reply)).transpose();
    let held = known.and_then(|_| Ok(shared.tree.quota.take(Handle::MEMORY, 0)?));
    let held = held.inspect_err(|_| {
        shared.gate.closed(opening, &Closed { path: &path, writable: true, read: 0, written: 0 });
    })?;
    let number = {
        let mut nodes = shared.nodes.write();
        let number = nodes.number_of(&path).unwrap_or(0);
        if let Some(node) = nodes.node(number) {
            node.open += 1;
            node.version = opened.blob.map(Version::Staged);
        }
        number
    };
    let mode = 0o100_000 | opened.mode;
    let answer = open_flag::NOFLUSH | open_flag::KEEP_CACHE;
    let open =
        new_handle(shared, (number, path), (opened.file, held), opening, opened.blob, flags, mode, answer);
    reply.bytes(open.body());
    Ok(reply)
}

/// Give a granted opening its handle. When the node's pages are of another version, or the kernel believes in another
/// size, the opening is kept and `ESTALE` makes the kernel look the path up once more: it comes back with a node of
/// its own (`own`).
fn finish_open(
    shared: &Shared,
    (number, pid): (u64, u32),
    flags: u32,
    granted: DecidedOpening,
    own: bool,
) -> Answer {
    let path = granted.opened().located.path().to_owned();
    let held = shared.tree.quota.take(Handle::MEMORY, 0);
    let held = held.inspect_err(|_| unused(shared, &granted)).map_err(Errno::from)?;
    let write = flags & O_ACCMODE != 0;
    let truncate = flags & O_TRUNC != 0 && write;
    let mut answer = open_flag::NOFLUSH;
    if !truncate {
        let (version, len) = version_of(&granted);
        let mut nodes = shared.nodes.write();
        match nodes.fit(number, version, len) {
            Fit::Same => answer |= open_flag::KEEP_CACHE,
            Fit::Fresh => {}
            // Of a copy whose size the kernel does not believe in it would serve a part.
            Fit::Elsewhere
                if own && (!matches!(version, Version::Exact(_)) || nodes.believes(number, len)) => {}
            Fit::Elsewhere => {
                let dropped = nodes.prepare(flags, granted);
                drop(nodes);
                came_to_nothing(shared, dropped);
                return Err(Errno::STALE.into());
            }
        }
        if let Some(node) = nodes.node(number) {
            node.open += 1;
            node.version = Some(version);
            let size = granted.opened().object.size;
            node.shown = granted.verdict().bytes.as_ref().map(|(_, _, len)| *len).filter(|len| *len != size);
        }
    }
    let mode = 0o100_000 | granted.opened().mode;
    let (file, writes) = if write {
        match bring_up(shared, number, &granted, truncate, pid) {
            Ok((file, blob)) => (file, blob),
            Err(e) => {
                if !truncate {
                    closed_on_node(shared, number);
                }
                unused(shared, &granted);
                return Err(e);
            }
        }
    } else {
        (Arc::clone(granted.served()), None)
    };
    Ok(new_handle(
        shared,
        (number, path),
        (file, held),
        granted.verdict().handle,
        writes,
        flags,
        mode,
        answer,
    ))
}

/// Which bytes an opening serves, and how many.
fn version_of(granted: &DecidedOpening) -> (Version, u64) {
    let (opened, verdict) = (granted.opened(), granted.verdict());
    match (&verdict.bytes, opened.blob) {
        (Some((_, version, len)), _) => (Version::Exact(*version), *len),
        (None, Some(blob)) => (Version::Staged(blob), opened.object.size),
        (None, None) => (Version::Live(FileVersion::of(&opened.object)), opened.object.size),
    }
}

/// The staged file that an opening for writing writes, with its number.
fn bring_up(
    shared: &Shared,
    number: u64,
    granted: &DecidedOpening,
    truncate: bool,
    pid: u32,
) -> Result<(Arc<HeldFile>, Option<u64>), Failed> {
    let content = if truncate { Content::Empty } else { Content::Released(granted.served()) };
    let staged = written(shared, granted, pid, |write| shared.tree.copy_up(write, content))?;
    if let Some(node) = shared.nodes.write().node(number) {
        node.open += usize::from(truncate);
        node.version = staged.blob.map(Version::Staged);
        node.shown = None;
        // Whoever has this version open sees what is written to it.
        node.written = Some(Arc::clone(&staged.file));
    }
    Ok((staged.file, staged.blob))
}

/// Granted openings for which nobody came back.
fn came_to_nothing(shared: &Shared, dropped: impl IntoIterator<Item = Prepared>) {
    for Prepared { granted, .. } in dropped {
        unused(shared, &granted);
    }
}

#[allow(clippy::too_many_arguments)]
pub(super) fn new_handle(
    shared: &Shared,
    (node, path): (u64, String),
    (file, held): (Arc<HeldFile>, Held),
    opening: u64,
    writes: Option<u64>,
    flags: u32,
    mode: u32,
    answer: u32,
) -> Reply {
    let fh = shared.next_handle.fetch_add(1, Ordering::Relaxed);
    let open = Handle {
        node,
        path,
        file,
        opening,
        // A kernel that delays writes reads the rest of a page by any handle.
        reads: flags & O_ACCMODE != O_WRONLY || shared.options.write_back,
        writes,
        append: flags & O_APPEND != 0,
        mode,
        read: AtomicU64::new(0),
        written: AtomicU64::new(0),
        _held: held,
    };
    shared.handles.write().insert(fh, Arc::new(open));
    let mut reply = Reply::new();
    reply.u64(fh).u32(answer).u32(0);
    reply
}

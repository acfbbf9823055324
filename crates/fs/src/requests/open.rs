//! Openings, of what is there and of what is made by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::answer::{Answer, Failed, child, path_of};
use super::attributes::entry;
use super::data::closed_on_node;
use crate::gate::{Cancel, ChangeKind, ChangeRequest, OpenRequest, Opened, Opening};
use crate::nodes::{Fit, Version};
use crate::protocol::{Header, Reader, Reply, open as open_flag};
use crate::shared::{Handle, MAX_HANDLES, MAX_WAITING, Shared};

/// Bringing a larger file into the stage takes its time, in bytes.
const LARGE: u64 = 4 << 20;
// Open flags of Linux.
const O_ACCMODE: u32 = 3;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_EXCL: u32 = 0o200;

/// The opening of an existing file: the one request that may wait for a person.
pub(super) fn open(shared: &Arc<Shared>, header: Header, mut body: Reader<'_>, slow: &dyn Fn()) -> Answer {
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

pub(super) fn create(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
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

/// Give a granted opening its handle. When the node's pages are of another version, or the kernel believes in another
/// size, the opening is kept and `ESTALE` makes the kernel look the path up once more: it comes back with a node of
/// its own (`own`).
pub(super) fn finish_open(
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
pub(super) fn bring_up(
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
pub(super) fn new_handle(
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

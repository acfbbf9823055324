//! What open files hold.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaperone_quota::HeldFile;
use rustix::io::Errno;

use super::answer::{Answer, Failed};
use crate::gate::Closed;
use crate::protocol::{Reader, Reply};
use crate::shared::{Handle, Shared};

/// Of the flags of a write: it comes from the kernel's page cache.
const WRITE_CACHE: u32 = 1;

pub(super) fn read(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
    let open = handle(shared, fh)?;
    if !open.reads {
        return Err(Errno::BADF.into());
    }
    let file = content_of(shared, &open);
    let mut reply = Reply::new();
    let buffer = reply.body_mut();
    buffer.resize(16 + size.min(shared.max_io()) as usize, 0);
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

pub(super) fn write(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let (fh, offset, size, how) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
    let (_owner, _open_flags, _) = (body.u64()?, body.u32()?, body.u32()?);
    let data = body.bytes(size as usize)?;
    let open = handle(shared, fh)?;
    if open.writes.is_none() {
        return Err(Errno::BADF.into());
    }
    // Pages that a mapping changed have their place, by whatever handle they come.
    let appends = open.append && how & WRITE_CACHE == 0 && !shared.options.write_back;
    let offset = if appends { open.file.metadata()?.len() } else { offset };
    shared.tree.take_room(u64::from(size))?;
    open.file.write_all_at(data, offset)?;
    open.written.fetch_add(u64::from(size), Ordering::Relaxed);
    let mut reply = Reply::new();
    reply.u32(size).u32(0);
    Ok(reply)
}

pub(super) fn release(shared: &Shared, mut body: Reader<'_>) -> Answer {
    close(shared, body.u64()?);
    Ok(Reply::new())
}

/// A handle is not used any more.
pub(crate) fn close(shared: &Shared, fh: u64) {
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
}

pub(super) fn fsync(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let open = handle(shared, body.u64()?)?;
    if open.writes.is_some() {
        open.file.sync_data()?;
        shared.tree.sync()?;
    }
    Ok(Reply::new())
}

pub(super) fn fallocate(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let (fh, offset, length, mode) = (body.u64()?, body.u64()?, body.u64()?, body.u32()?);
    let open = handle(shared, fh)?;
    if open.writes.is_none() {
        return Err(Errno::BADF.into());
    }
    shared.tree.take_room(length)?;
    rustix::fs::fallocate(&*open.file, rustix::fs::FallocateFlags::from_bits_retain(mode), offset, length)?;
    Ok(Reply::new())
}

pub(super) fn statfs(shared: &Shared) -> Answer {
    let stat = rustix::fs::fstatvfs(shared.tree.root())?;
    let mut reply = Reply::new();
    reply.statfs(&stat);
    Ok(reply)
}

pub(super) fn handle(shared: &Shared, fh: u64) -> Result<Arc<Handle>, Failed> {
    shared.handles.read().get(&fh).cloned().ok_or_else(|| Errno::BADF.into())
}

/// The bytes behind a handle: those that it was opened with, or what was written since by one that shares its node.
pub(super) fn content_of(shared: &Shared, open: &Handle) -> Arc<HeldFile> {
    if open.writes.is_none()
        && let Some(written) = shared.nodes.read().get(open.node).and_then(|n| n.written.clone())
    {
        return written;
    }
    Arc::clone(&open.file)
}

pub(super) fn closed_on_node(shared: &Shared, number: u64) {
    if let Some(node) = shared.nodes.write().node(number) {
        node.open = node.open.saturating_sub(1);
        if node.open == 0 {
            node.written = None;
        }
    }
}

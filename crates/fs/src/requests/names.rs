//! Names made, removed and moved.

use rustix::io::Errno;

use super::answer::{Answer, Failed, child};
use super::attributes::entry;
use super::decided::{DECISIONS, staged};
use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::protocol::{Header, Reader, Reply};
use crate::shared::Shared;

/// Moving more than so many files takes its time.
const MANY: usize = 16;

pub(super) fn symlink(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let target = std::str::from_utf8(body.name()?).map_err(|_| Failed(Errno::ILSEQ.raw_os_error()))?;
    staged(shared, |_| ChangeKind::Create, &path, header.pid, |at| shared.tree.make_link(at, target))?;
    made(shared, &path)
}

pub(super) fn mknod(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, _rdev, umask, _) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    match mode & 0o170_000 {
        0 | 0o100_000 => {}
        kind @ (0o010_000 | 0o140_000) => {
            let make = |at: &Decided| shared.tree.make_special(at, kind == 0o140_000, mode & !umask);
            staged(shared, |_| ChangeKind::Create, &path, header.pid, make)?;
            return made(shared, &path);
        }
        _ => return Err(Errno::PERM.into()),
    }
    let create = |decided: &Decided| shared.tree.create(decided, mode & !umask);
    let opened = staged(shared, |_| ChangeKind::Create, &path, header.pid, create)?;
    opened.blob.into_iter().for_each(|blob| shared.tree.writer_closed(blob));
    made(shared, &path)
}

pub(super) fn mkdir(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, umask) = (body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    staged(shared, |_| ChangeKind::Create, &path, header.pid, |at| shared.tree.make_dir(at, mode & !umask))?;
    made(shared, &path)
}

pub(super) fn remove(shared: &Shared, header: Header, mut body: Reader<'_>, dir: bool) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    staged(
        shared,
        |_| ChangeKind::Delete,
        &path,
        header.pid,
        |at| {
            if dir { shared.tree.remove_dir(at) } else { shared.tree.remove_file(at) }
        },
    )?;
    shared.nodes.write().unname(&path);
    Ok(Reply::new())
}

pub(super) fn rename(
    shared: &Shared,
    header: Header,
    mut body: Reader<'_>,
    flagged: bool,
    slow: &dyn Fn(),
) -> Answer {
    const NOREPLACE: u32 = 1;
    let new_parent = body.u64()?;
    let flags = if flagged { (body.u32()?, body.u32()?).0 } else { 0 };
    let from = child(shared, header.node, body.name()?)?;
    let to = child(shared, new_parent, body.name()?)?;
    if flags & !NOREPLACE != 0 {
        return Err(Errno::INVAL.into());
    }
    for _ in 0..DECISIONS {
        match rename_once(shared, (&from, &to), flags & NOREPLACE != 0, header.pid, slow) {
            Err(failed) if failed.is(Errno::STALE) => {}
            done => {
                done?;
                shared.nodes.write().renamed(&from, &to);
                return Ok(Reply::new());
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// `ESTALE` when either side became something else between decision and act.
fn rename_once(
    shared: &Shared,
    (from, to): (&str, &str),
    keep: bool,
    pid: u32,
    slow: &dyn Fn(),
) -> Result<(), Failed> {
    let moved = shared.tree.locate_all(from)?;
    let target = shared.tree.locate(to)?;
    if moved.len() > MANY {
        slow();
    }
    let (granted, decided) = Decided::of_moves(&*shared.gate, &moved, &target, pid);
    let mut made = decided.map_err(Failed::from);
    if made.is_ok() {
        made = shared.tree.rename(&granted, &target, keep).map_err(Failed::from);
    }
    for decided in granted {
        shared.gate.changed(&decided.request(), decided.handle(), made.is_ok());
    }
    made
}

pub(super) fn made(shared: &Shared, path: &str) -> Answer {
    let seen = shared.tree.attributes(path)?;
    let mut reply = Reply::new();
    entry(shared, path, &seen, &mut reply)?;
    Ok(reply)
}

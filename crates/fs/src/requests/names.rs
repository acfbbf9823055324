//! Names made, removed and moved.

use rustix::io::Errno;

use super::answer::{Answer, Failed, child};
use super::attributes::entry;
use super::decided::staged;
use crate::gate::{ChangeKind, ChangeRequest};
use crate::protocol::{Header, Reader, Reply};
use crate::shared::Shared;

/// Moving more than so many files takes its time.
const MANY: usize = 16;

pub(super) fn symlink(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let target = std::str::from_utf8(body.name()?).map_err(|_| Failed(Errno::ILSEQ.raw_os_error()))?;
    staged(shared, (ChangeKind::Create, &path, None), None, header.pid, || {
        shared.tree.make_link(&path, target)
    })?;
    made(shared, &path)
}

pub(super) fn mknod(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
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

pub(super) fn mkdir(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, umask) = (body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    staged(shared, (ChangeKind::Create, &path, None), None, header.pid, || {
        shared.tree.make_dir(&path, mode & !umask)
    })?;
    made(shared, &path)
}

pub(super) fn remove(shared: &Shared, header: Header, mut body: Reader<'_>, dir: bool) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let seen = shared.tree.attributes(&path)?;
    staged(shared, (ChangeKind::Delete, &path, None), Some(seen.object), header.pid, || {
        if dir { shared.tree.remove_dir(&path) } else { shared.tree.remove_file(&path) }
    })?;
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

pub(super) fn made(shared: &Shared, path: &str) -> Answer {
    let seen = shared.tree.attributes(path)?;
    let mut reply = Reply::new();
    entry(shared, path, &seen, &mut reply);
    Ok(reply)
}

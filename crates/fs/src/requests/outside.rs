//! Requests of whoever repeats in the cell what the user did outside. Each is answered with what is there already, as if it
//! had made it so: nothing is done, and no content is handed out. What was not announced fails.

use rustix::io::Errno;

use super::answer::{Answer, child, path_of};
use super::attributes::{attr_out, entry, getattr, lookup};
use super::names::made;
use crate::announcing::Edit;
use crate::object::{Attributes, Object, ObjectKind};
use crate::protocol::{Header, Reader, Reply, op, open as open_flag};
use crate::shared::Shared;

/// No file that is open has this number.
const NOTHING: u64 = 0;

pub(super) fn answer(shared: &Shared, header: Header, body: Reader<'_>) -> Answer {
    match header.opcode {
        op::LOOKUP => look(shared, header, body),
        op::GETATTR => getattr(shared, header, body),
        op::SETATTR => set(shared, header),
        op::OPEN => open(shared, header),
        op::MKNOD => make(shared, header, body, 16, ObjectKind::File),
        op::MKDIR => make(shared, header, body, 8, ObjectKind::Dir),
        op::SYMLINK => make(shared, header, body, 0, ObjectKind::Symlink),
        op::UNLINK => remove(shared, header, body, false),
        op::RMDIR => remove(shared, header, body, true),
        _ => Err(Errno::ACCESS.into()),
    }
}

fn look(shared: &Shared, header: Header, body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, { body }.name()?)?;
    match shared.announcing.expected(&path) {
        // The kernel is not to believe it: others who ask meanwhile wait until it is made.
        Some(Edit::Made(_)) => Err(Errno::NOENT.into()),
        Some(Edit::Removed { directory }) => {
            let mut reply = Reply::new();
            entry(shared, &path, &was(shared, &path, directory)?, &mut reply)?;
            Ok(reply)
        }
        _ => lookup(shared, header, body),
    }
}

/// What is not there any more, as far as the kernel must be told to let it be removed.
fn was(shared: &Shared, path: &str, directory: bool) -> Result<Attributes, Errno> {
    let root = shared.tree.attributes("")?;
    let told = {
        let nodes = shared.nodes.read();
        nodes.number_of(path).and_then(|number| nodes.get(number)).and_then(|node| node.told)
    };
    let (kind, mode) = if directory { (ObjectKind::Dir, 0o040_755) } else { (ObjectKind::File, 0o100_644) };
    let object = Object {
        kind,
        ino: crate::object::synthetic(path),
        nlink: 1,
        size: told.unwrap_or(0),
        ..root.object
    };
    Ok(Attributes { object, mode, ..root })
}

fn set(shared: &Shared, header: Header) -> Answer {
    let path = path_of(shared, header.node)?;
    match shared.announcing.expected(&path) {
        Some(edit @ (Edit::Written | Edit::Finished | Edit::Attributes)) => {
            if edit != Edit::Finished {
                shared.announcing.repeated(&path);
            }
            Ok(attr_out(shared, header.node, &shared.tree.attributes(&path)?))
        }
        _ => Err(Errno::PERM.into()),
    }
}

/// What is closed after this was written.
fn open(shared: &Shared, header: Header) -> Answer {
    let path = path_of(shared, header.node)?;
    if shared.announcing.expected(&path) != Some(Edit::Finished) {
        return Err(Errno::ACCESS.into());
    }
    shared.announcing.repeated(&path);
    let mut reply = Reply::new();
    reply.u64(NOTHING).u32(open_flag::KEEP_CACHE | open_flag::NOFLUSH).u32(0);
    Ok(reply)
}

fn make(shared: &Shared, header: Header, mut body: Reader<'_>, fixed: usize, kind: ObjectKind) -> Answer {
    body.bytes(fixed)?;
    let path = child(shared, header.node, body.name()?)?;
    if shared.announcing.expected(&path) != Some(Edit::Made(kind)) {
        return Err(Errno::ACCESS.into());
    }
    shared.announcing.repeated(&path);
    made(shared, &path)
}

fn remove(shared: &Shared, header: Header, mut body: Reader<'_>, directory: bool) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    if shared.announcing.expected(&path) != Some(Edit::Removed { directory }) {
        return Err(Errno::ACCESS.into());
    }
    shared.announcing.repeated(&path);
    // It may be there again: then the kernel looks it up.
    shared.nodes.write().unname(&path);
    Ok(Reply::new())
}

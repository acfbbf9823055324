//! Names made, removed and moved.

use chaperone_names::name_as_text;
use rustix::io::Errno;

use super::answer::{Answer, Failed, child, path_of};
use super::attributes::entry;
use super::decided::{DECISIONS, alone, also, ended, staged, with_others};
use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::nodes::Version;
use crate::object::Located;
use crate::protocol::{Header, Reader, Reply};
use crate::shared::Shared;

/// Moving more than so many files takes its time.
const MANY: usize = 16;

pub(super) fn symlink(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    let target = name_as_text(body.name()?);
    staged(shared, (|_: &Located| ChangeKind::Create, alone), &path, header.pid, |at| {
        shared.tree.make_link(at, &target)
    })?;
    made(shared, &path)
}

pub(super) fn mknod(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, _rdev, umask, _) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    match mode & 0o170_000 {
        0 | 0o100_000 => {}
        kind @ (0o010_000 | 0o140_000) => {
            let make = |at: &Decided| shared.tree.make_special(at, kind == 0o140_000, mode & !umask);
            staged(shared, (|_: &Located| ChangeKind::Create, alone), &path, header.pid, make)?;
            return made(shared, &path);
        }
        _ => return Err(Errno::PERM.into()),
    }
    let create = |decided: &Decided| shared.tree.create(decided, mode & !umask);
    let opened = staged(shared, (|_: &Located| ChangeKind::Create, alone), &path, header.pid, create)?;
    opened.blob.into_iter().for_each(|blob| shared.tree.writer_closed(blob));
    made(shared, &path)
}

pub(super) fn mkdir(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (mode, umask) = (body.u32()?, body.u32()?);
    let path = child(shared, header.node, body.name()?)?;
    staged(shared, (|_: &Located| ChangeKind::Create, alone), &path, header.pid, |at| {
        shared.tree.make_dir(at, mode & !umask)
    })?;
    made(shared, &path)
}

pub(super) fn remove(shared: &Shared, header: Header, mut body: Reader<'_>, dir: bool) -> Answer {
    let path = child(shared, header.node, body.name()?)?;
    staged(shared, (|_: &Located| ChangeKind::Delete, alone), &path, header.pid, |at| {
        if dir { shared.tree.remove_dir(at) } else { shared.tree.remove_file(at) }
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
    const EXCHANGE: u32 = 2;
    let new_parent = body.u64()?;
    let flags = if flagged { (body.u32()?, body.u32()?).0 } else { 0 };
    let from = child(shared, header.node, body.name()?)?;
    let to = child(shared, new_parent, body.name()?)?;
    if !matches!(flags, 0 | NOREPLACE | EXCHANGE) {
        return Err(Errno::INVAL.into());
    }
    for _ in 0..DECISIONS {
        let done = if flags == EXCHANGE {
            exchange_once(shared, (&from, &to), header.pid, slow)
        } else {
            rename_once(shared, (&from, &to), flags == NOREPLACE, header.pid, slow)
        };
        match done {
            Err(failed) if failed.is(Errno::STALE) => {}
            done => {
                done?;
                let mut nodes = shared.nodes.write();
                if flags == EXCHANGE {
                    nodes.exchanged(&from, &to)
                } else {
                    nodes.renamed(&from, &to)
                }
                return Ok(Reply::new());
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// One more name for the file of a node.
pub(super) fn link(shared: &Shared, header: Header, mut body: Reader<'_>, slow: &dyn Fn()) -> Answer {
    /// Bringing a larger file of the user's into the stage takes its time, in bytes.
    const LARGE: u64 = 4 << 20;
    let node = body.u64()?;
    let name = body.name()?;
    if let Some(done) = named(shared, header, node, name) {
        return done;
    }
    let to = child(shared, header.node, name)?;
    for _ in 0..DECISIONS {
        let from = shared.tree.locate(&path_of(shared, node)?)?;
        let target = shared.tree.locate(&to)?;
        if from.object().is_some_and(|object| !object.staged && object.size > LARGE) {
            slow();
        }
        let decided = Decided::of_link(&*shared.gate, &from, &target, header.pid)?;
        let decided = decided.and(also(shared, &from, ChangeKind::Attributes, header.pid));
        let done = shared.tree.link(&decided, &target);
        ended(shared, &decided, done.is_ok());
        match done {
            Err(Errno::STALE) => {}
            linked => {
                linked?;
                return made(shared, &to);
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// As [`rename_once`], both ways at once.
fn exchange_once(
    shared: &Shared,
    (one, other): (&str, &str),
    pid: u32,
    slow: &dyn Fn(),
) -> Result<(), Failed> {
    let (of_one, of_other) = (shared.tree.locate_all(one)?, shared.tree.locate_all(other)?);
    let (Some(a), Some(b)) = (of_one.first(), of_other.first()) else { return Err(Errno::NOENT.into()) };
    if of_one.len().saturating_add(of_other.len()) > MANY {
        slow();
    }
    let (mut granted, decided) = Decided::of_moves(&*shared.gate, &of_one, b, pid);
    let mut made = decided.map_err(Failed::from);
    let mut back = Vec::new();
    if made.is_ok() {
        let decided;
        (back, decided) = Decided::of_moves(&*shared.gate, &of_other, a, pid);
        made = decided.map_err(Failed::from);
    }
    if made.is_ok() {
        let places = of_one.iter().chain(&of_other).map(Located::path).collect();
        granted = with_others(shared, granted, &places, pid);
        back = with_others(shared, back, &places, pid);
        made = shared.tree.exchange(&granted, &back).map_err(Failed::from);
    }
    granted.append(&mut back);
    granted.iter().for_each(|decided| ended(shared, decided, made.is_ok()));
    made
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
    let (mut granted, decided) = Decided::of_moves(&*shared.gate, &moved, &target, pid);
    let mut made = decided.map_err(Failed::from);
    if made.is_ok() {
        let places = moved.iter().chain([&target]).map(Located::path).collect();
        granted = with_others(shared, granted, &places, pid);
        made = shared.tree.rename(&granted, &target, keep).map_err(Failed::from);
    }
    granted.iter().for_each(|decided| ended(shared, decided, made.is_ok()));
    made
}

/// The first name of a file that was made without one; none where the node is no such file.
fn named(shared: &Shared, header: Header, node: u64, name: &[u8]) -> Option<Answer> {
    let version = shared.nodes.read().get(node).filter(|node| node.unnamed).and_then(|node| node.version);
    let Some(Version::Staged(blob)) = version else { return None };
    shared.tree.unnamed_mode(blob)?;
    let named = || {
        let to = child(shared, header.node, name)?;
        let create = (|_: &Located| ChangeKind::Create, alone);
        staged(shared, create, &to, header.pid, |at| shared.tree.name_unnamed(at, blob))?;
        shared.nodes.write().named(node, &to);
        made(shared, &to)
    };
    Some(named())
}

pub(super) fn made(shared: &Shared, path: &str) -> Answer {
    let seen = shared.tree.attributes(path)?;
    let mut reply = Reply::new();
    entry(shared, path, &seen, &mut reply)?;
    Ok(reply)
}

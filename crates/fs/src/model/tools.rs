//! What the tools and a commit do with the tree, step by step as `crates/mcp` and `crates/workspace` do it: locate, have it
//! decided, act, and begin anew where it became something else meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use chaperone_staging::{Change, Op, State, Tree as Stage, Verdict};
use rustix::io::Errno;

use super::gate::{FORM, SECRET, content};
use super::kernel::{Done, Kernel};
use super::schedule::point;
use crate::change::Content;
use crate::decided::{Decided, DecidedOpening, How};
use crate::gate::{Cancel, ChangeKind, Closed};
use crate::object::Located;

const DECISIONS: usize = 16;

pub fn read(kernel: &Kernel, path: &str, seen: &mut Vec<Vec<u8>>) -> Done<()> {
    let granted = opened(kernel, path).map_err(Errno::raw_os_error)?;
    seen.push(content(granted.served()));
    closed(kernel, path, &granted);
    Ok(())
}

/// In place of what is there, or behind it.
pub fn write(kernel: &Kernel, path: &str, append: bool) -> Done<()> {
    anew(|| {
        let tree = &kernel.shared.tree;
        let mut at = tree.locate(path)?;
        let mut before = None;
        if append && at.object().is_some() {
            let granted = opened(kernel, path)?;
            at = granted.opened().located.clone();
            closed(kernel, path, &granted);
            before = Some(granted);
        }
        let kind = if at.object().is_none() { ChangeKind::Create } else { ChangeKind::Write };
        changed(kernel, kind, &at, |decided| {
            let staged = match (kind, &before) {
                (ChangeKind::Create, _) => tree.create(decided, 0o640)?,
                (_, Some(granted)) => tree.copy_up(decided, Content::Released(granted.served()))?,
                (_, None) => tree.copy_up(decided, Content::Empty)?,
            };
            point();
            staged.file.write_all_at(b"a", staged.file.metadata().unwrap().len()).unwrap();
            staged.blob.into_iter().for_each(|blob| tree.writer_closed(blob));
            Ok(())
        })
    })
}

pub fn list(kernel: &Kernel, path: &str, seen: &mut Vec<Vec<u8>>) -> Done<()> {
    anew(|| {
        let at = kernel.shared.tree.locate(path)?;
        changed(kernel, ChangeKind::List, &at, |decided| {
            let names = kernel.shared.tree.list(decided)?;
            seen.extend(names.into_iter().map(|(name, _)| name.into_bytes()));
            Ok(())
        })
    })
}

pub fn delete(kernel: &Kernel, path: &str) -> Done<()> {
    anew(|| {
        let at = kernel.shared.tree.locate(path)?;
        at.object().ok_or(Errno::NOENT)?;
        changed(kernel, ChangeKind::Delete, &at, |decided| kernel.shared.tree.remove_file(decided))
    })
}

pub fn rename(kernel: &Kernel, from: &str, to: &str) -> Done<()> {
    anew(|| {
        let (tree, gate) = (&kernel.shared.tree, &*kernel.shared.gate);
        let (moved, target) = (tree.locate_all(from)?, tree.locate(to)?);
        let (granted, decided) = Decided::of_moves(gate, &moved, &target, 1);
        let mut made = decided.map_err(|refused| Errno::from_raw_os_error(refused.0));
        if made.is_ok() {
            made = tree.rename(&granted, &target, false);
        }
        granted.iter().for_each(|decided| gate.changed(&decided.request(), decided.handle(), made.is_ok()));
        made
    })
}

/// What the user commits: all that is staged, but what nobody may read.
pub fn commit(kernel: &Kernel) -> Done<()> {
    let tree = &kernel.shared.tree;
    let (version, changes) = (tree.version(), tree.changes().map_err(Errno::raw_os_error)?);
    let docs = tree.dir.parent().unwrap().join("docs");
    let stage = Stage::new(File::open(&docs).unwrap().into(), docs.with_file_name("history"), &tree.dir);
    let mut judge = |change: &Change, new: Option<&File>| {
        point();
        let bytes = new.map(content);
        if bytes.as_ref().is_some_and(|bytes| is_guarded(bytes)) {
            return Verdict::Refuse { reasons: Vec::new() };
        }
        if let Some(bytes) = bytes.filter(|_| change.op != Op::Delete) {
            kernel.let_through.lock().push((change.path.clone(), bytes));
        }
        point();
        Verdict::Commit
    };
    let report = stage.commit(&changes, &mut judge).unwrap();
    point();
    let settled: Vec<String> = report
        .entries
        .iter()
        .filter(|entry| entry.state == State::Committed)
        .flat_map(|entry| std::iter::once(entry.path.clone()).chain(entry.from.clone()))
        .collect();
    tree.committed(&settled, version, &report.touched).map_err(Errno::raw_os_error)
}

/// What stands in the user's directory that was neither there before nor let through by a commit.
pub fn unjudged(kernel: &Kernel, before: &[(&str, &[u8])]) -> Vec<String> {
    let docs = kernel.shared.tree.dir.parent().unwrap().join("docs");
    let let_through = kernel.let_through.lock();
    let known = |path: &str, bytes: &[u8]| {
        before.iter().any(|(at, was)| *at == path && *was == bytes)
            || let_through.iter().any(|(at, new)| at == path && new == bytes)
    };
    let mut all = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(docs.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = Path::new(&folder).join(entry.file_name()).to_str().unwrap().to_owned();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() && !known(&path, &std::fs::read(entry.path()).unwrap()) => {
                    all.push(path)
                }
                _ => {}
            }
        }
    }
    all
}

fn is_guarded(bytes: &[u8]) -> bool {
    bytes.iter().any(|b| *b == SECRET[0] || *b == FORM[0])
}

fn opened(kernel: &Kernel, path: &str) -> Result<DecidedOpening, Errno> {
    let opened = kernel.shared.tree.open_file(path)?;
    let how = How { read: true, write: false, truncate: false };
    DecidedOpening::by(&*kernel.shared.gate, opened, how, 1, (&Cancel::default(), &|| ()))
        .map_err(|refused| Errno::from_raw_os_error(refused.0))
}

fn closed(kernel: &Kernel, path: &str, granted: &DecidedOpening) {
    let closed = Closed { path, writable: false, read: 0, written: 0 };
    kernel.shared.gate.closed(granted.verdict().handle, &closed);
}

fn changed(
    kernel: &Kernel,
    kind: ChangeKind,
    at: &Located,
    make: impl FnOnce(&Decided) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let gate = &*kernel.shared.gate;
    let decided = Decided::by(gate, kind, at, 1).map_err(|refused| Errno::from_raw_os_error(refused.0))?;
    let made = make(&decided);
    gate.changed(&decided.request(), decided.handle(), made.is_ok());
    made
}

fn anew(mut act: impl FnMut() -> Result<(), Errno>) -> Done<()> {
    for _ in 1..DECISIONS {
        match act() {
            Err(Errno::STALE) => {}
            done => return done.map_err(Errno::raw_os_error),
        }
    }
    act().map_err(Errno::raw_os_error)
}

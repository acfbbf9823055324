//! After a death in the middle of a commit: every file is made old or new, and the journal is closed.
//!
//! What happened is read from the tree itself: the journal names the inode that was displaced and the one that was to
//! come, so each step is found before, after, or between its two halves. A step whose effect is visible is completed,
//! any other one is taken back.

use std::os::fd::{AsFd, BorrowedFd};

use chaperone_names::native;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::beneath::{Parent, version_at};
use crate::change::{BaseVersion, Change};
use crate::effects::{Applied, Scene, Unsynced, bits, finish_group};
use crate::error::{At, Error, Result};
use crate::journal::{ChangeLine, CommitFolder, Done, History, Journal, Record};
use crate::plan::{Action, Step};
use crate::report::{Entry, Report, State, Stop};

/// The reason of a change that a death of the committing process prevented.
pub const INTERRUPTED: &str = "interrupted";

pub(crate) fn recover(root: BorrowedFd<'_>, history: &History) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    // Commits follow each other under the lock, so only the last ones can be open; all are looked at all the same.
    for number in history.commits()?.into_iter().rev() {
        let folder = match history.commit(number) {
            Ok(folder) => folder,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                history.remove_unbegun(number)?;
                continue;
            }
            Err(other) => return Err(other),
        };
        match folder.read()? {
            None => history.remove_unbegun(number)?,
            Some(journal) if journal.ended => break,
            Some(journal) => reports.push(close(root, history, &folder, &journal)?),
        }
    }
    reports.reverse();
    Ok(reports)
}

fn close(
    root: BorrowedFd<'_>,
    history: &History,
    folder: &CommitFolder,
    journal: &Journal,
) -> Result<Report> {
    let stat = rustix::fs::fstat(root).at("examine", "the root")?;
    if journal.begin.root != (stat.st_dev, stat.st_ino) {
        return Err(Error::ForeignHistory { path: history.path.clone() });
    }
    let scene = Scene {
        root,
        kept: folder.kept.as_fd(),
        commit: folder.number,
        tag: &journal.begin.tag,
        bits: bits(journal.begin.undo_of.is_some()),
        touched: Default::default(),
    };
    let mut writer = folder.append_after(journal.length)?;
    let mut unsynced = Unsynced::default();
    let mut outcomes: Vec<(usize, Done)> = Vec::new();
    for (number, step) in journal.steps.iter().enumerate() {
        if let Some(done) = journal.done.get(&number) {
            outcomes.push((step.change, done.clone()));
            continue;
        }
        let settled = settle(&scene, journal, number, step, &mut unsynced);
        let prepared = journal.prepared.get(&number);
        let done = match settled {
            Ok(applied) => Done {
                step: number,
                state: State::Committed,
                reasons: applied.reasons,
                before: applied.before,
                after: applied.after,
                sha256: prepared.and_then(|prepared| prepared.sha256.clone()),
                says: prepared.and_then(|prepared| prepared.says.clone()),
            },
            Err(stop) => {
                let (state, reasons) = stop.into_parts();
                Done { step: number, state, reasons, before: None, after: None, sha256: None, says: None }
            }
        };
        outcomes.push((step.change, done));
        if outcomes.len().is_multiple_of(64) {
            finish_group(&scene, &mut unsynced, &mut writer, Vec::new(), &folder.path)?;
        }
    }
    let new: Vec<Done> = outcomes
        .iter()
        .filter(|(_, done)| !journal.done.contains_key(&done.step))
        .map(|(_, done)| done.clone())
        .collect();
    finish_group(&scene, &mut unsynced, &mut writer, new, &folder.path)?;
    writer.add(&Record::End)?;
    writer.sync()?;
    Ok(report(folder.number, &journal.changes, &outcomes))
}

/// What a closed or recovered commit did, change by change.
pub(crate) fn report(commit: u64, changes: &[ChangeLine], outcomes: &[(usize, Done)]) -> Report {
    let entries = changes.iter().map(|line| {
        let of_line: Vec<&Done> =
            outcomes.iter().filter(|(change, _)| *change == line.index).map(|(_, done)| done).collect();
        let worst = of_line.iter().map(|done| done.state).find(|state| *state != State::Committed);
        let state = worst.unwrap_or(State::Committed);
        Entry {
            path: line.path.clone(),
            op: line.op,
            kind: line.kind,
            from: line.from.clone(),
            size: of_line.iter().filter_map(|done| done.after).next_back().map_or(0, |after| after.size),
            sha256: of_line.iter().find_map(|done| done.sha256.clone()),
            state,
            reasons: of_line.iter().flat_map(|done| done.reasons.iter().cloned()).collect(),
            choices: Vec::new(),
            commit: (state == State::Committed).then_some(commit),
        }
    });
    Report { commit: Some(commit), entries: entries.collect(), ..Report::default() }
}

/// Brings one step to its old or its new end.
fn settle(
    scene: &Scene<'_>,
    journal: &Journal,
    number: usize,
    step: &Step,
    unsynced: &mut Unsynced,
) -> Result<Applied, Stop> {
    let kept = version_at(scene.kept, &number.to_string())?;
    let parent = match Parent::open(scene.root, &step.path) {
        Ok(parent) => parent,
        // A later step moved or removed the directory, so this one was complete: its kept version says so.
        Err(_) if kept.is_some() => {
            return Ok(Applied { before: before_of(step, journal, number), ..Applied::default() });
        }
        Err(Errno::NOENT) => return settle_without_parent(step),
        Err(other) => return Err(other.into()),
    };
    unsynced.note(parent.fd.as_fd())?;
    let now = parent.version()?;
    let is_now =
        |version: &BaseVersion| now.is_some_and(|now| (now.dev, now.ino) == (version.dev, version.ino));
    let done = |before: Option<BaseVersion>, after: Option<BaseVersion>| {
        Ok(Applied { before, after, reasons: Vec::new() })
    };
    match &step.action {
        Action::Remove { base } => settle_removal(scene, number, &parent, base, kept.is_some()),
        Action::RemoveDir { base } if now.is_none() => done(Some(*base), None),
        Action::MakeDir { mode } => match now.filter(|now| now.kind() == Some(crate::Kind::Dir)) {
            Some(_) => {
                let fd = crate::beneath::open_folder(parent.fd.as_fd(), &parent.name)?;
                rustix::fs::fchmod(&fd, rustix::fs::Mode::from_raw_mode(mode & scene.bits))?;
                done(None, parent.version()?)
            }
            None => Err(Stop::refused(INTERRUPTED)),
        },
        Action::Move { base, .. } if is_now(base) => done(Some(*base), now),
        Action::MoveOver { base, replaces, .. } if kept.is_some() && is_now(base) => {
            done(Some(*replaces), now)
        }
        Action::MoveOver { from, base, replaces } if is_now(base) => {
            let source = Parent::open(scene.root, from)?;
            unsynced.note(source.fd.as_fd())?;
            if source.version()?.is_some_and(|at| at.ino == replaces.ino) {
                scene.keep(number, source.fd.as_fd(), &source.name)?;
            }
            done(Some(*replaces), now)
        }
        Action::Attributes { base, mode, mtime_ns } => match now {
            Some(now)
                if is_now(base)
                    && now.mode & scene.bits == *mode
                    && now.mtime_ns.to_string() == *mtime_ns =>
            {
                done(Some(*base), Some(now))
            }
            Some(now) if is_now(base) && now.mode != base.mode && now.mode & scene.bits == *mode => {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
                let fd = crate::beneath::open(parent.fd.as_fd(), &parent.name, flags)?;
                let mtime_ns = mtime_ns.parse().unwrap_or(base.mtime_ns);
                rustix::fs::futimens(&fd, &crate::effects::modified_at(mtime_ns))?;
                done(Some(*base), parent.version()?)
            }
            _ => Err(Stop::refused(INTERRUPTED)),
        },
        Action::Write { .. } => settle_write(scene, journal, number, &parent, kept.is_some()),
        _ => Err(Stop::refused(INTERRUPTED)),
    }
}

/// The directory is gone: with it went what was to go, and nothing can have arrived.
fn settle_without_parent(step: &Step) -> Result<Applied, Stop> {
    match &step.action {
        Action::RemoveDir { base } => Ok(Applied { before: Some(*base), ..Applied::default() }),
        _ => Err(Stop::refused(INTERRUPTED)),
    }
}

fn before_of(step: &Step, journal: &Journal, number: usize) -> Option<BaseVersion> {
    match &step.action {
        Action::Remove { base } | Action::RemoveDir { base } => Some(*base),
        Action::MoveOver { replaces, .. } => Some(*replaces),
        _ => journal.prepared.get(&number).and_then(|prepared| prepared.base),
    }
}

fn settle_removal(
    scene: &Scene<'_>,
    number: usize,
    parent: &Parent,
    base: &BaseVersion,
    is_kept: bool,
) -> Result<Applied, Stop> {
    let aside = scene.temporary(number);
    let displaced = version_at(parent.fd.as_fd(), &aside)?;
    match displaced {
        Some(displaced) if is_kept && displaced.ino == base.ino => {
            rustix::fs::unlinkat(&parent.fd, aside.as_str(), AtFlags::empty())?;
        }
        Some(displaced) if base.is_same_content(&displaced) => {
            scene.keep(number, parent.fd.as_fd(), &aside)?;
        }
        Some(_) => {
            let there = &parent.fd;
            let flags = RenameFlags::NOREPLACE;
            let name = native(&parent.name);
            if rustix::fs::renameat_with(there, aside.as_str(), there, &*name, flags).is_err() {
                scene.keep(number, parent.fd.as_fd(), &aside)?;
                return Err(Stop::Conflict("changed_meanwhile_and_kept_in_history"));
            }
            return Err(Stop::Conflict("changed_meanwhile"));
        }
        None if is_kept => {}
        None => return Err(Stop::refused(INTERRUPTED)),
    }
    Ok(Applied { before: Some(*base), ..Applied::default() })
}

fn settle_write(
    scene: &Scene<'_>,
    journal: &Journal,
    number: usize,
    parent: &Parent,
    is_kept: bool,
) -> Result<Applied, Stop> {
    let temporary = scene.temporary(number);
    let waiting = version_at(parent.fd.as_fd(), &temporary)?;
    let unlink = || rustix::fs::unlinkat(&parent.fd, temporary.as_str(), AtFlags::empty());
    let Some(prepared) = journal.prepared.get(&number) else {
        // Without this record nothing changed places yet: the name holds unfinished new content.
        if waiting.is_some() {
            unlink()?;
        }
        return Err(Stop::refused(INTERRUPTED));
    };
    let now = parent.version()?;
    let is_new_in_place = now.is_some_and(|now| now.ino == prepared.new.ino);
    let after = if is_new_in_place { now } else { Some(prepared.new) };
    let applied = Applied { before: prepared.base, after, reasons: Vec::new() };
    match (waiting, prepared.base) {
        (Some(waiting), _) if waiting.ino == prepared.new.ino => {
            unlink()?;
            Err(Stop::refused(INTERRUPTED))
        }
        (Some(waiting), Some(base)) if is_kept && waiting.ino == base.ino => {
            unlink()?;
            Ok(applied)
        }
        (Some(waiting), Some(base)) if base.is_same_content(&waiting) || !is_new_in_place => {
            scene.keep(number, parent.fd.as_fd(), &temporary)?;
            Ok(applied)
        }
        (Some(_), Some(_)) => {
            let stop = Stop::Conflict("changed_meanwhile");
            let stop = scene.exchange_back(number, parent, &temporary, &prepared.new, stop);
            if version_at(parent.fd.as_fd(), &temporary)?.is_some_and(|at| at.ino == prepared.new.ino) {
                unlink()?;
            }
            Err(stop)
        }
        (Some(_), None) => Err(Stop::refused(INTERRUPTED)),
        (None, _) if is_kept => Ok(applied),
        (None, None) if is_new_in_place => Ok(applied),
        (None, _) => Err(Stop::refused(INTERRUPTED)),
    }
}

/// Whether a change of the agent and what a recovery reports name the same object.
pub fn is_about(entry: &Entry, change: &Change) -> bool {
    entry.path == change.path && entry.op == change.op && entry.from == change.from
}

//! The history of commits, and the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::beneath::{self, Parent, link_text};
use crate::change::{BaseVersion, Change, Kind, Op};
use crate::commit::{Request, Tree};
use crate::content;
use crate::error::{Error, Result};
use crate::journal::{ChangeLine, CommitFolder, Done, History, Journal, MadeStep};
use crate::plan::{Action, Step, strip_folder};
use crate::recover::report;
use crate::relinked;
use crate::report::{Choice, Entry, Report, State, Stop, Verdict};
use chaperone_names::name_as_text;

/// What to take back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// One commit; `None`: all that still stand, the newest first.
    pub commit: Option<u64>,
    /// Paths (or directories, with all below) of the tree as the commit left it; `None`: all.
    pub paths: Option<Vec<String>>,
}

/// Why a path that an undo would remove stays: something that stays needs it.
pub const NEEDED: &str = "needed_by_what_stays";

/// What is about to be taken back of one commit.
#[derive(Debug)]
pub struct Undoing<'a> {
    /// The paths that are taken back.
    pub back: Vec<&'a str>,
    /// Those of them that the commit made, so that nothing is there afterwards.
    pub made: Vec<&'a str>,
    /// Those that the same commit changed, and that stay as they are now.
    pub stay: Vec<&'a str>,
    /// When it was committed, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// Says which of the paths that are taken back must stay all the same.
type Needed<'a> = &'a mut dyn FnMut(&Undoing<'_>) -> Vec<String>;

/// One commit of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSummary {
    pub commit: u64,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// The commit that this one takes back.
    pub undo_of: Option<u64>,
    pub entries: Vec<Entry>,
    /// Positions in `entries` that were taken back since.
    pub undone: Vec<usize>,
}

impl Tree {
    /// All commits, the oldest first, with what became of each path.
    pub fn history(&self) -> Result<Vec<CommitSummary>> {
        let history = self.open_history()?;
        let commits = read_all(&history)?;
        let undone = undone(&commits);
        let summaries = commits.values().map(|(folder, journal)| {
            let outcomes = journal.outcomes();
            let report = report(folder.number, &journal.changes, &outcomes);
            let is_undone = |position: &usize| {
                journal
                    .changes
                    .get(*position)
                    .is_some_and(|line| undone.contains(&(folder.number, line.index)))
            };
            CommitSummary {
                commit: folder.number,
                time_ms: journal.begin.time_ms,
                undo_of: journal.begin.undo_of,
                undone: (0..report.entries.len()).filter(is_undone).collect(),
                entries: report.entries,
            }
        });
        Ok(summaries.collect())
    }

    /// Restores what was there before, as a commit of its own that can be undone too. A path that changed since is a
    /// conflict, unless `force` says that the former version wins; what is there then goes to the history.
    pub fn undo(&self, which: &Undo, force: bool) -> Result<Report> {
        self.undo_but(which, force, &mut |_| Vec::new())
    }

    /// The same, but for what must stay: each such path is a conflict, and can be taken back later.
    pub fn undo_but(&self, which: &Undo, force: bool, needed: Needed<'_>) -> Result<Report> {
        let history = self.open_history()?;
        let commits = read_all(&history)?;
        let undone = undone(&commits);
        let chosen: Vec<u64> = match which.commit {
            Some(commit) if commits.contains_key(&commit) => vec![commit],
            Some(commit) => return Err(Error::NoSuchCommit { commit }),
            None => commits
                .iter()
                .rev()
                .filter(|(_, (_, journal))| journal.begin.undo_of.is_none())
                .map(|(number, _)| *number)
                .collect(),
        };
        let mut whole = Report::default();
        for number in chosen {
            let Some((folder, journal)) = commits.get(&number) else { continue };
            let report = self.undo_one(&history, (folder, journal), &undone, (which, force), needed)?;
            whole.commit = report.commit.or(whole.commit);
            whole.entries.extend(report.entries);
        }
        Ok(whole)
    }

    fn undo_one(
        &self,
        history: &History,
        (folder, journal): (&CommitFolder, &Journal),
        undone: &BTreeSet<(u64, usize)>,
        (which, force): (&Undo, bool),
        needed: Needed<'_>,
    ) -> Result<Report> {
        let is_chosen = |line: &&ChangeLine| {
            which.paths.as_ref().is_none_or(|paths| {
                let is_below = |path: &str| paths.iter().any(|of| strip_folder(path, of).is_some());
                is_below(&line.path) || line.from.as_deref().is_some_and(is_below)
            }) && !undone.contains(&(folder.number, line.index))
        };
        let kept = PathBuf::from(&folder.path).join("kept");
        let mut inverses = Inverses { tree: self, folder, kept: kept.clone(), moves: Vec::new(), force };
        let lines: Vec<&ChangeLine> = journal.changes.iter().filter(is_chosen).collect();
        let results = lines_in_reverse(&lines, journal);
        inverses.moves = results
            .iter()
            .filter(|(line, _)| line.op == Op::Rename)
            .filter_map(|(line, _)| Some((line.path.clone(), line.from.clone()?)))
            .collect();
        let (mut back, mut stopped) = (Vec::new(), Vec::new());
        for (line, steps) in results {
            match inverses.of(line, &steps) {
                Ok(inverse) => back.push((line, inverse, relinked::restored(&steps))),
                Err(stop) => stopped.push(conflict(line, stop)),
            }
        }
        let is_back: BTreeSet<usize> = back.iter().map(|(line, ..)| line.index).collect();
        let stays = |line: &&ChangeLine| {
            !is_back.contains(&line.index)
                && !undone.contains(&(folder.number, line.index))
                && journal.is_committed(line.index)
        };
        let is_made = |line: &ChangeLine, inverse: &[Change]| {
            inverse.iter().any(|change| change.op == Op::Delete && change.path == line.path)
        };
        let made = back.iter().filter(|(line, inverse, _)| is_made(line, inverse));
        let undoing = Undoing {
            back: back.iter().map(|(line, ..)| line.path.as_str()).collect(),
            made: made.map(|(line, ..)| line.path.as_str()).collect(),
            stay: journal.changes.iter().filter(stays).map(|line| line.path.as_str()).collect(),
            since_ms: journal.begin.time_ms,
        };
        let needed: BTreeSet<String> = needed(&undoing).into_iter().collect();
        let (kept_back, back): (Vec<_>, Vec<_>) =
            back.into_iter().partition(|(line, ..)| needed.contains(&line.path));
        stopped.extend(kept_back.iter().map(|(line, ..)| conflict(line, Stop::Conflict(NEEDED))));
        let (mut changes, mut reversed, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (line, inverse, restored) in back {
            names.extend(restored.map(|version| (changes.len(), version)));
            reversed.extend(inverse.iter().map(|_| line.index));
            changes.extend(inverse);
        }
        relinked::link_again(self.root.as_fd(), &names, &mut changes);
        if which.paths.is_some() {
            let taken: Vec<&ChangeLine> = lines.into_iter().filter(|l| reversed.contains(&l.index)).collect();
            let stands = |line: &&ChangeLine| !undone.contains(&(folder.number, line.index));
            let emptied = self.emptied(journal.changes.iter().filter(stands), &taken);
            for (line, steps) in lines_in_reverse(&emptied, journal) {
                // One that is not as it was made stays; nobody asked for it.
                if let Ok(inverse) = inverses.of(line, &steps) {
                    reversed.extend(inverse.iter().map(|_| line.index));
                    changes.extend(inverse);
                }
            }
        }
        let request = Request { changes: &changes, blobs: &kept, undoes: Some((folder.number, &reversed)) };
        let mut report = self.run(history, &request, &mut |_, _| Verdict::CommitLinkOut)?;
        for entry in &mut report.entries {
            entry.choices.retain(|choice| *choice != Choice::WriteBoth);
        }
        report.entries.extend(stopped);
        Ok(report)
    }

    /// The directories that were made for what is taken back, and hold nothing else.
    fn emptied<'a>(
        &self,
        lines: impl Iterator<Item = &'a ChangeLine>,
        taken: &[&'a ChangeLine],
    ) -> Vec<&'a ChangeLine> {
        let is_below =
            |path: &str, directory: &str| strip_folder(path, directory).is_some_and(|rest| !rest.is_empty());
        let leaves = |line: &&&ChangeLine| matches!(line.op, Op::Create | Op::Rename);
        let mut gone: BTreeSet<&str> = taken.iter().filter(leaves).map(|line| line.path.as_str()).collect();
        let mut made: Vec<&ChangeLine> = lines
            .filter(|line| line.op == Op::Create && line.kind == Kind::Dir && !gone.contains(&*line.path))
            .filter(|line| taken.iter().any(|of| is_below(&of.path, &line.path)))
            // What comes back to it keeps it.
            .filter(|line| {
                !taken.iter().any(|of| of.from.as_ref().is_some_and(|from| is_below(from, &line.path)))
            })
            .collect();
        made.sort_by_key(|line| std::cmp::Reverse(line.path.len()));
        made.retain(|line| {
            let is_emptied = self.holds_only(&line.path, &gone);
            if is_emptied {
                gone.insert(&line.path);
            }
            is_emptied
        });
        made
    }

    fn holds_only(&self, directory: &str, gone: &BTreeSet<&str>) -> bool {
        let Ok(fd) = beneath::open_folder(self.root.as_fd(), directory) else { return false };
        let Ok(mut names) = rustix::fs::Dir::read_from(&fd) else { return false };
        names.all(|name| {
            let Ok(name) = name else { return false };
            match &*name_as_text(name.file_name().to_bytes()) {
                "." | ".." => true,
                name => gone.contains(&*format!("{directory}/{name}")),
            }
        })
    }
}

/// What was committed of the chosen changes, the last effects first, with the steps that made it.
fn lines_in_reverse<'a>(
    lines: &[&'a ChangeLine],
    journal: &'a Journal,
) -> Vec<(&'a ChangeLine, Vec<MadeStep<'a>>)> {
    let mut steps: BTreeMap<usize, Vec<MadeStep<'_>>> = BTreeMap::new();
    for (number, step) in journal.steps.iter().enumerate() {
        if let Some(done) = journal.done.get(&number).filter(|done| done.state == State::Committed) {
            steps.entry(step.change).or_default().push((number, step, done));
        }
    }
    let with_steps = |line: &&'a ChangeLine| steps.remove(&line.index).map(|steps| (*line, steps));
    let mut found: Vec<_> = lines.iter().filter_map(with_steps).collect();
    found.sort_by_key(|(_, steps)| std::cmp::Reverse(steps.first().map(|(number, ..)| *number)));
    found
}

struct Inverses<'a> {
    tree: &'a Tree,
    folder: &'a CommitFolder,
    kept: PathBuf,
    /// The renames that are taken back, as (where it is, where it was).
    moves: Vec<(String, String)>,
    force: bool,
}

impl Inverses<'_> {
    /// What takes a change back: one change, or two where a rename replaced another object.
    fn of(&self, line: &ChangeLine, steps: &[MadeStep<'_>]) -> Result<Vec<Change>, Stop> {
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return Ok(Vec::new()) };
        let (number, step, done) = first;
        let kept_by = |number: usize, version: &BaseVersion| self.restored(number, version);
        let mut change = Change::blank(self.former_path(&line.path), Op::Modify, line.kind);
        let mut replaced = None;
        match &step.action {
            Action::Remove { base } => {
                change.op = Op::Create;
                change.path = line.path.clone();
                if self.force
                    && let Some(now) = self.now(&line.path)?
                {
                    (change.op, change.base) = (Op::Modify, Some(now));
                }
                kept_by(*number, base)?.fill(&mut change);
            }
            Action::RemoveDir { base } => {
                (change.op, change.path, change.mode) = (Op::Create, line.path.clone(), base.mode & 0o7777);
            }
            Action::MakeDir { .. } if done.before.is_some() => return Ok(Vec::new()),
            Action::MakeDir { .. } => {
                // Only an empty directory goes, so any directory of this name will do: a redo made it anew.
                let now = self.now(&line.path)?.filter(|now| now.kind() == Some(Kind::Dir));
                change.base = Some(now.ok_or(Stop::Conflict("gone"))?);
                (change.op, change.path) = (Op::Delete, line.path.clone());
            }
            Action::Attributes { base, .. } => {
                change.base = Some(self.unchanged(&line.path, first)?);
                (change.mode, change.mtime_ns) = (base.mode & 0o7777, base.mtime_ns);
            }
            Action::Write { .. } => match &done.before {
                Some(before) => {
                    change.base = self.unchanged_or_gone(&line.path, first)?;
                    if change.base.is_none() {
                        change.op = Op::Create;
                    }
                    kept_by(*number, before)?.fill(&mut change);
                }
                None => {
                    (change.op, change.path) = (Op::Delete, line.path.clone());
                    change.base = Some(self.unchanged(&line.path, first)?);
                }
            },
            Action::Move { .. } | Action::MoveOver { .. } => {
                change.op = Op::Rename;
                change.path = line.from.clone().ok_or(Stop::refused("malformed_change"))?;
                change.from = Some(line.path.clone());
                change.base = Some(self.unchanged(&line.path, last)?);
                if let Some((
                    number,
                    Step { action: Action::Write { .. }, .. },
                    Done { before: Some(before), .. },
                )) = steps.get(1)
                {
                    kept_by(*number, before)?.fill(&mut change);
                }
                if let Action::MoveOver { replaces, .. } = &step.action {
                    let mut back = Change::blank(self.former_place(&line.path), Op::Create, line.kind);
                    kept_by(*number, replaces)?.fill(&mut back);
                    replaced = Some(back);
                }
            }
        }
        Ok(std::iter::once(change).chain(replaced).collect())
    }

    /// A name, in the directory where it was before the renames that are taken back.
    fn former_place(&self, path: &str) -> String {
        match beneath::split(path) {
            ("", name) => name.to_owned(),
            (folder, name) => format!("{}/{name}", self.former_path(folder)),
        }
    }

    /// Where an object that is at `path` now was before the renames that are taken back.
    fn former_path(&self, path: &str) -> String {
        let deepest = self
            .moves
            .iter()
            .filter(|(now, _)| strip_folder(path, now).is_some())
            .max_by_key(|(now, _)| now.len());
        match deepest {
            Some((now, was)) => format!("{was}{}", strip_folder(path, now).unwrap_or_default()),
            None => path.to_owned(),
        }
    }

    fn now(&self, path: &str) -> Result<Option<BaseVersion>, Stop> {
        match Parent::open(self.tree.root.as_fd(), path) {
            Ok(parent) => Ok(parent.version()?),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    fn unchanged(&self, path: &str, made: &MadeStep<'_>) -> Result<BaseVersion, Stop> {
        self.unchanged_or_gone(path, made)?.ok_or(Stop::Conflict("gone"))
    }

    /// The version that is there, when the commit left it (by identity, or by content: the undo of a later commit, of this
    /// session or another, may have put it back); any when forced.
    fn unchanged_or_gone(
        &self,
        path: &str,
        (_, step, done): &MadeStep<'_>,
    ) -> Result<Option<BaseVersion>, Stop> {
        let now = self.now(path)?;
        if self.force {
            return Ok(now);
        }
        let (now, after) = (now.ok_or(Stop::Conflict("gone"))?, done.after.ok_or(Stop::Conflict("gone"))?);
        let is_same = match after.kind() {
            Some(Kind::Dir) => now.kind() == after.kind() && (now.dev, now.ino) == (after.dev, after.ino),
            _ => after.is_same_version(&now),
        };
        if is_same {
            return Ok(Some(now));
        }
        let is_file = now.kind() == Some(Kind::File) && after.kind() == Some(Kind::File);
        if let Some(then) = done.says.as_ref().filter(|_| is_file) {
            let file = beneath::open_file(self.tree.root.as_fd(), path)?;
            let is_this = BaseVersion::of(&rustix::fs::fstat(&file)?) == now;
            if is_this && (self.tree.says)(path, &file).as_ref() == Some(then) {
                return Ok(Some(now));
            }
        }
        let is_alike = now.kind() == after.kind() && now.mode == after.mode && now.size == after.size;
        let sha256 = done.sha256.as_ref().or(step.sha256.as_ref());
        let same_content = match (now.kind().filter(|_| is_alike), sha256) {
            (Some(Kind::File), Some(sha256)) => {
                let file = beneath::open_file(self.tree.root.as_fd(), path)?;
                let is_this = BaseVersion::of(&rustix::fs::fstat(&file)?) == now;
                is_this && content::sha256(&file).is_ok_and(|now| now == *sha256)
            }
            (Some(Kind::Symlink), Some(sha256)) => {
                let parent = Parent::open(self.tree.root.as_fd(), path)?;
                *sha256 == content::link_sha256(&link_text(parent.fd.as_fd(), &parent.name)?)
            }
            // Without a fingerprint the inode and its modification time have to do.
            (Some(Kind::File | Kind::Symlink), None) => after.is_same_content(&now),
            _ => false,
        };
        if same_content { Ok(Some(now)) } else { Err(Stop::Conflict("changed_since_the_commit")) }
    }

    fn restored(&self, number: usize, version: &BaseVersion) -> Result<Restored, Stop> {
        let name = number.to_string();
        let kept = beneath::version_at(self.folder.kept.as_fd(), &name)?
            .ok_or(Stop::refused("kept_version_missing"))?;
        let mut restored = Restored {
            kind: kept.kind().ok_or(Stop::refused("kept_version_missing"))?,
            blob: None,
            target: None,
            mode: version.mode & 0o7777,
            mtime_ns: version.mtime_ns,
            size: kept.size,
        };
        match restored.kind {
            Kind::File => restored.blob = Some(self.kept.join(name)),
            Kind::Symlink => restored.target = Some(link_text(self.folder.kept.as_fd(), &name)?),
            Kind::Dir => return Err(Stop::refused("kept_version_missing")),
        }
        Ok(restored)
    }
}

struct Restored {
    kind: Kind,
    blob: Option<PathBuf>,
    target: Option<String>,
    mode: u32,
    mtime_ns: i128,
    size: u64,
}

impl Restored {
    fn fill(self, change: &mut Change) {
        change.kind = self.kind;
        change.blob = self.blob;
        change.target = self.target;
        (change.mode, change.mtime_ns, change.size) = (self.mode, self.mtime_ns, self.size);
    }
}

fn conflict(line: &ChangeLine, stop: Stop) -> Entry {
    let (state, reasons) = stop.into_parts();
    let choices = match state {
        State::Conflict => vec![Choice::KeepMine, Choice::KeepTheirs],
        _ => Vec::new(),
    };
    Entry {
        path: line.path.clone(),
        op: line.op,
        kind: line.kind,
        from: line.from.clone(),
        size: 0,
        sha256: None,
        state,
        reasons,
        choices,
        commit: None,
    }
}

fn read_all(history: &History) -> Result<BTreeMap<u64, (CommitFolder, Journal)>> {
    let mut all = BTreeMap::new();
    for number in history.commits()? {
        let folder = history.commit(number)?;
        if let Some(journal) = folder.read()? {
            all.insert(number, (folder, journal));
        }
    }
    Ok(all)
}

/// The (commit, change) pairs whose effect was taken back by a later commit that itself stands.
fn undone(commits: &BTreeMap<u64, (CommitFolder, Journal)>) -> BTreeSet<(u64, usize)> {
    let mut undone = BTreeSet::new();
    for (number, (_, journal)) in commits.iter().rev() {
        let Some(of) = journal.begin.undo_of else { continue };
        // A change that several others take back is undone when all of them stand.
        let (mut whole, mut partly) = (BTreeSet::new(), BTreeSet::new());
        for line in &journal.changes {
            let Some(reversed) = line.undoes else { continue };
            let stands = journal.is_committed(line.index) && !undone.contains(&(*number, line.index));
            if stands {
                whole.insert((of, reversed))
            } else {
                partly.insert((of, reversed))
            };
        }
        undone.extend(whole.difference(&partly));
    }
    undone
}

//! A commit, from the first look at a change to the closed journal.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{self, Parent, version_at};
use crate::change::{BaseVersion, Change, Kind, Op};
use crate::content::{self, Fingerprint, Wanted, Work};
use crate::effects::{
    Applied, Scene, Unsynced, adopt_owner, bits, expect, finish_group, modified_at, take_over_attributes,
    write_link,
};
use crate::error::{At, Error, Result};
use crate::journal::{Begin, ChangeLine, CommitFolder, Done, History, Prepared, Record, Writer};
use crate::linked::Linked;
use crate::plan::{Action, Step, WriteBase, plan};
use crate::recover::recover;
use crate::report::{Choice, Entry, Report, State, Stop, Verdict};
use crate::synced::sync_all;
use crate::together::Together;
use crate::touched::Touched;

/// Steps between two syncs: bounds open descriptors and the work of a recovery.
const GROUP: usize = 128;

/// Asked about every change before any of them has an effect; gets the change with its real size, and the content
/// that will be there: a sealed private copy of new content, or the unchanged file of a rename or an attribute change.
pub type Judge<'a> = &'a mut dyn FnMut(&Change, Option<&File>) -> Verdict;

/// The user's tree, with the stage of a session and the history of its commits.
pub struct Tree {
    pub(crate) root: OwnedFd,
    pub(crate) history: PathBuf,
    pub(crate) stage: PathBuf,
    wanted: Option<Wanted>,
    recorded: Option<Wanted>,
    pub(crate) together: Together,
    /// Of all looks together.
    looking: Work,
    pub(crate) says: Says,
    marks: Marks,
}

/// The extended attribute of a new file by which it is known later that a commit made it, and not the user.
pub const MADE_BY_A_COMMIT: &str = "user.chaperone.made";

/// Which new files get [`MADE_BY_A_COMMIT`], by their paths, where the file system has such attributes.
pub type Marks = fn(&str) -> bool;

/// What the content of a path says, where not all of its bytes do: two that say the same are the same to an undo. Nothing for
/// most files, of which every byte counts.
pub type Says = fn(&str, &File) -> Option<String>;

/// What a run of the engine is for.
pub(crate) struct Request<'a> {
    pub changes: &'a [Change],
    /// Where blobs are opened, links not followed.
    pub blobs: &'a Path,
    /// The undone commit, and for each change the index of the one it reverses.
    pub undoes: Option<(u64, &'a [usize])>,
}

impl Tree {
    /// `root` is the directory that paths are relative to, `history` a directory of the broker alone (created when
    /// missing, its parent must exist), `stage` the directory that all blobs are in.
    pub fn new(root: OwnedFd, history: impl Into<PathBuf>, stage: impl Into<PathBuf>) -> Self {
        Self {
            root,
            history: history.into(),
            stage: stage.into(),
            wanted: None,
            recorded: None,
            together: Together::default(),
            looking: Work::new(None),
            says: |_, _| None,
            marks: |_| false,
        }
    }

    /// The same, whose commits mark these files when they make them.
    #[must_use]
    pub fn marking(self, marks: Marks) -> Self {
        Self { marks, ..self }
    }

    /// The same, for which files are alike that say the same.
    #[must_use]
    pub fn reading(self, says: Says) -> Self {
        Self { says, ..self }
    }

    /// The same, whose looks and commits end with [`Error::Cancelled`] when nobody waits for them any more. What a commit has
    /// begun to write is written whole.
    #[must_use]
    pub fn while_wanted(self, wanted: Wanted) -> Self {
        Self { looking: Work::new(Some(Arc::clone(&wanted))), wanted: Some(wanted), ..self }
    }

    /// The same, which asks once all changes of a commit are judged, and before any of them has an effect, whether that is recorded;
    /// without it the commit ends with [`Error::NotRecorded`].
    #[must_use]
    pub fn once_recorded(self, recorded: Wanted) -> Self {
        Self { recorded: Some(recorded), ..self }
    }

    /// The same, which makes some changes together or not at all.
    #[must_use]
    pub fn keeping(self, together: Together) -> Self {
        Self { together, ..self }
    }

    /// Makes the changes that `judge` lets through; what an earlier, interrupted commit left is cleared up first.
    ///
    /// Every path has its own outcome in the report. An error means that the commit stopped in between: the journal
    /// stays open and the next call of any kind completes it.
    pub fn commit(&self, changes: &[Change], judge: Judge<'_>) -> Result<Report> {
        let history = self.open_history()?;
        self.run(&history, &Request { changes, blobs: &self.stage, undoes: None }, judge)
    }

    /// What would become of the changes, as far as that is known before any of them is made: those that would be are left staged.
    pub fn rehearse(&self, changes: &[Change], judge: Judge<'_>) -> Result<Report> {
        let history = self.open_history()?;
        let blobs = self.open_blobs(&self.stage)?;
        let request = Request { changes, blobs: &self.stage, undoes: None };
        let run = self.judged(&history, (&request, blobs.as_fd()), judge)?;
        Ok(Report { commit: None, entries: run.entries, ..Report::default() })
    }

    /// One staged change as the user is shown it: with size and SHA-256 of its new content, the reason for which it would be a
    /// conflict with what is there now, and that content itself when it is of at most `most` bytes, as a copy that cannot become
    /// another after this.
    pub fn look(&self, change: &Change, most: u64) -> Result<(Entry, Option<File>)> {
        let blobs = self.open_blobs(&self.stage)?;
        let mut entry = entry_of(change);
        let from = change.from.as_deref().unwrap_or(&change.path);
        for (at, version) in [(from, &change.base), (&*change.path, &change.replaces)] {
            let Some(version) = version else { continue };
            let there = Parent::open(self.root.as_fd(), at);
            if let Err(stop) = there.map_err(Stop::from).and_then(|parent| expect(&parent, version)) {
                entry.reasons = stop.into_parts().1;
            }
        }
        let Some(blob) = &change.blob else { return Ok((entry, None)) };
        let work = &self.looking;
        let seen = open_blob(blobs.as_fd(), &self.stage, blob).and_then(|source| {
            work.take(&source)?;
            if source.metadata()?.len() > most {
                return Ok((None, content::fingerprint(&source, work)?));
            }
            let (copy, found) = content::private_copy(&source, blobs.as_fd(), work)?;
            Ok((Some(copy), found))
        });
        if seen.is_err() && !work.is_wanted() {
            return Err(Error::Cancelled);
        }
        match seen {
            Ok((copy, found)) => {
                (entry.size, entry.sha256) = (found.size, Some(found.hex()));
                Ok((entry, copy))
            }
            Err(stop) => {
                (_, entry.reasons) = stop.into_parts();
                Ok((entry, None))
            }
        }
    }

    /// Completes or takes back what interrupted commits left; one report for each of them.
    ///
    /// Every other call does this first; at the start of a session it is called for its report.
    pub fn recover(&self) -> Result<Vec<Report>> {
        let history = History::open(&self.history)?;
        recover(self.root.as_fd(), &history)
    }

    /// Opens and locks the history, and clears up what an interrupted commit left.
    pub(crate) fn open_history(&self) -> Result<History> {
        let history = History::open(&self.history)?;
        recover(self.root.as_fd(), &history)?;
        Ok(history)
    }

    pub(crate) fn run(&self, history: &History, request: &Request<'_>, judge: Judge<'_>) -> Result<Report> {
        let blobs = self.open_blobs(request.blobs)?;
        let mut run = self.judged(history, (request, blobs.as_fd()), judge)?;
        let allowed: Vec<(usize, &Change)> = request
            .changes
            .iter()
            .enumerate()
            .filter(|(index, _)| run.entries.get(*index).is_some_and(|entry| entry.state == State::Staged))
            .collect();
        run.linked.name_all(&allowed);
        let (mut steps, circle) = plan(&allowed, run.bits())?;
        for step in &mut steps {
            step.sha256 = run.unwritten.get(&step.change).cloned();
        }
        for index in circle {
            run.stop(index, Stop::refused("rename_circle"));
        }
        if steps.is_empty() {
            return Ok(Report { commit: None, entries: run.entries, ..Report::default() });
        }
        if self.recorded.as_ref().is_some_and(|recorded| !recorded()) {
            return Err(Error::NotRecorded);
        }
        let folder = history.create_commit()?;
        let begin = self.begin(request)?;
        let mut journal = folder.append_after(0)?;
        run.write_plan(&mut journal, &begin, &steps)?;
        run.apply(&folder, &begin, &mut journal, &steps)?;
        journal.add(&Record::End)?;
        journal.sync()?;
        Ok(Report { commit: Some(folder.number), entries: run.entries, touched: run.touched })
    }

    /// Every change with what was decided on it, and none of them made.
    fn judged<'r>(
        &'r self,
        history: &History,
        (request, blobs): (&'r Request<'r>, BorrowedFd<'r>),
        judge: Judge<'_>,
    ) -> Result<Run<'r>> {
        let mut run = Run {
            root: self.root.as_fd(),
            blobs,
            request,
            entries: request.changes.iter().map(entry_of).collect(),
            judged: vec![None; request.changes.len()],
            instead: HashMap::new(),
            unwritten: HashMap::new(),
            says: self.says,
            marks: self.marks,
            linked: Linked::of(request.changes),
            work: match request.undoes {
                None => Work::new(self.wanted.clone()),
                Some(_) => Work::of_the_user(self.wanted.clone()),
            },
            touched: Touched::default(),
            unwritten_work: Work::new(self.wanted.clone()),
        };
        run.judge_all(history.folder.as_fd(), judge)?;
        let there = |path: &str| Parent::open(self.root.as_fd(), path).ok()?.version().ok()?;
        self.together.keep_back(&mut run.entries, &|path| there(path).is_some());
        Ok(run)
    }

    fn begin(&self, request: &Request<'_>) -> Result<Begin> {
        let root = rustix::fs::fstat(&self.root).at("examine", "the root")?;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Begin {
            version: 1,
            time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            undo_of: request.undoes.map(|(commit, _)| commit),
            root: (root.st_dev, root.st_ino),
            tag: content::random_tag().at("draw a random name for", "temporary files")?,
        })
    }

    fn open_blobs(&self, folder: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(folder, flags, Mode::empty()).at("open the stage", &folder.display().to_string())
    }
}

/// Opens a file of the stage; nothing in the stage can lead out of it.
pub(crate) fn open_blob(blobs: BorrowedFd<'_>, stage: &Path, blob: &Path) -> Result<File, Stop> {
    let below = blob.strip_prefix(stage).unwrap_or(blob);
    let below = below.to_str().filter(|path| crate::validate_path(path).is_ok());
    let below = below.ok_or(Stop::refused("blob_outside_the_stage"))?;
    beneath::open_file(blobs, below).map_err(|_| Stop::refused("blob_unreadable"))
}

fn entry_of(change: &Change) -> Entry {
    Entry {
        path: change.path.clone(),
        op: change.op,
        kind: change.kind,
        from: change.from.clone(),
        size: change.size,
        sha256: None,
        state: State::Staged,
        reasons: Vec::new(),
        choices: Vec::new(),
        commit: None,
    }
}

struct Run<'a> {
    root: BorrowedFd<'a>,
    blobs: BorrowedFd<'a>,
    request: &'a Request<'a>,
    entries: Vec<Entry>,
    /// What the judge saw, change by change.
    judged: Vec<Option<Fingerprint>>,
    /// What the judge put in place of staged content.
    instead: HashMap<usize, File>,
    /// The SHA-256 of what is moved, or gets another mode, and is not written: by change.
    unwritten: HashMap<usize, String>,
    /// Files with several names.
    linked: Linked,
    says: Says,
    marks: Marks,
    work: Work,
    touched: Touched,
    /// Of its own: that the user's files have holes takes nothing from what may be written.
    unwritten_work: Work,
}

impl Run<'_> {
    fn judge_all(&mut self, private: BorrowedFd<'_>, judge: Judge<'_>) -> Result<()> {
        let moves_names =
            self.request.changes.iter().any(|change| matches!(change.op, Op::Delete | Op::Rename));
        for (index, change) in self.request.changes.iter().enumerate() {
            match self.judge_one(index, change, private, moves_names, judge) {
                Ok(Verdict::Commit) if leads_out(change) => {
                    self.stop(index, Stop::refused("link_leaves_root"))
                }
                Ok(Verdict::Commit | Verdict::CommitLinkOut) => {}
                Ok(Verdict::Replace(file)) => {
                    if let Err(stop) = self.replace(index, file) {
                        self.stop(index, stop);
                    }
                }
                Ok(Verdict::Refuse { reasons }) => self.stop(index, Stop::Refused(reasons)),
                Err(stop) => self.stop(index, stop),
            }
            if !self.work.is_wanted() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// The judge's own content takes the place of what it was asked about.
    fn replace(&mut self, index: usize, file: File) -> Result<(), Stop> {
        self.work.take(&file)?;
        let fingerprint = content::fingerprint(&file, &self.work)?;
        let judged = self.judged.get_mut(index).ok_or(Stop::refused("malformed_change"))?;
        // Only what brings a content can bring another one.
        *judged.as_mut().ok_or(Stop::refused("malformed_change"))? = fingerprint;
        if let Some(entry) = self.entries.get_mut(index) {
            (entry.size, entry.sha256) = (fingerprint.size, Some(fingerprint.hex()));
        }
        self.instead.insert(index, file);
        Ok(())
    }

    fn judge_one(
        &mut self,
        index: usize,
        change: &Change,
        private: BorrowedFd<'_>,
        moves_names: bool,
        judge: Judge<'_>,
    ) -> Result<Verdict, Stop> {
        change.validate().map_err(|_| Stop::refused("malformed_change"))?;
        let from = change.from.as_deref().unwrap_or(&change.path);
        // A name that other changes of this commit free or move cannot be examined before they are made.
        let is_original = matches!(change.op, Op::Delete | Op::Rename) || !moves_names;
        if let Some(base) = change.base.as_ref().filter(|_| is_original) {
            expect(&Parent::open(self.root, from)?, base)?;
        }
        let mut resolved = change.clone();
        if let Some(blob) = &change.blob {
            let source = open_blob(self.blobs, self.request.blobs, blob)?;
            self.work.take(&source)?;
            let (copy, fingerprint) = content::private_copy(&source, private, &self.work)?;
            if let Some(judged) = self.judged.get_mut(index) {
                *judged = Some(fingerprint);
            }
            if let Some(entry) = self.entries.get_mut(index) {
                (entry.size, entry.sha256) = (fingerprint.size, Some(fingerprint.hex()));
            }
            resolved.size = fingerprint.size;
            return Ok(judge(&resolved, Some(&copy)));
        }
        if change.kind == Kind::File && matches!(change.op, Op::Modify | Op::Rename) && is_original {
            let file = beneath::open_file(self.root, from)?;
            let now = BaseVersion::of(&rustix::fs::fstat(&file)?);
            if !change.base.is_some_and(|base| base.is_same_version(&now)) {
                return Err(Stop::Conflict("changed_meanwhile"));
            }
            let verdict = judge(&resolved, Some(&file));
            // What is mostly holes costs too much to read; an undo knows it by its inode alone.
            if !matches!(verdict, Verdict::Refuse { .. }) && self.unwritten_work.take(&file).is_ok() {
                self.unwritten.insert(index, content::fingerprint(&file, &self.unwritten_work)?.hex());
            }
            return Ok(verdict);
        }
        if change.kind == Kind::Symlink && change.op == Op::Rename && change.target.is_none() {
            let parent = Parent::open(self.root, from)?;
            let text = beneath::link_text(parent.fd.as_fd(), &parent.name)?;
            self.unwritten.insert(index, content::link_sha256(&text));
        }
        Ok(judge(&resolved, None))
    }

    fn write_plan(&self, journal: &mut Writer, begin: &Begin, steps: &[Step]) -> Result<()> {
        journal.add(&Record::Begin(begin.clone()))?;
        for (index, change) in self.request.changes.iter().enumerate() {
            if self.entries.get(index).is_none_or(|entry| entry.state != State::Staged) {
                continue;
            }
            journal.add(&Record::Change(ChangeLine {
                index,
                path: change.path.clone(),
                op: change.op,
                kind: change.kind,
                from: change.from.clone(),
                undoes: self.request.undoes.and_then(|(_, indices)| indices.get(index).copied()),
            }))?;
        }
        for step in steps {
            journal.add(&Record::Step(step.clone()))?;
        }
        journal.add(&Record::Planned)?;
        journal.sync()
    }

    fn apply(
        &mut self,
        folder: &CommitFolder,
        begin: &Begin,
        journal: &mut Writer,
        steps: &[Step],
    ) -> Result<()> {
        let scene = Scene {
            root: self.root,
            kept: folder.kept.as_fd(),
            commit: folder.number,
            tag: &begin.tag,
            bits: self.bits(),
            touched: Default::default(),
        };
        let content_from = steps.iter().position(|step| !step.is_structural()).unwrap_or(steps.len());
        let (structural, content) = steps.split_at(content_from);
        let mut unsynced = Unsynced::default();
        for (group, part) in structural.chunks(GROUP).enumerate() {
            let mut done = Vec::new();
            for (offset, step) in part.iter().enumerate() {
                let number = group * GROUP + offset;
                let outcome = scene.rearrange(number, step, &mut unsynced);
                done.push(self.outcome(folder.number, number, step, outcome));
            }
            finish_group(&scene, &mut unsynced, journal, done, &folder.path)?;
        }
        for (group, part) in content.chunks(GROUP).enumerate() {
            let mut done = Vec::new();
            let (mut written, mut files) = (Vec::new(), Vec::new());
            for (offset, step) in part.iter().enumerate() {
                let number = content_from + group * GROUP + offset;
                match self.prepare(&scene, number, step) {
                    Ok((parent, prepared, file)) => {
                        files.extend(file);
                        written.push((number, step, parent, prepared));
                    }
                    Err(stop) => done.push(self.outcome(folder.number, number, step, Err(stop))),
                }
            }
            // The content must be on disk before the record that it waits, of each of its names.
            let failed = files.iter().zip(sync_all(&files)).filter_map(|(file, synced)| {
                let stat = rustix::fs::fstat(file).ok();
                Some((stat.map(|stat| (stat.st_dev, stat.st_ino)), synced.err()?))
            });
            let failed: HashMap<Option<(u64, u64)>, Errno> = failed.collect();
            let mut waiting = Vec::new();
            for (number, step, parent, prepared) in written {
                let file = Some((prepared.new.dev, prepared.new.ino));
                if let Some(errno) = failed.get(&file).or_else(|| failed.get(&None)) {
                    unsynced.note(parent.fd.as_fd()).at("examine", &parent.path)?;
                    remove(&parent, &scene.temporary(number));
                    done.push(self.outcome(folder.number, number, step, Err((*errno).into())));
                    continue;
                }
                journal.add(&Record::Prepared(prepared.clone()))?;
                waiting.push((number, step, parent, prepared));
            }
            // The names must be on disk with the record, or a power cut could confuse new and displaced content.
            for (_, _, parent, _) in &waiting {
                unsynced.note(parent.fd.as_fd()).at("examine", &parent.path)?;
            }
            journal.sync()?;
            for (number, step, parent, prepared) in waiting {
                let outcome = scene.place(number, &parent, prepared.base.as_ref(), &prepared.new);
                let done_so = self.outcome(folder.number, number, step, outcome);
                let is_made = done_so.state == State::Committed;
                let (sha256, says) = if is_made { (prepared.sha256, prepared.says) } else { (None, None) };
                done.push(Done { sha256, says, ..done_so });
            }
            finish_group(&scene, &mut unsynced, journal, done, &folder.path)?;
        }
        self.touched = scene.touched.into_inner();
        Ok(())
    }

    /// Writes new content under its temporary name, with everything that it will have in its place.
    /// Comes with the file, where that is still to be put on disk.
    fn prepare(
        &mut self,
        scene: &Scene<'_>,
        number: usize,
        step: &Step,
    ) -> Result<(Parent, Prepared, Option<OwnedFd>), Stop> {
        let change = self.request.changes.get(step.change).ok_or(Stop::refused("malformed_change"))?;
        if self
            .entries
            .get(step.change)
            .is_some_and(|entry| !matches!(entry.state, State::Staged | State::Committed))
        {
            return Err(Stop::Conflict("not_renamed"));
        }
        let parent = Parent::open(self.root, &step.path)?;
        let base = match step.action {
            Action::Write { base: WriteBase::Version(base) } => Some(scene.expect(&parent, &base)?),
            Action::Write { base: WriteBase::Moved(base) } => {
                let now = parent.version()?.filter(|now| base.is_same_content(now));
                Some(now.ok_or(Stop::Conflict("changed_meanwhile"))?)
            }
            _ if parent.version()?.is_some() => return Err(Stop::Conflict("already_exists")),
            _ => None,
        };
        if base.is_some_and(|base| base.kind() == Some(Kind::Dir)) {
            return Err(Stop::Conflict("replaced_by_another_kind"));
        }
        let temporary = scene.temporary(number);
        let judged = self.judged.get(step.change).copied().flatten();
        let linked = judged.and_then(|judged| {
            let found = self.linked.link(scene, &parent, &temporary, (change, &judged))?;
            Some((found, Some(judged.hex())))
        });
        let is_linked = linked.is_some();
        let written = match (linked, &change.target) {
            (Some((new, sha256)), _) => Ok((new, sha256, None)),
            (None, Some(target)) => write_link(&parent, &temporary, target, change.mtime_ns)
                .map(|new| (new, Some(content::link_sha256(target)), None)),
            (None, None) => self.write_file(&parent, &temporary, step.change, change, base.as_ref()),
        };
        if let (Ok((new, ..)), Some(judged)) = (&written, judged) {
            self.linked.wrote(step.change, (change, &judged), &temporary, new, base.as_ref(), is_linked);
        }
        match written {
            Ok((new, sha256, unsynced)) => {
                let file = beneath::open_file(parent.fd.as_fd(), &temporary).ok();
                let says = file.and_then(|file| (self.says)(&step.path, &file));
                Ok((parent, Prepared { step: number, new, base, sha256, says }, unsynced))
            }
            Err(stop) => {
                remove(&parent, &temporary);
                Err(stop)
            }
        }
    }

    fn write_file(
        &self,
        parent: &Parent,
        temporary: &str,
        index: usize,
        change: &Change,
        base: Option<&BaseVersion>,
    ) -> Result<(BaseVersion, Option<String>, Option<OwnedFd>), Stop> {
        let judged = self.judged.get(index).copied().flatten().ok_or(Stop::refused("malformed_change"))?;
        let blob = change.blob.as_ref().ok_or(Stop::refused("malformed_change"))?;
        let staged;
        let source = match self.instead.get(&index) {
            Some(file) => file,
            None => {
                staged = open_blob(self.blobs, self.request.blobs, blob)?;
                &staged
            }
        };
        content::must_have_room(parent.fd.as_fd(), source)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.fd, temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let file = File::from(fd);
        // What is begun is written whole. One byte more than judged is enough to notice that there is more.
        let written = content::copy(source, Some(&file), judged.size.saturating_add(1), &Work::new(None))?;
        if written != judged {
            return Err(Stop::refused("content_changed_while_judged"));
        }
        let fd = OwnedFd::from(file);
        let replaced = match base {
            Some(base) if base.kind() == Some(Kind::File) => {
                Some(open_replaced(parent, base, self.request.undoes.is_some())?)
            }
            _ => None,
        };
        adopt_owner(&fd, parent.fd.as_fd(), replaced.as_ref().map(AsFd::as_fd))?;
        // What comes back has the attributes that it had, and not those of what was there meanwhile.
        let restored = self.request.undoes.map(|_| source.as_fd());
        if let Some(model) = restored.or(replaced.as_ref().map(AsFd::as_fd)) {
            take_over_attributes(model, fd.as_fd())?;
        } else if (self.marks)(&change.path) {
            match rustix::fs::fsetxattr(&fd, MADE_BY_A_COMMIT, b"1", rustix::fs::XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e.into()),
            }
        }
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(change.mode & self.bits()))?;
        rustix::fs::futimens(&fd, &modified_at(change.mtime_ns))?;
        let new = version_at(parent.fd.as_fd(), temporary)?.ok_or(Stop::Conflict("gone"))?;
        Ok((new, Some(written.hex()), Some(fd)))
    }

    fn bits(&self) -> u32 {
        bits(self.request.undoes.is_some())
    }

    fn outcome(&mut self, commit: u64, number: usize, step: &Step, outcome: Result<Applied, Stop>) -> Done {
        match outcome {
            Ok(mut applied) => {
                applied.reasons.extend(self.linked.told(step));
                if let Some(entry) = self.entries.get_mut(step.change) {
                    entry.state = State::Committed;
                    entry.commit = Some(commit);
                    entry.reasons.extend(applied.reasons.iter().cloned());
                }
                Done {
                    step: number,
                    state: State::Committed,
                    reasons: applied.reasons,
                    before: applied.before,
                    after: applied.after,
                    sha256: None,
                    says: None,
                }
            }
            Err(stop) => {
                self.stop(step.change, stop.clone());
                let (state, reasons) = stop.into_parts();
                Done { step: number, state, reasons, before: None, after: None, sha256: None, says: None }
            }
        }
    }

    fn stop(&mut self, index: usize, stop: Stop) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        let (state, reasons) = stop.into_parts();
        if entry.state == State::Committed {
            entry.reasons.push("renamed_without_its_new_content".to_owned());
        }
        entry.state = state;
        entry.reasons.extend(reasons);
        if state == State::Conflict {
            entry.choices = choices_for(entry.op, entry.kind);
        }
    }
}

/// What cannot be removed now is removed by the next recovery, which knows the name.
fn remove(parent: &Parent, temporary: &str) {
    let _ = rustix::fs::unlinkat(&parent.fd, temporary, AtFlags::empty());
}

/// The choices that a conflict of this sort leaves.
fn choices_for(op: Op, kind: Kind) -> Vec<Choice> {
    match (op, kind) {
        (Op::Create | Op::Modify, Kind::File) => {
            vec![Choice::KeepMine, Choice::KeepTheirs, Choice::WriteBoth]
        }
        (_, Kind::Dir) => vec![Choice::KeepMine],
        _ => vec![Choice::KeepMine, Choice::KeepTheirs],
    }
}

/// The file that goes. Of one that nobody may read, an undo needs to know no more than whose it is.
fn open_replaced(parent: &Parent, base: &BaseVersion, undoes: bool) -> Result<OwnedFd, Stop> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match beneath::open(parent.fd.as_fd(), &parent.name, flags) {
        Err(Errno::ACCESS) if undoes => beneath::open(parent.fd.as_fd(), &parent.name, OFlags::PATH),
        Err(Errno::ACCESS) => return Err(Errno::ACCESS.into()),
        opened => opened,
    };
    let is_it =
        |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|stat| base.is_same_version(&BaseVersion::of(&stat)));
    fd.ok().filter(is_it).ok_or(Stop::Conflict("changed_meanwhile"))
}

fn leads_out(change: &Change) -> bool {
    change.target.as_deref().is_some_and(|target| crate::facts::link_leaves_root(&change.path, target))
}

//! What the agent changes in the merged view. Each change takes what was decided on, and makes nothing of it when the
//! path stands for something else by now.

use std::fs::File;

use chaperone_quota::{Held, HeldFile};
use chaperone_staging::{BaseVersion, Kind};
use rustix::fs::{OFlags, Stat, Timestamps};

use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::journal::{Entry, Record};
use crate::links::Common;
use crate::object::{Attributes, FileVersion, Located, ObjectId, ObjectKind};
use crate::tree::{Errno, Opened, Result, State, Tree, errno, hidden_by_parent};

/// Bytes on the disk that one more entry takes, by far.
const ENTRY_ROOM: u64 = 8192;

/// What a file that is brought into the stage to be written holds at first.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// These bytes: what was released, or the very object that was decided on.
    Released(&'a File),
    /// Nothing: it is truncated.
    Empty,
}

/// Attributes to be set; what is not named stays.
#[derive(Debug, Clone, Default)]
pub struct NewAttributes {
    /// Bytes.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    pub times: Option<Timestamps>,
}

/// What is brought into the stage.
pub(crate) enum Bring<'a> {
    Content(Content<'a>),
    /// The object as it is; its content still needs a decision to be read.
    Object,
}

impl Tree {
    /// Make a new empty file where nothing is, to be written until [`Tree::writer_closed`].
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOSPC`, `ESTALE`.
    pub fn create(&self, decided: &Decided, mode: u32) -> Result<Opened> {
        let at = decided.for_one_of(&[ChangeKind::Create])?;
        let mut state = self.lock();
        self.must_be_free(&state, at)?;
        let held = self.quota.take(0, 1)?;
        let (blob, file) = self.new_blob(&mut state)?;
        let base = replaced(&state, at.path());
        let entry = Entry::File { blob, base, mode: mode & 0o7777, origin: None, cleared: true };
        self.record(&mut state, vec![(at.path().to_owned(), entry)])?;
        state.aside.names_changed(at.path());
        let opened = self.of_blob(&state, at.path(), blob, HeldFile::new(file, held), None)?;
        state.writer_opened(blob);
        Ok(opened)
    }

    /// Bring a file into the stage, to be written there, with those of its other names in the user's directory that were
    /// decided on, too. The agent's own is opened as it is, or truncated; any other
    /// content gets a file of its own, so that what is read under an earlier decision stays what it was. It counts as written to
    /// until [`Tree::writer_closed`].
    ///
    /// # Errors
    /// `ENOENT`, `ENOSPC`, `ESTALE`.
    pub fn copy_up(&self, decided: &Decided, content: Content<'_>) -> Result<Opened> {
        let at = decided.for_one_of(&[ChangeKind::Write])?;
        let mut state = self.lock();
        let opened = self.bring_up(&mut state, at, decided.also(), Bring::Content(content))?;
        if let Some(blob) = opened.blob {
            state.writer_opened(blob);
        }
        Ok(opened)
    }

    /// Set size, permission bits and times of a file; of anything else, times and permission bits.
    ///
    /// # Errors
    /// As [`Self::copy_up`]; `EISDIR` for the size of a directory.
    pub fn set_attributes(&self, decided: &Decided, new: &NewAttributes) -> Result<Attributes> {
        let at = match new.size {
            // Of anything but a file there is nothing to be written.
            Some(_) if decided.located().is_file() => decided.for_one_of(&[ChangeKind::Write])?,
            _ => decided.for_one_of(&[ChangeKind::Write, ChangeKind::Attributes])?,
        };
        let mut state = self.lock();
        let path = at.path();
        if at.object().is_some_and(|object| object.kind != ObjectKind::File) {
            if new.size.is_some() {
                return Err(Errno::ISDIR);
            }
            self.check(&state, at)?;
            let changed = new.mode.map(|mode| mode & 0o7777).and_then(|mode| match state.entries.get(path) {
                Some(Entry::Dir { opaque, base, .. }) => {
                    Some(Entry::Dir { opaque: *opaque, mode, base: *base })
                }
                Some(Entry::Special { socket, base, .. }) => {
                    Some(Entry::Special { socket: *socket, mode, base: *base })
                }
                _ => None,
            });
            let keeps_mode = changed.is_none() && at.object().is_some_and(|o| o.kind == ObjectKind::Dir);
            if let Some(entry) = changed {
                self.record(&mut state, vec![(path.to_owned(), entry)])?;
            }
            state.aside.set(path, new.times.as_ref(), new.mode.filter(|_| keeps_mode));
            return self.shown_in(&state, path);
        }
        if new.size.is_none() && new.mode.is_none() && new.times.is_none() {
            self.check(&state, at)?;
            return self.shown_in(&state, path);
        }
        let bring = if new.size == Some(0) { Bring::Content(Content::Empty) } else { Bring::Object };
        let mut opened = self.bring_up(&mut state, at, decided.also(), bring)?;
        if let Some(blob) = opened.blob {
            state.was_written(blob);
        }
        if let Some(size) = new.size.filter(|size| *size != 0) {
            let is_new = matches!(at.identity().object, ObjectId::User(_));
            opened = self.resized(&mut state, opened, size, is_new)?;
        }
        if let (Some(mode), Some(Entry::File { blob, cleared, .. })) =
            (new.mode, state.entries.get(path).cloned())
        {
            self.become_another(&mut state, path, Common { blob, mode: mode & 0o7777, cleared })?;
            // Its own mode is nobody's business; that it was set shows in the time of its last change.
            rustix::fs::fchmod(&*opened.file, rustix::fs::Mode::from_raw_mode(0o600))?;
        }
        if let Some(times) = &new.times {
            rustix::fs::futimens(&*opened.file, times)?;
        }
        self.shown_in(&state, path)
    }

    /// # Errors
    /// `EEXIST`, `ENOENT`, `ESTALE`.
    pub fn make_dir(&self, decided: &Decided, mode: u32) -> Result<()> {
        let at = decided.for_one_of(&[ChangeKind::Create])?;
        let mut state = self.lock();
        self.must_be_free(&state, at)?;
        let opaque = matches!(state.entries.get(at.path()), Some(Entry::Gone { .. }));
        let entry = Entry::Dir { opaque, mode: mode & 0o7777, base: deleted(&state, at.path()) };
        self.record(&mut state, vec![(at.path().to_owned(), entry)])?;
        state.aside.made(at.path());
        Ok(())
    }

    /// Make a FIFO, or the place of a socket.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ESTALE`.
    pub fn make_special(&self, decided: &Decided, socket: bool, mode: u32) -> Result<()> {
        let at = decided.for_one_of(&[ChangeKind::Create])?;
        let mut state = self.lock();
        self.must_be_free(&state, at)?;
        let entry = Entry::Special { socket, mode: mode & 0o7777, base: replaced(&state, at.path()) };
        self.record(&mut state, vec![(at.path().to_owned(), entry)])?;
        state.aside.made(at.path());
        Ok(())
    }

    /// # Errors
    /// `EEXIST`, `ENOENT`, `ESTALE`.
    pub fn make_link(&self, decided: &Decided, target: &str) -> Result<()> {
        let at = decided.for_one_of(&[ChangeKind::Create])?;
        let mut state = self.lock();
        self.must_be_free(&state, at)?;
        let base = replaced(&state, at.path());
        let entry = Entry::Symlink { target: target.to_owned(), base };
        self.record(&mut state, vec![(at.path().to_owned(), entry)])?;
        state.aside.made(at.path());
        Ok(())
    }

    /// Delete a file or link.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ESTALE`.
    pub fn remove_file(&self, decided: &Decided) -> Result<()> {
        let at = decided.for_one_of(&[ChangeKind::Delete])?;
        let mut state = self.lock();
        if at.object().ok_or(Errno::NOENT)?.kind == ObjectKind::Dir {
            return Err(Errno::ISDIR);
        }
        self.check(&state, at)?;
        let gone = self.gone(&state, at.path());
        self.record(&mut state, vec![(at.path().to_owned(), gone)])?;
        state.aside.names_changed(at.path());
        Ok(())
    }

    /// Delete an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `ESTALE`.
    pub fn remove_dir(&self, decided: &Decided) -> Result<()> {
        let at = decided.for_one_of(&[ChangeKind::Delete])?;
        let mut state = self.lock();
        if at.object().ok_or(Errno::NOENT)?.kind != ObjectKind::Dir {
            return Err(Errno::NOTDIR);
        }
        self.check(&state, at)?;
        let record = self.removal_of_dir(&state, at.path())?;
        self.record(&mut state, record)?;
        state.aside.names_changed(at.path());
        Ok(())
    }

    pub(crate) fn removal_of_dir(&self, state: &State, path: &str) -> Result<Record> {
        if !self.list_in(state, path)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        let mut record = vec![(path.to_owned(), self.gone(state, path))];
        // Deletions below stay recorded: the directory of the user's is deleted with them.
        if matches!(record.first(), Some((_, Entry::Base))) {
            let prefix = format!("{path}/");
            let below = state.entries.range(prefix.clone()..).map(|(p, _)| p);
            let below = below.take_while(|p| p.starts_with(&prefix));
            record.extend(below.map(|p| (p.clone(), Entry::Base)));
        }
        Ok(record)
    }

    pub(crate) fn bring_up(
        &self,
        state: &mut State,
        at: &Located,
        also: &[Decided],
        bring: Bring<'_>,
    ) -> Result<Opened> {
        let held = self.quota.take(0, 1)?;
        let stat = match bring {
            Bring::Content(Content::Released(from)) => self.check_released(state, at, from)?,
            _ => self.check(state, at)?,
        };
        let (path, seen) = (at.path(), at.attributes().ok_or(Errno::NOENT)?);
        match seen.object.kind {
            ObjectKind::File => {}
            ObjectKind::Dir => return Err(Errno::ISDIR),
            ObjectKind::Symlink => return Err(Errno::LOOP),
            ObjectKind::Special => return Err(Errno::NXIO),
        }
        if let Some(Entry::File { blob, mode, origin, cleared, .. }) = state.entries.get(path).cloned() {
            return self.bring_blob(state, path, (blob, cleared, held), (mode, origin), bring);
        }
        state.must_have_room()?;
        let stat = stat.ok_or(Errno::STALE)?;
        let also = self.same_file(state, also, &stat)?;
        let (blob, file) = match bring {
            Bring::Content(Content::Empty) => self.new_blob(state)?,
            Bring::Content(Content::Released(from)) => {
                let (blob, file) = self.blob_with(state, from, &stat)?;
                // Where it is the object itself, it must not have changed meanwhile.
                let now = rustix::fs::fstat(from)?;
                if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) && !is_version(at, &now) {
                    std::fs::remove_file(self.blob(blob)).ok();
                    return Err(Errno::STALE);
                }
                (blob, file)
            }
            Bring::Object => {
                let from = self.base_open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                if !is_version(at, &rustix::fs::fstat(&from)?) {
                    return Err(Errno::STALE);
                }
                self.blob_with(state, &File::from(from), &stat)?
            }
        };
        let cleared = matches!(bring, Bring::Content(_));
        // What the user's file was when it was decided on: what the user writes to it later is a conflict at commit.
        let base = match at.identity().object {
            ObjectId::User(FileVersion { size, mtime_ns, ctime_ns, .. }) => {
                BaseVersion { size, mtime_ns, ctime_ns, ..BaseVersion::of(&stat) }
            }
            _ => BaseVersion::of(&stat),
        };
        let mode = stat.st_mode & 0o777;
        let mut record = vec![(path.to_owned(), Some(base))];
        record.extend(also.into_iter().map(|(name, _)| (name.to_owned(), Some(base))));
        let entry = |base| Entry::File { blob, base, mode, origin: None, cleared };
        self.record(state, record.into_iter().map(|(name, base)| (name, entry(base))).collect())?;
        self.of_blob(state, path, blob, HeldFile::new(file, held), None)
    }

    /// As [`Self::check`], for content that was released as a copy: the user's own program may go on writing to the file
    /// meanwhile, and the copy still is what was decided on.
    fn check_released(&self, state: &State, at: &Located, from: &File) -> Result<Option<Stat>> {
        let ObjectId::User(version) = at.identity().object else { return self.check(state, at) };
        let source = rustix::fs::fstat(from)?;
        if (source.st_dev, source.st_ino) == (version.dev, version.ino) {
            return self.check(state, at);
        }
        if state.generations.of(at.path()) != at.identity().generation {
            return Err(Errno::STALE);
        }
        let stat = self.base_stat(at.path())?;
        if (stat.st_dev, stat.st_ino) == (version.dev, version.ino) {
            Ok(Some(stat))
        } else {
            Err(Errno::STALE)
        }
    }

    /// Of a file that is staged already.
    fn bring_blob(
        &self,
        state: &mut State,
        path: &str,
        (blob, cleared, held): (u64, bool, Held),
        (mode, origin): (u32, Option<String>),
        bring: Bring<'_>,
    ) -> Result<Opened> {
        let file = File::options().read(true).write(true).open(self.blob(blob)).map_err(errno)?;
        let stat = rustix::fs::fstat(&file)?;
        let (blob, file) = match bring {
            Bring::Object => return self.of_blob(state, path, blob, HeldFile::new(file, held), origin),
            // All who have it open see the same.
            Bring::Content(content) if cleared => {
                if matches!(content, Content::Empty) {
                    file.set_len(0).map_err(errno)?;
                }
                return self.of_blob(state, path, blob, HeldFile::new(file, held), origin);
            }
            Bring::Content(Content::Empty) => self.new_blob(state)?,
            Bring::Content(Content::Released(from)) => {
                let decided = rustix::fs::fstat(from)?;
                if (decided.st_dev, decided.st_ino) == (stat.st_dev, stat.st_ino) {
                    // It was decided on, and nobody writes to one that was not.
                    (blob, file)
                } else {
                    self.blob_with(state, from, &stat)?
                }
            }
        };
        self.become_another(state, path, Common { blob, mode, cleared: true })?;
        self.of_blob(state, path, blob, HeldFile::new(file, held), origin)
    }

    /// A staged file with another size. One that others may decide on meanwhile is never changed: its beginning gets a
    /// file of its own.
    fn resized(&self, state: &mut State, opened: Opened, size: u64, is_new: bool) -> Result<Opened> {
        let path = opened.located.path();
        let (mode, origin) = match state.entries.get(path).cloned() {
            Some(Entry::File { mode, origin, cleared: false, .. }) if !is_new => (mode, origin),
            _ => {
                opened.file.set_len(size).map_err(errno)?;
                return Ok(opened);
            }
        };
        let held = self.quota.take(0, 1)?;
        let stat = rustix::fs::fstat(&*opened.file)?;
        let (blob, file) = self.blob_with(state, &opened.file, &stat)?;
        file.set_len(size).map_err(errno)?;
        self.become_another(state, path, Common { blob, mode, cleared: false })?;
        self.of_blob(state, path, blob, HeldFile::new(file, held), origin)
    }

    pub(crate) fn must_be_free(&self, state: &State, at: &Located) -> Result<()> {
        state.must_have_room()?;
        self.take_room(ENTRY_ROOM)?;
        self.must_have_parent(state, at.path())?;
        match self.attributes_in(state, at.path()) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => self.check(state, at).map(drop),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn must_have_parent(&self, state: &State, path: &str) -> Result<()> {
        let parent = path.rsplit_once('/').map_or("", |(p, _)| p);
        match self.attributes_in(state, parent)?.object.kind {
            ObjectKind::Dir => Ok(()),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// What is left at a path whose object goes: that the user's own, if there is any, is deleted.
    pub(crate) fn gone(&self, state: &State, path: &str) -> Entry {
        let known = state.entries.get(path).and_then(Entry::base);
        let Some(now) = self.base_version(path) else { return Entry::Base };
        let is_dir = |version: BaseVersion| version.kind() == Some(Kind::Dir);
        // Below a directory that was deleted or replaced, what the user put there since is not the agent's to delete. A
        // directory that gave way to a file of the agent's is: its deletion was recorded, and is recorded again.
        let was_replaced = is_dir(now)
            && matches!(
                state.entries.get(path),
                Some(Entry::File { .. } | Entry::Symlink { .. } | Entry::Special { .. })
            );
        // Nor is what the user made at the name of something new of the agent's, which never saw it.
        let is_new = !is_dir(now) && state.entries.get(path).is_some_and(|e| !matches!(e, Entry::Base));
        if known.is_none() && !was_replaced && (is_new || hidden_by_parent(state, path)) {
            return Entry::Base;
        }
        let base = known.unwrap_or(now);
        Entry::Gone { base: Some(base), dir: is_dir(base) }
    }
}

fn is_version(at: &Located, stat: &rustix::fs::Stat) -> bool {
    matches!(at.identity().object, ObjectId::User(version) if version.is(stat))
}

/// What of the user's was deleted at this place.
pub(crate) fn deleted(state: &State, path: &str) -> Option<BaseVersion> {
    match state.entries.get(path) {
        Some(Entry::Gone { base, .. } | Entry::Dir { base, .. }) => *base,
        _ => None,
    }
}

/// What a new object at this place replaces.
pub(crate) fn replaced(state: &State, path: &str) -> Option<BaseVersion> {
    match state.entries.get(path) {
        Some(Entry::Gone { base, dir: false }) => *base,
        _ => None,
    }
}

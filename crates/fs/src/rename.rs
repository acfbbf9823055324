//! Renames, of files and of directories with everything in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;

use chaperone_names::name_as_text;
use chaperone_staging::{BaseVersion, Kind};
use rustix::fs::OFlags;

use crate::decided::Decided;
use crate::journal::{Entry, Record, blob_of};
use crate::object::{Located, ObjectId, ObjectKind};
use crate::tree::{Errno, Result, State, Tree, join};

/// What a rename of a directory moves at most: entries, and bytes of the user's files. Protects memory and keeps the
/// directory from standing still for long; beyond it: `EXDEV`.
const MAX_MOVED: usize = 20_000;
const MAX_MOVED_BYTES: u64 = 1 << 30;

impl Tree {
    /// Everything that a rename of this path moves, from the outside in: itself, and what is in it.
    ///
    /// # Errors
    /// `ENOENT`; `EXDEV` for a directory with more in it than is moved at once, upon which programs copy.
    pub fn locate_all(&self, path: &str) -> Result<Vec<Located>> {
        self.locate_all_in(&self.lock(), path)
    }

    fn locate_all_in(&self, state: &State, path: &str) -> Result<Vec<Located>> {
        let mut all = vec![self.locate_in(state, path)?];
        let (mut next, mut bytes) = (0, 0u64);
        while let Some(at) = all.get(next) {
            next += 1;
            if at.object().ok_or(Errno::NOENT)?.kind != ObjectKind::Dir {
                continue;
            }
            let folder = at.path().to_owned();
            for (name, _) in self.list_in(state, &folder)? {
                let inner = self.locate_in(state, &join(&folder, &name))?;
                let Some(object) = inner.object() else { continue };
                if !object.staged {
                    bytes = bytes.saturating_add(object.size);
                }
                all.push(inner);
                if all.len() > MAX_MOVED || bytes > MAX_MOVED_BYTES {
                    return Err(Errno::XDEV);
                }
            }
        }
        Ok(all)
    }

    /// Rename what [`Self::locate_all`] found, all of it and nothing else, to what was found at its new place; each part of it
    /// was decided for itself.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST` with `keep`, `ENOTEMPTY`, `ESTALE` when either side is something else by now.
    pub fn rename(&self, moved: &[Decided], to: &Located, keep: bool) -> Result<()> {
        let from = moved.first().ok_or(Errno::NOENT)?.located();
        let source = from.object().ok_or(Errno::NOENT)?.kind;
        if from.path() == to.path() {
            return Ok(());
        }
        if to.path().strip_prefix(from.path()).is_some_and(|r| r.starts_with('/')) {
            return Err(Errno::INVAL);
        }
        match to.object().map(|object| object.kind) {
            Some(_) if keep => return Err(Errno::EXIST),
            Some(ObjectKind::Dir) if source != ObjectKind::Dir => return Err(Errno::ISDIR),
            Some(ObjectKind::File | ObjectKind::Symlink | ObjectKind::Special)
                if source == ObjectKind::Dir =>
            {
                return Err(Errno::NOTDIR);
            }
            _ => {}
        }
        let all = all_to(moved, from, to)?;
        let mut state = self.lock();
        state.must_have_room()?;
        self.check(&state, to)?;
        self.must_have_parent(&state, to.path())?;
        let mut record = Record::new();
        self.must_be_all(&state, &all)?;
        if source == ObjectKind::Dir && to.object().is_some() {
            record = self.removal_of_dir(&state, to.path())?;
        }
        if source == ObjectKind::File && is_same_file(&state, from.path(), to.path()) {
            return Ok(());
        }
        let asides = state.aside.below(from.path());
        let numbers = self.numbers_moved(&state, &all, to)?;
        record = self.entries_moved(&mut state, &all, to, (record, &mut Brought::new()))?;
        for at in &all {
            record.push((at.path().to_owned(), self.gone(&state, at.path())));
        }
        let record = self.with_others(&state, moved, record)?;
        self.record(&mut state, record)?;
        state.aside.moved(from.path(), to.path(), asides);
        numbers.into_iter().for_each(|(place, ino)| state.keep_number(&place, ino));
        Ok(())
    }

    /// Let what [`Self::locate_all`] found at two places change over, all of it and nothing else; each part was decided for
    /// itself.
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL` when one is in the other, `ESTALE` when either is something else by now.
    pub fn exchange(&self, one: &[Decided], other: &[Decided]) -> Result<()> {
        let (a, b) =
            (one.first().ok_or(Errno::NOENT)?.located(), other.first().ok_or(Errno::NOENT)?.located());
        if a.object().is_none() || b.object().is_none() {
            return Err(Errno::NOENT);
        }
        if a.path() == b.path() {
            return Ok(());
        }
        let holds = |above: &Located, below: &Located| {
            below.path().strip_prefix(above.path()).is_some_and(|rest| rest.starts_with('/'))
        };
        if holds(a, b) || holds(b, a) {
            return Err(Errno::INVAL);
        }
        let (of_one, of_other) = (all_to(one, a, b)?, all_to(other, b, a)?);
        let mut state = self.lock();
        state.must_have_room()?;
        self.must_be_all(&state, &of_one)?;
        self.must_be_all(&state, &of_other)?;
        let asides = (state.aside.below(a.path()), state.aside.below(b.path()));
        let mut numbers = self.numbers_moved(&state, &of_one, b)?;
        numbers.extend(self.numbers_moved(&state, &of_other, a)?);
        let record = self.exchanged(&mut state, &of_one, &of_other)?;
        let record = self.with_others(&state, one.iter().chain(other), record)?;
        self.record(&mut state, record)?;
        state.aside.moved(a.path(), b.path(), Vec::new());
        for (from, kept) in [(a, &asides.0), (b, &asides.1)] {
            kept.iter().for_each(|(rest, _)| state.aside.forget(&format!("{}{rest}", from.path())));
        }
        state.aside.put(b.path(), asides.0);
        state.aside.put(a.path(), asides.1);
        numbers.into_iter().for_each(|(place, ino)| state.keep_number(&place, ino));
        Ok(())
    }

    /// The record by which what is at two places changes over.
    fn exchanged(&self, state: &mut State, one: &[&Located], other: &[&Located]) -> Result<Record> {
        let (Some(a), Some(b)) = (one.first().copied(), other.first().copied()) else {
            return Err(Errno::NOENT);
        };
        let mut brought = Brought::new();
        let mut record = self.entries_moved(state, one, b, (Record::new(), &mut brought))?;
        record = self.entries_moved(state, other, a, (record, &mut brought))?;
        let new: BTreeSet<&String> = record.iter().map(|(path, _)| path).collect();
        let left =
            one.iter().chain(other).map(|at| at.path()).filter(|path| !new.contains(&(*path).to_owned()));
        let left: Record = left.map(|path| (path.to_owned(), self.gone(state, path))).collect();
        record.extend(left);
        Ok(record)
    }

    /// Check that what is there is what was found, all of it.
    fn must_be_all(&self, state: &State, found: &[&Located]) -> Result<()> {
        let Some(at) = found.first() else { return Err(Errno::NOENT) };
        if !at.is_dir() {
            return self.check(state, at).map(drop);
        }
        let now = self.locate_all_in(state, at.path()).map_err(|_| Errno::STALE)?;
        let same = |(a, b): (&Located, &Located)| a.path() == b.path() && a.identity() == b.identity();
        let all = now.len() == found.len() && now.iter().zip(found.iter().copied()).all(same);
        if all { Ok(()) } else { Err(Errno::STALE) }
    }

    /// The record, with what moves at its new places.
    fn entries_moved(
        &self,
        state: &mut State,
        moved: &[&Located],
        to: &Located,
        (mut record, brought): (Record, &mut Brought),
    ) -> Result<Record> {
        let from = moved.first().ok_or(Errno::NOENT)?;
        for at in moved {
            let place = at.moved(from, to);
            let hidden = self.hidden_by_rename(state, &place);
            let replaced = hidden.filter(|v| v.kind() != Some(Kind::Dir));
            match self.moved_entry(state, at, replaced, brought) {
                Ok(entry) => {
                    let entry = match entry {
                        Entry::Dir { opaque, mode, .. } => Entry::Dir { opaque, mode, base: hidden },
                        other => other,
                    };
                    record.push((place, entry));
                }
                Err(e) => {
                    self.forget_blobs(state, &record);
                    return Err(e);
                }
            }
        }
        Ok(record)
    }

    /// New places with the numbers that what moves there is known by.
    fn numbers_moved(&self, state: &State, moved: &[&Located], to: &Located) -> Result<Vec<(String, u64)>> {
        let from = moved.first().ok_or(Errno::NOENT)?;
        let number = |at: &&Located| Ok((at.moved(from, to), self.shown_in(state, at.path())?.object.ino));
        moved.iter().map(number).collect()
    }

    /// What an object that moves is at its new place. A file of the user's comes into the stage; its content still
    /// needs a decision to be read, under its old name, too.
    fn moved_entry(
        &self,
        state: &mut State,
        at: &Located,
        base: Option<BaseVersion>,
        brought: &mut Brought,
    ) -> Result<Entry> {
        let path = at.path();
        let kind = at.object().ok_or(Errno::NOENT)?.kind;
        let (ObjectId::User(version), None | Some(Entry::Base)) =
            (at.identity().object, state.entries.get(path))
        else {
            return match state.entries.get(path).cloned() {
                Some(Entry::Dir { mode, .. }) => Ok(Entry::Dir { opaque: true, mode, base: None }),
                Some(Entry::File { blob, base: was, mode, origin, cleared }) => {
                    let origin = origin.or_else(|| was.is_some().then(|| path.to_owned()));
                    Ok(Entry::File { blob, base, mode, origin, cleared })
                }
                Some(Entry::Symlink { target, .. }) => Ok(Entry::Symlink { target, base }),
                Some(Entry::Special { socket, mode, .. }) => Ok(Entry::Special { socket, mode, base }),
                _ => Err(Errno::STALE),
            };
        };
        let flags = match kind {
            ObjectKind::File => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
            ObjectKind::Dir | ObjectKind::Symlink | ObjectKind::Special => OFlags::PATH | OFlags::NOFOLLOW,
        };
        let object = self.base_open(path, flags)?;
        let stat = rustix::fs::fstat(&object)?;
        if !version.is(&stat) {
            return Err(Errno::STALE);
        }
        let mode = stat.st_mode & 0o777;
        Ok(match kind {
            ObjectKind::Dir => Entry::Dir { opaque: true, mode, base: None },
            ObjectKind::Symlink => {
                let target = rustix::fs::readlinkat(&object, "", Vec::new())?;
                Entry::Symlink { target: name_as_text(target.as_bytes()).into_owned(), base }
            }
            // Those of the user's are not shown.
            ObjectKind::Special => return Err(Errno::STALE),
            ObjectKind::File => {
                let blob = match brought.get(&(stat.st_dev, stat.st_ino)) {
                    Some(blob) => *blob,
                    None => self.blob_with(state, &File::from(object), &stat)?.0,
                };
                brought.insert((stat.st_dev, stat.st_ino), blob);
                Entry::File { blob, base, mode, origin: Some(path.to_owned()), cleared: false }
            }
        })
    }

    /// The record, with the other names of the user's files that move, as far as that was decided, too: they go on being names
    /// of the same file.
    fn with_others<'a>(
        &self,
        state: &State,
        moved: impl IntoIterator<Item = &'a Decided>,
        mut record: Record,
    ) -> Result<Record> {
        let others = self.others_moved(state, moved, &record);
        match others {
            Ok(others) => record.extend(others),
            Err(e) => {
                self.forget_blobs(state, &record);
                return Err(e);
            }
        }
        Ok(record)
    }

    fn others_moved<'a>(
        &self,
        state: &State,
        moved: impl IntoIterator<Item = &'a Decided>,
        record: &Record,
    ) -> Result<Record> {
        let mut with_others = moved.into_iter().filter(|decided| !decided.also().is_empty()).peekable();
        if with_others.peek().is_none() {
            return Ok(Record::new());
        }
        let placed: HashMap<&str, &Entry> = record.iter().map(|(path, entry)| (&**path, entry)).collect();
        let mut others = BTreeMap::new();
        for decided in with_others {
            let at = decided.located();
            let (ObjectId::User(_), Some(Entry::File { blob, mode, .. })) =
                (at.identity().object, decided.place().and_then(|place| placed.get(place)))
            else {
                return Err(Errno::STALE);
            };
            let stat = self.check(state, at)?.ok_or(Errno::STALE)?;
            for (name, version) in self.same_file(state, decided.also(), &stat)? {
                if !placed.contains_key(name) {
                    let (blob, mode, base) = (*blob, *mode, Some(version));
                    let entry = Entry::File { blob, base, mode, origin: None, cleared: false };
                    others.insert(name.to_owned(), entry);
                }
            }
        }
        Ok(others.into_iter().collect())
    }

    /// What of the user's goes where something moves to: what the agent had replaced or deleted there, whatever the user has there
    /// since, for it never saw that; else what is there.
    fn hidden_by_rename(&self, state: &State, path: &str) -> Option<BaseVersion> {
        match state.entries.get(path) {
            None | Some(Entry::Base) => self.base_version(path),
            Some(entry) => entry.base(),
        }
    }
}

/// Which file of the stage each file of the user's became, by device and inode number: its names stay names of one file.
type Brought = HashMap<(u64, u64), u64>;

/// What moves from one place to another, when all of it was decided so.
fn all_to<'a>(moved: &'a [Decided], from: &Located, to: &Located) -> Result<Vec<&'a Located>> {
    let each = moved.iter().map(|decided| {
        let place = decided.located().moved(from, to);
        decided.to(&place, (place == to.path()).then_some(to))
    });
    each.collect()
}

/// Whether two paths are names of one file of the stage.
fn is_same_file(state: &State, one: &str, other: &str) -> bool {
    let blob = |path: &str| state.entries.get(path).and_then(blob_of);
    blob(one).is_some() && blob(one) == blob(other)
}

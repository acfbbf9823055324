//! The merged view: the user's directory below, the agent's staged changes above.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaperone_names::{name_as_text, native};
use chaperone_quota::{DiskReserve, Held, HeldFile, Quota};
use chaperone_staging::BaseVersion;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use thiserror::Error;

use crate::aside::Asides;
use crate::generation::Generations;
use crate::journal::{Entry, Journal, Record, blob_of};
use crate::links::{Links, Others};
use crate::object::{
    Attributes, FileVersion, Identity, Located, Object, ObjectId, ObjectKind, from_stat, is_dir, synthetic,
};

/// Staged files, directories and deletions of one session. Protects memory; beyond it: `ENOSPC`.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;
/// See [`memory_of`].
const ENTRY: u64 = 256;

/// The merged view and its stage.
pub struct Tree {
    root: OwnedFd,
    pub(crate) dir: PathBuf,
    pub(crate) state: Mutex<State>,
    reserve: DiskReserve,
    /// Where the user's files with several names are.
    pub(crate) others: Mutex<Others>,
    pub(crate) quota: Arc<Quota>,
}

pub(crate) struct State {
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) journal: Journal,
    pub(crate) next_blob: u64,
    /// Open handles that may write a blob.
    pub(crate) writers: HashMap<u64, usize>,
    /// Files that have no name yet, with their permission bits.
    pub(crate) unnamed: HashMap<u64, u32>,
    /// When each blob may last have become another content without a change of its entry.
    pub(crate) written: HashMap<u64, u64>,
    pub(crate) generations: Generations,
    /// What was set of what has no file in the stage.
    pub(crate) aside: Asides,
    /// Which files of the stage have several names.
    pub(crate) links: Links,
    /// Memory of the entries' names.
    pub(crate) names: Held,
    /// What the user's own was when it was committed last; of the agent it is no news.
    pub(crate) committed: HashMap<String, Option<BaseVersion>>,
}

impl State {
    /// The inode number that is shown of a path instead of its object's own.
    pub(crate) fn shown_number(&self, path: &str) -> Option<u64> {
        let linked = self.entries.get(path).and_then(blob_of).and_then(|blob| self.links.number(blob));
        linked.or_else(|| self.aside.number(path))
    }

    /// A handle may write this blob from now on.
    pub(crate) fn writer_opened(&mut self, blob: u64) {
        *self.writers.entry(blob).or_insert(0) += 1;
        self.was_written(blob);
    }

    pub(crate) fn was_written(&mut self, blob: u64) {
        let now = self.generations.tick();
        self.written.insert(blob, now);
    }

    /// What is at a path now is known by this number.
    pub(crate) fn keep_number(&mut self, path: &str, ino: u64) {
        match self.entries.get(path).and_then(blob_of) {
            Some(blob) => self.links.keep_number(blob, ino),
            None => self.aside.keep_number(path, ino),
        }
    }

    /// Whether there is room for more entries.
    pub(crate) fn must_have_room(&self) -> Result<()> {
        if self.entries.len() >= MAX_ENTRIES { Err(Errno::NOSPC) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// An open object.
#[derive(Debug, Clone)]
pub struct Opened {
    pub file: Arc<HeldFile>,
    /// What was opened.
    pub located: Located,
    pub object: Object,
    pub origin: Option<String>,
    /// The file of the stage that it is; the user's own has none.
    pub blob: Option<u64>,
    /// Permission bits.
    pub mode: u32,
}

#[derive(Debug, Error)]
pub enum TreeError {
    #[error("the stage at {dir} cannot be used: {source}")]
    Stage { dir: PathBuf, source: io::Error },
}

pub(crate) type Errno = rustix::io::Errno;
pub(crate) type Result<T> = std::result::Result<T, Errno>;

impl Tree {
    /// Open or make the stage `dir` over the directory `root`, for a session that may hold as much as `quota` says.
    ///
    /// # Errors
    /// When the stage is damaged or cannot be written, or its names are more than may be held.
    pub fn open(dir: &Path, root: OwnedFd, quota: &Arc<Quota>) -> std::result::Result<Self, TreeError> {
        let stage = |source| TreeError::Stage { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir.join("blobs")).map_err(stage)?;
        let (journal, records) = Journal::open(&dir.join("journal")).map_err(stage)?;
        let mut entries = BTreeMap::new();
        let mut next_blob = 0;
        let replayed: usize = records.iter().map(Vec::len).sum();
        for (path, entry) in records.into_iter().flatten() {
            match entry {
                Entry::Base => drop(entries.remove(&path)),
                entry => drop(entries.insert(path, entry)),
            }
        }
        let journal = if replayed > 1_000 && replayed > 2 * entries.len() {
            let whole: Vec<Record> = entries.iter().map(|(p, e)| vec![(p.clone(), e.clone())]).collect();
            journal.compact(&dir.join("journal"), &whole).map_err(stage)?
        } else {
            journal
        };
        // Blobs that nothing names: their record was never written, or their removal was cut short.
        let named: BTreeSet<u64> = entries.values().filter_map(blob_of).collect();
        for name in std::fs::read_dir(dir.join("blobs")).map_err(stage)? {
            let name = name.map_err(stage)?;
            let Some(n) = name.file_name().to_str().and_then(|n| n.parse::<u64>().ok()) else { continue };
            next_blob = next_blob.max(n + 1);
            if !named.contains(&n) {
                std::fs::remove_file(name.path()).map_err(stage)?;
            }
        }
        let mut names = Held::nothing(quota);
        let all = entries.iter().map(|(path, entry)| memory_of(path, entry)).sum();
        names.grow(all, 0).map_err(|e| stage(io::Error::other(e)))?;
        let links = Links::of(&entries);
        let state = State {
            entries,
            journal,
            next_blob,
            writers: HashMap::new(),
            unnamed: HashMap::new(),
            written: HashMap::new(),
            generations: Generations::default(),
            aside: Asides::new(quota),
            links,
            names,
            committed: HashMap::new(),
        };
        Ok(Self {
            root,
            dir: dir.to_owned(),
            state: Mutex::new(state),
            reserve: DiskReserve::default(),
            others: Mutex::default(),
            quota: Arc::clone(quota),
        })
    }

    /// Take room on the stage's disk for what is about to be written.
    ///
    /// # Errors
    /// `ENOSPC` before the disk is full: some of it is the log's and the user's.
    pub fn take_room(&self, bytes: u64) -> Result<()> {
        self.reserve.take(&self.dir, bytes)
    }

    /// Whether the stage's disk has more room than what is the log's and the user's.
    ///
    /// # Errors
    /// When the disk cannot be looked at.
    pub fn has_room(&self) -> Result<bool> {
        DiskReserve::is_left(&self.dir)
    }

    /// Whoever got a blob by [`Self::create`] or [`Self::copy_up`] writes no more; until then a commit does not let go of it.
    pub fn writer_closed(&self, blob: u64) {
        let mut state = self.lock();
        // A commit that read it before lets go of what it read alone.
        state.was_written(blob);
        if let Some(count) = state.writers.get_mut(&blob) {
            *count -= 1;
            if *count == 0 {
                state.writers.remove(&blob);
                if state.unnamed.remove(&blob).is_some() {
                    // One that stays behind is removed when the stage is opened again.
                    std::fs::remove_file(self.blob(blob)).ok();
                    state.written.remove(&blob);
                }
            }
        }
    }

    /// What is staged. In tests of what happens at once, another thread may go first.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        crate::model::schedule::point();
        self.state.lock()
    }

    /// The directory below.
    #[must_use]
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// What a path is.
    ///
    /// # Errors
    /// `ENOENT`, or what the kernel says of the user's file.
    pub fn attributes(&self, path: &str) -> Result<Attributes> {
        let state = self.lock();
        self.shown_in(&state, path)
    }

    /// What a path looks like, with what the agent set of it.
    pub(crate) fn shown_in(&self, state: &State, path: &str) -> Result<Attributes> {
        Ok(Self::over(state, path, self.attributes_in(state, path)?))
    }

    /// What is shown of an object that nothing is decided by: what was set of it, its names, and the number that it had before.
    pub(crate) fn over(state: &State, path: &str, seen: Attributes) -> Attributes {
        let mut seen = state.aside.over(path, seen);
        if seen.object.is_dir() {
            // How many directories are in it is nobody's number: one says so, as some file systems do.
            seen.object.nlink = 1;
        }
        if let Some(blob) = state.entries.get(path).and_then(blob_of) {
            seen.object.nlink = state.links.count(blob);
            seen.object.ino = state.links.number(blob).unwrap_or(seen.object.ino);
        }
        seen
    }

    /// Whether a path leads to something of the user's that was not touched, and through no link, it being none either. One look of the
    /// kernel's, however deep; `false` says nothing.
    pub fn is_plain(&self, path: &str) -> bool {
        let state = self.lock();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        if ends.filter_map(|end| path.get(..end)).any(|above| state.entries.contains_key(above)) {
            return false;
        }
        drop(state);
        self.base_open(path, OFlags::PATH).is_ok()
    }

    pub(crate) fn attributes_in(&self, state: &State, path: &str) -> Result<Attributes> {
        match state.entries.get(path) {
            Some(Entry::File { blob, base, mode, cleared, .. }) => {
                let stat = rustix::fs::stat(self.blob(*blob))?;
                let mut seen = from_stat(&stat, *cleared)?;
                seen.mode = 0o100_000 | mode & 0o7777;
                seen.object.nlink = 1;
                if let Some(base) = base {
                    seen.object.ino = base.ino;
                    seen.object.dev = base.dev;
                }
                Ok(seen)
            }
            Some(Entry::Dir { mode, .. }) => {
                let mut seen = match self.base_stat(path) {
                    Ok(stat) if is_dir(&stat) => from_stat(&stat, true)?,
                    _ => from_stat(&rustix::fs::stat(&self.dir)?, true)?,
                };
                seen.mode = 0o040_000 | mode & 0o7777;
                if seen.object.ino != 0 && self.base_stat(path).is_err() {
                    seen.object.ino = synthetic(path);
                }
                Ok(seen)
            }
            Some(Entry::Symlink { target, .. }) => {
                let stat = rustix::fs::stat(&self.dir)?;
                let mut seen = from_stat(&stat, true)?;
                seen.mode = 0o120_777;
                seen.object = Object {
                    kind: ObjectKind::Symlink,
                    ino: synthetic(path),
                    nlink: 1,
                    size: native(target).len() as u64,
                    ..seen.object
                };
                Ok(seen)
            }
            Some(Entry::Special { socket, mode, .. }) => {
                let seen = from_stat(&rustix::fs::stat(&self.dir)?, true)?;
                let object = Object {
                    kind: ObjectKind::Special,
                    ino: synthetic(path),
                    nlink: 1,
                    size: 0,
                    ..seen.object
                };
                let kind = if *socket { 0o140_000 } else { 0o010_000 };
                Ok(Attributes { object, mode: kind | mode & 0o7777, blocks: 0, ..seen })
            }
            Some(Entry::Gone { .. }) => Err(Errno::NOENT),
            Some(Entry::Base) | None => {
                if hidden_by_parent(state, path) {
                    return Err(Errno::NOENT);
                }
                from_stat(&self.base_stat(path)?, false)
            }
        }
    }

    /// What a path stands for, or that it stands for nothing.
    ///
    /// # Errors
    /// What the kernel says of the user's file, but for `ENOENT`.
    pub fn locate(&self, path: &str) -> Result<Located> {
        self.locate_in(&self.lock(), path)
    }

    pub(crate) fn locate_in(&self, state: &State, path: &str) -> Result<Located> {
        let seen = match self.attributes_in(state, path) {
            Ok(seen) => Some(seen),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(e),
        };
        let object = match (&seen, state.entries.get(path)) {
            (None, _) => ObjectId::Absent,
            (_, Some(Entry::File { blob, .. })) => ObjectId::Blob(*blob),
            (_, Some(Entry::Dir { .. } | Entry::Symlink { .. } | Entry::Special { .. })) => ObjectId::Staged,
            (Some(seen), _) => ObjectId::User(FileVersion::of(&seen.object)),
        };
        let identity = Identity { object, generation: state.generations.of(path) };
        Ok(Located::new(path, identity, seen))
    }

    /// What is shown of what was located; nothing where nothing is.
    #[must_use]
    pub fn shown(&self, at: &Located) -> Option<Attributes> {
        let seen = at.attributes()?;
        Some(Self::over(&self.lock(), at.path(), *seen))
    }

    /// Check that a path still stands for what was decided on. Of an object of the user's the state is returned.
    ///
    /// # Errors
    /// `ESTALE` when it is another by now.
    pub(crate) fn check(&self, state: &State, at: &Located) -> Result<Option<Stat>> {
        let (path, identity) = (at.path(), at.identity());
        if state.generations.of(path) != identity.generation {
            return Err(Errno::STALE);
        }
        match identity.object {
            ObjectId::Blob(_) | ObjectId::Staged => Ok(None),
            ObjectId::Absent => match self.attributes_in(state, path) {
                Err(Errno::NOENT) => Ok(None),
                _ => Err(Errno::STALE),
            },
            ObjectId::User(version) => match self.base_stat(path) {
                Ok(stat) if version.is(&stat) => Ok(Some(stat)),
                _ => Err(Errno::STALE),
            },
        }
    }

    /// Open a file for reading, and for writing when it is staged.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ELOOP` for a link, `ENXIO` for what is neither file nor directory; `ENFILE` when the session has
    /// as many open as it may.
    pub fn open_file(&self, path: &str) -> Result<Opened> {
        let held = self.quota.take(0, 1)?;
        let state = self.lock();
        match state.entries.get(path) {
            Some(Entry::File { blob, origin, .. }) => {
                let file = File::options().read(true).write(true).open(self.blob(*blob)).map_err(errno)?;
                self.of_blob(&state, path, *blob, HeldFile::new(file, held), origin.clone())
            }
            Some(Entry::Dir { .. }) => Err(Errno::ISDIR),
            Some(Entry::Symlink { .. }) => Err(Errno::LOOP),
            Some(Entry::Special { .. }) => Err(Errno::NXIO),
            Some(Entry::Gone { .. }) => Err(Errno::NOENT),
            Some(Entry::Base) | None => {
                if hidden_by_parent(&state, path) {
                    return Err(Errno::NOENT);
                }
                let generation = state.generations.of(path);
                drop(state);
                let file = self.base_open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                let seen = from_stat(&rustix::fs::fstat(&file)?, false)?;
                match seen.object.kind {
                    ObjectKind::File => {}
                    ObjectKind::Dir => return Err(Errno::ISDIR),
                    ObjectKind::Symlink => return Err(Errno::LOOP),
                    ObjectKind::Special => return Err(Errno::NXIO),
                }
                let object = ObjectId::User(FileVersion::of(&seen.object));
                Ok(Opened {
                    file: Arc::new(HeldFile::new(File::from(file), held)),
                    located: Located::new(path, Identity { object, generation }, Some(seen)),
                    object: seen.object,
                    origin: None,
                    blob: None,
                    mode: seen.mode & 0o777,
                })
            }
        }
    }

    pub(crate) fn of_blob(
        &self,
        state: &State,
        path: &str,
        blob: u64,
        file: HeldFile,
        origin: Option<String>,
    ) -> Result<Opened> {
        let located = self.locate_in(state, path)?;
        let seen = located.attributes().ok_or(Errno::NOENT)?;
        let (object, mode) = (seen.object, seen.mode & 0o7777);
        Ok(Opened { file: Arc::new(file), located, object, origin, blob: Some(blob), mode })
    }

    /// The target of a link.
    ///
    /// # Errors
    /// `EINVAL` when it is not a link.
    pub fn read_link(&self, path: &str) -> Result<String> {
        let state = self.lock();
        match state.entries.get(path) {
            Some(Entry::Symlink { target, .. }) => Ok(target.clone()),
            Some(Entry::Gone { .. }) => Err(Errno::NOENT),
            Some(Entry::File { .. } | Entry::Dir { .. } | Entry::Special { .. }) => Err(Errno::INVAL),
            Some(Entry::Base) | None if hidden_by_parent(&state, path) => Err(Errno::NOENT),
            Some(Entry::Base) | None => {
                let link = self.base_open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
                let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
                Ok(name_as_text(target.as_bytes()).into_owned())
            }
        }
    }

    /// Make what was written durable.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> Result<()> {
        self.lock().journal.sync().map_err(errno)
    }

    pub(crate) fn base_version(&self, path: &str) -> Option<BaseVersion> {
        self.base_stat(path).ok().map(|s| BaseVersion::of(&s))
    }

    pub(crate) fn base_stat(&self, path: &str) -> Result<Stat> {
        if path.is_empty() {
            return rustix::fs::statat(&self.root, "", AtFlags::EMPTY_PATH);
        }
        rustix::fs::fstat(self.base_open(path, OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    pub(crate) fn base_open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let at = native(if path.is_empty() { "." } else { path });
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(
                self.root.as_fd(),
                &*at,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                beneath,
            ) {
                // The kernel asks to try again when something was renamed meanwhile.
                Err(Errno::AGAIN) if tries < 16 => tries += 1,
                other => return other,
            }
        }
    }
}

/// Memory that an entry takes, in bytes: its texts and, by far, the rest.
pub(crate) fn memory_of(path: &str, entry: &Entry) -> u64 {
    let texts = match entry {
        Entry::Base => return 0,
        Entry::File { origin, .. } => origin.as_ref().map_or(0, String::len),
        Entry::Symlink { target, .. } => target.len(),
        Entry::Dir { .. } | Entry::Special { .. } | Entry::Gone { .. } => 0,
    };
    ENTRY + path.len() as u64 + texts as u64
}

/// A path below a directory.
#[must_use]
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A deleted or replaced directory above hides what the user has there.
pub(crate) fn hidden_by_parent(state: &State, path: &str) -> bool {
    let mut at = path;
    while let Some((parent, _)) = at.rsplit_once('/') {
        match state.entries.get(parent) {
            Some(
                Entry::Gone { .. }
                | Entry::Dir { opaque: true, .. }
                | Entry::File { .. }
                | Entry::Symlink { .. }
                | Entry::Special { .. },
            ) => return true,
            _ => at = parent,
        }
    }
    false
}

pub(crate) fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

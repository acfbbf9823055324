//! The merged view: the person's folder below, the agent's staged changes above.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaperone_staging::{BaseVersion, Change, Kind, Op};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use thiserror::Error;

use crate::gate::{Object, ObjectKind};
use crate::journal::{Entry, Journal, Record};
use crate::room::Room;

/// Staged files, folders and deletions of one session. Protects memory; beyond it: `ENOSPC`.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;
/// Entries of one listed folder. Protects memory; beyond it the listing fails with `EOVERFLOW`.
const MAX_LISTED: usize = 1_000_000;
/// Bytes on the disk that one more entry takes, by far.
const ENTRY_ROOM: u64 = 8192;

/// What a rename of a folder moves at most: entries, and bytes of the person's files. Protects memory and keeps the
/// folder from standing still for long; beyond it: `EXDEV`.
const MAX_MOVED: usize = 20_000;
const MAX_MOVED_BYTES: u64 = 1 << 30;
/// A folder that did not change for so long has shown its last change in its times.
const SETTLED_NS: i128 = 2_000_000_000;

/// The merged view and its stage.
pub struct Tree {
    root: OwnedFd,
    dir: PathBuf,
    pub(crate) state: Mutex<State>,
    room: Room,
}

pub(crate) struct State {
    pub(crate) entries: BTreeMap<String, Entry>,
    journal: Journal,
    pub(crate) next_blob: u64,
    /// Open handles that may write a blob.
    writers: HashMap<u64, usize>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What a path looks like to the agent.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    pub object: Object,
    pub mode: u32,
    pub blocks: u64,
    pub atime_ns: i128,
}

/// The state of a folder of the person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListingVersion {
    dev: u64,
    ino: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

impl ListingVersion {
    /// Whether the next change of the folder is certain to show in its times: those of some file systems have steps
    /// of two seconds.
    pub(crate) fn is_settled(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.is_ok_and(|now| {
            i128::try_from(now.as_nanos())
                .is_ok_and(|now| now - self.mtime_ns.max(self.ctime_ns) > SETTLED_NS)
        })
    }
}

/// An open object.
#[derive(Debug, Clone)]
pub struct Opened {
    pub file: Arc<File>,
    pub object: Object,
    pub origin: Option<String>,
    /// The file of the stage that it is; the person's own has none.
    pub blob: Option<u64>,
    /// Permission bits.
    pub mode: u32,
}

#[derive(Debug, Error)]
pub enum TreeError {
    #[error("the stage at {dir} cannot be used: {source}")]
    Stage { dir: PathBuf, source: io::Error },
}

type Errno = rustix::io::Errno;
type Result<T> = std::result::Result<T, Errno>;

impl Tree {
    /// Open or make the stage `dir` over the folder `root`.
    ///
    /// # Errors
    /// When the stage is damaged or cannot be written.
    pub fn open(dir: &Path, root: OwnedFd) -> std::result::Result<Self, TreeError> {
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
        let state = State { entries, journal, next_blob, writers: HashMap::new() };
        Ok(Self { root, dir: dir.to_owned(), state: Mutex::new(state), room: Room::default() })
    }

    /// Take room on the stage's disk for what is about to be written.
    ///
    /// # Errors
    /// `ENOSPC` before the disk is full: some of it is the log's and the person's.
    pub(crate) fn room(&self, bytes: u64) -> Result<()> {
        self.room.take(&self.dir, bytes)
    }

    /// Whether the stage's disk has more room than what is the log's and the person's.
    ///
    /// # Errors
    /// When the disk cannot be looked at.
    pub fn has_room(&self) -> Result<bool> {
        crate::room::is_left(&self.dir)
    }

    /// A handle may write this blob from now on; until it is closed, a commit does not let go of it.
    pub(crate) fn writer_opened(&self, blob: u64) {
        *self.state.lock().writers.entry(blob).or_insert(0) += 1;
    }

    pub(crate) fn writer_closed(&self, blob: u64) {
        let mut state = self.state.lock();
        if let Some(count) = state.writers.get_mut(&blob) {
            *count -= 1;
            if *count == 0 {
                state.writers.remove(&blob);
            }
        }
    }

    /// The folder below.
    #[must_use]
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// What a path is.
    ///
    /// # Errors
    /// `ENOENT`, or what the kernel says of the person's file.
    pub fn attributes(&self, path: &str) -> Result<Attributes> {
        let state = self.state.lock();
        self.attributes_in(&state, path)
    }

    fn attributes_in(&self, state: &State, path: &str) -> Result<Attributes> {
        match state.entries.get(path) {
            Some(Entry::File { blob, base, mode, cleared, .. }) => {
                let stat = rustix::fs::stat(self.blob(*blob))?;
                let mut seen = from_stat(&stat, *cleared)?;
                seen.mode = 0o100_000 | mode & 0o777;
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
                seen.mode = 0o040_000 | mode & 0o777;
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
                    size: target.len() as u64,
                    ..seen.object
                };
                Ok(seen)
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

    /// Open a file for reading, and for writing when it is staged.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ELOOP` for a link, `ENXIO` for what is neither file nor folder.
    pub fn open_file(&self, path: &str) -> Result<Opened> {
        let state = self.state.lock();
        match state.entries.get(path) {
            Some(Entry::File { blob, origin, .. }) => {
                let file = File::options().read(true).write(true).open(self.blob(*blob)).map_err(errno)?;
                let seen = self.attributes_in(&state, path)?;
                Ok(of_blob(*blob, file, &seen, origin.clone()))
            }
            Some(Entry::Dir { .. }) => Err(Errno::ISDIR),
            Some(Entry::Symlink { .. }) => Err(Errno::LOOP),
            Some(Entry::Gone { .. }) => Err(Errno::NOENT),
            Some(Entry::Base) | None => {
                if hidden_by_parent(&state, path) {
                    return Err(Errno::NOENT);
                }
                drop(state);
                let file = self.base_open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                let seen = from_stat(&rustix::fs::fstat(&file)?, false)?;
                match seen.object.kind {
                    ObjectKind::File => Ok(Opened {
                        file: Arc::new(File::from(file)),
                        object: seen.object,
                        origin: None,
                        blob: None,
                        mode: seen.mode & 0o777,
                    }),
                    ObjectKind::Dir => Err(Errno::ISDIR),
                    ObjectKind::Symlink => Err(Errno::LOOP),
                }
            }
        }
    }

    /// The target of a link.
    ///
    /// # Errors
    /// `EINVAL` when it is not a link.
    pub fn read_link(&self, path: &str) -> Result<String> {
        let state = self.state.lock();
        match state.entries.get(path) {
            Some(Entry::Symlink { target, .. }) => Ok(target.clone()),
            Some(Entry::Gone { .. }) => Err(Errno::NOENT),
            Some(Entry::File { .. } | Entry::Dir { .. }) => Err(Errno::INVAL),
            Some(Entry::Base) | None if hidden_by_parent(&state, path) => Err(Errno::NOENT),
            Some(Entry::Base) | None => {
                let link = self.base_open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
                let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
                target.into_string().map_err(|_| Errno::ILSEQ)
            }
        }
    }

    /// Identifies the names in a folder in and below which nothing is staged; any other has no version.
    ///
    /// # Errors
    /// What the kernel says of the folder.
    pub(crate) fn listing_version(&self, path: &str) -> Result<Option<ListingVersion>> {
        let state = self.state.lock();
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let next = state.entries.range(below.clone()..).next();
        let touched = next.is_some_and(|(staged, _)| staged.starts_with(&below))
            || state.entries.contains_key(path)
            || hidden_by_parent(&state, path);
        if touched {
            return Ok(None);
        }
        let Object { dev, ino, mtime_ns, ctime_ns, .. } = from_stat(&self.base_stat(path)?, false)?.object;
        Ok(Some(ListingVersion { dev, ino, mtime_ns, ctime_ns }))
    }

    /// The names in a folder with what they are.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn list(&self, path: &str) -> Result<Vec<(String, Attributes)>> {
        self.list_in(&self.state.lock(), path)
    }

    fn list_in(&self, state: &State, path: &str) -> Result<Vec<(String, Attributes)>> {
        if self.attributes_in(state, path)?.object.kind != ObjectKind::Dir {
            return Err(Errno::NOTDIR);
        }
        let mut names = BTreeSet::new();
        let shows_base = !matches!(state.entries.get(path), Some(Entry::Dir { opaque: true, .. }))
            && !hidden_by_parent(state, path);
        if shows_base && let Ok(folder) = self.base_open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            for entry in rustix::fs::Dir::read_from(&folder)? {
                let entry = entry?;
                // A name that is not UTF-8 cannot be named in a policy; it is not shown.
                if let Ok(name) = entry.file_name().to_str()
                    && name != "."
                    && name != ".."
                {
                    names.insert(name.to_owned());
                }
                if names.len() > MAX_LISTED {
                    return Err(Errno::OVERFLOW);
                }
            }
        }
        for (child, entry) in children(&state.entries, path) {
            match entry {
                Entry::Gone { .. } => drop(names.remove(child)),
                Entry::Base => {}
                _ => drop(names.insert(child.to_owned())),
            }
        }
        Ok(names
            .into_iter()
            .filter_map(|name| {
                let seen = self.attributes_in(state, &join(path, &name)).ok()?;
                Some((name, seen))
            })
            .collect())
    }

    /// Make a new empty file.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOSPC`.
    pub fn create(&self, path: &str, mode: u32) -> Result<Opened> {
        let mut state = self.state.lock();
        self.must_be_free(&state, path)?;
        let (blob, file) = self.new_blob(&mut state)?;
        let base = replaced(&state, path);
        let mode = mode & 0o777;
        self.record(
            &mut state,
            vec![(path.to_owned(), Entry::File { blob, base, mode, origin: None, cleared: true })],
        )?;
        let seen = self.attributes_in(&state, path)?;
        Ok(of_blob(blob, file, &seen, None))
    }

    /// Bring a file of the person's into the stage, to be written there: `from` is the exact content to start with
    /// (what was released), or nothing when it is truncated.
    ///
    /// # Errors
    /// `ENOENT`, `ENOSPC`.
    pub fn copy_up(&self, path: &str, from: Option<&File>, cleared: bool) -> Result<Opened> {
        let mut state = self.state.lock();
        if let Some(Entry::File { blob, origin, base, mode, cleared: was }) = state.entries.get(path).cloned()
        {
            let file = File::options().read(true).write(true).open(self.blob(blob)).map_err(errno)?;
            if cleared && !was {
                let entry = Entry::File { blob, base, mode, origin: origin.clone(), cleared };
                self.record(&mut state, vec![(path.to_owned(), entry)])?;
            }
            let seen = self.attributes_in(&state, path)?;
            return Ok(of_blob(blob, file, &seen, origin));
        }
        let stat = self.base_stat(path)?;
        if hidden_by_parent(&state, path) {
            return Err(Errno::NOENT);
        }
        let (blob, file) = match from {
            Some(from) => self.blob_with(&mut state, from, &stat)?,
            None => self.new_blob(&mut state)?,
        };
        let base = Some(BaseVersion::of(&stat));
        let mode = stat.st_mode & 0o777;
        self.record(
            &mut state,
            vec![(path.to_owned(), Entry::File { blob, base, mode, origin: None, cleared })],
        )?;
        let seen = self.attributes_in(&state, path)?;
        Ok(of_blob(blob, file, &seen, None))
    }

    /// Change the permission bits of a staged file or folder; a file of the person's is brought into the stage.
    ///
    /// # Errors
    /// As [`Self::copy_up`].
    pub fn set_mode(&self, path: &str, mode: u32) -> Result<()> {
        let mut state = self.state.lock();
        let entry = match state.entries.get(path).cloned() {
            Some(Entry::File { blob, base, origin, cleared, .. }) => {
                Entry::File { blob, base, mode: mode & 0o777, origin, cleared }
            }
            Some(Entry::Dir { opaque, .. }) => Entry::Dir { opaque, mode: mode & 0o777 },
            _ => return Err(Errno::OPNOTSUPP),
        };
        self.record(&mut state, vec![(path.to_owned(), entry)])
    }

    /// # Errors
    /// `EEXIST`, `ENOENT`.
    pub fn make_dir(&self, path: &str, mode: u32) -> Result<()> {
        let mut state = self.state.lock();
        self.must_be_free(&state, path)?;
        let opaque = matches!(state.entries.get(path), Some(Entry::Gone { .. }));
        self.record(&mut state, vec![(path.to_owned(), Entry::Dir { opaque, mode: mode & 0o777 })])
    }

    /// # Errors
    /// `EEXIST`, `ENOENT`.
    pub fn make_link(&self, path: &str, target: &str) -> Result<()> {
        let mut state = self.state.lock();
        self.must_be_free(&state, path)?;
        let base = replaced(&state, path);
        self.record(&mut state, vec![(path.to_owned(), Entry::Symlink { target: target.to_owned(), base })])
    }

    /// Delete a file or link.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`.
    pub fn remove_file(&self, path: &str) -> Result<()> {
        let mut state = self.state.lock();
        if self.attributes_in(&state, path)?.object.kind == ObjectKind::Dir {
            return Err(Errno::ISDIR);
        }
        let gone = self.gone(&state, path, false);
        self.record(&mut state, vec![(path.to_owned(), gone)])
    }

    /// Delete an empty folder.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`.
    pub fn remove_dir(&self, path: &str) -> Result<()> {
        let mut state = self.state.lock();
        let record = self.removal_of_dir(&state, path)?;
        self.record(&mut state, record)
    }

    fn removal_of_dir(&self, state: &State, path: &str) -> Result<Record> {
        if !self.list_in(state, path)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        let mut record = vec![(path.to_owned(), self.gone(state, path, true))];
        // Deletions below stay recorded: the folder of the person's is deleted with them.
        if matches!(record.first(), Some((_, Entry::Base))) {
            let prefix = format!("{path}/");
            let below = state.entries.range(prefix.clone()..).map(|(p, _)| p);
            let below = below.take_while(|p| p.starts_with(&prefix));
            record.extend(below.map(|p| (p.clone(), Entry::Base)));
        }
        Ok(record)
    }

    /// Everything that a rename of this path moves, from the outside in: itself, and what is in it.
    ///
    /// # Errors
    /// `ENOENT`; `EXDEV` for a folder with more in it than is moved at once, upon which programs copy.
    pub fn moved_with(&self, path: &str) -> Result<Vec<(String, Object)>> {
        self.moved_with_in(&self.state.lock(), path)
    }

    fn moved_with_in(&self, state: &State, path: &str) -> Result<Vec<(String, Object)>> {
        let mut moved = vec![(path.to_owned(), self.attributes_in(state, path)?.object)];
        let (mut next, mut bytes) = (0, 0u64);
        while let Some((folder, object)) = moved.get(next) {
            let folder = (object.kind == ObjectKind::Dir).then(|| folder.clone());
            next += 1;
            let Some(folder) = folder else { continue };
            for (name, seen) in self.list_in(state, &folder)? {
                if !seen.object.staged {
                    bytes = bytes.saturating_add(seen.object.size);
                }
                moved.push((join(&folder, &name), seen.object));
                if moved.len() > MAX_MOVED || bytes > MAX_MOVED_BYTES {
                    return Err(Errno::XDEV);
                }
            }
        }
        Ok(moved)
    }

    /// Rename. What `moved` does not name is not moved along: it is what [`Self::moved_with`] said when it was decided.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST` with `keep`, `ENOTEMPTY`, `EBUSY` when there is something else to move by now.
    pub fn rename(&self, from: &str, to: &str, keep: bool, moved: &[(String, Object)]) -> Result<()> {
        if from == to {
            return Ok(());
        }
        if to.strip_prefix(from).is_some_and(|r| r.starts_with('/')) {
            return Err(Errno::INVAL);
        }
        let seen = self.attributes(from)?;
        let there = self.attributes(to).ok();
        if there.is_some() && keep {
            return Err(Errno::EXIST);
        }
        if seen.object.kind == ObjectKind::Dir {
            if there.is_some_and(|t| t.object.kind != ObjectKind::Dir) {
                return Err(Errno::NOTDIR);
            }
            return self.rename_dir(from, to, moved);
        }
        if there.is_some_and(|t| t.object.kind == ObjectKind::Dir) {
            return Err(Errno::ISDIR);
        }
        // A file of the person's comes into the stage first; its content still needs a decision to be read.
        if seen.object.kind == ObjectKind::File && !self.is_staged(from) {
            let opened = self.open_file(from)?;
            self.copy_up(from, Some(&opened.file), false)?;
        }
        let mut state = self.state.lock();
        let target_base = self.replaced_by_rename(to).or_else(|| replaced(&state, to));
        let moved = match state.entries.get(from).cloned() {
            Some(Entry::File { blob, base, mode, origin, cleared }) => {
                let origin = origin.or_else(|| base.is_some().then(|| from.to_owned()));
                Entry::File { blob, base: target_base, mode, origin, cleared }
            }
            Some(Entry::Symlink { target, .. }) => Entry::Symlink { target, base: target_base },
            _ => {
                let link = self.base_open(from, OFlags::PATH | OFlags::NOFOLLOW)?;
                let target =
                    rustix::fs::readlinkat(&link, "", Vec::new())?.into_string().map_err(|_| Errno::ILSEQ)?;
                Entry::Symlink { target, base: target_base }
            }
        };
        let gone = self.gone(&state, from, false);
        self.record(&mut state, vec![(to.to_owned(), moved), (from.to_owned(), gone)])
    }

    fn rename_dir(&self, from: &str, to: &str, decided: &[(String, Object)]) -> Result<()> {
        let mut state = self.state.lock();
        let moved = self.moved_with_in(&state, from)?;
        let same = |((a, x), (b, y)): (&(String, Object), &(String, Object))| a == b && x.kind == y.kind;
        if moved.len() != decided.len() || !moved.iter().zip(decided).all(same) {
            return Err(Errno::BUSY);
        }
        let mut record = match self.attributes_in(&state, to) {
            Ok(_) => self.removal_of_dir(&state, to)?,
            Err(_) => Record::new(),
        };
        let mut lifted = Vec::new();
        for (path, object) in &moved {
            let at = format!("{to}{}", path.strip_prefix(from).unwrap_or_default());
            match self.moved_entry(&mut state, path, &at, object) {
                Ok(entry) => {
                    lifted.extend(blob_of(&entry));
                    record.push((at, entry));
                }
                Err(e) => {
                    // Of what was staged before, nothing may go.
                    let staged: BTreeSet<u64> = state.entries.values().filter_map(blob_of).collect();
                    for blob in lifted.into_iter().filter(|b| !staged.contains(b)) {
                        std::fs::remove_file(self.blob(blob)).ok();
                    }
                    return Err(e);
                }
            }
        }
        for (path, object) in &moved {
            record.push((path.clone(), self.gone(&state, path, object.kind == ObjectKind::Dir)));
        }
        self.record(&mut state, record)
    }

    /// What an object of a folder that moves is at its new place. A file of the person's comes into the stage; its
    /// content still needs a decision to be read, under its old name, too.
    fn moved_entry(&self, state: &mut State, path: &str, at: &str, object: &Object) -> Result<Entry> {
        let base = self.replaced_by_rename(at);
        Ok(match (state.entries.get(path).cloned(), object.kind) {
            (Some(Entry::Dir { mode, .. }), _) => Entry::Dir { opaque: true, mode },
            (Some(Entry::File { blob, base: was, mode, origin, cleared }), _) => {
                let origin = origin.or_else(|| was.is_some().then(|| path.to_owned()));
                Entry::File { blob, base, mode, origin, cleared }
            }
            (Some(Entry::Symlink { target, .. }), _) => Entry::Symlink { target, base },
            (_, ObjectKind::Dir) => Entry::Dir { opaque: true, mode: self.base_stat(path)?.st_mode & 0o777 },
            (_, ObjectKind::Symlink) => {
                let link = self.base_open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
                let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
                Entry::Symlink { target: target.into_string().map_err(|_| Errno::ILSEQ)?, base }
            }
            (_, ObjectKind::File) => {
                let file = self.base_open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                let stat = rustix::fs::fstat(&file)?;
                if from_stat(&stat, false)?.object.kind != ObjectKind::File {
                    return Err(Errno::BUSY);
                }
                let (blob, _) = self.blob_with(state, &File::from(file), &stat)?;
                let mode = stat.st_mode & 0o777;
                Entry::File { blob, base, mode, origin: Some(path.to_owned()), cleared: false }
            }
        })
    }

    /// Whether the path has an entry of its own in the stage.
    #[must_use]
    pub fn is_staged(&self, path: &str) -> bool {
        matches!(
            self.state.lock().entries.get(path),
            Some(Entry::File { .. } | Entry::Symlink { .. } | Entry::Dir { .. })
        )
    }

    /// Make what was written durable.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> Result<()> {
        self.state.lock().journal.sync().map_err(errno)
    }

    /// What the agent wants to happen to the person's folder. Files whose content came back to what it was are no
    /// change; a file of the person's that has another place is a rename, so that no half of it is ever committed.
    ///
    /// # Errors
    /// When the stage or the folder cannot be read.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let state = self.state.lock();
        let moves = self.moves(&state);
        let moved: HashSet<&str> = moves.values().map(|(from, _)| *from).collect();
        let mut changes = Vec::new();
        for (path, entry) in &state.entries {
            // What the person has there now; nothing when a folder above it was deleted or replaced in the stage (what
            // was in it is then deleted by changes of its own).
            let now = self.base_version(path);
            let blank = Change {
                path: path.clone(),
                op: Op::Create,
                from: None,
                kind: Kind::File,
                blob: None,
                target: None,
                base: None,
                replaces: None,
                mode: 0,
                mtime_ns: 0,
                size: 0,
            };
            match entry {
                Entry::Base => {}
                Entry::Gone { .. } if moved.contains(path.as_str()) => {}
                Entry::Gone { base, dir } => {
                    if let Some(now) = now {
                        let kind = now.kind().unwrap_or(if *dir { Kind::Dir } else { Kind::File });
                        changes.push(Change {
                            op: Op::Delete,
                            kind,
                            base: base.or(Some(now)),
                            mode: now.mode & 0o7777,
                            ..blank
                        });
                    }
                }
                Entry::Dir { mode, .. } => {
                    if now.is_none_or(|n| n.kind() != Some(Kind::Dir)) {
                        changes.extend(now.map(|n| deletion(&blank, n)));
                        changes.push(Change { kind: Kind::Dir, mode: *mode, ..blank });
                    }
                }
                Entry::Symlink { target, base } => {
                    if let Some(n) = now.filter(|n| n.kind() == Some(Kind::Dir)) {
                        changes.push(deletion(&blank, n));
                    }
                    let op = if base.is_some() { Op::Modify } else { Op::Create };
                    changes.push(Change {
                        op,
                        kind: Kind::Symlink,
                        target: Some(target.clone()),
                        base: *base,
                        mode: 0o777,
                        size: target.len() as u64,
                        ..blank
                    });
                }
                Entry::File { blob, base, mode, .. } => {
                    let at = self.blob(*blob);
                    let stat = rustix::fs::stat(&at)?;
                    if let Some(base) = base
                        && now.is_some_and(|n| base.is_same_content(&n))
                        && base.mode & 0o777 == *mode
                        && u64::try_from(stat.st_size) == Ok(base.size)
                        && self.same_content(path, &at)?
                    {
                        continue;
                    }
                    if let Some(n) = now.filter(|n| n.kind() == Some(Kind::Dir)) {
                        changes.push(deletion(&blank, n));
                    }
                    let mtime_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
                    let size = stat.st_size.cast_unsigned();
                    let filled = Change { mode: *mode, mtime_ns, size, ..blank };
                    changes.push(if let Some((from, was)) = moves.get(path.as_str()) {
                        let as_it_was = was.mode & 0o777 == *mode
                            && was.mtime_ns == mtime_ns
                            && was.size == size
                            && self.same_content(from, &at)?;
                        Change {
                            op: Op::Rename,
                            from: Some((*from).to_owned()),
                            blob: (!as_it_was).then_some(at),
                            base: Some(*was),
                            replaces: *base,
                            ..filled
                        }
                    } else {
                        let op = if base.is_some() { Op::Modify } else { Op::Create };
                        Change { op, blob: Some(at), base: *base, ..filled }
                    });
                }
            }
        }
        // Folders before what is in them; deletions from the inside out, last.
        changes.sort_by_key(|c| c.op == Op::Delete);
        let first = changes.iter().position(|c| c.op == Op::Delete).unwrap_or(changes.len());
        changes.get_mut(first..).unwrap_or_default().reverse();
        Ok(changes)
    }

    /// These paths were committed: the person's own shows again. A file that is still open for writing stays staged,
    /// based on what was committed, so that nothing written later is lost.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn committed(&self, paths: &[String]) -> Result<()> {
        let mut state = self.state.lock();
        let mut record = Record::new();
        for path in paths {
            match state.entries.get(path) {
                Some(Entry::File { blob, mode, .. }) if state.writers.contains_key(blob) => {
                    let base = self.base_version(path);
                    let (blob, mode) = (*blob, *mode);
                    record
                        .push((path.clone(), Entry::File { blob, base, mode, origin: None, cleared: true }));
                }
                Some(_) => record.push((path.clone(), Entry::Base)),
                None => {}
            }
        }
        if record.is_empty() { Ok(()) } else { self.record(&mut state, record) }
    }

    /// Throw away what is staged at these paths.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn discard(&self, paths: &[String]) -> Result<()> {
        let mut state = self.state.lock();
        let record: Record = paths
            .iter()
            .filter(|p| state.entries.contains_key(*p))
            .map(|p| (p.clone(), Entry::Base))
            .collect();
        if record.is_empty() { Ok(()) } else { self.record(&mut state, record) }
    }

    /// New name of each file of the person's that is no more where it was, with its old name and version.
    fn moves<'a>(&self, state: &'a State) -> HashMap<&'a str, (&'a str, BaseVersion)> {
        let mut moves = HashMap::new();
        let mut taken = HashSet::new();
        for (path, entry) in &state.entries {
            let Entry::File { origin: Some(from), .. } = entry else { continue };
            if let Some(Entry::Gone { base: Some(was), dir: false }) = state.entries.get(from)
                && was.kind() == Some(Kind::File)
                && self.base_version(from).is_some()
                && taken.insert(from)
            {
                moves.insert(path.as_str(), (from.as_str(), *was));
            }
        }
        moves
    }

    fn same_content(&self, path: &str, blob: &Path) -> Result<bool> {
        let base = File::from(self.base_open(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let blob = File::open(blob).map_err(errno)?;
        let (mut a, mut b) = (vec![0u8; 1 << 16], vec![0u8; 1 << 16]);
        let mut at = 0;
        loop {
            let n = base.read_at(&mut a, at).map_err(errno)?;
            let m = blob.read_at(&mut b, at).map_err(errno)?;
            if n != m || a.get(..n) != b.get(..m) {
                return Ok(false);
            }
            if n == 0 {
                return Ok(true);
            }
            at += n as u64;
        }
    }

    fn must_be_free(&self, state: &State, path: &str) -> Result<()> {
        if state.entries.len() >= MAX_ENTRIES {
            return Err(Errno::NOSPC);
        }
        self.room(ENTRY_ROOM)?;
        let parent = path.rsplit_once('/').map_or("", |(p, _)| p);
        if self.attributes_in(state, parent)?.object.kind != ObjectKind::Dir {
            return Err(Errno::NOTDIR);
        }
        match self.attributes_in(state, path) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn gone(&self, state: &State, path: &str, dir: bool) -> Entry {
        let known = match state.entries.get(path) {
            Some(Entry::File { base, .. } | Entry::Gone { base, .. } | Entry::Symlink { base, .. }) => *base,
            _ => None,
        };
        match self.base_version(path) {
            Some(base) if known.is_some() || !hidden_by_parent(state, path) => {
                Entry::Gone { base: known.or(Some(base)), dir }
            }
            _ => Entry::Base,
        }
    }

    /// What a file that moves here replaces; a folder must be deleted by a change of its own.
    fn replaced_by_rename(&self, path: &str) -> Option<BaseVersion> {
        self.base_version(path).filter(|v| v.kind() != Some(Kind::Dir))
    }

    fn base_version(&self, path: &str) -> Option<BaseVersion> {
        self.base_stat(path).ok().map(|s| BaseVersion::of(&s))
    }

    fn base_stat(&self, path: &str) -> Result<Stat> {
        if path.is_empty() {
            return rustix::fs::statat(&self.root, "", AtFlags::EMPTY_PATH);
        }
        rustix::fs::fstat(self.base_open(path, OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    fn base_open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let at = if path.is_empty() { "." } else { path };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(self.root.as_fd(), at, flags | OFlags::CLOEXEC, Mode::empty(), beneath)
            {
                // The kernel asks to try again when something was renamed meanwhile.
                Err(Errno::AGAIN) if tries < 16 => tries += 1,
                other => return other,
            }
        }
    }

    fn new_blob(&self, state: &mut State) -> Result<(u64, File)> {
        let blob = state.next_blob;
        state.next_blob += 1;
        let file =
            File::options().read(true).write(true).create_new(true).open(self.blob(blob)).map_err(errno)?;
        Ok((blob, file))
    }

    /// A blob with the content and the times of a file of the person's.
    pub(crate) fn blob_with(&self, state: &mut State, from: &File, stat: &Stat) -> Result<(u64, File)> {
        self.room(from.metadata().map_err(errno)?.len())?;
        let (blob, file) = self.new_blob(state)?;
        let time = |tv_sec, tv_nsec: u64| rustix::fs::Timespec { tv_sec, tv_nsec: tv_nsec.cast_signed() };
        let times = rustix::fs::Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        let filled = copy(from, &file).map_err(errno).and_then(|()| rustix::fs::futimens(&file, &times));
        if let Err(e) = filled {
            std::fs::remove_file(self.blob(blob)).ok();
            return Err(e);
        }
        Ok((blob, file))
    }

    pub(crate) fn blob(&self, blob: u64) -> PathBuf {
        self.dir.join("blobs").join(blob.to_string())
    }

    pub(crate) fn record(&self, state: &mut State, record: Record) -> Result<()> {
        state.journal.append(&record).map_err(errno)?;
        let mut unnamed = Vec::new();
        let mut named = BTreeSet::new();
        for (path, entry) in record {
            named.extend(blob_of(&entry));
            let before = match entry {
                Entry::Base => state.entries.remove(&path),
                entry => state.entries.insert(path, entry),
            };
            unnamed.extend(before.as_ref().and_then(blob_of));
        }
        for blob in unnamed {
            if !named.contains(&blob) {
                // One that stays behind is removed when the stage is opened again.
                std::fs::remove_file(self.blob(blob)).ok();
            }
        }
        Ok(())
    }
}

fn blob_of(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::File { blob, .. } => Some(*blob),
        _ => None,
    }
}

fn of_blob(blob: u64, file: File, seen: &Attributes, origin: Option<String>) -> Opened {
    Opened { file: Arc::new(file), object: seen.object, origin, blob: Some(blob), mode: seen.mode & 0o777 }
}

/// The removal of what stands where something of another kind goes.
fn deletion(blank: &Change, now: BaseVersion) -> Change {
    let kind = now.kind().unwrap_or(Kind::File);
    Change { op: Op::Delete, kind, base: Some(now), mode: now.mode & 0o7777, ..blank.clone() }
}

/// A path below a folder.
#[must_use]
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// What a new object at this place replaces.
fn replaced(state: &State, path: &str) -> Option<BaseVersion> {
    match state.entries.get(path) {
        Some(Entry::Gone { base, dir: false }) => *base,
        _ => None,
    }
}

/// A deleted or replaced folder above hides what the person has there.
fn hidden_by_parent(state: &State, path: &str) -> bool {
    let mut at = path;
    while let Some((parent, _)) = at.rsplit_once('/') {
        match state.entries.get(parent) {
            Some(
                Entry::Gone { .. }
                | Entry::Dir { opaque: true, .. }
                | Entry::File { .. }
                | Entry::Symlink { .. },
            ) => return true,
            _ => at = parent,
        }
    }
    false
}

/// The staged entries directly in a folder, by name.
fn children<'a>(entries: &'a BTreeMap<String, Entry>, folder: &str) -> Vec<(&'a str, &'a Entry)> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    entries
        .range(prefix.clone()..)
        .take_while(|(p, _)| p.starts_with(&prefix))
        .filter_map(|(p, e)| {
            let rest = p.get(prefix.len()..)?;
            (!rest.is_empty() && !rest.contains('/')).then_some((rest, e))
        })
        .collect()
}

fn from_stat(stat: &Stat, staged: bool) -> Result<Attributes> {
    let kind = match stat.st_mode & 0o170_000 {
        0o100_000 => ObjectKind::File,
        0o040_000 => ObjectKind::Dir,
        0o120_000 => ObjectKind::Symlink,
        // Devices, FIFOs and sockets of the person's are not the agent's business.
        _ => return Err(Errno::NXIO),
    };
    let time = |s: i64, n: u64| i128::from(s) * 1_000_000_000 + i128::from(n);
    Ok(Attributes {
        object: Object {
            kind,
            dev: stat.st_dev,
            ino: stat.st_ino,
            nlink: stat.st_nlink,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: time(stat.st_ctime, stat.st_ctime_nsec),
            staged,
        },
        mode: stat.st_mode & !0o7000,
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime_ns: time(stat.st_atime, stat.st_atime_nsec),
    })
}

fn is_dir(stat: &Stat) -> bool {
    stat.st_mode & 0o170_000 == 0o040_000
}

/// A stable inode number for what has none of its own (FNV-1a), above those of file systems.
fn synthetic(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
        | 1 << 63
}

fn copy(from: &File, to: &File) -> io::Result<()> {
    // Copy-on-write where the file system can.
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut buffer = vec![0u8; 1 << 18];
    let mut at = 0;
    loop {
        let n = from.read_at(&mut buffer, at)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all_at(buffer.get(..n).unwrap_or_default(), at)?;
        at += n as u64;
    }
}

pub(crate) fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

//! What is staged, as the changes that it comes to in the user's directory.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use chaperone_names::{name_as_text, native};
use chaperone_staging::{BaseVersion, Change, Kind, Op, SameAs, Touched, sparse};
use rustix::fs::OFlags;

use crate::journal::{Entry, Record, blob_of};
use crate::tree::{Result, State, Tree, errno};

/// A moment of the stage: what changed later is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageVersion(u64);

impl Tree {
    /// What the agent wants to happen to the user's directory. Files whose content came back to what it was are no
    /// change; a file of the user's that has another place is a rename, so that no half of it is ever committed.
    ///
    /// # Errors
    /// When the stage or the directory cannot be read.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let state = self.lock();
        let moves = self.moves(&state);
        let moved: HashSet<&str> = moves.values().map(|(from, _)| *from).collect();
        let mut changes = Vec::new();
        let mut same = Same::default();
        for (path, entry) in &state.entries {
            // What the user has there now; nothing when a directory above it was deleted or replaced in the stage (what
            // was in it is then deleted by changes of its own).
            let now = self.base_version(path);
            let blank = Change::blank(path.clone(), Op::Create, Kind::File);
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
                        changes.extend(now.and(entry.base()).map(|was| deletion(&blank, was)));
                        changes.push(Change { kind: Kind::Dir, mode: *mode & 0o777, ..blank });
                    }
                }
                Entry::Symlink { target, base }
                    if base.is_some() && self.user_link(path).is_some_and(|now| now == *target) => {}
                Entry::Symlink { target, base } => {
                    changes.extend(now.filter(|n| is_in_the_way(*base, n)).map(|n| deletion(&blank, n)));
                    let op = if base.is_some() { Op::Modify } else { Op::Create };
                    changes.push(Change {
                        op,
                        kind: Kind::Symlink,
                        target: Some(target.clone()),
                        base: *base,
                        mode: 0o777,
                        mtime_ns: state.aside.mtime_ns(path),
                        size: native(target).len() as u64,
                        ..blank
                    });
                }
                // Nothing of it is committed but that something of the user's is gone.
                Entry::Special { base, .. } => {
                    changes.extend(now.and(*base).map(|was| deletion(&blank, was)));
                }
                Entry::File { base: Some(base), .. }
                    if now.is_some_and(|now| !base.is_same_content(&now)) && self.only_came_along(entry) => {}
                Entry::File { blob, base, mode, origin, .. } => {
                    let moved = moves.get(path.as_str()).copied();
                    let blank = Change { origin: origin.clone().filter(|from| from != path), ..blank };
                    let Some(change) =
                        self.file_change(blank.clone(), (*blob, *base, *mode & 0o777), now, moved)?
                    else {
                        same.unchanged(&state, *blob, path, now);
                        continue;
                    };
                    same.changed(&state, *blob, &change);
                    changes.extend(now.filter(|n| is_in_the_way(*base, n)).map(|n| deletion(&blank, n)));
                    changes.push(change);
                }
            }
        }
        same.say(&mut changes);
        // Directories before what is in them, files before their other names; deletions from the inside out, last.
        changes.sort_by_key(|c| (c.op == Op::Delete, c.same_as.is_some()));
        let first = changes.iter().position(|c| c.op == Op::Delete).unwrap_or(changes.len());
        changes.get_mut(first..).unwrap_or_default().reverse();
        Ok(changes)
    }

    /// Whether a file of the user's is in the stage as it was there, because another of its names was moved or linked.
    fn only_came_along(&self, entry: &Entry) -> bool {
        let Entry::File { blob, base: Some(base), mode, origin: None, cleared: false } = entry else {
            return false;
        };
        let is_as_it_was = |now: BaseVersion| now.size == base.size && now.mtime_ns == base.mtime_ns;
        let now = rustix::fs::stat(self.blob(*blob)).ok().map(|stat| BaseVersion::of(&stat));
        *mode & 0o777 == base.mode & 0o777 && now.is_some_and(is_as_it_was)
    }

    /// The change that a staged file comes to; none when its content and mode came back to what they were.
    fn file_change(
        &self,
        blank: Change,
        (blob, base, mode): (u64, Option<BaseVersion>, u32),
        now: Option<BaseVersion>,
        moved: Option<(&str, BaseVersion)>,
    ) -> Result<Option<Change>> {
        let at = self.blob(blob);
        let stat = rustix::fs::stat(&at)?;
        let size = stat.st_size.cast_unsigned();
        if let Some(base) = base
            && now.is_some_and(|n| base.is_same_content(&n))
            && base.mode & 0o777 == mode
            && size == base.size
            && self.same_content(&blank.path, &at)?
        {
            return Ok(None);
        }
        let mtime_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        let filled = Change { mode, mtime_ns, size, ..blank };
        Ok(Some(if let Some((from, was)) = moved {
            let as_it_was = was.mode & 0o777 == mode
                && was.mtime_ns == mtime_ns
                && was.size == size
                && self.same_content(from, &at)?;
            Change {
                op: Op::Rename,
                from: Some(from.to_owned()),
                blob: (!as_it_was).then_some(at),
                base: Some(was),
                replaces: base,
                ..filled
            }
        } else {
            let op = if base.is_some() { Op::Modify } else { Op::Create };
            Change { op, blob: Some(at), base, ..filled }
        }))
    }

    /// What is there in the cell and cannot be committed: FIFOs and sockets.
    #[must_use]
    pub fn not_committed(&self) -> Vec<String> {
        let state = self.lock();
        let special = state.entries.iter().filter(|(_, entry)| matches!(entry, Entry::Special { .. }));
        special.map(|(path, _)| path.clone()).collect()
    }

    /// What is staged now, for [`Self::committed`] and [`Self::discard`]: to be taken before [`Self::changes`] is asked.
    #[must_use]
    pub fn version(&self) -> StageVersion {
        StageVersion(self.lock().generations.last())
    }

    /// What was staged at these paths in `version` was committed: the user's own shows again. A file that is still open
    /// for writing, and whatever has one of the paths since then, stays staged, based on what was committed: nothing
    /// written later is lost, and nothing counts as committed that was not.
    ///
    /// `touched` are the files that have other names since: what is based on them goes on being so.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn committed(&self, paths: &[String], version: StageVersion, touched: &Touched) -> Result<()> {
        // Names got other files.
        self.others.lock().0 = None;
        let mut state = self.lock();
        let mut record = Record::new();
        for path in paths {
            let Some(entry) = state.entries.get(path).cloned() else { continue };
            let changed = state.generations.of(path) > version.0;
            let written = self.changed_since(&state, path, version);
            let base = self.base_version(path);
            state.was_committed(path, base);
            let now = match entry {
                Entry::File { blob, mode, origin, cleared, .. }
                    if written || state.writers.contains_key(&blob) =>
                {
                    Entry::File { blob, base, mode, origin: origin.filter(|_| changed), cleared }
                }
                Entry::Symlink { target, .. } if changed => Entry::Symlink { target, base },
                Entry::Gone { dir, .. } if changed && base.is_some() => Entry::Gone { base, dir },
                Entry::Special { socket, mode, .. } => Entry::Special { socket, mode, base: None },
                Entry::Dir { .. } if changed => continue,
                // It goes on being the file of those of its names that are still to be committed.
                Entry::File { blob, mode, cleared, .. }
                    if self.is_changed_elsewhere(&state, path, paths, version)
                        && self.is_committed(path, blob, base) =>
                {
                    Entry::File { blob, base, mode, origin: None, cleared }
                }
                _ => Entry::Base,
            };
            record.push((path.clone(), now));
        }
        record.extend(self.no_longer_hiding(&state, paths, version));
        record.extend(self.no_longer_shared(&state, paths, version));
        if !touched.is_empty() {
            let settled: HashSet<&String> = record.iter().map(|(path, _)| path).collect();
            let others = state.entries.iter().filter(|(path, _)| !settled.contains(*path));
            let others: Record = others
                .filter_map(|(path, entry)| {
                    Some((path.clone(), entry.based_on(touched.after(&entry.base()?)?)))
                })
                .collect();
            record.extend(others);
        }
        if record.is_empty() { Ok(()) } else { self.record(&mut state, record) }
    }

    /// Names of a file of the stage beside those that are settled.
    fn beside<'a>(
        state: &'a State,
        path: &'a str,
        settled: &'a [String],
    ) -> impl Iterator<Item = &'a String> {
        let blob = state.entries.get(path).and_then(blob_of);
        let names = blob.into_iter().flat_map(move |blob| state.links.others(blob, path));
        names.filter(move |name| !settled.contains(name))
    }

    /// Whether a file of the stage has a name beside those that are settled under which it is a change.
    fn is_changed_elsewhere(
        &self,
        state: &State,
        path: &str,
        settled: &[String],
        version: StageVersion,
    ) -> bool {
        Self::beside(state, path, settled).any(|name| {
            let Some(Entry::File { blob, base, mode, .. }) = state.entries.get(name) else { return true };
            let blank = Change::blank(name.clone(), Op::Modify, Kind::File);
            let now = self.base_version(name);
            let change = self.file_change(blank, (*blob, *base, *mode & 0o777), now, None);
            self.changed_since(state, name, version) || !matches!(change, Ok(None))
        })
    }

    /// Names that came into the stage with what is settled, and under which nothing changed: the user's own shows again.
    fn no_longer_shared(&self, state: &State, settled: &[String], version: StageVersion) -> Record {
        let is_last = |path: &&String| {
            let blob = state.entries.get(*path).and_then(blob_of);
            blob.is_some_and(|blob| !state.writers.contains_key(&blob))
                && !self.is_changed_elsewhere(state, path, settled, version)
        };
        let names = settled.iter().filter(is_last).flat_map(|path| Self::beside(state, path, settled));
        let names: BTreeSet<&String> = names.collect();
        names.into_iter().map(|name| (name.clone(), Entry::Base)).collect()
    }

    /// Whether the user has the content of a file of the stage at this path now.
    fn is_committed(&self, path: &str, blob: u64, now: Option<BaseVersion>) -> bool {
        let is_file = now.is_some_and(|now| now.kind() == Some(Kind::File));
        is_file && self.same_content(path, &self.blob(blob)).is_ok_and(|same| same)
    }

    /// The directories above what was committed that stood in for deleted ones: what is in them is the user's own now, and shows. What
    /// of theirs is deleted, and was not committed, is hidden by itself.
    fn no_longer_hiding(&self, state: &State, paths: &[String], version: StageVersion) -> Record {
        let above =
            paths.iter().flat_map(|path| path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
        let hiding = above.filter(|folder| {
            matches!(state.entries.get(*folder), Some(Entry::Dir { opaque: true, .. }))
                && state.generations.of(folder) <= version.0
                && self.base_version(folder).is_some_and(|now| now.kind() == Some(Kind::Dir))
        });
        let folders: BTreeSet<&str> = hiding.collect();
        folders.into_iter().map(|folder| (folder.to_owned(), Entry::Base)).collect()
    }

    /// Throw away what was staged at these paths in `version`. Paths that changed since then are returned, and stay.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn discard(&self, paths: &[String], version: StageVersion) -> Result<Vec<String>> {
        let mut state = self.lock();
        let staged = paths.iter().filter(|path| state.entries.contains_key(*path)).cloned();
        let (changed, same): (Vec<String>, Vec<String>) =
            staged.partition(|path| self.changed_since(&state, path, version));
        let mut record = self.no_longer_shared(&state, &same, version);
        record.extend(same.into_iter().map(|path| (path, Entry::Base)));
        if !record.is_empty() {
            self.record(&mut state, record)?;
        }
        Ok(changed)
    }

    /// Whether a path, or the content that it has, may be another than in `version`.
    fn changed_since(&self, state: &State, path: &str, version: StageVersion) -> bool {
        let written = state.entries.get(path).and_then(blob_of).and_then(|blob| state.written.get(&blob));
        state.generations.of(path).max(written.copied().unwrap_or(0)) > version.0
    }

    /// New name of each file of the user's that is no more where it was, with its old name and version.
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

    /// What a link of the user's leads to.
    fn user_link(&self, path: &str) -> Option<String> {
        let link = self.base_open(path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        let target = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?;
        Some(name_as_text(target.as_bytes()).into_owned())
    }

    fn same_content(&self, path: &str, blob: &Path) -> Result<bool> {
        let base = File::from(self.base_open(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let blob = File::open(blob).map_err(errno)?;
        sparse::is_same(&base, &blob).map_err(errno)
    }
}

/// What the names of one file come to.
#[derive(Default)]
struct Same {
    /// The name by which each file is known best, lowest first: of the user's own, unchanged; of the user's own; a new one.
    first: HashMap<u64, (u8, SameAs)>,
    /// Changes of such files, by path.
    blobs: HashMap<String, u64>,
}

impl Same {
    fn unchanged(&mut self, state: &State, blob: u64, path: &str, now: Option<BaseVersion>) {
        self.known(state, blob, 0, SameAs { path: path.to_owned(), version: now });
    }

    fn changed(&mut self, state: &State, blob: u64, change: &Change) {
        if change.blob.is_some() {
            let rank = if change.base.is_some() { 1 } else { 2 };
            self.known(state, blob, rank, SameAs { path: change.path.clone(), version: None });
            self.blobs.insert(change.path.clone(), blob);
        }
    }

    fn known(&mut self, state: &State, blob: u64, rank: u8, same: SameAs) {
        if state.links.count(blob) > 1 && self.first.get(&blob).is_none_or(|(known, _)| rank < *known) {
            self.first.insert(blob, (rank, same));
        }
    }

    /// Each change of another name says which file it is.
    fn say(&self, changes: &mut [Change]) {
        for change in changes.iter_mut().filter(|change| change.op != Op::Delete) {
            let first = self.blobs.get(&change.path).and_then(|blob| self.first.get(blob));
            change.same_as = first.map(|(_, same)| same).filter(|same| same.path != change.path).cloned();
        }
    }
}

/// Whether a directory has to go where a file comes. One that the user made of a file since then is the user's change.
fn is_in_the_way(base: Option<BaseVersion>, now: &BaseVersion) -> bool {
    now.kind() == Some(Kind::Dir) && base.is_none()
}

/// The removal of what stood where something of another kind goes.
fn deletion(blank: &Change, was: BaseVersion) -> Change {
    let kind = was.kind().unwrap_or(Kind::File);
    Change { op: Op::Delete, kind, base: Some(was), mode: was.mode & 0o7777, origin: None, ..blank.clone() }
}

//! Renames, of files and of directories with everything in them.

use std::collections::BTreeSet;
use std::fs::File;

use chaperone_staging::{BaseVersion, Kind};
use rustix::fs::OFlags;

use crate::change::replaced;
use crate::journal::{Entry, Record, blob_of};
use crate::object::{Object, ObjectKind, from_stat};
use crate::tree::{Errno, Result, State, Tree, join};

/// What a rename of a folder moves at most: entries, and bytes of the person's files. Protects memory and keeps the
/// folder from standing still for long; beyond it: `EXDEV`.
const MAX_MOVED: usize = 20_000;
const MAX_MOVED_BYTES: u64 = 1 << 30;

impl Tree {
    /// Everything that a rename of this path moves, from the outside in: itself, and what is in it.
    ///
    /// # Errors
    /// `ENOENT`; `EXDEV` for a folder with more in it than is moved at once, upon which programs copy.
    pub fn moved_with(&self, path: &str) -> Result<Vec<(String, Object)>> {
        self.moved_with_in(&self.lock(), path)
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
        let mut state = self.lock();
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
        let mut state = self.lock();
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

    /// What a file that moves here replaces; a folder must be deleted by a change of its own.
    fn replaced_by_rename(&self, path: &str) -> Option<BaseVersion> {
        self.base_version(path).filter(|v| v.kind() != Some(Kind::Dir))
    }
}

//! What the agent changes in the merged view.

use std::fs::File;

use chaperone_staging::BaseVersion;

use crate::journal::{Entry, Record};
use crate::object::ObjectKind;
use crate::tree::{Errno, MAX_ENTRIES, Opened, Result, State, Tree, errno, hidden_by_parent, of_blob};

/// Bytes on the disk that one more entry takes, by far.
const ENTRY_ROOM: u64 = 8192;

impl Tree {
    /// Make a new empty file.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOSPC`.
    pub fn create(&self, path: &str, mode: u32) -> Result<Opened> {
        let mut state = self.lock();
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
        let mut state = self.lock();
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
        let mut state = self.lock();
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
        let mut state = self.lock();
        self.must_be_free(&state, path)?;
        let opaque = matches!(state.entries.get(path), Some(Entry::Gone { .. }));
        self.record(&mut state, vec![(path.to_owned(), Entry::Dir { opaque, mode: mode & 0o777 })])
    }

    /// # Errors
    /// `EEXIST`, `ENOENT`.
    pub fn make_link(&self, path: &str, target: &str) -> Result<()> {
        let mut state = self.lock();
        self.must_be_free(&state, path)?;
        let base = replaced(&state, path);
        self.record(&mut state, vec![(path.to_owned(), Entry::Symlink { target: target.to_owned(), base })])
    }

    /// Delete a file or link.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`.
    pub fn remove_file(&self, path: &str) -> Result<()> {
        let mut state = self.lock();
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
        let mut state = self.lock();
        let record = self.removal_of_dir(&state, path)?;
        self.record(&mut state, record)
    }

    pub(crate) fn removal_of_dir(&self, state: &State, path: &str) -> Result<Record> {
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

    pub(crate) fn gone(&self, state: &State, path: &str, dir: bool) -> Entry {
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
}

/// What a new object at this place replaces.
pub(crate) fn replaced(state: &State, path: &str) -> Option<BaseVersion> {
    match state.entries.get(path) {
        Some(Entry::Gone { base, dir: false }) => *base,
        _ => None,
    }
}

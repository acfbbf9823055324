//! Files with several names: made, and changed under all of them at once.

use chaperone_staging::BaseVersion;

use crate::change::{Bring, replaced};
use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::journal::{Entry, Record, blob_of};
use crate::links::Common;
use crate::object::{Located, ObjectKind};
use crate::tree::{Errno, Result, State, Tree};

impl Tree {
    /// Give a file one more name. A file of the user's comes into the stage for that; its content still needs a decision to
    /// be read, under both names.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOSPC`, `ESTALE`; `EPERM` for what is no file.
    pub fn link(&self, decided: &Decided, to: &Located) -> Result<()> {
        let from = decided.named(to)?;
        if from.object().ok_or(Errno::NOENT)?.kind != ObjectKind::File {
            return Err(Errno::PERM);
        }
        let mut state = self.lock();
        self.must_be_free(&state, to)?;
        self.check(&state, from)?;
        let ino = self.shown_in(&state, from.path())?.object.ino;
        if !matches!(state.entries.get(from.path()), Some(Entry::File { .. })) {
            self.bring_up(&mut state, from, decided.also(), Bring::Object)?;
        }
        let Some(Entry::File { blob, base, mode, origin, cleared }) = state.entries.get(from.path()).cloned()
        else {
            return Err(Errno::STALE);
        };
        let origin_of_new = origin.clone().or_else(|| base.map(|_| from.path().to_owned()));
        let new =
            Entry::File { blob, base: replaced(&state, to.path()), mode, origin: origin_of_new, cleared };
        let same = Entry::File { blob, base, mode, origin, cleared };
        let record = vec![(from.path().to_owned(), same), (to.path().to_owned(), new)];
        self.record(&mut state, record)?;
        state.links.keep_number(blob, ino);
        state.aside.names_changed(to.path());
        // That it has another name shows in the time of its last change.
        rustix::fs::chmod(self.blob(blob), rustix::fs::Mode::from_raw_mode(0o600))
    }

    /// Other names of a file of the stage.
    pub(crate) fn names_beside(&self, path: &str) -> Vec<String> {
        let state = self.lock();
        let Some(blob) = state.entries.get(path).and_then(blob_of) else { return Vec::new() };
        state.links.others(blob, path).cloned().collect()
    }

    /// The record by which a file of the stage is something else under all its names.
    pub(crate) fn under_all_names(&self, state: &State, path: &str, now: Common) -> Result<Record> {
        let Some(Entry::File { blob: before, .. }) = state.entries.get(path) else {
            return Err(Errno::STALE);
        };
        let names = std::iter::once(path).chain(state.links.others(*before, path).map(String::as_str));
        let each = names.map(|name| match state.entries.get(name) {
            Some(Entry::File { base, origin, .. }) => {
                let Common { blob, mode, cleared } = now;
                let entry = Entry::File { blob, base: *base, mode, origin: origin.clone(), cleared };
                Ok((name.to_owned(), entry))
            }
            _ => Err(Errno::STALE),
        });
        each.collect()
    }

    /// As [`Self::under_all_names`], recorded; the file keeps the number that it has.
    pub(crate) fn become_another(&self, state: &mut State, path: &str, now: Common) -> Result<()> {
        let record = self.under_all_names(state, path, now)?;
        let several = record.len() > 1;
        let ino = self.shown_in(state, path)?.object.ino;
        self.record(state, record)?;
        if several {
            state.links.keep_number(now.blob, ino);
        }
        Ok(())
    }

    /// What of the names that were decided on, too, still stands for the same file of the user's.
    pub(crate) fn same_file<'a>(
        &self,
        state: &State,
        also: &'a [Decided],
        stat: &rustix::fs::Stat,
    ) -> Result<Vec<(&'a str, BaseVersion)>> {
        let mut names = Vec::new();
        for decided in also {
            let at = decided.for_one_of(&[ChangeKind::Write, ChangeKind::Attributes])?;
            let now = self.check(state, at)?.ok_or(Errno::STALE)?;
            if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) || !Self::shows_base(state, at.path()) {
                return Err(Errno::STALE);
            }
            names.push((at.path(), BaseVersion::of(&now)));
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests;

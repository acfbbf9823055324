//! Files without a name (`O_TMPFILE`): they are gone with their last use, unless they get a name before.

use chaperone_quota::HeldFile;

use crate::change::replaced;
use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::journal::Entry;
use crate::object::{Identity, Located, Object, ObjectId, ObjectKind, from_stat};
use crate::tree::{Errno, Opened, Result, Tree};

impl Tree {
    /// Make an empty file without a name in a directory: what was decided on is that something is made there. It is written
    /// until [`Tree::writer_closed`].
    ///
    /// # Errors
    /// `ENOENT`, `ENOSPC`, `ESTALE`.
    pub fn create_unnamed(&self, decided: &Decided, mode: u32) -> Result<Opened> {
        let at = decided.for_one_of(&[ChangeKind::Create])?;
        let mut state = self.lock();
        self.must_be_free(&state, at)?;
        let held = self.quota.take(0, 1)?;
        let (blob, file) = self.new_blob(&mut state)?;
        let mut seen = from_stat(&rustix::fs::fstat(&file)?, true)?;
        seen.mode = 0o100_000 | mode & 0o7777;
        seen.object = Object { kind: ObjectKind::File, nlink: 0, ..seen.object };
        let identity = Identity { object: ObjectId::Blob(blob), generation: state.generations.of(at.path()) };
        state.unnamed.insert(blob, mode & 0o7777);
        state.writer_opened(blob);
        Ok(Opened {
            file: std::sync::Arc::new(HeldFile::new(file, held)),
            located: Located::new(at.path(), identity, Some(seen)),
            object: seen.object,
            origin: None,
            blob: Some(blob),
            mode: mode & 0o7777,
        })
    }

    /// Give a file without a name this one.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` when it has had a name or is gone, `ENOSPC`, `ESTALE`.
    pub fn name_unnamed(&self, decided: &Decided, blob: u64) -> Result<()> {
        let at = decided.for_one_of(&[ChangeKind::Create])?;
        let mut state = self.lock();
        self.must_be_free(&state, at)?;
        let mode = state.unnamed.get(&blob).copied().ok_or(Errno::NOENT)?;
        let base = replaced(&state, at.path());
        let entry = Entry::File { blob, base, mode, origin: None, cleared: true };
        self.record(&mut state, vec![(at.path().to_owned(), entry)])?;
        state.unnamed.remove(&blob);
        state.aside.names_changed(at.path());
        Ok(())
    }

    /// Permission bits of a file that has no name yet.
    pub(crate) fn unnamed_mode(&self, blob: u64) -> Option<u32> {
        self.lock().unnamed.get(&blob).copied()
    }

    /// Give a file that has no name yet other permission bits.
    pub(crate) fn set_unnamed_mode(&self, blob: u64, mode: u32) {
        if let Some(bits) = self.lock().unnamed.get_mut(&blob) {
            *bits = mode & 0o7777;
        }
    }
}

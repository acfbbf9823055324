//! The files of the stage: the contents that its entries name by number.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use chaperone_staging::sparse;
use rustix::fs::Stat;

use crate::journal::{Entry, Record, blob_of};
use crate::tree::{Errno, Result, State, Tree, errno, memory_of};

impl Tree {
    pub(crate) fn new_blob(&self, state: &mut State) -> Result<(u64, File)> {
        let blob = state.next_blob;
        state.next_blob += 1;
        let file =
            File::options().read(true).write(true).create_new(true).open(self.blob(blob)).map_err(errno)?;
        Ok((blob, file))
    }

    /// A blob with the content and the times of a file of the user's.
    pub(crate) fn blob_with(&self, state: &mut State, from: &File, stat: &Stat) -> Result<(u64, File)> {
        self.take_room(sparse::taken(from).map_err(errno)?)?;
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

    /// Of what is not recorded after all, what was made for it goes.
    pub(crate) fn forget_blobs(&self, state: &State, record: &Record) {
        let had: BTreeSet<u64> = state.entries.values().filter_map(blob_of).collect();
        for blob in record.iter().filter_map(|(_, entry)| blob_of(entry)).filter(|blob| !had.contains(blob)) {
            std::fs::remove_file(self.blob(blob)).ok();
        }
    }

    /// # Errors
    /// `EDQUOT` when the session has as many names as it may.
    pub(crate) fn record(&self, state: &mut State, record: Record) -> Result<()> {
        let more = record.iter().map(|(path, entry)| memory_of(path, entry)).sum();
        if state.names.grow(more, 0).is_err() {
            self.forget_blobs(state, &record);
            return Err(Errno::DQUOT);
        }
        if let Err(e) = state.journal.append(&record) {
            state.names.shrink(more);
            self.forget_blobs(state, &record);
            return Err(errno(e));
        }
        state.links.about_to(&record);
        let mut unnamed = Vec::new();
        let mut less = 0;
        let mut named = BTreeSet::new();
        for (path, entry) in record {
            named.extend(blob_of(&entry));
            state.links.changed(&path, state.entries.get(&path).and_then(blob_of), blob_of(&entry));
            state.generations.advance(&path, state.entries.get(&path), &entry);
            less += state.entries.get(&path).map_or(0, |before| memory_of(&path, before));
            if !matches!(entry, Entry::Dir { .. } | Entry::Symlink { .. } | Entry::Special { .. }) {
                state.aside.forget(&path);
            }
            let before = match entry {
                Entry::Base => state.entries.remove(&path),
                entry => state.entries.insert(path, entry),
            };
            unnamed.extend(before.as_ref().and_then(blob_of));
        }
        state.names.shrink(less);
        for blob in unnamed {
            if state.links.has_name(blob) {
                // That it lost a name shows in the time of its last change.
                rustix::fs::chmod(self.blob(blob), rustix::fs::Mode::from_raw_mode(0o600)).ok();
            }
            if !named.contains(&blob) && !state.links.has_name(blob) {
                // One that stays behind is removed when the stage is opened again.
                std::fs::remove_file(self.blob(blob)).ok();
                state.written.remove(&blob);
                state.links.forget(blob);
            }
        }
        Ok(())
    }
}

fn copy(from: &File, to: &File) -> io::Result<()> {
    // Copy-on-write where the file system can.
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    sparse::copy(from, to)
}

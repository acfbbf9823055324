//! The files of the stage: the contents that its entries name by number.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use chaperone_staging::sparse;
use rustix::fs::Stat;

use crate::journal::{Entry, Record, blob_of};
use crate::tree::{Result, State, Tree, errno};

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

    pub(crate) fn record(&self, state: &mut State, record: Record) -> Result<()> {
        state.journal.append(&record).map_err(errno)?;
        let mut unnamed = Vec::new();
        let mut named = BTreeSet::new();
        for (path, entry) in record {
            named.extend(blob_of(&entry));
            state.generations.advance(&path, state.entries.get(&path), &entry);
            let bytes = path.len();
            let before = match entry {
                Entry::Base => state.entries.remove(&path).inspect(|_| state.name_bytes -= bytes),
                entry => {
                    let before = state.entries.insert(path, entry);
                    state.name_bytes += if before.is_none() { bytes } else { 0 };
                    before
                }
            };
            unnamed.extend(before.as_ref().and_then(blob_of));
        }
        for blob in unnamed {
            if !named.contains(&blob) {
                // One that stays behind is removed when the stage is opened again.
                std::fs::remove_file(self.blob(blob)).ok();
                state.written.remove(&blob);
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

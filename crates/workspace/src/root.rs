//! The directory of the user's that a mount is of.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

/// Held open while its session runs. After that it is opened for whoever asks, all who ask at once get the same, and it is
/// closed with the last of them: a session that has ended keeps no file system busy.
#[derive(Debug)]
pub struct Root {
    place: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
enum Held {
    Open(Arc<OwnedFd>),
    Closed(Weak<OwnedFd>),
}

impl Root {
    #[must_use]
    pub fn open(place: PathBuf, directory: OwnedFd) -> Self {
        Self { place, held: Mutex::new(Held::Open(Arc::new(directory))) }
    }

    #[must_use]
    pub fn closed(place: PathBuf) -> Self {
        Self { place, held: Mutex::new(Held::Closed(Weak::new())) }
    }

    /// # Errors
    /// That of `open(2)`, where it is not there any more.
    pub fn get(&self) -> rustix::io::Result<Arc<OwnedFd>> {
        let mut held = self.held.lock();
        let there = match &*held {
            Held::Open(directory) => return Ok(Arc::clone(directory)),
            Held::Closed(directory) => directory.upgrade(),
        };
        if let Some(directory) = there {
            return Ok(directory);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = Arc::new(rustix::fs::open(&self.place, flags, Mode::empty())?);
        *held = Held::Closed(Arc::downgrade(&directory));
        Ok(directory)
    }

    /// One of its own, for who keeps it.
    ///
    /// # Errors
    /// As [`Self::get`], and when there is no descriptor left.
    pub fn own(&self) -> rustix::io::Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&*self.get()?, 3)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn nothing_is_held_of_a_directory_that_nobody_looks_at() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().join("there");
        std::fs::create_dir(&place).unwrap();
        let root = Root::closed(place.clone());
        let (one, two) = (root.get().unwrap(), root.get().unwrap());
        assert_eq!(one.as_raw_fd(), two.as_raw_fd());
        drop((one, two));
        let held = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        assert!(!held.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|at| at == place));
        std::fs::rename(&place, tmp.path().join("elsewhere")).unwrap();
        assert_eq!(root.get().unwrap_err(), rustix::io::Errno::NOENT);
    }
}

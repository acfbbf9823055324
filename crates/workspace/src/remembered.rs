//! What directories held when they were listed: every start asks for the same ones again.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Directories that are remembered. Protects memory.
const MOST: usize = 4096;
/// A directory that changed less than this ago may change again within the same tick of its clock.
const SETTLED: Duration = Duration::from_secs(2);

/// Something that follows from the names in a directory, for each directory.
#[derive(Debug)]
pub(crate) struct Remembered<T>(Mutex<HashMap<PathBuf, (Stamp, Arc<T>)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Remembered<T> {
    /// What `list` makes of this directory as it is now, and says of whether it follows from its names alone. Of what is no
    /// directory: nothing.
    pub fn of(&self, directory: &Path, list: impl FnOnce(&Path) -> (T, bool)) -> Arc<T> {
        let Some(meta) = directory.metadata().ok().filter(Metadata::is_dir) else { return Arc::default() };
        let stamp = Stamp::of(&meta);
        if let Some((_, known)) = self.0.lock().get(directory).filter(|(then, _)| *then == stamp) {
            return Arc::clone(known);
        }
        let (listed, by_names_alone) = list(directory);
        let listed = Arc::new(listed);
        if by_names_alone && stamp.is_settled() {
            let mut all = self.0.lock();
            if all.len() >= MOST {
                all.clear();
            }
            all.insert(directory.to_owned(), (stamp, Arc::clone(&listed)));
        }
        listed
    }
}

/// As long as this is the same, no name was added to a directory, taken from it, or given to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    identity: (u64, u64),
    /// Its content, and the directory itself (which only the kernel sets), in seconds and nanoseconds.
    changed: [(i64, i64); 2],
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let changed = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Self { identity: (meta.dev(), meta.ino()), changed }
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled = now.saturating_sub(SETTLED).as_secs();
        self.changed.iter().all(|(seconds, _)| u64::try_from(*seconds).is_ok_and(|seconds| seconds < settled))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_is_listed_again_when_it_changed() {
        let names = Remembered::<Vec<PathBuf>>::default();
        let mut times = 0;
        let mut of = |at: &Path| {
            names.of(at, |at| {
                times += 1;
                (fs::read_dir(at).unwrap().map(|e| e.unwrap().path()).collect(), true)
            })
        };
        let settled = Path::new("/usr/share/doc");
        assert_eq!(of(settled), of(settled));
        let tmp = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        let file = |name: &str| {
            fs::write(tmp.path().join(name), "x").unwrap();
            // Whoever sets the time back does not hide it.
            fs::File::open(tmp.path()).unwrap().set_modified(long_ago).unwrap();
        };
        file("a");
        assert_eq!(of(tmp.path()).len(), 1);
        file("b");
        assert_eq!(of(tmp.path()).len(), 2);
        assert_eq!(times, 3);
    }

    #[test]
    fn what_does_not_follow_from_names_is_looked_at_each_time() {
        let modes = Remembered::<u32>::default();
        let mut times = 0;
        for _ in 0..2 {
            modes.of(Path::new("/usr/share/doc"), |_| {
                times += 1;
                (times, false)
            });
        }
        assert_eq!(times, 2);
    }

    #[test]
    fn only_a_directory_that_has_not_just_changed_is_remembered() {
        let tmp = tempfile::tempdir().unwrap();
        assert!(!Stamp::of(&tmp.path().metadata().unwrap()).is_settled());
        let at = |seconds| Stamp { identity: (1, 1), changed: [(seconds, 0), (0, 0)] };
        assert!(at(1_000_000).is_settled() && !at(i64::MAX).is_settled() && !at(-1).is_settled());
    }
}

//! Many files on disk at once: asked one after the other, a file system writes its journal for each of them; asked together, for many
//! at a time.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

/// Files that are waited for at once.
const AT_ONCE: usize = 16;

/// Puts the files, or directories, on disk, and says of each how that ended.
pub(crate) fn sync_all<F: AsFd + Sync>(files: &[F]) -> Vec<Result<(), Errno>> {
    #[cfg(test)]
    let fails = disk::asked(files);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(at) else { return done };
            #[cfg(test)]
            if fails.contains(&at) {
                done.push((at, Err(Errno::IO)));
                continue;
            }
            done.push((at, rustix::fs::fsync(file)));
        }
    };
    // What nobody says was synced was not.
    let mut all = vec![Err(Errno::IO); files.len()];
    std::thread::scope(|scope| {
        // Where there is no other thread to be had, this one does it all.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..AT_ONCE.min(files.len())).map_while(spawn).collect();
        let of_others = |own| others.into_iter().filter_map(|other| other.join().ok()).fold(own, joined);
        for (at, result) in of_others(work()) {
            if let Some(slot) = all.get_mut(at) {
                *slot = result;
            }
        }
    });
    all
}

type Synced = Vec<(usize, Result<(), Errno>)>;

fn joined(mut all: Synced, more: Synced) -> Synced {
    all.extend(more);
    all
}

/// A disk that fails, for tests.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod disk {
    use std::cell::RefCell;
    use std::fs::Metadata;
    use std::os::fd::AsFd;

    /// Is told of the objects that are to be put on disk, and says whether one of them cannot be.
    type Fails = Box<dyn FnMut(&[Metadata]) -> Vec<usize>>;

    thread_local! {
        static FAILS: RefCell<Option<Fails>> = const { RefCell::new(None) };
    }

    /// From now on, in this thread.
    pub fn is(fails: impl FnMut(&[Metadata]) -> Vec<usize> + 'static) {
        FAILS.set(Some(Box::new(fails)));
    }

    pub fn is_well() {
        FAILS.set(None);
    }

    pub(super) fn asked<F: AsFd>(files: &[F]) -> Vec<usize> {
        let of =
            |file: &F| std::fs::File::from(file.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        FAILS.with_borrow_mut(|fails| match fails {
            Some(fails) => fails(&files.iter().map(of).collect::<Vec<_>>()),
            None => Vec::new(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn each_file_has_its_own_result() {
        let dir = tempfile::tempdir().unwrap();
        let file = |n: usize| File::create(dir.path().join(n.to_string())).unwrap();
        let mut files: Vec<File> = (0..100).map(file).collect();
        assert!(sync_all(&files).iter().all(Result::is_ok));
        // A pipe cannot be synced.
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        files.insert(70, File::from(reader));
        let ended = sync_all(&files);
        assert_eq!(ended.len(), 101);
        assert!(ended.iter().enumerate().all(|(at, result)| result.is_err() == (at == 70)));
        assert!(sync_all::<File>(&[]).is_empty());
    }
}

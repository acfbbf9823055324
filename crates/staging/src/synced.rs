//! Many files on disk at once: asked one after the other, a file system writes its journal for each of them; asked together, for many
//! at a time.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

/// Files that are waited for at once.
const AT_ONCE: usize = 16;

/// Puts the files, or directories, on disk, and says of each how that ended.
pub(crate) fn sync_all<F: AsFd + Sync>(files: &[F]) -> Vec<Result<(), Errno>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(at) else { return done };
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

//! Claims about files with holes, which cost whoever makes them nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chaperone_staging::{BaseVersion, Change, Error, Kind, Op, State, Tree, Undo, Verdict};

use support::Place;

const GIB: u64 = 1 << 30;

impl Place {
    fn tree(&self) -> Tree {
        Tree::new(OwnedFd::from(File::open(&self.root).unwrap()), &self.history, &self.stage)
    }

    /// A staged file of this size, with a word at its beginning, its middle and its end.
    fn staged(&self, path: &str, size: u64) -> Change {
        let blob = self.stage.join(path);
        let file = File::create(&blob).unwrap();
        file.set_len(size).unwrap();
        for at in [0, size / 2, size - 4] {
            file.write_all_at(b"word", at).unwrap();
        }
        let was = rustix::fs::lstat(self.root.join(path)).ok().map(|stat| BaseVersion::of(&stat));
        Change {
            path: path.into(),
            op: if was.is_some() { Op::Modify } else { Op::Create },
            from: None,
            kind: Kind::File,
            blob: Some(blob),
            target: None,
            base: was,
            replaces: None,
            mode: 0o644,
            mtime_ns: 0,
            size,
            same_as: None,
            origin: None,
        }
    }

    fn on_disk(&self, path: &str) -> u64 {
        self.root.join(path).metadata().unwrap().blocks() * 512
    }
}

#[test]
fn a_file_of_terabytes_of_nothing_is_refused_at_once_and_the_rest_is_committed() {
    let place = Place::new();
    let changes = [place.staged("huge", 4096 * GIB), place.staged("plain", 5000)];
    let begun = Instant::now();
    let tree = place.tree();
    assert_eq!(tree.look(&changes[0], 0).unwrap().0.reasons, ["too_many_holes"]);
    assert!(tree.look(&changes[1], 0).unwrap().0.sha256.is_some());
    let report = tree.commit(&changes, &mut |_, _| Verdict::Commit).unwrap();
    assert_eq!(report.entry("huge").unwrap().state, State::Refused);
    assert_eq!(report.entry("huge").unwrap().reasons, ["too_many_holes"]);
    assert_eq!(report.entry("plain").unwrap().state, State::Committed);
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
}

#[test]
fn many_files_with_holes_share_what_one_look_may_cost() {
    let place = Place::new();
    let changes: Vec<_> = (0..4).map(|n| place.staged(&n.to_string(), 10 * GIB)).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    // Nobody waits after the first file was begun.
    let wanted = move || counted.fetch_add(1, Ordering::Relaxed) < 3;
    let tree = place.tree().while_wanted(Arc::new(wanted));
    let begun = Instant::now();
    assert!(matches!(tree.look(&changes[0], 0), Err(Error::Cancelled)));
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    let judged = tree.commit(&changes, &mut |_, _| Verdict::Commit);
    assert!(matches!(judged, Err(Error::Cancelled)));
    assert!(place.root.read_dir().unwrap().next().is_none());
    // What the one that was begun took is gone from what all of them may cost.
    let tree = place.tree();
    assert!(tree.look(&place.staged("small", 1 << 30), 0).unwrap().0.reasons.is_empty());
    assert_eq!(tree.look(&place.staged("large", 16 << 30), 0).unwrap().0.reasons, ["too_many_holes"]);
}

#[test]
fn holes_stay_holes_at_commit_and_undo() {
    let place = Place::new();
    let size = 700 << 20;
    let own = place.staged("file", size);
    place.tree().commit(&[own], &mut |_, _| Verdict::Commit).unwrap();
    assert!(place.on_disk("file") < 1 << 20, "{}", place.on_disk("file"));
    let mut seen = 0;
    let shorter = place.staged("file", size / 2);
    let report = place.tree().commit(&[shorter], &mut |_, copy| {
        seen = copy.unwrap().metadata().unwrap().blocks() * 512;
        Verdict::Commit
    });
    assert!(report.unwrap().is_complete());
    assert!(seen < 1 << 20, "the copy that is judged takes {seen}");
    assert_eq!(place.root.join("file").metadata().unwrap().len(), size / 2);
    assert!(place.tree().undo(&Undo { commit: Some(2), paths: None }, false).unwrap().is_complete());
    let file = File::open(place.root.join("file")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    assert!(place.on_disk("file") < 1 << 20);
    for at in [0, size / 2, size - 4] {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, at).unwrap();
        assert_eq!(&word, b"word");
    }
}

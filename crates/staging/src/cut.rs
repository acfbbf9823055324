//! Power cuts in the middle of a commit of several groups: what was not put on disk is gone, and every file is old or new.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::change::SameAs;
use crate::synced::disk;
use crate::{BaseVersion, Change, Kind, Op, Report, State, Tree, Undo, Verdict};

/// With two contents of each, more than one group.
const FILES: usize = 70;

struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
    stage: PathBuf,
    history: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [root, stage, history] = ["root", "stage", "history"].map(|name| folder.path().join(name));
        fs::create_dir_all(root.join("d")).unwrap();
        fs::create_dir(&stage).unwrap();
        Self { _folder: folder, root, stage, history }
    }

    fn tree(&self) -> Tree {
        Tree::new(File::open(&self.root).unwrap().into(), &self.history, &self.stage)
    }

    /// A file that is made, or made new.
    fn change(&self, path: &str, content: &str) -> Change {
        let blob = self.stage.join(path.replace('/', "_"));
        fs::write(&blob, content).unwrap();
        let base = rustix::fs::lstat(self.root.join(path)).ok().map(|stat| BaseVersion::of(&stat));
        let op = if base.is_some() { Op::Modify } else { Op::Create };
        let size = content.len() as u64;
        let mut change = Change::blank(path.to_owned(), op, Kind::File);
        (change.blob, change.base, change.mode, change.size) = (Some(blob), base, 0o640, size);
        change
    }

    fn gone(&self, path: &str) -> Change {
        let mut change = Change::blank(path.to_owned(), Op::Delete, Kind::File);
        change.base = rustix::fs::lstat(self.root.join(path)).ok().map(|stat| BaseVersion::of(&stat));
        change
    }

    fn commit(&self, changes: &[Change]) -> Report {
        self.tree().commit(changes, &mut |_, _| Verdict::Commit).unwrap()
    }

    fn files(&self) -> BTreeMap<String, PathBuf> {
        let folders = ["", "d"].map(|folder| self.root.join(folder));
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let named =
            |path: PathBuf| (path.strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned(), path);
        paths.map(named).collect()
    }

    fn contents(&self) -> BTreeMap<String, String> {
        self.files().into_iter().map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
    }
}

fn inode(path: &Path) -> (u64, u64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

/// A tree, and the changes of a group of removals and two of new content.
fn prepared() -> (Place, Vec<Change>) {
    let place = Place::new();
    for number in 0..FILES {
        fs::write(place.root.join(format!("d/m{number}")), format!("old {number}")).unwrap();
        fs::write(place.root.join(format!("d/x{number}")), format!("doomed {number}")).unwrap();
    }
    let of = |number: usize| {
        [
            place.change(&format!("d/m{number}"), &format!("new {number}")),
            place.change(&format!("c{number}"), &format!("created {number}")),
            place.gone(&format!("d/x{number}")),
        ]
    };
    let changes = (0..FILES).flat_map(of).collect();
    (place, changes)
}

/// Lines that were written and not put on disk.
fn forget_the_end_of_the_journal(place: &Place) {
    let path = place.history.join("000001/journal");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_done = |line: &&&str| line.contains("{\"done\":");
    let unsynced = lines.iter().rev().take_while(is_done).count();
    fs::write(&path, lines[..lines.len() - unsynced].concat()).unwrap();
}

/// Commits until the disk was asked `at` times; `None` when that is all of it. Comes with what was put on disk.
fn cut(place: &Place, changes: &[Change], at: usize) -> (Option<Report>, HashSet<(u64, u64)>) {
    let durable: Arc<Mutex<HashSet<(u64, u64)>>> = Arc::default();
    let on_disk = Arc::clone(&durable);
    let mut asked = 0;
    disk::is(move |objects| {
        if asked == at {
            resume_unwind(Box::new("power"));
        }
        asked += 1;
        on_disk.lock().unwrap().extend(objects.iter().map(|object| (object.dev(), object.ino())));
        Vec::new()
    });
    let report = catch_unwind(AssertUnwindSafe(|| place.commit(changes))).ok();
    disk::is_well();
    let durable = durable.lock().unwrap().clone();
    (report, durable)
}

#[test]
fn whenever_the_power_goes_every_file_is_old_or_new_and_what_was_acknowledged_is_there() {
    let mut halves = 0;
    for at in 0.. {
        let (place, changes) = prepared();
        let (before, known) = (place.contents(), place.files());
        let known: HashSet<(u64, u64)> = known.values().map(|path| inode(path)).collect();
        let (report, durable) = cut(&place, &changes, at);
        let lost = place.files().into_values().map(|path| (inode(&path), path));
        let lost = lost.filter(|(inode, _)| !known.contains(inode) && !durable.contains(inode));
        let lost: Vec<PathBuf> = lost.map(|(_, path)| path).collect();
        lost.iter().for_each(|path| fs::write(path, "").unwrap());
        if let Some(report) = report {
            assert!(report.is_complete() && lost.is_empty(), "{lost:?}");
            assert!(at >= 5, "{at}");
            break;
        }
        forget_the_end_of_the_journal(&place);
        place.tree().recover().unwrap();
        let (after, mut news) = (place.contents(), 0);
        for number in 0..FILES {
            let is = |name: String, versions: [Option<String>; 2]| {
                let found = after.get(&name).cloned();
                assert!(versions.contains(&found), "{at}: {name} is {found:?}");
                found == versions[1]
            };
            let versions = [Some(format!("old {number}")), Some(format!("new {number}"))];
            news += usize::from(is(format!("d/m{number}"), versions));
            is(format!("c{number}"), [None, Some(format!("created {number}"))]);
            is(format!("d/x{number}"), [Some(format!("doomed {number}")), None]);
        }
        halves += usize::from(news > 0 && news < FILES);
        assert!(after.keys().all(|name| !name.contains(".chaperone-")), "{at}: {after:?}");
        assert!(place.tree().undo(&Undo::default(), false).unwrap().is_complete(), "{at}");
        assert_eq!(place.contents(), before, "{at}");
    }
    assert!(halves > 0, "no cut was between two groups");
}

#[test]
fn content_that_cannot_be_put_on_disk_gets_none_of_its_names() {
    let place = Place::new();
    fs::write(place.root.join("a"), "old").unwrap();
    let mut changes: Vec<Change> =
        ["a", "b", "c"].iter().map(|path| place.change(path, "new content")).collect();
    changes[1].same_as = Some(SameAs { path: "a".into(), version: None });
    changes[2] = place.change("c", "other");
    disk::is(|objects| {
        let is =
            |(at, object): (usize, &fs::Metadata)| (object.is_file() && object.nlink() == 2).then_some(at);
        objects.iter().enumerate().filter_map(is).collect()
    });
    let report = place.commit(&changes);
    disk::is_well();
    let states: HashMap<&str, State> =
        report.entries.iter().map(|entry| (entry.path.as_str(), entry.state)).collect();
    assert_eq!(states, [("a", State::Refused), ("b", State::Refused), ("c", State::Committed)].into());
    let there = [("a", "old"), ("c", "other")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(place.contents(), there.into());
}

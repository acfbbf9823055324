//! Claims about files with several names: what a commit makes of them, and that names which it was not asked about keep what
//! they have.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use chaperone_staging::{BaseVersion, Change, Kind, Op, Report, SameAs, Tree, Undo, Verdict};

use support::Place;

impl Place {
    fn tree(&self) -> Tree {
        Tree::new(OwnedFd::from(File::open(&self.root).unwrap()), &self.history, &self.stage)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn inode(&self, path: &str) -> u64 {
        fs::metadata(self.root.join(path)).unwrap().ino()
    }

    fn version(&self, path: &str) -> Option<BaseVersion> {
        rustix::fs::lstat(self.root.join(path)).ok().map(|stat| BaseVersion::of(&stat))
    }

    /// A change to this content, in the file of the stage that has it.
    fn change(&self, path: &str, content: &str) -> Change {
        let blob = self.stage.join(content);
        fs::write(&blob, content).unwrap();
        let base = self.version(path);
        let op = if base.is_some() { Op::Modify } else { Op::Create };
        let mode = base.map_or(0o640, |base| base.mode & 0o777);
        Change { blob: Some(blob), base, mode, ..Change::blank(path.into(), op, Kind::File) }
    }

    fn linked(&self, path: &str, content: &str, same: &str, version: Option<BaseVersion>) -> Change {
        Change { same_as: Some(SameAs { path: same.into(), version }), ..self.change(path, content) }
    }

    fn commit(&self, changes: &[Change]) -> Report {
        self.tree().commit(changes, &mut |_, _| Verdict::Commit).unwrap()
    }
}

fn two_names(place: &Place) {
    fs::write(place.root.join("one"), "before").unwrap();
    fs::hard_link(place.root.join("one"), place.root.join("two")).unwrap();
}

fn reasons(report: &Report) -> Vec<Vec<String>> {
    report.entries.iter().map(|entry| entry.reasons.clone()).collect()
}

#[test]
fn two_new_names_of_one_file_are_one_file() {
    let place = Place::new();
    fs::create_dir(place.root.join("dir")).unwrap();
    let report = place.commit(&[place.change("dir/a", "new"), place.linked("b", "new", "dir/a", None)]);
    assert!(report.is_complete() && reasons(&report).iter().all(Vec::is_empty), "{report:?}");
    assert_eq!((place.read("dir/a"), place.inode("dir/a")), ("new".into(), place.inode("b")));
    assert_eq!(place.version("b").unwrap().nlink, 2);
}

#[test]
fn a_name_of_a_file_that_was_kept_back_is_a_copy_and_that_is_said() {
    let place = Place::new();
    let changes = [place.change("a", "new"), place.linked("b", "new", "a", None)];
    let keep_back = |change: &Change| change.path == "a";
    let mut judge = |change: &Change, _: Option<&File>| match keep_back(change) {
        true => Verdict::Refuse { reasons: vec!["because".into()] },
        false => Verdict::Commit,
    };
    let report = place.tree().commit(&changes, &mut judge).unwrap();
    assert_eq!(report.entry("b").unwrap().reasons, ["linked_as_copy"]);
    assert!(!place.root.join("a").exists() && place.read("b") == "new");
}

#[test]
fn the_users_unchanged_file_gets_one_more_name_and_another_than_that_none() {
    let place = Place::new();
    fs::write(place.root.join("theirs"), "same").unwrap();
    let version = place.version("theirs");
    let link = |path: &str, content: &str| Change {
        mode: version.unwrap().mode & 0o777,
        ..place.linked(path, content, "theirs", version)
    };
    assert!(place.commit(&[link("more", "same")]).is_complete());
    assert_eq!(place.inode("theirs"), place.inode("more"));
    // It is another version now; and content that is not what was judged is never linked.
    let report = place.commit(&[link("stale", "same")]);
    assert_eq!(report.entry("stale").unwrap().reasons, ["linked_as_copy"]);
    let now = place.version("theirs");
    let mut other = place.linked("other", "else", "theirs", now);
    other.mode = now.unwrap().mode & 0o777;
    assert_eq!(place.commit(&[other]).entry("other").unwrap().reasons, ["linked_as_copy"]);
    assert_eq!((place.read("other"), place.read("stale")), ("else".into(), "same".into()));
    assert_eq!(place.version("theirs").unwrap().nlink, 2);
}

#[test]
fn a_name_outside_of_the_commit_keeps_its_content_and_that_is_said() {
    let place = Place::new();
    two_names(&place);
    let report = place.commit(&[place.change("one", "after")]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(reasons(&report), [["other_name_kept"]]);
    assert_eq!((place.read("one"), place.read("two")), ("after".into(), "before".into()));
    place.tree().undo(&Undo { commit: None, paths: None }, false).unwrap();
    assert_eq!((place.read("one"), place.read("two")), ("before".into(), "before".into()));
}

#[test]
fn all_names_of_a_file_change_together_and_are_one_file_still() {
    let place = Place::new();
    two_names(&place);
    let report = place.commit(&[place.change("one", "after"), place.linked("two", "after", "one", None)]);
    assert!(report.is_complete() && reasons(&report).iter().all(Vec::is_empty), "{report:?}");
    assert_eq!((place.read("one"), place.inode("one")), ("after".into(), place.inode("two")));
    let undone = place.tree().undo(&Undo { commit: None, paths: None }, false).unwrap();
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!((place.read("one"), place.read("two")), ("before".into(), "before".into()));
}

#[test]
fn what_the_user_does_to_one_name_meanwhile_is_a_conflict_under_the_other() {
    let place = Place::new();
    two_names(&place);
    let changes = [place.change("one", "after"), place.linked("two", "after", "one", None)];
    fs::write(place.root.join("two"), "edited").unwrap();
    let report = place.commit(&changes);
    assert!(report.entries.iter().all(|entry| entry.reasons == ["changed_meanwhile"]), "{report:?}");
    assert_eq!(place.read("one"), "edited");
}

/// Take the only commit back.
fn undo(place: &Place) -> Report {
    place.tree().undo(&Undo::default(), false).unwrap()
}

fn deleted(place: &Place, path: &str) -> Change {
    Change { base: place.version(path), ..Change::blank(path.into(), Op::Delete, Kind::File) }
}

#[test]
fn an_undo_brings_names_of_one_file_back_as_such() {
    // One was deleted and the other one changed, both were changed, both were deleted.
    for (one, two) in [(None, Some("after")), (Some("after"), Some("more")), (None, None)] {
        let place = Place::new();
        two_names(&place);
        let changes = [("one", one), ("two", two)]
            .map(|(path, now)| now.map_or_else(|| deleted(&place, path), |now| place.change(path, now)));
        assert!(place.commit(&changes).is_complete());
        assert!(undo(&place).is_complete(), "{one:?} {two:?}");
        assert_eq!((place.read("one"), place.read("two")), ("before".into(), "before".into()));
        assert_eq!(place.inode("one"), place.inode("two"), "{one:?} {two:?}");
        assert_eq!(fs::metadata(place.root.join("one")).unwrap().nlink(), 2);
        // And the undo can be taken back.
        let redone = place.tree().undo(&Undo { commit: Some(2), paths: None }, false).unwrap();
        assert!(redone.is_complete(), "{redone:?}");
        assert_eq!(place.root.join("one").exists(), one.is_some());
        assert!(two.is_none_or(|two| place.read("two") == two));
    }
}

#[test]
fn an_undo_makes_one_more_name_of_the_file_that_kept_the_other() {
    let place = Place::new();
    fs::create_dir(place.root.join("far")).unwrap();
    fs::write(place.root.join("one"), "before").unwrap();
    fs::hard_link(place.root.join("one"), place.root.join("far/two")).unwrap();
    let inode = place.inode("one");
    let report = place.commit(&[place.change("one", "after")]);
    assert_eq!(reasons(&report), [["other_name_kept"]]);
    assert_eq!(reasons(&undo(&place)), [Vec::<String>::new()]);
    assert_eq!(
        (place.read("one"), place.inode("one"), place.inode("far/two")),
        ("before".into(), inode, inode)
    );
}

#[test]
fn an_undo_says_where_a_file_does_not_get_its_other_name_back() {
    // The other name is outside of the directory, gone, or another file's or content's by now.
    type Deed = fn(&Place);
    let meanwhile: [(&str, Deed); 4] = [
        ("outside", |_| ()),
        ("gone", |place| fs::remove_file(place.root.join("two")).unwrap()),
        ("another file", |place| {
            fs::remove_file(place.root.join("two")).unwrap();
            fs::write(place.root.join("two"), "before").unwrap();
        }),
        ("another content", |place| fs::write(place.root.join("two"), "mine").unwrap()),
    ];
    for (what, meanwhile) in meanwhile {
        let place = Place::new();
        if what == "outside" {
            fs::write(place.root.join("one"), "before").unwrap();
            fs::hard_link(place.root.join("one"), place.root.parent().unwrap().join("outside")).unwrap();
        } else {
            two_names(&place);
        }
        assert!(place.commit(&[place.change("one", "after")]).is_complete());
        meanwhile(&place);
        let report = undo(&place);
        assert!(report.is_complete(), "{what}: {report:?}");
        assert_eq!(reasons(&report), [["linked_as_copy"]], "{what}");
        assert_eq!(place.read("one"), "before", "{what}");
    }
}

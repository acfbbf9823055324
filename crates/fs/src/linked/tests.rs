//! Files of the user's that have several names in the directory, moved and committed one name after the other.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use chaperone_quota::Quota;
use chaperone_staging::{Op, State, Tree as Stage, Verdict};

use crate::change::Content;
use crate::decided::Decided;
use crate::gate::{ChangeKind, ChangeRequest, Decides, Refused};
use crate::object::Located;
use crate::tree::Tree;

struct Anything;

impl Decides for Anything {
    fn change(&self, _: &ChangeRequest<'_>) -> std::result::Result<u64, Refused> {
        Ok(0)
    }
}

struct Place {
    own: tempfile::TempDir,
    docs: PathBuf,
    tree: Tree,
}

impl Place {
    /// One file with two names at the top, another with two names in a directory.
    fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let docs = own.path().join("docs");
        fs::create_dir_all(docs.join("d")).unwrap();
        for (name, other) in [("a", "hard"), ("d/one", "d/two")] {
            fs::write(docs.join(name), "first").unwrap();
            fs::hard_link(docs.join(name), docs.join(other)).unwrap();
        }
        let root = File::open(&docs).unwrap().into();
        let tree = Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap();
        Self { own, docs, tree }
    }

    /// The other names of a file, decided as the requests of the kernel have them decided.
    fn also(&self, at: &Located, kind: ChangeKind) -> Vec<Decided> {
        self.tree
            .other_names(at)
            .iter()
            .map(|other| Decided::by(&Anything, kind, other, 1).unwrap())
            .collect()
    }

    fn rename(&self, from: &str, to: &str) {
        let (moved, to) = (self.tree.locate_all(from).unwrap(), self.tree.locate(to).unwrap());
        let each = moved.iter().map(|at| {
            let decided = Decided::of_move(&Anything, at, (&moved[0], &to), 1).unwrap();
            decided.and(self.also(at, ChangeKind::Attributes))
        });
        self.tree.rename(&each.collect::<Vec<_>>(), &to, false).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        let at = self.tree.locate(path).unwrap();
        let decided = Decided::by(&Anything, ChangeKind::Write, &at, 1).unwrap();
        let staged =
            self.tree.copy_up(&decided.and(self.also(&at, ChangeKind::Write)), Content::Empty).unwrap();
        staged.file.write_all_at(text.as_bytes(), 0).unwrap();
        self.tree.writer_closed(staged.blob.unwrap());
    }

    fn read(&self, path: &str) -> String {
        let mut bytes = [0; 64];
        let n = self.tree.open_file(path).unwrap().file.read_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }

    /// Commit what is staged at these paths, or all of it.
    fn commit(&self, only: Option<&str>) {
        let version = self.tree.version();
        let mut changes = self.tree.changes().unwrap();
        changes.retain(|change| only.is_none_or(|path| change.path == path));
        let root = File::open(&self.docs).unwrap().into();
        let stage = Stage::new(root, self.own.path().join("history"), self.own.path().join("stage"));
        let report = stage.commit(&changes, &mut |_, _| Verdict::Commit).unwrap();
        assert!(report.entries.iter().all(|entry| entry.state == State::Committed), "{report:?}");
        let paths = report.entries.iter().flat_map(|e| std::iter::once(e.path.clone()).chain(e.from.clone()));
        self.tree.committed(&paths.collect::<Vec<_>>(), version, &report.touched).unwrap();
    }

    /// What the user has there: the content and the inode number.
    fn own(&self, path: &str) -> (String, u64) {
        let at = self.docs.join(path);
        (fs::read_to_string(&at).unwrap(), fs::metadata(at).unwrap().ino())
    }
}

#[test]
fn what_is_written_under_another_name_of_a_moved_file_is_written_to_it() {
    for written in ["hard", "b"] {
        let place = Place::new();
        place.rename("a", "b");
        place.write(written, "second");
        assert_eq!((place.read("b"), place.read("hard")), ("second".into(), "second".into()));
        place.commit(None);
        assert_eq!(place.own("b"), place.own("hard"), "one file, with {written} written");
        assert_eq!(place.own("b").0, "second");
        assert!(!place.docs.join("a").exists() && place.tree.changes().unwrap().is_empty());
    }
}

#[test]
fn names_that_move_together_stay_names_of_one_file() {
    let place = Place::new();
    place.rename("d", "e");
    place.write("e/two", "second");
    assert_eq!(place.read("e/one"), "second");
    place.commit(None);
    assert_eq!(place.own("e/one"), place.own("e/two"));
    assert_eq!(place.own("e/one").0, "second");
}

#[test]
fn a_move_alone_changes_no_other_name_and_shows_what_the_user_writes_there() {
    let place = Place::new();
    place.rename("a", "b");
    let changes = place.tree.changes().unwrap();
    assert_eq!(changes.iter().map(|c| (c.op, &*c.path)).collect::<Vec<_>>(), [(Op::Rename, "b")]);
    place.commit(None);
    assert_eq!(place.own("b"), place.own("hard"));
    fs::write(place.docs.join("hard"), "the user's").unwrap();
    assert_eq!((place.read("hard"), place.read("b")), ("the user's".into(), "the user's".into()));
    assert!(place.tree.changes().unwrap().is_empty());
}

#[test]
fn what_the_user_writes_to_another_name_of_a_moved_file_is_no_change_of_the_agents() {
    let place = Place::new();
    place.rename("a", "b");
    fs::write(place.docs.join("hard"), "longer than before").unwrap();
    let changes = place.tree.changes().unwrap();
    assert_eq!(changes.iter().map(|c| &*c.path).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn two_names_have_the_same_content_however_many_commits_they_take() {
    let place = Place::new();
    place.write("a", "second");
    place.commit(Some("a"));
    place.write("a", "third");
    assert_eq!(place.read("hard"), "third");
    place.commit(None);
    assert_eq!((place.own("a").0, place.own("hard").0), ("third".into(), "third".into()));
    place.write("hard", "fourth");
    assert_eq!(place.read("a"), "fourth");
    place.commit(None);
    assert_eq!((place.own("a").0, place.own("hard").0), ("fourth".into(), "fourth".into()));
    assert!(place.tree.changes().unwrap().is_empty());
}

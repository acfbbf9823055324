//! Files with several names, files that change over, as the tree keeps them.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use chaperone_fs::{Attributes, Content, NewAttributes, Tree};
use chaperone_quota::Quota;
use chaperone_staging::{Change, Op};
use rustix::io::Errno;

use self::let_through::{to_change, to_create, to_delete, to_link, to_list, to_move, to_write};

mod let_through;

struct Place {
    own: tempfile::TempDir,
    tree: Tree,
}

impl Place {
    fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        fs::create_dir_all(own.path().join("docs/dir")).unwrap();
        for (name, text) in [("theirs", "the user's"), ("dir/inner", "inner"), ("other", "other")] {
            fs::write(own.path().join("docs").join(name), text).unwrap();
        }
        let tree = opened(own.path());
        Self { own, tree }
    }

    fn listed(&self, path: &str) -> Vec<(String, Attributes)> {
        self.tree.list(&to_list(&self.tree.locate(path).unwrap())).unwrap()
    }

    fn make(&self, path: &str, text: &str) {
        let made = self.tree.create(&to_create(&self.tree.locate(path).unwrap()), 0o644).unwrap();
        made.file.write_all_at(text.as_bytes(), 0).unwrap();
        self.tree.writer_closed(made.blob.unwrap());
    }

    fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        let (from, to) = (self.tree.locate(from).unwrap(), self.tree.locate(to).unwrap());
        self.tree.link(&to_link(&from, &to), &to)
    }

    fn exchange(&self, one: &str, other: &str) -> Result<(), Errno> {
        let (a, b) = (self.tree.locate_all(one).unwrap(), self.tree.locate_all(other).unwrap());
        self.tree.exchange(&to_move(&a, &b[0]), &to_move(&b, &a[0]))
    }

    fn rename(&self, from: &str, to: &str) {
        let (moved, to) = (self.tree.locate_all(from).unwrap(), self.tree.locate(to).unwrap());
        self.tree.rename(&to_move(&moved, &to), &to, false).unwrap();
    }

    fn remove(&self, path: &str) {
        self.tree.remove_file(&to_delete(&self.tree.locate(path).unwrap())).unwrap();
    }

    /// Put text in the place of what a file holds.
    fn write(&self, path: &str, text: &str) {
        let at = self.tree.locate(path).unwrap();
        let staged = self.tree.copy_up(&to_write(&at), Content::Empty).unwrap();
        staged.file.write_all_at(text.as_bytes(), 0).unwrap();
        self.tree.writer_closed(staged.blob.unwrap());
    }

    fn read(&self, path: &str) -> String {
        text_of(&self.tree, path)
    }

    fn seen(&self, path: &str) -> (u64, u64) {
        let object = self.tree.attributes(path).unwrap().object;
        (object.ino, object.nlink)
    }

    fn blobs(&self) -> usize {
        fs::read_dir(self.own.path().join("stage/blobs")).unwrap().count()
    }

    fn change(&self, path: &str) -> Change {
        self.tree.changes().unwrap().into_iter().find(|change| change.path == path).unwrap()
    }
}

fn opened(own: &Path) -> Tree {
    let root = File::open(own.join("docs")).unwrap().into();
    Tree::open(&own.join("stage"), root, &Quota::unlimited()).unwrap()
}

fn text_of(tree: &Tree, path: &str) -> String {
    let file = tree.open_file(path).unwrap().file;
    let mut bytes = vec![0; 64];
    let n = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

#[test]
fn two_names_are_one_file_and_it_lives_as_long_as_one_of_them() {
    let place = Place::new();
    place.make("a", "first");
    let (ino, links) = place.seen("a");
    assert_eq!(links, 1);
    place.link("a", "dir/b").unwrap();
    assert_eq!((place.seen("a"), place.seen("dir/b")), ((ino, 2), (ino, 2)));
    place.write("dir/b", "second");
    assert_eq!(place.read("a"), "second");
    let mode = NewAttributes { mode: Some(0o600), ..NewAttributes::default() };
    place.tree.set_attributes(&to_change(&place.tree.locate("a").unwrap(), &mode), &mode).unwrap();
    assert_eq!(place.tree.attributes("dir/b").unwrap().mode & 0o777, 0o600);
    assert_eq!(place.link("a", "dir/b").unwrap_err(), Errno::EXIST);
    place.rename("dir/b", "c");
    place.remove("a");
    assert_eq!((place.read("c"), place.seen("c"), place.blobs()), ("second".into(), (ino, 1), 1));
    place.remove("c");
    assert_eq!(place.blobs(), 0);
}

#[test]
fn names_are_there_again_when_the_stage_is_opened_again() {
    let place = Place::new();
    place.make("a", "first");
    place.link("a", "b").unwrap();
    let again = opened(place.own.path());
    assert_eq!(again.attributes("b").unwrap().object.nlink, 2);
    again.remove_file(&to_delete(&again.locate("a").unwrap())).unwrap();
    assert_eq!((text_of(&again, "b"), place.blobs()), ("first".into(), 1));
}

#[test]
fn a_file_of_the_users_gets_a_name_without_becoming_readable_under_it() {
    let place = Place::new();
    place.link("theirs", "more").unwrap();
    let opened = ["theirs", "more"].map(|path| place.tree.open_file(path).unwrap());
    assert!(opened.iter().all(|opened| !opened.object.staged), "each still needs a decision");
    assert_eq!(opened[1].origin.as_deref(), Some("theirs"));
    assert_eq!(place.seen("theirs"), place.seen("more"));
    // Nothing but the second name is to be committed, and it is one of the user's own file.
    let changes = place.tree.changes().unwrap();
    assert_eq!(changes.len(), 1);
    let same = changes[0].same_as.clone().unwrap();
    assert_eq!((&*changes[0].path, &*same.path, same.version.is_some()), ("more", "theirs", true));
    // What is released of it is what both are from then on.
    let at = place.tree.locate("more").unwrap();
    let staged = place.tree.copy_up(&to_write(&at), Content::Empty).unwrap();
    place.tree.writer_closed(staged.blob.unwrap());
    assert_eq!((place.read("theirs"), place.seen("theirs").1), (String::new(), 2));
    let (one, other) = (place.change("more"), place.change("theirs"));
    assert_eq!((one.op, other.op), (Op::Create, Op::Modify));
    assert_eq!(one.same_as.map(|same| (same.path, same.version.is_none())), Some(("theirs".into(), true)));
    assert_eq!(other.same_as, None);
}

#[test]
fn a_file_without_a_name_gets_one_or_goes_with_its_last_use() {
    let place = Place::new();
    let unnamed = || {
        let at = place.tree.locate("dir/unnamed").unwrap();
        let made = place.tree.create_unnamed(&to_create(&at), 0o640).unwrap();
        made.file.write_all_at(b"text", 0).unwrap();
        made.blob.unwrap()
    };
    let (kept, dropped) = (unnamed(), unnamed());
    assert_eq!(place.listed("dir").len(), 1);
    assert!(place.tree.changes().unwrap().is_empty());
    let at = place.tree.locate("named").unwrap();
    place.tree.name_unnamed(&to_create(&at), kept).unwrap();
    let again = place.tree.locate("again").unwrap();
    assert_eq!(place.tree.name_unnamed(&to_create(&again), kept).unwrap_err(), Errno::NOENT);
    place.tree.writer_closed(kept);
    place.tree.writer_closed(dropped);
    assert_eq!((place.read("named"), place.blobs()), ("text".into(), 1));
    assert_eq!(place.tree.attributes("named").unwrap().mode & 0o777, 0o640);
}

#[test]
fn a_decision_on_another_name_or_another_file_links_nothing() {
    let place = Place::new();
    place.make("a", "first");
    let [from, to, other] = ["a", "b", "c"].map(|path| place.tree.locate(path).unwrap());
    assert_eq!(place.tree.link(&to_link(&from, &other), &to).unwrap_err(), Errno::STALE);
    assert_eq!(place.tree.link(&to_create(&to), &to).unwrap_err(), Errno::STALE);
    let decided = to_link(&from, &to);
    place.remove("a");
    place.make("a", "another");
    assert_eq!(place.tree.link(&decided, &to).unwrap_err(), Errno::STALE);
    let dir = place.tree.locate("dir").unwrap();
    assert_eq!(place.tree.link(&to_link(&dir, &to), &to).unwrap_err(), Errno::PERM);
}

#[test]
fn files_change_over_and_keep_what_they_are() {
    let place = Place::new();
    place.make("mine", "mine");
    let before = (place.seen("mine").0, place.seen("theirs").0);
    place.exchange("mine", "theirs").unwrap();
    assert_eq!((place.read("mine"), place.read("theirs")), ("the user's".into(), "mine".into()));
    assert_eq!((place.seen("theirs").0, place.seen("mine").0), before);
    assert!(!place.tree.open_file("mine").unwrap().object.staged, "it still needs a decision");
    assert_eq!((place.change("theirs").op, place.change("mine").op), (Op::Modify, Op::Create));
    place.exchange("theirs", "other").unwrap();
    assert_eq!((place.read("theirs"), place.read("other")), ("other".into(), "mine".into()));
}

#[test]
fn a_change_says_which_file_of_the_users_its_content_was() {
    let origin = |place: &Place, path: &str| place.change(path).origin;
    let of = |path: &str| Some(path.to_owned());
    let place = Place::new();
    place.link("theirs", "more").unwrap();
    place.rename("theirs", "moved");
    place.link("more", "most").unwrap();
    for path in ["moved", "more", "most"] {
        assert_eq!(origin(&place, path), of("theirs"), "{path}");
    }
    let place = Place::new();
    place.exchange("theirs", "dir/inner").unwrap();
    assert_eq!((origin(&place, "theirs"), origin(&place, "dir/inner")), (of("dir/inner"), of("theirs")));
    place.exchange("theirs", "other").unwrap();
    assert_eq!((origin(&place, "other"), origin(&place, "theirs")), (of("dir/inner"), of("other")));
    place.rename("dir", "elsewhere");
    assert_eq!(origin(&place, "elsewhere/inner"), of("theirs"));
    let place = Place::new();
    place.make("mine", "mine");
    place.exchange("mine", "theirs").unwrap();
    assert_eq!((origin(&place, "mine"), origin(&place, "theirs")), (of("theirs"), None));
    place.write("mine", "written anew");
    assert_eq!(place.change("mine").op, Op::Create);
}

#[test]
fn directories_change_over_with_all_that_is_in_them() {
    let place = Place::new();
    place.tree.make_dir(&to_create(&place.tree.locate("new").unwrap()), 0o700).unwrap();
    place.make("new/inner", "mine");
    place.make("new/more", "more");
    place.exchange("new", "dir").unwrap();
    let read = |path: &str| place.read(path);
    assert_eq!(
        (read("dir/inner"), read("dir/more"), read("new/inner")),
        ("mine".into(), "more".into(), "inner".into())
    );
    assert_eq!(place.tree.attributes("dir").unwrap().mode & 0o777, 0o700);
    assert_eq!(place.listed("new").len(), 1);
    place.exchange("dir", "theirs").unwrap();
    assert_eq!((read("dir"), read("theirs/more")), ("the user's".into(), "more".into()));
    let inside = [place.tree.locate_all("theirs").unwrap(), place.tree.locate_all("theirs/more").unwrap()];
    let [above, below] = &inside;
    let refused = place.tree.exchange(&to_move(above, &below[0]), &to_move(below, &above[0]));
    assert_eq!(refused.unwrap_err(), Errno::INVAL);
}

//! What the agent sets of an object is what it sees of it afterwards, whatever kind of object it is.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};

use chaperone_fs::{Attributes, Located, NewAttributes, ObjectKind, Tree};
use chaperone_quota::Quota;
use chaperone_staging::{Kind, Op};
use rustix::fs::{Timespec, Timestamps};
use rustix::io::Errno;

use self::let_through::{to_change, to_create, to_delete, to_list, to_move};

mod let_through;

const SECOND: i128 = 1_000_000_000;

fn place() -> (tempfile::TempDir, Tree) {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir_all(docs.join("theirs")).unwrap();
    std::os::unix::fs::symlink("nowhere", docs.join("their-link")).unwrap();
    fs::write(docs.join("file"), "the user's").unwrap();
    let root = File::open(&docs).unwrap().into();
    let tree = Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap();
    (own, tree)
}

fn move_all(tree: &Tree, moved: &[Located], to: &Located) -> Result<(), Errno> {
    tree.rename(&to_move(moved, to), to, false)
}

fn set(tree: &Tree, path: &str, new: &NewAttributes) -> Attributes {
    tree.set_attributes(&to_change(&tree.locate(path).unwrap(), new), new).unwrap()
}

fn dated(seconds: i64) -> NewAttributes {
    let time = Timespec { tv_sec: seconds, tv_nsec: 5 };
    let times = Timestamps { last_access: time, last_modification: time };
    NewAttributes { times: Some(times), ..NewAttributes::default() }
}

fn mode(bits: u32) -> NewAttributes {
    NewAttributes { mode: Some(bits), ..NewAttributes::default() }
}

fn mtime(tree: &Tree, path: &str) -> i128 {
    tree.attributes(path).unwrap().object.mtime_ns
}

#[test]
fn times_of_links_and_directories_are_kept_and_move_along() {
    let (_own, tree) = place();
    tree.make_dir(&to_create(&tree.locate("made").unwrap()), 0o755).unwrap();
    tree.make_link(&to_create(&tree.locate("made/link").unwrap()), "x").unwrap();
    assert!(mtime(&tree, "made/link") > 1_700_000_000 * SECOND);
    for path in ["made/link", "made", "theirs", "their-link"] {
        assert_eq!(set(&tree, path, &dated(200)).object.mtime_ns, 200 * SECOND + 5, "{path}");
        assert_eq!(mtime(&tree, path), 200 * SECOND + 5, "{path}");
    }
    let listed = tree.list(&to_list(&tree.locate("made").unwrap())).unwrap();
    assert_eq!(listed.first().unwrap().1.object.mtime_ns, 200 * SECOND + 5);
    move_all(&tree, &tree.locate_all("made").unwrap(), &tree.locate("moved").unwrap()).unwrap();
    assert_eq!((mtime(&tree, "moved"), mtime(&tree, "moved/link")), (200 * SECOND + 5, 200 * SECOND + 5));
    let number = |path: &str| tree.attributes(path).unwrap().object.ino;
    let (theirs, link) = (number("theirs"), number("moved/link"));
    for (from, to, ino) in
        [("theirs", "there", theirs), ("there", "theirs", theirs), ("moved/link", "moved/other", link)]
    {
        move_all(&tree, &tree.locate_all(from).unwrap(), &tree.locate(to).unwrap()).unwrap();
        assert_eq!(number(to), ino, "{from} → {to}");
    }
    move_all(&tree, &tree.locate_all("moved/other").unwrap(), &tree.locate("moved/link").unwrap()).unwrap();
    // What is made or removed in a directory shows in its times.
    tree.create(&to_create(&tree.locate("theirs/new").unwrap()), 0o644).unwrap();
    assert!(mtime(&tree, "theirs") > 1_700_000_000 * SECOND);
    set(&tree, "moved", &dated(200));
    tree.remove_file(&to_delete(&tree.locate("moved/link").unwrap())).unwrap();
    assert!(mtime(&tree, "moved") > 1_700_000_000 * SECOND);
    // Another object of the same name begins anew.
    tree.make_link(&to_create(&tree.locate("moved/link").unwrap()), "y").unwrap();
    assert!(mtime(&tree, "moved/link") > 1_700_000_000 * SECOND);
}

#[test]
fn a_change_of_times_of_the_users_own_is_no_other_object() {
    let (_own, tree) = place();
    set(&tree, "theirs", &dated(200));
    set(&tree, "their-link", &dated(200));
    move_all(&tree, &tree.locate_all("theirs").unwrap(), &tree.locate("there").unwrap()).unwrap();
    tree.remove_file(&to_delete(&tree.locate("their-link").unwrap())).unwrap();
    assert_eq!(tree.attributes("their-link").unwrap_err(), Errno::NOENT);
}

#[test]
fn modes_are_kept_with_setgid_and_sticky_and_committed_without() {
    let (_own, tree) = place();
    tree.make_dir(&to_create(&tree.locate("made").unwrap()), 0o755).unwrap();
    assert_eq!(set(&tree, "made", &mode(0o3770)).mode, 0o043_770);
    assert_eq!(set(&tree, "theirs", &mode(0o1500)).mode, 0o041_500);
    assert_eq!(tree.attributes("theirs").unwrap().mode, 0o041_500);
    assert_eq!(set(&tree, "file", &mode(0o4000)).mode, 0o104_000);
    let changes = tree.changes().unwrap();
    assert!(changes.iter().all(|c| c.mode & 0o7000 == 0), "{changes:?}");
    assert_eq!(changes.len(), 2);
}

#[test]
fn fifos_and_sockets_live_in_the_cell_alone() {
    let (own, tree) = place();
    tree.make_special(&to_create(&tree.locate("pipe").unwrap()), false, 0o600).unwrap();
    tree.make_special(&to_create(&tree.locate("sock").unwrap()), true, 0o755).unwrap();
    assert_eq!(tree.attributes("pipe").unwrap().mode, 0o010_600);
    assert_eq!(tree.attributes("sock").unwrap().mode, 0o140_755);
    assert_eq!(tree.open_file("pipe").unwrap_err(), Errno::NXIO);
    move_all(&tree, &tree.locate_all("pipe").unwrap(), &tree.locate("tube").unwrap()).unwrap();
    assert_eq!(tree.attributes("tube").unwrap().object.kind, ObjectKind::Special);
    assert_eq!(set(&tree, "tube", &mode(0o640)).mode, 0o010_640);
    assert_eq!(tree.not_committed(), ["sock", "tube"]);
    assert!(tree.changes().unwrap().is_empty());
    // In place of a file of the user's, its deletion is what can be committed.
    tree.remove_file(&to_delete(&tree.locate("file").unwrap())).unwrap();
    tree.make_special(&to_create(&tree.locate("file").unwrap()), false, 0o600).unwrap();
    let changes = tree.changes().unwrap();
    assert_eq!(
        changes.iter().map(|c| (c.path.as_str(), c.op, c.kind)).collect::<Vec<_>>(),
        [("file", Op::Delete, Kind::File)]
    );
    tree.remove_file(&to_delete(&tree.locate("tube").unwrap())).unwrap();
    assert_eq!(tree.not_committed(), ["file", "sock"]);
    drop(tree);
    // The stage remembers them.
    let root = File::open(own.path().join("docs")).unwrap().into();
    let again = Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap();
    assert_eq!(again.not_committed(), ["file", "sock"]);
}

#[test]
fn to_be_given_the_owner_that_it_has_changes_nothing() {
    let (_own, tree) = place();
    for path in ["file", "theirs", "their-link"] {
        set(&tree, path, &NewAttributes::default());
    }
    assert!(tree.changes().unwrap().is_empty());
}

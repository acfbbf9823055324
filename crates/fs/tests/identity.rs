//! A change acts on what was decided on, or on nothing: the object is swapped between the two.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use chaperone_fs::{Content, NewAttributes, ObjectId, Tree};
use chaperone_quota::Quota;
use rustix::io::Errno;

use self::let_through::{to_create, to_delete, to_move, to_write};

mod let_through;

struct Place {
    _own: tempfile::TempDir,
    docs: PathBuf,
    tree: Tree,
}

/// `notes.txt` is harmless, `employees.csv` is not.
fn place() -> Place {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir_all(docs.join("dir")).unwrap();
    fs::write(docs.join("notes.txt"), "harmless").unwrap();
    fs::write(docs.join("employees.csv"), "237-82-2033").unwrap();
    fs::write(docs.join("dir/inner"), "inner").unwrap();
    fs::set_permissions(docs.join("employees.csv"), PermissionsExt::from_mode(0o600)).unwrap();
    let tree = Tree::open(&own.path().join("stage"), File::open(&docs).unwrap().into(), &Quota::unlimited())
        .unwrap();
    Place { _own: own, docs, tree }
}

impl Place {
    fn rename(&self, from: &str, to: &str) {
        let (moved, to) = (self.tree.locate_all(from).unwrap(), self.tree.locate(to).unwrap());
        self.tree.rename(&to_move(&moved, &to), &to, false).unwrap();
    }

    /// Another file takes the name.
    fn swap(&self) {
        self.rename("notes.txt", "old");
        self.rename("employees.csv", "notes.txt");
    }

    fn content(&self, path: &str) -> String {
        text(&self.tree.open_file(path).unwrap().file)
    }
}

fn text(file: &File) -> String {
    let mut bytes = vec![0; 100];
    let n = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

#[test]
fn a_file_swapped_after_the_decision_is_not_brought_up() {
    let place = place();
    let opened = place.tree.open_file("notes.txt").unwrap();
    place.swap();
    for content in [Content::Released(&opened.file), Content::Empty] {
        assert_eq!(place.tree.copy_up(&to_write(&opened.located), content).unwrap_err(), Errno::STALE);
    }
    assert!(!place.tree.open_file("notes.txt").unwrap().object.staged);
    assert_eq!(place.content("notes.txt"), "237-82-2033");
}

#[test]
fn a_staged_file_swapped_after_the_decision_is_not_brought_up() {
    let place = place();
    place.rename("notes.txt", "a");
    place.rename("a", "notes.txt");
    let opened = place.tree.open_file("notes.txt").unwrap();
    assert!(matches!(opened.located.identity().object, ObjectId::Blob(_)));
    place.swap();
    let brought = place.tree.copy_up(&to_write(&opened.located), Content::Released(&opened.file));
    assert_eq!(brought.unwrap_err(), Errno::STALE);
    assert!(!place.tree.open_file("notes.txt").unwrap().object.staged);
}

#[test]
fn a_mode_does_not_land_on_another_file() {
    let place = place();
    let at = place.tree.locate("notes.txt").unwrap();
    place.swap();
    let new = NewAttributes { mode: Some(0o666), ..NewAttributes::default() };
    assert_eq!(place.tree.set_attributes(&to_write(&at), &new).unwrap_err(), Errno::STALE);
    assert_eq!(place.tree.attributes("notes.txt").unwrap().mode & 0o777, 0o600);
}

#[test]
fn a_size_does_not_land_on_another_file() {
    let place = place();
    let at = place.tree.locate("notes.txt").unwrap();
    place.swap();
    for size in [0, 3] {
        let new = NewAttributes { size: Some(size), ..NewAttributes::default() };
        assert_eq!(place.tree.set_attributes(&to_write(&at), &new).unwrap_err(), Errno::STALE);
    }
    assert_eq!(place.content("notes.txt"), "237-82-2033");
}

#[test]
fn what_was_decided_to_go_goes_and_nothing_else() {
    let place = place();
    let at = place.tree.locate("notes.txt").unwrap();
    place.swap();
    assert_eq!(place.tree.remove_file(&to_delete(&at)), Err(Errno::STALE));
    assert_eq!(place.content("notes.txt"), "237-82-2033");
    // Back under its name it is a later one, and decided on anew.
    place.rename("notes.txt", "employees.csv");
    place.rename("old", "notes.txt");
    assert_eq!(place.tree.remove_file(&to_delete(&at)), Err(Errno::STALE));
    place.tree.remove_file(&to_delete(&place.tree.locate("notes.txt").unwrap())).unwrap();
}

#[test]
fn neither_end_of_a_rename_is_another_by_the_time_it_happens() {
    let place = place();
    let (source, target) = (place.tree.locate_all("notes.txt").unwrap(), place.tree.locate("new").unwrap());
    place.swap();
    assert_eq!(place.tree.rename(&to_move(&source, &target), &target, false), Err(Errno::STALE));
    let source = place.tree.locate_all("old").unwrap();
    place.rename("notes.txt", "new");
    assert_eq!(place.tree.rename(&to_move(&source, &target), &target, false), Err(Errno::STALE));
    assert_eq!((place.content("new"), place.content("old")), ("237-82-2033".into(), "harmless".into()));
}

#[test]
fn a_directory_moves_with_what_was_decided_on_in_it() {
    let place = place();
    let (all, target) = (place.tree.locate_all("dir").unwrap(), place.tree.locate("moved").unwrap());
    place.tree.remove_file(&to_delete(&place.tree.locate("dir/inner").unwrap())).unwrap();
    place.rename("employees.csv", "dir/inner");
    assert_eq!(place.tree.rename(&to_move(&all, &target), &target, false), Err(Errno::STALE));
    assert_eq!(place.content("dir/inner"), "237-82-2033");
}

#[test]
fn a_name_below_a_replaced_directory_is_another() {
    let place = place();
    let (inner, free) = (place.tree.locate("dir/inner").unwrap(), place.tree.locate("dir/free").unwrap());
    place.rename("dir", "moved");
    place.tree.make_dir(&to_create(&place.tree.locate("dir").unwrap()), 0o755).unwrap();
    assert_eq!(place.tree.remove_file(&to_delete(&inner)), Err(Errno::STALE));
    assert_eq!(place.tree.create(&to_create(&free), 0o644).unwrap_err(), Errno::STALE);
    assert_eq!(place.tree.make_link(&to_create(&free), "x").unwrap_err(), Errno::STALE);
}

#[test]
fn what_the_user_changed_meanwhile_is_decided_on_anew() {
    let place = place();
    let opened = place.tree.open_file("notes.txt").unwrap();
    fs::write(place.docs.join("notes.txt"), "other content").unwrap();
    let brought = place.tree.copy_up(&to_write(&opened.located), Content::Released(&opened.file));
    assert_eq!(brought.unwrap_err(), Errno::STALE);
    assert_eq!(place.tree.remove_file(&to_delete(&opened.located)), Err(Errno::STALE));
    let free = place.tree.locate("new").unwrap();
    fs::write(place.docs.join("new"), "the user's").unwrap();
    assert_eq!(place.tree.create(&to_create(&free), 0o644).unwrap_err(), Errno::EXIST);
    let moved = place.tree.locate_all("employees.csv").unwrap();
    assert_eq!(place.tree.rename(&to_move(&moved, &free), &free, false), Err(Errno::STALE));
}

#[test]
fn a_truncated_file_never_shows_its_old_content_as_the_agents_own() {
    let place = place();
    place.rename("employees.csv", "moved.csv");
    let before = place.tree.open_file("moved.csv").unwrap();
    let written = place.tree.copy_up(&to_write(&before.located), Content::Empty).unwrap();
    assert_ne!(written.blob, before.blob);
    // Whoever reads in between has the old content under the old decision.
    assert_eq!(text(&before.file), "237-82-2033");
    let now = place.tree.open_file("moved.csv").unwrap();
    assert!(now.object.staged && text(&now.file).is_empty());
}

#[test]
fn a_shortened_file_still_needs_a_decision_and_leaves_the_old_one_alone() {
    let place = place();
    place.rename("employees.csv", "moved.csv");
    let before = place.tree.open_file("moved.csv").unwrap();
    let new = NewAttributes { size: Some(3), ..NewAttributes::default() };
    place.tree.set_attributes(&to_write(&before.located), &new).unwrap();
    let now = place.tree.open_file("moved.csv").unwrap();
    assert_eq!((text(&before.file), text(&now.file)), ("237-82-2033".into(), "237".into()));
    assert!(now.blob != before.blob && !now.object.staged);
}

#[test]
fn what_is_written_begins_with_the_released_bytes() {
    let place = place();
    place.rename("employees.csv", "moved.csv");
    let opened = place.tree.open_file("moved.csv").unwrap();
    let mut released = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut released, b"***").unwrap();
    let written = place.tree.copy_up(&to_write(&opened.located), Content::Released(&released)).unwrap();
    assert_eq!(text(&written.file), "***");
    assert_eq!(text(&opened.file), "237-82-2033");
    assert_eq!(place.content("moved.csv"), "***");
}

#[test]
fn a_file_swapped_while_it_was_reviewed_stays_staged() {
    let place = place();
    let write = |path: &str, text: &str| {
        let opened = place.tree.create(&to_create(&place.tree.locate(path).unwrap()), 0o644).unwrap();
        opened.file.write_all_at(text.as_bytes(), 0).unwrap();
    };
    write("tool.py", "reviewed");
    write("other.py", "never seen");
    let version = place.tree.version();
    fs::write(place.docs.join("tool.py"), "reviewed").unwrap();
    place.rename("other.py", "tool.py");
    place.tree.committed(&["tool.py".to_owned()], version, &Default::default()).unwrap();
    assert_eq!(place.content("tool.py"), "never seen");
    let kept = place.tree.discard(&["tool.py".to_owned()], version).unwrap();
    assert_eq!(kept, ["tool.py"]);
    assert!(place.tree.discard(&kept, place.tree.version()).unwrap().is_empty());
    assert_eq!(place.content("tool.py"), "reviewed");
}

/// The user's own program goes on writing to a log, say, while the agent appends to it.
#[test]
fn a_released_copy_is_staged_though_the_user_goes_on_writing() {
    let place = place();
    let opened = place.tree.open_file("notes.txt").unwrap();
    let copy = tempfile::tempfile().unwrap();
    copy.write_all_at(b"harmless", 0).unwrap();
    fs::write(place.docs.join("notes.txt"), "harmless, and more of the user's").unwrap();
    place.tree.copy_up(&to_write(&opened.located), Content::Released(&copy)).unwrap();
    assert_eq!(place.content("notes.txt"), "harmless");
    // What it is based on is what was decided on: that the user wrote meanwhile shows at commit.
    let changes = place.tree.changes().unwrap();
    assert_eq!(changes.first().and_then(|c| c.base).map(|base| base.size), Some("harmless".len() as u64));
}

#[test]
fn the_object_itself_is_not_staged_when_the_user_wrote_to_it() {
    let place = place();
    let opened = place.tree.open_file("notes.txt").unwrap();
    fs::write(place.docs.join("notes.txt"), "other bytes").unwrap();
    let staged = place.tree.copy_up(&to_write(&opened.located), Content::Released(&opened.file));
    assert_eq!(staged.unwrap_err(), Errno::STALE);
}

#[test]
fn a_released_copy_is_not_staged_where_another_file_took_the_name() {
    let place = place();
    let opened = place.tree.open_file("notes.txt").unwrap();
    let copy = tempfile::tempfile().unwrap();
    fs::rename(place.docs.join("employees.csv"), place.docs.join("notes.txt")).unwrap();
    let staged = place.tree.copy_up(&to_write(&opened.located), Content::Released(&copy));
    assert_eq!(staged.unwrap_err(), Errno::STALE);
}

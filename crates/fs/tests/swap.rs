//! Another file takes the name of one that is being decided on, through the server as the kernel drives it.
#![allow(clippy::unwrap_used)]

mod let_through;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use chaperone_fs::{
    Cancel, ChangeKind, ChangeRequest, Closed, Decides, Gate, Object, OpenRequest, Opened, Opening, Refused,
    Tree,
};
use chaperone_quota::Quota;
use let_through::to_move;
use support::{Mount, O_APPEND, O_RDWR, O_TRUNC};

const NOTES: &str = "harmless";
const EMPLOYEES: &str = "237-82-2033";
const EACCES: i32 = 13;

/// What happens between a decision and its act.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// Lets nobody read, change or delete what is as long as [`EMPLOYEES`].
#[derive(Default)]
struct Policy {
    handles: AtomicU64,
    /// The first opening tells that it was decided, and waits.
    opening: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    changing: Mutex<Option<Meanwhile>>,
}

fn is_guarded(object: &Object) -> bool {
    object.size == EMPLOYEES.len() as u64 && !object.staged
}

impl Decides for Policy {
    fn change(&self, change: &ChangeRequest<'_>) -> Result<u64, Refused> {
        let changed = if matches!(change.kind, ChangeKind::Rename | ChangeKind::Link) {
            change.replaces
        } else {
            change.object
        };
        if changed.is_some_and(|object| is_guarded(&object)) {
            return Err(Refused(EACCES));
        }
        if let Some(meanwhile) = self.changing.lock().unwrap().take() {
            meanwhile();
        }
        Ok(self.handles.fetch_add(1, Ordering::Relaxed))
    }
}

impl Gate for Policy {
    fn open(&self, request: OpenRequest) -> Opening {
        let verdict = if is_guarded(&request.object) {
            Err(Refused(EACCES))
        } else {
            Ok(Opened { handle: self.handles.fetch_add(1, Ordering::Relaxed), bytes: None })
        };
        let waits = self.opening.lock().unwrap().take();
        Opening::Later(Box::new(move |_: &Cancel| {
            if let Some((decided, go_on)) = waits {
                decided.send(()).unwrap();
                go_on.recv().unwrap();
            }
            verdict
        }))
    }

    fn changed(&self, _: &ChangeRequest<'_>, _: u64, _: bool) {}

    support::shows_every_name!();

    fn closed(&self, _: u64, _: &Closed<'_>) {}
}

struct Place {
    _own: tempfile::TempDir,
    tree: Arc<Tree>,
    policy: Arc<Policy>,
    mount: Mount,
}

fn place() -> Place {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir(&docs).unwrap();
    for (name, text) in [("notes.txt", NOTES), ("employees.csv", EMPLOYEES), ("draft", "draft")] {
        fs::write(docs.join(name), text).unwrap();
        fs::set_permissions(docs.join(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let tree = Tree::open(&own.path().join("stage"), File::open(&docs).unwrap().into(), &Quota::unlimited())
        .unwrap();
    let (tree, policy) = (Arc::new(tree), Arc::new(Policy::default()));
    let mount = Mount::new(Arc::clone(&tree), Arc::clone(&policy) as Arc<dyn Gate>);
    Place { _own: own, tree, policy, mount }
}

impl Place {
    /// Once, after the next decision on a change: the guarded file takes the name of the harmless one.
    fn swap_meanwhile(&self) {
        let tree = Arc::clone(&self.tree);
        *self.policy.changing.lock().unwrap() = Some(Box::new(move || {
            for (from, to) in [("notes.txt", "old"), ("employees.csv", "notes.txt")] {
                let (moved, to) = (tree.locate_all(from).unwrap(), tree.locate(to).unwrap());
                tree.rename(&to_move(&moved, &to), &to, false).unwrap();
            }
        }));
    }

    fn is_as_it_was(&self, path: &str) -> bool {
        let opened = self.tree.open_file(path).unwrap();
        let mut bytes = [0; 100];
        let n = opened.file.read_at(&mut bytes, 0).unwrap();
        &bytes[..n] == EMPLOYEES.as_bytes() && opened.mode == 0o600 && !opened.object.staged
    }
}

#[test]
fn a_rename_while_an_opening_is_decided_reads_nothing_else() {
    let place = place();
    for flags in [O_RDWR, O_RDWR | O_APPEND, O_RDWR | O_TRUNC] {
        let ((decided, is_decided), (go_on, goes_on)) = (channel(), channel());
        *place.policy.opening.lock().unwrap() = Some((decided, goes_on));
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| place.mount.open("notes.txt", flags));
            is_decided.recv().unwrap();
            place.mount.rename("notes.txt", "old").unwrap();
            place.mount.rename("employees.csv", "notes.txt").unwrap();
            go_on.send(()).unwrap();
            // The file that was resolved has another name now, and is opened; never the one that took its name.
            let fd = opening.join().unwrap().unwrap();
            let expected = if flags & O_TRUNC == 0 { NOTES } else { "" };
            assert_eq!(place.mount.read(fd).unwrap(), expected.as_bytes());
            place.mount.close(fd);
        });
        assert_eq!(place.mount.open("notes.txt", 0).unwrap_err(), EACCES);
        assert!(place.is_as_it_was("notes.txt"));
        place.mount.rename("notes.txt", "employees.csv").unwrap();
        place.mount.rename("old", "notes.txt").unwrap();
    }
}

#[test]
fn two_openings_for_writing_at_once_both_succeed() {
    let place = place();
    let ((decided, is_decided), (go_on, goes_on)) = (channel(), channel());
    *place.policy.opening.lock().unwrap() = Some((decided, goes_on));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| place.mount.open("notes.txt", O_RDWR));
        is_decided.recv().unwrap();
        let second = place.mount.open("notes.txt", O_RDWR).unwrap();
        go_on.send(()).unwrap();
        let first = first.join().unwrap().unwrap();
        for fd in [first, second] {
            assert_eq!(place.mount.read(fd).unwrap(), NOTES.as_bytes());
            place.mount.close(fd);
        }
    });
}

#[test]
fn a_file_swapped_in_is_not_deleted_by_the_decision_on_another() {
    let place = place();
    place.swap_meanwhile();
    assert_eq!(place.mount.unlink("notes.txt"), Err(EACCES));
    assert!(place.is_as_it_was("notes.txt"));
    place.mount.unlink("old").unwrap();
}

#[test]
fn a_file_swapped_in_does_not_get_a_mode_that_was_meant_for_another() {
    let place = place();
    place.swap_meanwhile();
    assert_eq!(place.mount.chmod("notes.txt", 0o666), Err(EACCES));
    assert!(place.is_as_it_was("notes.txt"));
}

#[test]
fn a_file_swapped_in_is_not_replaced_by_the_decision_on_another() {
    let place = place();
    place.swap_meanwhile();
    assert_eq!(place.mount.rename("draft", "notes.txt"), Err(EACCES));
    assert!(place.is_as_it_was("notes.txt"));
}

#[test]
fn a_source_swapped_in_is_decided_on_before_it_moves() {
    let place = place();
    place.swap_meanwhile();
    // Its rename is allowed; what is moved is what the second decision was about, and still needs one to be read.
    place.mount.rename("notes.txt", "new").unwrap();
    assert!(place.is_as_it_was("new"));
    assert_eq!(place.mount.open("new", O_RDWR).unwrap_err(), EACCES);
}

#[test]
fn cutting_a_file_by_its_path_is_decided_like_opening_it() {
    let place = place();
    let cut = |name: &str, size: u64| place.mount.truncate(name, size);
    for size in [1, 10, EMPLOYEES.len() as u64, 100] {
        assert_eq!(cut("employees.csv", size), Err(EACCES), "{size}");
        assert!(place.is_as_it_was("employees.csv"), "{size}");
    }
    assert_eq!(cut("notes.txt", 4), Ok(()));
    let fd = place.mount.open("notes.txt", O_RDWR).unwrap();
    assert_eq!(place.mount.read(fd).unwrap(), b"harm");
    place.mount.close(fd);
    // Nothing stays of what is emptied.
    assert_eq!(cut("draft", 0), Ok(()));
}

#[test]
fn pages_of_a_mapping_keep_their_place_also_by_a_handle_that_appends() {
    const O_RDWR_APPEND: u32 = O_RDWR | O_APPEND;
    let place = place();
    let fd = place.mount.open("draft", O_RDWR_APPEND).unwrap();
    place.mount.write(fd, 0, b"DR", 1).unwrap();
    place.mount.write(fd, 0, b" end", 0).unwrap();
    assert_eq!(place.mount.read(fd).unwrap(), b"DRaft end");
    place.mount.close(fd);
}

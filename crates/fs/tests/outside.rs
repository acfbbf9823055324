//! What the user changes outside is announced, and repeated by one process alone; nobody gets anything done by it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaperone_fs::{
    ChangeRequest, Closed, Decides, Edit, Gate, ObjectKind, OpenRequest, Opened, Opening, Outside, Refused,
    Tree,
};
use chaperone_quota::Quota;
use support::{Mount, O_RDWR, O_TRUNC, text, u32s, u64_at, u64s};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EBADF: i32 = 9;
const EACCES: i32 = 13;
const LOOKUP: u32 = 1;
const SETATTR: u32 = 4;
const MKNOD: u32 = 8;
const UNLINK: u32 = 10;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const INIT: u32 = 77;
const AGENT: u32 = 78;
const LONG: Duration = Duration::from_secs(20);

/// Lets everything through, and notes what it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Asked {
    fn note(&self, what: &str, path: &str) {
        self.0.lock().unwrap().push(format!("{what} {path}"));
    }
}

impl Decides for Asked {
    fn change(&self, change: &ChangeRequest<'_>) -> Result<u64, Refused> {
        self.note("change", change.path);
        Ok(0)
    }
}

impl Gate for Asked {
    fn open(&self, request: OpenRequest) -> Opening {
        self.note("open", &request.path);
        Opening::Now(Ok(Opened { handle: 0, bytes: None }))
    }

    fn changed(&self, _: &ChangeRequest<'_>, _: u64, _: bool) {}

    fn hides_names(&self) -> bool {
        true
    }

    fn visible(&self, path: &str) -> bool {
        path != "hidden"
    }

    fn closed(&self, _: u64, _: &Closed<'_>) {}
}

struct Place {
    _own: tempfile::TempDir,
    docs: PathBuf,
    tree: Arc<Tree>,
    asked: Arc<Asked>,
    mount: Mount,
    told: Receiver<Outside>,
}

fn place() -> Place {
    place_where(|_, _| ())
}

/// A place where something happens as soon as an edit is told.
fn place_where(told_of: impl Fn(&Path, &Outside) + Send + 'static) -> Place {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir_all(docs.join("folder")).unwrap();
    fs::write(docs.join("file"), "the user's").unwrap();
    fs::write(docs.join("quiet"), "the user's").unwrap();
    let root = File::open(&docs).unwrap().into();
    let tree = Arc::new(Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap());
    let asked = Arc::new(Asked::default());
    let mount = Mount::new(Arc::clone(&tree), Arc::clone(&asked) as Arc<dyn Gate>);
    let (tell, told) = channel();
    let user = docs.clone();
    let announced = move |edit: Outside| {
        told_of(&user, &edit);
        tell.send(edit).is_ok()
    };
    mount.server.announce(Box::new(announced)).unwrap();
    let place = Place { _own: own, docs, tree, asked, mount, told };
    place.until_watched("begin");
    place
}

impl Place {
    /// Until a first edit at this path is heard, its directory may not be watched yet.
    fn until_watched(&self, path: &str) {
        let heard = || self.told.recv_timeout(Duration::from_millis(200)).is_ok();
        let began = Instant::now();
        loop {
            fs::write(self.docs.join(path), "").unwrap();
            if heard() {
                break;
            }
            assert!(began.elapsed() < LONG, "{path} is not watched");
        }
        while heard() {}
    }

    fn next(&self) -> (String, Edit) {
        let told = self.told.recv_timeout(LONG).unwrap();
        (told.path, told.edit)
    }

    fn is_silent(&self) -> bool {
        matches!(self.told.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout))
    }

    fn by_init(&self, told: &Outside) {
        assert_eq!(self.mount.call_by(INIT, LOOKUP, 1, &text(&told.token)), Err(ENOENT));
    }
}

/// `fuse_setattr_in` of a new time of modification.
fn touched() -> Vec<u8> {
    const MTIME_NOW: u64 = 32 | 256;
    [u64s(&[MTIME_NOW, 0, 0, 0, 0, 0, 0]), vec![0; 32]].concat()
}

#[test]
fn what_the_user_does_is_told_once_and_with_what_it_is() {
    let place = place();
    fs::write(place.docs.join("file"), "after").unwrap();
    assert_eq!(place.next(), ("file".to_owned(), Edit::Finished));
    fs::write(place.docs.join(".beside"), "saved as editors do").unwrap();
    fs::rename(place.docs.join(".beside"), place.docs.join("new")).unwrap();
    assert_eq!(place.next(), ("new".to_owned(), Edit::Made(ObjectKind::File)));
    fs::remove_file(place.docs.join("file")).unwrap();
    assert_eq!(place.next(), ("file".to_owned(), Edit::Removed { directory: false }));
    fs::create_dir(place.docs.join("made")).unwrap();
    assert_eq!(place.next(), ("made".to_owned(), Edit::Made(ObjectKind::Dir)));
    fs::write(place.docs.join("made/inner"), "inner").unwrap();
    assert_eq!(place.next(), ("made/inner".to_owned(), Edit::Made(ObjectKind::File)));
    // A directory that the kernel was told of is watched from then on.
    place.mount.node("folder").unwrap();
    place.until_watched("folder/begin");
    fs::write(place.docs.join(std::ffi::OsStr::from_bytes(b"folder/\xff")), "").unwrap();
    assert_eq!(place.next(), ("folder/\\xff".to_owned(), Edit::Made(ObjectKind::File)));
    fs::write(place.docs.join("hidden"), "").unwrap();
    assert!(place.is_silent());
}

#[test]
fn what_is_made_in_a_directory_as_soon_as_that_is_told_is_told_too() {
    let place = place_where(|docs, told| {
        if told.edit == Edit::Made(ObjectKind::Dir) {
            fs::write(docs.join("made/inner"), "inner").unwrap();
        }
    });
    fs::create_dir(place.docs.join("made")).unwrap();
    assert_eq!(place.next(), ("made".to_owned(), Edit::Made(ObjectKind::Dir)));
    assert_eq!(place.next(), ("made/inner".to_owned(), Edit::Made(ObjectKind::File)));
}

#[test]
fn what_the_agent_does_is_not_told() {
    let place = place();
    let fd = place.mount.open("file", O_RDWR | O_TRUNC).unwrap();
    place.mount.write(fd, 0, b"the agent's", 0).unwrap();
    place.mount.close(fd);
    place.mount.chmod("file", 0o700).unwrap();
    assert!(place.is_silent());
    // What the user does below what the agent has staged does not show in the cell.
    fs::write(place.docs.join("file"), "the user's again").unwrap();
    assert!(place.is_silent());
    // What is committed is what the agent has.
    let version = place.tree.version();
    fs::write(place.docs.join("file"), "the agent's").unwrap();
    place.tree.committed(&["file".to_owned()], version, &Default::default()).unwrap();
    assert!(place.is_silent());
    fs::write(place.docs.join("file"), "and once more").unwrap();
    assert_eq!(place.next().0, "file");
}

#[test]
fn what_is_repeated_is_neither_done_nor_decided() {
    let place = place();
    let node = place.mount.node("file").unwrap();
    fs::write(place.docs.join("file"), "after").unwrap();
    let told = place.told.recv_timeout(LONG).unwrap();
    place.by_init(&told);
    let seen = place.mount.call_by(INIT, SETATTR, node, &touched()).unwrap();
    assert_eq!(u64_at(&seen, 24), 5, "the new size");
    let opened = place.mount.call_by(INIT, OPEN, node, &u32s(&[1, 0])).unwrap();
    let handle = u64_at(&opened, 0);
    let read = [u64s(&[handle, 0]), u32s(&[4096, 0])].concat();
    assert_eq!(place.mount.call_by(INIT, READ, node, &read), Err(EACCES));
    let write = [u64s(&[handle, 0]), u32s(&[1, 0]), u64s(&[0]), u32s(&[0, 0]), b"x".to_vec()].concat();
    assert_eq!(place.mount.call_by(INIT, WRITE, node, &write), Err(EBADF));
    fs::write(place.docs.join("new"), "new").unwrap();
    place.told.recv_timeout(LONG).unwrap();
    assert_eq!(place.mount.call_by(INIT, LOOKUP, 1, &text("new")), Err(ENOENT));
    let make = [u32s(&[0o100_600, 0, 0, 0]), text("new")].concat();
    assert_ne!(u64_at(&place.mount.call_by(INIT, MKNOD, 1, &make).unwrap(), 0), 0);
    assert_eq!(place.mount.call_by(INIT, UNLINK, 1, &text("new")), Err(EACCES));
    fs::remove_file(place.docs.join("new")).unwrap();
    place.told.recv_timeout(LONG).unwrap();
    place.mount.call_by(INIT, LOOKUP, 1, &text("new")).unwrap();
    place.mount.call_by(INIT, UNLINK, 1, &text("new")).unwrap();
    assert_eq!(place.mount.node("new"), Err(ENOENT));
    assert!(place.asked.0.lock().unwrap().is_empty());
    assert!(place.tree.changes().unwrap().is_empty());
}

#[test]
fn another_process_is_decided_on_as_ever_and_init_does_nothing_of_its_own() {
    let place = place();
    let node = place.mount.node("file").unwrap();
    fs::write(place.docs.join("file"), "after").unwrap();
    let told = place.told.recv_timeout(LONG).unwrap();
    place.by_init(&told);
    for guess in [".", "..", ".00000000000000000000000000000000", "file"] {
        place.mount.call_by(AGENT, LOOKUP, 1, &text(guess)).ok();
    }
    place.mount.call_by(AGENT, SETATTR, node, &touched()).unwrap();
    assert_eq!(*place.asked.0.lock().unwrap(), ["change file"]);
    // What was not announced fails for whoever repeats, and is not decided on.
    let other = place.mount.node("quiet").unwrap();
    assert_eq!(place.mount.call_by(INIT, SETATTR, other, &touched()), Err(EPERM));
    assert_eq!(place.mount.call_by(INIT, OPEN, other, &u32s(&[0, 0])), Err(EACCES));
    assert_eq!(place.mount.call_by(INIT, UNLINK, 1, &text("quiet")), Err(EACCES));
    assert!(place.docs.join("quiet").exists());
    assert_eq!(place.asked.0.lock().unwrap().len(), 1);
}

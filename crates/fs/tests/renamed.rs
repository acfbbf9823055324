//! What the kernel asks for when a file with several names is renamed: its other names go on being names of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::sync::{Arc, Mutex};

use chaperone_fs::{
    ChangeKind, ChangeRequest, Closed, Decides, Gate, OpenRequest, Opened, Opening, Refused, Tree,
};
use chaperone_quota::Quota;
use support::{Mount, O_RDWR};

/// What was decided on, by path.
type Asked = Arc<Mutex<Vec<(ChangeKind, String)>>>;

/// Lets everything through but a change of attributes where that is refused.
struct Policy {
    asked: Asked,
    refuses_attributes: bool,
}

impl Decides for Policy {
    fn change(&self, change: &ChangeRequest<'_>) -> Result<u64, Refused> {
        self.asked.lock().unwrap().push((change.kind, change.path.to_owned()));
        match self.refuses_attributes && change.kind == ChangeKind::Attributes {
            true => Err(Refused(13)),
            false => Ok(0),
        }
    }
}

impl Gate for Policy {
    fn open(&self, _: OpenRequest) -> Opening {
        Opening::Now(Ok(Opened { handle: 0, bytes: None }))
    }

    fn changed(&self, _: &ChangeRequest<'_>, _: u64, _: bool) {}

    support::shows_every_name!();

    fn closed(&self, _: u64, _: &Closed<'_>) {}
}

/// Rename `a`, write to `hard`: what the new name and the other one hold then, and what was asked.
fn renamed(refuses_attributes: bool) -> ([String; 2], Vec<(ChangeKind, String)>) {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("a"), "first").unwrap();
    fs::hard_link(docs.join("a"), docs.join("hard")).unwrap();
    let root = File::open(&docs).unwrap().into();
    let tree = Arc::new(Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap());
    let asked = Asked::default();
    let gate = Policy { asked: Arc::clone(&asked), refuses_attributes };
    let mount = Mount::new(tree, Arc::new(gate));
    // The kernel knows of both before.
    mount.node("a").unwrap();
    mount.node("hard").unwrap();
    mount.rename("a", "b").unwrap();
    let open = mount.open("hard", O_RDWR).unwrap();
    mount.write(open, 0, b"again", 0).unwrap();
    mount.close(open);
    let read = |path: &str| {
        let open = mount.open(path, 0).unwrap();
        let text = String::from_utf8(mount.read(open).unwrap()).unwrap();
        mount.close(open);
        text
    };
    let texts = ["b", "hard"].map(read);
    let asked = asked.lock().unwrap().clone();
    (texts, asked)
}

#[test]
fn the_other_names_of_a_renamed_file_are_decided_on_and_come_along() {
    let (texts, asked) = renamed(false);
    assert_eq!(texts, ["again", "again"]);
    assert!(asked.contains(&(ChangeKind::Attributes, "hard".to_owned())), "{asked:?}");
}

#[test]
fn one_that_may_not_come_along_keeps_what_it_has() {
    let (texts, _) = renamed(true);
    assert_eq!(texts, ["first", "again"]);
}

//! What the user does in the directory while the agent works on its own copy is never taken for something that the agent saw.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use chaperone_fs::{Content, Tree};
use chaperone_quota::Quota;
use chaperone_staging::{BaseVersion, Change, Op};

use self::let_through::{to_create, to_delete, to_move, to_write};

mod let_through;

struct Place {
    _own: tempfile::TempDir,
    docs: PathBuf,
    tree: Tree,
}

const WAS: &str = "harmless";

fn place() -> Place {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    fs::create_dir_all(docs.join("dir")).unwrap();
    fs::write(docs.join("notes.txt"), WAS).unwrap();
    fs::write(docs.join("other.py"), "print(1)").unwrap();
    let root = File::open(&docs).unwrap().into();
    let tree = Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap();
    Place { _own: own, docs, tree }
}

impl Place {
    fn write(&self, path: &str, text: &str) {
        let at = self.tree.locate(path).unwrap();
        let opened = match at.object() {
            None => self.tree.create(&to_create(&at), 0o644).unwrap(),
            Some(_) => self.tree.copy_up(&to_write(&at), Content::Empty).unwrap(),
        };
        opened.file.write_all_at(text.as_bytes(), 0).unwrap();
        self.tree.writer_closed(opened.blob.unwrap());
    }

    /// As editors and `sed -i` do: a new file is written and moved over the old one.
    fn save(&self, path: &str) {
        self.write("tmp", "the agent's");
        self.rename("tmp", path);
    }

    fn rename(&self, from: &str, to: &str) {
        let (moved, to) = (self.tree.locate_all(from).unwrap(), self.tree.locate(to).unwrap());
        self.tree.rename(&to_move(&moved, &to), &to, false).unwrap();
    }

    fn exchange(&self, one: &str, other: &str) {
        let all = |path: &str| self.tree.locate_all(path).unwrap();
        let (a, b) = (self.tree.locate(one).unwrap(), self.tree.locate(other).unwrap());
        self.tree.exchange(&to_move(&all(one), &b), &to_move(&all(other), &a)).unwrap();
    }

    fn unlink(&self, path: &str) {
        self.tree.remove_file(&to_delete(&self.tree.locate(path).unwrap())).unwrap();
    }

    fn make_dir(&self, path: &str) {
        self.tree.make_dir(&to_create(&self.tree.locate(path).unwrap()), 0o755).unwrap();
    }

    fn make_link(&self, path: &str) {
        self.tree.make_link(&to_create(&self.tree.locate(path).unwrap()), "other.py").unwrap();
    }

    fn user_writes(&self, path: &str) {
        fs::write(self.docs.join(path), "a day of the user's own work").unwrap();
    }

    fn changes(&self) -> Vec<Change> {
        self.tree.changes().unwrap()
    }
}

/// The sizes of what a change of this path would replace or delete.
fn replaced(changes: &[Change], path: &str) -> Vec<u64> {
    let of_it = changes.iter().filter(|change| change.path == path);
    let replaced = of_it.filter_map(|c| if c.op == Op::Rename { c.replaces } else { c.base });
    replaced.map(|version: BaseVersion| version.size).collect()
}

type Deed = (&'static str, fn(&Place));

#[test]
fn what_the_user_wrote_between_two_deeds_of_the_agent_is_not_what_the_second_replaces() {
    let first: [Deed; 4] = [
        ("rewritten", |place| place.write("notes.txt", "first")),
        ("saved", |place| place.save("notes.txt")),
        ("made a directory", |place| {
            place.unlink("notes.txt");
            place.make_dir("notes.txt");
            place.rename("notes.txt", "other");
        }),
        ("deleted", |place| place.unlink("notes.txt")),
    ];
    let then: [Deed; 5] = [
        ("saved", |place| place.save("notes.txt")),
        ("moved over", |place| place.rename("other.py", "notes.txt")),
        ("made a directory", |place| {
            place.save("notes.txt");
            place.unlink("notes.txt");
            place.make_dir("notes.txt");
        }),
        ("made a link", |place| {
            place.save("notes.txt");
            place.unlink("notes.txt");
            place.make_link("notes.txt");
        }),
        ("exchanged", |place| {
            place.save("notes.txt");
            place.exchange("notes.txt", "dir");
        }),
    ];
    for (first_is, first) in first {
        for (then_is, then) in then {
            let place = place();
            first(&place);
            place.user_writes("notes.txt");
            then(&place);
            let changes = place.changes();
            assert_eq!(
                replaced(&changes, "notes.txt"),
                [WAS.len() as u64],
                "{first_is}, {then_is}: {changes:?}"
            );
        }
    }
}

/// Whatever the agent does with its own later.
#[test]
fn what_the_user_made_at_a_name_of_the_agents_is_replaced_by_nothing() {
    let place = place();
    for path in ["saved", "rewritten", "deleted"] {
        place.write(path, "the agent's");
    }
    place.make_dir("folder");
    for path in ["saved", "rewritten", "deleted", "folder"] {
        place.user_writes(path);
    }
    place.save("saved");
    place.write("rewritten", "again");
    place.unlink("deleted");
    let changes = place.changes();
    let told: Vec<_> = changes.iter().map(|c| (c.op, c.path.as_str(), c.base.is_some())).collect();
    let new = |path| (Op::Create, path, false);
    assert_eq!(told, [new("folder"), new("rewritten"), new("saved")]);
}

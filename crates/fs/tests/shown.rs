//! What the merged view shows is what a commit of it makes, and nothing counts as committed that was not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chaperone_fs::{Content, ObjectKind, Tree};
use chaperone_quota::Quota;
use chaperone_staging::{Report, State, Tree as Stage, Verdict};
use rustix::io::Errno;

use self::let_through::{to_create, to_delete, to_list, to_move, to_write};

mod let_through;

struct Place {
    own: tempfile::TempDir,
    docs: PathBuf,
    tree: Tree,
}

/// By path: the content of a file, nothing for a directory.
type Shown = BTreeMap<String, Option<String>>;

fn place() -> Place {
    let own = tempfile::tempdir().unwrap();
    let docs = own.path().join("docs");
    for folder in ["d/a", "d/b", "e"] {
        fs::create_dir_all(docs.join(folder)).unwrap();
    }
    for file in ["d/a/x", "d/b/x", "d/x", "e/y", "z"] {
        fs::write(docs.join(file), format!("the user's {file}")).unwrap();
    }
    let tree = Tree::open(&own.path().join("stage"), File::open(&docs).unwrap().into(), &Quota::unlimited())
        .unwrap();
    Place { own, docs, tree }
}

impl Place {
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let (moved, to) = (self.tree.locate_all(from)?, self.tree.locate(to)?);
        self.tree.rename(&to_move(&moved, &to), &to, false)
    }

    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        self.tree.make_dir(&to_create(&self.tree.locate(path)?), 0o755)
    }

    fn remove(&self, path: &str) -> Result<(), Errno> {
        let at = self.tree.locate(path)?;
        match at.object().ok_or(Errno::NOENT)?.kind {
            ObjectKind::Dir => self.tree.remove_dir(&to_delete(&at)),
            _ => self.tree.remove_file(&to_delete(&at)),
        }
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Errno> {
        let at = self.tree.locate(path)?;
        let opened = match at.object() {
            None => self.tree.create(&to_create(&at), 0o644)?,
            Some(_) => self.tree.copy_up(&to_write(&at), Content::Empty)?,
        };
        opened.file.write_all_at(text.as_bytes(), 0).unwrap();
        self.tree.writer_closed(opened.blob.unwrap());
        Ok(())
    }

    fn shown(&self) -> Shown {
        let mut shown = Shown::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for (name, seen) in self.tree.list(&to_list(&self.tree.locate(&folder).unwrap())).unwrap() {
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if seen.object.kind == ObjectKind::Dir {
                    folders.push(path.clone());
                    shown.insert(path, None);
                } else {
                    let file = self.tree.open_file(&path).unwrap().file;
                    shown.insert(path, Some(text(&file)));
                }
            }
        }
        shown
    }

    fn commit(&self) -> Report {
        let root = File::open(&self.docs).unwrap().into();
        let stage = Stage::new(root, self.own.path().join("history"), self.own.path().join("stage"));
        stage.commit(&self.tree.changes().unwrap(), &mut |_, _| Verdict::Commit).unwrap()
    }
}

impl Place {
    /// Commit, and tell the tree what was.
    fn settle(&self) -> Report {
        let version = self.tree.version();
        let report = self.commit();
        let committed = report.entries.iter().filter(|entry| entry.state == State::Committed);
        let paths: Vec<String> = committed
            .flat_map(|entry| std::iter::once(entry.path.clone()).chain(entry.from.clone()))
            .collect();
        self.tree.committed(&paths, version, &report.touched).unwrap();
        report
    }
}

fn text(file: &File) -> String {
    let mut bytes = vec![0; 100];
    let n = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

fn on_disk(root: &Path, at: &Path, into: &mut Shown) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            into.insert(name, None);
            on_disk(root, &path, into);
        } else {
            into.insert(name, Some(fs::read_to_string(&path).unwrap()));
        }
    }
}

fn disk(place: &Place) -> Shown {
    let mut found = Shown::new();
    on_disk(&place.docs, &place.docs, &mut found);
    found
}

#[test]
fn a_directory_made_anew_over_a_moved_one_is_committed_as_it_is_shown() {
    for again in ["d/a", "d/x"] {
        let place = place();
        place.rename("d", "f").unwrap();
        place.make_dir("d").unwrap();
        place.make_dir(again).unwrap();
        place.remove(again).unwrap();
        let shown = place.shown();
        assert!(shown.keys().all(|path| !path.starts_with("d/")), "{shown:?}");
        let report = place.commit();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(disk(&place), shown);
    }
}

#[test]
fn what_the_user_adds_below_a_replaced_directory_is_not_deleted_with_what_the_agent_makes_there() {
    let place = place();
    place.rename("d", "f").unwrap();
    place.make_dir("d").unwrap();
    fs::write(place.docs.join("d/new"), "meanwhile").unwrap();
    place.write("d/new", "the agent's").unwrap();
    place.remove("d/new").unwrap();
    place.commit();
    assert_eq!(fs::read_to_string(place.docs.join("d/new")).unwrap(), "meanwhile");
}

/// Many orders of the same few operations on the same few names; each is tried from the start.
#[test]
fn whatever_is_done_to_a_tree_is_committed_as_it_is_shown() {
    const NAMES: [&str; 12] =
        ["d", "e", "f", "z", "d/a", "d/b", "d/x", "d/a/x", "e/y", "e/a", "f/a", "e/a/x"];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut pick = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut whole, mut later) = (0, 0);
    'rounds: for round in 0..400 {
        let place = place();
        let mut done = Vec::new();
        for commit in 0..3 {
            for step in 0..9 {
                let (one, other) = (NAMES[pick(NAMES.len())], NAMES[pick(NAMES.len())]);
                let (what, ok) = match pick(5) {
                    0 => (format!("mkdir {one}"), place.make_dir(one)),
                    1 | 2 => (format!("mv {one} {other}"), place.rename(one, other)),
                    3 => (format!("rm {one}"), place.remove(one)),
                    _ => (format!("write {one}"), place.write(one, &format!("{round} {commit} {step}"))),
                };
                if ok.is_ok() {
                    done.push(what);
                }
            }
            let shown = place.shown();
            let report = place.settle();
            // Names that change places in a circle are refused, and said to be.
            if !report.is_complete() {
                let refused: Vec<_> = report.entries.iter().filter(|e| !e.reasons.is_empty()).collect();
                let circle = refused.iter().any(|e| e.reasons.contains(&"rename_circle".to_owned()));
                assert!(circle, "after {done:?}: {refused:?}");
                continue 'rounds;
            }
            done.push("commit".to_owned());
            assert_eq!(disk(&place), shown, "after {done:?}");
            assert_eq!(place.shown(), shown, "after {done:?}");
            assert!(place.tree.changes().unwrap().is_empty(), "after {done:?}");
            whole += usize::from(commit == 0);
            later += usize::from(commit > 0);
        }
    }
    assert!(later > 500, "{later}");
    assert!(whole > 300, "{whole}");
}

#[test]
fn what_is_written_while_a_commit_reads_does_not_count_as_committed() {
    for reopens in [true, false] {
        let place = place();
        place.write("new", "reviewed").unwrap();
        let before = place.tree.locate("new").unwrap();
        let open = place
            .tree
            .copy_up(&to_write(&before), Content::Released(&place.tree.open_file("new").unwrap().file));
        let open = open.unwrap();
        if reopens {
            place.tree.writer_closed(open.blob.unwrap());
        }
        let version = place.tree.version();
        assert!(place.commit().is_complete());
        if reopens {
            place.write("new", "after").unwrap();
        } else {
            open.file.write_all_at(b"afterwards", 0).unwrap();
            place.tree.writer_closed(open.blob.unwrap());
        }
        place.tree.committed(&["new".to_owned()], version, &Default::default()).unwrap();
        let kept = place.shown().remove("new").flatten().unwrap();
        assert!(kept.starts_with("after"), "{kept}");
        assert_eq!(place.tree.changes().unwrap().len(), 1);
        assert_eq!(place.tree.discard(&["new".to_owned()], version).unwrap(), ["new"]);
        let version = place.tree.version();
        assert!(place.commit().is_complete());
        place.tree.committed(&["new".to_owned()], version, &Default::default()).unwrap();
        assert!(place.tree.changes().unwrap().is_empty());
    }
}

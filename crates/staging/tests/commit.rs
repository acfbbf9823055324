//! Claims about commit, undo and recovery, on real directories and with a real process that is killed.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chaperone_staging::{BaseVersion, Change, Choice, Kind, Op, State, Tree, Undo, Verdict};

use support::Place;

const MTIME_NS: i128 = 1_600_000_000_123_456_789;

impl Place {
    fn tree(&self) -> Tree {
        tree(&self.root, &self.history, &self.stage)
    }

    fn put(&self, path: &str, content: &str) {
        fs::write(self.root.join(path), content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn change(&self, op: Op, path: &str, content: &str) -> Change {
        change(&self.root, &self.stage, op, path, content)
    }

    fn commit(&self, changes: &[Change]) -> chaperone_staging::Report {
        self.tree().commit(changes, &mut |_, _| Verdict::Commit).unwrap()
    }

    fn leftovers(&self) -> Vec<String> {
        snapshot(&self.root).into_keys().filter(|path| path.contains(".chaperone-")).collect()
    }
}

fn tree(root: &Path, history: &Path, stage: &Path) -> Tree {
    Tree::new(OwnedFd::from(File::open(root).unwrap()), history, stage)
}

fn base(path: &Path) -> Option<BaseVersion> {
    Some(BaseVersion::of(&rustix::fs::lstat(path).ok()?))
}

fn change(root: &Path, stage: &Path, op: Op, path: &str, content: &str) -> Change {
    let blob = stage.join(path.replace('/', "_"));
    let has_content = matches!(op, Op::Create | Op::Modify);
    if has_content {
        fs::write(&blob, content).unwrap();
    }
    Change {
        path: path.into(),
        op,
        from: None,
        kind: Kind::File,
        blob: has_content.then_some(blob),
        target: None,
        base: if op == Op::Create { None } else { base(&root.join(path)) },
        replaces: None,
        mode: 0o640,
        mtime_ns: MTIME_NS,
        size: content.len() as u64,
        same_as: None,
        origin: None,
    }
}

fn rename(place: &Place, from: &str, to: &str, kind: Kind) -> Change {
    let mut change = place.change(Op::Rename, to, "");
    change.base = base(&place.root.join(from));
    change.from = Some(from.into());
    change.kind = kind;
    change
}

/// Paths with content (files), link text, or nothing (directories).
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, at: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                into.insert(name, "folder".into());
                walk(root, &path, into);
            } else if kind.is_symlink() {
                into.insert(name, format!("link {}", fs::read_link(&path).unwrap().display()));
            } else {
                into.insert(name, format!("file {}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut into = BTreeMap::new();
    walk(root, root, &mut into);
    into
}

#[test]
fn a_commit_writes_content_mode_and_mtime_and_keeps_the_previous_version() {
    let place = Place::new();
    place.put("a.txt", "old");
    let report =
        place.commit(&[place.change(Op::Modify, "a.txt", "new"), place.change(Op::Create, "b.txt", "b")]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((place.read("a.txt"), place.read("b.txt")), ("new".into(), "b".into()));
    let meta = fs::metadata(place.root.join("a.txt")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    assert_eq!(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()), MTIME_NS);
    let kept: Vec<_> =
        fs::read_dir(place.history.join("000001/kept")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read_to_string(&kept[0]).unwrap(), "old");
    assert!(place.leftovers().is_empty());
}

#[test]
fn undo_of_everything_and_undo_of_that_undo_come_back_to_the_same_trees() {
    let place = Place::new();
    fs::create_dir_all(place.root.join("dir/deep")).unwrap();
    for (path, content) in [("m", "m1"), ("d", "d1"), ("dir/x", "x1"), ("dir/deep/y", "y1"), ("r", "r1")] {
        place.put(path, content);
    }
    symlink("m", place.root.join("link")).unwrap();
    let before = snapshot(&place.root);
    let mut link = place.change(Op::Modify, "link", "");
    (link.kind, link.blob, link.target) = (Kind::Symlink, None, Some("d2".into()));
    let mut folder = place.change(Op::Create, "made", "");
    (folder.kind, folder.blob, folder.mode) = (Kind::Dir, None, 0o755);
    let mut moved_and_edited = rename(&place, "r", "made/r", Kind::File);
    moved_and_edited.blob = Some(place.stage.join("r-new"));
    fs::write(place.stage.join("r-new"), "r2").unwrap();
    let mut edited_in_moved = place.change(Op::Modify, "dir/x", "x2");
    edited_in_moved.path = "moved/x".into();
    let changes = [
        edited_in_moved,
        place.change(Op::Modify, "m", "m2"),
        place.change(Op::Delete, "d", ""),
        place.change(Op::Create, "made/new", "n"),
        rename(&place, "dir", "moved", Kind::Dir),
        rename(&place, "dir/deep/y", "moved/y", Kind::File),
        moved_and_edited,
        link,
        folder,
    ];
    let report = place.commit(&changes);
    assert!(report.is_complete(), "{report:#?}");
    let after = snapshot(&place.root);
    assert_eq!(after["moved/x"], "file x2");
    assert_eq!(after["moved/y"], "file y1");
    assert_eq!(after["made/r"], "file r2");
    assert_eq!(after["link"], "link d2");
    let undo = place.tree().undo(&Undo::default(), false).unwrap();
    assert!(undo.is_complete(), "{undo:#?}");
    assert_eq!(snapshot(&place.root), before);
    let redo = place.tree().undo(&Undo { commit: undo.commit, paths: None }, false).unwrap();
    assert!(redo.is_complete(), "{redo:#?}");
    assert_eq!(snapshot(&place.root), after);
    let again = place.tree().undo(&Undo::default(), false).unwrap();
    assert!(again.is_complete(), "{again:#?}");
    assert_eq!(snapshot(&place.root), before);
}

#[test]
fn an_undo_brings_back_attributes_access_lists_times_and_modes() {
    const ACL: &str = "system.posix_acl_access";
    // Version 2: user rw, group 65534 r, owning group r, mask r, others none.
    let list: Vec<u8> = [2u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain(
            [(1u16, 6u16, u32::MAX), (4, 4, u32::MAX), (8, 4, 65534), (16, 4, u32::MAX), (32, 0, u32::MAX)]
                .map(|(tag, rights, id)| {
                    [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
                }),
        )
        .flatten()
        .collect();
    let none = rustix::fs::XattrFlags::empty();
    for (op, twice) in [(Op::Modify, false), (Op::Delete, false), (Op::Modify, true), (Op::Delete, true)] {
        let place = Place::new();
        place.put("a", "the user's");
        let at = place.root.join("a");
        fs::set_permissions(&at, PermissionsExt::from_mode(0o2640)).unwrap();
        let supported = rustix::fs::setxattr(&at, "user.tag", b"red", none).is_ok();
        let listed = rustix::fs::setxattr(&at, ACL, &list, none).is_ok();
        if !supported || !listed {
            println!("SKIPPED in part: attributes {supported}, access lists {listed}");
        }
        File::open(&at)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_234_567_890_123))
            .unwrap();
        let state = || {
            let read = |name: &str| {
                let mut value = vec![0u8; 4096];
                rustix::fs::getxattr(&at, name, &mut value[..]).ok().map(|length| value[..length].to_vec())
            };
            let stat = fs::metadata(&at).unwrap();
            (
                fs::read(&at).unwrap(),
                stat.mode(),
                (stat.mtime(), stat.mtime_nsec()),
                read("user.tag"),
                read(ACL),
            )
        };
        let before = state();
        assert!(place.commit(&[place.change(op, "a", "the agent's")]).is_complete());
        if op == Op::Modify {
            // What came to the agent's version since goes with it.
            rustix::fs::setxattr(&at, "user.later", b"x", none).ok();
        }
        assert!(place.tree().undo(&Undo::default(), op == Op::Modify).unwrap().is_complete());
        if twice {
            let last = place.tree().history().unwrap().last().unwrap().commit;
            assert!(
                place.tree().undo(&Undo { commit: Some(last), paths: None }, true).unwrap().is_complete()
            );
            assert!(place.tree().undo(&Undo { commit: Some(1), paths: None }, true).unwrap().is_complete());
        }
        assert_eq!(state(), before, "{op:?}");
        assert!(rustix::fs::getxattr(&at, "user.later", &mut [0u8; 8][..]).is_err());
    }
}

#[test]
fn a_rename_over_another_file_is_undone_with_what_it_replaced_and_redone() {
    for with_content in [false, true] {
        let place = Place::new();
        fs::create_dir(place.root.join("d")).unwrap();
        place.put("draft", "draft");
        place.put("d/final", "the user's final");
        fs::set_permissions(place.root.join("d/final"), PermissionsExt::from_mode(0o600)).unwrap();
        let before = snapshot(&place.root);
        let mut over = rename(&place, "draft", "d/final", Kind::File);
        over.replaces = base(&place.root.join("d/final"));
        if with_content {
            fs::write(place.stage.join("new"), "new").unwrap();
            over.blob = Some(place.stage.join("new"));
        }
        assert!(place.commit(&[over]).is_complete());
        let after = snapshot(&place.root);
        assert_eq!(place.read("d/final"), if with_content { "new" } else { "draft" });
        let undone = place.tree().undo(&Undo { commit: Some(1), paths: None }, false).unwrap();
        assert!(undone.is_complete(), "{undone:?}");
        assert_eq!(snapshot(&place.root), before);
        assert_eq!(place.root.join("d/final").metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(place.tree().history().unwrap()[0].undone, [0]);
        assert!(place.tree().undo(&Undo { commit: Some(2), paths: None }, false).unwrap().is_complete());
        assert_eq!(snapshot(&place.root), after);
        assert!(place.tree().history().unwrap()[0].undone.is_empty());
        assert!(place.tree().undo(&Undo { commit: Some(1), paths: None }, false).unwrap().is_complete());
        assert_eq!(snapshot(&place.root), before);
    }
}

#[test]
fn a_file_that_the_person_changed_meanwhile_is_a_conflict_with_three_ways_out() {
    let place = Place::new();
    place.put("a.txt", "old");
    let change = place.change(Op::Modify, "a.txt", "agent");
    place.put("a.txt", "person");
    let report = place.commit(std::slice::from_ref(&change));
    let entry = report.entry("a.txt").unwrap();
    assert_eq!(entry.state, State::Conflict);
    assert_eq!(entry.choices, [Choice::KeepMine, Choice::KeepTheirs, Choice::WriteBoth]);
    assert_eq!(place.read("a.txt"), "person");
    let allow = &mut |_: &Change, _: Option<&File>| Verdict::Commit;
    place.tree().resolve(&[&change], Choice::WriteBoth, allow).unwrap();
    assert_eq!((place.read("a.txt"), place.read("a.agent-1.txt")), ("person".into(), "agent".into()));
    place.tree().resolve(&[&change], Choice::KeepTheirs, allow).unwrap();
    assert_eq!(place.read("a.txt"), "agent");
    place.tree().undo(&Undo { commit: None, paths: Some(vec!["a.txt".into()]) }, false).unwrap();
    assert_eq!(place.read("a.txt"), "person");
}

#[test]
fn undo_of_a_path_takes_the_directories_back_that_were_made_for_it_alone() {
    let made = |beside: &str| {
        let place = Place::new();
        fs::create_dir(place.root.join("own")).unwrap();
        let dir = |path: &str| Change { mode: 0o755, ..Change::blank(path.into(), Op::Create, Kind::Dir) };
        let all = [
            dir("own/a"),
            dir("own/a/b"),
            dir("own/a/b/none"),
            place.change(Op::Create, "own/a/b/c", "c"),
            place.change(Op::Create, "own/a/b/d", "d"),
        ];
        assert!(place.commit(&all).is_complete());
        if !beside.is_empty() {
            place.put(beside, "mine");
        }
        place
    };
    let undone = |place: &Place, paths: &[&str]| {
        let paths = Some(paths.iter().map(|path| (*path).to_owned()).collect());
        place.tree().undo(&Undo { commit: None, paths }, false).unwrap()
    };
    // One of two keeps what the other needs.
    let place = made("");
    assert!(undone(&place, &["own/a/b/none", "own/a/b/c"]).is_complete());
    assert_eq!(place.read("own/a/b/d"), "d");
    let last = undone(&place, &["own/a/b/d"]);
    assert!(last.is_complete() && last.entries.len() == 3, "{last:?}");
    assert!(place.root.join("own").exists() && !place.root.join("own/a").exists());
    assert!(place.tree().undo(&Undo { commit: last.commit, paths: None }, false).unwrap().is_complete());
    assert_eq!(place.read("own/a/b/d"), "d");
    // What is the user's own keeps them, and is no fault.
    let place = made("own/a/mine");
    let two = undone(&place, &["own/a/b/none", "own/a/b/c", "own/a/b/d"]);
    assert!(two.is_complete(), "{two:?}");
    assert!(place.root.join("own/a/mine").exists() && !place.root.join("own/a/b").exists());
    let place = made("");
    place.put("own/a/b/c", "changed since");
    let kept = undone(&place, &["own/a/b/c"]);
    assert_eq!(kept.entries.len(), 1, "{kept:?}");
    assert!(place.root.join("own/a/b/none").exists());
}

#[test]
fn undo_refuses_over_a_later_edit_unless_forced_and_then_keeps_the_edit() {
    let place = Place::new();
    place.put("a", "old");
    place.commit(&[place.change(Op::Modify, "a", "agent")]);
    place.put("a", "later");
    let undo = place.tree().undo(&Undo::default(), false).unwrap();
    assert_eq!(undo.entry("a").unwrap().state, State::Conflict);
    assert_eq!(place.read("a"), "later");
    let forced = place.tree().undo(&Undo::default(), true).unwrap();
    assert!(forced.is_complete());
    assert_eq!(place.read("a"), "old");
    place.tree().undo(&Undo { commit: forced.commit, paths: None }, false).unwrap();
    assert_eq!(place.read("a"), "later");
}

#[test]
fn a_symlink_swapped_in_while_it_is_judged_writes_nothing_outside() {
    let place = Place::new();
    let outside = place.root.with_file_name("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "safe").unwrap();
    fs::create_dir(place.root.join("d")).unwrap();
    place.put("d/f", "old");
    place.put("g", "old");
    let changes = [
        place.change(Op::Modify, "d/f", "evil"),
        place.change(Op::Create, "d/n", "evil"),
        place.change(Op::Modify, "g", "evil"),
    ];
    let mut swapped = false;
    let report = place.tree().commit(&changes, &mut |_, _| {
        if !std::mem::replace(&mut swapped, true) {
            fs::rename(place.root.join("d"), place.root.join("d-away")).unwrap();
            symlink(&outside, place.root.join("d")).unwrap();
            fs::remove_file(place.root.join("g")).unwrap();
            symlink(outside.join("f"), place.root.join("g")).unwrap();
        }
        Verdict::Commit
    });
    let report = report.unwrap();
    assert!(report.entries.iter().all(|entry| entry.state == State::Conflict), "{report:?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "safe");
    assert!(fs::symlink_metadata(place.root.join("g")).unwrap().is_symlink());
}

#[test]
fn the_judge_sees_the_bytes_that_are_written_and_a_later_change_of_the_blob_is_refused() {
    let place = Place::new();
    let change = place.change(Op::Create, "a", "good");
    let blob = change.blob.clone().unwrap();
    let report = place.tree().commit(&[change], &mut |_, content| {
        let mut seen = String::new();
        std::io::Read::read_to_string(
            &mut std::io::BufReader::new(&mut content.unwrap().try_clone().unwrap()),
            &mut seen,
        )
        .ok();
        fs::write(&blob, "evil").unwrap();
        Verdict::Commit
    });
    let report = report.unwrap();
    assert_eq!(report.entries[0].reasons, ["content_changed_while_judged"]);
    assert!(!place.root.join("a").exists() && place.leftovers().is_empty());
}

#[test]
fn links_out_traversal_and_blobs_outside_the_stage_are_refused() {
    let place = Place::new();
    fs::write(place.root.with_file_name("secret"), "secret").unwrap();
    symlink(place.root.with_file_name("secret"), place.stage.join("leak")).unwrap();
    let mut out = place.change(Op::Create, "out", "");
    (out.kind, out.blob, out.target) = (Kind::Symlink, None, Some("../secret".into()));
    let mut leak = place.change(Op::Create, "leaked", "");
    leak.blob = Some(place.stage.join("leak"));
    let mut dots = place.change(Op::Create, "dots", "x");
    dots.path = "../dots".into();
    let report = place.commit(&[out, leak, dots]);
    let reasons: Vec<_> = report.entries.iter().map(|entry| entry.reasons[0].as_str()).collect();
    assert_eq!(reasons, ["link_leaves_root", "blob_unreadable", "malformed_change"]);
    assert!(!place.root.with_file_name("dots").exists());
}

#[test]
fn a_link_that_leads_out_is_committed_where_the_judge_says_so_and_undone() {
    let place = Place::new();
    let mut out = place.change(Op::Create, "python3", "");
    (out.kind, out.blob, out.target) = (Kind::Symlink, None, Some("/usr/bin/python3".into()));
    let report = place.tree().commit(&[out], &mut |_, _| Verdict::CommitLinkOut).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(fs::read_link(place.root.join("python3")).unwrap().to_str(), Some("/usr/bin/python3"));
    assert!(place.tree().undo(&Undo { commit: Some(1), paths: None }, false).unwrap().is_complete());
    assert!(fs::symlink_metadata(place.root.join("python3")).is_err());
}

#[test]
fn names_with_newlines_and_reversing_characters_commit_and_undo() {
    let place = Place::new();
    let name = "a\nb \u{202e}gpj.exe";
    assert!(place.commit(&[place.change(Op::Create, name, "x")]).is_complete());
    assert_eq!(place.read(name), "x");
    assert!(place.tree().undo(&Undo::default(), false).unwrap().is_complete());
    assert!(snapshot(&place.root).is_empty());
}

#[test]
fn a_history_on_another_file_system_keeps_copies() {
    let Ok(shm) = tempfile::tempdir_in("/dev/shm") else {
        println!("SKIPPED a_history_on_another_file_system_keeps_copies: no /dev/shm");
        return;
    };
    let mut place = Place::new();
    place.history = shm.path().join("history");
    place.put("a", "old");
    place.put("b", "gone");
    let report = place.commit(&[place.change(Op::Modify, "a", "new"), place.change(Op::Delete, "b", "")]);
    assert!(report.is_complete(), "{report:?}");
    assert!(place.tree().undo(&Undo::default(), false).unwrap().is_complete());
    assert_eq!((place.read("a"), place.read("b")), ("old".into(), "gone".into()));
    assert!(place.leftovers().is_empty());
}

const FILES: usize = 12;

/// Run as a process of its own by the test below.
#[test]
fn child_that_commits() {
    let Some(folder) = std::env::var_os("STAGING_TEST_FOLDER").map(PathBuf::from) else { return };
    let (root, stage) = (folder.join("root"), folder.join("stage"));
    let history = PathBuf::from(std::env::var_os("STAGING_TEST_HISTORY").unwrap());
    let mut changes = Vec::new();
    for number in 0..FILES {
        changes.push(change(&root, &stage, Op::Modify, &format!("d/m{number}"), &format!("new {number}")));
        changes.push(change(&root, &stage, Op::Create, &format!("d/c{number}"), "created"));
        changes.push(change(&root, &stage, Op::Delete, &format!("d/x{number}"), ""));
        let mut moved = change(&root, &stage, Op::Rename, &format!("e/t{number}"), "");
        moved.from = Some(format!("d/f{number}"));
        moved.base = base(&root.join(format!("d/f{number}")));
        changes.push(moved);
    }
    fs::write(folder.join("ready"), "").unwrap();
    tree(&root, &history, &stage).commit(&changes, &mut |_, _| Verdict::Commit).unwrap();
}

#[test]
fn killed_at_any_point_every_file_is_old_or_new_and_undo_restores_all() {
    kill_and_recover(200, None);
}

#[test]
fn killed_at_any_point_with_the_history_elsewhere_every_file_is_old_or_new() {
    kill_and_recover(60, tempfile::tempdir_in("/dev/shm").ok());
}

fn kill_and_recover(iterations: u64, elsewhere: Option<tempfile::TempDir>) {
    let program = std::env::current_exe().unwrap();
    let (mut interrupted, mut partial) = (0, 0);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for iteration in 0..iterations {
        let mut place = Place::new();
        if let Some(elsewhere) = &elsewhere {
            place.history = elsewhere.path().join(iteration.to_string());
        }
        fs::create_dir(place.root.join("d")).unwrap();
        fs::create_dir(place.root.join("e")).unwrap();
        for number in 0..FILES {
            for (name, content) in [("m", "old"), ("x", "doomed"), ("f", "moved")] {
                place.put(&format!("d/{name}{number}"), &format!("{content} {number}"));
            }
        }
        let before = snapshot(&place.root);
        let folder = place.root.parent().unwrap();
        let mut child = std::process::Command::new(&program)
            .args(["--exact", "child_that_commits"])
            .env("STAGING_TEST_FOLDER", folder)
            .env("STAGING_TEST_HISTORY", &place.history)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !folder.join("ready").exists() {
            std::thread::yield_now();
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wait = std::time::Duration::from_micros((seed >> 33) % 16_000);
        let until = std::time::Instant::now() + wait;
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let reports = place.tree().recover().unwrap();
        interrupted += reports.len();
        let after = snapshot(&place.root);
        let mut news = 0;
        for number in 0..FILES {
            let at = |name: &str| after.get(&format!("{name}{number}")).map(String::as_str);
            let (old, new) = (format!("file old {number}"), format!("file new {number}"));
            let m = at("d/m").expect("a modified file is always there");
            assert!(m == old || m == new, "iteration {iteration}: {m}");
            news += usize::from(m == new);
            assert!(matches!(at("d/c"), None | Some("file created")));
            let moved = format!("file moved {number}");
            assert!(
                [at("d/f"), at("e/t")].into_iter().flatten().eq([moved.as_str()]),
                "iteration {iteration}: a moved file is at exactly one of its names"
            );
        }
        partial += usize::from(news > 0 && news < FILES);
        assert!(place.leftovers().is_empty(), "iteration {iteration}: {:?}", place.leftovers());
        let undo = place.tree().undo(&Undo::default(), false).unwrap();
        assert!(undo.is_complete(), "iteration {iteration}: {undo:#?}");
        assert_eq!(snapshot(&place.root), before, "iteration {iteration}");
    }
    println!("{iterations} kills, {interrupted} open journals, {partial} half-way through the contents");
    assert!(interrupted > 0, "no kill hit a commit");
}

/// The first line of a file that is called so says all.
fn first_line(path: &str, file: &File) -> Option<String> {
    let text = std::io::read_to_string(file).ok().filter(|_| path.ends_with("index"))?;
    text.lines().next().map(str::to_owned)
}

#[test]
fn what_says_the_same_is_unchanged_to_an_undo_and_what_does_not_is_a_conflict() {
    for (now, is_back) in [("agents\nother times, and longer", true), ("mine\n", false)] {
        let place = Place::new();
        place.put("index", "first\n");
        place.put("plain", "first\n");
        let changes =
            [place.change(Op::Modify, "index", "agents\n"), place.change(Op::Modify, "plain", "agents\n")];
        let tree = || place.tree().reading(first_line);
        assert!(tree().commit(&changes, &mut |_, _| Verdict::Commit).unwrap().is_complete());
        place.put("index", now);
        place.put("plain", now);
        let report = tree().undo(&Undo::default(), false).unwrap();
        assert_eq!(report.entry("index").unwrap().state == State::Committed, is_back, "{report:?}");
        assert_eq!(place.read("index"), if is_back { "first\n" } else { now });
        // Of all else every byte counts.
        assert_eq!(report.entry("plain").unwrap().state, State::Conflict);
    }
}

#[test]
fn an_undo_leaves_what_stays_needs_and_takes_it_back_later() {
    let place = Place::new();
    place.put("list", "none\n");
    let changes = [place.change(Op::Modify, "list", "object\n"), place.change(Op::Create, "object", "x")];
    assert!(place.commit(&changes).is_complete());
    place.put("list", "object, and mine\n");
    let mut asked = Vec::new();
    let report = place.tree().undo_but(&Undo::default(), false, &mut |undoing| {
        asked.push((undoing.back.join(" "), undoing.stay.join(" "), undoing.since_ms > 0));
        vec!["object".to_owned()]
    });
    let report = report.unwrap();
    assert_eq!(asked, [("object".to_owned(), "list".to_owned(), true)]);
    let entry = report.entry("object").unwrap();
    assert_eq!(
        (entry.state, entry.reasons.as_slice()),
        (State::Conflict, &["needed_by_what_stays".to_owned()][..])
    );
    assert_eq!(place.read("object"), "x");
    assert!(
        place
            .tree()
            .undo(&Undo { commit: None, paths: Some(vec!["object".into()]) }, false)
            .unwrap()
            .is_complete()
    );
    assert!(!place.root.join("object").exists());
}

#[test]
fn nothing_has_an_effect_before_all_of_it_is_recorded() {
    let place = Place::new();
    let changes: Vec<Change> =
        (0..300).map(|n| place.change(Op::Create, &format!("f{n}"), &format!("content {n}"))).collect();
    let judged = Arc::new(AtomicUsize::new(0));
    let at_the_question = Arc::clone(&judged);
    let root = place.root.clone();
    let recorded = move |is: bool| -> Arc<dyn Fn() -> bool + Send + Sync> {
        let (judged, root) = (Arc::clone(&at_the_question), root.clone());
        Arc::new(move || {
            assert_eq!(judged.load(Ordering::SeqCst), 300);
            assert!(snapshot(&root).is_empty());
            is
        })
    };
    let mut judge = |_: &Change, _: Option<&File>| {
        judged.fetch_add(1, Ordering::SeqCst);
        Verdict::Commit
    };
    let refused = place.tree().once_recorded(recorded(false)).commit(&changes, &mut judge);
    assert!(matches!(refused, Err(chaperone_staging::Error::NotRecorded)), "{refused:?}");
    assert!(snapshot(&place.root).is_empty());
    judged.store(0, Ordering::SeqCst);
    let mut judge = |_: &Change, _: Option<&File>| {
        judged.fetch_add(1, Ordering::SeqCst);
        Verdict::Commit
    };
    let report = place.tree().once_recorded(recorded(true)).commit(&changes, &mut judge).unwrap();
    assert!(report.is_complete());
    assert!((0..300).all(|n| place.read(&format!("f{n}")) == format!("content {n}")));
    assert!(place.leftovers().is_empty());
}

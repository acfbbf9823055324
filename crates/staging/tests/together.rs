//! Claims about what is committed together: a whole that is committed whole or stays, and what moves, of which the old name stays
//! while the new one does.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use chaperone_staging::{BaseVersion, Change, Choice, Kind, Op, State, Together, Tree, Verdict};

use support::Place;

impl Place {
    fn tree(&self) -> Tree {
        Tree::new(OwnedFd::from(File::open(&self.root).unwrap()), &self.history, &self.stage)
    }

    fn put(&self, path: &str, content: &str) {
        fs::write(self.root.join(path), content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn base(&self, path: &str) -> Option<BaseVersion> {
        Some(BaseVersion::of(&rustix::fs::lstat(self.root.join(path)).ok()?))
    }

    /// A change to this content.
    fn change(&self, op: Op, path: &str, content: &str) -> Change {
        let blob = self.stage.join(path.replace('/', "_"));
        fs::write(&blob, content).unwrap();
        let base = self.base(path).filter(|_| op != Op::Create);
        let size = content.len() as u64;
        Change { blob: Some(blob), base, mode: 0o640, size, ..Change::blank(path.into(), op, Kind::File) }
    }

    /// How many names there are at the top.
    fn names(&self) -> usize {
        fs::read_dir(&self.root).unwrap().count()
    }
}

#[test]
fn what_is_one_is_committed_whole_or_stays_whole() {
    let refuses = |refused: &'static str| {
        move |change: &Change, _: Option<&File>| match change.path == refused {
            true => Verdict::Refuse { reasons: vec!["confirmation_required".into()] },
            false => Verdict::Commit,
        }
    };
    let whole = |chosen: bool| {
        let mut together = Together::default();
        for (path, is_chosen) in [("a", true), ("b", true), ("c", chosen)] {
            together.add(path.into(), "one", is_chosen);
        }
        together
    };
    for (refused, chosen, made) in [("", true, 4), ("b", true, 1), ("", false, 1), ("d", true, 3)] {
        let place = Place::new();
        let paths: &[&str] = if chosen { &["a", "b", "c", "d"] } else { &["a", "b", "d"] };
        let changes: Vec<Change> = paths.iter().map(|path| place.change(Op::Create, path, "x")).collect();
        let rehearsed =
            place.tree().keeping(whole(chosen)).rehearse(&changes, &mut refuses(refused)).unwrap();
        assert_eq!(place.names(), 0);
        let report = place.tree().keeping(whole(chosen)).commit(&changes, &mut refuses(refused)).unwrap();
        assert_eq!(place.names(), made, "{report:#?}");
        for (rehearsed, entry) in rehearsed.entries.iter().zip(&report.entries) {
            let staged = rehearsed.state == State::Staged;
            assert_eq!(staged, entry.state == State::Committed, "{entry:?}");
            assert!(staged || rehearsed.reasons == entry.reasons);
        }
    }
}

#[test]
fn what_the_user_changed_meanwhile_keeps_all_of_a_whole_back_and_is_settled_with_all_of_it() {
    for (refused, made) in [("", true), ("b", false)] {
        let place = Place::new();
        place.put("a", "old");
        let changes = [("a", Op::Modify), ("b", Op::Create), ("d", Op::Create)]
            .map(|(path, op)| place.change(op, path, "x"));
        place.put("a", "the user's own");
        let mut together = Together::default();
        ["a", "b"].into_iter().for_each(|path| together.add(path.into(), "one", true));
        let tree = place.tree().keeping(together);
        let report = tree.commit(&changes, &mut |_, _| Verdict::Commit).unwrap();
        let told: Vec<(State, Vec<&str>)> = report
            .entries
            .iter()
            .map(|entry| (entry.state, entry.reasons.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            told,
            [
                (State::Conflict, vec!["changed_meanwhile", "part_of_operation"]),
                (State::Refused, vec!["confirmation_required", "part_of_operation"]),
                (State::Committed, vec![])
            ]
        );
        let parts = tree.parts(&changes[0], &changes);
        assert_eq!(parts.len(), 2);
        let mut judge = |change: &Change, _: Option<&File>| match change.path == refused {
            true => Verdict::Refuse { reasons: vec!["never".into()] },
            false => Verdict::Commit,
        };
        let report = tree.resolve(&parts, Choice::KeepTheirs, &mut judge).unwrap();
        assert_eq!(report.is_complete(), made);
        assert_eq!((place.read("a") == "x", place.root.join("b").exists()), (made, made));
        // What can never pass lets no word of the user's move the rest.
        if !made {
            assert_eq!(report.entries[0].reasons, ["part_of_operation"]);
        }
    }
}

#[test]
fn what_does_not_come_to_its_new_name_keeps_its_old_one() {
    let judge = |refused: &'static [&'static str]| {
        move |change: &Change, _: Option<&File>| match refused.contains(&change.path.as_str()) {
            true => Verdict::Refuse { reasons: vec!["confirmation_required".into()] },
            false => Verdict::Commit,
        }
    };
    // Refused, and what is left of the old directory.
    let cases: [(&'static [&'static str], &[&str]); 5] = [
        (&[], &[]),
        (&["new/a"], &["old", "old/a"]),
        // The other copy comes.
        (&["new/b"], &[]),
        (&["new/b", "copy"], &["old", "old/b"]),
        (&["new"], &["old", "old/a"]),
    ];
    for (refused, left) in cases {
        let place = Place::new();
        fs::create_dir(place.root.join("old")).unwrap();
        place.put("old/a", "a");
        place.put("old/b", "b");
        let mut changes: Vec<Change> = [("new/a", "a"), ("new/b", "b"), ("copy", "b")]
            .iter()
            .map(|(path, text)| place.change(Op::Create, path, text))
            .collect();
        changes.insert(0, Change { mode: 0o755, ..Change::blank("new".into(), Op::Create, Kind::Dir) });
        for (path, kind) in [("old/b", Kind::File), ("old/a", Kind::File), ("old", Kind::Dir)] {
            let base = place.base(path);
            changes.push(Change { base, ..Change::blank(path.into(), Op::Delete, kind) });
        }
        let mut together = Together::default();
        together.follow("old/a".into(), vec!["new/a".into()]);
        together.follow("old/b".into(), vec!["new/b".into(), "copy".into()]);
        let report = place.tree().keeping(together).commit(&changes, &mut judge(refused)).unwrap();
        let told: Vec<&str> = report
            .entries
            .iter()
            .filter(|entry| entry.state == State::Refused && entry.reasons == ["moved_with"])
            .map(|entry| entry.path.as_str())
            .collect();
        let mut told = told;
        told.sort_unstable();
        assert_eq!(told, left, "{refused:?}: {report:#?}");
        assert!(left.iter().all(|path| place.root.join(path).exists()));
        assert_eq!(place.root.join("old").exists(), !left.is_empty());
    }
}

#[test]
fn what_comes_where_the_user_made_something_meanwhile_keeps_its_old_name() {
    let place = Place::new();
    place.put("a", "x");
    let base = place.base("a");
    let changes = [
        place.change(Op::Create, "b", "x"),
        Change { base, ..Change::blank("a".into(), Op::Delete, Kind::File) },
    ];
    place.put("b", "the user's own");
    let mut together = Together::default();
    together.follow("a".into(), vec!["b".into()]);
    let report = place.tree().keeping(together).commit(&changes, &mut |_, _| Verdict::Commit).unwrap();
    let told: Vec<State> = report.entries.iter().map(|entry| entry.state).collect();
    assert_eq!(told, [State::Conflict, State::Refused]);
    assert_eq!((place.read("a").as_str(), place.read("b").as_str()), ("x", "the user's own"));
}

#[test]
fn a_name_that_stays_taken_is_not_taken_by_another() {
    let place = Place::new();
    place.put("run", "x");
    let base = place.base("run");
    let changes = [
        Change { mode: 0o755, ..Change::blank("run".into(), Op::Create, Kind::Dir) },
        place.change(Op::Create, "run/run", "x"),
        Change { base, ..Change::blank("run".into(), Op::Delete, Kind::File) },
    ];
    let mut together = Together::default();
    together.follow("run".into(), vec!["run/run".into()]);
    let mut judge = |change: &Change, _: Option<&File>| match change.path.as_str() {
        "run/run" => Verdict::Refuse { reasons: vec!["confirmation_required".into()] },
        _ => Verdict::Commit,
    };
    let report = place.tree().keeping(together.clone()).commit(&changes, &mut judge).unwrap();
    assert_eq!(
        (place.read("run").as_str(), &*report.entries[0].reasons),
        ("x", &["moved_with".to_owned()][..])
    );
    let report = place.tree().keeping(together).commit(&changes, &mut |_, _| Verdict::Commit).unwrap();
    assert!(report.is_complete(), "{report:#?}");
    assert_eq!(place.read("run/run"), "x");
}

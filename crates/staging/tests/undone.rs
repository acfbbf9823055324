//! Claims about an undo of several commits, the newest first: each takes what a later undo put back for what it left itself, and
//! nothing that the user changed.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chaperone_staging::{BaseVersion, Change, Kind, Op, State, Tree, Undo, Verdict};

use support::Place;

impl Place {
    /// The user's files.
    fn with_files() -> Self {
        let place = Self::new();
        fs::create_dir_all(place.root.join("d/e")).unwrap();
        for (path, content) in [("a", "plan"), ("b", "other"), ("d/x", "x"), ("d/y", "y"), ("d/e/c", "c")] {
            fs::write(place.root.join(path), content).unwrap();
        }
        fs::set_permissions(place.root.join("a"), PermissionsExt::from_mode(0o640)).unwrap();
        symlink("one", place.root.join("link")).unwrap();
        place
    }

    /// The tree in one of several sessions, each with a history of its own.
    fn tree(&self, session: usize) -> Tree {
        let history = self.history.with_file_name(format!("history{session}"));
        Tree::new(OwnedFd::from(File::open(&self.root).unwrap()), history, &self.stage)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn version(&self, path: &str) -> Option<BaseVersion> {
        rustix::fs::lstat(self.at(path)).ok().map(|stat| BaseVersion::of(&stat))
    }

    /// A file that is made, or made new.
    fn written(&self, path: &str, content: &str) -> Change {
        let blob = self.stage.join(path.replace('/', "_"));
        fs::write(&blob, content).unwrap();
        let base = self.version(path);
        let op = if base.is_some() { Op::Modify } else { Op::Create };
        let size = content.len() as u64;
        Change { blob: Some(blob), base, mode: 0o600, size, ..Change::blank(path.into(), op, Kind::File) }
    }

    fn made(&self, path: &str) -> Change {
        Change { mode: 0o755, ..Change::blank(path.into(), Op::Create, Kind::Dir) }
    }

    fn gone(&self, path: &str) -> Change {
        let base = self.version(path).unwrap();
        Change { base: Some(base), ..Change::blank(path.into(), Op::Delete, base.kind().unwrap()) }
    }

    fn moved(&self, from: &str, to: &str) -> Change {
        let base = self.version(from).unwrap();
        let blank = Change::blank(to.into(), Op::Rename, base.kind().unwrap());
        Change { from: Some(from.into()), base: Some(base), ..blank }
    }

    fn moved_over(&self, from: &str, to: &str) -> Change {
        Change { replaces: self.version(to), ..self.moved(from, to) }
    }

    fn commit(&self, session: usize, changes: &[Change]) {
        let report = self.tree(session).commit(changes, &mut |_, _| Verdict::Commit).unwrap();
        assert!(report.is_complete(), "{report:#?}");
    }

    /// Kind, permissions, and what is in it: a file's content and time, a link's text.
    fn snapshot(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>, Option<SystemTime>)> {
        fn walk(at: &Path, into: &mut BTreeMap<PathBuf, (u32, Vec<u8>, Option<SystemTime>)>) {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                let stat = fs::symlink_metadata(&path).unwrap();
                let (content, time) = match stat.file_type() {
                    of if of.is_dir() => {
                        walk(&path, into);
                        (Vec::new(), None)
                    }
                    of if of.is_symlink() => {
                        (fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(), None)
                    }
                    _ => (fs::read(&path).unwrap(), stat.modified().ok()),
                };
                into.insert(path, (stat.mode(), content, time));
            }
        }
        let mut into = BTreeMap::new();
        walk(&self.root, &mut into);
        into
    }
}

/// What the agent did before one commit.
type Phase = fn(&Place) -> Vec<Change>;

const RENAMED: Phase = |p| vec![p.moved("a", "z")];
const RENAMED_OVER: Phase = |p| vec![p.moved_over("a", "b")];
const DIRECTORY_RENAMED: Phase = |p| {
    let files = ["x", "y"].map(|name| p.moved(&format!("d/{name}"), &format!("q/{name}")));
    let nested = [p.made("q/e"), p.moved("d/e/c", "q/e/c"), p.gone("d/e"), p.gone("d")];
    [p.made("q")].into_iter().chain(files).chain(nested).collect()
};
const DIRECTORY_MADE_ANEW: Phase =
    |p| vec![p.written("d/z", "1"), p.gone("d/x"), p.gone("d/y"), p.gone("d/e/c"), p.gone("d/e")];
const DIRECTORY_BECOME_A_FILE: Phase = |p| {
    let gone = ["d/e/c", "d/e", "d/x", "d/y", "d"].map(|path| p.gone(path));
    let file = Change { op: Op::Create, base: None, ..p.written("d", "1") };
    [file].into_iter().chain(gone).collect()
};
const FILE_BECOME_A_DIRECTORY: Phase = |p| vec![p.gone("a"), p.made("a"), p.written("a/n", "1")];
const FILE_BECOME_A_LINK: Phase = |p| {
    let blank = Change::blank("a".into(), Op::Modify, Kind::Symlink);
    vec![Change { target: Some("b".into()), base: p.version("a"), mode: 0o777, ..blank }]
};
const NEW_DIRECTORY_RENAMED: Phase = |p| vec![p.made("dd"), p.moved("d/z", "dd/z"), p.gone("d")];

const CASES: &[(&str, &[Phase])] = &[
    ("renamed, modified", &[RENAMED, |p| vec![p.written("z", "more")]]),
    ("renamed, deleted", &[RENAMED, |p| vec![p.gone("z")]]),
    ("renamed, renamed, deleted", &[RENAMED, |p| vec![p.moved("z", "w")], |p| vec![p.gone("w")]]),
    ("renamed, modified, deleted", &[RENAMED, |p| vec![p.written("z", "more")], |p| vec![p.gone("z")]]),
    ("renamed, replaced", &[RENAMED, |p| vec![p.moved_over("b", "z")], |p| vec![p.gone("z")]]),
    ("renamed over, modified", &[RENAMED_OVER, |p| vec![p.written("b", "more")]]),
    ("renamed over, deleted", &[RENAMED_OVER, |p| vec![p.gone("b")]]),
    (
        "names handed on, changed",
        &[|p| vec![p.moved("b", "c"), p.moved("a", "b")], |p| vec![p.written("b", "more"), p.gone("c")]],
    ),
    ("link renamed, deleted", &[|p| vec![p.moved("link", "to")], |p| vec![p.gone("to")]]),
    (
        "mode changed, deleted",
        &[
            |p| {
                let base = p.version("a");
                vec![Change { base, mode: 0o400, ..Change::blank("a".into(), Op::Modify, Kind::File) }]
            },
            |p| vec![p.gone("a")],
        ],
    ),
    (
        "directory renamed, removed",
        &[DIRECTORY_RENAMED, |p| ["q/e/c", "q/e", "q/x", "q/y", "q"].map(|path| p.gone(path)).to_vec()],
    ),
    (
        "directory renamed, file in it modified, removed",
        &[
            DIRECTORY_RENAMED,
            |p| vec![p.written("q/e/c", "more")],
            |p| ["q/e/c", "q/e", "q/x", "q/y", "q"].map(|path| p.gone(path)).to_vec(),
        ],
    ),
    ("directory made anew, modified", &[DIRECTORY_MADE_ANEW, |p| vec![p.written("d/z", "2")]]),
    ("directory made anew, removed", &[DIRECTORY_MADE_ANEW, |p| vec![p.gone("d/z"), p.gone("d")]]),
    ("directory made anew, renamed", &[DIRECTORY_MADE_ANEW, NEW_DIRECTORY_RENAMED]),
    (
        "directory made anew, renamed, modified",
        &[DIRECTORY_MADE_ANEW, NEW_DIRECTORY_RENAMED, |p| vec![p.written("dd/z", "5")]],
    ),
    (
        "directory become a file, modified, removed",
        &[DIRECTORY_BECOME_A_FILE, |p| vec![p.written("d", "more")], |p| vec![p.gone("d")]],
    ),
    ("directory become a file, renamed", &[DIRECTORY_BECOME_A_FILE, |p| vec![p.moved("d", "f")]]),
    ("file become a directory, removed", &[FILE_BECOME_A_DIRECTORY, |p| vec![p.gone("a/n"), p.gone("a")]]),
    (
        "file become a directory, renamed, changed",
        &[
            FILE_BECOME_A_DIRECTORY,
            |p| vec![p.made("n"), p.moved("a/n", "n/n"), p.gone("a")],
            |p| vec![p.written("n/n", "more")],
        ],
    ),
    (
        "file renamed to where a directory was, modified",
        &[
            |p| {
                let gone = ["d/e/c", "d/e", "d/x", "d/y", "d"].map(|path| p.gone(path));
                [p.moved("a", "d")].into_iter().chain(gone).collect()
            },
            |p| vec![p.written("d", "more")],
        ],
    ),
    ("file become a link, removed", &[FILE_BECOME_A_LINK, |p| vec![p.gone("a")]]),
    ("file become a link, become a file", &[FILE_BECOME_A_LINK, |p| vec![p.written("a", "more")]]),
    ("link become a file, modified", &[|p| vec![p.written("link", "1")], |p| vec![p.written("link", "2")]]),
    (
        "created, renamed, renamed back, deleted",
        &[
            |p| vec![p.written("n", "1")],
            |p| vec![p.moved("n", "m")],
            |p| vec![p.moved("m", "n")],
            |p| vec![p.gone("n")],
        ],
    ),
    (
        "directory changed for another, removed",
        &[
            |p| {
                let files = ["x", "y"].map(|name| p.moved(&format!("d/{name}"), &format!("old/{name}")));
                let rest = [p.written("d/z", "1"), p.gone("d/e/c"), p.gone("d/e")];
                [p.made("old")].into_iter().chain(files).chain(rest).collect()
            },
            |p| vec![p.gone("d/z"), p.gone("d")],
        ],
    ),
];

fn restores_everything(of_sessions: bool) {
    let mut wrong = Vec::new();
    for (name, phases) in CASES {
        let place = Place::with_files();
        let before = place.snapshot();
        let session = |phase: usize| if of_sessions { phase } else { 0 };
        for (number, phase) in phases.iter().enumerate() {
            place.commit(session(number), &phase(&place));
        }
        let after = place.snapshot();
        let sessions = (0..=session(phases.len() - 1)).rev();
        for session in sessions {
            let report = place.tree(session).undo(&Undo::default(), false).unwrap();
            let stopped = report.entries.iter().filter(|entry| entry.state != State::Committed);
            wrong.extend(stopped.map(|entry| format!("{name}: {} {:?}", entry.path, entry.reasons)));
        }
        if place.snapshot() != before {
            wrong.push(format!("{name}: the tree is another"));
        }
        // And all the way forth again: what was undone last is redone first.
        if !of_sessions && wrong.is_empty() {
            let undos: Vec<u64> = place.tree(0).history().unwrap().iter().rev().map(|c| c.commit).collect();
            for commit in undos.into_iter().take(phases.len()) {
                let redone = place.tree(0).undo(&Undo { commit: Some(commit), paths: None }, false).unwrap();
                assert!(redone.is_complete(), "{name}: {redone:#?}");
            }
            assert_eq!(place.snapshot(), after, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_undo_of_a_session_restores_what_several_commits_moved_and_changed() {
    restores_everything(false);
}

#[test]
fn undos_of_sessions_the_newest_first_restore_what_they_moved_and_changed() {
    restores_everything(true);
}

/// Writes into the file that is there, and leaves its size and its time.
fn write_unseen(at: &Path, content: &str) {
    let was = fs::metadata(at).unwrap();
    assert_eq!(was.len(), content.len() as u64);
    fs::write(at, content).unwrap();
    File::options().write(true).open(at).unwrap().set_modified(was.modified().unwrap()).unwrap();
}

type ByTheUser = (&'static str, fn(&Path));

/// What the user does to `z`, which has the content "plan" and the mode 640.
const BY_THE_USER: &[ByTheUser] = &[
    ("other content", |at| fs::write(at, "my own words").unwrap()),
    ("content of the same size and time", |at| write_unseen(at, "mine")),
    ("another file of the same size and time", |at| {
        let time = fs::metadata(at).unwrap().modified().unwrap();
        let new = at.with_file_name("new");
        fs::write(&new, "mine").unwrap();
        fs::set_permissions(&new, PermissionsExt::from_mode(0o640)).unwrap();
        File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(&new, at).unwrap();
    }),
    ("another mode", |at| fs::set_permissions(at, PermissionsExt::from_mode(0o644)).unwrap()),
    ("a link", |at| {
        fs::rename(at, at.with_file_name("elsewhere")).unwrap();
        symlink("elsewhere", at).unwrap();
    }),
    ("a directory", |at| {
        fs::remove_file(at).unwrap();
        fs::create_dir(at).unwrap();
    }),
];

#[test]
fn what_the_user_changed_between_or_since_stays_a_conflict() {
    let later: [&[Phase]; 3] = [&[], &[|p| vec![p.written("z", "more")]], &[|p| vec![p.gone("z")]]];
    let mut wrong = Vec::new();
    for (of_sessions, phases, (name, changed)) in [false, true]
        .into_iter()
        .flat_map(|of_sessions| later.map(|phases| (of_sessions, phases)))
        .flat_map(|(of_sessions, phases)| BY_THE_USER.iter().map(move |by| (of_sessions, phases, by)))
    {
        let place = Place::with_files();
        place.commit(0, &RENAMED(&place));
        let last = if of_sessions { 1 } else { 0 };
        for phase in phases {
            place.commit(last, &phase(&place));
            let which = Undo { commit: if of_sessions { None } else { Some(2) }, paths: None };
            assert!(place.tree(last).undo(&which, false).unwrap().is_complete());
        }
        changed(&place.at("z"));
        let theirs = place.snapshot();
        let report = place.tree(0).undo(&Undo { commit: Some(1), paths: None }, false).unwrap();
        let told: Vec<_> =
            report.entries.iter().map(|entry| (entry.state, entry.reasons.join(" "))).collect();
        let is_left = place.snapshot() == theirs;
        if !is_left || told != [(State::Conflict, "changed_since_the_commit".to_owned())] {
            wrong.push(format!("{name}, {} commits, {of_sessions}: {told:?}, left: {is_left}", phases.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_renamed_file_of_terabytes_of_nothing_is_moved_and_moved_back_without_reading_it() {
    let place = Place::with_files();
    let file = File::create(place.at("disk")).unwrap();
    if let Err(error) = file.set_len(8 << 40) {
        println!("SKIPPED: no file of eight terabytes here: {error}");
        return;
    }
    let was = place.version("disk").unwrap();
    place.commit(0, &[place.moved("disk", "moved"), place.written("new", "n")]);
    let report = place.tree(0).undo(&Undo::default(), false).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(was.is_same_content(&place.version("disk").unwrap()));
}

#[test]
fn a_link_that_the_user_led_elsewhere_since_stays_a_conflict() {
    for was_renamed in [true, false] {
        let place = Place::with_files();
        let change = match was_renamed {
            true => place.moved("link", "to"),
            false => {
                let blank = Change::blank("to".into(), Op::Create, Kind::Symlink);
                Change { target: Some("one".into()), mode: 0o777, ..blank }
            }
        };
        place.commit(0, &[change]);
        let at = place.at("to");
        // File systems give a number anew that has just become free.
        fs::remove_file(&at).unwrap();
        symlink("two", &at).unwrap();
        let report = place.tree(0).undo(&Undo::default(), false).unwrap();
        assert!(fs::read_link(&at).is_ok_and(|text| text == Path::new("two")), "{was_renamed}: {report:?}");
        assert_eq!(report.entry("to").unwrap().reasons, ["changed_since_the_commit"]);
    }
}

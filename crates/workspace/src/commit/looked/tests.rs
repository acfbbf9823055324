//! The facts of changes in a directory: what ordinary work says, and what is new to the directory in kind.

use std::path::Path;

use chaperone_inspect::Effects;
use chaperone_protocol::session::{Mode, MountRecord};

use super::super::dependencies::Dependencies;
use super::super::guards::Guards;
use super::super::link::Links;
use super::super::named::{Named, User};
use super::super::objects::Objects;
use super::super::operation::Operations;
use super::super::repository::{Lost, Others};
use super::super::tidied::Tidied;
use super::super::tracked::Tracked;
use super::*;

/// What one change is committed with, alone.
struct Lone {
    brings: std::collections::BTreeSet<&'static str>,
    links: Links,
    dependencies: Dependencies,
    guards: Guards<'static>,
    lost: Lost,
    others: Others,
    named: Named,
    operations: Operations,
    tidied: Tidied<'static>,
    tracked: Tracked,
}

impl Lone {
    fn new(mount: &LiveMount, change: &Change) -> Self {
        let named = Named::by(mount, &User::default(), std::slice::from_ref(change));
        Self {
            brings: Default::default(),
            links: Links::default(),
            dependencies: Dependencies::default(),
            guards: Guards::default(),
            lost: Lost::default(),
            others: Others::default(),
            named,
            operations: Operations::default(),
            tidied: Tidied::default(),
            tracked: Tracked::default(),
        }
    }

    fn beside<'a>(&'a self, objects: &'a Objects<'a>) -> Beside<'a> {
        let Self { brings, links, dependencies, guards, lost, others, named, operations, tidied, tracked } =
            self;
        Beside {
            removals: 0,
            tidied,
            tracked,
            moves: false,
            ruins: false,
            brings,
            links,
            dependencies,
            guards,
            lost,
            others,
            objects,
            named,
            operations,
        }
    }
}

pub(in crate::commit) struct Directory {
    folder: tempfile::TempDir,
    pub mount: LiveMount,
}

impl Directory {
    /// A source checkout with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("w");
        for (name, text) in files {
            write(&source.join(name), text);
        }
        std::fs::create_dir_all(&source).unwrap();
        let root = File::open(&source).unwrap().into();
        let record = MountRecord {
            at: "/workspace".into(),
            prefix: String::new(),
            source,
            mode: Mode::Mediated,
            actions: Vec::new(),
            stage_dir: folder.path().join("stage"),
            programs: Vec::new(),
        };
        Self { mount: LiveMount::closed(record, root), folder }
    }

    fn facts(&self, op: Op, path: &str, content: &[u8]) -> Map<String, Value> {
        self.of(&change(op, Kind::File, path), Some(content))
    }

    fn of(&self, change: &Change, content: Option<&[u8]>) -> Map<String, Value> {
        let at = self.folder.path().join("content");
        let file = content.map(|bytes| {
            std::fs::write(&at, bytes).unwrap();
            File::open(&at).unwrap()
        });
        let mut about = Map::new();
        let (lone, staged) = (Lone::new(&self.mount, change), |_: &Change| None);
        let objects = Objects::by(&self.mount, &[], &staged);
        let beside = lone.beside(&objects);
        let head = content.map(|bytes| bytes.get(..HEAD).unwrap_or(bytes)).unwrap_or_default();
        let look = |file: &File, name: &str| chaperone_inspect::effects(name, &mut &*file).unwrap();
        let (mount, content) = (&self.mount, file.as_ref());
        let looked = Looked { mount, change, content, head, beside: &beside, look: &look };
        add(&mut about, &looked);
        about
    }
}

fn write(at: &Path, text: &str) {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, text).unwrap();
}

fn change(op: Op, kind: Kind, path: &str) -> Change {
    Change { mode: 0o644, ..Change::blank(path.into(), op, kind) }
}

const CHECKOUT: &[(&str, &str)] = &[
    (".git/config", "[core]\n"),
    ("package.json", r#"{"dependencies":{"a":"1"},"homepage":"https://a.example"}"#),
    ("README.md", "![x](https://badges.example/a.svg)\n"),
    ("tool.sh", "#!/bin/sh\necho\n"),
    ("pkg/m.py", "print(1)\n"),
];

#[test]
fn what_is_ordinary_in_a_checkout_says_nothing_new() {
    let directory = Directory::new(CHECKOUT);
    for (path, content) in [
        ("package.json", r#"{"dependencies":{"a":"2","b":"1"},"homepage":"https://a.example"}"#),
        ("packages/x/package.json", r#"{"name":"x","dependencies":{"a":"1"}}"#),
        ("docs/a.md", "![x](https://badges.example/b.svg)\n![y](images/b.png)\n"),
        ("tool.sh", "#!/bin/sh\necho more\n"),
        ("src/new.rs", "fn main() {}\n"),
        (".gitignore", "target\n"),
        (".prettierrc", "{\"semi\": false}\n"),
        ("data/table.csv", "a,b\n1,-2\n"),
    ] {
        let facts = directory.facts(Op::Create, path, content.as_bytes());
        assert_eq!(facts["in_checkout"], true, "{path}");
        for quiet in ["new_sources", "remote_hosts", "active_content", "formula_cells"] {
            assert!(facts.get(quiet).is_none_or(|v| v == 0), "{path}: {facts:?}");
        }
        let classes = facts["runs_later"].as_array().unwrap();
        assert!(
            classes.is_empty() || classes == &["build"] && facts["kind_known"] == true,
            "{path}: {facts:?}"
        );
        assert!(facts["compiled"].is_null() && facts.get("workbook_refusal").is_none(), "{path}");
        assert!(facts.get("shebang_changed").is_none_or(|v| v == false), "{path}");
    }
    let cache =
        directory.facts(Op::Create, "pkg/__pycache__/m.cpython-312.pyc", b"\xa7\x0d\r\n\0\0\0\0........");
    assert_eq!(cache["compiled"], "cache");
}

#[test]
fn what_is_new_to_a_checkout_in_kind_is_said() {
    let directory = Directory::new(CHECKOUT);
    let of = |path: &str, content: &str| directory.facts(Op::Modify, path, content.as_bytes());
    assert_eq!(
        of("package.json", r#"{"dependencies":{"a":"https://evil.example/a.tgz"}}"#)["new_sources"],
        1
    );
    assert_eq!(of("Makefile", "all:\n")["kind_known"], false);
    assert_eq!(of("tool.sh", "#!/tmp/x\necho\n")["shebang_changed"], true);
    assert_eq!(of("README.md", "![x](https://evil.example/?d=1)\n")["remote_hosts"], 1);
    assert_eq!(of(".husky/pre-commit", "x\n")["runs_later"], json!(["hooks"]));
    assert_eq!(of("a.svg", "<svg onload='x()'/>")["active_content"], 1);
    let link = change(Op::Create, Kind::Symlink, ".vscode");
    assert_eq!(directory.of(&link, None)["runs_later"], json!(["editor"]));
}

#[test]
fn what_settings_of_git_name_and_what_stands_in_for_the_library_is_said() {
    let directory = Directory::new(&[
        (".git/config", "[core]\n\thooksPath = githooks\n[include]\n\tpath = ../team.gitconfig\n"),
        ("pkg/__init__.py", ""),
        ("job", "echo\n"),
        ("queue.py", ""),
        ("sums/calc.py", "import os, numpy as np\nfrom pandas.io import x\n"),
    ]);
    let of = |op, path: &str| directory.facts(op, path, b"x\n");
    for path in ["githooks/pre-commit", "githooks/lib/x.sh", "team.gitconfig"] {
        assert_eq!(of(Op::Modify, path)["runs_later"], json!(["hooks"]), "{path}");
    }
    let shadows = |path: &str| of(Op::Create, path).get("shadows_library") == Some(&json!(true));
    assert!(shadows("random.py") && shadows("a/json/__init__.py") && shadows("a/types.py"));
    assert!(shadows("_compression.py") && shadows("venv.py") && shadows("sums/pip.py"));
    assert!(shadows("sums/numpy.py") && shadows("sums/pandas/__init__.py") && !shadows("sums/requests.py"));
    // A project that comes as a whole brings what it is called.
    assert!(!shadows("numpy.py") && !shadows("new/src/pytest/__init__.py") && !shadows("new/requests.py"));
    assert!(!shadows("pkg/types.py") && !shadows("queue.py") && !shadows("main.py") && !shadows("random.rs"));
}

#[test]
fn a_directory_is_no_checkout_by_what_an_agent_may_commit() {
    let directory =
        Directory::new(&[(".git/HEAD", "ref: x\n"), (".git/objects/ab/cd", "x"), ("own/report.md", "x")]);
    assert_eq!(directory.facts(Op::Create, "Makefile", b"all:\n")["in_checkout"], false);
}

#[test]
fn a_checkout_that_an_agent_made_is_none_until_the_users_own_git_wrote_there() {
    let directory = Directory::new(&[("new/.git/config", "[core]\n"), ("new/.git/index", "DIRC"), ("x", "")]);
    let at = |path: &str| directory.mount.source.join(path);
    let is_one = || directory.facts(Op::Create, "new/tool.sh", b"#!/bin/sh\n")["in_checkout"] == true;
    assert!(is_one());
    let none = rustix::fs::XattrFlags::empty();
    for path in ["new/.git/config", "new/.git/index"] {
        assert!(super::super::checkout::is_mark(path));
        rustix::fs::setxattr(at(path), chaperone_staging::MADE_BY_A_COMMIT, b"1", none).unwrap();
    }
    assert!(!is_one());
    // As git writes it: anew, and moved over it.
    std::fs::write(at("new/.git/index.lock"), "DIRC").unwrap();
    std::fs::rename(at("new/.git/index.lock"), at("new/.git/index")).unwrap();
    assert!(is_one());
    assert!(
        !super::super::checkout::is_mark("new/git/config") && !super::super::checkout::is_mark("a.git/index")
    );
}

#[test]
fn a_file_that_gets_another_name_is_looked_at_under_it() {
    let directory = Directory::new(&[
        ("a.txt", "<img src=https://evil.example/p>"),
        ("b.html", "<img src=https://known.example/p>"),
        ("c.txt", "a,=1+1\n"),
        ("d.txt", "![x](https://evil.example/p)"),
    ]);
    let moved = |from: &str, to: &str| {
        directory.of(&Change { from: Some(from.into()), ..change(Op::Rename, Kind::File, to) }, None)
    };
    assert_eq!(moved("a.txt", "a.md")["remote_content"], 0, "a browser takes the text for a page as it is");
    assert_eq!(moved("d.txt", "d.md")["remote_content"], 1);
    assert_eq!(moved("b.html", "c.html")["remote_content"], 0);
    assert_eq!(moved("c.txt", "c.csv")["formula_cells"], 1);
    let mut folder = change(Op::Rename, Kind::Dir, ".husky");
    folder.from = Some("plain".into());
    assert_eq!(directory.of(&folder, None)["runs_later"], json!(["hooks"]));
}

#[test]
fn documents_of_word_are_no_workbooks() {
    let zip = zip_of(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", "<w:document/>")]);
    let directory = Directory::new(&[]);
    let facts = directory.facts(Op::Create, "letter.docx", &zip);
    assert!(facts.get("workbook_refusal").is_none(), "{facts:?}");
    assert_eq!(facts["cannot_look"], false);
}

/// A stored archive by hand: the crate has no library for it.
fn zip_of(parts: &[(&str, &str)]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, text) in parts {
        let at = bytes.len() as u32;
        let mut header = Vec::new();
        for field in [20u16, 0, 0, 0, 0] {
            header.extend(field.to_le_bytes());
        }
        header.extend(crc(text.as_bytes()).to_le_bytes());
        header.extend((text.len() as u32).to_le_bytes().repeat(2));
        header.extend((name.len() as u16).to_le_bytes());
        header.extend(0u16.to_le_bytes());
        bytes.extend(b"PK\x03\x04".iter().chain(&header).chain(name.as_bytes()).chain(text.as_bytes()));
        list.extend(b"PK\x01\x02\x14\0".iter().chain(&header));
        list.extend([0; 10]);
        list.extend(at.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let (at, count) = (bytes.len() as u32, (parts.len() as u16).to_le_bytes());
    let size = (list.len() as u32).to_le_bytes();
    bytes.extend(list);
    bytes.extend(
        b"PK\x05\x06\0\0\0\0".iter().chain(&count).chain(&count).chain(&size).chain(&at.to_le_bytes()),
    );
    bytes.extend([0, 0]);
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |c: u32| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
    !bytes.iter().fold(u32::MAX, |c, b| (0..8).fold(c ^ u32::from(*b), |c, _| step(c)))
}

#[test]
fn what_is_not_parsed_within_the_limits_is_asked_about_for_that() {
    let directory = Directory::new(CHECKOUT);
    let at = directory.folder.path().join("content");
    std::fs::write(&at, "<svg/>").unwrap();
    let (file, mut about) = (File::open(&at).unwrap(), Map::new());
    let change = change(Op::Create, Kind::File, "new.svg");
    let (lone, staged) = (Lone::new(&directory.mount, &change), |_: &Change| None);
    let objects = Objects::by(&directory.mount, &[], &staged);
    let look = |_: &File, _: &str| Effects::unseen();
    let looked = Looked {
        mount: &directory.mount,
        change: &change,
        content: Some(&file),
        head: b"<svg/>",
        beside: &lone.beside(&objects),
        look: &look,
    };
    add(&mut about, &looked);
    assert_eq!(about["cannot_look"], true);
}

#[test]
fn what_is_neither_a_document_nor_a_table_is_not_handed_to_a_parser() {
    let directory = Directory::new(CHECKOUT);
    let asked = std::cell::Cell::new(0);
    for (path, content) in
        [("src/new.rs", "fn main() {}\n"), ("a.json", "{}"), ("a.txt", "text"), ("b.csv", "1,2\n")]
    {
        let at = directory.folder.path().join("content");
        std::fs::write(&at, content).unwrap();
        let (file, mut about) = (File::open(&at).unwrap(), Map::new());
        let look = |_: &File, _: &str| {
            asked.set(asked.get() + 1);
            Effects::default()
        };
        let change = change(Op::Create, Kind::File, path);
        let (lone, staged) = (Lone::new(&directory.mount, &change), |_: &Change| None);
        let objects = Objects::by(&directory.mount, &[], &staged);
        let looked = Looked {
            mount: &directory.mount,
            change: &change,
            content: Some(&file),
            head: content.as_bytes(),
            beside: &lone.beside(&objects),
            look: &look,
        };
        add(&mut about, &looked);
    }
    assert_eq!(asked.get(), 1);
}

#[test]
fn what_a_long_file_fetches_is_seen_to_its_end() {
    let directory = Directory::new(&[]);
    let padding = b"COMMENT:padding\n".repeat(600_000);
    let event = b"BEGIN:VEVENT\nATTACH:http://evil.example/x\nEND:VEVENT\n";
    for place in [0, padding.len() - later::LOADS_BYTES % 16, later::LOADS_BYTES - 20, padding.len()] {
        let mut text = padding.clone();
        let at = place.min(text.len());
        text.splice(at..at, event.iter().copied());
        assert_eq!(directory.facts(Op::Create, "long.ics", &text)["remote_content"], 1, "{place}");
    }
    assert_eq!(directory.facts(Op::Create, "long.ics", &padding).get("remote_content"), None);
}

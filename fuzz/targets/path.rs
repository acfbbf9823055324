//! Paths and sequences of changes against the merged view of a directory that has links out, and neighbours beside it.
//! Each line is an operation: its first byte chooses, the rest is a path (two of them, parted by a tab, for a rename or
//! a link). Nothing outside the directory is ever opened, listed or changed, and the directory itself is not changed either.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chaperone_fs::{
    ChangeKind, ChangeRequest, Content, Decided, Decides, Located, NewAttributes, Refused, Tree,
};
use chaperone_quota::Quota;
use chaperone_staging::validate_path;
use libfuzzer_sys::fuzz_target;

/// Operations of one input; more would only be slow.
const MAX_OPERATIONS: usize = 40;
const SECRET: &str = "nobody in a cell reads this";

struct Place {
    _own: tempfile::TempDir,
    inside: PathBuf,
    stage: PathBuf,
    before: BTreeMap<PathBuf, String>,
    /// Device and inode of what lies outside, where the links lead.
    outside: Vec<(u64, u64)>,
    top: PathBuf,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let own = tempfile::tempdir_in(base).expect("a folder");
    let top = own.path().canonicalize().expect("it is there").join("top");
    let (inside, outside) = (top.join("inside"), top.join("outside"));
    for folder in [inside.join("docs/deep"), inside.join("out"), outside.clone()] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(outside.join("secret"), SECRET).expect("a file");
    for file in ["a.txt", "docs/b.csv", "docs/deep/c", "out/d"] {
        fs::write(inside.join(file), file).expect("a file");
    }
    for (target, link) in [
        ("../outside", "way-out"),
        ("../outside/secret", "docs/file-out"),
        ("/etc", "etc"),
        ("/proc/self/root", "magic"),
        ("docs", "within"),
        ("loop", "loop"),
        ("a.txt", "out/nothing"),
    ] {
        symlink(target, inside.join(link)).expect("a link");
    }
    let stage = own.path().join("stage");
    let before = listing(&top);
    let secrets = [outside.join("secret"), outside, "/etc".into(), "/etc/passwd".into(), "/".into()];
    let identity = |path: &PathBuf| fs::metadata(path).map(|m| (m.dev(), m.ino())).expect("it is there");
    let outside = secrets.iter().map(identity).collect();
    Place { inside, stage, before, outside, top, _own: own }
});

fuzz_target!(|data: &[u8]| {
    let place = &*PLACE;
    fs::remove_dir_all(&place.stage).ok();
    let root: OwnedFd = fs::File::open(&place.inside).expect("the folder").into();
    let tree = Tree::open(&place.stage, root, &Quota::unlimited()).expect("a new stage");
    for line in data.split(|b| *b == b'\n').take(MAX_OPERATIONS) {
        let Some((operation, rest)) = line.split_first() else { continue };
        let text = String::from_utf8_lossy(rest);
        // Only normalised paths reach the tree; the two checks that see to it are targets themselves.
        let (first, second) = text.split_once('\t').unwrap_or((&text, "a.txt"));
        if !normal(first) || (matches!(operation % 10, 7) && !normal(second)) {
            // Those that do not, must at least never be opened outside.
            look(place, &tree, first);
            continue;
        }
        match operation % 10 {
            0..=2 => look(place, &tree, first),
            _ => drop(change(place, &tree, *operation, first, second)),
        }
        look(place, &tree, first);
    }
    let changes = tree.changes().expect("what was staged can be told");
    for change in &changes {
        change.validate().expect("what is staged is well formed");
    }
    drop(tree);
    // The stage can be opened again and says the same.
    let root: OwnedFd = fs::File::open(&place.inside).expect("the folder").into();
    let again = Tree::open(&place.stage, root, &Quota::unlimited()).expect("the stage it left");
    assert_eq!(again.changes().expect("what was staged can be told").len(), changes.len());
    assert_eq!(listing(&place.top), place.before, "the user's folder was changed");
});

/// Everything is let through.
struct Anything;

impl Decides for Anything {
    fn change(&self, _: &ChangeRequest<'_>) -> Result<u64, Refused> {
        Ok(0)
    }
}

fn change(place: &Place, tree: &Tree, operation: u8, first: &str, second: &str) -> rustix::io::Result<()> {
    let at = tree.locate(first)?;
    let decided = |kind| Decided::by(&Anything, kind, &at, 1).expect("everything is let through");
    match operation % 10 {
        3 => tree.create(&decided(ChangeKind::Create), 0o644).map(|opened| is_ours(place, &opened.file)),
        4 if operation & 0x80 != 0 => {
            let new = NewAttributes { size: Some(3), ..NewAttributes::default() };
            tree.set_attributes(&decided(ChangeKind::Write), &new).map(drop)
        }
        4 => {
            let write = decided(ChangeKind::Write);
            tree.copy_up(&write, Content::Empty).map(|opened| is_ours(place, &opened.file))
        }
        5 => tree.make_dir(&decided(ChangeKind::Create), 0o755),
        6 => tree.make_link(&decided(ChangeKind::Create), second),
        7 => {
            let (moved, to) = (tree.locate_all(first)?, tree.locate(second)?);
            let each = moved.iter().map(|part| {
                Decided::of_move(&Anything, part, (&at, &to), 1).expect("everything is let through")
            });
            tree.rename(&each.collect::<Vec<_>>(), &to, operation & 0x80 != 0)
        }
        8 => tree.remove_file(&decided(ChangeKind::Delete)),
        _ => tree.remove_dir(&decided(ChangeKind::Delete)),
    }
}

fn normal(path: &str) -> bool {
    validate_path(path).is_ok()
}

fn look(place: &Place, tree: &Tree, path: &str) {
    if let Ok(opened) = tree.open_file(path) {
        is_ours(place, &opened.file);
    }
    if let Ok(seen) = tree.attributes(path) {
        assert!(!place.outside.contains(&(seen.object.dev, seen.object.ino)), "{path:?} leads outside");
    }
    tree.read_link(path).ok();
    let list = |at: Located| {
        let decided = Decided::by(&Anything, ChangeKind::List, &at, 1).ok()?;
        tree.list(&decided).ok()
    };
    if let Some(entries) = tree.locate(path).ok().and_then(list) {
        for (name, seen) in entries {
            let outside = place.outside.contains(&(seen.object.dev, seen.object.ino));
            assert!(!outside, "listed {name:?} of outside in {path:?}");
        }
    }
}

/// The open file lies in the directory or on the stage, whatever name led to it.
fn is_ours(place: &Place, file: &fs::File) {
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("an open file");
    assert!(real.starts_with(&place.inside) || real.starts_with(&place.stage), "opened {}", real.display());
}

/// Every object below a directory, links not followed, with what would show a change.
fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let seen = entry.metadata().expect("an entry");
            if seen.is_dir() {
                folders.push(entry.path());
            }
            let times = (seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec());
            all.insert(entry.path(), format!("{} {} {:o} {times:?}", seen.ino(), seen.len(), seen.mode()));
        }
    }
    all
}

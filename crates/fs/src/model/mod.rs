//! Two programs at once over a small directory, under every schedule with a few preemptions: no content is ever served,
//! changed or removed without a decision on it, nobody waits for ever, and nothing is left behind.

mod gate;
mod hoards;
mod kernel;
pub mod schedule;
mod tools;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaperone_quota::Quota;
use parking_lot::Mutex;

use self::gate::{FORM, HARMLESS, HIDDEN, Policy, REDACTED, SECRET, content};
use self::kernel::{Done, Kernel, O_APPEND, O_RDWR, O_TRUNC, O_WRONLY};
use self::schedule::{Schedule, explore, point};
use crate::object::ObjectKind;
use crate::shared::{Options, Shared};
use crate::tree::{Tree, join};

/// What ordinary programs are never told: that somebody else was faster, where they did not ask to be the only one.
const SPURIOUS: [i32; 2] = [kernel::ESTALE, 16];

/// One side of a scenario; what it read goes to the last argument.
type Program = (&'static str, fn(&Kernel, &mut Vec<Vec<u8>>) -> Done<()>);

const PROGRAMS: &[Program] = &[
    ("read", |k, seen| read(k, "notes", 0, seen)),
    ("read and write", |k, seen| {
        let fd = k.open("notes", O_RDWR)?;
        seen.push(k.read(fd)?);
        k.write(fd, 0, b"a")?;
        k.close(fd);
        Ok(())
    }),
    ("overwrite", |k, _| write(k, O_WRONLY | O_TRUNC)),
    ("append", |k, _| write(k, O_WRONLY | O_APPEND)),
    ("empty", |k, _| k.truncate("notes", 0)),
    ("shorten", |k, _| k.truncate("notes", 4)),
    ("chmod", |k, _| k.chmod("notes", 0o777)),
    ("delete", |k, _| k.unlink("notes")),
    ("move away", |k, _| k.rename("notes", "old")),
    ("swap in the secret", |k, _| {
        k.rename("notes", "old")?;
        k.rename("secret", "notes")
    }),
    ("put the secret over it", |k, _| k.rename("secret", "notes")),
    ("put the form over it", |k, _| k.rename("form", "notes")),
    ("delete and put the form there", |k, _| {
        k.unlink("notes")?;
        k.rename("form", "notes")
    }),
    ("replace by a link", |k, _| {
        k.unlink("notes")?;
        k.symlink("secret", "notes")
    }),
    ("make anew", |k, _| {
        k.unlink("notes")?;
        let fd = k.create("notes")?;
        k.write(fd, 0, b"aa")?;
        k.close(fd);
        Ok(())
    }),
    ("read the form", |k, seen| read(k, "form", 0, seen)),
    ("list the directory", |k, seen| list(k, "dir", seen)),
    ("move the directory", |k, _| k.rename("dir", "moved")),
    ("link and write", |k, _| {
        k.link("notes", "second")?;
        let fd = k.open("second", O_WRONLY | O_APPEND)?;
        k.write(fd, 0, b"a")?;
        k.close(fd);
        Ok(())
    }),
    ("link the secret", |k, seen| {
        k.link("secret", "second")?;
        read(k, "second", 0, seen)
    }),
    ("change over with the form", |k, _| k.exchange("notes", "form")),
    ("change over with the directory", |k, _| k.exchange("notes", "dir")),
    ("change the directory", |k, _| {
        k.unlink("dir/inner")?;
        k.rename("secret", "dir/inner")
    }),
];

/// The tools' ways, and the user's.
const TOOLS: &[Program] = &[
    ("tool: read", |k, seen| tools::read(k, "notes", seen)),
    ("tool: overwrite", |k, _| tools::write(k, "notes", false)),
    ("tool: append", |k, _| tools::write(k, "notes", true)),
    ("tool: append to the form", |k, _| tools::write(k, "form", true)),
    ("tool: list", |k, seen| tools::list(k, "dir", seen)),
    ("tool: delete", |k, _| tools::delete(k, "notes")),
    ("tool: put the secret over it", |k, _| tools::rename(k, "secret", "notes")),
    ("tool: move the directory", |k, _| tools::rename(k, "dir", "moved")),
    ("commit", |k, _| tools::commit(k)),
];

/// What the user does at the same time.
const USERS: &[Program] = &[("user: put the hidden directory there", |k, _| {
    point();
    k.outside("dir", "was-dir");
    point();
    k.outside("hidden", "dir");
    point();
    Ok(())
})];

const LISTING: [&str; 2] = ["list the directory", "tool: list"];

/// What was done to the files before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Moved there, so that they are staged and nobody decided on reading them.
    Moved,
    /// Written by the agent.
    Own,
}

/// Programs that act on what was decided, and those that put something else in its place: these under more schedules.
const ACTING: [&str; 5] = ["read and write", "overwrite", "append", "empty", "chmod"];
const SWAPPING: [&str; 3] = ["swap in the secret", "shorten", "delete and put the form there"];

const BESIDE_TOOLS: [&str; 6] =
    ["overwrite", "append", "shorten", "swap in the secret", "put the form over it", "change the directory"];

#[test]
fn no_schedule_over_the_users_files_gets_at_what_was_not_decided() {
    all_pairs(Before::Nothing, false);
}

#[test]
fn no_schedule_over_moved_files_gets_at_what_was_not_decided() {
    all_pairs(Before::Moved, false);
}

#[test]
fn no_schedule_over_moved_files_served_as_copies_gets_at_what_was_not_decided() {
    all_pairs(Before::Moved, true);
}

#[test]
fn no_schedule_over_the_agents_files_gets_at_what_was_not_decided() {
    all_pairs(Before::Own, false);
}

#[test]
fn two_preemptions_do_not_get_at_what_was_not_decided() {
    let named = |name: &&str| *PROGRAMS.iter().find(|program| program.0 == *name).unwrap();
    let pairs = ACTING.iter().flat_map(|a| SWAPPING.iter().map(move |b| [named(a), named(b)]));
    check(pairs, Before::Nothing, true, 2, MANY);
}

#[test]
fn no_schedule_of_tools_and_commits_gets_at_what_was_not_decided() {
    for before in [Before::Nothing, Before::Moved, Before::Own] {
        let others = || PROGRAMS.iter().filter(|other| BESIDE_TOOLS.contains(&other.0));
        let pairs =
            TOOLS.iter().enumerate().flat_map(|(i, a)| TOOLS[i..].iter().chain(others()).map(|b| [*a, *b]));
        check(pairs, before, before == Before::Moved, 1, MANY);
    }
}

#[test]
fn no_schedule_lists_a_directory_that_was_not_decided() {
    let all = || PROGRAMS.iter().chain(TOOLS);
    let lists = || all().filter(|program| LISTING.contains(&program.0));
    for preemptions in [1, 3] {
        check(lists().flat_map(|a| USERS.iter().map(|b| [*a, *b])), Before::Nothing, true, preemptions, 15);
    }
}

fn all_pairs(before: Before, exact: bool) {
    let pairs = PROGRAMS.iter().enumerate().flat_map(|(i, a)| PROGRAMS[i..].iter().map(|b| [*a, *b]));
    check(pairs, before, exact, 1, MANY);
}

/// Fewer schedules would mean that the threads no longer change over between decision and act.
const MANY: usize = 1_000;

fn check(
    pairs: impl Iterator<Item = [Program; 2]>,
    before: Before,
    exact: bool,
    preemptions: usize,
    least: usize,
) {
    let mut faults = BTreeSet::new();
    let (mut schedules, mut faulty) = (0, 0);
    for pair in pairs {
        schedules += explore(preemptions, |schedule| {
            let found = run(schedule, before, exact, &pair);
            faulty += usize::from(!found.is_empty());
            faults.extend(found.into_iter().map(|fault| format!("{} | {}: {fault}", pair[0].0, pair[1].0)));
        });
    }
    assert!(faults.is_empty(), "{faulty} of {schedules} schedules:\n{faults:#?}");
    assert!(schedules > least, "only {schedules} schedules");
}

const FILES: [(&str, &[u8]); 5] =
    [("notes", HARMLESS), ("secret", SECRET), ("form", FORM), ("dir/inner", HARMLESS), (HIDDEN, HARMLESS)];

fn run(schedule: &Arc<Schedule>, before: Before, exact: bool, programs: &[Program]) -> Vec<String> {
    let place =
        tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap();
    let docs = place.path().join("docs");
    for folder in ["dir", "hidden"] {
        std::fs::create_dir_all(docs.join(folder)).unwrap();
    }
    for (name, bytes) in FILES {
        std::fs::write(docs.join(name), bytes).unwrap();
        std::fs::set_permissions(docs.join(name), PermissionsExt::from_mode(0o640)).unwrap();
    }
    let tree =
        Tree::open(&place.path().join("stage"), File::open(&docs).unwrap().into(), &Quota::unlimited())
            .unwrap();
    let policy = Arc::new(Policy::new(exact));
    policy.unlisted.store(docs.join("hidden").metadata().unwrap().ino(), Ordering::Relaxed);
    let options = Options { uid: 0, gid: 0, write_back: false };
    let device = File::options().write(true).open("/dev/null").unwrap();
    let shared = Shared::new(device, Arc::new(tree), Arc::clone(&policy) as Arc<dyn crate::Gate>, options);
    let kernel = Kernel::new(Arc::new(shared.unwrap()));
    prepare(&kernel, before);

    let faults = Mutex::new(Vec::new());
    let (kernel, told) = (&kernel, &faults);
    let threads = programs.iter().map(|(name, program)| -> Box<dyn FnOnce() + Send + '_> {
        Box::new(move || {
            let mut seen = Vec::new();
            let done = program(kernel, &mut seen);
            told.lock().extend(seen.iter().filter(|s| is_guarded(s)).map(|_| format!("{name} read it")));
            if let Err(errno) = done
                && SPURIOUS.contains(&errno)
            {
                told.lock().push(format!("{name} failed with {errno}"));
            }
        })
    });
    schedule.run(threads.collect());
    let mut faults = faults.into_inner();
    faults.extend(
        tools::unjudged(kernel, &FILES).into_iter().map(|path| format!("{path} was not let through")),
    );
    afterwards(kernel, &policy, &place.path().join("stage/blobs"), &mut faults);
    faults
}

fn prepare(kernel: &Kernel, before: Before) {
    match before {
        Before::Nothing => {}
        Before::Moved => {
            for name in ["notes", "secret", "form"] {
                kernel.rename(name, "elsewhere").unwrap();
                kernel.rename("elsewhere", name).unwrap();
            }
        }
        Before::Own => {
            let fd = kernel.open("notes", O_RDWR).unwrap();
            kernel.close(fd);
        }
    }
}

/// Whatever happened: what may not be read is not readable under any name, the secret is as it was, and nothing is left
/// open or unnamed.
fn afterwards(kernel: &Kernel, policy: &Policy, blobs: &Path, faults: &mut Vec<String>) {
    let tree = &kernel.shared.tree;
    let mut secrets = BTreeSet::new();
    for (path, mode) in files(tree, "") {
        let mut seen = Vec::new();
        read(kernel, &path, 0, &mut seen).ok();
        faults.extend(seen.iter().filter(|s| is_guarded(s)).map(|_| "it is readable afterwards".to_owned()));
        if content(&tree.open_file(&path).unwrap().file) == SECRET {
            // By whatever names, it is one file.
            secrets.insert(format!("{:?}", tree.locate(&path).unwrap().identity().object));
            if mode & 0o777 != 0o640 {
                faults.push("the secret's mode was changed".to_owned());
            }
        }
    }
    if secrets.len() != 1 {
        faults.push(format!("the secret is there {} times", secrets.len()));
    }
    let named: BTreeSet<String> = tree
        .state
        .lock()
        .entries
        .values()
        .filter_map(crate::journal::blob_of)
        .map(|blob| blob.to_string())
        .collect();
    let kept: BTreeSet<String> = std::fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let leaks = [
        ("files that no entry names", named != kept),
        ("open handles", !kernel.shared.handles.read().is_empty()),
        ("waiting openings", !kernel.shared.waiting.lock().is_empty()),
        ("writers", !tree.state.lock().writers.is_empty()),
        ("nodes in use", kernel.shared.nodes.read().all().any(|(_, node)| node.open != 0)),
        ("decisions without an end", policy.open_decisions() != kernel.shared.nodes.read().waiting()),
    ];
    faults.extend(leaks.iter().filter(|(_, left)| *left).map(|(what, _)| format!("left: {what}")));
}

fn files(tree: &Tree, directory: &str) -> Vec<(String, u32)> {
    let mut all = Vec::new();
    let names = tree.list_in(&tree.state.lock(), directory).unwrap();
    for (name, seen) in names {
        let path = join(directory, &name);
        match seen.object.kind {
            ObjectKind::File => all.push((path, seen.mode)),
            ObjectKind::Dir => all.extend(files(tree, &path)),
            ObjectKind::Symlink | ObjectKind::Special => {}
        }
    }
    all
}

/// Whether what was read is, or has in it, what nobody may read.
fn is_guarded(bytes: &[u8]) -> bool {
    bytes != REDACTED && bytes.iter().any(|b| *b == SECRET[0] || *b == FORM[0])
}

fn read(kernel: &Kernel, path: &str, flags: u32, seen: &mut Vec<Vec<u8>>) -> Done<()> {
    let fd = kernel.open(path, flags)?;
    seen.push(kernel.read(fd)?);
    kernel.close(fd);
    Ok(())
}

fn list(kernel: &Kernel, path: &str, seen: &mut Vec<Vec<u8>>) -> Done<()> {
    let fd = kernel.open_dir(path)?;
    seen.extend(kernel.read_dir(fd)?);
    kernel.close_dir(fd);
    Ok(())
}

fn write(kernel: &Kernel, flags: u32) -> Done<()> {
    let fd = kernel.open("notes", flags)?;
    kernel.write(fd, 0, b"a")?;
    kernel.close(fd);
    Ok(())
}

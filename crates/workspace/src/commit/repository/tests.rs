//! Real git at its ordinary work, and what takes a repository away.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use super::super::looked::tests::Directory;
use super::*;

/// What the last command of `script` takes and brings, after the others.
fn lost_by(before: &str, script: &str) -> Option<BTreeSet<String>> {
    let directory = Directory::new(&[]);
    let (there, after) = (&directory.mount.source, tempfile::tempdir().unwrap());
    if !sh(there, &format!("{BEGIN}\n{before}")) {
        return None;
    }
    assert!(sh(there, &format!("cp -a . {0} && cd {0} && {script}", after.path().display())), "{script}");
    let (was, is) = (files(there), files(after.path()));
    let mut changes = Vec::new();
    for (path, text) in &is {
        match was.get(path) {
            None => changes.push(content(path, Op::Create, after.path())),
            Some(_) if after.path().join(path).is_dir() != there.join(path).is_dir() => {
                let kind = if there.join(path).is_dir() { Kind::Dir } else { Kind::File };
                changes.push(content(path, Op::Create, after.path()));
                changes.push(Change::blank(path.clone(), Op::Delete, kind));
            }
            Some(known) if known != text => {
                changes.push(content(path, Op::Modify, after.path()));
            }
            Some(_) => {}
        }
    }
    let gone = was.keys().filter(|path| !is.contains_key(*path));
    changes.extend(gone.map(|path| Change::blank(path.clone(), Op::Delete, Kind::File)));
    let staged = |change: &Change| {
        std::fs::File::open(after.path().join(&change.path)).ok().filter(|_| change.blob.is_some())
    };
    let objects = Objects::by(&directory.mount, &changes, &staged);
    let lost = Lost::by(&directory.mount, &changes, &objects);
    for change in changes.iter().filter(|c| c.op == Op::Delete) {
        assert_eq!(
            lost.has(change),
            lost.0.iter().any(|at| change.path.starts_with(at.as_str())),
            "{}",
            change.path
        );
    }
    Some(lost.0)
}

fn content(path: &str, op: Op, after: &Path) -> Change {
    let at = after.join(path);
    let kind = if at.is_dir() { Kind::Dir } else { Kind::File };
    let mut change = Change::blank(path.to_owned(), op, kind);
    change.blob = at.is_file().then(|| at.clone());
    change
}

/// The names of the repository in tables, where this git knows them; else a repository like the others.
const IN_TABLES: &str = "rm -rf .git; git init -q -b main --ref-format=reftable . || exit 3; \
     for n in 1 2 3; do echo $n > f && git add f && git commit -q -m $n; done";

const BEGIN: &str =
    "git init -q -b main . && for n in 1 2 3; do echo $n > f && git add f && git commit -q -m $n; done";

pub(in crate::commit) fn sh(at: &Path, script: &str) -> bool {
    let set = "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a \
               GIT_COMMITTER_EMAIL=a@example.org GIT_CONFIG_GLOBAL=/dev/null GIT_EDITOR=true; git --version >/dev/null";
    let run = Command::new("sh").args(["-c", &format!("{set}\n{script}")]).current_dir(at).output().unwrap();
    if !run.status.success() {
        println!("{script}: {}", String::from_utf8_lossy(&run.stderr));
    }
    run.status.success()
}

pub(in crate::commit) fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, Vec::new());
                todo.push(path);
            } else {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn has_git() -> bool {
    let has = Command::new("git").arg("--version").output().is_ok();
    if !has {
        println!("SKIPPED: no git");
    }
    has
}

#[test]
fn what_git_tidies_up_is_no_loss() {
    if !has_git() {
        return;
    }
    for (before, script) in [
        ("", "git gc -q --prune=now"),
        ("git gc -q; echo 4 > f; git commit -qam 4", "git gc -q --prune=now"),
        ("git branch x; git branch y", "git branch -d x y"),
        ("git branch x; git pack-refs --all", "git branch -d x"),
        ("", "git branch -m main trunk"),
        (
            "",
            "git checkout -q -b side && echo s > g && git add g && git commit -q -m s && git checkout -q main",
        ),
        ("git checkout -q -b side HEAD~1; echo s > g; git add g; git commit -q -m s", "git rebase -q main"),
        (
            "",
            "git commit -q --amend -m more && git reflog expire --expire=now --all && git prune --expire=now",
        ),
        ("echo s > f; git stash -q", "git stash drop -q"),
        ("git repack -q -d; echo 4 > f; git commit -qam 4; git repack -q -d", "git repack -q -a -d"),
        ("git repack -q -d; echo 4 > f; git commit -qam 4; git repack -q", "git prune-packed"),
        ("", "git pack-refs --all --prune"),
        ("", "git reset -q --hard HEAD~1"),
        ("git clone -q . sub; git -C sub gc -q", "git -C sub checkout -q -b x"),
        (IN_TABLES, "for n in 1 2 3 4 5 6; do git commit -q --allow-empty -m $n; done; git pack-refs"),
    ] {
        let lost = lost_by(before, script).expect(before);
        assert!(lost.is_empty(), "{before} / {script}: {lost:?}");
    }
}

#[test]
fn a_repository_that_goes_or_is_emptied_is_lost() {
    if !has_git() {
        return;
    }
    for (before, script, at) in [
        ("", "rm -rf .git", ".git"),
        ("git gc -q", "rm -rf .git", ".git"),
        ("", "rm .git/HEAD", ".git"),
        ("", "rm .git/config", ".git"),
        ("", "mv .git old", ".git"),
        ("", "rm -rf .git/objects", ".git"),
        ("", "rm -rf .git/objects/??", ".git"),
        // What cannot be deleted unasked cannot be made something else, either.
        ("", "rm .git/HEAD; mkdir .git/HEAD", ".git"),
        ("", "rm .git/config; mkdir .git/config", ".git"),
        ("", "rm .git/refs/heads/main; mkdir .git/refs/heads/main", ".git"),
        ("", "rm -rf .git/refs; echo > .git/refs", ".git"),
        ("", "rm -rf .git/objects; echo > .git/objects", ".git"),
        ("", "for o in .git/objects/??/*; do rm $o; mkdir $o; done", ".git"),
        ("git gc -q", "for p in .git/objects/pack/*; do rm -f $p; mkdir $p; done", ".git"),
        (IN_TABLES, "rm .git/reftable/tables.list; mkdir .git/reftable/tables.list", ".git"),
        ("git gc -q", "rm -f .git/objects/pack/*", ".git"),
        (
            "git repack -q -a -d",
            "old=$(ls .git/objects/pack/*); h=$(echo o | git hash-object -w --stdin); \
             echo $h | git pack-objects -q .git/objects/pack/pack > /dev/null; rm -rf $old .git/objects/??",
            ".git",
        ),
        ("", "rm -rf .git/refs", ".git"),
        (
            "git branch topic HEAD~1; git pack-refs --all",
            "printf '# pack-refs with: peeled\\n' > .git/packed-refs",
            ".git",
        ),
        ("", "printf 'ref: refs/heads/none\\n' > .git/HEAD && rm .git/refs/heads/main", ".git"),
        ("", "rm -rf .git/refs/heads/*", ".git"),
        ("", "rm -rf .git && git init -q -b main . && git add f && git commit -q -m 1", ".git"),
        (IN_TABLES, "rm -f .git/reftable/*.ref", ".git"),
        (IN_TABLES, "rm -rf .git/reftable", ".git"),
        ("git clone -q . sub", "rm -rf sub", "sub/.git"),
        ("git clone -q --bare . there.git", "rm -rf there.git/objects", "there.git"),
        (
            "mkdir -p .git/modules; git clone -q --bare . .git/modules/m",
            "rm -rf .git/modules/m",
            ".git/modules/m",
        ),
    ] {
        let lost = lost_by(before, script).expect(before);
        assert_eq!(lost.iter().map(String::as_str).collect::<Vec<_>>(), [at], "{before} / {script}");
    }
}

/// What is staged beside what the user has, of a repository whose directory has another name.
#[test]
fn a_repository_is_known_by_what_is_in_it_whatever_its_directory_is_called() {
    let directory = Directory::new(&[
        (".bare/HEAD", "ref: refs/heads/main\n"),
        ("store.git/HEAD", "ref: refs/heads/main\n"),
        ("a/.git/HEAD", "ref: refs/heads/main\n"),
        ("innocent/HEAD", "x"),
    ]);
    for at in [".bare", "store.git", "a/.git"] {
        for name in ["objects", "refs"] {
            std::fs::create_dir_all(directory.mount.source.join(at).join(name)).unwrap();
        }
    }
    let made = |path: &str, kind| Change::blank(path.to_owned(), Op::Create, kind);
    let comes = [
        ("new/HEAD", Kind::File),
        ("new/objects", Kind::Dir),
        ("new/refs", Kind::Dir),
        ("half/HEAD", Kind::File),
    ];
    let named = [
        (
            ".bare/worktrees/x/rebase-merge/git-rebase-todo",
            ".bare/.git/worktrees/x/rebase-merge/git-rebase-todo",
        ),
        ("store.git/info/exclude", "store.git/.git/info/exclude"),
        ("new/config", "new/.git/config"),
        ("a/.git/index", "a/.git/index"),
        ("innocent/config", "innocent/config"),
        ("half/config", "half/config"),
    ];
    let mut changes: Vec<Change> = named.map(|(path, _)| made(path, Kind::File)).into();
    changes.extend(comes.map(|(path, kind)| made(path, kind)));
    let others = Others::around(&directory.mount, &changes);
    for (path, expected) in named {
        assert_eq!(others.as_git(path), expected);
        assert_eq!(others.place(expected), path);
    }
}

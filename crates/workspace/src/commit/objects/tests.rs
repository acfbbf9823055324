//! Objects, packs and names that real git writes, and the same with a lie in them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::looked::tests::Directory;
use super::super::repository::tests::{files, sh};
use super::*;

const BEGIN: &str = "git init -q -b main .; seq 1 400 > f; git add f; git commit -q -m 1; \
     for n in 2 3 4; do seq $n 400 > f; echo $n > g$n; git add .; git commit -q -m $n; done";

/// What `script` changes after `before`, with what is asked about of it.
fn asked(before: &str, script: &str) -> Option<Vec<String>> {
    let directory = Directory::new(&[]);
    let (there, after) = (&directory.mount.source, tempfile::tempdir().unwrap());
    if !sh(there, &format!("{BEGIN}\n{before}")) {
        return None;
    }
    assert!(sh(there, &format!("cp -a . {0} && cd {0} && {script}", after.path().display())), "{script}");
    let changes = changes(&files(there), after.path());
    let staged = |change: &Change| change.blob.as_ref().and_then(|at| File::open(at).ok());
    let objects = Objects::by(&directory.mount, &changes, &staged);
    let is_bad = |change: &&Change| {
        let Some(content) = staged(change) else { return false };
        let path = change.path.as_str();
        objects.is_unsound(change, &content) == Some(true)
            || objects.names_nothing(path, &content)
            || path.ends_with("/shallow") && objects.cuts(path, &content)
    };
    let carried = changes.iter().filter(|change| !is_derived(change));
    Some(carried.filter(is_bad).map(|change| change.path.clone()).collect())
}

pub fn changes(was: &BTreeMap<String, Vec<u8>>, after: &Path) -> Vec<Change> {
    let mut changes = Vec::new();
    let is = files(after);
    for (path, text) in &is {
        let at: PathBuf = after.join(path);
        let op = if was.contains_key(path) { Op::Modify } else { Op::Create };
        if at.is_file() && was.get(path) != Some(text) {
            let mut change = Change::blank(path.clone(), op, Kind::File);
            change.blob = Some(at);
            changes.push(change);
        }
    }
    let gone = was.keys().filter(|path| !is.contains_key(*path));
    changes.extend(gone.map(|path| Change::blank(path.clone(), Op::Delete, Kind::File)));
    changes
}

#[test]
fn what_git_writes_is_what_its_names_say() {
    let has_git = std::process::Command::new("git").arg("--version").output().is_ok();
    if !has_git {
        println!("SKIPPED what_git_writes_is_what_its_names_say: no git");
        return;
    }
    for (before, script) in [
        ("", "git gc -q --prune=now"),
        ("git gc -q", "git commit -q --allow-empty -m 5; git gc -q"),
        ("", "git repack -q -a -d --depth=50 --window=50; git pack-refs --all; git maintenance run --quiet"),
        ("", "git repack -q -a -d -f"),
        ("git branch x HEAD~1", "git branch -d x -q; git stash -q 2>/dev/null; echo 9 > f; git stash -q"),
        ("", "git checkout -q -b s HEAD~2; echo s > s; git add s; git commit -q -m s; git rebase -q main"),
        (
            "git clone -q . other; (cd other; git commit -q --allow-empty -m o; seq 1 9 > n; git add n; git commit -q -m n)",
            "git -c fetch.unpackLimit=1 fetch -q ./other main:side",
        ),
        ("git clone -q --no-local --depth 1 . sub", "git -C sub fetch -q --depth 2"),
        ("", "git clone -q --no-local --depth 1 . sub; git clone -q --no-local --bare . bare.git"),
        (
            "git init -q --object-format=sha256 s; (cd s; echo a > a; git add .; git commit -q -m a)",
            "cd s; seq 1 99 > b; git add .; git commit -q -m b; git gc -q",
        ),
        (
            "",
            "git worktree add -q wt HEAD~1; git checkout -q --orphan o; git notes add -m x main; git tag -a v1 -m v main",
        ),
        ("", "git commit-graph write --reachable; git repack -q -adb; git multi-pack-index write"),
    ] {
        let asked = asked(before, script).unwrap_or_else(|| panic!("{before}"));
        assert!(asked.is_empty(), "{before} / {script}: {asked:?}");
    }
}

#[test]
fn an_object_pack_index_or_name_that_says_something_else_is_seen() {
    let has_git = std::process::Command::new("git").arg("--version").output().is_ok();
    if !has_git {
        println!("SKIPPED an_object_pack_index_or_name_that_says_something_else_is_seen: no git");
        return;
    }
    let forged = "python3 - <<'X'\nimport glob, hashlib, os\np = max(glob.glob('.git/objects/pack/*.idx'), key=os.path.getmtime)\nd = bytearray(open(p, 'rb').read())\nd[1033] ^= 1\nd[-20:] = hashlib.sha1(d[:-20]).digest()\nos.chmod(p, 0o644)\nopen(p, 'wb').write(d)\nX";
    for (before, script, part) in [
        (
            "git repack -q -ad",
            "chmod +w .git/objects/pack/*; head -c 900 /dev/urandom > $(ls .git/objects/pack/*.pack)",
            ".pack",
        ),
        (
            "git repack -q -ad",
            "chmod +w .git/objects/pack/*; printf x >> $(ls .git/objects/pack/*.idx)",
            ".idx",
        ),
        ("", &format!("git repack -q -ad; {forged}"), ".idx"),
        ("", "git repack -q -ad; rm .git/objects/pack/*.idx", ".pack"),
        (
            "",
            "git repack -q -ad; chmod +w .git/objects/pack/*; printf x >> $(ls .git/objects/pack/*.pack)",
            ".pack",
        ),
        (
            "",
            "mkdir -p .git/objects/ab; cp $(find .git/objects -type f -name '????????*' | head -1) .git/objects/ab/12345678901234567890123456789012345678",
            "objects/ab",
        ),
        (
            "",
            "mkdir -p .git/objects/ab; echo x > .git/objects/ab/12345678901234567890123456789012345678",
            "objects/ab",
        ),
        (
            "",
            "f=$(find .git/objects -type f -name '????????*' | head -1); chmod +w $f; printf x >> $f",
            "objects/",
        ),
        ("", "printf '%040d\\n' 0 > .git/refs/heads/main", "refs/heads/main"),
        ("", "echo 1234567890123456789012345678901234567890 > .git/refs/heads/main", "refs/heads/main"),
        ("", "echo garbage > .git/refs/heads/main", "refs/heads/main"),
        ("", "echo ref: ../../x > .git/HEAD", "HEAD"),
        (
            "",
            "git pack-refs --all; sed -i 's/^[0-9a-f]*/1234567890123456789012345678901234567890/' .git/packed-refs",
            "packed-refs",
        ),
        ("", "git rev-parse HEAD~1 > .git/shallow", "shallow"),
        ("", "echo garbage > .git/shallow", "shallow"),
    ] {
        let asked = asked(before, script).unwrap_or_else(|| panic!("{before}"));
        assert!(asked.iter().any(|path| path.contains(part)), "{before} / {script}: {asked:?}");
    }
}

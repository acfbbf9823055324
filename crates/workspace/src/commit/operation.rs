//! What git is in the middle of: a rebase, a merge, a work tree that is being made. Its state is in several files, and with half of
//! them git is in the middle of something that nobody began; so they are carried together, or stay together.
//!
//! Source: gitrepository-layout(5), git-rebase(1), git-worktree(1).

use std::collections::BTreeSet;
use std::fs::File;

use chaperone_staging::{Change, Kind, Op};

use super::own;
use crate::mount::LiveMount;

/// Bytes of a file of steps that are looked at.
const STEPS_BYTES: usize = 1 << 20;
/// Directories of the state of one operation, in a repository.
const STATES: &[&str] = &["rebase-merge/", "rebase-apply/", "sequencer/"];
/// What each of them has from its beginning.
const NEEDS: &[(&str, &[&str])] = &[
    ("rebase-merge", &["head-name", "onto"]),
    ("rebase-apply", &["next", "last"]),
    ("sequencer", &["todo"]),
];
/// What moves with it.
const WITH_IT: &[&str] = &[
    "HEAD",
    "index",
    "ORIG_HEAD",
    "REBASE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "MERGE_HEAD",
    "MERGE_MSG",
    "MERGE_MODE",
    "AUTO_MERGE",
    "SQUASH_MSG",
    "logs/HEAD",
];
/// Files of the state that say where it is and what it holds; the commands and options of others run something.
const DATA: &[&str] = &[
    "head-name",
    "onto",
    "orig-head",
    "msgnum",
    "end",
    "message",
    "message-squash",
    "message-fixup",
    "patch",
    "author-script",
    "stopped-sha",
    "interactive",
    "amend",
    "autostash",
    "quiet",
    "squash-onto",
    "squash_onto",
    "rewritten-list",
    "rewritten-pending",
    "current-fixups",
    "no-reschedule-failed-exec",
    "reschedule-failed-exec",
    "drop_redundant_commits",
    "keep_redundant_commits",
    "cdate_is_adate",
    "ignore_date",
    "allow_rerere_autoupdate",
    "verbose",
    "signoff",
    "refs-to-delete",
    "update-refs",
    "head",
    "abort-safety",
    "next",
    "last",
    "rebasing",
    "applying",
    "threeway",
    "final-commit",
    "dirtyindex",
];
/// Files of steps, and steps that run nothing but git's own.
const STEPS: &[&str] = &["git-rebase-todo", "git-rebase-todo.backup", "done", "todo"];
const OWN_STEPS: &[&str] = &[
    "pick",
    "p",
    "reword",
    "r",
    "edit",
    "e",
    "squash",
    "s",
    "fixup",
    "f",
    "drop",
    "d",
    "label",
    "l",
    "reset",
    "t",
    "merge",
    "m",
    "noop",
    "break",
    "b",
    "update-ref",
    "u",
    "revert",
];

/// Of one commit: which repositories have an operation that cannot be carried whole.
#[derive(Debug, Default)]
pub(super) struct Operations {
    held: BTreeSet<String>,
}

impl Operations {
    pub fn by(mount: &LiveMount, changes: &[Change], staged: &dyn Fn(&Change) -> Option<File>) -> Self {
        let brings: BTreeSet<&str> =
            changes.iter().filter(|c| c.op != Op::Delete).map(|c| c.path.as_str()).collect();
        // A state that begins without what git itself always puts there.
        let is_half = |change: &&Change| {
            let needs = NEEDS.iter().find(|(state, _)| change.path.ends_with(&format!(".git/{state}")));
            let is_new = change.kind == Kind::Dir && change.op != Op::Delete;
            needs.filter(|_| is_new).is_some_and(|(_, names)| {
                let has = |name: &&str| {
                    let path = format!("{}/{name}", change.path);
                    brings.contains(path.as_str()) || own::open(mount, &path).is_some()
                };
                !names.iter().all(has)
            })
        };
        let halves = changes.iter().filter(is_half).filter_map(|c| c.path.rsplit_once('/'));
        let halves = halves.map(|(git, _)| git.to_owned());
        let stays = |change: &&Change| {
            change.op != Op::Delete
                && change.kind != Kind::Dir
                && state(&change.path).is_some()
                && !staged(change).is_some_and(|content| is_inert(change, &content))
        };
        // Where another work tree is says a path, which git follows.
        let of_state = |change: &Change| state(&change.path).map(|(git, _)| git.to_owned());
        let of_tree = |change: &Change| {
            let is_new = change.op == Op::Create && change.kind != Kind::Dir;
            let (git, name) = change.path.rsplit_once('/').filter(|_| is_new)?;
            let (up, _) = git.rsplit_once('/')?;
            let is_one = up.ends_with(".git/worktrees") && matches!(name, "gitdir" | "commondir");
            is_one.then(|| git.to_owned())
        };
        let held =
            changes.iter().filter(stays).filter_map(of_state).chain(changes.iter().filter_map(of_tree));
        let held = held.chain(halves);
        Self { held: held.collect() }
    }

    /// Whether the change is of such an operation, and stays with the rest of it.
    pub fn holds(&self, path: &str) -> bool {
        self.held.iter().any(|git| {
            let Some(inside) = path.strip_prefix(git.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
                return false;
            };
            git.contains(".git/worktrees/")
                || WITH_IT.contains(&inside)
                || STATES
                    .iter()
                    .any(|state| inside.starts_with(state) || state.trim_end_matches('/') == inside)
        })
    }
}

/// Whether it is plain state of an operation: no command, no option, no program.
pub(super) fn is_inert(change: &Change, content: &File) -> bool {
    let Some((_, name)) = state(&change.path) else { return false };
    if change.kind != Kind::File || change.op == Op::Rename || change.mode & 0o111 != 0 {
        return false;
    }
    if STEPS.contains(&name) {
        let text = own::read(content, STEPS_BYTES + 1).filter(|bytes| bytes.len() <= STEPS_BYTES);
        return text.and_then(|bytes| String::from_utf8(bytes).ok()).is_some_and(|text| are_own(&text));
    }
    // Patches have numbers.
    DATA.contains(&name) || name.len() == 4 && name.bytes().all(|b| b.is_ascii_digit())
}

fn are_own(steps: &str) -> bool {
    steps.lines().all(|line| {
        let line = line.trim();
        line.is_empty()
            || line.starts_with('#')
            || line.split_whitespace().next().is_some_and(|step| OWN_STEPS.contains(&step))
    })
}

/// The repository and the name of a file in the state of an operation.
fn state(path: &str) -> Option<(&str, &str)> {
    let at = path.rfind(".git/")?;
    let place = |state: &&str| path.get(at..)?.find(&format!("/{state}")).map(|found| at + found);
    let (begin, state) = STATES.iter().find_map(|state| place(state).map(|begin| (begin, state)))?;
    Some((path.get(..begin)?, path.get(begin + 1 + state.len()..)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::*;

    fn made(path: &str) -> Change {
        let mut change = Change::blank(path.to_owned(), Op::Create, Kind::File);
        change.mode = 0o644;
        change
    }

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn steps_of_gits_own_are_state_and_commands_are_not() {
        let is = |name: &str, text: &str| is_inert(&made(&format!("a/.git/{name}")), &file(text));
        assert!(is("rebase-merge/git-rebase-todo", "pick 12ab x\n\n# exec is a comment\nfixup -C 34cd y\n"));
        assert!(
            is("worktrees/x/rebase-merge/done", "label onto\nmerge -C 12 a # x\n")
                && is("sequencer/todo", "pick 12 x\n")
        );
        assert!(is("rebase-merge/head-name", "refs/heads/x\n") && is("rebase-apply/0001", "From x\n"));
        for (name, text) in [
            ("rebase-merge/git-rebase-todo", "pick 12ab x\n exec sh x\n"),
            ("rebase-merge/git-rebase-todo", "x sh x\n"),
            ("rebase-merge/strategy", "x\n"),
            ("rebase-merge/gpg_sign_opt", "-Sx\n"),
            ("sequencer/opts", "[options]\n"),
            ("rebase-merge/a/head-name", "x"),
            ("hooks/rebase", "x"),
        ] {
            assert!(!is(name, text), "{name} {text}");
        }
    }

    #[test]
    fn an_operation_moves_as_one() {
        let directory = Directory::new(&[]);
        let changes = [
            "HEAD",
            "index",
            "rebase-merge/git-rebase-todo",
            "rebase-merge/onto",
            "refs/heads/x",
            "objects/ab/cd",
        ]
        .map(|name| made(&format!(".git/{name}")));
        let by = |steps: &str| {
            let staged =
                |change: &Change| Some(file(if change.path.ends_with("todo") { steps } else { "x" }));
            let operations = Operations::by(&directory.mount, &changes, &staged);
            changes.iter().filter(|c| operations.holds(&c.path)).count()
        };
        assert_eq!((by("pick 12 x\n"), by("exec sh\n")), (0, 4));
        let tree = ["worktrees/x/gitdir", "worktrees/x/HEAD", "worktrees/x/index", "HEAD"]
            .map(|name| made(&format!(".git/{name}")));
        let operations = Operations::by(&directory.mount, &tree, &|_| None);
        assert_eq!(tree.iter().filter(|c| operations.holds(&c.path)).count(), 3);
    }

    #[test]
    fn a_state_of_nothing_is_a_half() {
        let directory = Directory::new(&[]);
        let folder = |name: &str| Change { kind: Kind::Dir, ..made(&format!(".git/{name}")) };
        let by = |changes: &[Change]| {
            let operations = Operations::by(&directory.mount, changes, &|_| Some(file("x")));
            changes.iter().filter(|c| operations.holds(&c.path)).count()
        };
        let part = |name: &str| made(&format!(".git/rebase-merge/{name}"));
        assert_eq!((by(&[folder("rebase-merge")]), by(&[folder("sequencer")])), (1, 1));
        assert_eq!(by(&[folder("rebase-merge"), part("message")]), 2);
        assert_eq!(by(&[folder("rebase-merge"), part("head-name"), part("onto")]), 0);
    }
}

//! What git is in the middle of: a rebase, a merge, a work tree that is being made. Its state is in several files, and with half of
//! them git is in the middle of something that nobody began; so they are carried together, or stay together.
//!
//! Source: gitrepository-layout(5), git-rebase(1), git-worktree(1).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::LazyLock;

use chaperone_staging::{Change, Kind, Op, Together};
use serde::Deserialize;

use super::repository::Others;
use super::seen::Seen;
use super::{git, index, own};
use crate::mount::LiveMount;

/// Bytes of a file of steps that are looked at.
const STEPS_BYTES: usize = 1 << 20;
/// Bytes of a path.
const PATH_BYTES: usize = 4096;
static KNOWN: LazyLock<Known> = LazyLock::new(|| chaperone_packs::table("packs/git_operations.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    operation: Vec<Operation>,
    /// Names in the repository that move with any of them.
    with_it: Vec<String>,
    /// Files of their state that say where it is and what it holds.
    data: Vec<String>,
    /// What a bisection leaves in the repository.
    bisection: Vec<String>,
    /// Files of steps, and the steps of git's own.
    steps: Vec<String>,
    own_steps: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    /// The directory of its state, in a repository.
    state: String,
    /// What that has from its beginning.
    needs: Vec<String>,
}

/// Of what is staged: which repositories have an operation that cannot be carried whole.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// Those of which the state of an operation comes at all.
    whole: BTreeSet<String>,
    /// Where new work trees say which repository they are of, by that.
    trees: BTreeMap<String, String>,
    held: BTreeSet<String>,
    /// Those whose names are in tables that refer to each other, of which some come.
    tables: BTreeSet<String>,
    /// Those of which a shared part of the index comes that hides something: the index names it.
    indices: BTreeSet<String>,
    others: Others,
}

impl Operations {
    /// Of these changes; paths are those that they would have in a directory called `.git`.
    pub fn by(
        (mount, others): (&LiveMount, &Others),
        changes: &[Change],
        staged: &dyn Fn(&Change) -> Option<File>,
    ) -> Self {
        if others.is_empty() {
            return Self::named(mount, changes, &|path| own::open(mount, path).is_some(), staged);
        }
        let as_git = |change: &Change| Change {
            path: others.as_git(&change.path).into_owned(),
            from: change.from.as_ref().map(|from| others.as_git(from).into_owned()),
            ..change.clone()
        };
        let named: Vec<Change> = changes.iter().map(as_git).collect();
        let is_there = |path: &str| own::open(mount, &others.place(path)).is_some();
        let as_is = |change: &Change| {
            staged(&Change { path: others.place(&change.path).into_owned(), ..change.clone() })
        };
        Self { others: others.clone(), ..Self::named(mount, &named, &is_there, &as_is) }
    }

    fn named(
        mount: &LiveMount,
        changes: &[Change],
        is_there: &dyn Fn(&str) -> bool,
        staged: &dyn Fn(&Change) -> Option<File>,
    ) -> Self {
        let brings: BTreeSet<&str> =
            changes.iter().filter(|c| c.op != Op::Delete).map(|c| c.path.as_str()).collect();
        // A state that begins without what git itself always puts there.
        let is_half = |change: &&Change| {
            let is_of = |o: &&Operation| change.path.ends_with(&format!(".git/{}", o.state));
            let operation = KNOWN.operation.iter().find(is_of);
            let is_new = change.kind == Kind::Dir && change.op != Op::Delete;
            operation.filter(|_| is_new).is_some_and(|operation| {
                let has = |name: &String| {
                    let path = format!("{}/{name}", change.path);
                    brings.contains(path.as_str()) || is_there(&path)
                };
                !operation.needs.iter().all(has)
            })
        };
        let halves = changes.iter().filter(is_half).filter_map(|c| c.path.rsplit_once('/'));
        let halves = halves.map(|(git, _)| git.to_owned());
        let stays = |change: &&Change| {
            change.op != Op::Delete
                && change.kind != Kind::Dir
                && state(&change.path).is_some()
                && !staged(change).is_some_and(|content| is_inert(change, &change.path, &content))
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
        let comes = |change: &&Change| change.op != Op::Delete;
        let whole = changes.iter().filter(comes).filter_map(of_state);
        let trees = changes.iter().filter_map(|change| {
            let git = of_tree(change).filter(|_| change.path.ends_with("/gitdir"))?;
            let text = own::read(&staged(change)?, PATH_BYTES)?;
            Some((below(mount, &git, std::str::from_utf8(&text).ok()?.trim_end())?, git))
        });
        let held =
            changes.iter().filter(stays).filter_map(of_state).chain(changes.iter().filter_map(of_tree));
        let held = held.chain(halves);
        let brought = || changes.iter().filter(|c| c.op != Op::Delete && c.kind != Kind::Dir);
        let tables = brought().filter_map(|change| around_table(&change.path)).map(str::to_owned);
        let hides = |change: &&Change| {
            let content = staged(change).and_then(|content| own::read(&content, index::LARGEST as usize));
            content.is_none_or(|content| git::hides_more(&change.path, &content, &[]))
        };
        let shared = brought().filter_map(|change| Some((git::shared_index(&change.path)?, change)));
        let indices = shared.filter(|(_, change)| hides(change)).map(|(at, _)| at.to_owned());
        Self {
            whole: whole.collect(),
            trees: trees.collect(),
            held: held.collect(),
            tables: tables.collect(),
            indices: indices.collect(),
            others: Others::default(),
        }
    }

    /// Whether what has this name in a directory called `.git` is of such an operation, and stays with the rest of it.
    pub fn holds(&self, path: &str) -> bool {
        self.held_with(path).is_some()
    }

    fn held_with<'s>(&'s self, path: &'s str) -> Option<&'s str> {
        let table = around_table(path).filter(|git| self.tables.contains(*git));
        let index = path.strip_suffix("/index").filter(|git| self.indices.contains(*git));
        let of_tree = self.trees.get(path).map(String::as_str);
        table
            .or(index)
            .or(of_tree)
            .or_else(|| self.held.iter().find(|git| is_of(git, path)).map(String::as_str))
    }

    /// The repository of which the change is carried with others, or not at all.
    fn unit<'s>(&'s self, path: &'s str) -> Option<&'s str> {
        self.held_with(path).or_else(|| self.whole.iter().find(|git| is_of(git, path)).map(String::as_str))
    }

    /// Of all that is staged, what is committed together or stays together; `chosen` are to be committed.
    pub fn together(&self, seen: &Seen<'_>, all: &[Change], chosen: &BTreeSet<&str>) -> Together {
        let mut together = Together::default();
        for change in all {
            let named = self.others.as_git(&change.path);
            let Some(unit) = self.unit(&named) else { continue };
            let path = seen.own(change).path;
            let is_chosen = chosen.contains(path.as_str());
            together.add(path, unit, is_chosen);
        }
        together
    }
}

/// Whether a path is of the operation that the repository is in.
fn is_of(git: &str, path: &str) -> bool {
    let inside = path.strip_prefix(git).and_then(|rest| rest.strip_prefix('/'));
    inside.is_some_and(|inside| {
        git.contains(".git/worktrees/")
            || KNOWN.with_it.iter().any(|name| name == inside)
            || KNOWN.operation.iter().any(|operation| {
                let below = inside.strip_prefix(operation.state.as_str());
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            })
    })
}

/// A place of the mount, as the agent's git or the user's names it, or as it is found from `folder`.
fn below(mount: &LiveMount, folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        let mut roots = [mount.at.as_str(), mount.source.to_str()?].into_iter();
        return roots.find_map(|at| Some(path.strip_prefix(at)?.strip_prefix('/')?.to_owned()));
    }
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The repository whose names are in tables (`extensions.refStorage`), of which this is one, or their list.
fn around_table(path: &str) -> Option<&str> {
    let (git, _) = path.rsplit_once("/reftable/")?;
    git.ends_with(".git").then_some(git)
}

/// Whether it is plain state of an operation: no command, no option, no program.
pub(super) fn is_inert(change: &Change, path: &str, content: &File) -> bool {
    if change.kind != Kind::File || change.op == Op::Rename || change.mode & 0o111 != 0 {
        return false;
    }
    let text = || {
        let bytes = own::read(content, STEPS_BYTES + 1).filter(|bytes| bytes.len() <= STEPS_BYTES)?;
        String::from_utf8(bytes).ok()
    };
    if is_of_bisection(path) {
        // What is checked out at its end is a word of git's, which is no option.
        return text().is_some_and(|text| says_no_command(&text) && !text.starts_with('-'));
    }
    let Some((_, name)) = state(path) else { return false };
    let is_one_of = |names: &[String]| names.iter().any(|known| known == name);
    if is_one_of(&KNOWN.steps) {
        return text().is_some_and(|text| are_own(&text));
    }
    // Patches have numbers.
    is_one_of(&KNOWN.data) || name.len() == 4 && name.bytes().all(|b| b.is_ascii_digit())
}

/// Whether it is what a bisection leaves in a repository, in that of a submodule, or in the directory of a work tree.
fn is_of_bisection(path: &str) -> bool {
    path.rsplit_once(".git/").is_some_and(|(_, inside)| {
        let (up, name) = inside.rsplit_once('/').unwrap_or(("", inside));
        let is_repository = up.is_empty() || up.starts_with("modules/") || up.starts_with("worktrees/");
        is_repository && KNOWN.bisection.iter().any(|known| known == name)
    })
}

/// Whether a shell that took each line would do no more than call git with these words. Comments hold subjects of commits.
fn says_no_command(text: &str) -> bool {
    let speaks = |line: &str| line.contains(['$', '`', ';', '|', '&', '<', '>', '(', ')', '\\', '\r', '\0']);
    text.lines().all(|line| line.starts_with('#') || !speaks(line))
}

fn are_own(steps: &str) -> bool {
    steps.lines().all(|line| {
        let line = line.trim();
        line.is_empty()
            || line.starts_with('#')
            || line
                .split_whitespace()
                .next()
                .is_some_and(|step| KNOWN.own_steps.iter().any(|own| own == step))
    })
}

/// The repository and the name of a file in the state of an operation.
fn state(path: &str) -> Option<(&str, &str)> {
    let at = path.rfind(".git/")?;
    KNOWN.operation.iter().find_map(|operation| {
        let place = format!("/{}/", operation.state);
        let begin = at + path.get(at..)?.find(&place)?;
        Some((path.get(..begin)?, path.get(begin + place.len()..)?))
    })
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
        let is = |name: &str, text: &str| {
            let change = made(&format!("a/.git/{name}"));
            is_inert(&change, &change.path, &file(text))
        };
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
    fn tables_of_names_and_a_shared_index_that_hides_move_as_one() {
        let directory = Directory::new(&[]);
        let table = |name: &str| made(&format!("a/.git/reftable/{name}"));
        let gone = Change::blank("a/.git/reftable/old.ref".to_owned(), Op::Delete, Kind::File);
        let comes = [table("new.ref"), table("tables.list"), gone.clone(), made("a/.git/HEAD")];
        let held = |changes: &[Change], text: &str| {
            let operations =
                Operations::by((&directory.mount, &Others::default()), changes, &|_| Some(file(text)));
            changes.iter().filter(|c| operations.holds(&c.path)).count()
        };
        assert_eq!((held(&comes, "x"), held(&[gone], "x")), (3, 0));
        let parts = [made(".git/sharedindex.12ab"), made(".git/index"), made("b/.git/index")];
        // An index of version 2 without entries.
        let empty = "DIRC\0\0\0\u{2}\0\0\0\0aaaaaaaaaaaaaaaaaaaa";
        assert_eq!((held(&parts, "no index"), held(&parts, empty)), (1, 0));
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
            let operations = Operations::by((&directory.mount, &Others::default()), &changes, &staged);
            changes.iter().filter(|c| operations.holds(&c.path)).count()
        };
        assert_eq!((by("pick 12 x\n"), by("exec sh\n")), (0, 4));
        let tree = ["worktrees/x/gitdir", "worktrees/x/HEAD", "worktrees/x/index", "HEAD"]
            .map(|name| made(&format!(".git/{name}")));
        let operations = Operations::by((&directory.mount, &Others::default()), &tree, &|_| None);
        assert_eq!(tree.iter().filter(|c| operations.holds(&c.path)).count(), 3);
    }

    #[test]
    fn a_bisection_is_plain_as_long_as_it_says_no_command() {
        let inert = |path: &str, text: &str| is_inert(&made(path), path, &file(text));
        let log = "# bad: [12ab] Mend `x` && y; $(z)\n# good: [34cd] a\ngit bisect start 'HEAD' 'v1.0'\ngit bisect bad 12ab\n";
        for (path, text) in [
            (".git/BISECT_LOG", log),
            (".git/BISECT_START", "main\n"),
            (".git/BISECT_NAMES", " 'src' 'docs'\n"),
            (".git/BISECT_TERMS", "bad\ngood\n"),
            ("a/.git/worktrees/x/BISECT_EXPECTED_REV", "12ab\n"),
            (".git/modules/x/BISECT_ANCESTORS_OK", ""),
        ] {
            assert!(inert(path, text), "{path}");
        }
        for (path, text) in [
            (".git/BISECT_NAMES", "'$(touch x)'\n"),
            (".git/BISECT_LOG", "git bisect start; touch x\n"),
            (".git/BISECT_TERMS", "bad`x`\n"),
            (".git/hooks/BISECT_LOG", log),
            (".git/BISECT_OTHER", ""),
            ("BISECT_LOG", log),
        ] {
            assert!(!inert(path, text), "{path}: {text}");
        }
        assert!(inert(".git/BISECT_START", "main\n") && !inert(".git/BISECT_START", "-f\n"));
        assert!(!is_inert(&Change { mode: 0o755, ..made(".git/BISECT_LOG") }, ".git/BISECT_LOG", &file(log)));
    }

    #[test]
    fn where_a_work_tree_says_what_it_is_of_belongs_to_it() {
        let directory = Directory::new(&[]);
        let (at, source) = (directory.mount.at.clone(), directory.mount.source.display().to_string());
        let changes = [".git/worktrees/x/gitdir", "trees/x/.git", "trees/y/.git", "HEAD"].map(made);
        let held = |link: &str| {
            let staged = |change: &Change| change.path.ends_with("gitdir").then(|| file(link));
            let operations = Operations::by((&directory.mount, &Others::default()), &changes, &staged);
            changes.iter().map(|c| operations.holds(&c.path)).collect::<Vec<_>>()
        };
        for link in [
            format!("{at}/trees/x/.git\n"),
            format!("{source}/trees/x/.git\n"),
            "../../../trees/x/.git\n".into(),
        ] {
            assert_eq!(held(&link), [true, true, false, false], "{link}");
        }
        assert_eq!(held("../../../../trees/x/.git\n"), [true, false, false, false]);
    }

    #[test]
    fn a_state_of_nothing_is_a_half() {
        let directory = Directory::new(&[]);
        let folder = |name: &str| Change { kind: Kind::Dir, ..made(&format!(".git/{name}")) };
        let by = |changes: &[Change]| {
            let operations =
                Operations::by((&directory.mount, &Others::default()), changes, &|_| Some(file("x")));
            changes.iter().filter(|c| operations.holds(&c.path)).count()
        };
        let part = |name: &str| made(&format!(".git/rebase-merge/{name}"));
        assert_eq!((by(&[folder("rebase-merge")]), by(&[folder("sequencer")])), (1, 1));
        assert_eq!(by(&[folder("rebase-merge"), part("message")]), 2);
        assert_eq!(by(&[folder("rebase-merge"), part("head-name"), part("onto")]), 0);
    }
}

//! Which changes the user named.

use std::collections::BTreeSet;

use chaperone_staging::{Change, Kind, Op};

use super::dependencies;
use crate::mount::LiveMount;

/// The named changes, each with the new directories that it stands in, in their order.
pub(super) fn of(mount: &LiveMount, all: &[Change], wanted: &[String]) -> Vec<Change> {
    let named: BTreeSet<String> =
        all.iter().filter(|c| chosen(mount, c, wanted)).map(|c| c.path.clone()).collect();
    let holds_one = |change: &Change| {
        let below = format!("{}/", change.path);
        makes_directory(change)
            && named.range(below.clone()..).next().is_some_and(|path| path.starts_with(&below))
    };
    all.iter().filter(|c| chosen(mount, c, wanted) || holds_one(c)).cloned().collect()
}

/// Whether the user named exactly this change, or it is a new directory that a named one stands in.
pub(super) fn is_named(mount: &LiveMount, change: &Change, wanted: &[String]) -> bool {
    let is_it = |path: &str| {
        path == change.path
            || makes_directory(change)
                && path.strip_prefix(&change.path).is_some_and(|rest| rest.starts_with('/'))
    };
    wanted.iter().any(|path| relative(mount, path).is_some_and(|path| is_it(&path)))
}

fn makes_directory(change: &Change) -> bool {
    change.kind == Kind::Dir && change.op == Op::Create
}

/// Whether the user named the change, or a directory above it, by the new or the old name.
pub(super) fn chosen(mount: &LiveMount, change: &Change, wanted: &[String]) -> bool {
    has(mount, &change.path, wanted) || change.from.as_deref().is_some_and(|from| has(mount, from, wanted))
}

/// Whether the user named this path of the mount, or a directory above it.
pub(super) fn has(mount: &LiveMount, path: &str, wanted: &[String]) -> bool {
    let is_in = |folder: &str| {
        folder.is_empty()
            || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    wanted.is_empty() || wanted.iter().filter_map(|w| relative(mount, w)).any(|w| is_in(&w))
}

/// Whether the user named the directory of dependencies that the change is in, or one below it around the change.
pub(super) fn is_within(mount: &LiveMount, change: &Change, wanted: &[String]) -> bool {
    let Some((around, _)) = dependencies::around(mount, change) else { return false };
    let is_in = |path: &str, at: &str| {
        path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let named = wanted.iter().filter_map(|w| relative(mount, w));
    named.filter(|at| is_in(at, around)).any(|at| is_in(&change.path, &at))
}

/// A path as the user names it (in the workspace, or as the agent sees it), relative to the mount.
pub(super) fn relative(mount: &LiveMount, path: &str) -> Option<String> {
    let path = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    let rest = match path.strip_prefix(&mount.at) {
        Some(rest) => rest,
        None if mount.prefix.is_empty() => return Some(path.to_owned()),
        None => path.strip_prefix(&mount.prefix)?,
    };
    if rest.is_empty() { Some(String::new()) } else { rest.strip_prefix('/').map(str::to_owned) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::*;

    #[test]
    fn a_named_change_brings_the_new_directories_that_it_stands_in() {
        let mount = Directory::new(&[]).mount;
        let change = |path: &str, kind| Change::blank(path.into(), Op::Create, kind);
        let all = || {
            vec![
                change("venv", Kind::Dir),
                change("venv/bin", Kind::Dir),
                change("venv/bin/python3", Kind::Symlink),
                change("venv/bin/pip", Kind::File),
                change("venv/lib", Kind::Dir),
                change("venv-2", Kind::Dir),
            ]
        };
        let named = ["/workspace/venv/bin/python3".to_owned()];
        let paths: Vec<String> = of(&mount, &all(), &named).into_iter().map(|c| c.path).collect();
        assert_eq!(paths, ["venv", "venv/bin", "venv/bin/python3"]);
        let is_named: Vec<bool> = all().iter().map(|c| is_named(&mount, c, &named)).collect();
        assert_eq!(is_named, [true, true, true, false, false, false]);
        assert_eq!(of(&mount, &all(), &[]).len(), 6);
    }

    #[test]
    fn a_directory_of_dependencies_is_named_by_itself_or_below() {
        let mount = Directory::new(&[]).mount;
        let change = Change::blank("app/node_modules/a/x.js".into(), Op::Create, Kind::File);
        for (named, within) in [
            ("app/node_modules", true),
            ("./app/node_modules/", true),
            ("/workspace/app/node_modules/a", true),
            ("app", false),
            ("app/node_modules/b", false),
            (".", false),
        ] {
            assert_eq!(is_within(&mount, &change, &[named.to_owned()]), within, "{named}");
        }
    }
}

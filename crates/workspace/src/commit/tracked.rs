//! Caches of compiled code that a repository will know. Left where they are, as others are, they would be missing from the user's
//! work tree, and their next `git commit -a` would take them away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use chaperone_staging::{Change, Kind, Op};

use super::index;
use super::own;
use crate::later::{self, Compiled};
use crate::mount::LiveMount;

/// Paths of the mount.
#[derive(Debug, Default)]
pub(super) struct Tracked(BTreeSet<String>);

impl Tracked {
    /// Of these changes: those that the index of the nearest repository above names, as it will be.
    pub fn by(mount: &LiveMount, changes: &[Change], staged: &dyn Fn(&Change) -> Option<File>) -> Self {
        let is_cache = |change: &&Change| {
            let compiled = later::compiled(&change.path, b"", &|_| true);
            change.op != Op::Delete && change.kind == Kind::File && compiled == Some(Compiled::Cache)
        };
        let caches: Vec<&str> = changes.iter().filter(is_cache).map(|change| change.path.as_str()).collect();
        if caches.is_empty() {
            return Self::default();
        }
        let brought: BTreeMap<&str, &Change> =
            changes.iter().filter(|c| c.op != Op::Delete).map(|c| (c.path.as_str(), c)).collect();
        let mut indexes: BTreeMap<&str, Option<BTreeSet<String>>> = BTreeMap::new();
        let mut known = Self::default();
        for path in caches {
            let above = path.match_indices('/').rev().map(|(at, _)| path.get(..=at).unwrap_or_default());
            for directory in above.chain([""]) {
                let names = indexes.entry(directory).or_insert_with(|| {
                    let at = format!("{directory}.git/index");
                    let file = match brought.get(at.as_str()) {
                        Some(change) => staged(change),
                        None => own::open(mount, &at),
                    };
                    let bytes = own::read(&file?, usize::try_from(index::LARGEST).ok()?)?;
                    Some(index::names(&bytes))
                });
                let Some(names) = names else { continue };
                if path.strip_prefix(directory).is_some_and(|name| names.contains(name)) {
                    known.0.insert(path.to_owned());
                }
                break;
            }
        }
        known
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains(path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::super::repository::tests::sh;
    use super::*;

    #[test]
    fn caches_that_an_index_names_are_known_and_no_others() {
        if std::process::Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED caches_that_an_index_names_are_known_and_no_others: no git");
            return;
        }
        let directory = Directory::new(&[("sub/__pycache__/own.cpython-311.pyc", "x")]);
        let script = "git init -q .; mkdir -p a/__pycache__ b/__pycache__; touch {a,b}/__pycache__/m.cpython-311.pyc; git add a";
        for version in ["2", "4"] {
            let with = format!("{script}; git update-index --index-version {version}");
            assert!(sh(&directory.mount.source, &format!("bash -c '{with}'")));
            let changes = ["a/__pycache__/m.cpython-311.pyc", "b/__pycache__/m.cpython-311.pyc", "a/m.py"]
                .map(|path| Change::blank(path.to_owned(), Op::Create, Kind::File));
            let tracked = Tracked::by(&directory.mount, &changes, &|_| None);
            let known = changes.each_ref().map(|change| tracked.has(&change.path));
            assert_eq!(known, [true, false, false], "{version}");
        }
    }
}

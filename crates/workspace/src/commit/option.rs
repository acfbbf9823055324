//! Names that a program takes for its options: `tar czf b.tgz *` runs what a file called `--checkpoint-action=exec=…` says.

use std::collections::BTreeSet;

use crate::mount::LiveMount;
use crate::overlay;

/// Whether a new name is one, or is in a new directory with such a name, which it comes with.
pub(super) fn is_new(mount: &LiveMount, path: &str, brings: &BTreeSet<&str>) -> bool {
    let is_there = |path: &str| overlay::open(&mount.root, path, rustix::fs::OFlags::PATH).is_ok();
    let mut folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
    looks(path) || folders.any(|folder| looks(folder) && brings.contains(folder) && !is_there(folder))
}

/// A dash, and a letter or another dash: what begins with a sign or a number is none that does something.
fn looks(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let rest = name.strip_prefix('-').and_then(|rest| rest.chars().next());
    rest.is_some_and(|next| next == '-' || next.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::*;

    #[test]
    fn a_dash_and_a_letter_or_another_dash_are_an_option() {
        let directory = Directory::new(&[("-mine/notes", "")]);
        let is = |path: &str| is_new(&directory.mount, path, &BTreeSet::from(["-new", "d/--new", "-mine"]));
        for path in [
            "--checkpoint=1",
            "d/--checkpoint-action=exec=sh notes.md",
            "-T",
            "a/b/-rf",
            "--",
            "-new/notes",
            "d/--new/a/b",
            "-é",
        ] {
            assert!(is(path), "{path}");
        }
        for path in ["-", "-.txt", "-5.csv", "- list", "a-b", "d-/x", "notes.md", "-mine/new", "-other/new"] {
            assert!(!is(path), "{path}");
        }
    }
}

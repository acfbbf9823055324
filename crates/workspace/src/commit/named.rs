//! Files of the directory that the user's own settings of git name: git runs or obeys them as it does its hooks.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use chaperone_staging::Change;

use super::own;
use crate::later::{self, Setting};
use crate::mount::LiveMount;

/// Bytes of a file of settings that are read, and files of settings that are followed.
const SETTINGS_BYTES: usize = 1 << 20;
const MOST_FILES: usize = 256;
/// Lists of hooks of a work tree, by their own names.
const HOOK_LISTS: &[&str] =
    &[".pre-commit-config.yaml", ".pre-commit-config.yml", "lefthook.yml", "lefthook.yaml", ".lefthook.yml"];

#[derive(Debug, Default)]
pub(super) struct Named {
    files: BTreeSet<String>,
    directories: BTreeSet<String>,
}

impl Named {
    /// By the settings of the repositories that these changes are in.
    pub fn by(mount: &LiveMount, changes: &[Change]) -> Self {
        let mut found = Self::default();
        let mut reading = Reading { mount, found: &mut found, seen: HashSet::new() };
        let mut above: BTreeSet<&str> = BTreeSet::new();
        for change in changes {
            let mut at = change.path.as_str();
            while let Some((up, _)) = at.rsplit_once('/') {
                if !above.insert(up) {
                    break;
                }
                at = up;
            }
        }
        above.insert("");
        for top in above {
            reading.work_tree(top);
        }
        found
    }

    /// Whether a path is named, or below what is; with `holds` it stands for what is below it.
    pub fn has(&self, path: &str, holds: bool) -> bool {
        let above = |at: &str| at.rsplit_once('/').map(|(up, _)| up.to_owned());
        let is_below = std::iter::successors(Some(path.to_owned()), |at| above(at));
        let inside = format!("{path}/");
        let named = || self.files.iter().chain(&self.directories);
        self.files.contains(path)
            || is_below.into_iter().any(|at| self.directories.contains(&at))
            || holds && named().any(|name| name.starts_with(&inside))
    }
}

struct Reading<'a> {
    mount: &'a LiveMount,
    found: &'a mut Named,
    seen: HashSet<(String, String)>,
}

impl Reading<'_> {
    fn work_tree(&mut self, top: &str) {
        let git = below(top, ".git");
        for name in ["config", "config.worktree"] {
            self.settings(&below(&git, name), top);
        }
        // A submodule's, or another work tree's, is elsewhere.
        let pointer = self.text(&git);
        let place = pointer.as_deref().and_then(|text| text.trim().strip_prefix("gitdir:"));
        let place = place.and_then(|place| resolve(self.mount, top, place.trim()));
        let places = place.iter().flat_map(|place| ["", "../.."].map(|up| resolve(self.mount, place, up)));
        for place in places.flatten().collect::<BTreeSet<_>>() {
            for name in ["config", "config.worktree"] {
                self.settings(&below(&place, name), top);
            }
        }
        for name in HOOK_LISTS {
            let at = below(top, name);
            let text = self.text(&at).unwrap_or_default();
            for named in later::named_in_hook_list(name, &text) {
                self.name(named, top, top);
            }
        }
    }

    fn settings(&mut self, at: &str, top: &str) {
        if self.seen.len() >= MOST_FILES || !self.seen.insert((at.to_owned(), top.to_owned())) {
            return;
        }
        let Some(text) = self.text(at) else { return };
        let here = at.rsplit_once('/').map_or("", |(up, _)| up);
        let named = later::named_in_git_settings(&text);
        let elsewhere = named.iter().find_map(|named| match named {
            Setting::WorkTree(place) => resolve(self.mount, here, place),
            _ => None,
        });
        for named in named {
            if let Some(top) = &elsewhere {
                self.name(named.clone(), here, top);
            }
            self.name(named, here, top);
        }
    }

    /// What is named relative to where the settings are, or to the work tree.
    fn name(&mut self, named: Setting, here: &str, top: &str) {
        let (Setting::Path(text) | Setting::Settings(text) | Setting::Word(text)) = &named else { return };
        for from in BTreeSet::from([here, top]) {
            let Some(path) = resolve(self.mount, from, text) else { continue };
            // The inside of a repository is judged by itself, and names of branches look like paths there.
            let is_inside = path.split('/').any(|name| name == ".git");
            match &named {
                Setting::Path(_) | Setting::Word(_) if is_inside => {}
                // Hooks beside everything else are known by their names.
                Setting::Path(_) if path.is_empty() => {}
                Setting::Path(_) => drop(self.found.directories.insert(path)),
                Setting::Settings(_) => {
                    self.settings(&path, top);
                    self.found.files.insert(path);
                }
                _ => drop(self.found.files.insert(path)),
            }
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        let bytes = own::open(self.mount, path).and_then(|file| own::read(&file, SETTINGS_BYTES))?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The path in the mount that a text means, read in `from`; `None` when it leads out.
fn resolve(mount: &LiveMount, from: &str, text: &str) -> Option<String> {
    let home = || std::env::home_dir();
    let text = match text.strip_prefix("~/") {
        Some(rest) => home()?.join(rest).to_str()?.to_owned(),
        None => text.strip_prefix("%(prefix)").unwrap_or(text).to_owned(),
    };
    let mut names: Vec<&str> = Vec::new();
    let text = if text.starts_with('/') {
        Path::new(&text).strip_prefix(&mount.source).ok()?.to_str()?.to_owned()
    } else {
        names.extend(from.split('/').filter(|name| !name.is_empty()));
        text
    };
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            _ => names.push(name),
        }
    }
    Some(names.join("/"))
}

#[cfg(test)]
mod tests {
    use chaperone_staging::{Kind, Op};

    use super::super::looked::tests::Directory;
    use super::*;

    fn named(files: &[(&str, &str)], path: &str) -> bool {
        let directory = Directory::new(files);
        let change = Change::blank(path.to_owned(), Op::Modify, Kind::File);
        Named::by(&directory.mount, std::slice::from_ref(&change)).has(path, false)
    }

    #[test]
    fn what_the_settings_of_a_repository_name_is_known() {
        let config = "[core]\n\thooksPath = githooks\n[include]\n\tpath = ../team.gitconfig\n[alias]\n\tx = !sh tools/x.sh\n";
        let files = [
            (".git/config", config),
            ("team.gitconfig", "[include]\n\tpath = more/second\n[core]\n\tfsmonitor = .watch/run\n"),
            ("more/second", "[diff \"a\"]\n\ttextconv = python3 show.py\n"),
            (".pre-commit-config.yaml", "    entry: checks/lint\n"),
            ("lib/.git", "gitdir: ../.git/modules/lib\n"),
            (".git/modules/lib/config", "[core]\n\tworktree = ../../../lib\n\thooksPath = own\n"),
        ];
        for path in [
            "githooks/pre-commit",
            "githooks/lib/a.sh",
            "team.gitconfig",
            "more/second",
            "tools/x.sh",
            ".watch/run",
            "show.py",
            "checks/lint",
            "lib/own/post-checkout",
        ] {
            assert!(named(&files, path), "{path}");
        }
        let branch = [(".git/config", "[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n")];
        assert!(!named(&branch, ".git/refs/heads/main"));
        for path in ["a.txt", "tools/y.sh", "githooks.md", "lib/src/a.c", "more/third"] {
            assert!(!named(&files, path), "{path}");
        }
    }

    #[test]
    fn what_holds_a_named_file_is_named_with_it() {
        let directory = Directory::new(&[(".git/config", "[core]\n\thooksPath = a/hooks\n")]);
        let mut change = Change::blank("a".to_owned(), Op::Rename, Kind::Dir);
        change.from = Some("b".into());
        let named = Named::by(&directory.mount, std::slice::from_ref(&change));
        assert!(named.has("a", true) && !named.has("a", false) && !named.has("b", true));
    }
}

//! What the settings of git name: git runs or obeys it as it does its hooks.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::names::{Names, meant, text};
use super::user::User;
use crate::directories::plain;
use crate::later::{self, Setting};
use crate::mount::LiveMount;

/// Files of settings that are followed, and hooks of a directory that are looked at.
const MOST_FILES: usize = 256;
const MOST_HOOKS: usize = 64;

pub(super) struct Settings<'a> {
    mount: &'a LiveMount,
    user: &'a User,
    found: &'a mut Names,
    seen: HashSet<(PathBuf, PathBuf)>,
    /// With the directories that git may run them in.
    hooks: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl<'a> Settings<'a> {
    pub fn new(mount: &'a LiveMount, user: &'a User, found: &'a mut Names) -> Self {
        Self { mount, user, found, seen: HashSet::new(), hooks: BTreeMap::new() }
    }

    /// Of the work tree with this directory at its top, if it is one, and of its user.
    pub fn work_tree(&mut self, top: &Path) {
        let git = top.join(".git");
        if git.symlink_metadata().is_ok() || top == self.mount.source {
            for at in &self.user.settings {
                self.settings(at, top);
            }
            for place in self.repositories(top, git) {
                for name in ["config", "config.worktree"] {
                    self.settings(&place.join(name), top);
                }
                self.hooks(&place.join("hooks"), top);
            }
        }
        for name in later::hook_lists() {
            let Some(list) = text(self.mount, &top.join(name)) else { continue };
            for named in later::named_in_hook_list(name, &list) {
                self.name(&named, top, top);
            }
        }
    }

    /// A submodule's, or another work tree's, is elsewhere, and the rest of the latter where the first has it.
    fn repositories(&self, top: &Path, git: PathBuf) -> BTreeSet<PathBuf> {
        let pointer = text(self.mount, &git);
        let place = pointer.as_deref().and_then(|text| text.trim().strip_prefix("gitdir:"));
        let place = place.map(|place| plain(&top.join(place.trim())));
        let common = place.as_ref().and_then(|place| {
            text(self.mount, &place.join("commondir")).map(|common| plain(&place.join(common.trim())))
        });
        let up = place.as_ref().map(|place| plain(&place.join("../..")));
        std::iter::once(git).chain(place).chain(common).chain(up).collect()
    }

    fn settings(&mut self, at: &Path, top: &Path) {
        if self.seen.len() >= MOST_FILES || !self.seen.insert((at.to_owned(), top.to_owned())) {
            return;
        }
        let Some(text) = text(self.mount, at) else { return };
        let here = at.parent().unwrap_or(at).to_owned();
        // Of a file with two names git goes from the one that it really has.
        let real = std::fs::canonicalize(at).ok().and_then(|at| Some(at.parent()?.to_owned()));
        let real = real.filter(|real| *real != here);
        let named = later::named_in_git_settings(&text);
        let elsewhere = named.iter().find_map(|named| match named {
            Setting::WorkTree(place) => Some(plain(&here.join(place))),
            _ => None,
        });
        for named in named {
            for top in elsewhere.iter().map(PathBuf::as_path).chain([top]) {
                for here in real.iter().chain([&here]) {
                    self.name(&named, here, top);
                }
            }
        }
    }

    /// What is named relative to where the settings are, or to the work tree.
    fn name(&mut self, named: &Setting, here: &Path, top: &Path) {
        let (Setting::Path(text) | Setting::Settings(text) | Setting::Word(text)) = named else { return };
        for from in BTreeSet::from([here, top]) {
            let Some(at) = meant(self.user.home.as_deref(), from, text).map(|at| plain(&at)) else {
                continue;
            };
            match named {
                Setting::Settings(_) => self.settings(&at, top),
                Setting::Path(_) => self.hooks(&at, top),
                _ => {}
            }
            for path in self.found.places(&at) {
                // The inside of a repository is judged by itself, and names of branches look like paths there.
                let is_inside = path.split('/').any(|name| name == ".git");
                match named {
                    Setting::Settings(_) => self.found.file(path, later::HOOKS),
                    _ if is_inside => {}
                    Setting::Path(_) => self.found.directory(path, later::HOOKS),
                    _ => self.found.file(path, later::HOOKS),
                }
            }
        }
    }

    /// Hooks that lead into the directory, or call what is in it.
    fn hooks(&mut self, directory: &Path, top: &Path) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        if self.seen.len() >= MOST_FILES || !self.seen.insert((directory.to_owned(), top.to_owned())) {
            return;
        }
        for entry in entries.flatten().take(MOST_HOOKS) {
            let at = entry.path();
            if at.extension().is_some_and(|ending| ending == "sample") || at.is_dir() {
                continue;
            }
            for path in
                self.found.places(&at).into_iter().filter(|path| !path.split('/').any(|n| n == ".git"))
            {
                self.found.file(path, later::HOOKS);
            }
            self.hooks.entry(at).or_default().extend([directory.to_owned(), top.to_owned()]);
        }
    }

    /// The hooks of all of them: what they call is read as what any script of the user's calls.
    pub fn hooks_found(self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        self.hooks
    }
}

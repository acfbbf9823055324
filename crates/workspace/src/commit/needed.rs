//! What an undo leaves of a repository where the user's own git went on from a commit: its objects, and all of a repository that the
//! commit made. An index that names objects which are gone, a branch on such a commit, or what has no `HEAD` any more, is a broken
//! repository; objects that nothing names are only room.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use chaperone_protocol::reply::ChangeEntry;
use chaperone_staging::{Entry, Kind, NEEDED, State, Undoing};

use super::shown;
use crate::mount::LiveMount;

/// Files that name commits which are looked at; in a repository with more, its objects stay.
const MOST: usize = 20_000;
const OBJECTS: &str = "/objects";

/// The paths of objects that stay, and of repositories.
pub(super) fn needed(mount: &LiveMount, undoing: &Undoing<'_>) -> Vec<String> {
    let repositories: BTreeSet<&str> = undoing.back.iter().filter_map(|path| holder(mount, path)).collect();
    let back: BTreeSet<&str> = undoing.back.iter().copied().collect();
    let went_on: BTreeSet<&str> = repositories
        .into_iter()
        .filter(|git| {
            let is_in = |path: &&str| below(git, path).is_some() && holder(mount, path).is_none();
            undoing.stay.iter().any(is_in)
                || Since { mount, back: &back, committed_ms: undoing.since_ms }.anything_new(git)
        })
        .collect();
    let is_made = |git: &&&str| undoing.made.iter().any(|path| below(git, path) == Some("HEAD"));
    let made: Vec<&str> = went_on.iter().filter(is_made).copied().collect();
    let stays = |path: &&&str| {
        holder(mount, path).is_some_and(|git| went_on.contains(git))
            || made.iter().any(|git| path == &git || below(git, path).is_some())
    };
    undoing.back.iter().filter(stays).map(|path| (*path).to_owned()).collect()
}

/// What became of a commit's paths, with one entry for all objects of a repository that stay, or for one that stays whole.
pub(super) fn shown(mount: &LiveMount, entries: &[Entry]) -> Vec<ChangeEntry> {
    let mut told = BTreeSet::new();
    let mut list = Vec::new();
    let is_kept = |entry: &&Entry| {
        entry.state == State::Conflict && entry.reasons.iter().any(|reason| reason == NEEDED)
    };
    // Nothing but its objects is kept of a repository that was there before. Its logs have a `HEAD`, too.
    let whole: Vec<&str> =
        entries.iter().filter(is_kept).filter_map(|entry| entry.path.strip_suffix("/HEAD")).collect();
    let of = |path: &str| {
        let holds = |git: &&&str| path == **git || below(git, path).is_some();
        let git = whole.iter().filter(holds).min_by_key(|git| git.len());
        let objects = || holder(mount, path).map(|git| format!("{git}{OBJECTS}"));
        git.map(|git| (*git).to_owned()).or_else(objects)
    };
    for entry in entries {
        match of(&entry.path).filter(|_| is_kept(&entry)) {
            None => list.push(shown::of_entry(mount, entry, None)),
            Some(path) if told.insert(path.clone()) => {
                let path = path.trim_start_matches('/').to_owned();
                let whole = Entry { path, kind: Kind::Dir, size: 0, sha256: None, ..entry.clone() };
                list.push(shown::of_entry(mount, &whole, None));
            }
            Some(_) => {}
        }
    }
    list
}

/// The directory of git's that an object is of, by its path: relative to the mount, empty for the mount itself.
fn holder<'p>(mount: &LiveMount, path: &'p str) -> Option<&'p str> {
    let is_gits =
        |git: &str| format!("{}/{git}", mount.at).split('/').any(|name| name.eq_ignore_ascii_case(".git"));
    if (path == "objects" || path.starts_with("objects/")) && is_gits("") {
        return Some("");
    }
    let mut ends = path.match_indices(OBJECTS).filter(|(at, _)| {
        let rest = path.get(at + OBJECTS.len()..).unwrap_or_default();
        rest.is_empty() || rest.starts_with('/')
    });
    ends.find_map(|(at, _)| path.get(..at).filter(|git| is_gits(git)))
}

fn below<'p>(git: &str, path: &'p str) -> Option<&'p str> {
    if git.is_empty() { Some(path) } else { path.strip_prefix(git)?.strip_prefix('/') }
}

/// What names commits, and is newer than a commit of the session that is taken back.
struct Since<'a> {
    mount: &'a LiveMount,
    back: &'a BTreeSet<&'a str>,
    committed_ms: u64,
}

impl Since<'_> {
    fn anything_new(&self, git: &str) -> bool {
        let (mut left, mut todo) = (MOST, vec![(git.to_owned(), true)]);
        while let Some((folder, is_top)) = todo.pop() {
            let at = self.mount.source.join(&folder);
            // What cannot be looked at may name anything.
            let Ok(entries) = std::fs::read_dir(&at) else { return at.exists() };
            for entry in entries {
                let Ok(entry) = entry else { return true };
                let Ok(name) = entry.file_name().into_string() else { return true };
                let Ok(about) = entry.metadata() else { return true };
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                if about.is_dir() {
                    if !is_top || matches!(name.as_str(), "refs" | "worktrees") {
                        todo.push((path, false));
                    }
                    continue;
                }
                let names_commits = !is_top || name == "packed-refs" || name == "HEAD" || is_head(&name);
                if names_commits && !self.back.contains(path.as_str()) && self.is_new(&about) {
                    return true;
                }
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
        }
        false
    }

    fn is_new(&self, about: &Metadata) -> bool {
        let committed = SystemTime::UNIX_EPOCH + Duration::from_millis(self.committed_ms);
        about.modified().is_ok_and(|modified| modified > committed)
    }
}

/// Of an operation that is not over.
fn is_head(name: &str) -> bool {
    name.ends_with("_HEAD") && !matches!(name, "FETCH_HEAD" | "ORIG_HEAD")
}

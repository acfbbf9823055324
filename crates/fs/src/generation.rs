//! When each path of the stage changed last, in steps of one counter.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::journal::Entry;

/// Paths whose changes are told apart. Protects memory; beyond it all that was located before is located anew.
const MAX_PATHS: usize = 1 << 18;

/// Paths are kept by their hashes: two that share one make each other look changed, which costs a second decision.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    last: u64,
    /// No path changed later than this but those of `changed`.
    floor: u64,
    changed: HashMap<u64, Changed>,
    hasher: RandomState,
}

#[derive(Debug, Default, Clone, Copy)]
struct Changed {
    entry: u64,
    /// What is below the path shows or does not show since then.
    cover: u64,
}

impl Generations {
    /// The last change of a path: of its own entry, or of one above that hides, replaces or uncovers it.
    pub fn of(&self, path: &str) -> u64 {
        if self.changed.is_empty() {
            return self.floor;
        }
        let changed = |path: &str| self.changed.get(&self.hasher.hash_one(path)).copied().unwrap_or_default();
        let mut last = self.floor.max(changed(path).entry);
        let mut at = path;
        while let Some((parent, _)) = at.rsplit_once('/') {
            last = last.max(changed(parent).cover);
            at = parent;
        }
        last
    }

    /// The last change of all.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// A moment after all changes so far.
    pub fn tick(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A path's entry becomes another.
    pub fn advance(&mut self, path: &str, before: Option<&Entry>, now: &Entry) {
        self.last += 1;
        if self.changed.len() >= MAX_PATHS {
            self.changed.clear();
            self.floor = self.last;
        }
        let changed = self.changed.entry(self.hasher.hash_one(path)).or_default();
        changed.entry = self.last;
        if cover(before.unwrap_or(&Entry::Base)) != cover(now) {
            changed.cover = self.last;
        }
    }
}

/// What an entry is for those below its path.
#[derive(PartialEq, Eq)]
enum Cover {
    None,
    Directory,
    Other,
    Gone,
}

fn cover(entry: &Entry) -> Cover {
    match entry {
        Entry::Base | Entry::Dir { opaque: false, .. } => Cover::None,
        Entry::Dir { opaque: true, .. } => Cover::Directory,
        Entry::File { .. } | Entry::Symlink { .. } | Entry::Special { .. } => Cover::Other,
        Entry::Gone { .. } => Cover::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Entry = Entry::Gone { base: None, dir: true };

    #[test]
    fn a_change_shows_at_its_path_and_below_where_it_hides() {
        let mut generations = Generations::default();
        let own = Entry::Dir { opaque: false, mode: 0o755, base: None };
        let before = ["a", "a/b", "a/b/c", "ab"].map(|path| generations.of(path));
        generations.advance("a", None, &own);
        let made = ["a", "a/b", "a/b/c", "ab"].map(|path| generations.of(path));
        assert_ne!(made[0], before[0]);
        assert_eq!(made[1..], before[1..]);
        generations.advance("a", Some(&own), &GONE);
        let hidden = ["a", "a/b", "a/b/c", "ab"].map(|path| generations.of(path));
        assert!((0..3).all(|i| hidden[i] > made[i]));
        assert_eq!(hidden[3], made[3]);
        generations.advance("a", Some(&GONE), &Entry::Base);
        assert!(generations.of("a/b/c") > hidden[2]);
    }

    #[test]
    fn nothing_looks_unchanged_when_there_is_no_room_to_tell() {
        let mut generations = Generations::default();
        let located = generations.of("somewhere");
        for n in 0..=MAX_PATHS {
            generations.advance(&n.to_string(), None, &GONE);
        }
        assert!(generations.changed.len() < MAX_PATHS);
        assert_ne!(generations.of("somewhere"), located);
    }
}

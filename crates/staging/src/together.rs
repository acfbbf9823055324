//! Changes that are made together or not at all.

use std::collections::{HashMap, HashSet};

use crate::change::{Change, Kind, Op};
use crate::plan::folders;
use crate::report::{Entry, State};

/// Why a change stays that is part of something of which another part stays.
const PARTED: &str = "part_of_operation";
/// Why a removal stays of what only moves, while the new name is not committed.
const MOVED: &str = "moved_with";
/// It passes when the user says so.
const ASKED: &str = "confirmation_required";
/// It passes when the user saw it.
const UNSEEN: &str = "changed_since_shown";

/// Of a commit, and of what stays out of it: which changes are parts of one whole.
#[derive(Debug, Clone, Default)]
pub struct Together {
    /// What a path is a part of.
    of: HashMap<String, String>,
    /// That of which a part is not even asked for.
    lacking: HashSet<String>,
    /// Of an old name that goes: the new names of the same object.
    moved: HashMap<String, Vec<String>>,
    /// Of a path whose content went to others: those.
    spread: HashMap<String, Vec<String>>,
}

impl Together {
    /// A path is a part of `whole`, and is in the commit or not.
    pub fn add(&mut self, path: String, whole: &str, is_chosen: bool) {
        if !is_chosen {
            self.lacking.insert(whole.to_owned());
        }
        self.of.insert(path, whole.to_owned());
    }

    /// The removal of `old` waits until the object comes to one of its new names.
    pub fn follow(&mut self, old: String, new: Vec<String>) {
        self.moved.insert(old, new);
    }

    /// What becomes of `path` waits until all of the others come: they have what it had.
    pub fn wait_for_all(&mut self, path: String, others: Vec<String>) {
        self.spread.insert(path, others);
    }

    /// Of `changes`, what is made with this one or not at all: it alone, where it is part of nothing.
    pub(crate) fn parts<'c>(&self, change: &'c Change, changes: &'c [Change]) -> Vec<&'c Change> {
        match self.of.get(&change.path) {
            None => vec![change],
            Some(whole) => changes.iter().filter(|other| self.of.get(&other.path) == Some(whole)).collect(),
        }
    }

    /// Keeps the changes that would be made, and are part of something of which another change is not, and the removals of what
    /// does not come to its new name: because it is kept back, or something `is_taken` there.
    pub(crate) fn keep_back(&self, entries: &mut [Entry], is_taken: &dyn Fn(&str) -> bool) {
        self.keep_parts(entries);
        // One that stays may be where another was to come.
        while self.keep_moved(entries, is_taken) {
            self.keep_parts(entries);
        }
    }

    fn keep_parts(&self, entries: &mut [Entry]) {
        let (mut broken, mut lost) = (self.lacking.clone(), HashSet::new());
        for entry in entries.iter().filter(|entry| matches!(entry.state, State::Conflict | State::Refused)) {
            let Some(whole) = self.of.get(&entry.path) else { continue };
            broken.insert(whole.clone());
            let waits = entry.reasons.iter().any(|reason| [ASKED, UNSEEN, MOVED].contains(&reason.as_str()));
            if entry.state == State::Refused && !waits {
                lost.insert(whole.clone());
            }
        }
        for entry in entries.iter_mut().filter(|entry| entry.state != State::Refused) {
            let Some(whole) = self.of.get(&entry.path).filter(|whole| broken.contains(*whole)) else {
                continue;
            };
            if entry.reasons.iter().any(|reason| reason == PARTED) {
                continue;
            }
            if entry.state == State::Staged {
                entry.state = State::Refused;
                // With one that cannot pass, no word of the user's lets the others pass.
                entry.reasons.extend((!lost.contains(whole)).then(|| ASKED.to_owned()));
            }
            entry.reasons.push(PARTED.to_owned());
        }
    }

    /// Whether there were such removals.
    fn keep_moved(&self, entries: &mut [Entry], is_taken: &dyn Fn(&str) -> bool) -> bool {
        if self.moved.is_empty() && self.spread.is_empty() {
            return false;
        }
        let kept: HashSet<String> =
            self.not_arriving(entries, is_taken).into_iter().map(str::to_owned).collect();
        if kept.is_empty() {
            return false;
        }
        let above: HashSet<&str> = kept.iter().flat_map(|path| folders(path)).collect();
        for entry in entries.iter_mut().filter(|entry| entry.state == State::Staged) {
            let stays = match entry.op {
                Op::Delete => {
                    kept.contains(&entry.path) || entry.kind == Kind::Dir && above.contains(&*entry.path)
                }
                // The name is taken still.
                _ => kept.contains(&entry.path) || folders(&entry.path).any(|folder| kept.contains(folder)),
            };
            if stays {
                entry.state = State::Refused;
                entry.reasons.push(MOVED.to_owned());
            }
        }
        true
    }

    /// The old names that would go, of which no new one comes.
    fn not_arriving<'e>(&self, entries: &'e [Entry], is_taken: &dyn Fn(&str) -> bool) -> Vec<&'e str> {
        let staged = |entry: &&Entry| entry.state == State::Staged;
        let freed: HashSet<&str> = entries
            .iter()
            .filter(staged)
            .filter_map(|entry| if entry.op == Op::Delete { Some(&entry.path) } else { entry.from.as_ref() })
            .map(String::as_str)
            .collect();
        let (mut comes, mut missing) = (HashMap::new(), HashSet::new());
        for entry in entries.iter().filter(|entry| entry.op != Op::Delete) {
            if staged(&entry) {
                comes.insert(entry.path.as_str(), entry.op);
            } else if entry.kind == Kind::Dir && entry.op != Op::Modify {
                missing.insert(entry.path.as_str());
            }
        }
        let arrives = |new: &String| {
            let has_room = |op: &Op| *op != Op::Create || freed.contains(new.as_str()) || !is_taken(new);
            comes.get(new.as_str()).is_some_and(has_room)
                && !folders(new).any(|folder| missing.contains(folder))
        };
        let waits = |entry: &&Entry| {
            let moved = self.moved.get(&entry.path).filter(|_| entry.op == Op::Delete);
            let spread = self.spread.get(&entry.path);
            moved.is_some_and(|new| !new.iter().any(arrives))
                || spread.is_some_and(|others| !others.iter().all(arrives))
        };
        entries.iter().filter(staged).filter(waits).map(|entry| entry.path.as_str()).collect()
    }
}

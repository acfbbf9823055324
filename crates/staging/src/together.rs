//! Changes that are made together or not at all.

use std::collections::{HashMap, HashSet};

use crate::change::Change;
use crate::report::{Entry, State};

/// Why a change stays that is part of something of which another part stays.
const PARTED: &str = "part_of_operation";
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
}

impl Together {
    /// A path is a part of `whole`, and is in the commit or not.
    pub fn add(&mut self, path: String, whole: &str, is_chosen: bool) {
        if !is_chosen {
            self.lacking.insert(whole.to_owned());
        }
        self.of.insert(path, whole.to_owned());
    }

    /// Of `changes`, what is made with this one or not at all: it alone, where it is part of nothing.
    pub(crate) fn parts<'c>(&self, change: &'c Change, changes: &'c [Change]) -> Vec<&'c Change> {
        match self.of.get(&change.path) {
            None => vec![change],
            Some(whole) => changes.iter().filter(|other| self.of.get(&other.path) == Some(whole)).collect(),
        }
    }

    /// Keeps the changes that would be made, and are part of something of which another change is not.
    pub(crate) fn keep_back(&self, entries: &mut [Entry]) {
        let (mut broken, mut lost) = (self.lacking.clone(), HashSet::new());
        for entry in entries.iter().filter(|entry| matches!(entry.state, State::Conflict | State::Refused)) {
            let Some(whole) = self.of.get(&entry.path) else { continue };
            broken.insert(whole.clone());
            let waits = entry.reasons.iter().any(|reason| reason == ASKED || reason == UNSEEN);
            if entry.state == State::Refused && !waits {
                lost.insert(whole.clone());
            }
        }
        for entry in entries.iter_mut().filter(|entry| entry.state != State::Refused) {
            let Some(whole) = self.of.get(&entry.path).filter(|whole| broken.contains(*whole)) else {
                continue;
            };
            if entry.state == State::Staged {
                entry.state = State::Refused;
                // With one that cannot pass, no word of the user's lets the others pass.
                entry.reasons.extend((!lost.contains(whole)).then(|| ASKED.to_owned()));
            }
            entry.reasons.push(PARTED.to_owned());
        }
    }
}

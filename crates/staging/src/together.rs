//! Changes that are made together or not at all.

use std::collections::{HashMap, HashSet};

use crate::report::{Entry, State};

/// Of a commit, and of what stays out of it: which changes are parts of one whole.
#[derive(Debug, Clone, Default)]
pub struct Together {
    /// What a path is a part of.
    of: HashMap<String, String>,
    /// That of which a part is not even asked for.
    lacking: HashSet<String>,
    settled: bool,
}

impl Together {
    /// A path is a part of `whole`, and is in the commit or not.
    pub fn add(&mut self, path: String, whole: &str, is_chosen: bool) {
        if !is_chosen {
            self.lacking.insert(whole.to_owned());
        }
        self.of.insert(path, whole.to_owned());
    }

    /// The same, where conflicts will be settled for the agent's version: they keep nothing back.
    #[must_use]
    pub fn settled(self, settled: bool) -> Self {
        Self { settled, ..self }
    }

    /// Positions of the changes that would be made, and are part of something of which another change is not.
    pub(crate) fn broken(&self, entries: &[Entry]) -> Vec<usize> {
        let stays = |entry: &&Entry| match entry.state {
            State::Staged | State::Committed => false,
            State::Conflict => !self.settled,
            State::Refused => true,
        };
        let whole = |entry: &Entry| self.of.get(&entry.path);
        let broken: HashSet<&String> =
            entries.iter().filter(stays).filter_map(whole).chain(&self.lacking).collect();
        let is_part = |entry: &Entry| whole(entry).is_some_and(|whole| broken.contains(whole));
        let made = entries.iter().enumerate().filter(|(_, entry)| entry.state == State::Staged);
        made.filter(|(_, entry)| is_part(entry)).map(|(at, _)| at).collect()
    }
}

//! What is wrong with the user's own policies as they stand: each session is told, and each set is compiled once for that.

use chaperone_policy::Source;
use parking_lot::Mutex;

use crate::dirs::Dirs;

/// The set that was looked at last, and the first problem with it.
#[derive(Debug, Default)]
pub struct CheckedPolicies(Mutex<Option<(Vec<Source>, Option<String>)>>);

impl CheckedPolicies {
    /// The first problem with the user's own policies, with file and line, or one that others can change.
    pub fn problem(&self, dirs: &Dirs) -> Option<String> {
        self.of_texts(dirs).or_else(|| super::changeable_by_others(dirs))
    }

    fn of_texts(&self, dirs: &Dirs) -> Option<String> {
        let sources = match super::sources(dirs) {
            Ok(sources) => sources,
            Err(unreadable) => return Some(unreadable.message),
        };
        let mut last = self.0.lock();
        if let Some((_, problem)) = last.as_ref().filter(|(known, _)| *known == sources) {
            return problem.clone();
        }
        let problem = super::problem(sources.clone());
        *last = Some((sources, problem.clone()));
        problem
    }
}

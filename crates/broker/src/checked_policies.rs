//! What is wrong with the user's own policies as they stand: each session is told, and each set is compiled once for that.

use chaperone_config::{Dirs, policy_files};
use chaperone_policy::Source;
use parking_lot::Mutex;

/// The set that was looked at last, and the first problem with it.
#[derive(Debug, Default)]
pub struct CheckedPolicies(Mutex<Option<(Vec<Source>, Option<String>)>>);

impl CheckedPolicies {
    pub fn problem(&self, dirs: &Dirs) -> Option<String> {
        let sources = match policy_files::sources(dirs) {
            Ok(sources) => sources,
            Err(unreadable) => return Some(unreadable.message),
        };
        let mut last = self.0.lock();
        if let Some((_, problem)) = last.as_ref().filter(|(known, _)| *known == sources) {
            return problem.clone();
        }
        let problem = policy_files::problem(sources.clone());
        *last = Some((sources, problem.clone()));
        problem
    }
}

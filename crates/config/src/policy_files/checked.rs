//! What is wrong with the user's own policies as they stand: each session is told, and each set is compiled once for that.

use chaperone_policy::Source;
use chaperone_protocol::Failure;
use parking_lot::Mutex;

use crate::dirs::Dirs;

/// The set that was looked at last.
#[derive(Debug, Default)]
pub struct CheckedPolicies(Mutex<Option<Checked>>);

#[derive(Debug, Clone)]
struct Checked {
    sources: Vec<Source>,
    revision: String,
    /// The first that is wrong with it.
    problem: Option<String>,
    loads: bool,
}

impl CheckedPolicies {
    /// The first problem with the user's own policies, with file and line, or one that others can change; and whether policies that
    /// load stand there that are others than those of this revision: nobody saw them come, as where the whole directory became
    /// another one.
    pub fn look(&self, dirs: &Dirs, revision: &str) -> (Option<String>, bool) {
        let told =
            |checked: &Checked| (checked.problem.clone(), checked.loads && checked.revision != revision);
        let (found, are_others) =
            self.now(dirs, told).unwrap_or_else(|unreadable| (Some(unreadable.message), false));
        (found.or_else(|| super::changeable_by_others(dirs)), are_others)
    }

    fn now<T>(&self, dirs: &Dirs, what: impl Fn(&Checked) -> T) -> Result<T, Failure> {
        let sources = super::sources(dirs)?;
        let mut last = self.0.lock();
        if let Some(checked) = last.as_ref().filter(|checked| checked.sources == sources) {
            return Ok(what(checked));
        }
        let problem = super::first_problem(sources.clone());
        let loads = problem.as_ref().is_none_or(|(_, loads)| *loads);
        let (problem, revision) = (problem.map(|(text, _)| text), chaperone_policy::revision(&sources));
        let checked = Checked { sources, revision, problem, loads };
        let told = what(&checked);
        *last = Some(checked);
        Ok(told)
    }
}

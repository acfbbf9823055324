//! Everything that is wrong with a set of policies.

use crate::assemble::assemble;
use crate::engine::Engine;
use crate::lint;
use crate::literals;
use crate::source::{Problem, Source};

/// Every problem of a set, found by reading, loading and dry-running it.
#[must_use]
pub fn check(sources: Vec<Source>) -> Vec<Problem> {
    let undefined = match assemble(&sources, true) {
        Ok(engine) => lint::undefined_references(&sources, &engine),
        Err(_) => Vec::new(),
    };
    let malformed = literals::malformed_decisions(&sources);
    let mut problems = Engine::load(sources).err().unwrap_or_default();
    problems.extend(malformed);
    for problem in undefined {
        if !problems.iter().any(|p| (&p.file, p.line) == (&problem.file, problem.line)) {
            problems.push(problem);
        }
    }
    problems
}

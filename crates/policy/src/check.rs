//! Everything that is wrong with a set of policies.

use crate::assemble::assemble;
use crate::engine::Engine;
use crate::lint;
use crate::literals;
use crate::source::{Problem, Source};

/// Every problem of a set, found by reading, loading and dry-running it. The set loads exactly when all are warnings.
#[must_use]
pub fn check(sources: Vec<Source>) -> Vec<Problem> {
    // What can be seen without an evaluator, also where the set makes none.
    let (warned, malformed) = match assemble(&sources, true) {
        Ok(engine) => (lint::warnings(&sources, &engine), Vec::new()),
        Err(_) => (Vec::new(), literals::malformed_decisions(&sources)),
    };
    let mut problems = Engine::load(sources).err().unwrap_or_default();
    problems.extend(malformed);
    for problem in warned {
        if !problems.iter().any(|p| (&p.file, p.line) == (&problem.file, problem.line)) {
            problems.push(problem);
        }
    }
    problems
}

//! The examples that a pack carries, run against its own detectors.

use super::{Detectors, Native};
use crate::extract::settings;

/// An example in a pack that its own detector contradicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleFailure {
    pub detector: String,
    pub example: String,
    pub should_match: bool,
}

impl Detectors {
    /// Runs the examples of the packs; an empty answer is a pass.
    pub fn self_test(&self) -> Vec<ExampleFailure> {
        let mut failures = Vec::new();
        for (i, spec) in self.0.specs.iter().enumerate() {
            let fires = |text: &str| {
                let text = text.as_bytes();
                let is_setting = self.0.native(Native::Setting).is_some_and(|id| usize::from(id.0) == i);
                let found = if is_setting { settings::opaque(self, text) } else { crate::scan(self, text) };
                found.iter().any(|m| usize::from(m.detector.0) == i)
            };
            let wrong = |list: &[String], should_match: bool| -> Vec<ExampleFailure> {
                let fails = list.iter().filter(|e| fires(e) != should_match);
                fails
                    .map(|e| ExampleFailure {
                        detector: spec.info.name.clone(),
                        example: e.clone(),
                        should_match,
                    })
                    .collect()
            };
            failures.extend(wrong(&spec.examples, true));
            failures.extend(wrong(&spec.counterexamples, false));
        }
        failures
    }
}

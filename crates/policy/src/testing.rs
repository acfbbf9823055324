//! Running `test_` rules with coverage, and evaluating queries.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::Value;

use crate::assemble::{assemble, declares, package_of, place};
use crate::source::{Kind, Problem, Source};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedTest {
    pub name: String,
    pub file: String,
    /// What the rule gave instead of true, or its error.
    pub values: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCoverage {
    pub file: String,
    pub covered: usize,
    pub not_covered: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestReport {
    pub passed: usize,
    pub failed: Vec<FailedTest>,
    pub coverage: Vec<FileCoverage>,
}

/// Run every `test_` rule of a set.
///
/// # Errors
/// When the set does not load.
pub fn test(sources: &[Source]) -> Result<TestReport, Vec<Problem>> {
    let mut engine = assemble(sources, true)?;
    engine.set_enable_coverage(true);
    let mut report = TestReport { passed: 0, failed: Vec::new(), coverage: Vec::new() };
    for source in sources.iter().filter(|s| s.kind == Kind::Rego) {
        let package = package_of(&engine, source);
        let names: BTreeSet<&str> = source
            .text
            .lines()
            .map(str::trim_start)
            .filter(|l| l.starts_with("test_"))
            .filter_map(|l| l.split(|c: char| !(c.is_alphanumeric() || c == '_')).next())
            .filter(|name| declares(&engine, source, name))
            .collect();
        for name in names {
            match caught(|| engine.eval_rule(format!("data.{package}.{name}"))) {
                Ok(regorus::Value::Bool(true)) => report.passed += 1,
                other => report.failed.push(FailedTest {
                    name: format!("{package}.{name}"),
                    file: source.name.clone(),
                    values: other.map_or_else(|e| e, |v| v.to_string()),
                }),
            }
        }
    }
    if let Ok(coverage) = engine.get_coverage_report() {
        for file in coverage.files {
            if !file.path.ends_with("_test.rego") {
                let not_covered = file.not_covered.into_iter().collect();
                report.coverage.push(FileCoverage {
                    file: file.path,
                    covered: file.covered.len(),
                    not_covered,
                });
            }
        }
    }
    Ok(report)
}

/// Evaluate a query against an input.
///
/// # Errors
/// When the set does not load, or the query fails.
pub fn eval(sources: &[Source], query: &str, input: Option<&Value>) -> Result<Value, Vec<Problem>> {
    let mut engine = assemble(sources, true)?;
    if let Some(input) = input {
        engine.set_input(regorus::Value::from(input.clone()));
    }
    let wrong = |e: String| vec![place("query", &e)];
    let results = caught(|| engine.eval_query(query.to_owned(), false)).map_err(wrong)?;
    serde_json::to_value(&results).map_err(|e| wrong(e.to_string()))
}

/// A builtin that panics is an error of the policy.
fn caught<T, E: std::fmt::Display>(evaluate: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(evaluate)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("a builtin panicked".to_owned()),
    }
}

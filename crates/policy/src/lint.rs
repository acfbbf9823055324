//! What can be seen wrong with a policy without running it.

use crate::engine::{Engine, Kind, Problem, Source};

/// Every problem of a set, found by reading, loading and dry-running it.
#[must_use]
pub fn check(sources: Vec<Source>) -> Vec<Problem> {
    Engine::load(sources).err().unwrap_or_default()
}

/// Traps of the language that make a rule say less than it seems to.
pub(crate) fn lint(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let packages: Vec<String> = sources.iter().filter_map(|s| package_of(&s.text)).collect();
    let data: Vec<serde_json::Value> = sources
        .iter()
        .filter(|s| s.kind == Kind::Json)
        .filter_map(|s| serde_json::from_str(&s.text).ok())
        .collect();
    let has_yaml = sources.iter().any(|s| s.kind == Kind::Yaml);
    for source in sources.iter().filter(|s| s.kind == Kind::Rego) {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default();
            let mut problem = |col: usize, message: &str, suggestion: &str| {
                problems.push(Problem {
                    file: source.name.clone(),
                    line: number + 1,
                    col: col + 1,
                    message: message.to_owned(),
                    suggestion: Some(suggestion.to_owned()),
                });
            };
            if let Some(col) = code.find("glob.match(")
                && code.replace(' ', "").contains(",[],")
            {
                problem(
                    col,
                    "glob.match without delimiters never crosses a slash here, so the rule silently fails",
                    "pass [\"/\"]",
                );
            }
            // A misspelt reference under `not` is silently true.
            for (col, _) in code.match_indices("not data.") {
                let path: String = code
                    .get(col + 9..)
                    .unwrap_or_default()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
                    .collect();
                let known =
                    packages.iter().zip(sources).any(|(p, _)| {
                        path.strip_prefix(p.as_str()).and_then(|r| r.strip_prefix('.')).is_some_and(|rule| {
                            let rule = rule.split('.').next().unwrap_or_default();
                            sources
                                .iter()
                                .any(|s| package_of(&s.text).as_deref() == Some(p) && defines(&s.text, rule))
                        })
                    }) || data.iter().any(|d| d.pointer(&format!("/{}", path.replace('.', "/"))).is_some())
                        || has_yaml;
                if !known {
                    problem(
                        col,
                        &format!("`not data.{path}` is always true: nothing defines data.{path}"),
                        "check the spelling",
                    );
                }
            }
        }
    }
    problems
}

/// The package of a module.
pub(crate) fn package_of(text: &str) -> Option<String> {
    text.lines()
        .find_map(|l| l.trim().strip_prefix("package "))
        .map(|p| p.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Whether a module has a rule of this name.
pub(crate) fn defines(text: &str, rule: &str) -> bool {
    text.lines().any(|line| {
        let line = line.strip_prefix("default ").unwrap_or(line);
        line.strip_prefix(rule).is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.is_empty()
                || rest.starts_with([':', '=', '{', '[', '('])
                || rest.starts_with("if")
                || rest.starts_with("contains")
        })
    })
}

/// Find file, line and column in the engine's message (`--> file:line:col`).
pub(crate) fn place(file: &str, message: &str) -> Problem {
    let at = message.split("--> ").nth(1).and_then(|r| r.lines().next()).unwrap_or_default();
    let mut numbers = at.rsplit(':').filter_map(|n| n.trim().parse::<usize>().ok());
    let (col, line) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
    let text = message
        .lines()
        .rev()
        .find(|l| l.contains("error:"))
        .or_else(|| message.lines().next())
        .unwrap_or(message);
    let text = text.trim().trim_start_matches("error:").trim().to_owned();
    Problem { file: file.to_owned(), line, col, message: text, suggestion: None }
}

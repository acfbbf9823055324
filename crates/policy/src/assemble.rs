//! Sources into an evaluator, and what it knows of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::Value as RegoValue;
use regorus::utils::limits::ExecutionTimerConfig;

use crate::source::{Kind, Problem, Source};

/// Largest policy or data file.
const MAX_SOURCE: usize = 4 << 20;
/// Brackets within each other.
const MOST_NESTED: usize = 12;
/// Longest evaluation of one voter.
const MAX_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// Build an evaluator of all sources; with tests or without.
pub(crate) fn assemble(sources: &[Source], tests: bool) -> Result<regorus::Engine, Vec<Problem>> {
    let mut engine = regorus::Engine::new();
    // v0, as the published example of agent.access is written in; modules that import rego.v1 are v1 all the same.
    engine.set_rego_v0(true);
    engine.set_strict_builtin_errors(true);
    engine.set_execution_timer_config(limit());
    let mut problems = Vec::new();
    let mut names = std::collections::HashSet::new();
    for source in sources {
        if !names.insert(source.name.as_str()) {
            problems.push(Problem {
                file: source.name.clone(),
                line: 1,
                col: 1,
                message: "two files of the set have this name".to_owned(),
                suggestion: Some("rename one".into()),
                warning: false,
            });
            continue;
        }
        if source.text.len() > MAX_SOURCE {
            problems.push(Problem {
                file: source.name.clone(),
                line: 1,
                col: 1,
                message: format!("larger than {MAX_SOURCE} bytes"),
                suggestion: None,
                warning: false,
            });
            continue;
        }
        if let Some(line) =
            Some(source).filter(|s| s.kind == Kind::Rego).and_then(|s| nests_too_deep(&s.text))
        {
            problems.push(Problem {
                file: source.name.clone(),
                line,
                col: 1,
                message: format!("brackets within brackets, more than {MOST_NESTED} deep"),
                suggestion: Some("give what is inside a name of its own".into()),
                warning: false,
            });
            continue;
        }
        let added = match source.kind {
            Kind::Rego if source.is_test() && !tests => Ok(()),
            Kind::Rego => {
                catch_unwind(AssertUnwindSafe(|| engine.add_policy(source.name.clone(), source.text.clone())))
                    .map_or_else(
                        |_| Err("the parser failed".to_owned()),
                        |r| r.map(|_| ()).map_err(|e| e.to_string()),
                    )
            }
            Kind::Json => RegoValue::from_json_str(&source.text)
                .and_then(|v| engine.add_data(v))
                .map_err(|e| e.to_string()),
            Kind::Yaml => RegoValue::from_yaml_str(&source.text)
                .and_then(|v| engine.add_data(v))
                .map_err(|e| e.to_string()),
        };
        if let Err(message) = added {
            problems.push(place(&source.name, &message));
        }
    }
    if problems.is_empty() { Ok(engine) } else { Err(problems) }
}

/// The line in which brackets nest deeper than the parser can take: its time doubles with each.
fn nests_too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut line, mut rest) = (0usize, 1, text.chars());
    let mut closes = None;
    while let Some(c) = rest.next() {
        line += usize::from(c == '\n');
        match (closes, c) {
            // Of a text in double quotes what follows a backslash is a part.
            (Some('"'), '\\') => drop(rest.next()),
            (Some(end), _) => closes = closes.filter(|_| c != end),
            (None, '"' | '`') => closes = Some(c),
            (None, '#') => closes = Some('\n'),
            (None, '[' | '{' | '(') => depth += 1,
            (None, ']' | '}' | ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        if depth > MOST_NESTED {
            return Some(line);
        }
    }
    None
}

/// The limit on one evaluation.
pub(crate) fn limit() -> ExecutionTimerConfig {
    let check_interval = std::num::NonZeroU32::new(1000).unwrap_or(std::num::NonZeroU32::MIN);
    ExecutionTimerConfig { limit: MAX_TIME, check_interval }
}

/// The package of a module as the parser sees it, without `data.`; empty when the module is not loaded.
pub(crate) fn package_of(engine: &regorus::Engine, source: &Source) -> String {
    let packages = engine.get_policy_package_components().unwrap_or_default();
    packages
        .into_iter()
        .find(|p| p.source_file == source.name)
        .map(|p| p.components.join("."))
        .unwrap_or_default()
}

/// Whether a module has a rule of this name, or below it.
pub(crate) fn declares(engine: &regorus::Engine, source: &Source, rule: &str) -> bool {
    engine.has_declared_rule_rooted_at(&source.name, rule).unwrap_or(false)
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
    Problem { file: file.to_owned(), line, col, message: text, suggestion: None, warning: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_that_nest_too_deep_are_named_by_their_line() {
        let deep = |n: usize| format!("package a\nx := {}1{}\n", "[".repeat(n), "]".repeat(n));
        assert_eq!(nests_too_deep(&deep(MOST_NESTED)), None);
        assert_eq!(nests_too_deep(&deep(MOST_NESTED + 1)), Some(2));
        let brackets = "[".repeat(99);
        for text in [
            format!("# {brackets}\nx := 1\n"),
            format!("x := \"\\\"{brackets}\"\n"),
            format!("x := `{brackets}`\n"),
            "x := [[1]]\n".repeat(99),
        ] {
            assert_eq!(nests_too_deep(&text), None, "{text}");
        }
        let source = |text: String| Source { name: "a.rego".into(), text, kind: Kind::Rego };
        let problems = assemble(&[source(deep(28))], false).err().unwrap_or_default();
        assert_eq!(problems.first().map(|p| p.line), Some(2));
    }
}

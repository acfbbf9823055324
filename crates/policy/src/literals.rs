//! Decisions that are written down as such in a policy, and would be malformed: the engine denies where one comes out.

use serde_json::Value;

use crate::decision::{Effect, KNOWN, Obligation, Severity};
use crate::source::{Problem, Source};
use crate::spots::{problem, without_strings};

/// Every part of a written decision that the engine does not know.
pub(crate) fn malformed_decisions(sources: &[Source]) -> Vec<Problem> {
    sources.iter().filter(|source| source.votes()).flat_map(of_source).collect()
}

fn of_source(source: &Source) -> Vec<Problem> {
    let code = without_strings(&source.text);
    let mut problems = Vec::new();
    for (at, _) in source.text.match_indices("\"effect\"") {
        // Not where it is part of a comment, of another string, or a value.
        let is_key = code.get(at..=at) == Some("\"")
            && code.get(at + 8..).is_some_and(|rest| rest.trim_start().starts_with(':'));
        let Some((begin, end)) = is_key.then(|| around(&code, at)).flatten() else { continue };
        for field in fields(&source.text, &code, begin, end) {
            problems.extend(of_field(source, &field));
        }
    }
    problems
}

/// One field of an object that is written down.
struct Field<'a> {
    at: usize,
    key: &'a str,
    value: &'a str,
}

fn of_field(source: &Source, field: &Field<'_>) -> Vec<Problem> {
    let complain = |what: String, way_out: &str| vec![problem(source, field.at, &what, way_out)];
    if !KNOWN.contains(&field.key) {
        let what = format!("a decision has no field {:?}: it would deny as policy_error", field.key);
        return complain(what, &format!("its fields are {}", KNOWN.join(", ")));
    }
    let literal: Option<Value> = serde_json::from_str(field.value).ok();
    match (field.key, literal) {
        ("effect", Some(value)) if serde_json::from_value::<Effect>(value.clone()).is_err() => {
            complain(format!("there is no effect {value}"), "use allow, ask, step_up or deny")
        }
        ("reasons", Some(value)) if serde_json::from_value::<Vec<String>>(value.clone()).is_err() => {
            complain(format!("the reasons {value} are no list of strings"), "write [\"a_reason\"]")
        }
        ("advice" | "rule", Some(value)) if !value.is_string() => {
            complain(format!("the {} {value} is no string", field.key), "write one sentence")
        }
        ("obligations", Some(Value::Array(all))) => {
            all.iter().filter_map(of_obligation).flat_map(|what| complain(what, OBLIGATIONS)).collect()
        }
        ("obligations", Some(value)) => complain(format!("the obligations {value} are no list"), OBLIGATIONS),
        // Some of it is only known when it is evaluated; the names that are written down are known now.
        ("obligations", None) => named(field.value)
            .filter_map(|(key, value)| {
                let quoted = Value::String(value.to_owned());
                let is_known = match key {
                    "kind" => is_kind(value),
                    "severity" => serde_json::from_value::<Severity>(quoted).is_ok(),
                    _ => true,
                };
                (!is_known).then(|| format!("no obligation has the {key} {value:?}"))
            })
            .flat_map(|what| complain(what, OBLIGATIONS))
            .collect(),
        _ => Vec::new(),
    }
}

const OBLIGATIONS: &str =
    "they are inspect, redact, stage, budget with bytes, notify, alert with severity, suspend";

/// What is wrong with an obligation.
fn of_obligation(written: &Value) -> Option<String> {
    match serde_json::from_value::<Obligation>(written.clone()) {
        Ok(known) if serde_json::to_value(&known).is_ok_and(|again| again == *written) => None,
        Ok(_) => Some(format!("the obligation {written} has fields that its kind does not have")),
        Err(error) => Some(format!("the obligation {written} is none: {error}")),
    }
}

fn is_kind(kind: &str) -> bool {
    let error = serde_json::from_value::<Obligation>(serde_json::json!({ "kind": kind })).err();
    error.is_none_or(|error| !error.to_string().contains("unknown variant"))
}

/// `"key": "value"` wherever it stands in a text.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts: Vec<&str> = text.split('"').collect();
    (1..parts.len()).step_by(2).filter_map(move |at| {
        let is_pair = parts.get(at + 1).is_some_and(|between| between.trim() == ":");
        is_pair.then(|| Some((*parts.get(at)?, *parts.get(at + 2)?))).flatten()
    })
}

/// The braces around a place.
fn around(code: &str, at: usize) -> Option<(usize, usize)> {
    let mut depth = 0;
    let begin = code.get(..at)?.char_indices().rev().find_map(|(place, c)| {
        match c {
            '}' | ']' | ')' => depth += 1,
            '{' | '[' | '(' if depth == 0 => return Some((place, c)),
            '{' | '[' | '(' => depth -= 1,
            _ => {}
        }
        None
    });
    let (begin, '{') = begin? else { return None };
    let mut depth = 0;
    let end = code.get(begin..)?.char_indices().find_map(|(place, c)| {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(begin + place)
    });
    Some((begin + 1, end?))
}

/// The fields of the object between two places whose keys are written down.
fn fields<'a>(text: &'a str, code: &str, begin: usize, end: usize) -> Vec<Field<'a>> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, begin);
    for (place, c) in code.get(begin..end).unwrap_or_default().char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push((from, begin + place));
                from = begin + place + 1;
            }
            _ => {}
        }
    }
    parts.push((from, end));
    let field = |(from, to): (usize, usize)| {
        let part = text.get(from..to)?;
        let at = from + (part.len() - part.trim_start().len());
        let (key, value) = part.trim().strip_prefix('"')?.split_once('"')?;
        Some(Field { at, key, value: value.trim_start().strip_prefix(':')?.trim() })
    };
    parts.into_iter().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Kind;

    fn found(decision: &str) -> Vec<(usize, String)> {
        let text = format!(
            "package chaperone.own\nimport rego.v1\ndecision := {decision} if input.path == \"/never\"\n"
        );
        let source = Source { name: "own.rego".into(), text, kind: Kind::Rego };
        crate::check(vec![source]).into_iter().map(|p| (p.line, p.message)).collect()
    }

    #[test]
    fn a_decision_that_no_dry_run_reaches_is_reported_with_its_line() {
        let cases = [
            (r#"{"effect": "allowed", "reasons": ["x"]}"#, 3, "effect \"allowed\""),
            (r#"{"effect": "deny", "reasons": "x"}"#, 3, "reasons"),
            ("{\n\t\"effect\": \"ask\",\n\t\"reason\": [\"x\"]\n}", 5, "field \"reason\""),
            ("{\"effect\": \"ask\",\n\"obligations\": [{\"kind\": \"inspekt\"}]}", 4, "inspekt"),
            (r#"{"effect": "deny", "obligations": [{"kind": "alert"}]}"#, 3, "severity"),
            (r#"{"effect": "deny", "obligations": [{"kind": "alert", "severity": "huge"}]}"#, 3, "huge"),
            (r#"{"effect": "allow", "obligations": [{"kind": "redact", "all": true}]}"#, 3, "fields"),
            (r#"{"effect": "allow", "obligations": [{"kind": "bugdet", "bytes": input.n}]}"#, 3, "bugdet"),
            (r#"{"effect": "allow", "obligations": {"kind": "redact"}}"#, 3, "no list"),
            (r#"{"effect": "deny", "advice": ["do this"]}"#, 3, "advice"),
        ];
        for (decision, line, word) in cases {
            let found = found(decision);
            assert!(
                found.iter().any(|(at, what)| *at == line && what.contains(word)),
                "{decision}: {found:?}"
            );
        }
    }

    #[test]
    fn what_the_engine_knows_is_not_reported() {
        for decision in [
            r#"{"effect": "allow", "reasons": ["x"], "obligations": [{"kind": "budget", "bytes": 1}], "advice": "a, b: {c"}"#,
            r#"{"effect": "step_up", "reasons": [sprintf("%v", [input.n])], "obligations": [{"kind": "budget", "bytes": input.n}]}"#,
            r#"{"effect": input.effect, "obligations": [{"kind": "alert", "severity": "high"}, {"kind": "suspend"}], "rule": "x"}"#,
        ] {
            assert_eq!(found(decision), [], "{decision}");
        }
        assert_eq!(crate::check(crate::Engine::builtin_sources()), []);
    }
}

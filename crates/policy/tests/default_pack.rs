//! The default pack loads, its own tests pass, and the engine fails closed.

use chaperone_policy::{Effect, Engine, Kind, Source, Store, test};
use serde_json::{Value, json};

fn input(action: &str, path: &str) -> Value {
    json!({ "action": action, "agent": "a", "sub": "a", "path": path, "content": true, "inspected": true, "findings": [],
            "mount_actions": ["read", "list", "write", "append", "delete", "rename"],
            "session": { "profile": "default", "counters": { "deletes": 0 } } })
}

fn rego(text: &str) -> Source {
    Source { name: "own.rego".into(), text: text.into(), kind: Kind::Rego }
}

#[test]
fn the_default_pack_loads_and_its_tests_pass() {
    let engine = Engine::load(Engine::builtin_sources()).unwrap_or_else(|p| panic!("{p:?}"));
    assert_eq!(engine.revision().len(), 64);
    let report = test(&Engine::builtin_sources()).unwrap();
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert!(report.passed >= 15);
    assert!(!report.coverage.is_empty());
}

#[test]
fn what_no_policy_speaks_of_is_denied() {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    let decision = engine.decide(&json!({ "action": "exotic", "path": "/x", "mount_actions": ["exotic"] }));
    assert_eq!((decision.effect, decision.rule.as_str()), (Effect::Deny, "no_policy"));
}

#[test]
fn the_strongest_vote_wins() {
    let mut sources = Engine::builtin_sources();
    sources.push(rego("package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"deny\", \"reasons\": [\"mine\"]} if input.path == \"/workspace/no\""));
    let engine = Engine::load(sources).unwrap();
    assert_eq!(engine.decide(&input("read", "/workspace/yes")).effect, Effect::Allow);
    let denied = engine.decide(&input("read", "/workspace/no"));
    assert_eq!((denied.effect, denied.rule.as_str()), (Effect::Deny, "chaperone.own.mine"));
}

#[test]
fn the_missions_example_votes_verbatim() {
    let text = "package agent.access\n\ndefault allow = false\n\nallow {\n  input.action == \"read\"\n  startswith(input.path, \"/workspace/reports/\")\n  input.agent == data.agents[input.sub].id\n}\n";
    let data = Source {
        name: "agents.json".into(),
        text: json!({ "agents": { "a": { "id": "a" } } }).to_string(),
        kind: Kind::Json,
    };
    let mut sources = Engine::builtin_sources();
    sources.extend([rego(text), data]);
    let engine = Engine::load(sources).unwrap();
    assert_eq!(engine.decide(&input("read", "/workspace/reports/q1.csv")).effect, Effect::Allow);
    let other = engine.decide(&input("read", "/workspace/elsewhere.csv"));
    assert_eq!((other.effect, other.reasons), (Effect::Deny, vec!["not_allowed".to_owned()]));
}

#[test]
fn a_broken_or_wrong_policy_is_refused_at_load() {
    for bad in [
        "package chaperone.own\nimport rego.v1\ndecision := {",
        "package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"perhaps\"}",
        "package chaperone.own\nimport rego.v1\ndecision := \"allow\"",
        "package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"deny\"} if no.such.builtin(input)",
        "package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"deny\"} if glob.match(\"/home/**\", [], input.path)",
        "package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"allow\"} if not data.chaperone.filez.decision",
    ] {
        let mut sources = Engine::builtin_sources();
        sources.push(rego(bad));
        let problems = Engine::load(sources).unwrap_err();
        assert!(!problems.is_empty(), "{bad}");
    }
}

#[test]
fn a_set_that_never_loaded_denies_everything() {
    let (store, problems) = Store::new(vec![rego("package chaperone.own\nnonsense {")]);
    assert_eq!(problems.len(), 1);
    let decision = store.current().decide(&input("read", "/workspace/a"));
    assert_eq!((decision.effect, decision.rule.as_str()), (Effect::Deny, "policy_error"));
}

#[test]
fn hostile_input_is_decided_without_a_panic() {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    for hostile in [
        json!(null),
        json!([1, 2, 3]),
        json!({ "action": 7, "path": {}, "mount_actions": "read", "findings": 1 }),
        json!({ "action": "read", "path": "x".repeat(400_000) }),
        json!({ "action": "commit", "path": "/workspace/\u{202e}", "change": { "formula_cells": "many" } }),
    ] {
        assert_ne!(engine.decide(&hostile).effect, Effect::Allow, "{}", hostile.to_string().len());
    }
}

#[test]
fn explain_names_the_rule_and_what_would_change_it() {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    let mut asked = input("read", "/workspace/people.csv");
    asked["findings"] = json!([{ "detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.9, "count": 3 }]);
    let explained = chaperone_policy::explain(&engine, &asked);
    assert_eq!(explained.effect, Effect::Ask);
    assert!(explained.rule.starts_with("chaperone.files"), "{}", explained.rule);
    assert!(
        explained.would_change.iter().any(|w| w.starts_with("without findings")),
        "{:?}",
        explained.would_change
    );
}

#[test]
fn a_policy_that_is_indented_or_oddly_spaced_still_votes() {
    let mut sources = Engine::builtin_sources();
    sources.push(rego("package\tchaperone.own\nimport rego.v1\n  decision := {\"effect\": \"deny\", \"reasons\": [\"mine\"]} if { input.action == \"read\" }"));
    let engine = Engine::load(sources).unwrap();
    assert_eq!(engine.decide(&input("read", "/workspace/a")).effect, Effect::Deny);
}

#[test]
fn decisions_are_remembered_unless_they_rest_on_time_or_counters() {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    assert!(engine.decide(&input("read", "/workspace/a")).cacheable);
    assert!(engine.decide(&input("commit", "/workspace/a")).cacheable);
    for volatile in ["input.time > 5", "input[\"session\"].counters.reads > 5", "time.now_ns() > 5"] {
        let mut sources = Engine::builtin_sources();
        sources.push(rego(&format!(
            "package chaperone.own\nimport rego.v1\ndecision := {{\"effect\": \"allow\"}} if {volatile}"
        )));
        let engine = Engine::load(sources).unwrap_or_else(|p| panic!("{volatile}: {p:?}"));
        assert!(!engine.decide(&input("read", "/workspace/a")).cacheable, "{volatile}");
    }
}

#[test]
fn a_policy_that_may_look_at_the_sessions_name_is_known_for_it() {
    assert!(Engine::load(Engine::builtin_sources()).unwrap().outlives_sessions());
    for shipped in Engine::builtin_sources().iter().filter(|source| !source.name.ends_with("_test.rego")) {
        let code: String =
            shipped.text.replace("object.get(input, \"path\",", "").replace("object.get(input, \"to\",", "");
        for whole in ["session.id", "\"id\"", "input[", "(input)", "(input,", " input,", "session["] {
            assert!(!code.contains(whole), "{}: {whole}", shipped.name);
        }
    }
    let with = |rule: &str| {
        let mut sources = Engine::builtin_sources();
        sources.push(rego(&format!(
            "package chaperone.own\nimport rego.v1\n# input of a session\ndecision := {{\"effect\": \"allow\"}} if {{ {rule} }}"
        )));
        Engine::load(sources).unwrap_or_else(|p| panic!("{rule}: {p:?}")).outlives_sessions()
    };
    assert!(with("input.session.profile == \"default\""));
    assert!(with("input.path == \"the id of a session, an input\""));
    for rule in [
        "input.session.id == \"x\"",
        "input[\"session\"].profile == \"x\"",
        "input.session[\"profile\"] == \"x\"",
        "some name, value in input.session; value == \"x\"",
        "some name, value in input; value == \"x\"",
        "object.get(input, \"path\", \"\") == \"x\"",
        "input.path == `\n# `; input.session.id == \"x\"",
        "input.path == \"\\\"\"; input.session.id == \"x\"",
    ] {
        assert!(!with(rule), "{rule}");
    }
}

#[test]
fn unknown_functions_are_found_even_where_no_dry_run_comes() {
    let mut sources = Engine::builtin_sources();
    sources.push(rego("package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"deny\"} if {\n\tinput.path == \"/never\"\n\tstrngs.contains(input.path, \"(x)\")\n}"));
    let problems = chaperone_policy::check(sources);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let said = problems[0].to_string();
    assert!(said.starts_with("own.rego:5:2: there is no function strngs.contains"), "{said}");
}

#[test]
fn a_misspelt_reference_is_reported_by_check_and_denies_when_it_runs() {
    let text = "package agent.access\n\ndefault allow = false\n\nallow {\n  input.agent == data.agents[input.sub].id\n}\n";
    let mut sources = Engine::builtin_sources();
    sources.push(rego(text));
    let problems = chaperone_policy::check(sources.clone());
    assert!(
        problems.iter().any(|p| p.message == "nothing defines data.agents" && p.line == 6),
        "{problems:?}"
    );
    let engine = Engine::load(sources).unwrap();
    assert_eq!(engine.decide(&input("read", "/workspace/a")).reasons, ["not_allowed"]);
}

#[test]
fn a_set_loads_exactly_when_check_calls_nothing_in_it_an_error() {
    let decision = "decision := {\"effect\": \"deny\", \"reasons\": [\"mine\"]} if input.path == \"/never\"";
    let payroll = "startswith(input.path, \"/workspace/payroll/\")";
    for (text, errors, warnings) in [
        (format!("package chaperone.own\nimport rego.v1\n{decision}"), false, false),
        (format!("package chaperone.own\nimprt rego.v1\n{decision}"), true, false),
        (format!("package chaperone.own\n{decision}"), true, false),
        (
            format!(
                "package chaperone.own\nimport rego.v1\ndecision := {{\"effect\": \"aks\"}} if {payroll}"
            ),
            true,
            false,
        ),
        ("package chaperone.own\nimport rego.v1\ndecision := {".to_owned(), true, false),
        (format!("package chaperone.own\nimport rego.v1\n{decision}\nx if data.none.there"), false, true),
        (
            format!("package chaperone.own\nimport rego.v1\n{}", decision.replace("decision", "decison")),
            false,
            true,
        ),
        (format!("package chaprone.own\nimport rego.v1\n{decision}"), false, true),
        ("package own.helper\nimport rego.v1\nx := 1".to_owned(), false, true),
    ] {
        let mut sources = Engine::builtin_sources();
        sources.push(rego(&text));
        let problems = chaperone_policy::check(sources.clone());
        assert_eq!(problems.iter().any(|p| !p.warning), errors, "{text}: {problems:?}");
        assert_eq!(problems.iter().any(|p| p.warning), warnings, "{text}: {problems:?}");
        assert_eq!(Engine::load(sources).is_err(), errors, "{text}");
    }
}

#[test]
fn a_glob_without_delimiters_is_found_over_several_lines() {
    let mut sources = Engine::builtin_sources();
    sources.push(rego("package chaperone.own\nimport rego.v1\ndecision := {\"effect\": \"deny\"} if glob.match(\n\t\"/home/**\",\n\t[ ],\n\tinput.path,\n)"));
    assert!(
        chaperone_policy::check(sources).iter().any(|p| p.line == 3 && p.message.starts_with("glob.match"))
    );
}

#[test]
fn the_default_pack_has_nothing_to_complain_about() {
    let problems = chaperone_policy::check(Engine::builtin_sources());
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures time")]
fn a_decision_takes_far_less_than_a_millisecond() {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    let input = input("read", "/workspace/reports/q1.csv");
    let rounds = 500;
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        assert_eq!(engine.decide(&input).effect, Effect::Allow);
    }
    let each = begun.elapsed() / rounds;
    println!("{each:?} a decision");
    assert!(each < std::time::Duration::from_millis(20), "{each:?}");
}

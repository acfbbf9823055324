//! The policies that ship, compiled for the virtual machine of `regorus`: six times as fast as its interpreter.
//!
//! The interpreter stays the measure. The machine passes over what the interpreter calls an error (wrong types in the body
//! of a rule, two values of one rule), and an error must deny. So only what ships is compiled, and only an input whose
//! fields have the types that the broker gives them goes to the machine; the tests below hold the two against each other.
//! The user's own policies are interpreted, and so is everything as soon as one of them speaks in a package that ships.

use std::sync::Arc;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::rvm::program::Program;
use serde_json::Value;

use crate::assemble::{assemble, limit, package_of};
use crate::source::{Kind, Source};

/// Instructions of one vote. The limit of time comes first; beyond either: an error, which denies.
const MAX_INSTRUCTIONS: usize = 100_000_000;

/// The types of all fields that the policies that ship read; each may be absent.
const FIELDS: &[(&str, Type)] = &[
    ("action", Type::Text),
    ("path", Type::Text),
    ("to", Type::Text),
    ("content", Type::Flag),
    ("inspected", Type::Flag),
    ("findings", Type::Findings),
    ("unread", Type::Texts),
    ("mount_actions", Type::Texts),
    ("elevated", Type::Flag),
    ("host", Type::Text),
    ("port", Type::Number),
    ("net.allowed", Type::Flag),
    ("net.reaches", Type::Text),
    ("net.named", Type::Flag),
    ("net.tunnel", Type::TextOrNull),
    ("net.budget", Type::Text),
    ("net.untrusted_recent", Type::Number),
    ("net.method_named", Type::Flag),
    ("net.request_allowed", Type::Flag),
    ("net.bytes", Type::Number),
    ("net.passages", Type::Number),
    ("net.registered", Type::Number),
    ("net.unread", Type::Texts),
    ("net.credentials", Type::Credentials),
    ("tool", Type::Text),
    ("method", Type::Text),
    ("url", Type::Text),
    ("session.profile", Type::Text),
    ("session.reads", Type::Text),
    ("change.op", Type::Text),
    ("change.kind", Type::Text),
    ("change.git_path", Type::Text),
    ("change.shebang", Type::TextOrNull),
    ("change.becomes_executable", Type::Flag),
    ("change.deceptive_name", Type::Flag),
    ("change.option_name", Type::Flag),
    ("change.sample_hook", Type::Flag),
    ("change.settings_plain", Type::Flag),
    ("change.no_git_settings", Type::Flag),
    ("change.link_leaves_root", Type::Flag),
    ("change.link_leaves_by_another", Type::Flag),
    ("change.origin_known", Type::Flag),
    ("change.replaces", Type::Flag),
    ("change.leaves_protection", Type::Flag),
    ("change.repository_lost", Type::Flag),
    ("change.removes_guard", Type::Flag),
    ("change.link_in_repository", Type::Flag),
    ("change.link_runs_later", Type::Texts),
    ("change.link_unprotects", Type::Flag),
    ("change.name_findings", Type::Texts),
    ("change.workbook_refusal", Type::TextOrNull),
    ("change.formula_cells", Type::Number),
    ("change.remote_content", Type::Number),
    ("change.remote_hosts", Type::Number),
    ("change.active_content", Type::Number),
    ("change.active_page", Type::Flag),
    ("change.cannot_look", Type::Flag),
    ("change.runs_later", Type::Texts),
    ("change.dependencies", Type::TextOrNull),
    ("change.dependencies_new", Type::Flag),
    ("change.dependencies_rewritten", Type::Flag),
    ("change.install_step", Type::Flag),
    ("change.link_in_dependencies", Type::Flag),
    ("change.link_to_system", Type::Flag),
    ("change.in_checkout", Type::Flag),
    ("change.kind_known", Type::Flag),
    ("change.new_sources", Type::Number),
    ("change.compiled", Type::TextOrNull),
    ("change.type_by_magic", Type::Text),
    ("change.shebang_changed", Type::Flag),
    ("change.becomes_writable_by", Type::Texts),
    ("change.no_longer_private", Type::Flag),
    ("change.sets_id", Type::Flag),
    ("change.hides_from_git", Type::Flag),
    ("change.program_changed", Type::Flag),
    ("change.shadows_library", Type::Flag),
    ("change.state_held", Type::Flag),
    ("change.state_inert", Type::Flag),
    ("change.settings_inert", Type::Flag),
    ("change.was", Type::TextOrNull),
    ("change.removes", Type::Flag),
    ("change.removals_in_commit", Type::Number),
    ("change.foreign_placeholders", Type::Number),
    ("change.damaged_placeholders", Type::Number),
    ("change.exposed_placeholders", Type::Number),
    ("change.elevate.action", Type::Text),
    ("change.elevate.reaches", Type::Text),
    ("change.elevate.named", Type::Flag),
    ("change.elevate.wide", Type::Flag),
];

#[derive(Debug, Clone, Copy)]
enum Type {
    Text,
    TextOrNull,
    Texts,
    Flag,
    Number,
    Findings,
    Credentials,
}

/// Compiled voters.
pub(crate) struct Compiled {
    program: Arc<Program>,
    policy: regorus::CompiledPolicy,
    rules: Vec<String>,
}

impl Compiled {
    /// Compile those of the voters (`data.….decision` and package) that ship; `None` where only the interpreter will do.
    pub fn of(sources: &[Source], whole: &regorus::Engine, voters: &[(String, String)]) -> Option<Self> {
        let (shipped, own): (Vec<Source>, Vec<Source>) =
            sources.iter().filter(|s| !s.is_test()).cloned().partition(Source::ships);
        let packages: Vec<String> = shipped.iter().map(|s| package_of(whole, s)).collect();
        let interferes = |source: &Source| match source.document() {
            Some(document) => document["chaperone"] != regorus::Value::Undefined,
            None => source.kind != Kind::Rego || meets(&package_of(whole, source), &packages),
        };
        if own.iter().any(interferes) {
            return None;
        }
        let mut engine = assemble(&shipped, false).ok()?;
        let rules: Vec<String> =
            voters.iter().filter(|(_, p)| packages.contains(p)).map(|(rule, _)| rule.clone()).collect();
        let policy = engine.compile_with_entrypoint(&Arc::from(rules.first()?.as_str())).ok()?;
        let entries: Vec<&str> = rules.iter().map(String::as_str).collect();
        let program = Compiler::compile_from_policy(&policy, &entries).ok()?;
        let compiled = Self { program, policy, rules };
        compiled.machine().map(|_| compiled)
    }

    /// Which entry of the machine a rule is.
    pub fn entry(&self, rule: &str) -> Option<usize> {
        self.rules.iter().position(|known| known == rule)
    }

    /// A machine to run them on.
    pub fn machine(&self) -> Option<RegoVM> {
        let mut machine = RegoVM::new_with_policy(self.policy.clone());
        machine.load_program(Arc::clone(&self.program));
        machine.set_strict_builtin_errors(true);
        machine.set_max_instructions(MAX_INSTRUCTIONS);
        machine.set_execution_timer_config(Some(limit()));
        machine.set_data(regorus::Value::new_object()).ok()?;
        Some(machine)
    }
}

/// Whether every field that the policies that ship read has its type.
pub(crate) fn is_well_formed(input: &Value) -> bool {
    FIELDS.iter().all(|(path, expected)| {
        let mut at = input;
        for name in path.split('.') {
            let Value::Object(fields) = at else { return false };
            let Some(value) = fields.get(name) else { return true };
            at = value;
        }
        expected.is_of(at)
    })
}

impl Type {
    fn is_of(self, value: &Value) -> bool {
        let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(is));
        match self {
            Self::Text => value.is_string(),
            Self::TextOrNull => value.is_string() || value.is_null(),
            Self::Texts => all(Value::is_string),
            Self::Flag => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::Credentials => all(|credential| {
                credential.get("detector").is_some_and(Value::is_string)
                    && credential.get("own").is_some_and(Value::is_boolean)
            }),
            Self::Findings => all(|finding| {
                let has = |name: &str, is: fn(&Value) -> bool| finding.get(name).is_some_and(is);
                has("detector", Value::is_string)
                    && has("category", Value::is_string)
                    && has("severity", Value::is_string)
                    && has("confidence", Value::is_number)
                    && has("count", Value::is_number)
            }),
        }
    }
}

/// Whether a package is one of these, or above or below one.
fn meets(package: &str, others: &[String]) -> bool {
    let below = |lower: &str, upper: &str| lower == upper || lower.starts_with(&format!("{upper}."));
    others.iter().any(|other| below(package, other) || below(other, package))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::Engine;
    use crate::source::builtin;

    fn engine() -> Engine {
        let engine = Engine::load(builtin()).unwrap();
        assert!(engine.compiled.is_some());
        engine
    }

    fn interpreted() -> Engine {
        let mut engine = engine();
        engine.compiled = None;
        engine
    }

    fn own(text: &str) -> Source {
        Source { name: "own.rego".into(), text: text.into(), kind: Kind::Rego }
    }

    #[test]
    fn all_that_ships_is_compiled_unless_a_policy_of_the_person_meets_it() {
        let loaded = |more: Vec<Source>| Engine::load(builtin().into_iter().chain(more).collect()).unwrap();
        let compiled = |engine: &Engine| engine.compiled.as_ref().map(|c| c.rules.len());
        let all = compiled(&loaded(vec![]));
        assert!(all.is_some_and(|n| n >= 7), "{all:?}");
        let decision = "import rego.v1\ndecision := {\"effect\": \"deny\"} if input.path == \"/x\"";
        assert_eq!(compiled(&loaded(vec![own(&format!("package chaperone.own\n{decision}"))])), all);
        assert_eq!(
            compiled(&loaded(vec![own(
                "package chaperone.credentials\nimport rego.v1\nstore if input.path == \"/x\""
            )])),
            None
        );
        assert_eq!(
            compiled(&loaded(vec![own("package chaperone.findings.more\nimport rego.v1\nx := 1")])),
            None
        );
        let data = |text: &str| Source { name: "own.json".into(), text: text.into(), kind: Kind::Json };
        assert_eq!(compiled(&loaded(vec![data("{\"x\": 1}")])), all);
        assert_eq!(compiled(&loaded(vec![data("{\"chaperone\": {\"own\": 1}}")])), None);
    }

    #[test]
    fn the_types_of_all_fields_that_ship_are_known() {
        for source in builtin().iter().filter(|s| !s.is_test()) {
            for line in source.text.lines().filter(|l| !l.trim_start().starts_with('#')) {
                // The word, not the beginning of another such as `.inputrc`.
                let uses =
                    line.split("input").skip(1).filter(|rest| !rest.starts_with(char::is_alphanumeric));
                for rest in uses {
                    let name = rest.trim_start_matches([',', ' ', '"', '.']);
                    let name: &str = name
                        .split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == '.'))
                        .next()
                        .unwrap();
                    let known = FIELDS.iter().any(|(field, _)| *field == name);
                    assert!(known, "{}: {line}", source.name);
                }
            }
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just(""),
            Just(".ssh"),
            Just("id_rsa"),
            Just(".env"),
            Just(".env.example"),
            Just("Makefile"),
            Just(".git"),
            Just("hooks"),
            Just("pre-commit"),
            Just("config"),
            Just("a.xlsx"),
            Just("b.csv"),
            Just("reports"),
            Just("worktrees"),
            Just("etc"),
            Just("authorized_keys"),
            Just("chromium"),
            Just("Default"),
            Just(".npmrc"),
            Just("x.PEM"),
            Just("shadow"),
            Just("\u{130}\u{202e}"),
        ];
        prop::collection::vec(part, 0..5).prop_map(|parts| format!("/workspace/{}", parts.join("/")))
    }

    fn words() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(
            prop::sample::select(vec!["read", "write", "append", "list", "pii", "secret", "group", "other"]),
            0..5,
        )
    }

    fn finding() -> impl Strategy<Value = Value> {
        let word = |of: &'static [&'static str]| prop::sample::select(of);
        let (detector, category) = (word(&["email_address", "us_ssn"]), word(&["pii", "secret", "other"]));
        let severity = word(&["critical", "high", "medium", "low"]);
        (detector, category, severity, 0.0..1.0, 0..30u64).prop_map(|(detector, category, severity, confidence, count)| {
            json!({ "detector": detector, "category": category, "severity": severity, "confidence": confidence, "count": count })
        })
    }

    fn change() -> impl Strategy<Value = Value> {
        let flag = || prop::option::of(any::<bool>());
        let op = prop::sample::select(vec!["create", "modify", "delete", "rename"]);
        let kind = prop::option::of(prop::sample::select(vec!["file", "dir"]));
        let refusal =
            prop::option::of(prop::option::of(prop::sample::select(vec!["macro", "external_link"])));
        let shebang = prop::option::of(prop::option::of(Just("/bin/sh")));
        let classes =
            prop::collection::vec(prop::sample::select(vec!["build", "dependencies", "hooks"]), 0..3);
        let compiled = prop::option::of(prop::sample::select(vec!["cache", "code"]));
        let magic = prop::sample::select(vec!["script", "text", "elf"]);
        (
            op,
            kind,
            refusal,
            shebang,
            (flag(), flag(), flag(), flag(), flag(), flag(), flag()),
            (flag(), flag(), flag(), flag(), flag()),
            (prop::option::of(words()), prop::option::of(words()), prop::option::of(classes)),
            (
                prop::option::of(-1..3),
                prop::option::of(49..53),
                prop::option::of(0..2),
                prop::option::of(0..2),
                prop::option::of(0..2),
            ),
            (prop::option::of(compiled), prop::option::of(magic)),
        )
            .prop_map(
                |(
                    op,
                    kind,
                    refusal,
                    shebang,
                    flags,
                    more,
                    (names, writers, classes),
                    (cells, removals, loads, hosts, sources),
                    (compiled, magic),
                )| {
                    let fields = [
                        ("op", Some(json!(op))),
                        ("kind", kind.map(|k| json!(k))),
                        ("workbook_refusal", refusal.map(|r| json!(r))),
                        ("shebang", shebang.map(|s| json!(s))),
                        ("becomes_executable", flags.0.map(|f| json!(f))),
                        ("deceptive_name", flags.1.map(|f| json!(f))),
                        ("link_leaves_root", flags.2.map(|f| json!(f))),
                        ("origin_known", flags.3.map(|f| json!(f))),
                        ("replaces", flags.4.map(|f| json!(f))),
                        ("name_findings", names.map(|n| json!(n))),
                        ("formula_cells", cells.map(|c| json!(c))),
                        ("sets_id", flags.5.map(|f| json!(f))),
                        ("removes", flags.6.map(|f| json!(f))),
                        ("becomes_writable_by", writers.map(|w| json!(w))),
                        ("removals_in_commit", removals.map(|r| json!(r))),
                        ("in_checkout", more.0.map(|f| json!(f))),
                        ("kind_known", more.1.map(|f| json!(f))),
                        ("active_page", more.2.map(|f| json!(f))),
                        ("cannot_look", more.3.map(|f| json!(f))),
                        ("shebang_changed", more.4.map(|f| json!(f))),
                        ("runs_later", classes.map(|c| json!(c))),
                        ("remote_content", loads.map(|n| json!(n))),
                        ("active_content", loads.map(|n| json!(n))),
                        ("remote_hosts", hosts.map(|n| json!(n))),
                        ("foreign_placeholders", hosts.map(|n| json!(n))),
                        ("damaged_placeholders", sources.map(|n| json!(n))),
                        ("exposed_placeholders", sources.map(|n| json!(n))),
                        ("new_sources", sources.map(|n| json!(n))),
                        ("compiled", compiled.map(|c| json!(c))),
                        ("type_by_magic", magic.map(|m| json!(m))),
                    ];
                    fields
                        .into_iter()
                        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                        .collect::<serde_json::Map<_, _>>()
                        .into()
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn machine_and_interpreter_agree(
            action in prop::sample::select(vec!["read", "write", "append", "list", "stat", "delete", "rename", "commit", "elevate", "connect", "odd"]),
            path in text(), to in prop::option::of(text()), content in any::<bool>(), inspected in any::<bool>(),
            findings in prop::option::of(prop::collection::vec(finding(), 0..4)), change in prop::option::of(change()),
            actions in words(), profile in prop::sample::select(vec!["default", "spreadsheet"]), deletes in 0..100,
        ) {
            let mut input = json!({
                "action": action, "path": path, "content": content, "inspected": inspected, "mount_actions": actions,
                "session": { "profile": profile, "counters": { "deletes": deletes } },
            });
            for (name, value) in [("to", to.map(|t| json!(t))), ("findings", findings.map(|f| json!(f))), ("change", change)] {
                if let Some(value) = value {
                    input[name] = value;
                }
            }
            prop_assert!(is_well_formed(&input));
            thread_local! {
                static BOTH: (Engine, Engine) = (engine(), interpreted());
            }
            BOTH.with(|(compiled, interpreted)| {
                prop_assert_eq!(compiled.votes(&input), interpreted.votes(&input), "{}", input);
                Ok(())
            })?;
        }
    }

    #[test]
    fn an_input_with_a_wrong_type_is_not_for_the_machine() {
        for wrong in [
            json!(7),
            json!({ "path": 7 }),
            json!({ "change": [] }),
            json!({ "change": { "formula_cells": "many" } }),
            json!({ "findings": [{ "category": "pii" }] }),
            json!({ "mount_actions": "read" }),
            json!({ "session": { "profile": 1 } }),
        ] {
            assert!(!is_well_formed(&wrong), "{wrong}");
        }
    }
}

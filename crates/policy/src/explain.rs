//! Why a decision is what it is, and what would change it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::decision::Effect;
use crate::engine::Engine;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vote {
    pub rule: String,
    pub effect: Effect,
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub effect: Effect,
    pub rule: String,
    pub reasons: Vec<String>,
    pub advice: Option<String>,
    pub votes: Vec<Vote>,
    /// Changes of the input under which the effect would be weaker.
    pub would_change: Vec<String>,
}

/// Explain the decision on an input.
#[must_use]
pub fn explain(engine: &Engine, input: &Value) -> Explanation {
    let decision = engine.decide(input);
    let votes = engine
        .votes(input)
        .into_iter()
        .map(|v| Vote { rule: v.rule, effect: v.effect, reasons: v.reasons })
        .collect();
    let mut would_change = Vec::new();
    for (what, patch) in variants(input) {
        let other = engine.decide(&patch);
        if other.effect < decision.effect {
            would_change.push(format!(
                "{what}: {}",
                serde_json::to_string(&other.effect).unwrap_or_default().trim_matches('"')
            ));
        }
    }
    Explanation {
        effect: decision.effect,
        rule: decision.rule,
        reasons: decision.reasons,
        advice: decision.advice,
        votes,
        would_change,
    }
}

/// Inputs that differ in one thing.
fn variants(input: &Value) -> Vec<(String, Value)> {
    let with = |field: &str, value: Value| {
        let mut other = input.clone();
        if let Value::Object(map) = &mut other {
            map.insert(field.to_owned(), value);
        }
        other
    };
    let mut all = vec![
        ("without findings".to_owned(), with("findings", json!([]))),
        (
            "when the user approved it".to_owned(),
            with("approved", json!({ "effect": "ask", "redact": false })),
        ),
        ("as a read".to_owned(), with("action", json!("read"))),
        ("as a list".to_owned(), with("action", json!("list"))),
        (
            "in a mount that allows it".to_owned(),
            with("mount_actions", json!(["read", "list", "write", "append", "delete", "rename"])),
        ),
        ("without what the change does".to_owned(), with("change", json!({ "op": "modify" }))),
    ];
    if let Some(name) = input["path"].as_str().and_then(|p| p.rsplit('/').next()) {
        let mount = input["resource"]["mount"].as_str().unwrap_or("/workspace");
        all.push((
            format!("at {mount}/notes.txt instead of {name}"),
            with("path", json!(format!("{mount}/notes.txt"))),
        ));
    }
    all.retain(|(_, v)| v != input);
    all
}

//! Whatever the input is, a decision comes out, and malformed input is never let through by the default pack.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::LazyLock;

use chaperone_policy::{Effect, Engine};
use proptest::prelude::*;
use serde_json::{Value, json};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::load(Engine::builtin_sources()).unwrap());

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,20}".prop_map(|s| json!(s)),
        Just(json!("pii")),
        Just(json!("delete")),
        Just(json!("/workspace/.env")),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_of_any_field_is_decided(
        action in prop_oneof![any_json(), "read|write|list|commit|elevate|rename".prop_map(|s| json!(s))],
        path in any_json(), findings in any_json(), change in any_json(), actions in any_json(), session in any_json(),
    ) {
        let decision = ENGINE.decide(&json!({
            "action": action, "path": path, "findings": findings, "change": change, "mount_actions": actions,
            "session": session, "content": true, "inspected": true,
        }));
        prop_assert!(!decision.rule.is_empty());
        if !action.is_string() {
            prop_assert_eq!(decision.effect, Effect::Deny);
        }
    }

    #[test]
    fn any_document_is_decided(input in any_json()) {
        prop_assert_eq!(ENGINE.decide(&input).effect, Effect::Deny);
    }

    #[test]
    fn stores_of_credentials_stay_closed_below_any_directory(folder in "[a-zA-Z0-9 ._-]{1,30}", high in "[A-Z.]{0,3}") {
        let input = json!({ "action": "read", "path": format!("/workspace/{folder}/{high}/.ssh/id"), "content": true,
                            "inspected": true, "findings": [], "mount_actions": ["read"] });
        prop_assert_eq!(ENGINE.decide(&input).effect, Effect::Deny);
    }
}

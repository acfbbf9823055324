//! What a policy says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Effects in the order of their strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Allow,
    Ask,
    StepUp,
    Deny,
}

/// What an allow demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligation {
    pub kind: String,
    #[serde(flatten)]
    pub params: Value,
}

/// The decision on one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub effect: Effect,
    pub reasons: Vec<String>,
    pub obligations: Vec<Obligation>,
    /// One plain sentence on what the agent may do instead.
    pub advice: Option<String>,
    /// The package that decided, with its first reason.
    pub rule: String,
    /// It holds as long as input and policy do not change.
    pub cacheable: bool,
}

impl Decision {
    pub(crate) fn denied(reason: &str, rule: &str) -> Self {
        Self {
            effect: Effect::Deny,
            reasons: vec![reason.to_owned()],
            obligations: Vec::new(),
            advice: None,
            rule: rule.to_owned(),
            cacheable: false,
        }
    }

    /// Parse a `decision` document; `None` for a wrong type.
    pub(crate) fn parse(document: &Value, package: &str) -> Option<Self> {
        let document = document.as_object()?;
        let known = ["effect", "reasons", "obligations", "advice", "rule"];
        if document.keys().any(|k| !known.contains(&k.as_str())) {
            return None;
        }
        let effect = serde_json::from_value(document.get("effect")?.clone()).ok()?;
        let strings = |field: &str| -> Option<Vec<String>> {
            match document.get(field) {
                None => Some(Vec::new()),
                Some(v) => serde_json::from_value(v.clone()).ok(),
            }
        };
        let reasons = strings("reasons")?;
        let obligations = match document.get("obligations") {
            None => Vec::new(),
            Some(v) => serde_json::from_value(v.clone()).ok()?,
        };
        let advice = match document.get("advice") {
            None => None,
            Some(Value::String(s)) => Some(s.clone()),
            Some(_) => return None,
        };
        let first = reasons.first().cloned().unwrap_or_default();
        let rule = if first.is_empty() { package.to_owned() } else { format!("{package}.{first}") };
        Some(Self { effect, reasons, obligations, advice, rule, cacheable: true })
    }
}

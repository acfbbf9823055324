//! What a policy says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The fields of a decision document.
pub(crate) const KNOWN: &[&str] = &["effect", "reasons", "obligations", "advice", "rule"];

/// Effects in the order of their strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Allow,
    Ask,
    StepUp,
    Deny,
}

/// What a decision demands besides its effect. An unknown kind, or a field that its kind does not have, is a malformed
/// decision, which denies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Obligation {
    /// The content is looked into, and policy decides again with what was found.
    Inspect,
    /// Of an allow: only a redacted copy. Of an ask: the user may answer with one.
    Redact,
    /// The change waits in the stage.
    Stage,
    /// No more than so many bytes are read in the session.
    Budget { bytes: u64 },
    /// Watchers are told, also of what is allowed without a question.
    Notify,
    /// An alert is raised when the request is refused.
    Alert { severity: Severity },
    /// The session is stopped until the user has looked.
    Suspend,
}

/// How serious an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Obligation {
    /// Whether it makes less possible: then an answer to an ask holds only if the user was shown it.
    #[must_use]
    pub fn restricts(&self) -> bool {
        matches!(self, Self::Redact | Self::Stage | Self::Budget { .. })
    }

    /// Whether who was shown `shown` was shown this, too, or something stricter.
    #[must_use]
    pub fn was_shown_in(&self, shown: &[Self]) -> bool {
        match self {
            Self::Budget { bytes } => {
                shown.iter().any(|s| matches!(s, Self::Budget { bytes: less } if less <= bytes))
            }
            _ => !self.restricts() || shown.contains(self),
        }
    }

    /// Whether it says something to a refused request, too.
    #[must_use]
    pub fn holds_on_denial(&self) -> bool {
        matches!(self, Self::Notify | Self::Alert { .. } | Self::Suspend)
    }
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
    /// Both decisions at once: the stronger effect with its reasons, and the obligations of both; on a denial, those that say
    /// something to it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (mut first, second) = if other.effect > self.effect { (other, self) } else { (self, other) };
        if first.effect == second.effect {
            let more = second.reasons.into_iter().filter(|r| !first.reasons.contains(r)).collect::<Vec<_>>();
            first.reasons.extend(more);
            first.advice = first.advice.or(second.advice);
        }
        let more =
            second.obligations.into_iter().filter(|o| !first.obligations.contains(o)).collect::<Vec<_>>();
        first.obligations.extend(more);
        if first.effect == Effect::Deny {
            first.obligations.retain(Obligation::holds_on_denial);
        }
        first.cacheable &= second.cacheable;
        first
    }

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
        if document.keys().any(|k| !KNOWN.contains(&k.as_str())) {
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
            Some(v) => {
                let obligations: Vec<Obligation> = serde_json::from_value(v.clone()).ok()?;
                // A kind without fields would pass over those that it is given.
                if serde_json::to_value(&obligations).ok()? != *v {
                    return None;
                }
                obligations
            }
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

//! Asks as the user is shown them, and how far an answer holds.

use serde::{Deserialize, Serialize};

/// How an ask is answered when nobody is there to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum AskMode {
    /// Wait for the user until the time-out, then deny.
    #[default]
    Wait,
    Deny,
    /// Redact; what cannot be redacted is denied.
    Redact,
}

/// How far the user's answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "seconds")]
pub enum Scope {
    Once,
    Session,
    For(u64),
}

/// What the user is shown. Everything the agent supplied is already stripped of control and bidi characters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    pub id: String,
    pub session: String,
    pub agent: String,
    pub action: String,
    pub resource: String,
    /// What the file was called in the user's directory, where the session gave it another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The program that asks with its arguments, then its parents; supplied by the agent, untrusted.
    pub program: Vec<String>,
    pub parents: Vec<String>,
    /// What the session touched just before.
    pub recent: Vec<String>,
    pub findings: Vec<FindingSummary>,
    pub reasons: Vec<String>,
    pub rule: String,
    pub advice: Option<String>,
    pub risk: String,
    /// `ask` or `step_up`.
    pub effect: String,
    pub redactable: bool,
    /// What an elevation request says of itself; untrusted.
    pub justification: Option<String>,
    /// Files that the session read, of which passages would be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// How much of anything would leave the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Leaves>,
    /// Why a part of the content, or all of it, could not be looked into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// An answer for the session, or for a while, covers reading every file that cannot be looked into for the same reasons.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub covers_kind: bool,
    /// What would be sent to people; untrusted, and shown but never recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub digest: String,
    /// Unix seconds.
    pub expires: i64,
}

/// How much would leave with a request. An answer that holds for more than one lets a multiple of it leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaves {
    /// Bytes of the body.
    pub body: u64,
    /// Bytes of the address and the headers.
    pub head: u64,
    /// Passages of what the session read.
    pub passages: u64,
    /// The query of the address; untrusted, and shown but never recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// What content inspection found, without the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingSummary {
    pub detector: String,
    /// `pii`, `secret` or `covert` (data in disguise).
    pub category: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// 0 to 1.
    pub confidence: f32,
    /// Values found, repetitions included.
    pub count: u64,
    /// The first place.
    #[serde(rename = "where")]
    pub place: String,
    /// Keyed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fingerprint: Option<String>,
}

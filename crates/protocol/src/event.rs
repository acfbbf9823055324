//! What the broker tells whoever watches: terminals, notifications, the console. Never the record of anything: the audit log is
//! written first.

use serde::{Deserialize, Serialize};

use crate::approval::{Ask, FindingSummary};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The session that it is of; empty for what concerns all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened. Names that an agent chose are made safe to show already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happened {
    /// The watcher is heard from here on.
    Watching,
    Allowed {
        action: String,
        resource: String,
    },
    Redacted {
        action: String,
        resource: String,
    },
    /// Allowed, and policy wants it noticed.
    Notice {
        action: String,
        resource: String,
        reasons: Vec<String>,
    },
    Asked {
        id: String,
        action: String,
        resource: String,
        reasons: Vec<String>,
        findings: Vec<FindingSummary>,
        ask: Box<Ask>,
    },
    Answered {
        id: String,
        action: String,
        resource: String,
        answer: String,
    },
    Refused {
        action: String,
        resource: String,
        reasons: Vec<String>,
        rule: String,
        advice: Option<String>,
        /// How often this very refusal happened.
        count: u64,
        /// It is in the audit log.
        logged: bool,
    },
    Alert {
        action: String,
        resource: String,
        reasons: Vec<String>,
        rule: String,
        technique: Option<String>,
        /// `low`, `medium`, `high` or `critical`.
        severity: String,
        logged: bool,
    },
    Suspended {
        reasons: Vec<String>,
    },
    Ended {
        cause: String,
        code: i32,
    },
    /// Another set of policies is in force.
    Policy {
        revision: String,
    },
    PolicyProblem {
        problem: String,
    },
}

impl Event {
    /// An event of one session.
    #[must_use]
    pub fn of(session: &str, what: Happened) -> Self {
        Self { session: session.to_owned(), what }
    }

    /// An event that concerns all.
    #[must_use]
    pub fn general(what: Happened) -> Self {
        Self { session: String::new(), what }
    }
}

impl Happened {
    /// What is allowed without a question: told only to those who want it.
    #[must_use]
    pub fn is_routine(&self) -> bool {
        matches!(self, Self::Allowed { .. } | Self::Redacted { .. })
    }
}

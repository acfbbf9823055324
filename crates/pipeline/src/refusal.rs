//! A denial as the agent learns it, and what else follows from it.

use chaperone_policy::{Decision, Obligation};
use chaperone_protocol::{Failure, reason};

use crate::snapshots::Inspected;

/// What policy says of content that could not be looked into.
pub(crate) const CANNOT_LOOK: &str = "cannot_look_inside";
/// Which part it is: for the user, as the names of parts are content.
const NAMES_IT: &str =
    "outside of the cell, `chaperone inspect FILE` names the part that cannot be looked into";

/// Why a request was refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub failure: Failure,
    pub rule: String,
    pub reasons: Vec<String>,
    /// What policy demands besides: an alert, a notification, a suspension.
    pub obligations: Vec<Obligation>,
}

impl Refusal {
    /// By the broker itself, whatever policy says.
    #[must_use]
    pub fn by_broker(failure: Failure) -> Self {
        Self {
            rule: format!("broker.{}", failure.code),
            reasons: vec![failure.code.clone()],
            failure,
            obligations: Vec::new(),
        }
    }

    /// By the session's capability.
    #[must_use]
    pub fn by_capability(failure: Failure) -> Self {
        Self {
            rule: format!("capability.{}", failure.code),
            reasons: vec![failure.code.clone()],
            failure,
            obligations: Vec::new(),
        }
    }

    /// By policy.
    #[must_use]
    pub fn by_policy(decision: &Decision) -> Self {
        let named = decision.reasons.iter().find(|reason| !reason.is_empty());
        let code = named.cloned().unwrap_or_else(|| "denied".into());
        let mut failure = Failure::new(&code, in_words(&decision.reasons));
        failure.advice.clone_from(&decision.advice);
        Self {
            failure,
            rule: decision.rule.clone(),
            reasons: decision.reasons.clone(),
            obligations: decision.obligations.clone(),
        }
    }

    /// What policy asks about was not answered with a yes.
    #[must_use]
    pub fn unanswered(code: &str, message: &str, decision: &Decision) -> Self {
        let mut failure = Failure::new(code, format!("{message} ({})", decision.reasons.join(", ")));
        failure.advice.clone_from(&decision.advice);
        let mut reasons = vec![code.to_owned()];
        reasons.extend(decision.reasons.iter().cloned());
        Self { failure, rule: decision.rule.clone(), reasons, obligations: decision.obligations.clone() }
    }

    /// The same refusal with why its content could not be looked into, where that is what was asked about.
    #[must_use]
    pub fn saying(mut self, seen: Option<&Inspected>) -> Self {
        let asked = self.reasons.iter().any(|reason| reason == CANNOT_LOOK);
        if let Some(why) = seen.and_then(Inspected::cannot_look).filter(|_| asked) {
            self.failure.message = format!("{}; {why}", self.failure.message);
        }
        self
    }

    /// The same of reading a file of the user's, who can see which part it is.
    #[must_use]
    pub fn of_reading(self, seen: Option<&Inspected>) -> Self {
        let before = self.failure.message.len();
        let mut refusal = self.saying(seen);
        if refusal.failure.message.len() > before {
            let own = refusal.failure.advice.take().map_or_else(String::new, |own| format!("{own}; "));
            refusal.failure.advice = Some(format!("{own}{NAMES_IT}"));
        }
        refusal
    }

    /// The same refusal with a reason of its own before the others.
    #[must_use]
    pub fn because(mut self, code: &str, message: String) -> Self {
        let advice = self.failure.advice.take();
        self.failure = Failure::new(code, message);
        self.failure.advice = advice;
        self.reasons.insert(0, code.to_owned());
        self
    }

    /// The same refusal with what a decision demands of it, whoever refuses.
    #[must_use]
    pub fn under(mut self, decision: &Decision) -> Self {
        let demands = decision.obligations.iter().filter(|o| o.holds_on_denial());
        let more: Vec<_> = demands.filter(|o| !self.obligations.contains(o)).cloned().collect();
        self.obligations.extend(more);
        self
    }

    /// A fault on the way to a decision.
    #[must_use]
    pub fn internal() -> Self {
        Self::by_broker(Failure::new("internal_error", "a fault inside the broker; the request was denied"))
    }

    /// Policy wants the session stopped until the user has looked.
    #[must_use]
    pub fn suspends(&self) -> bool {
        self.obligations.contains(&Obligation::Suspend)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::by_broker(failure)
    }
}

/// Policy's denial in words: what its first reason means, whose code whoever shows it adds, and the codes of the others. A policy of
/// the user's has reasons of its own, which no table has.
fn in_words(reasons: &[String]) -> String {
    let mut named = reasons.iter().filter(|reason| !reason.is_empty());
    let mut text = "policy denies this".to_owned();
    if let Some(row) = named.next().and_then(|first| reason::find(first)) {
        text = format!("{text}: {}", row.sentence.trim_end_matches('.'));
    }
    let others: Vec<&str> = named.map(String::as_str).collect();
    if !others.is_empty() {
        text = format!("{text}; also: {}", others.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reasons: &[&str]) -> String {
        in_words(&reasons.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_denial_says_what_its_reason_means_and_no_code_twice() {
        assert_eq!(
            said(&["secret_in_content"]),
            "policy denies this: The content holds keys, tokens or passwords"
        );
        let two = said(&["secret_in_content", "personal_data"]);
        assert!(two.ends_with("passwords; also: personal_data"), "{two}");
        // The code of a reason that no table has is shown beside it, like every code.
        assert_eq!(said(&["no_work_on_sundays"]), "policy denies this");
        assert_eq!(said(&[]), "policy denies this");
    }
}

//! What the user's own word about a staged change covers.

use chaperone_policy::{Decision, Obligation, Severity};
use chaperone_protocol::Failure;

use crate::refusal::Refusal;

/// What policy says of a change that is no more than the directory of dependencies that it is in: one answer covers all of them,
/// whatever else is said of each.
const DEPENDENCIES: &str = "dependency_directory";

/// What the user said of a staged change with the commit of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsersWord<'a> {
    /// The user named exactly this path.
    pub named: bool,
    /// The user named the directory of dependencies that it is in.
    pub within: bool,
    /// Reasons that the user confirmed.
    pub confirmed: &'a [String],
    pub unseen: Option<Unseen>,
}

/// Why a change is not what the user was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// It is another one by now.
    Differs,
    /// It was not there, or nobody looked, while the agent can still change it.
    NeverShown,
}

impl UsersWord<'_> {
    pub(crate) fn covers(&self, decision: &Decision) -> bool {
        let confirmed = |reason: &String| self.confirmed.contains(reason);
        let of_directory = decision
            .reasons
            .iter()
            .find(|reason| *reason == DEPENDENCIES)
            .is_some_and(|r| self.within || confirmed(r));
        self.named || of_directory || !decision.reasons.is_empty() && decision.reasons.iter().all(confirmed)
    }
}

impl Unseen {
    pub(crate) fn refusal(self) -> Refusal {
        let message = match self {
            Self::Differs => "it is not what the user was shown",
            Self::NeverShown => "the user was not shown it, and the agent can still change it",
        };
        let mut refusal = Refusal::by_broker(Failure::new("changed_since_shown", message));
        if self == Self::Differs {
            refusal.obligations.push(Obligation::Alert { severity: Severity::High });
        }
        refusal
    }
}

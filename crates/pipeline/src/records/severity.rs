//! How serious a record is: policy's word where policy decided, the table of reasons where the broker refused by itself.

use chaperone_audit::class_uid as class;
use chaperone_capability::Action;
use chaperone_policy::{Obligation, Severity};
use chaperone_protocol::reason;

use crate::access::{AccessRequest, Entry, Resource};

/// The severity of the alert that a refusal raises; `None` where it raises none.
pub(super) fn alerts(obligations: &[Obligation], reasons: &[String]) -> Option<Severity> {
    let by_policy = obligations.iter().filter_map(|o| match o {
        Obligation::Alert { severity } => Some(*severity),
        _ => None,
    });
    let by_table = reasons.iter().filter(|r| reason::raises_alert(r)).map(|_| Severity::High);
    by_policy.chain(by_table).max()
}

/// The class of the event (OCSF) that a request is.
pub(super) fn class_of(request: &AccessRequest) -> u32 {
    match &request.resource {
        Resource::Network(_) => class_of_outcome(request.action),
        Resource::Tool(_) | Resource::Elevation(_) => class::API,
        Resource::File(_) if request.entry == Entry::Rpc => class::API,
        Resource::File(_) => class::FILE,
    }
}

/// The class of an action's outcome.
pub(super) fn class_of_outcome(action: Action) -> u32 {
    match action {
        Action::Connect | Action::Publish => class::NETWORK,
        Action::Request => class::HTTP,
        Action::Resolve => class::DNS,
        Action::Tool | Action::Plugin | Action::Elevate | Action::Sign | Action::Decrypt => class::API,
        Action::Read
        | Action::List
        | Action::Write
        | Action::Append
        | Action::Delete
        | Action::Rename
        | Action::Commit
        | Action::Exec => class::FILE,
    }
}

/// The severity of an ask, by its risk.
pub(super) fn severity(risk: &str) -> chaperone_audit::Severity {
    match risk {
        "high" => chaperone_audit::Severity::High,
        "medium" => chaperone_audit::Severity::Medium,
        _ => chaperone_audit::Severity::Low,
    }
}

/// As the log writes it.
pub(super) fn recorded(severity: Severity) -> chaperone_audit::Severity {
    match severity {
        Severity::Low => chaperone_audit::Severity::Low,
        Severity::Medium => chaperone_audit::Severity::Medium,
        Severity::High => chaperone_audit::Severity::High,
        Severity::Critical => chaperone_audit::Severity::Critical,
    }
}

/// As events name it.
pub(super) fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

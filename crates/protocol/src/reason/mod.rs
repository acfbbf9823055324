//! Every reason code: what happened, and what the agent or the user does instead. `docs/reason-codes.md` is made from this
//! table, and `tests/reasons.rs` holds it against the sources that give the codes.

mod changes;
mod network;
mod policy;
mod requests;
mod row;
mod setup;
mod vault;

pub use row::{Group, ReasonCode};

/// Every reason code, by the place that gives it; no code is in it twice.
pub const REASONS: &[Group] = &[
    requests::DECIDING,
    requests::ASKING,
    requests::CAPABILITY,
    policy::ENGINE,
    policy::FILES,
    policy::COMMIT,
    policy::NETWORK,
    policy::SPREADSHEET,
    network::EXIT,
    network::NAMES,
    network::BUDGETS,
    network::ALERTS,
    requests::CELL,
    requests::TOOLS,
    changes::COMMIT,
    changes::WORKBOOKS,
    setup::SESSION,
    setup::BROKER,
    vault::VAULT,
];

/// How a run ended: `cause` in the file of `run --status-file`.
pub const ENDINGS: &[ReasonCode] = requests::ENDINGS;

/// What an agent may do about a host that it may not reach.
pub const HOST_ADVICE: &str = "only what the user allowed can be reached: list_allowed_hosts shows it, request_elevation asks for \
                          more; the user can start the session with --allow-host";

/// The entry of a code.
#[must_use]
pub fn find(code: &str) -> Option<&'static ReasonCode> {
    REASONS.iter().flat_map(|group| group.reasons).find(|reason| reason.code == code)
}

/// Whether a refusal for this reason raises an alert, whatever policy says.
#[must_use]
pub fn raises_alert(code: &str) -> bool {
    find(code).is_some_and(|reason| reason.alerts)
}

//! Reasons, and the ways out of them.

/// What an agent may do about a host that it may not reach.
pub const HOST_ADVICE: &str = "only what the person allowed can be reached: list_allowed_hosts shows it, request_elevation asks for \
                          more; the person can start the session with --allow-host";

/// Reasons of the broker's own that raise an alert; what policy decides says so itself.
const ALERTS: &[&str] =
    &["external_formula", "fronting", "metadata_address", "over_budget", "path_escape", "private_address"];

/// Whether a refusal for this reason raises an alert.
#[must_use]
pub fn raises_alert(code: &str) -> bool {
    ALERTS.contains(&code)
}

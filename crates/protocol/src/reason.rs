//! Reasons, and the ways out of them.

/// What an agent may do about a host that it may not reach.
pub const HOST_ADVICE: &str = "only what the person allowed can be reached: list_allowed_hosts shows it, request_elevation asks for \
                          more; the person can start the session with --allow-host";

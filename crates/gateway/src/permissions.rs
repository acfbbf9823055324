//! What a session's capability says of the network.

use chaperone_capability::PermissionClaim;
use chaperone_egress::{HostPattern, Rule};

/// Permissions of a session's token that name hosts.
const MOST_OUTBOUND: usize = 64;

/// What rules of the network come to. A token has little room: a long list, or one with networks of addresses, becomes
/// one permission for what the rules allow, which policy holds against them at each use.
#[must_use]
pub fn outbound(rules: &[Rule]) -> Vec<PermissionClaim> {
    let mut permissions = Vec::new();
    for rule in rules {
        let host = match rule.host() {
            HostPattern::Network(ip, bits) if *bits == if ip.is_ipv4() { 32 } else { 128 } => ip.to_string(),
            HostPattern::Network(..) => "*".to_owned(),
            name => name.to_string(),
        };
        if host.parse::<std::net::IpAddr>().is_err() {
            permissions.push(PermissionClaim::resolve(&*host));
        }
        for port in rule.ports() {
            permissions.push(PermissionClaim::connect(&*host, Some(*port)));
            permissions.push(PermissionClaim::request(&*host, Some(*port)));
        }
        if permissions.len() > MOST_OUTBOUND {
            return vec![
                PermissionClaim::resolve("*"),
                PermissionClaim::connect("*", None),
                PermissionClaim::request("*", None),
            ];
        }
    }
    permissions
}

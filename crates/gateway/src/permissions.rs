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

#[cfg(test)]
mod tests {
    use super::*;
    use chaperone_capability::Action;

    fn claims(texts: &[&str]) -> Vec<PermissionClaim> {
        outbound(&texts.iter().map(|text| Rule::of_text(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_named_host_may_be_resolved_connected_to_and_asked() {
        let expected = [
            PermissionClaim::resolve("a.example"),
            PermissionClaim::connect("a.example", Some(8443)),
            PermissionClaim::request("a.example", Some(8443)),
        ];
        assert_eq!(claims(&["a.example:8443"]), expected);
    }

    #[test]
    fn an_address_needs_no_name() {
        let claims = claims(&["192.0.2.7:80"]);
        assert!(claims.iter().all(|c| c.action != Action::Resolve && c.host.as_deref() == Some("192.0.2.7")));
        assert_eq!(claims.len(), 2);
    }

    #[test]
    fn a_long_list_becomes_one_permission_for_whatever_the_rules_allow() {
        let hosts: Vec<String> = (0..100).map(|n| format!("h{n}.example:443")).collect();
        let claims = claims(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(claims.len(), 3);
        assert!(claims.iter().all(|c| c.host.as_deref() == Some("*") && c.port.is_none()));
        assert_eq!(outbound(&[]), []);
    }
}

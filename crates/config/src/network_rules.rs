//! The rules of a session's network exit: its profile's, its services' and those of the command line.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use chaperone_egress::{HostPattern, Rule};
use chaperone_protocol::Failure;

use crate::profile::Profile;
use crate::services;

/// What may be reached: what the profile names, and what the user named at the start.
///
/// # Errors
/// `bad_host`, `bad_services`, `no_such_service`.
pub fn rules(
    profile: &Profile,
    hosts: &[String],
    more: &[String],
    config: &Path,
) -> Result<Vec<Rule>, Failure> {
    let mut rules = profile.network.allow.clone();
    for rule in &mut rules {
        rule.source.clone_from(&profile.name);
    }
    let services = services::all(config)?;
    for name in profile.network.services.iter().chain(more) {
        rules.extend(services::rules(&services, name)?);
    }
    for host in hosts {
        let mut rule = Rule::of_text(host).map_err(|e| {
            Failure::new("bad_host", format!("--allow-host {host}: {e}"))
                .advise("write it like api.example.com, api.example.com:8443 or tcp://api.example.com:6379")
        })?;
        rule.source = "command_line".to_owned();
        rules.push(rule);
    }
    Ok(with_localhost(rules))
}

/// `localhost` is an address, whatever a resolver says; and a rule for the address is one for requests that call it so.
fn with_localhost(rules: Vec<Rule>) -> Vec<Rule> {
    let name = HostPattern::Name("localhost".to_owned());
    let addresses = [
        HostPattern::Network(Ipv4Addr::LOCALHOST.into(), 32),
        HostPattern::Network(Ipv6Addr::LOCALHOST.into(), 128),
    ];
    let mut all = Vec::new();
    for rule in rules {
        if *rule.host() == name {
            all.extend(addresses.iter().map(|address| rule.for_host(address.clone())));
        } else if addresses.contains(rule.host()) {
            all.push(rule.for_host(name.clone()));
        }
        all.push(rule);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaperone_egress::{AllowSet, Host};

    #[test]
    fn localhost_is_both_loopbacks_and_a_loopback_is_localhost() {
        let rules = |text: &str| {
            let all = with_localhost(vec![Rule::of_text(text).unwrap()]);
            all.iter().map(|r| format!("{} {:?}", r.host(), r.ports())).collect::<Vec<_>>()
        };
        assert_eq!(rules("localhost:5432"), ["127.0.0.1 [5432]", "::1 [5432]", "localhost [5432]"]);
        assert_eq!(rules("127.0.0.1:3000"), ["localhost [3000]", "127.0.0.1 [3000]"]);
        assert_eq!(rules("[::1]:3000"), ["localhost [3000]", "::1 [3000]"]);
        assert_eq!(rules("127.0.0.2:3000"), ["127.0.0.2 [3000]"]);
        assert_eq!(rules("a.example"), ["a.example [80, 443]"]);
    }

    #[test]
    fn a_port_of_localhost_allows_no_other_port_of_it() {
        let spellings = ["localhost", "127.0.0.1", "[::1]"];
        for named in spellings {
            let rule = Rule::of_text(&format!("{named}:5432")).unwrap();
            let allowed = AllowSet::new(with_localhost(vec![rule]));
            let may = |asked: &str, port| {
                let host = Host::parse(asked.trim_matches(['[', ']'])).unwrap();
                let address = match host {
                    Host::Address(ip) => allowed.names_address(ip, port),
                    Host::Name(_) => false,
                };
                allowed.of_host(&host, port).next().is_some() || address
            };
            assert!(may(named, 5432), "{named}");
            for (asked, port) in spellings.into_iter().flat_map(|s| [80, 443, 5431, 5433].map(|p| (s, p))) {
                assert!(!may(asked, port), "{named}:5432 allows {asked}:{port}");
            }
        }
    }
}

//! This machine itself, as rules name it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{HostPattern, Rule};

/// `localhost` is an address, whatever a resolver says; and a rule for the address is one for requests that call it so.
#[must_use]
pub fn with_localhost(rules: Vec<Rule>) -> Vec<Rule> {
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
    use crate::{AllowSet, Host};

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

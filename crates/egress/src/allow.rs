//! What a session may reach: rules of hosts, ports, methods and paths, found by a hash of the host.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::address::class;
use crate::allow_rule::{HostPattern, Rule};
use crate::host::Host;
use crate::tunnel::registered_domain;

/// All rules of a session. Nothing is allowed that no rule allows.
///
/// A lookup hashes the name and each of its parents, so its cost depends on the length of the name and on how many rules
/// name that host, not on how many there are.
#[derive(Debug, Default)]
pub struct AllowSet {
    rules: Vec<Rule>,
    names: HashMap<String, Vec<usize>>,
    /// Rules of `*.name`, by the name.
    below: HashMap<String, Vec<usize>>,
    /// By the masked address; [`AllowSet::prefixes`] has the lengths in use.
    networks: HashMap<(IpAddr, u8), Vec<usize>>,
    prefixes: BTreeSet<u8>,
}

impl AllowSet {
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut set = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            match rule.host() {
                HostPattern::Name(name) => set.names.entry(name.clone()).or_default().push(at),
                HostPattern::Below(name) => set.below.entry(name.clone()).or_default().push(at),
                HostPattern::Network(ip, prefix) => {
                    set.networks.entry((*ip, *prefix)).or_default().push(at);
                    set.prefixes.insert(*prefix);
                }
            }
        }
        set.rules = rules;
        set
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules of a host and a port, the most specific host first, then in the order in which they were given.
    pub fn of_host<'a>(&'a self, host: &Host, port: u16) -> impl Iterator<Item = &'a Rule> + use<'a> {
        self.candidates(host).filter(move |rule| rule.has_port(port))
    }

    /// The rules of a host on any port, in the same order.
    pub fn rules_of<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Rule> + use<'a> {
        self.candidates(host)
    }

    /// Whether a rule names an address that is not everybody's: by itself, or by a network of nothing but its kind. A rule for
    /// the whole Internet does not name the machine next door.
    pub fn names_address(&self, ip: IpAddr, port: u16) -> bool {
        self.of_host(&Host::Address(ip), port).any(|rule| match rule.host() {
            HostPattern::Network(first, prefix) => {
                let last = HostPattern::last(*first, *prefix);
                let kind = class(ip);
                *first == last || (!kind.is_public() && class(*first) == kind && class(last) == kind)
            }
            _ => false,
        })
    }

    /// Whether any rule names the host, on whatever port: its name may be resolved. A name that nobody may connect to is
    /// not worth a query, and a query can carry data out.
    pub fn may_resolve(&self, host: &Host) -> bool {
        matches!(host, Host::Name(_)) && self.candidates(host).next().is_some()
    }

    /// The first rule that permits the request; `method` and `path` as `RequestFacts` has them.
    pub fn permits_request(&self, host: &Host, port: u16, method: &str, path: &str) -> Option<&Rule> {
        self.of_host(host, port).find(|rule| rule.has_method(method) && rule.has_path(path))
    }

    /// Who gets what is sent to a host, as far as rules and names tell: what is sent to several hosts of one owner may be one thing
    /// in pieces. All hosts of a wildcard or a network are one, and those below a registered domain.
    pub fn recipient(&self, host: &Host) -> String {
        let widest = self.rules_of(host).last().map(Rule::host);
        match (host, widest) {
            (Host::Name(name), widest) => match (registered_domain(host).unwrap_or(name), widest) {
                // A suffix that somebody registers names below.
                (domain, Some(HostPattern::Below(above))) if domain.ends_with(above.as_str()) => {
                    above.clone()
                }
                (domain, _) => domain.to_owned(),
            },
            (Host::Address(ip), _) if ip.is_loopback() => "localhost".to_owned(),
            (Host::Address(_), Some(network)) => network.to_string(),
            (Host::Address(ip), None) => ip.to_string(),
        }
    }

    fn candidates<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Rule> + use<'a> {
        let mut found: Vec<&[usize]> = Vec::new();
        match host {
            Host::Name(name) => {
                found.extend(self.names.get(name).map(Vec::as_slice));
                let mut rest = name.as_str();
                while let Some((_, parent)) = rest.split_once('.') {
                    found.extend(self.below.get(parent).map(Vec::as_slice));
                    rest = parent;
                }
            }
            Host::Address(ip) => {
                for prefix in self.prefixes.iter().rev() {
                    let masked = HostPattern::mask(*ip, *prefix);
                    found.extend(masked.and_then(|ip| self.networks.get(&(ip, *prefix))).map(Vec::as_slice));
                }
            }
        }
        found.into_iter().flatten().filter_map(|at| self.rules.get(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    fn set(toml: &str) -> AllowSet {
        #[derive(Deserialize)]
        struct Network {
            allow: Vec<Rule>,
        }
        AllowSet::new(toml::from_str::<Network>(toml).unwrap().allow)
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn an_address_is_named_only_by_a_rule_of_its_kind() {
        let named = |rule: &str, ip: &str| {
            AllowSet::new(vec![Rule::of_text(rule).unwrap()]).names_address(ip.parse().unwrap(), 80)
        };
        assert!(named("10.1.2.3", "10.1.2.3") && named("10.0.0.0/8", "10.1.2.3"));
        assert!(named("169.254.169.254", "169.254.169.254") && named("127.0.0.0/8", "127.0.0.1"));
        assert!(!named("0.0.0.0/0", "10.1.2.3") && !named("0.0.0.0/0", "169.254.169.254"));
        assert!(!named("169.254.0.0/16", "169.254.169.254"), "a link is not the service on it");
        assert!(
            !named("8.0.0.0/5", "10.1.2.3") && !named("::/0", "fd00::1") && named("fd00::/16", "fd00::1")
        );
        assert!(!named("10.1.2.3:81", "10.1.2.3") && !named("a.example", "10.1.2.3"));
    }

    #[test]
    fn a_request_needs_a_rule_of_its_host_port_method_and_path() {
        let set = set(r#"allow = [
            { host = "api.example.com", ports = [443], methods = ["GET"], paths = ["/v1/*"], inspect = true },
            { host = "*.example.org", ports = [8443] },
            { host = "static.example.net" },
        ]"#);
        let permits = |h: &str, port, method: &str, path: &str| {
            set.permits_request(&host(h), port, method, path).is_some()
        };
        assert!(permits("api.example.com", 443, "GET", "/v1/users"));
        assert!(!permits("api.example.com", 80, "GET", "/v1/users"));
        assert!(!permits("api.example.com", 443, "POST", "/v1/users"));
        assert!(!permits("api.example.com", 443, "get", "/v1/users"));
        assert!(!permits("api.example.com", 443, "GET", "/v2/users"));
        assert!(!permits("evil.api.example.com", 443, "GET", "/v1/users"));
        assert!(!permits("example.com", 443, "GET", "/v1/users"));
        assert!(permits("a.b.example.org", 8443, "POST", "/"));
        assert!(!permits("example.org", 8443, "POST", "/"));
        assert!(!permits("notexample.org", 8443, "POST", "/"));
        assert!(
            permits("static.example.net", 80, "GET", "/") && permits("static.example.net", 443, "GET", "/")
        );
        assert!(!permits("static.example.net", 8080, "GET", "/"));
        assert!(!permits("example.net", 443, "GET", "/"));
    }

    #[test]
    fn networks_match_addresses_and_never_names() {
        let set = set(r#"allow = [
            { host = "203.0.113.0/24" }, { host = "203.0.113.7" }, { host = "[2001:db8::]/32" }, { host = "2001:db8::1" },
        ]"#);
        assert_eq!(set.of_host(&host("203.0.113.7"), 443).count(), 2);
        assert_eq!(set.of_host(&host("0xcb.0.0161.7"), 443).count(), 2, "in any notation");
        assert_eq!(set.of_host(&host("203.0.113.8"), 443).count(), 1);
        assert_eq!(set.of_host(&host("203.0.114.8"), 443).count(), 0);
        assert_eq!(set.of_host(&host("[2001:db8::1]"), 443).count(), 2);
        assert_eq!(set.of_host(&host("[::ffff:203.0.113.8]"), 443).count(), 1);
        assert!(!set.may_resolve(&host("203.0.113.7")), "there is nothing to resolve");
    }

    #[test]
    fn only_names_of_rules_are_resolved() {
        let set = set(r#"allow = [{ host = "*.example.com", ports = [5432] }, { host = "Bücher.example" }]"#);
        assert!(set.may_resolve(&host("db.example.com")));
        assert!(set.may_resolve(&host("xn--bcher-kva.example")));
        assert!(!set.may_resolve(&host("example.com")));
        assert!(!set.may_resolve(&host("secret.evil.example")));
        assert!(!AllowSet::default().may_resolve(&host("example.com")));
    }

    #[test]
    fn the_most_specific_host_comes_first() {
        let set = set(r#"allow = [{ host = "*.com", ports = [1] }, { host = "*.example.com", ports = [1] },
            { host = "a.example.com", ports = [1] }]"#
            .replace("*.com", "*.b.example.com")
            .as_str());
        let hosts: Vec<_> = set.of_host(&host("a.example.com"), 1).map(|r| r.host().to_string()).collect();
        assert_eq!(hosts, ["a.example.com", "*.example.com"]);
    }

    #[test]
    fn hosts_of_one_owner_are_one_recipient() {
        let set = set(
            r#"allow = [{ host = "*.pieces.test" }, { host = "a.example.com" }, { host = "b.example.com" },
            { host = "203.0.113.0/24" }, { host = "[2001:db8::]/32" }, { host = "*.example.com" }]"#,
        );
        let of = |name: &str| set.recipient(&host(name));
        for (one, other) in [
            ("h1.pieces.test", "h2.deep.pieces.test"),
            ("a.example.com", "b.example.com"),
            ("a.example.com", "example.com"),
            ("203.0.113.7", "203.0.113.8"),
            ("[2001:db8::1]", "[2001:db8::2]"),
            ("localhost", "127.0.0.1"),
            ("127.0.0.1", "[::1]"),
            ("c.elsewhere.org", "d.elsewhere.org"),
        ] {
            assert_eq!(of(one), of(other));
        }
        assert_ne!(of("a.example.com"), of("h1.pieces.test"));
        assert_ne!(of("203.0.113.7"), of("203.0.114.7"));
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_walk_over_all_rules_finds(
            rules in proptest::collection::vec("(\\*\\.)?([ab]\\.){0,3}x\\.test|10\\.[0-3]\\.0\\.0/16|10\\.0\\.0\\.0/8", 1..12),
            name in "([ab]\\.){0,4}x\\.test|10\\.[0-4]\\.1\\.1",
        ) {
            let rules: Vec<Rule> = rules.iter().map(|r| Rule::of_host(r).unwrap()).collect();
            let host = Host::parse(&name).unwrap();
            let walked = rules.iter().filter(|r| r.host().matches(&host)).count();
            prop_assert_eq!(AllowSet::new(rules).of_host(&host, 443).count(), walked);
        }
    }
}

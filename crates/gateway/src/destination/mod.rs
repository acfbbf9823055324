//! What a destination really is: the name that its address stands for, the addresses behind the name, and what they reach.

mod local_addresses;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chaperone_egress::address::{Class, class};
use chaperone_egress::{AllowSet, Host};
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::network_facts::NetworkFacts;
use chaperone_protocol::Failure;

use crate::name_table::{GrantedHost, NameTable};
use crate::session_gateway::SessionGateway;

/// A resolved destination. Only these addresses are connected to.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub host: Host,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
    /// What the addresses reach: a class of [`Class`], or `own_address` for one that this machine has.
    pub reaches: &'static str,
    /// Whatever is not public was named: by a rule for that address, or by the user's hosts file.
    pub named: bool,
}

impl Destination {
    /// `name:port`, for people and logs.
    pub fn shown(&self) -> String {
        shown(&self.host, self.port)
    }

    /// The facts that policy gets for any action on the destination.
    pub fn facts(&self, gateway: &SessionGateway) -> NetworkFacts {
        let rules = gateway.exit().allowed();
        let rule = rules.of_host(&self.host, self.port).next();
        NetworkFacts {
            allowed: rule.is_some(),
            source: rule.map(|r| r.source.clone()),
            trusted: is_trusted(&rules, &self.host, Some(self.port)),
            reaches: Some(self.reaches),
            named: self.named,
            ..NetworkFacts::default()
        }
    }

    /// The resource of an action on it.
    pub fn resource(&self) -> NetworkResource {
        NetworkResource {
            shown: self.shown(),
            host: bare(&self.host),
            port: self.port,
            addresses: self.addresses.clone(),
            ..NetworkResource::default()
        }
    }
}

/// `name:port`; an IPv6 address in brackets.
pub(crate) fn shown(host: &Host, port: u16) -> String {
    match host {
        Host::Name(name) => format!("{name}:{port}"),
        Host::Address(ip) => SocketAddr::new(*ip, port).to_string(),
    }
}

/// The host as rules, capabilities and policies have it: an IPv6 address without brackets.
pub(crate) fn bare(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Address(ip) => ip.to_string(),
    }
}

/// Whether the user named this very host beforehand: no wildcard, no network, nothing that the agent asked for.
pub(crate) fn is_trusted(rules: &AllowSet, host: &Host, port: Option<u16>) -> bool {
    let exact = bare(host);
    rules.rules_of(host).any(|rule| {
        port.is_none_or(|p| rule.has_port(p)) && rule.source != "approval" && rule.host().to_string() == exact
    })
}

impl SessionGateway {
    /// Find out what a captured connection is for.
    ///
    /// # Errors
    /// The target as far as it is known, and what is in the way.
    pub(crate) async fn target(&self, to: SocketAddr) -> Result<Destination, (String, Failure)> {
        let (ip, port) = (to.ip().to_canonical(), to.port());
        if !NameTable::is_stand_in(ip) {
            return Ok(of_address(&self.exit().allowed(), ip, port));
        }
        let exit = self.exit();
        let unknown = || {
            let failure = Failure::new(
                "unknown_address",
                "this placeholder address belongs to no name of this session",
            );
            (
                to.to_string(),
                failure.advise("connect to a name, not to an address that was kept from elsewhere"),
            )
        };
        let name = exit.names.of(ip).ok_or_else(unknown)?;
        self.of_host(GrantedHost::Name(name), port).await
    }

    /// A host by its name or address.
    ///
    /// # Errors
    /// As [`Self::target`].
    pub(crate) async fn of_host(
        &self,
        host: GrantedHost,
        port: u16,
    ) -> Result<Destination, (String, Failure)> {
        let exit = self.exit();
        let name = match host {
            GrantedHost::Address(ip) => return Ok(of_address(&exit.allowed(), ip, port)),
            GrantedHost::Name(name) => name,
        };
        let resolved = exit.names.resolve(&name).await;
        let resolved = resolved.map_err(|failure| (shown(&name.host(), port), failure))?;
        let addresses = resolved.addresses.clone();
        Ok(judge(&exit.allowed(), name.host(), port, addresses, resolved.by_hosts_file))
    }
}

/// Programs look for `localhost` at both loopbacks and take the first that connects, as a captured one always does; the
/// user's servers often listen at one alone. So either one stands for those that a rule names.
fn of_address(rules: &AllowSet, asked: IpAddr, port: u16) -> Destination {
    let mut addresses = vec![asked];
    if asked.is_loopback() {
        let others = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        addresses.extend(others.iter().filter(|ip| **ip != asked));
        addresses.retain(|ip| rules.names_address(*ip, port));
    }
    let first = addresses.first().copied().unwrap_or(asked);
    if addresses.is_empty() {
        addresses.push(asked);
    }
    judge(rules, Host::Address(first), port, addresses, false)
}

/// What the addresses of a host reach, and whether whatever is not public was named.
fn judge(
    rules: &AllowSet,
    host: Host,
    port: u16,
    addresses: Vec<IpAddr>,
    by_hosts_file: bool,
) -> Destination {
    let reach = |ip: IpAddr| match class(ip) {
        Class::Public if local_addresses::is_local_address(ip) => "own_address",
        class => class.as_str(),
    };
    // A hosts file may name a printer, but a name for a machine's credentials is a mistake or a trap.
    let is_named = |ip: IpAddr| {
        reach(ip) == Class::Public.as_str()
            || rules.names_address(ip, port)
            || (by_hosts_file && class(ip) != Class::Metadata)
    };
    let unnamed = addresses.iter().copied().find(|ip| !is_named(*ip));
    let reaches = unnamed.or(addresses.first().copied()).map_or("nothing", reach);
    Destination { host, port, named: unnamed.is_none(), reaches, addresses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaperone_egress::Rule;

    fn rules(texts: &[&str]) -> AllowSet {
        AllowSet::new(texts.iter().map(|text| Rule::of_text(text).unwrap()).collect())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn judged(rules: &AllowSet, addresses: &[&str], by_hosts_file: bool) -> (&'static str, bool) {
        let addresses = addresses.iter().map(|a| ip(a)).collect();
        let found = judge(rules, Host::Name("a.example".into()), 443, addresses, by_hosts_file);
        (found.reaches, found.named)
    }

    #[test]
    fn one_private_address_among_public_ones_is_what_a_name_reaches() {
        let none = rules(&[]);
        assert_eq!(judged(&none, &["1.1.1.1", "8.8.8.8"], false), ("public", true));
        assert_eq!(judged(&none, &["1.1.1.1", "10.0.0.7"], false), ("private", false));
        assert_eq!(judged(&none, &["1.1.1.1", "169.254.169.254"], false), ("metadata", false));
        assert_eq!(judged(&none, &["127.0.0.1"], false), ("loopback", false));
        assert_eq!(judged(&none, &[], false), ("nothing", true));
    }

    #[test]
    fn a_rule_for_the_address_names_what_is_private_and_one_for_the_name_does_not() {
        assert_eq!(judged(&rules(&["10.0.0.7"]), &["10.0.0.7"], false), ("private", true));
        assert_eq!(judged(&rules(&["a.example"]), &["10.0.0.7"], false), ("private", false));
    }

    #[test]
    fn a_hosts_file_names_a_printer_but_no_metadata_service() {
        assert_eq!(judged(&rules(&[]), &["10.0.0.7"], true), ("private", true));
        assert_eq!(judged(&rules(&[]), &["169.254.169.254"], true), ("metadata", false));
    }

    #[test]
    fn one_loopback_stands_for_the_other_where_a_rule_names_that() {
        let allowed = rules(&["[::1]:8080"]);
        let found = of_address(&allowed, ip("127.0.0.1"), 8080);
        assert_eq!((found.addresses, found.named), (vec![ip("::1")], true));
        let other_port = of_address(&allowed, ip("127.0.0.1"), 8081);
        assert_eq!((other_port.addresses, other_port.named), (vec![ip("127.0.0.1")], false));
    }

    #[test]
    fn only_an_exact_rule_of_the_users_makes_a_host_trusted() {
        let host = Host::Name("a.example.com".into());
        assert!(is_trusted(&rules(&["a.example.com"]), &host, Some(443)));
        assert!(!is_trusted(&rules(&["*.example.com"]), &host, Some(443)));
        assert!(!is_trusted(&rules(&["a.example.com:8443"]), &host, Some(443)));
        assert!(is_trusted(&rules(&["a.example.com:8443"]), &host, None));
        let mut granted = Rule::of_text("a.example.com").unwrap();
        granted.source = "approval".to_owned();
        assert!(!is_trusted(&AllowSet::new(vec![granted]), &host, Some(443)));
    }

    #[test]
    fn an_ipv6_address_has_brackets_only_beside_a_port() {
        let host = Host::Address(ip("2001:db8::1"));
        assert_eq!(shown(&host, 443), "[2001:db8::1]:443");
        assert_eq!(bare(&host), "2001:db8::1");
    }
}

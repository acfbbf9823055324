//! What a destination really is: the name that its address stands for, the addresses behind the name, and what they reach.

mod local_addresses;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chaperone_egress::address::{Class, class};
use chaperone_egress::{AllowSet, Host};
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::network_facts::NetworkFacts;
use chaperone_protocol::Failure;

use crate::name_table::NameTable;
use crate::session_gateway::SessionGateway;

/// A resolved destination. Only these addresses are connected to.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub host: Host,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
    /// What the addresses reach: a class of [`Class`], or `own_address` for one that this machine has.
    pub reaches: &'static str,
    /// Whatever is not public was named: by a rule for that address, or by the person's hosts file.
    pub named: bool,
}

impl Destination {
    /// `name:port`, for people and logs.
    pub fn shown(&self) -> String {
        shown(&self.host, self.port)
    }

    /// What policy is told of any action on the target.
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

/// Whether the person named this very host beforehand: no wildcard, no network, nothing that the agent asked for.
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
            return Ok(self.of_address(ip, port));
        }
        let exit = self.exit();
        let unknown = || {
            let failure = Failure::new("unknown_address", "this address stands for no name of this session");
            (
                to.to_string(),
                failure.advise("connect to a name, not to an address that was kept from elsewhere"),
            )
        };
        let host = exit.names.of(ip).ok_or_else(unknown)?;
        self.of_host(host, port).await
    }

    /// A host by its name or address.
    ///
    /// # Errors
    /// As [`Self::target`].
    pub(crate) async fn of_host(&self, host: Host, port: u16) -> Result<Destination, (String, Failure)> {
        let name = match &host {
            Host::Name(name) => name.clone(),
            Host::Address(ip) => return Ok(self.of_address(*ip, port)),
        };
        match self.exit().names.resolve(&name).await {
            Ok(resolved) => Ok(self.judge(host, port, resolved.addresses.clone(), resolved.by_hosts_file)),
            Err(failure) => Err((shown(&host, port), failure)),
        }
    }

    /// Programs look for `localhost` at both loopbacks and take the first that connects, as a captured one always does; the
    /// person's servers often listen at one alone. So either one stands for those that a rule names.
    fn of_address(&self, asked: IpAddr, port: u16) -> Destination {
        let rules = self.exit().allowed();
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
        self.judge(Host::Address(first), port, addresses, false)
    }

    /// Whether a program may call an allowed address so: it has to be an allowed name, and really have this address.
    pub(crate) async fn is_name_of(&self, name: &Host, ip: IpAddr, port: u16) -> bool {
        if self.is_localhost(name, ip, port) {
            return true;
        }
        let Host::Name(text) = name else { return false };
        let exit = self.exit();
        exit.allowed().of_host(name, port).next().is_some()
            && exit.names.resolve(text).await.is_ok_and(|r| r.addresses.contains(&ip))
    }

    /// Whether this is the name of a loopback that the person allowed. It needs no resolver.
    fn is_localhost(&self, name: &Host, ip: IpAddr, port: u16) -> bool {
        name.name() == Some("localhost")
            && ip.is_loopback()
            && self.exit().allowed().of_host(name, port).next().is_some()
    }

    fn judge(&self, host: Host, port: u16, addresses: Vec<IpAddr>, by_hosts_file: bool) -> Destination {
        let rules = self.exit().allowed();
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
}

//! Names whose requests are held to rules, and the addresses that are theirs. A rule for an address lets through what names it; it
//! does not lift what another rule says of the name that has this address.

use std::net::IpAddr;

use chaperone_egress::{Host, HostPattern};
use chaperone_protocol::Failure;
use tokio::task::JoinSet;

use crate::destination::{Destination, shown};
use crate::exit::Exit;
use crate::names;
use crate::session_gateway::SessionGateway;

/// Names whose addresses are asked for at once.
const AT_ONCE: usize = 8;

/// Whether whoever names the address may be held to the rules of a name that has it. Not where the user wrote for the address itself
/// what may be asked of it, or that nothing is looked at.
pub(crate) fn may_be_ruled(exit: &Exit, target: &Destination) -> bool {
    let rules = exit.allowed();
    matches!(target.host, Host::Address(_))
        && !rules
            .of_host(&target.host, target.port)
            .any(|rule| rule.pass_through || rule.tcp || rule.needs_requests())
}

/// A name whose requests are held to rules and that has one of the addresses. Names that rules have in full are looked up for it;
/// those of a wildcard are known once the session has asked for them.
pub(crate) async fn ruled_name(gateway: &SessionGateway, target: &Destination) -> Option<Host> {
    let exit = gateway.exit();
    if !may_be_ruled(exit, target) {
        return None;
    }
    let known = || known(exit, &target.addresses, target.port);
    if let Some(name) = known() {
        return Some(name);
    }
    let mut asked = JoinSet::new();
    for name in in_full(exit, target.port) {
        if !exit.names.begins_look(&name.to_string()) {
            continue;
        }
        if asked.len() >= AT_ONCE {
            asked.join_next().await;
        }
        let gateway = gateway.clone();
        // What cannot be resolved has no address that could be this one.
        asked.spawn(async move {
            if let Ok(crate::name_table::GrantedHost::Name(name)) = names::find(&gateway, &name).await {
                gateway.exit().names.resolve(&name).await.ok();
            }
        });
    }
    while asked.join_next().await.is_some() {}
    known()
}

/// Why what names an address alone is not carried.
pub(crate) fn unnamed(target: &Destination, name: &Host) -> Failure {
    Failure::new(
        "fronting",
        format!(
            "{} is an address of {name}, whose requests are held to rules, and nothing here says which of them it is for",
            shown(&target.host, target.port)
        ),
    )
    .advise(format!("connect to {name} by its name"))
}

/// Of the names that this session knows the addresses of.
fn known(exit: &Exit, addresses: &[IpAddr], port: u16) -> Option<Host> {
    let localhost = addresses.iter().any(IpAddr::is_loopback).then(|| "localhost".to_owned());
    let found = addresses.iter().flat_map(|ip| exit.names.found_at(*ip));
    localhost.into_iter().chain(found).map(Host::Name).find(|name| exit.wants_requests(name, port))
}

/// The names that rules have in full and whose requests they are about.
fn in_full(exit: &Exit, port: u16) -> Vec<Host> {
    let rules = exit.allowed();
    let names = rules.rules().iter().filter(|rule| rule.has_port(port) && rule.needs_requests());
    let names = names.filter_map(|rule| match rule.host() {
        HostPattern::Name(name) if name != "localhost" => Some(Host::Name(name.clone())),
        _ => None,
    });
    names.filter(|name| exit.wants_requests(name, port)).collect()
}

#[cfg(test)]
mod tests {
    use chaperone_egress::Rule;
    use chaperone_inspect::Detectors;

    use super::*;

    fn exit(rules: &str) -> Exit {
        let rules = serde_json::from_str::<Vec<Rule>>(rules).unwrap();
        Exit::new("s", Detectors::builtin().unwrap(), rules, &[], None, None).unwrap()
    }

    fn at(ip: &str, port: u16) -> Destination {
        let ip: IpAddr = ip.parse().unwrap();
        Destination { host: Host::Address(ip), port, addresses: vec![ip], reaches: "private", named: true }
    }

    #[test]
    fn an_address_of_a_name_with_rules_is_known_as_its() {
        let exit = exit(
            r#"[
            { "host": "good.example", "ports": [443], "methods": ["GET"] }, { "host": "*.below.example", "paths": ["/v1/**"] },
            { "host": "free.example" }, { "host": "localhost", "ports": [8443], "inspect": true }, { "host": "10.0.0.0/8" }
        ]"#,
        );
        let found = |name: &str, ip: &str| exit.names.note(name, &[ip.parse().unwrap()]);
        found("free.example", "10.0.0.3");
        found("good.example", "10.0.0.1");
        found("a.below.example", "10.0.0.2");
        let known = |ip: &str, port| known(&exit, &[ip.parse().unwrap()], port).map(|name| name.to_string());
        assert_eq!(known("10.0.0.1", 443).as_deref(), Some("good.example"));
        assert_eq!(known("10.0.0.1", 80), None, "a rule is about its ports");
        assert_eq!(known("10.0.0.2", 443).as_deref(), Some("a.below.example"));
        assert_eq!(known("10.0.0.3", 443), None, "its requests are held to nothing");
        assert_eq!(known("127.0.0.1", 8443).as_deref(), Some("localhost"));
        // Where it had another address before, that may still be its.
        found("good.example", "10.0.0.9");
        assert!(known("10.0.0.1", 443).is_some() && known("10.0.0.9", 443).is_some());
        let full: Vec<String> = in_full(&exit, 443).iter().map(ToString::to_string).collect();
        assert_eq!(full, ["good.example"]);
    }

    #[test]
    fn what_the_user_wrote_for_an_address_itself_goes_before() {
        let exit = exit(
            r#"[
            { "host": "10.0.0.1" }, { "host": "10.0.0.2", "methods": ["GET"] }, { "host": "10.0.0.3", "pass_through": true },
            { "host": "10.0.0.4", "ports": [5432], "tcp": true }
        ]"#,
        );
        let ruled = |ip: &str, port| may_be_ruled(&exit, &at(ip, port));
        assert!(ruled("10.0.0.1", 443) && ruled("10.0.0.1", 80));
        assert!(!ruled("10.0.0.2", 443) && !ruled("10.0.0.3", 443) && !ruled("10.0.0.4", 5432));
        let named = Destination { host: Host::Name("good.example".into()), ..at("10.0.0.1", 443) };
        assert!(!may_be_ruled(&exit, &named), "the name itself is what its rules are for");
    }

    #[test]
    fn the_refusal_says_by_which_name_it_goes() {
        let failure = unnamed(&at("10.0.0.1", 443), &Host::Name("good.example".into()));
        let text = format!("{failure:?}");
        assert!(text.contains("10.0.0.1:443 is an address of good.example"), "{text}");
        assert!(text.contains("connect to good.example by its name"), "{text}");
    }
}

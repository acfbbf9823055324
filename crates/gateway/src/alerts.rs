//! What is raised about the network besides single refusals: many connections to what nobody trusts, first contacts, packets
//! that the cell's rules refused.

use std::net::IpAddr;

use chaperone_cell::RefusedPacket;
use chaperone_egress::{Host, Over};
use chaperone_pipeline::records::Alert;
use chaperone_policy::Severity;

use crate::name_table::NameTable;
use crate::session_gateway::SessionGateway;
use crate::window::{MANY, MANY_REFUSED};

/// A connection, or a query, for something that nobody trusts.
pub(crate) fn untrusted(gateway: &SessionGateway, host: &str, ip: Option<IpAddr>) -> usize {
    let count = gateway.exit().window.untrusted(host, ip);
    // Raised at the eleventh connection and at the fortieth: a loop must not fill the log.
    if count == MANY + 1 || count == 4 * MANY {
        let reasons = ["many_connections".to_owned(), format!("{count} within ten minutes")];
        raise(gateway, host, "net.many_connections", &reasons, Some("T1071.001"));
    }
    count
}

/// The session turns to a host for the first time that only a wildcard, a network or a grant allows.
pub(crate) fn first_contact(gateway: &SessionGateway, host: &str) {
    raise(gateway, host, "net.first_contact", &["first_contact".to_owned()], None);
}

/// A budget is nearly used up; raised once for each.
pub(crate) fn near_budget(gateway: &SessionGateway, host: &Host, over: Over) {
    if gateway.exit().window.is_first_near(over) {
        let reasons = ["budget_nearly_used".to_owned(), over.code().to_owned()];
        raise(gateway, &host.to_string(), "net.budget_near", &reasons, Some("T1030"));
    }
}

/// A destination was refused.
pub(crate) fn refused(gateway: &SessionGateway, host: &str) {
    if gateway.exit().window.refused(host) {
        let reasons =
            ["many_destinations".to_owned(), format!("{} refused within ten minutes", MANY_REFUSED + 1)];
        raise(gateway, host, "net.many_destinations", &reasons, Some("T1046"));
    }
}

/// A packet that the cell's rules refused. Browsers try QUIC and programs look for their neighbours by multicast: those are
/// recorded, the rest is raised.
pub(crate) fn packet(gateway: &SessionGateway, packet: RefusedPacket) {
    let Some(count) = gateway.exit().window.packet(packet) else { return };
    let to = packet.to;
    let is_usual = packet.protocol == 17 && (to.port() == 443 || to.ip().is_multicast());
    let host = match NameTable::is_stand_in(to.ip()).then(|| gateway.exit().names.of(to.ip())).flatten() {
        Some(name) => format!("{}:{}", name.host(), to.port()),
        None => to.to_string(),
    };
    gateway.pipeline().records.packet(
        &gateway.session,
        &format!("{} {host}", protocol(packet.protocol)),
        count,
        !is_usual,
    );
}

fn protocol(number: u8) -> String {
    match number {
        1 | 58 => "icmp".to_owned(),
        17 => "udp".to_owned(),
        33 => "dccp".to_owned(),
        132 => "sctp".to_owned(),
        136 => "udp-lite".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn raise(gateway: &SessionGateway, host: &str, rule: &str, reasons: &[String], technique: Option<&str>) {
    let alert =
        Alert { action: "connect", resource: host, rule, reasons, technique, severity: Severity::High };
    gateway.pipeline().records.alert(&gateway.session, &alert);
}

//! What is raised about the network besides single refusals: many connections to what nobody trusts, first contacts, packets
//! that the cell's rules refused.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use chaperone_cell::RefusedPacket;
use chaperone_egress::{Host, Over};
use chaperone_pipeline::records::Alert;
use chaperone_policy::Severity;
use parking_lot::Mutex;

use crate::gateway::Way;

/// How far back connections are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// More connections than this to one destination that nobody trusts are raised (the mission's rule).
const MANY: usize = 10;
/// Different destinations that were refused; more look like a search for hosts.
const MANY_REFUSED: usize = 10;
/// Destinations that are counted. Protects memory; beyond it the oldest are forgotten.
const MOST: usize = 4_096;
/// Packets told one by one for each destination; further ones at powers of two.
const TOLD_PACKETS: u64 = 2;
/// Connections of one session by destination.
#[derive(Debug, Default)]
pub(crate) struct Window(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    untrusted: HashMap<(String, Option<IpAddr>), VecDeque<Instant>>,
    refused: HashMap<String, Instant>,
    packets: HashMap<RefusedPacket, u64>,
    contacted: HashSet<String>,
    near: HashSet<Over>,
}

impl Window {
    /// Count a connection to a destination that is not trusted; how many there were within the window.
    pub fn untrusted(&self, host: &str, ip: Option<IpAddr>) -> usize {
        let mut counts = self.0.lock();
        make_room(&mut counts.untrusted);
        let times = counts.untrusted.entry((host.to_owned(), ip)).or_default();
        while times.front().is_some_and(|at| at.elapsed() > WINDOW) {
            times.pop_front();
        }
        if times.len() <= 4 * MANY {
            times.push_back(Instant::now());
        }
        times.len()
    }

    /// Count a refused destination; whether there are exactly so many different ones now that it is raised.
    pub fn refused(&self, host: &str) -> bool {
        let mut counts = self.0.lock();
        counts.refused.retain(|_, at| at.elapsed() <= WINDOW);
        make_room(&mut counts.refused);
        let new = counts.refused.insert(host.to_owned(), Instant::now()).is_none();
        new && counts.refused.len() == MANY_REFUSED + 1
    }

    /// Whether the session talks to this host for the first time.
    pub fn is_first_contact(&self, host: &str) -> bool {
        let mut counts = self.0.lock();
        if counts.contacted.len() >= MOST {
            counts.contacted.clear();
        }
        counts.contacted.insert(host.to_owned())
    }
}

fn make_room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= MOST {
        map.clear();
    }
}

fn raise(way: &Way, host: &str, rule: &str, reasons: &[String], technique: Option<&str>) {
    let alert =
        Alert { action: "connect", resource: host, rule, reasons, technique, severity: Severity::High };
    way.pipeline().records.alert(&way.session, &alert);
}

/// A connection, or a query, for something that nobody trusts.
pub(crate) fn untrusted(way: &Way, host: &str, ip: Option<IpAddr>) -> usize {
    let count = way.exit().window.untrusted(host, ip);
    // Once when the limit is passed, and again when it has become many times that.
    if count == MANY + 1 || count == 4 * MANY {
        let reasons = ["many_connections".to_owned(), format!("{count} within ten minutes")];
        raise(way, host, "net.many_connections", &reasons, Some("T1071.001"));
    }
    count
}

/// The session turns to a host for the first time that only a wildcard, a network or a grant allows.
pub(crate) fn first_contact(way: &Way, host: &str) {
    raise(way, host, "net.first_contact", &["first_contact".to_owned()], None);
}

/// A budget is nearly used up; told once for each.
pub(crate) fn near_budget(way: &Way, host: &Host, over: Over) {
    if way.exit().window.0.lock().near.insert(over) {
        let reasons = ["budget_nearly_used".to_owned(), over.code().to_owned()];
        raise(way, &host.to_string(), "net.budget_near", &reasons, Some("T1030"));
    }
}

/// A destination was refused.
pub(crate) fn refused(way: &Way, host: &str) {
    if way.exit().window.refused(host) {
        let reasons =
            ["many_destinations".to_owned(), format!("{} refused within ten minutes", MANY_REFUSED + 1)];
        raise(way, host, "net.many_destinations", &reasons, Some("T1046"));
    }
}

/// A packet that the cell's rules refused. Browsers try QUIC and programs look for their neighbours by multicast: those are
/// recorded, the rest is raised.
pub(crate) fn packet(way: &Way, packet: RefusedPacket) {
    let count = {
        let mut counts = way.exit().window.0.lock();
        make_room(&mut counts.packets);
        let count = counts.packets.entry(packet).or_insert(0);
        *count += 1;
        *count
    };
    if count > TOLD_PACKETS && !count.is_power_of_two() {
        return;
    }
    let to = packet.to;
    let is_usual = packet.protocol == 17 && (to.port() == 443 || to.ip().is_multicast());
    let host = match crate::names::Names::is_stand_in(to.ip()).then(|| way.exit().names.of(to.ip())).flatten()
    {
        Some(name) => format!("{name}:{}", to.port()),
        None => to.to_string(),
    };
    way.pipeline().records.packet(
        &way.session,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_destination() {
        let window = Window::default();
        let counts: Vec<_> = (0..12).map(|_| window.untrusted("a.example", None)).collect();
        assert_eq!(counts, (1..=12).collect::<Vec<_>>());
        assert_eq!(window.untrusted("b.example", None), 1);
        assert_eq!(window.untrusted("a.example", Some("192.0.2.1".parse().unwrap())), 1);
    }

    #[test]
    fn a_search_for_hosts_is_raised_once() {
        let window = Window::default();
        let raised: Vec<_> = (0..30).filter(|n| window.refused(&format!("10.0.0.{n}"))).collect();
        assert_eq!(raised, [10]);
        assert!(!window.refused("10.0.0.1"));
    }
}

//! What a session did within the last minutes, counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use chaperone_cell::RefusedPacket;
use chaperone_egress::Over;
use parking_lot::Mutex;

/// How far back connections are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// More connections than this to one destination that nobody trusts are raised.
pub(crate) const MANY: usize = 10;
/// Different destinations that were refused; more look like a search for hosts.
pub(crate) const MANY_REFUSED: usize = 10;
/// Destinations that are counted. Protects memory; beyond it the oldest are forgotten.
const MOST: usize = 4_096;
/// Packets reported one by one for each destination; further ones at powers of two.
const REPORTED_PACKETS: u64 = 2;

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

    /// Count a refused packet; how many of its kind there were, when that is to be reported.
    pub fn packet(&self, packet: RefusedPacket) -> Option<u64> {
        let mut counts = self.0.lock();
        make_room(&mut counts.packets);
        let count = counts.packets.entry(packet).or_insert(0);
        *count += 1;
        Some(*count).filter(|n| *n <= REPORTED_PACKETS || n.is_power_of_two())
    }

    /// Whether this budget is nearly used up for the first time.
    pub fn is_first_near(&self, over: Over) -> bool {
        self.0.lock().near.insert(over)
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

    #[test]
    fn a_loop_of_connections_is_counted_to_forty_one_and_no_further() {
        let window = Window::default();
        let last = (0..100).map(|_| window.untrusted("a.example", None)).last();
        assert_eq!(last, Some(4 * MANY + 1));
    }

    #[test]
    fn packets_are_reported_at_powers_of_two_for_each_destination() {
        let window = Window::default();
        let packet = |port| RefusedPacket { to: ([192, 0, 2, 1], port).into(), protocol: 17 };
        let reported: Vec<_> = (0..40).filter_map(|_| window.packet(packet(443))).collect();
        assert_eq!(reported, [1, 2, 4, 8, 16, 32]);
        assert_eq!(window.packet(packet(444)), Some(1));
    }

    #[test]
    fn a_first_contact_and_a_budget_are_new_once() {
        let window = Window::default();
        assert!(window.is_first_contact("a.example"));
        assert!(!window.is_first_contact("a.example"));
        assert!(window.is_first_near(Over::TotalBytes));
        assert!(!window.is_first_near(Over::TotalBytes));
        assert!(window.is_first_near(Over::DestinationBytes));
    }

    #[test]
    fn what_is_counted_does_not_grow_without_end() {
        let window = Window::default();
        for n in 0..2 * MOST {
            window.is_first_contact(&n.to_string());
            window.untrusted(&n.to_string(), None);
        }
        let counts = window.0.lock();
        assert!(counts.contacted.len() <= MOST && counts.untrusted.len() <= MOST);
    }
}

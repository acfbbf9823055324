//! What a session did within the last minutes, counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use chaperone_cell::RefusedPacket;
use chaperone_egress::Over;
use parking_lot::Mutex;

/// How far back connections are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// More connections than this to one destination that nobody trusts are raised (the mission's rule).
pub(crate) const MANY: usize = 10;
/// Different destinations that were refused; more look like a search for hosts.
pub(crate) const MANY_REFUSED: usize = 10;
/// Destinations that are counted. Protects memory; beyond it the oldest are forgotten.
const MOST: usize = 4_096;

/// Connections of one session by destination.
#[derive(Debug, Default)]
pub(crate) struct Window(pub Mutex<Counts>);

#[derive(Debug, Default)]
pub(crate) struct Counts {
    untrusted: HashMap<(String, Option<IpAddr>), VecDeque<Instant>>,
    refused: HashMap<String, Instant>,
    pub packets: HashMap<RefusedPacket, u64>,
    contacted: HashSet<String>,
    pub near: HashSet<Over>,
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

pub(crate) fn make_room<K, V>(map: &mut HashMap<K, V>) {
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
}

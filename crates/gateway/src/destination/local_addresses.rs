//! The addresses of this machine: what is public to others may be the machine itself to an agent.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a reading holds: interfaces come and go slowly.
const HOLDS: Duration = Duration::from_secs(5);

/// Whether an address is one of this machine's.
pub(crate) fn is_local_address(ip: IpAddr) -> bool {
    static KNOWN: Mutex<Option<(Instant, HashSet<IpAddr>)>> = Mutex::new(None);
    let mut known = KNOWN.lock();
    let (_, addresses) = match known.take().filter(|(at, _)| at.elapsed() < HOLDS) {
        Some(fresh) => known.insert(fresh),
        None => known.insert((Instant::now(), read())),
    };
    addresses.contains(&ip)
}

fn read() -> HashSet<IpAddr> {
    // Where /proc does not say, no address is known as own; private and loopback ones are refused by their class.
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    of_v4(&v4).chain(of_v6(&v6)).collect()
}

/// Of `fib_trie`: an address, then what it is in one of the lines below it.
fn of_v4(text: &str) -> impl Iterator<Item = IpAddr> {
    let mut last = None;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        }
        line.starts_with("/32 host LOCAL").then_some(last).flatten()
    })
}

/// Of `if_inet6`: 32 hexadecimal digits at the start of each line.
fn of_v6(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        u128::from_str_radix(digits, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_read_from_proc() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.2.15\n        /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(of_v4(text).collect::<Vec<_>>(), ["10.0.2.15".parse::<IpAddr>().unwrap()]);
        let text = "fe80000000000000505400fffe123456 02 40 20 80 eth0\n";
        assert_eq!(of_v6(text).collect::<Vec<_>>(), ["fe80::5054:ff:fe12:3456".parse::<IpAddr>().unwrap()]);
        assert!(is_local_address("127.0.0.1".parse().unwrap()));
        assert!(!is_local_address("192.0.2.77".parse().unwrap()));
    }
}

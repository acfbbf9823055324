//! The names of a session: the addresses that stand for them in the cell, and those that they really have.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_pipeline::Authorized;
use chaperone_protocol::Failure;
use parking_lot::Mutex;

/// The first address that stands for a name; the block is for laboratories only (RFC 2544), so nobody else's.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Names of one session; beyond it a new one is not resolved.
const MOST: u32 = 1 << 16;
/// How long the addresses of a name are used before they are asked for again.
const HOLDS: Duration = Duration::from_secs(60);
/// How long the system's resolver may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;
/// Largest hosts file that is read.
const MOST_HOSTS: u64 = 4 << 20;

/// A name that may be asked for. It comes from a decision on exactly this name, and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantedName(String);

impl GrantedName {
    /// The name that a query was granted for; nothing when something else was granted.
    pub fn of(granted: &Authorized) -> Option<Self> {
        let request = granted.request();
        let network = request.as_network().filter(|_| request.action == Action::Resolve)?;
        Some(Self(network.host.clone()))
    }

    pub fn host(&self) -> Host {
        Host::Name(self.0.clone())
    }
}

/// A host whose addresses may be found out: an address is its own.
#[derive(Debug, Clone)]
pub(crate) enum GrantedHost {
    Name(GrantedName),
    Address(IpAddr),
}

/// Names of a session and what stands for them.
#[derive(Debug, Default)]
pub(crate) struct NameTable(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    names: Vec<GrantedName>,
    stand_ins: HashMap<String, Ipv4Addr>,
    resolved: HashMap<String, (Instant, Arc<Resolved>)>,
}

/// The real addresses of a name.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub addresses: Vec<IpAddr>,
    /// The user's own hosts file says so: nobody else can turn the name to another address.
    pub by_hosts_file: bool,
}

impl NameTable {
    /// The name that an address stands for.
    pub fn of(&self, ip: IpAddr) -> Option<GrantedName> {
        let IpAddr::V4(ip) = ip else { return None };
        let at = ip.to_bits().checked_sub(FIRST.to_bits())?;
        self.0.lock().names.get(usize::try_from(at).ok()?).cloned()
    }

    /// Whether an address is one that could stand for a name.
    pub fn is_stand_in(ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if (FIRST.to_bits()..FIRST.to_bits() + MOST).contains(&ip.to_bits()))
    }

    pub fn stand_in(&self, name: &GrantedName) -> Option<Ipv4Addr> {
        let mut known = self.0.lock();
        if let Some(ip) = known.stand_ins.get(&name.0) {
            return Some(*ip);
        }
        let at = u32::try_from(known.names.len()).ok().filter(|at| *at < MOST)?;
        let ip = Ipv4Addr::from_bits(FIRST.to_bits() + at);
        known.names.push(name.clone());
        known.stand_ins.insert(name.0.clone(), ip);
        Some(ip)
    }

    /// The name, when it was granted in this session and has been found.
    pub fn granted(&self, name: &str) -> Option<GrantedName> {
        self.0.lock().resolved.contains_key(name).then(|| GrantedName(name.to_owned()))
    }

    /// The real addresses of a name.
    ///
    /// # Errors
    /// `cannot_resolve`.
    pub async fn resolve(&self, GrantedName(name): &GrantedName) -> Result<Arc<Resolved>, Failure> {
        if let Some((at, known)) = self.0.lock().resolved.get(name)
            && at.elapsed() < HOLDS
        {
            return Ok(Arc::clone(known));
        }
        let asked = name.clone();
        let looked = tokio::task::spawn_blocking(move || look_up(&asked));
        let cannot = |why: &str| Failure::new("cannot_resolve", format!("{name} cannot be resolved: {why}"));
        let resolved = match tokio::time::timeout(RESOLVE_LIMIT, looked).await {
            Err(_) => return Err(cannot("the resolver does not answer")),
            Ok(Err(_)) => return Err(cannot("an internal error of the broker")),
            Ok(Ok(Err(e))) => return Err(cannot(&e.to_string())),
            Ok(Ok(Ok(resolved))) if resolved.addresses.is_empty() => return Err(cannot("it has no address")),
            Ok(Ok(Ok(resolved))) => Arc::new(resolved),
        };
        let mut known = self.0.lock();
        if known.resolved.len() >= MOST as usize {
            known.resolved.clear();
        }
        known.resolved.insert(name.clone(), (Instant::now(), Arc::clone(&resolved)));
        Ok(resolved)
    }
}

/// By the system's resolver, whatever the user set it up to be.
fn look_up(name: &str) -> std::io::Result<Resolved> {
    use std::net::ToSocketAddrs;
    let by_file = std::fs::File::open("/etc/hosts").and_then(|file| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST_HOSTS), &mut text)?;
        Ok(hosts_file_addresses(&text, name))
    });
    // Without a hosts file there is nothing that it says.
    let by_file = by_file.unwrap_or_default();
    if !by_file.is_empty() {
        return Ok(Resolved { addresses: by_file, by_hosts_file: true });
    }
    // A dot at the end keeps the machine's search domains out of it.
    let mut addresses: Vec<IpAddr> =
        (format!("{name}."), 0).to_socket_addrs()?.map(|a| a.ip().to_canonical()).collect();
    // IPv4 first: it works everywhere.
    addresses.sort();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    Ok(Resolved { addresses, by_hosts_file: false })
}

fn hosts_file_addresses(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|w| w.eq_ignore_ascii_case(name)) && found.len() < MOST_ADDRESSES {
            found.push(ip.to_canonical());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_the_address_that_stands_for_it() {
        let names = NameTable::default();
        let granted = |name: &str| GrantedName(name.to_owned());
        let one = names.stand_in(&granted("a.example")).unwrap();
        let two = names.stand_in(&granted("b.example")).unwrap();
        assert_eq!(names.stand_in(&granted("a.example")), Some(one));
        assert_ne!(one, two);
        assert_eq!(names.of(two.into()), Some(granted("b.example")));
        assert!(
            NameTable::is_stand_in(one.into()) && !NameTable::is_stand_in("198.51.100.1".parse().unwrap())
        );
        assert_eq!(names.of("198.18.0.3".parse().unwrap()), None);
    }

    #[test]
    fn the_hosts_file_is_read_as_the_system_reads_it() {
        let text = "# 1.1.1.1 a.example\n10.0.0.1 A.Example b # a.example\n::1 a.example\nbroken a.example\n";
        assert_eq!(
            hosts_file_addresses(text, "a.example"),
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert!(hosts_file_addresses(text, "c").is_empty());
    }

    #[test]
    fn a_session_has_only_so_many_names_and_an_old_one_keeps_its_address() {
        let names = NameTable::default();
        let first = names.stand_in(&GrantedName("0.example".into())).unwrap();
        for n in 1..MOST {
            assert!(names.stand_in(&GrantedName(format!("{n}.example"))).is_some_and(|ip| ip != first));
        }
        assert_eq!(names.stand_in(&GrantedName("one-too-many.example".into())), None);
        assert_eq!(names.stand_in(&GrantedName("0.example".into())), Some(first));
    }

    #[test]
    fn what_only_has_a_stand_in_is_not_known_as_found() {
        let names = NameTable::default();
        let name = GrantedName("a.example".into());
        names.stand_in(&name);
        assert_eq!(names.granted("a.example"), None);
        let found = Resolved { addresses: vec![Ipv4Addr::LOCALHOST.into()], by_hosts_file: true };
        names.0.lock().resolved.insert("a.example".into(), (Instant::now(), Arc::new(found)));
        assert_eq!(names.granted("a.example"), Some(name));
        assert_eq!(names.granted("b.example"), None);
    }
}

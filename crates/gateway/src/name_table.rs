//! The names of a session: the addresses that stand for them in the cell, and those that they really have.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_pipeline::Authorized;
use chaperone_protocol::Failure;
use parking_lot::Mutex;

use crate::company_proxy::Proxies;
use crate::resolver::{Resolved, Resolver};

/// The first address that stands for a name; the block is for laboratories only (RFC 2544), so nobody else's.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Names of one session; beyond it a new one is not resolved.
const MOST: u32 = 1 << 16;
/// How long the addresses of a name are used before they are asked for again.
const HOLDS: Duration = Duration::from_secs(60);

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
pub(crate) struct NameTable {
    known: Mutex<Known>,
    resolver: Resolver,
    /// What knows names that the machine itself does not.
    pub(crate) proxies: OnceLock<Proxies>,
}

#[derive(Debug, Default)]
struct Known {
    names: Vec<GrantedName>,
    stand_ins: HashMap<String, Ipv4Addr>,
    resolved: HashMap<String, (Instant, Arc<Resolved>)>,
    /// The names that each address was found for: one that it has no longer may go on answering for them.
    found_at: HashMap<IpAddr, BTreeSet<String>>,
    /// Names that were looked up for their addresses alone, and when.
    looked: HashMap<String, Instant>,
}

impl NameTable {
    /// The name that an address stands for.
    pub fn of(&self, ip: IpAddr) -> Option<GrantedName> {
        let IpAddr::V4(ip) = ip else { return None };
        let at = ip.to_bits().checked_sub(FIRST.to_bits())?;
        self.known.lock().names.get(usize::try_from(at).ok()?).cloned()
    }

    /// Whether an address is one that could stand for a name.
    pub fn is_stand_in(ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if (FIRST.to_bits()..FIRST.to_bits() + MOST).contains(&ip.to_bits()))
    }

    pub fn stand_in(&self, name: &GrantedName) -> Option<Ipv4Addr> {
        let mut known = self.known.lock();
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
        self.known.lock().resolved.contains_key(name).then(|| GrantedName(name.to_owned()))
    }

    /// The real addresses of a name; none where a proxy alone knows them.
    ///
    /// # Errors
    /// `cannot_resolve`.
    pub async fn resolve(&self, GrantedName(name): &GrantedName) -> Result<Arc<Resolved>, Failure> {
        if let Some((at, known)) = self.known.lock().resolved.get(name)
            && at.elapsed() < HOLDS
        {
            return Ok(Arc::clone(known));
        }
        let mut resolved = self.resolver.resolve(name).await;
        if resolved.is_err() && self.proxies.get().is_some_and(|proxies| proxies.know(name)) {
            // The proxy looks it up.
            resolved = Ok(Resolved { addresses: Vec::new(), by_hosts_file: false });
        }
        let cannot = |why| Failure::new("cannot_resolve", format!("{name} cannot be resolved: {why}"));
        let resolved = Arc::new(resolved.map_err(cannot)?);
        let mut known = self.known.lock();
        if known.resolved.len() >= MOST as usize {
            known.resolved.clear();
        }
        known.resolved.insert(name.clone(), (Instant::now(), Arc::clone(&resolved)));
        drop(known);
        self.note(name, &resolved.addresses);
        Ok(resolved)
    }

    /// Keep which addresses a name was found at.
    pub fn note(&self, name: &str, addresses: &[IpAddr]) {
        let mut known = self.known.lock();
        for ip in addresses {
            if known.found_at.len() >= MOST as usize {
                known.found_at.clear();
            }
            known.found_at.entry(ip.to_canonical()).or_default().insert(name.to_owned());
        }
    }

    /// The names that this session found at an address.
    pub fn found_at(&self, ip: IpAddr) -> Vec<String> {
        let known = self.known.lock();
        known.found_at.get(&ip.to_canonical()).into_iter().flatten().cloned().collect()
    }

    /// Whether a name is to be looked up for its addresses alone: not again within the time that an answer holds.
    pub fn begins_look(&self, name: &str) -> bool {
        let mut known = self.known.lock();
        if known.looked.get(name).is_some_and(|at| at.elapsed() < HOLDS) {
            return false;
        }
        known.looked.insert(name.to_owned(), Instant::now());
        true
    }
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
        names.known.lock().resolved.insert("a.example".into(), (Instant::now(), Arc::new(found)));
        assert_eq!(names.granted("a.example"), Some(name));
        assert_eq!(names.granted("b.example"), None);
    }
}

//! The cell's only resolver. A name that policy may allow is answered with an address that stands for it in this session
//! alone, so that a connection tells which name it is for; the real addresses are found by the system's resolver, checked,
//! and used by the broker alone. An answer therefore carries nothing into the cell, and cannot be turned elsewhere later.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaperone_egress::dns::{Answer, Query, RecordType, Transport, reply_to_refused};
use chaperone_egress::{Host, Reason, Verdict, registered_domain};
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

use crate::{alerts, gateway::MAX_QUERIES, gateway::Way};
use chaperone_capability::Action;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::network_facts::NetworkFacts;
use chaperone_pipeline::{AccessRequest, Authorized, Refusal};
use chaperone_protocol::Failure;

/// The first address that stands for a name; the block is for laboratories only (RFC 2544), so nobody else's.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Names of one session; beyond it a new one is not resolved.
const MOST: u32 = 1 << 16;
/// How long the addresses of a name are used before they are asked for again.
const HOLDS: Duration = Duration::from_secs(60);
/// What the cell is told about how long an answer holds, in seconds; asking again costs little.
const TTL: u32 = 60;
/// How long the system's resolver may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;
/// How long a DNS connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// Largest hosts file that is read.
const MOST_HOSTS: u64 = 4 << 20;

/// Names of a session and what stands for them.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    names: Vec<String>,
    stand_ins: HashMap<String, Ipv4Addr>,
    resolved: HashMap<String, (Instant, Arc<Resolved>)>,
}

/// The real addresses of a name.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub addresses: Vec<IpAddr>,
    /// The person's own hosts file says so: nobody else can turn the name to another address.
    pub by_hosts_file: bool,
}

impl Names {
    /// The name that an address stands for.
    pub fn of(&self, ip: IpAddr) -> Option<Host> {
        let IpAddr::V4(ip) = ip else { return None };
        let at = ip.to_bits().checked_sub(FIRST.to_bits())?;
        self.0.lock().names.get(usize::try_from(at).ok()?).cloned().map(Host::Name)
    }

    /// Whether an address is one that could stand for a name.
    pub fn is_stand_in(ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if (FIRST.to_bits()..FIRST.to_bits() + MOST).contains(&ip.to_bits()))
    }

    fn stand_in(&self, name: &str) -> Option<Ipv4Addr> {
        let mut known = self.0.lock();
        if let Some(ip) = known.stand_ins.get(name) {
            return Some(*ip);
        }
        let at = u32::try_from(known.names.len()).ok().filter(|at| *at < MOST)?;
        let ip = Ipv4Addr::from_bits(FIRST.to_bits() + at);
        known.names.push(name.to_owned());
        known.stand_ins.insert(name.to_owned(), ip);
        Some(ip)
    }

    /// The real addresses of a name that was allowed.
    ///
    /// # Errors
    /// `cannot_resolve`.
    pub async fn resolve(&self, name: &str) -> Result<Arc<Resolved>, Failure> {
        if let Some((at, known)) = self.0.lock().resolved.get(name)
            && at.elapsed() < HOLDS
        {
            return Ok(Arc::clone(known));
        }
        let asked = name.to_owned();
        let looked = tokio::task::spawn_blocking(move || look_up(&asked));
        let cannot = |why: &str| Failure::new("cannot_resolve", format!("{name} cannot be resolved: {why}"));
        let resolved = match tokio::time::timeout(RESOLVE_LIMIT, looked).await {
            Err(_) => return Err(cannot("the resolver does not answer")),
            Ok(Err(_)) => return Err(cannot("a fault inside the broker")),
            Ok(Ok(Err(e))) => return Err(cannot(&e.to_string())),
            Ok(Ok(Ok(resolved))) if resolved.addresses.is_empty() => return Err(cannot("it has no address")),
            Ok(Ok(Ok(resolved))) => Arc::new(resolved),
        };
        let mut known = self.0.lock();
        if known.resolved.len() >= MOST as usize {
            known.resolved.clear();
        }
        known.resolved.insert(name.to_owned(), (Instant::now(), Arc::clone(&resolved)));
        Ok(resolved)
    }
}

/// By the system's resolver, whatever the person set it up to be.
fn look_up(name: &str) -> std::io::Result<Resolved> {
    use std::net::ToSocketAddrs;
    let by_file = std::fs::File::open("/etc/hosts").and_then(|file| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST_HOSTS), &mut text)?;
        Ok(of_hosts(&text, name))
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

fn of_hosts(text: &str, name: &str) -> Vec<IpAddr> {
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

/// DNS over UDP.
pub(crate) async fn serve(way: Way, socket: Arc<UdpSocket>) {
    let room = Arc::new(Semaphore::new(MAX_QUERIES));
    let mut bytes = vec![0u8; 65_536];
    loop {
        let Ok((got, from)) = socket.recv_from(&mut bytes).await else { continue };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let message = bytes.get(..got).unwrap_or_default().to_vec();
        let (task, socket) = (way.clone(), Arc::clone(&socket));
        way.spawn(async move {
            if let Some(reply) = answer(&task, &message, Transport::Udp).await {
                // A peer that is gone has no use for its answer.
                socket.send_to(&reply, from).await.ok();
            }
            drop(place);
        });
    }
}

/// DNS over TCP (RFC 7766): messages behind their lengths.
pub(crate) async fn accept(way: Way, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(MAX_QUERIES));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let task = way.clone();
        way.spawn(async move {
            let talk = async {
                loop {
                    let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
                    let mut message = vec![0u8; usize::from(length)];
                    tokio::time::timeout(IDLE, stream.read_exact(&mut message)).await??;
                    let Some(reply) = answer(&task, &message, Transport::Tcp).await else { break };
                    let length = u16::try_from(reply.len()).map_err(std::io::Error::other)?;
                    stream.write_all(&length.to_be_bytes()).await?;
                    stream.write_all(&reply).await?;
                }
                Ok::<(), std::io::Error>(())
            };
            // The peer went away or stalled; either way this conversation is over.
            talk.await.ok();
            drop(place);
        });
    }
}

/// The answer to one message; none where none would be right.
async fn answer(way: &Way, message: &[u8], over: Transport) -> Option<Vec<u8>> {
    match Query::parse(message) {
        Ok(query) => Some(query.answer(&decide(way, &query).await, over)),
        Err(e) => reply_to_refused(message, e),
    }
}

async fn decide(way: &Way, query: &Query) -> Answer {
    let (host, kind) = (&query.question.name, query.question.kind);
    let Host::Name(name) = host else { return Answer::Refused };
    // Refused reads as a passing fault, and is tried again and again; that there is no such name is final.
    let Ok(granted) = permit(way, host, kind).await else { return Answer::NxDomain };
    // Other types would carry free content into the cell, or keys that hide a connection's name from the broker.
    if kind != RecordType::A {
        return Answer::NoData;
    }
    match look(way, name, granted).await {
        Err(Unfound::Unrecorded(_)) => Answer::ServFail,
        Err(Unfound::NoAddress(_)) => Answer::NxDomain,
        Ok(()) => match way.exit().names.stand_in(name) {
            Some(ip) => Answer::Addresses { ips: vec![ip.into()], ttl_seconds: TTL },
            None => Answer::NxDomain,
        },
    }
}

/// Find the addresses of a name that is asked for by a connection, not by a query. They are known from here on.
///
/// # Errors
/// The refusal, or why there are none.
pub(crate) async fn find(way: &Way, host: &Host) -> Result<(), Failure> {
    let Host::Name(name) = host else { return Ok(()) };
    let granted = permit(way, host, RecordType::A).await.map_err(|refusal| refusal.failure)?;
    look(way, name, granted).await.map_err(|(Unfound::Unrecorded(why) | Unfound::NoAddress(why))| why)
}

/// Whether a name may be asked for: nothing is until this says so.
async fn permit(way: &Way, host: &Host, kind: RecordType) -> Result<Authorized, Refusal> {
    let name = host.to_string();
    let exit = way.exit();
    let domain = registered_domain(host).unwrap_or(&name);
    let verdict = exit.queries.lock().query(domain, host, kind, exit.now_ms());
    let rules = exit.allowed();
    let trusted = crate::target::is_trusted(&rules, host, None);
    let tunnel = match verdict {
        Verdict::Fine => None,
        // A name that the person wrote in full carries nothing, however many others were asked for before it.
        Verdict::Suspicious(Reason::ManyDomains) if trusted => None,
        Verdict::Suspicious(reason) => Some(reason.code()),
    };
    // What the name carries must not stand in the log.
    let shown = if tunnel.is_some() { format!("….{domain}") } else { name.clone() };
    let allowed = rules.may_resolve(host);
    // Counted before it is decided: policy stops a session that goes on and on with what nobody trusts.
    let recent =
        (kind == RecordType::A && !trusted && !allowed).then(|| alerts::untrusted(way, &shown, None));
    let resource = NetworkResource {
        shown: shown.clone(),
        host: name.clone(),
        facts: NetworkFacts {
            allowed,
            tunnel,
            kind: Some(kind.to_string()),
            trusted,
            untrusted_recent: recent,
            ..NetworkFacts::default()
        },
        leaves: kind == RecordType::A,
        ..NetworkResource::default()
    };
    let decided = way.decide(AccessRequest::network(Action::Resolve, resource)).await;
    if decided.is_err() && kind == RecordType::A {
        if recent.is_none() {
            alerts::untrusted(way, &shown, None);
        }
        alerts::refused(way, domain);
    }
    decided
}

/// Why a name that was permitted leads nowhere.
enum Unfound {
    Unrecorded(Failure),
    NoAddress(Failure),
}

async fn look(way: &Way, name: &str, mut granted: Authorized) -> Result<(), Unfound> {
    let intent = granted.intent;
    way.on_disk(granted.syncing()).await.map_err(Unfound::Unrecorded)?;
    let resolved = way.exit().names.resolve(name).await;
    let detail = json!({
        "addresses": resolved.as_ref().map(|r| r.addresses.clone()).unwrap_or_default(),
        "error": resolved.as_ref().err().map(|e| &e.message),
    });
    way.done(intent, Action::Resolve, name.to_owned(), resolved.is_ok(), 0, detail).await;
    resolved.map(|_| ()).map_err(Unfound::NoAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_the_address_that_stands_for_it() {
        let names = Names::default();
        let one = names.stand_in("a.example").unwrap();
        let two = names.stand_in("b.example").unwrap();
        assert_eq!(names.stand_in("a.example"), Some(one));
        assert_ne!(one, two);
        assert_eq!(names.of(two.into()), Some(Host::Name("b.example".into())));
        assert!(Names::is_stand_in(one.into()) && !Names::is_stand_in("198.51.100.1".parse().unwrap()));
        assert_eq!(names.of("198.18.0.3".parse().unwrap()), None);
    }

    #[test]
    fn the_hosts_file_is_read_as_the_system_reads_it() {
        let text = "# 1.1.1.1 a.example\n10.0.0.1 A.Example b # a.example\n::1 a.example\nbroken a.example\n";
        assert_eq!(
            of_hosts(text, "a.example"),
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert!(of_hosts(text, "c").is_empty());
    }
}

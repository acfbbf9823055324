//! The cell's only resolver. A name that policy may allow is answered with an address that stands for it in this session
//! alone, so that a connection tells which name it is for; the real addresses are found by the system's resolver, checked,
//! and used by the broker alone. An answer therefore carries nothing into the cell, and cannot be turned elsewhere later.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::Durability;
use chaperone_capability::Action;
use chaperone_egress::dns::{Answer, DnsError, Query, RecordType, Transport, reply_to_refused};
use chaperone_egress::{Host, Reason, Verdict, registered_domain};
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::network_facts::NetworkFacts;
use chaperone_pipeline::{AccessRequest, Authorized, Refusal};
use chaperone_protocol::{Failure, counted};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

use crate::name_pace::{Known, Slot, Turn, Uncounted};
use crate::name_table::{GrantedHost, GrantedName};
use crate::session_gateway::SessionGateway;
use crate::{alerts, destination, outgoing};

/// How long the cell may cache an answer, in seconds; asking again costs little.
const TTL: u32 = 60;
/// How long a DNS connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// Queries of one session in flight. Protects memory; beyond it a query is dropped, and its asker tries again.
pub(crate) const MAX_QUERIES: usize = 256;
/// How long queries without a record of their own are counted together.
const ACCOUNT: Duration = Duration::from_secs(1);
/// How they are called in the log.
const MANY: &str = "many queries";
const AGAIN: &str = "the same again";

/// DNS over UDP.
pub(crate) async fn serve(gateway: SessionGateway, socket: Arc<UdpSocket>) {
    let room = Arc::new(Semaphore::new(MAX_QUERIES));
    let mut bytes = vec![0u8; 65_536];
    loop {
        paced(&gateway).await;
        let Ok((got, from)) = socket.recv_from(&mut bytes).await else { continue };
        let asked = match begin(&gateway, bytes.get(..got).unwrap_or_default(), Transport::Udp) {
            Begun::Answered(reply) => {
                if let Some(reply) = reply {
                    // A peer that is gone has no use for its answer.
                    socket.send_to(&reply, from).await.ok();
                }
                continue;
            }
            Begun::Asked(asked) => asked,
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (task, socket) = (gateway.clone(), Arc::clone(&socket));
        gateway.spawn(async move {
            if let Some(reply) = asked.answer(&task).await {
                // A peer that is gone has no use for its answer.
                socket.send_to(&reply, from).await.ok();
            }
            drop(place);
        });
    }
}

/// DNS over TCP (RFC 7766): messages behind their lengths.
pub(crate) async fn accept(gateway: SessionGateway, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(MAX_QUERIES));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let task = gateway.clone();
        gateway.spawn(async move {
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
async fn answer(gateway: &SessionGateway, message: &[u8], over: Transport) -> Option<Vec<u8>> {
    paced(gateway).await;
    match begin(gateway, message, over) {
        Begun::Answered(reply) => reply,
        Begun::Asked(asked) => asked.answer(gateway).await,
    }
}

/// Wait until the next message may be read.
async fn paced(gateway: &SessionGateway) {
    let exit = gateway.exit();
    match exit.name_pace.wait_ms(exit.now_ms()) {
        0 => {}
        wait => tokio::time::sleep(Duration::from_millis(wait)).await,
    }
}

/// What comes of a message without any work, or what is to be worked on.
enum Begun {
    Answered(Option<Vec<u8>>),
    Asked(Asked),
}

/// A message that is none, with what it is answered with.
type Malformed = (DnsError, Option<Vec<u8>>);

struct Asked {
    over: Transport,
    what: Result<(Query, Slot), Malformed>,
}

/// Nothing here waits or takes a thread: a session may send messages as fast as it likes.
fn begin(gateway: &SessionGateway, message: &[u8], over: Transport) -> Begun {
    let exit = gateway.exit();
    let (pace, now) = (&exit.name_pace, exit.now_ms());
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(e) => {
            let reply = reply_to_refused(message, e);
            let (is_recorded, is_first) = pace.unreadable(now);
            if is_first {
                gateway.spawn(account(gateway.clone()));
            }
            return match is_recorded {
                true => Begun::Asked(Asked { over, what: Err((e, reply)) }),
                false => Begun::Answered(reply),
            };
        }
    };
    let (turn, is_first) = pace.turn(&query.question, &exit.allowed(), now);
    if is_first {
        gateway.spawn(account(gateway.clone()));
    }
    let slot = match turn {
        Turn::TooMany => return Begun::Answered(Some(query.answer(&Answer::ServFail, over))),
        Turn::Decide(slot) => slot,
        Turn::Again(slot) => {
            if let Some(known) = slot.get() {
                if let Some((shown, domain)) = &known.refused {
                    count_refused(gateway, shown, domain);
                }
                return Begun::Answered(Some(query.answer(&known.answer, over)));
            }
            slot
        }
    };
    Begun::Asked(Asked { over, what: Ok((query, slot)) })
}

impl Asked {
    async fn answer(self, gateway: &SessionGateway) -> Option<Vec<u8>> {
        // Each holds threads while it is decided: those that wait for their turn hold none.
        let at_work = gateway.exit().name_pace.at_work.acquire();
        match self.what {
            Ok((query, slot)) => {
                let known = slot.get_or_init(|| async {
                    match at_work.await {
                        Ok(_place) => decide(gateway, &query).await,
                        Err(_) => Known { answer: Answer::ServFail, refused: None },
                    }
                });
                Some(query.answer(&known.await.answer, self.over))
            }
            Err((error, reply)) => {
                let _place = at_work.await;
                unreadable(gateway, error).await;
                reply
            }
        }
    }
}

/// A moment later, record how many queries had no record of their own.
async fn account(gateway: SessionGateway) {
    tokio::time::sleep(ACCOUNT).await;
    let Uncounted { again, too_many, unreadable } = gateway.exit().name_pace.take_account();
    if too_many + unreadable > 0 {
        let why = format!(
            "not worked on within a second, more than this session may ask for: {} for names",
            counted(too_many + unreadable, "query")
        );
        let resource =
            NetworkResource { shown: MANY.to_owned(), host: MANY.to_owned(), ..NetworkResource::default() };
        let failure = Failure::new("over_budget", why).advise("ask for fewer names, and keep their answers");
        gateway.refuse(AccessRequest::network(Action::Resolve, resource), failure).await;
    }
    if again > 0 {
        let record = move || {
            let payload = json!({ "again": again });
            let records = &gateway.pipeline().records;
            // What was answered again was recorded when it was decided.
            records.event(&gateway.session, "queries", AGAIN, &payload, Durability::Logged).ok();
        };
        tokio::task::spawn_blocking(record).await.ok();
    }
}

/// A message that is no query to answer is recorded and counted as one that is refused. Nothing of it is written down: it
/// may be made to say something.
async fn unreadable(gateway: &SessionGateway, error: DnsError) {
    const HOST: &str = "a malformed query";
    let resource = NetworkResource {
        shown: HOST.to_owned(),
        host: HOST.to_owned(),
        facts: NetworkFacts { kind: Some("malformed".to_owned()), ..NetworkFacts::default() },
        ..NetworkResource::default()
    };
    let failure = Failure::new("bad_request", format!("the query is not answered: {error}"));
    gateway.refuse(AccessRequest::network(Action::Resolve, resource), failure).await;
    // Programs ask for services by names that no host has; what is no message of DNS at all, none of them sends.
    if !matches!(error, DnsError::Name(_) | DnsError::Kind | DnsError::Class) {
        alerts::untrusted(gateway, HOST, None);
    }
    alerts::refused(gateway, HOST);
}

async fn decide(gateway: &SessionGateway, query: &Query) -> Known {
    let (host, kind) = (&query.question.name, query.question.kind);
    let known = |answer| Known { answer, refused: None };
    if host.name().is_none() {
        return known(Answer::Refused);
    }
    match permit(gateway, host, kind).await {
        Ok(granted) => known(found(gateway, kind, granted).await),
        // Refused reads as a passing fault, and is tried again and again; that there is no such name is final.
        Err(denied) => {
            let refused = (kind == RecordType::A).then_some((denied.shown, denied.domain));
            Known { answer: Answer::NxDomain, refused }
        }
    }
}

async fn found(gateway: &SessionGateway, kind: RecordType, granted: Authorized) -> Answer {
    // Other types would carry free content into the cell, or keys that hide a connection's name from the broker.
    if kind != RecordType::A {
        return Answer::NoData;
    }
    match resolve(gateway, granted).await {
        Err(ResolveError::Unrecorded(_)) => Answer::ServFail,
        Err(ResolveError::NoAddress(_)) => Answer::NxDomain,
        Ok(name) => match gateway.exit().names.stand_in(&name) {
            Some(ip) => Answer::Addresses { ips: vec![ip.into()], ttl_seconds: TTL },
            None => Answer::NxDomain,
        },
    }
}

/// Find the addresses of a name that is asked for by a connection, not by a query. They are known from here on.
///
/// # Errors
/// The refusal, or why there are none.
pub(crate) async fn find(gateway: &SessionGateway, host: &Host) -> Result<GrantedHost, Failure> {
    if let Host::Address(ip) = host {
        return Ok(GrantedHost::Address(*ip));
    }
    let granted = permit(gateway, host, RecordType::A).await.map_err(|denied| denied.refusal.failure)?;
    match resolve(gateway, granted).await {
        Ok(name) => Ok(GrantedHost::Name(name)),
        Err(ResolveError::Unrecorded(why) | ResolveError::NoAddress(why)) => Err(why),
    }
}

/// Whether a program may call an allowed address so: it has to be an allowed name, and really have this address. To find
/// that out is a query, which is decided as any other.
pub(crate) async fn is_name_of(gateway: &SessionGateway, name: &Host, ip: IpAddr, port: u16) -> bool {
    let exit = gateway.exit();
    if exit.allowed().of_host(name, port).next().is_none() {
        return false;
    }
    let granted = match name {
        // The name of a loopback that the user allowed needs no resolver.
        Host::Name(text) if text == "localhost" && ip.is_loopback() => return true,
        Host::Name(text) => exit.names.granted(text),
        Host::Address(_) => return false,
    };
    let granted = match granted {
        Some(known) => known,
        None => match find(gateway, name).await {
            Ok(GrantedHost::Name(found)) => found,
            _ => return false,
        },
    };
    exit.names.resolve(&granted).await.is_ok_and(|r| r.addresses.contains(&ip))
}

/// A name that may not be asked for.
struct Denied {
    refusal: Refusal,
    /// As it is shown, and the domain that it counts for.
    shown: String,
    domain: String,
}

/// Programs ask for the same blocked name for ever, which hurts nobody: it is counted, and never stops a session.
fn count_refused(gateway: &SessionGateway, shown: &str, domain: &str) {
    alerts::untrusted(gateway, shown, None);
    alerts::refused(gateway, domain);
}

/// Whether a name may be asked for: nothing is until this says so.
async fn permit(gateway: &SessionGateway, host: &Host, kind: RecordType) -> Result<Authorized, Denied> {
    let name = host.to_string();
    let exit = gateway.exit();
    let domain = registered_domain(host).unwrap_or(&name);
    let verdict = exit.queries.lock().query(domain, host, kind, exit.now_ms());
    let rules = exit.allowed();
    let trusted = destination::is_trusted(&rules, host, None);
    let tunnel = match verdict {
        Verdict::Fine if kind == RecordType::A && !trusted && carries(gateway, domain, &name).await => {
            Some("known_value")
        }
        Verdict::Fine => None,
        // A name that the user wrote in full carries nothing, however many others were asked for before it.
        Verdict::Suspicious(Reason::ManyDomains) if trusted => None,
        Verdict::Suspicious(reason) => Some(reason.code()),
    };
    // What the name carries must not stand in the log.
    let shown = if tunnel.is_some() { format!("….{domain}") } else { name.clone() };
    let allowed = rules.may_resolve(host);
    let resource = NetworkResource {
        shown: shown.clone(),
        host: name.clone(),
        facts: NetworkFacts {
            allowed,
            tunnel,
            kind: Some(kind.to_string()),
            trusted,
            ..NetworkFacts::default()
        },
        leaves: kind == RecordType::A,
        ..NetworkResource::default()
    };
    let decided = gateway.decide(AccessRequest::network(Action::Resolve, resource)).await;
    if decided.is_err() && kind == RecordType::A {
        count_refused(gateway, &shown, domain);
    }
    decided.map_err(|refusal| Denied { refusal, shown, domain: domain.to_owned() })
}

/// Whether a name, by itself or with those before it, holds a key or a registered value.
async fn carries(gateway: &SessionGateway, domain: &str, name: &str) -> bool {
    let exit = gateway.exit();
    if !exit.allowed().may_resolve(&Host::Name(name.to_owned())) {
        // It is refused, whatever it carries.
        return false;
    }
    let Ok(_place) = exit.name_inspections.acquire().await else { return true };
    let (gateway, domain, name) = (gateway.clone(), domain.to_owned(), name.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let (detectors, exit) = (&*gateway.pipeline().outgoing, gateway.exit());
        outgoing::name_carries(detectors, &exit.secrets, &exit.recent_requests, &domain, &name)
    });
    // A look that failed has not shown that there is nothing.
    looked.await.unwrap_or(true)
}

/// Why a name that was permitted leads nowhere.
enum ResolveError {
    Unrecorded(Failure),
    NoAddress(Failure),
}

async fn resolve(gateway: &SessionGateway, mut granted: Authorized) -> Result<GrantedName, ResolveError> {
    let intent = granted.intent;
    let Some(name) = GrantedName::of(&granted) else {
        return Err(ResolveError::NoAddress(Refusal::internal().failure));
    };
    let shown = granted.request().subject().to_owned();
    gateway.on_disk(granted.syncing()).await.map_err(ResolveError::Unrecorded)?;
    let resolved = gateway.exit().names.resolve(&name).await;
    let detail = json!({
        "addresses": resolved.as_ref().map(|r| r.addresses.clone()).unwrap_or_default(),
        "error": resolved.as_ref().err().map(|e| &e.message),
    });
    gateway.done(intent, Action::Resolve, shown, resolved.is_ok(), 0, detail).await;
    resolved.map(|_| name).map_err(ResolveError::NoAddress)
}

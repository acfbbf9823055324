//! The one network exit: what a cell sends lands on sockets that the broker holds; each name, connection and request goes
//! through the pipeline, and what policy allows is carried on to the address that was checked.
//!
//! Read `streams.rs` first: it is the way of one connection. `names.rs` answers the cell's queries, `target.rs` finds out what a
//! destination really is.

mod alerts;
mod body;
mod fetch;
mod http;
mod leaving;
mod names;
mod own;
mod prefixed;
mod proxy;
mod publish;
mod relay;
mod streams;
mod target;
mod tls;
mod websocket;

pub use fetch::{Fetch, Fetched, fetch};

pub(crate) use alerts::Flood;
pub(crate) use leaving::is_in_target;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chaperone_cell::NetworkEnds;
use chaperone_egress::{AllowSet, Budget, Host, Level, Limits, QueryWatch, Rule};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Authorized, Deed, Done, Pipeline, Refusal, Released, Step, plain};
use crate::server::Broker;
use crate::session::Session;
use crate::wire::Failure;

/// What an agent may do about a refusal.
pub const ADVICE: &str = "only what the person allowed can be reached: list_allowed_hosts shows it, request_elevation asks for \
                          more; the person can start the session with --allow-host";

/// Streams of one session at once. Protects descriptors; beyond it a new one waits to be accepted.
const MAX_STREAMS: usize = 1_024;
/// Queries of one session in flight. Protects memory; beyond it a query is dropped, and its asker tries again.
const MAX_QUERIES: usize = 256;
/// Bytes that a session may send in all, unless its profile says otherwise.
const UPLOAD_BYTES: u64 = 100 << 20;
/// Requests and connections a minute, unless its profile says otherwise.
const REQUESTS_PER_MINUTE: u32 = 3_000;
/// Requests that are looked at together. Protects memory: each may hold 16 MiB.
const LOOKS: usize = 4;
/// Different values of the person's that a session may send to one host.
const VALUES: usize = 200;
/// Ports of the person's loopback that one session may reach; each is a rule of the kernel's in the cell.
const MAX_LOOPBACK: usize = 64;
/// Registered documents that are read.
const REGISTERED: usize = 1_000;
/// How long a task may go on after its session's end.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How often the kernel's notes of refused packets are looked at, at most.
const PACKET_LOOK: Duration = Duration::from_millis(100);

/// What a session may reach, and what it has sent so far.
#[derive(Debug)]
pub struct Exit {
    rules: RwLock<Rules>,
    doors: publish::Doors,
    names: names::Names,
    budget: Mutex<Budget>,
    queries: Mutex<QueryWatch>,
    window: alerts::Window,
    secrets: leaving::Secrets,
    pieces: leaving::Pieces,
    looks: Semaphore,
    authority: Option<tls::Authority>,
    upstream: OnceLock<Option<tls::Upstream>>,
    /// Hosts whose certificate was looked at.
    observed: Mutex<BTreeSet<String>>,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
    started: Instant,
}

impl Exit {
    /// What a session may reach by these rules.
    ///
    /// # Errors
    /// When the ports to publish or to reach on loopback cannot be had, or the system has no randomness.
    pub fn new(
        session: &str,
        rules: Vec<Rule>,
        publish: &[u16],
        upload_bytes: Option<u64>,
        requests_per_minute: Option<u32>,
    ) -> Result<Self, Failure> {
        let loopback = loopback(&rules);
        if loopback.len() > MAX_LOOPBACK {
            return Err(Failure::new(
                "bad_host",
                format!("more than {MAX_LOOPBACK} ports of your own loopback"),
            ));
        }
        if let Some(port) = publish.iter().find(|port| loopback.contains(port)) {
            let both = format!("port {port} cannot be a server of yours and one of the agent's");
            return Err(Failure::new("bad_port", both).advise("publish another port, or allow another one"));
        }
        let doors = publish::Doors::bind(publish)?;
        let authority =
            rules.iter().any(Rule::needs_requests).then(|| tls::Authority::new(session)).transpose()?;
        let limits = Limits {
            upload_bytes: Some(upload_bytes.unwrap_or(UPLOAD_BYTES)),
            requests_per_minute: Some(requests_per_minute.unwrap_or(REQUESTS_PER_MINUTE)),
            values_each: Some(VALUES),
            ..Limits::default()
        };
        Ok(Self {
            rules: RwLock::new(Rules::of(rules, Vec::new())),
            doors,
            names: names::Names::default(),
            budget: Mutex::new(Budget::new(limits)),
            queries: Mutex::default(),
            window: alerts::Window::default(),
            secrets: leaving::Secrets::new()?,
            pieces: leaving::Pieces::default(),
            looks: Semaphore::new(LOOKS),
            authority,
            upstream: OnceLock::new(),
            observed: Mutex::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: CancellationToken::new(),
            started: Instant::now(),
        })
    }

    /// The certificate, in DER, that the cell has to trust; where nothing is opened, there is none.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.as_ref().map(tls::Authority::certificate)
    }

    /// The agent reads this content now; passages of it are recognised when they leave.
    pub fn remember(&self, path: &str, content: &Released) {
        self.secrets.remember(path, &content.file, (content.version, content.len));
    }

    /// Documents that the person wants recognised wherever they leave: the files of a folder, as text.
    pub fn register_documents(&self, folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(REGISTERED) {
            let path = entry.path();
            // What cannot be opened here, the agent was not given from here, either.
            let Ok(file) = std::fs::File::open(&path) else { continue };
            let Ok(meta) = file.metadata() else { continue };
            if meta.is_file() {
                let name = format!("the registered document {}", entry.file_name().display());
                let version = Sha256::digest(path.as_os_str().as_bytes()).into();
                self.secrets.remember(&name, &Arc::new(file), (version, meta.len()));
            }
        }
    }

    /// A value that may stand nowhere but in the headers that credentials belong in.
    pub fn register(&self, value: &str) {
        self.secrets.register(value);
    }

    /// The system's roots, read when the first server is to be believed.
    fn upstream(&self) -> Option<tls::Upstream> {
        // Without roots no server is believed, and each request says so.
        self.upstream.get_or_init(|| tls::Upstream::new().ok()).clone()
    }

    /// Whether the content of connections to a host is to be seen.
    fn wants_requests(&self, host: &Host, port: u16) -> bool {
        let rules = self.allowed();
        let (mut wants, mut passes) = (false, false);
        for rule in rules.of_host(host, port) {
            wants |= rule.needs_requests();
            passes |= rule.pass_through;
        }
        wants && !passes
    }

    /// The rules in force.
    #[must_use]
    pub fn allowed(&self) -> Arc<AllowSet> {
        let now = Instant::now();
        let known = self.rules.read();
        if known.granted.iter().all(|(until, _)| *until > now) {
            return Arc::clone(&known.in_force);
        }
        drop(known);
        let mut rules = self.rules.write();
        let granted = rules.granted.iter().filter(|(until, _)| *until > now).cloned().collect();
        *rules = Rules::of(std::mem::take(&mut rules.own), granted);
        Arc::clone(&rules.in_force)
    }

    /// Add a rule that a person granted for a while.
    pub fn allow(&self, rule: Rule, life: Duration) {
        let mut rules = self.rules.write();
        let mut granted = std::mem::take(&mut rules.granted);
        granted.push((Instant::now() + life, rule));
        *rules = Rules::of(std::mem::take(&mut rules.own), granted);
    }

    /// Ports of the person's own loopback that the rules name.
    #[must_use]
    pub fn loopback(&self) -> Vec<u16> {
        loopback(self.allowed().rules())
    }

    /// Ports of the cell that are shown on the person's loopback.
    #[must_use]
    pub fn published(&self) -> &[u16] {
        &self.doors.ports
    }

    /// cell-init made a connection into the cell, or could not.
    pub fn dialed(&self, id: u64, outcome: Result<OwnedFd, String>) {
        self.doors.dialed(id, outcome);
    }

    /// Close every connection; nothing new is accepted.
    pub fn close(&self) {
        self.stop.cancel();
        self.doors.close();
    }

    /// Count a refusal; whether it is recorded by itself, see [`Flood`].
    pub(crate) fn flood(&self) -> Flood {
        self.window.flood()
    }

    /// Count a refusal of a serious kind; whether it is raised by itself.
    pub(crate) fn is_raised(&self, kind: &str) -> bool {
        self.window.is_raised(kind)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The rules of a session, and those that were granted on top of them.
#[derive(Debug)]
struct Rules {
    own: Vec<Rule>,
    granted: Vec<(Instant, Rule)>,
    in_force: Arc<AllowSet>,
}

impl Rules {
    fn of(own: Vec<Rule>, granted: Vec<(Instant, Rule)>) -> Self {
        let all = own.iter().chain(granted.iter().map(|(_, rule)| rule)).cloned().collect();
        Self { in_force: Arc::new(AllowSet::new(all)), own, granted }
    }
}

fn loopback(rules: &[Rule]) -> Vec<u16> {
    let ports = rules.iter().filter(|r| r.host().is_loopback()).flat_map(Rule::ports);
    ports.copied().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Serve a cell's way out until its session ends.
///
/// # Errors
/// When the sockets cannot be used.
pub fn serve(broker: &Arc<Broker>, session: &Arc<Session>, ends: NetworkEnds) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::new("no_exit", format!("the network exit cannot be served: {e}"));
    let runtime = runtime().map_err(failed)?;
    let _inside = runtime.enter();
    let way = Way { broker: Arc::clone(broker), session: Arc::clone(session) };
    let listener = |fd: OwnedFd| {
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    let ends = match ends {
        NetworkEnds::Captured(ends) => ends,
        NetworkEnds::Proxied(proxy) => {
            let proxy = listener(proxy).map_err(failed)?;
            way.listen(streams::accept(way.clone(), proxy, proxy::conversation));
            return Ok(());
        }
    };
    for family in std::iter::once(ends.v4).chain(ends.v6) {
        way.listen(streams::accept(
            way.clone(),
            listener(family.streams).map_err(failed)?,
            streams::captured,
        ));
        way.listen(names::accept(way.clone(), listener(family.name_streams).map_err(failed)?));
        let socket = std::net::UdpSocket::from(family.names);
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(failed)?;
        way.listen(names::serve(way.clone(), Arc::new(socket)));
    }
    // A datagram socket of another family; only its readiness and its descriptor are used.
    let refused = UnixDatagram::from(ends.refused);
    refused.set_nonblocking(true).map_err(failed)?;
    let refused = tokio::net::UnixDatagram::from_std(refused).map_err(failed)?;
    way.spawn(refused_packets(way.clone(), refused));
    Ok(())
}

/// Let visitors in at the ports that the session publishes, until it ends.
///
/// # Errors
/// When the sockets cannot be used.
pub fn publish(broker: &Arc<Broker>, session: &Arc<Session>) -> Result<(), Failure> {
    if session.network.published().is_empty() {
        return Ok(());
    }
    let failed =
        |e: std::io::Error| Failure::new("no_exit", format!("the published ports cannot be served: {e}"));
    let _inside = runtime().map_err(failed)?.enter();
    publish::serve(&Way { broker: Arc::clone(broker), session: Arc::clone(session) }).map_err(failed)
}

/// One for all sessions, made when the first needs it.
fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8))
        .thread_name("net")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Whose way out a task serves.
#[derive(Debug, Clone)]
struct Way {
    broker: Arc<Broker>,
    session: Arc<Session>,
}

impl Way {
    fn exit(&self) -> &Exit {
        &self.session.network
    }

    fn pipeline(&self) -> &Pipeline {
        &self.broker.pipeline
    }

    /// Run a task that ends with the session at once: whatever listens.
    fn listen(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.exit().stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Run a task that ends with the session, or a moment later, so that its end is recorded.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.exit().stop.clone();
        tokio::spawn(async move {
            tokio::pin!(task);
            tokio::select! {
                () = &mut task => {}
                () = stop.cancelled() => {
                    // What has not ended by then hangs, and is dropped.
                    tokio::time::timeout(LAST_MOMENT, task).await.ok();
                }
            }
        });
    }

    /// Take a request through the pipeline; a person may be asked, and only this request waits.
    async fn decide(&self, deed: Deed) -> Result<Authorized, Refusal> {
        let way = self.clone();
        let decided = tokio::task::spawn_blocking(move || match way.pipeline().begin(&way.session, deed) {
            Step::Granted(granted) => Ok(granted),
            Step::Refused(refusal) => Err(refusal),
            Step::Pending(pending) => {
                let gone = || way.exit().stop.is_cancelled();
                way.pipeline().resume(&way.session, *pending, &gone)
            }
        });
        decided.await.unwrap_or_else(|_| Err(fault()))
    }

    /// Refuse what the exit itself will not carry, whatever policy says.
    async fn refuse(&self, deed: Deed, failure: Failure) -> Refusal {
        let way = self.clone();
        let refused =
            tokio::task::spawn_blocking(move || way.pipeline().refuse(&way.session, &deed, plain(failure)));
        refused.await.unwrap_or_else(|_| fault())
    }

    /// Wait for the intent to be on disk.
    async fn on_disk(&self, mut granted: Authorized) -> Result<Authorized, Failure> {
        let waited = tokio::task::spawn_blocking(move || granted.on_disk().map(|()| granted));
        waited.await.unwrap_or_else(|_| Err(fault().failure))
    }

    async fn done(
        &self,
        intent: u64,
        action: &'static str,
        resource: String,
        ok: bool,
        bytes: u64,
        detail: serde_json::Value,
    ) {
        let way = self.clone();
        let record = move || {
            let done = Done { intent, action, path: &resource, ok, bytes, detail: Some(detail) };
            way.pipeline().outcome(&way.session, &done)
        };
        // What ended has ended; a log that cannot be written denies whatever comes next.
        tokio::task::spawn_blocking(record).await.ok();
    }
}

/// What policy is told of a budget; that it is nearly used up is raised.
fn level(way: &Way, host: &Host, level: Level) -> &'static str {
    match level {
        Level::Fine => "fine",
        Level::Near(over) => {
            alerts::near_budget(way, host, over);
            "near"
        }
        Level::Over(_) => "over",
    }
}

/// Of two levels the one that is nearer to the end.
fn worse(one: Level, other: Level) -> Level {
    match (one, other) {
        (Level::Over(_), _) | (Level::Near(_), Level::Near(_) | Level::Fine) => one,
        (Level::Fine | Level::Near(_), _) => other,
    }
}

/// Take bytes that are about to leave from the budget.
fn spend(way: &Way, host: &Host, bytes: u64) -> std::io::Result<()> {
    let exit = way.exit();
    let spent = exit.budget.lock().spend_more(host, bytes, exit.now_ms());
    match level(way, host, spent.level) {
        "over" => Err(std::io::ErrorKind::QuotaExceeded.into()),
        _ => Ok(()),
    }
}

/// A refusal as a program shows it to whoever runs it.
fn told(failure: &Failure) -> String {
    let advice = failure.advice.as_ref().map_or_else(String::new, |a| format!("\n{a}"));
    format!("chaperone: {} ({}){advice}\n", failure.message, failure.code)
}

fn fault() -> Refusal {
    plain(Failure::new("internal_error", "a fault inside the broker; the request was denied"))
}

/// Tell of packets that the cell's rules refused: UDP, ICMP and whatever else is not TCP or DNS.
async fn refused_packets(way: Way, told: tokio::net::UnixDatagram) {
    while told.readable().await.is_ok() {
        loop {
            let read = || match chaperone_cell::refused_packets(told.as_fd())? {
                none if none.is_empty() => Err(std::io::ErrorKind::WouldBlock.into()),
                packets => Ok(packets),
            };
            let packets = match told.try_io(tokio::io::Interest::READABLE, read) {
                Ok(packets) => packets,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return,
            };
            for packet in packets {
                let way = way.clone();
                let told = move || alerts::packet(&way, packet);
                if tokio::task::spawn_blocking(told).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(PACKET_LOOK).await;
    }
}

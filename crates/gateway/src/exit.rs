//! What one session may reach, and what it has sent so far: state, which the parts of the gateway read and count in.

use std::collections::{BTreeSet, HashMap};
use std::hash::RandomState;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chaperone_egress::{AllowSet, Budget, Host, Limits, QueryWatch, Rule};
use chaperone_inspect::Detectors;
use chaperone_pipeline::Released;
use chaperone_pipeline::ports::{Inspect, OnRelease};
use chaperone_protocol::Failure;
use chaperone_quota::HeldFile;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::company_proxy::{Proxies, Through};
use crate::held::BufferedNow;
use crate::name_pace::NamePace;
use crate::name_table::NameTable;
use crate::outgoing::recent_requests::RecentRequests;
use crate::outgoing::redirects::Redirects;
use crate::outgoing::secrets::Secrets;
use crate::published_ports::{Dial, PublishedPorts, Sockets};
use crate::tls;
use crate::window::Window;

/// Streams of one session at once. Protects descriptors; beyond it a new one waits to be accepted.
const MAX_STREAMS: usize = 1_024;
/// Bytes that a session may send in all, unless its profile says otherwise.
const UPLOAD_BYTES: u64 = 100 << 20;
/// Requests and connections a minute, unless its profile says otherwise.
const REQUESTS_PER_MINUTE: u32 = 3_000;
/// Messages of WebSockets a minute: sixteen a second in sixty-four conversations.
const MESSAGES_PER_MINUTE: u32 = 60_000;
/// KiB a minute of what was inspected and refused. Protects the time of inspection, apart from what may be sent.
const REFUSED_KIB_PER_MINUTE: u32 = 128 << 10;
/// Requests that are inspected at once. Protects memory: each may hold 16 MiB.
const LOOKS: usize = 4;
/// Names that are inspected at once: they do not wait behind bodies.
const NAME_LOOKS: usize = 2;
/// Different values of the user's that a session may send to one host.
const VALUES: usize = 200;
/// Ports of the user's loopback that one session may reach; each is a rule of the kernel's in the cell.
const MAX_LOOPBACK: usize = 64;
/// Registered documents that are read.
const REGISTERED: usize = 1_000;

/// What a session may reach, and what it has sent so far.
#[derive(Debug)]
pub struct Exit {
    rules: RwLock<Rules>,
    pub(crate) published_ports: PublishedPorts,
    pub(crate) names: NameTable,
    pub(crate) budget: Mutex<Budget>,
    /// Values that leave are told apart by it: what the budget keeps of them means nothing elsewhere.
    pub(crate) value_key: RandomState,
    pub(crate) queries: Mutex<QueryWatch>,
    pub(crate) name_pace: NamePace,
    pub(crate) window: Window,
    pub(crate) secrets: Secrets,
    pub(crate) recent_requests: RecentRequests,
    pub(crate) redirects: Redirects,
    pub(crate) held: Arc<BufferedNow>,
    pub(crate) inspections: Semaphore,
    pub(crate) name_inspections: Semaphore,
    pub(crate) authority: Option<tls::Authority>,
    pub(crate) upstream: OnceLock<Option<tls::Upstream>>,
    /// Hosts whose certificate was observed.
    pub(crate) observed: Mutex<BTreeSet<String>>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
    pub(crate) dial: OnceLock<Dial>,
    /// Ports of the cell behind which servers of the user's were put on top of the rules, and until when.
    pub(crate) put_in: Mutex<HashMap<u16, Instant>>,
}

impl Exit {
    /// What a session may reach by these rules.
    ///
    /// # Errors
    /// When the ports to publish or to reach on loopback cannot be had, or the system has no randomness.
    pub fn new(
        session: &str,
        detectors: Detectors,
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
        let published_ports = PublishedPorts::bind(publish)?;
        let authority =
            rules.iter().any(Rule::needs_requests).then(|| tls::Authority::new(session)).transpose()?;
        let limits = Limits {
            upload_bytes: Some(upload_bytes.unwrap_or(UPLOAD_BYTES)),
            requests_per_minute: Some(requests_per_minute.unwrap_or(REQUESTS_PER_MINUTE)),
            messages_per_minute: Some(MESSAGES_PER_MINUTE),
            values_each: Some(VALUES),
            refused_kib_per_minute: Some(REFUSED_KIB_PER_MINUTE),
            ..Limits::default()
        };
        Ok(Self {
            rules: RwLock::new(Rules::of(rules, Vec::new())),
            published_ports,
            names: NameTable::default(),
            budget: Mutex::new(Budget::new(limits)),
            value_key: RandomState::new(),
            queries: Mutex::default(),
            name_pace: NamePace::default(),
            window: Window::default(),
            secrets: Secrets::new(detectors)?,
            recent_requests: RecentRequests::default(),
            redirects: Redirects::default(),
            held: Arc::default(),
            inspections: Semaphore::new(LOOKS),
            name_inspections: Semaphore::new(NAME_LOOKS),
            authority,
            upstream: OnceLock::new(),
            observed: Mutex::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: CancellationToken::new(),
            started: Instant::now(),
            dial: OnceLock::new(),
            put_in: Mutex::default(),
        })
    }

    /// The certificate, in DER, that the cell has to trust; where nothing is opened, there is none.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.as_ref().map(tls::Authority::certificate)
    }

    /// Documents that the user wants recognised wherever they leave: the files of a directory, as text.
    pub fn register_documents(&self, directory: &std::path::Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten().take(REGISTERED) {
            let path = entry.path();
            // What cannot be opened here, the agent was not given from here, either.
            let Ok(file) = std::fs::File::open(&path) else { continue };
            let Ok(meta) = file.metadata() else { continue };
            if meta.is_file() {
                let name = format!("the registered document {}", entry.file_name().display());
                let version = Sha256::digest(path.as_os_str().as_bytes()).into();
                self.secrets.remember(&name, &Arc::new(HeldFile::uncounted(file)), (version, meta.len()));
            }
        }
    }

    /// What documents say is read with this, so that passages of it are recognised when they leave.
    pub fn read_documents_with(&self, documents: Arc<dyn Inspect>) {
        self.secrets.read_documents_with(documents);
    }

    /// A directory that the agent reads without asking for each file: passages of all of it are recognised when they leave.
    pub fn remember_directory(&self, at: &str, root: std::os::fd::OwnedFd) {
        self.secrets.remember_directory(at, root);
    }

    /// A value that may stand nowhere but in the headers that credentials belong in.
    pub fn register(&self, value: &str) {
        self.secrets.register(value);
    }

    /// The system's roots, read when the first server is to be believed.
    pub(crate) fn upstream(&self) -> Option<tls::Upstream> {
        // Without roots no server is believed, and each request says so.
        self.upstream.get_or_init(|| tls::Upstream::new().ok()).clone()
    }

    /// Whether the content of connections to a host is to be seen.
    pub(crate) fn wants_requests(&self, host: &Host, port: u16) -> bool {
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

    /// Add a rule that the user granted for a while.
    pub fn allow(&self, rule: Rule, life: Duration) {
        let mut rules = self.rules.write();
        let mut granted = std::mem::take(&mut rules.granted);
        granted.push((Instant::now() + life, rule));
        *rules = Rules::of(std::mem::take(&mut rules.own), granted);
    }

    /// Ports of the user's own loopback that the rules name.
    #[must_use]
    pub fn loopback(&self) -> Vec<u16> {
        loopback(self.allowed().rules())
    }

    /// The same, of those that the cell was made with.
    pub(crate) fn loopback_of_rules(&self) -> Vec<u16> {
        loopback(&self.rules.read().own)
    }

    /// Ports of the cell that are published on the user's loopback.
    #[must_use]
    pub fn published(&self) -> &[u16] {
        &self.published_ports.ports
    }

    /// Servers are reached through what the user's own programs reach them through.
    pub fn dial_through(&self, proxies: Proxies) {
        // A session is opened once.
        self.names.proxies.set(proxies).ok();
    }

    /// What leads to a host.
    pub(crate) fn through(&self, host: &Host, port: u16) -> Through {
        self.names.proxies.get().map(|proxies| proxies.to(host, port)).unwrap_or_default()
    }

    /// Published ports are reached by asking cell-init for connections.
    pub fn dial_by(&self, dial: Dial) {
        // A session has one cell.
        self.dial.set(dial).ok();
    }

    /// cell-init made a connection into the cell, or what listens there, or could not.
    pub fn dialed(&self, id: u64, outcome: Sockets) {
        self.published_ports.dialed(id, outcome);
    }

    /// Close every connection; nothing new is accepted.
    pub fn close(&self) {
        self.stop.cancel();
        self.published_ports.close();
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl OnRelease for Exit {
    /// Passages of what the agent reads now are recognised when they leave.
    fn released(&self, path: &str, content: &Released) {
        self.secrets.remember(path, &content.file, (content.version, content.len));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(texts: &[&str], publish: &[u16]) -> Result<Exit, Failure> {
        let rules = texts.iter().map(|text| Rule::of_text(text).unwrap()).collect();
        Exit::new("s", Detectors::builtin().unwrap(), rules, publish, None, None)
    }

    fn host(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    #[test]
    fn a_granted_rule_holds_for_its_time_and_no_longer() {
        let exit = exit(&["a.example"], &[]).unwrap();
        exit.allow(Rule::of_text("b.example").unwrap(), Duration::from_secs(600));
        exit.allow(Rule::of_text("c.example").unwrap(), Duration::ZERO);
        let allowed = exit.allowed();
        assert!(allowed.may_resolve(&host("a.example")) && allowed.may_resolve(&host("b.example")));
        assert!(!allowed.may_resolve(&host("c.example")));
    }

    #[test]
    fn a_port_is_either_a_server_of_the_users_or_one_of_the_agents() {
        assert_eq!(exit(&["127.0.0.1:8080"], &[8080]).unwrap_err().code, "bad_port");
        assert_eq!(exit(&["127.0.0.1:8080"], &[]).unwrap().loopback(), [8080]);
    }

    #[test]
    fn only_so_many_ports_of_the_users_loopback_are_opened() {
        let rules: Vec<String> = (0..=MAX_LOOPBACK).map(|n| format!("127.0.0.1:{}", 9_000 + n)).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        assert_eq!(exit(&rules, &[]).unwrap_err().code, "bad_host");
        assert!(exit(rules.split_last().unwrap().1, &[]).is_ok());
    }

    #[test]
    fn a_cell_trusts_an_authority_only_where_requests_are_inspected() {
        let mut passes = Rule::of_text("a.example").unwrap();
        passes.pass_through = true;
        let needs = passes.needs_requests();
        let exit = Exit::new("s", Detectors::builtin().unwrap(), vec![passes], &[], None, None).unwrap();
        assert_eq!(exit.authority().is_some(), needs);
        assert!(!exit.wants_requests(&host("a.example"), 443));
        assert!(!exit.wants_requests(&host("b.example"), 443));
    }
}

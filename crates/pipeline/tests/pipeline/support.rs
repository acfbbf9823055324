//! A pipeline whose every port is a fake that does what a test says.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chaperone_audit::{Durability, Entry as LogEntry, LogError, Phase};
use chaperone_capability::{Action, LocalIssuer, PermissionClaim, SignError, Signer, SigningKey, thumbprint};
use chaperone_config::Profile;
use chaperone_inspect::outgoing::Outgoing;
use chaperone_inspect::{Detectors, Effects, FileSpot, Finding};
use chaperone_pipeline::access::{
    ElevationResource, Entry, FileObject, NetworkResource, ObjectKind, ToolResource,
};
use chaperone_pipeline::approvals::{Answer, Approvals};
use chaperone_pipeline::authority::{self, Issuer, Ledgers};
use chaperone_pipeline::events::Bus;
use chaperone_pipeline::inspection::{Inspected, Restored, nanoseconds};
use chaperone_pipeline::pipeline::UsersWord;
use chaperone_pipeline::ports;
use chaperone_pipeline::ports::Clock as _;
use chaperone_pipeline::records::Records;
use chaperone_pipeline::session::SessionPlan;
use chaperone_pipeline::snapshots::Snapshots;
use chaperone_pipeline::verdicts::Verdicts;
use chaperone_pipeline::{
    AccessRequest, Admission, Authorized, Pending, Pipeline, Refusal, Released, Resource, Session,
};
use chaperone_policy::{Decision, Effect, Obligation};
use chaperone_protocol::session::{Mode, MountRecord, State};
use chaperone_protocol::{AskMode, Event, Failure, Happened, Scope};
use chaperone_quota::{HeldFile, Quota};
use chaperone_vault::{ApprovalRecord, SignedApproval};
use parking_lot::Mutex;
use proptest::prelude::ProptestConfig;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// How many cases a property is tried on: a hundred, or in proportion what `PROPTEST_CASES` says (256 of its own accord).
pub fn runner() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases * 100 / 256, failure_persistence: None, ..usual }
}

/// What goes wrong at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Fails,
    Panics,
    /// It answers nothing until whoever asked gives up, and time goes by.
    TimesOut,
}

/// How long a port that times out is waited for, in milliseconds; shorter than a user is.
const GIVES_UP: u64 = 30_000;

/// Which ports are at fault, and after how many calls that go well.
#[derive(Debug, Default)]
pub struct Faults {
    due: Mutex<HashMap<&'static str, (Fault, usize)>>,
    /// The time of [`FakeClock`].
    now_ms: AtomicU64,
}

impl Faults {
    pub fn set(&self, port: &'static str, fault: Fault) {
        self.set_after(port, fault, 0);
    }

    pub fn set_after(&self, port: &'static str, fault: Fault, calls: usize) {
        self.due.lock().insert(port, (fault, calls));
    }

    pub fn clear(&self) {
        self.due.lock().clear();
    }

    fn at(&self, port: &'static str) -> Result<(), Failure> {
        let due = match self.due.lock().get_mut(port) {
            None => None,
            Some((fault, 0)) => Some(*fault),
            Some((_, left)) => {
                *left -= 1;
                None
            }
        };
        match due {
            None => Ok(()),
            Some(Fault::Fails) => Err(Failure::new("vault_dead", format!("{port} fails"))),
            // Unlike a panic of its own, this one prints nothing.
            Some(Fault::Panics) => resume_unwind(Box::new(port)),
            Some(Fault::TimesOut) => {
                self.now_ms.fetch_add(GIVES_UP, Ordering::Relaxed);
                Err(Failure::new("vault_dead", format!("{port}: timed out")))
            }
        }
    }
}

type Rule = Arc<dyn Fn(&Value) -> Decision + Send + Sync>;

pub struct FakePolicies {
    set: Mutex<(String, Rule)>,
    faults: Arc<Faults>,
    calls: Arc<AtomicUsize>,
    inputs: Arc<Mutex<Vec<Value>>>,
}

impl std::fmt::Debug for FakePolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakePolicies").finish_non_exhaustive()
    }
}

struct FakeSet {
    revision: String,
    rule: Rule,
    faults: Arc<Faults>,
    calls: Arc<AtomicUsize>,
    inputs: Arc<Mutex<Vec<Value>>>,
}

impl FakePolicies {
    /// Another set comes into force.
    pub fn become_(&self, revision: &str, rule: impl Fn(&Value) -> Decision + Send + Sync + 'static) {
        *self.set.lock() = (revision.to_owned(), Arc::new(rule));
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn last_input(&self) -> Value {
        self.inputs.lock().last().unwrap().clone()
    }
}

impl ports::Policies for FakePolicies {
    fn current(&self) -> Arc<dyn ports::PolicySet> {
        self.faults.at("policy.current").ok();
        let (revision, rule) = self.set.lock().clone();
        let (faults, calls) = (Arc::clone(&self.faults), Arc::clone(&self.calls));
        Arc::new(FakeSet { revision, rule, faults, calls, inputs: Arc::clone(&self.inputs) })
    }
}

impl ports::PolicySet for FakeSet {
    fn revision(&self) -> &str {
        &self.revision
    }

    fn decide(&self, input: &Value) -> Decision {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inputs.lock().push(input.clone());
        match self.faults.at("policy.decide") {
            Ok(()) => (self.rule)(input),
            Err(_) => decision(Effect::Deny, "policy_error", &[]),
        }
    }
}

#[derive(Debug)]
pub struct FakeInspect {
    pub findings: Mutex<Vec<Finding>>,
    pub unread: Mutex<Vec<String>>,
    faults: Arc<Faults>,
}

/// What the fake makes of every content.
pub const REDACTED: &[u8] = b"[redacted]";

impl ports::Inspect for FakeInspect {
    fn inspect(
        &self,
        file: &File,
        _: &FileObject,
        _: &str,
        _: &Snapshots,
    ) -> Result<Arc<Inspected>, Failure> {
        self.faults.at("inspect").map_err(|e| Failure::new("cannot_inspect", e.message))?;
        let bytes = bytes_of(file);
        let findings = self.findings.lock().clone().into();
        let sha256 = Sha256::digest(&bytes).into();
        let seen = Inspected::new(sha256, bytes.len() as u64, findings, file_of(&bytes));
        Ok(Arc::new(seen.with_unread(self.unread.lock().clone().into())))
    }

    fn restored(
        &self,
        _: Option<&File>,
        _: &File,
        _: (&str, &str),
        _: (&str, &Snapshots),
    ) -> Result<Restored, Failure> {
        self.faults.at("restore").map_err(|e| Failure::new("cannot_restore", e.message))?;
        Ok(Restored::default())
    }

    fn redacted(&self, _: &Inspected, _: &str, _: (&str, &Snapshots)) -> Result<Released, Failure> {
        self.faults.at("redact").map_err(|e| Failure::new("cannot_redact", e.message))?;
        let version = Sha256::digest(REDACTED).into();
        Ok(Released { version, len: REDACTED.len() as u64, file: Arc::new(file_of(REDACTED)) })
    }

    fn text(&self, _: &File, _: &str) -> Vec<u8> {
        Vec::new()
    }

    fn lines(&self, _: &File, _: &str) -> Option<chaperone_inspect::document::Lines> {
        None
    }

    fn effects(&self, _: &File, _: &str) -> Effects {
        self.faults.at("effects").map_or_else(|_| Effects::unseen(), |()| Effects::default())
    }
}

pub struct FakeVault {
    key: LocalIssuer,
    faults: Arc<Faults>,
    pub has_second_factor: Mutex<bool>,
    pub signed: Mutex<Vec<ApprovalRecord>>,
}

impl std::fmt::Debug for FakeVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeVault").finish_non_exhaustive()
    }
}

impl Signer for FakeVault {
    fn issuer(&self) -> &str {
        self.key.issuer()
    }

    fn sign_claims(&self, claims: &[u8]) -> Result<String, SignError> {
        self.key.sign_claims(claims)
    }
}

impl ports::Vault for FakeVault {
    fn fingerprint(&self, sha256: &[u8; 32]) -> Result<String, Failure> {
        self.faults.at("vault.fingerprint")?;
        Ok(format!("hmac:{}", hex::encode(&sha256[..4])))
    }

    fn second_factor(&self) -> Result<bool, Failure> {
        self.faults.at("vault.second_factor")?;
        Ok(*self.has_second_factor.lock())
    }

    fn sign_approval(
        &self,
        record: &ApprovalRecord,
        pin: Option<[u8; 16]>,
    ) -> Result<SignedApproval, Failure> {
        self.faults.at("vault.sign_approval")?;
        if record.effect == chaperone_vault::Effect::StepUp
            && record.answer == chaperone_vault::Answer::Approve
            && pin.is_none()
        {
            return Err(Failure::new("pin_required", "this approval needs the PIN"));
        }
        self.signed.lock().push(record.clone());
        Ok(SignedApproval { record: record.id.clone(), signature: String::new(), pin: pin.is_some() })
    }
}

/// One record of the log in memory.
#[derive(Debug, Clone)]
pub struct Written {
    pub entry: LogEntry,
    pub payload: Value,
    pub on_disk: bool,
}

#[derive(Debug, Default)]
pub struct FakeLog {
    written: Arc<Mutex<Vec<Written>>>,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Ticket {
    seq: u64,
    written: Arc<Mutex<Vec<Written>>>,
    faults: Arc<Faults>,
}

impl FakeLog {
    pub fn all(&self) -> Vec<Written> {
        self.written.lock().clone()
    }

    pub fn of(&self, phase: Phase) -> Vec<Written> {
        self.written.lock().iter().filter(|w| w.entry.phase == phase).cloned().collect()
    }

    fn push(&self, entry: LogEntry, payload: Option<&[u8]>, on_disk: bool) -> u64 {
        let payload = payload.map_or(Value::Null, |p| serde_json::from_slice(p).unwrap());
        let mut written = self.written.lock();
        written.push(Written { entry, payload, on_disk });
        written.len() as u64 - 1
    }
}

impl ports::AuditLog for FakeLog {
    fn append(
        &self,
        entry: LogEntry,
        payload: Option<&[u8]>,
        durability: Durability,
    ) -> Result<u64, LogError> {
        self.faults.at("log.append").map_err(|e| LogError::Stopped(e.message))?;
        Ok(self.push(entry, payload, durability == Durability::Synced))
    }

    fn append_then_sync(
        &self,
        entry: LogEntry,
        payload: Option<&[u8]>,
    ) -> Result<Box<dyn ports::Syncing>, LogError> {
        self.faults.at("log.append").map_err(|e| LogError::Stopped(e.message))?;
        let seq = self.push(entry, payload, false);
        Ok(Box::new(Ticket { seq, written: Arc::clone(&self.written), faults: Arc::clone(&self.faults) }))
    }
}

impl ports::Syncing for Ticket {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn wait(self: Box<Self>) -> Result<(), LogError> {
        self.faults.at("log.wait").map_err(|e| LogError::Stopped(e.message))?;
        self.written.lock()[usize::try_from(self.seq).unwrap()].on_disk = true;
        Ok(())
    }
}

#[derive(Debug)]
pub struct FakeClock(Arc<Faults>);

impl FakeClock {
    pub fn forward(&self, seconds: u64) {
        self.0.now_ms.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

impl ports::Clock for FakeClock {
    fn now_ms(&self) -> u64 {
        self.0.at("clock").ok();
        self.0.now_ms.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct FakeCell {
    pub suspended: AtomicUsize,
    faults: Arc<Faults>,
}

impl ports::CellHandle for FakeCell {
    fn suspend(&self) {
        self.suspended.fetch_add(1, Ordering::Relaxed);
        self.faults.at("cell").ok();
    }
}

#[derive(Debug)]
pub struct FakeRelease {
    pub seen: Mutex<Vec<(String, [u8; 32])>>,
    faults: Arc<Faults>,
}

impl ports::OnRelease for FakeRelease {
    fn released(&self, path: &str, content: &Released) {
        self.faults.at("release").ok();
        self.seen.lock().push((path.to_owned(), content.version));
    }
}

/// A pipeline, a session that runs, and all that they touch.
pub struct World {
    pub pipeline: Pipeline,
    pub session: Arc<Session>,
    pub policy: Arc<FakePolicies>,
    pub inspect: Arc<FakeInspect>,
    pub vault: Arc<FakeVault>,
    pub log: Arc<FakeLog>,
    pub clock: Arc<FakeClock>,
    pub cell: Arc<FakeCell>,
    pub release: Arc<FakeRelease>,
    pub faults: Arc<Faults>,
    events: Mutex<Receiver<Event>>,
    dir: TempDir,
}

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));
static HOLDER: LazyLock<String> =
    LazyLock::new(|| thumbprint(SigningKey::from_bytes(&[8; 32]).verifying_key().as_bytes()));

impl World {
    /// Policy is what a closure says.
    pub fn new(rule: impl Fn(&Value) -> Decision + Send + Sync + 'static) -> Self {
        Self::with(rule, AskMode::Wait, Duration::from_secs(60))
    }

    pub fn with(
        rule: impl Fn(&Value) -> Decision + Send + Sync + 'static,
        ask: AskMode,
        ask_timeout: Duration,
    ) -> Self {
        // Memory, where there is some: opening a ledger waits for the disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let now = chaperone_pipeline::clock::SystemClock.now_ms();
        let faults = Arc::new(Faults { now_ms: AtomicU64::new(now), ..Faults::default() });
        let policy = Arc::new(FakePolicies {
            set: Mutex::new(("r1".to_owned(), Arc::new(rule))),
            faults: Arc::clone(&faults),
            calls: Arc::default(),
            inputs: Arc::default(),
        });
        let inspect = Arc::new(FakeInspect {
            findings: Mutex::default(),
            unread: Mutex::default(),
            faults: Arc::clone(&faults),
        });
        let vault = Arc::new(FakeVault {
            key: LocalIssuer::new("test", KEY.clone()),
            faults: Arc::clone(&faults),
            has_second_factor: Mutex::new(true),
            signed: Mutex::default(),
        });
        let log = Arc::new(FakeLog { written: Arc::default(), faults: Arc::clone(&faults) });
        let clock = Arc::new(FakeClock(Arc::clone(&faults)));
        let cell = Arc::new(FakeCell { suspended: AtomicUsize::new(0), faults: Arc::clone(&faults) });
        let release = Arc::new(FakeRelease { seen: Mutex::default(), faults: Arc::clone(&faults) });
        let bus = Arc::new(Bus::default());
        let events = Mutex::new(bus.watch(None, true));
        let (vault_port, clock_port): (Arc<dyn ports::Vault>, Arc<dyn ports::Clock>) =
            (vault.clone(), clock.clone());
        let pipeline = Pipeline {
            policy: policy.clone(),
            records: Arc::new(Records::new(log.clone(), vault_port, bus, clock_port)),
            approvals: Arc::new(Approvals::default()),
            inspection: inspect.clone(),
            outgoing: Arc::new(Outgoing::new(Detectors::from_toml(&[]).unwrap())),
            vault: vault.clone(),
            issuer: Issuer { name: vault.issuer().to_owned(), key: KEY.verifying_key() },
            ledgers: Ledgers::open(dir.path(), clock.now()).unwrap(),
            clock: clock.clone(),
            verdicts: Arc::new(Verdicts::new(None, (&[0; 32], b""), clock.clone())),
        };
        let session = session(dir.path(), ask, ask_timeout);
        let world = Self {
            pipeline,
            session: Arc::clone(&session),
            policy,
            inspect,
            vault,
            log,
            clock,
            cell,
            release,
            faults,
            events,
            dir,
        };
        world.hold(&session);
        world
    }

    /// The session gets a capability, with what it may reach.
    fn hold(&self, session: &Session) {
        let network = vec![
            PermissionClaim::connect("api.example", None),
            PermissionClaim::request("api.example", None),
            PermissionClaim::request("other.example", None),
            PermissionClaim::resolve("api.example"),
        ];
        let (pipeline, vault) = (&self.pipeline, &*self.vault);
        let held =
            authority::for_session(session, vault, &pipeline.issuer, &HOLDER, network, pipeline.clock.now());
        *session.capability.write() = Some(held.unwrap());
        assert!(session.cell.set(self.cell.clone()).is_ok() || session.cell.get().is_some());
        assert!(session.on_release.set(self.release.clone()).is_ok() || session.on_release.get().is_some());
    }

    /// Another session of the same kind, for a world that is used more than once.
    pub fn fresh_session(&mut self) {
        self.faults.clear();
        self.session = session(self.dir.path(), self.session.ask, self.session.ask_timeout);
        let session = Arc::clone(&self.session);
        self.hold(&session);
        self.log.written.lock().clear();
        self.release.seen.lock().clear();
        self.policy.inputs.lock().clear();
        self.happened();
    }

    /// The world goes on with a second session.
    pub fn another_session(&mut self, id: &str) {
        let plan = session_plan(self.dir.path(), self.session.ask, self.session.ask_timeout);
        self.session =
            Arc::new(Session::new(SessionPlan { id: id.to_owned(), ..plan }, State::Running, None));
        let session = Arc::clone(&self.session);
        self.hold(&session);
    }

    /// The session gets another capability of the same content.
    pub fn renew_capability(&self) {
        self.hold(&self.session);
    }

    pub fn begin(&self, request: AccessRequest) -> Admission {
        self.pipeline.begin(&self.session, request)
    }

    #[track_caller]
    pub fn granted(&self, request: AccessRequest) -> Authorized {
        match self.begin(request) {
            Admission::Granted(granted) => granted,
            other => panic!("not granted: {other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(&self, request: AccessRequest) -> Refusal {
        match self.begin(request) {
            Admission::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    pub fn pending(&self, request: AccessRequest) -> Pending {
        match self.begin(request) {
            Admission::Pending(pending) => *pending,
            other => panic!("nobody was asked: {other:?}"),
        }
    }

    /// The user answers the one ask that waits, and the request goes on.
    #[track_caller]
    pub fn answer(&self, pending: Pending, answer: Answer) -> Result<Authorized, Refusal> {
        let asks = self.pipeline.approvals.pending();
        assert_eq!(asks.len(), 1, "one ask waits");
        self.pipeline.approvals.answer(&asks[0].id, answer).unwrap();
        self.pipeline.resume(&self.session, pending, &|| false)
    }

    /// What watchers were told since the last look.
    pub fn happened(&self) -> Vec<Happened> {
        self.events.lock().try_iter().map(|e| e.what).collect()
    }

    /// An opening for reading of a file with this content.
    pub fn read(&self, path: &str, content: &[u8]) -> AccessRequest {
        let on_disk = self.dir.path().join(path.trim_start_matches('/').replace('/', "_"));
        if std::fs::read(&on_disk).ok().as_deref() != Some(content) {
            std::fs::write(&on_disk, content).unwrap();
        }
        let file = File::open(&on_disk).unwrap();
        let object = object_of(&file);
        let mut request = AccessRequest::file(Entry::FileSystem, Action::Read, path.to_owned(), object);
        if let Resource::File(resource) = &mut request.resource {
            resource.file = Some(Arc::new(HeldFile::uncounted(file)));
            resource.content = true;
        }
        request
    }

    /// Gives a file that [`Self::read`] opened other times, and leaves its bytes.
    pub fn touch(&self, path: &str) {
        let on_disk = self.dir.path().join(path.trim_start_matches('/').replace('/', "_"));
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(on_disk).unwrap().set_modified(long_ago).unwrap();
    }

    /// Writes another content into a file that [`Self::read`] opened.
    pub fn overwrite(&self, path: &str, content: &[u8]) {
        let on_disk = self.dir.path().join(path.trim_start_matches('/').replace('/', "_"));
        std::fs::write(on_disk, content).unwrap();
    }
}

fn session(dir: &Path, ask: AskMode, ask_timeout: Duration) -> Arc<Session> {
    Arc::new(Session::new(session_plan(dir, ask, ask_timeout), State::Running, None))
}

fn session_plan(dir: &Path, ask: AskMode, ask_timeout: Duration) -> SessionPlan {
    static PROFILE: LazyLock<Profile> =
        LazyLock::new(|| Profile::find("default", Path::new("/nonexistent")).unwrap());
    let all = ["read", "list", "write", "append", "delete", "rename", "commit"];
    SessionPlan {
        id: "s1".to_owned(),
        name: "agent".to_owned(),
        profile: PROFILE.clone(),
        backend: "native".to_owned(),
        workspace: dir.to_owned(),
        command: Vec::new(),
        interactive: true,
        ask,
        ask_timeout,
        started: String::new(),
        dir: dir.to_owned(),
        mounts: vec![MountRecord {
            at: "/workspace".to_owned(),
            prefix: String::new(),
            source: dir.to_owned(),
            mode: Mode::Mediated,
            actions: all.map(str::to_owned).to_vec(),
            stage_dir: dir.to_owned(),
            programs: Vec::new(),
        }],
        quota: Quota::unlimited(),
    }
}

pub fn decision(effect: Effect, reason: &str, obligations: &[Obligation]) -> Decision {
    Decision {
        effect,
        reasons: vec![reason.to_owned()],
        obligations: obligations.to_vec(),
        advice: None,
        rule: format!("test.{reason}"),
        cacheable: true,
    }
}

pub fn allow(obligations: &[Obligation]) -> Decision {
    decision(Effect::Allow, "fine", obligations)
}

pub fn ask(obligations: &[Obligation]) -> Decision {
    decision(Effect::Ask, "personal_data", obligations)
}

pub fn step_up() -> Decision {
    decision(Effect::StepUp, "grave", &[])
}

pub fn deny(obligations: &[Obligation]) -> Decision {
    decision(Effect::Deny, "forbidden", obligations)
}

/// Looks into the content first, and then decides.
pub fn inspected_then(then: Decision) -> impl Fn(&Value) -> Decision + Send + Sync + 'static {
    move |input| {
        if input["inspected"] == true { then.clone() } else { allow(&[Obligation::Inspect]) }
    }
}

/// A commit of everything.
pub fn unnamed() -> UsersWord<'static> {
    UsersWord::default()
}

/// A commit of exactly this path.
pub fn named_by_the_user() -> UsersWord<'static> {
    UsersWord { named: true, ..UsersWord::default() }
}

pub fn yes() -> Answer {
    Answer::Approve { scope: Scope::Once, redact: false, pin_proof: None }
}

pub fn yes_for(scope: Scope) -> Answer {
    Answer::Approve { scope, redact: false, pin_proof: None }
}

pub fn redact() -> Answer {
    Answer::Approve { scope: Scope::Once, redact: true, pin_proof: None }
}

pub fn no() -> Answer {
    Answer::Deny { why: None }
}

pub fn finding(detector: &str, severity: &str, count: u64) -> Finding {
    Finding {
        detector: detector.to_owned(),
        category: "pii".to_owned(),
        severity: severity.to_owned(),
        confidence: 0.5,
        certainty: chaperone_inspect::Certainty::Likely,
        count,
        distinct: count,
        place: FileSpot::Line { line: 1, column: None }.into(),
        fingerprint: None,
        sha256: [0; 32],
        values: Vec::new(),
    }
}

/// A change of a directory, without content.
pub fn change(action: Action, path: &str) -> AccessRequest {
    AccessRequest::file(Entry::FileSystem, action, path.to_owned(), FileObject::ABSENT)
}

pub fn tool(name: &'static str, arguments: u8) -> AccessRequest {
    let resource = Resource::Tool(ToolResource { name, arguments: [arguments; 32] });
    AccessRequest { action: Action::Tool, resource, entry: Entry::Rpc, pid: None }
}

/// To be allowed to do this for ten minutes.
pub fn elevation(action: Action, path: &str) -> AccessRequest {
    let wish = ElevationResource {
        subject: path.to_owned(),
        wish: action.as_str().to_owned(),
        facts: serde_json::json!({}),
        permissions: vec![PermissionClaim::path(action, path)],
        seconds: 600,
        justification: "please".to_owned(),
    };
    let resource = Resource::Elevation(wish);
    AccessRequest { action: Action::Elevate, resource, entry: Entry::Rpc, pid: None }
}

/// A request to `api.example` that carries `bytes` bytes of `body`.
pub fn post(body: u8, bytes: u64) -> NetworkResource {
    NetworkResource {
        shown: "POST https://api.example:443/v1".to_owned(),
        host: "api.example".to_owned(),
        port: 443,
        addresses: vec!["192.0.2.1".parse().unwrap()],
        method: Some("POST".to_owned()),
        url_path: Some("/v1".to_owned()),
        content: Some(([body; 32], bytes)),
        leaves: true,
        ..NetworkResource::default()
    }
}

pub fn send(resource: NetworkResource) -> AccessRequest {
    AccessRequest::network(Action::Request, resource)
}

pub fn object_of(file: &File) -> FileObject {
    let meta = file.metadata().unwrap();
    FileObject {
        kind: ObjectKind::File,
        dev: meta.dev(),
        ino: meta.ino(),
        nlink: meta.nlink(),
        size: meta.size(),
        mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec().into()),
        ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec().into()),
        staged: false,
    }
}

pub fn bytes_of(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn file_of(bytes: &[u8]) -> HeldFile {
    let mut file = File::from(rustix::fs::memfd_create("content", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    HeldFile::uncounted(file)
}

/// The bytes that were released.
#[track_caller]
pub fn released(granted: &Authorized) -> Vec<u8> {
    bytes_of(&granted.released.as_ref().expect("nothing was released").file)
}

/// The time, as the pipeline has it.
pub fn now(world: &World) -> i64 {
    world.clock.now()
}

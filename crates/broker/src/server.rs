//! The broker's process: it starts the vault, opens the log, loads the policy, and answers the person's commands.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::{Durability, Log, Options};
use chaperone_inspect::Detectors;
use chaperone_policy::Store;
use chaperone_worker::{Worker, WorkerPool};
use parking_lot::RwLock;
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use crate::approvals::{Answer, Approvals};
use crate::bus::Bus;
use crate::commit::{self, By};
use crate::dirs::Dirs;
use crate::grants::{Issuer, Ledgers};
use crate::inspection::Inspection;
use crate::keys::Vault;
use crate::pipeline::Pipeline;
use crate::records::Records;
use crate::session::{Session, State};
use crate::wire::{self, Failure, Reply, Request};
use crate::{clock, grants, lifecycle, mcp, policy_files};

/// Commands answered at once. Protects threads; beyond it a connection is closed.
const MAX_CONNECTIONS: usize = 256;
/// How often a watcher that hears nothing is looked at.
const WATCH_TICK: Duration = Duration::from_millis(500);

/// Everything the broker holds. No key is among it.
#[derive(Debug)]
pub struct Broker {
    pub dirs: Dirs,
    pub pipeline: Pipeline,
    pub vault: Arc<Vault>,
    pub issuer: Issuer,
    pub bus: Arc<Bus>,
    pub sessions: RwLock<BTreeMap<String, Arc<Session>>>,
}

/// Run the broker until it is killed. `ready` tells the starter `ready`, `already`, or what is wrong.
///
/// # Errors
/// Why it cannot start; the starter was told.
pub fn main(ready: fn(&str) -> std::io::Result<()>) -> Result<(), Failure> {
    let told = |failure: Failure| {
        // Without a starter that listens there is nobody to tell.
        ready(&failure.message).ok();
        failure
    };
    let dirs = Dirs::from_environment().map_err(|e| told(Failure::new("no_home", e.to_string())))?;
    dirs.prepare().map_err(|e| told(Failure::new("state_unavailable", e.to_string())))?;
    // Commands that come while another one starts the broker wait until it listens.
    let starting = lock(&dirs, "starting.lock", FlockOperation::LockExclusive).map_err(told)?;
    let Some(_lock) = lock(&dirs, "broker.lock", FlockOperation::NonBlockingLockExclusive).map_err(told)?
    else {
        ready("already").ok();
        return Ok(());
    };
    let (broker, listener) = start(dirs).map_err(told)?;
    drop(starting);
    ready("ready").map_err(|e| Failure::new("no_starter", e.to_string()))?;
    let open = Arc::new(());
    for stream in listener.incoming().flatten() {
        if Arc::strong_count(&open) > MAX_CONNECTIONS || !is_ours(&stream) {
            continue;
        }
        let (broker, open) = (Arc::clone(&broker), Arc::clone(&open));
        let answer = move || {
            Connection { broker, attached: None }.serve(&stream);
            drop(open);
        };
        // A connection that gets no thread is closed; its command says so.
        std::thread::Builder::new().name("command".into()).spawn(answer).ok();
    }
    Ok(())
}

/// One broker for each installation. `None` when another one has the lock.
fn lock(dirs: &Dirs, name: &str, how: FlockOperation) -> Result<Option<std::fs::File>, Failure> {
    let path = dirs.run.join(name);
    let file = std::fs::File::create(&path)
        .map_err(|e| Failure::new("state_unavailable", format!("{}: {e}", path.display())))?;
    match rustix::fs::flock(&file, how) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(Failure::new("state_unavailable", format!("{}: {e}", path.display()))),
    }
}

fn start(dirs: Dirs) -> Result<(Arc<Broker>, UnixListener), Failure> {
    chaperone_sys::give_memory_back();
    chaperone_sys::harden().map_err(|e| Failure::new("no_hardening", e.to_string()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_descriptors();
    // An agent that keeps every processor busy must not wait longer for its own files. Where it cannot be asked for,
    // things are only slower.
    chaperone_sys::prefer_short_slices().ok();
    let exe = std::env::current_exe().map_err(|e| Failure::new("no_program", e.to_string()))?;
    let vault = Arc::new(Vault::start(&exe, &dirs.vault())?);
    let issuer = vault.issuer()?;
    let options = Options {
        now_ms: clock::unix_ms(),
        checkpoint_records: 4096,
        checkpoint_every: Duration::from_secs(5),
    };
    let keys = Arc::clone(&vault) as Arc<dyn chaperone_audit::Keys>;
    let log = Log::open(&dirs.audit(), keys, options).map_err(|e| {
        Failure::new("audit_unavailable", format!("the audit log cannot be opened: {e}"))
            .advise("look at it with: chaperone audit verify")
    })?;
    let bus = Arc::new(Bus::default());
    let records = Arc::new(Records::new(Arc::new(log), Arc::clone(&vault), Arc::clone(&bus)));
    let (policy, problems) = Store::new(policy_files::sources(&dirs)?);
    for problem in &problems {
        bus.tell("", false, &json!({ "kind": "policy_problem", "problem": problem.to_string() }));
    }
    records.set_policy(policy.current().revision());
    let detectors = Detectors::builtin().map_err(|e| Failure::new("bad_detectors", e.to_string()))?;
    let workers = WorkerPool::new(move || {
        let mut command = Command::new(&exe);
        command.arg("__worker");
        Worker::spawn(command)
    });
    let inspection = Inspection::new(detectors, workers, Arc::clone(&vault));
    let ledgers = Ledgers::open(&dirs.state)?;
    let pipeline = Pipeline {
        policy,
        records,
        approvals: Arc::new(Approvals::default()),
        inspection,
        vault: Arc::clone(&vault),
        ledgers,
    };
    let path = dirs.socket();
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::new("state_unavailable", format!("{}: {e}", path.display())));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .map_err(|e| Failure::new("state_unavailable", format!("{}: {e}", path.display())))?;
    let broker = Arc::new(Broker { dirs, pipeline, vault, issuer, bus, sessions: RwLock::default() });
    policy_files::watch(&broker)?;
    crate::notify::start(&broker.bus);
    Ok((broker, listener))
}

/// Soft limit of descriptors up to the hard one: snapshots, handles and cells need some.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the bounds on sessions and handles are met earlier.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
}

fn is_ours(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|c| c.uid == rustix::process::geteuid())
}

/// One command's connection.
struct Connection {
    broker: Arc<Broker>,
    /// The session whose cell this connection launched: it ends with the connection.
    attached: Option<Arc<Session>>,
}

impl Connection {
    fn serve(mut self, stream: &UnixStream) {
        while let Ok(Some((request, fds))) = wire::receive::<Request>(stream) {
            let reply = match request {
                Request::Watch { session, routine } => {
                    self.watch(stream, session, routine);
                    break;
                }
                Request::Mcp { session } => {
                    if let (Ok(session), Ok(stream)) = (self.broker.find(&session), stream.try_clone()) {
                        serve_agent(&self.broker, &session, stream);
                    }
                    break;
                }
                other => self.answer(other, fds),
            };
            let reply = reply.map_or_else(Reply::Error, Reply::Ok);
            if wire::send(stream, &reply, &[]).is_err() {
                break;
            }
        }
        if let Some(session) = &self.attached
            && *session.state.read() != State::Ended
        {
            lifecycle::stop(session);
            lifecycle::finish(&self.broker, session);
        }
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<Value, Failure> {
        let broker = &self.broker;
        match request {
            Request::Status => Ok(json!({
                "last_signed": broker.vault.client().last_signed().map_err(crate::keys::failure)?
                    .map(|l| json!({ "size": l.size, "root": hex::encode(l.root) })),
                "broker": { "pid": std::process::id() }, "vault": { "pid": broker.vault.client().pid(), "alive": broker.vault.client().is_alive() },
                "policy": broker.pipeline.policy.current().revision(), "records": broker.pipeline.records.log().size(),
                "checkpoint_vkey": broker.vault.client().hello().checkpoint_vkey,
            })),
            Request::OpenSession(asked) => {
                let opened = lifecycle::open(broker, &asked)?;
                self.attached = broker.sessions.read().get(&opened.session).cloned();
                Ok(json!(opened))
            }
            Request::Attach { session, init_pid, network, enforced } => {
                let session = broker.find(&session)?;
                lifecycle::attach(broker, &session, (init_pid, network), &enforced, fds)?;
                Ok(json!({}))
            }
            Request::AttachOutside { session } => {
                lifecycle::attach_outside(broker, &broker.find(&session)?)?;
                Ok(json!({}))
            }
            Request::Ended { session, cause, code } => {
                let session = broker.find(&session)?;
                *session.exit.lock() = Some((cause, code));
                let commits = session.profile.commit.at_end;
                // The mappings of a cell that is gone were written back with it.
                let report = if commits {
                    commit::commit(broker, &session, &[], None, By::Profile)?
                } else {
                    Vec::new()
                };
                lifecycle::finish(broker, &session);
                let left = commit::changes(&session, false)?;
                Ok(json!({ "committed": report, "staged": left, "counters": {
                    "reads": session.counters.reads.load(std::sync::atomic::Ordering::Relaxed),
                    "denied": session.counters.denied.load(std::sync::atomic::Ordering::Relaxed),
                } }))
            }
            Request::Abandon { session, reason } => {
                let session = broker.find(&session)?;
                *session.exit.lock() = Some(("setup".into(), 125));
                let reason = crate::approvals::for_display(&reason, 300);
                broker.pipeline.records.event(
                    &session,
                    "abandon",
                    &reason,
                    &json!({}),
                    Durability::Logged,
                )?;
                lifecycle::finish(broker, &session);
                Ok(json!({}))
            }
            Request::Sessions { all } => Ok(broker.list(all)),
            Request::Stop { session } => {
                let stopped: Vec<_> = match session {
                    Some(id) => vec![broker.find(&id)?],
                    None => broker.sessions.read().values().cloned().collect(),
                };
                let running: Vec<_> =
                    stopped.into_iter().filter(|s| *s.state.read() != State::Ended).collect();
                running.iter().for_each(|s| lifecycle::stop(s));
                Ok(json!({ "stopped": running.len() }))
            }
            Request::Resume { session } => {
                lifecycle::resume(broker, &*broker.find(&session)?)?;
                Ok(json!({}))
            }
            Request::Why { session } => {
                let session = match session {
                    Some(id) => Some(broker.find(&id)?),
                    None => broker.sessions.read().values().max_by_key(|s| s.started.clone()).cloned(),
                };
                Ok(session.map_or_else(|| json!([]), |s| why(&s)))
            }
            Request::Changes { session, diff } => Ok(json!(commit::changes(&*broker.find(&session)?, diff)?)),
            Request::Commit { session, paths, choice } => Ok(json!(commit::commit(
                broker,
                &broker.find(&session)?,
                &paths,
                choice.as_deref(),
                By::Person
            )?)),
            Request::Discard { session, paths } => {
                Ok(json!(commit::discard(broker, &broker.find(&session)?, &paths)?))
            }
            Request::Undo { session, commit, paths, force } => {
                Ok(json!(commit::undo(broker, &broker.find(&session)?, commit, &paths, force)?))
            }
            Request::Approvals => Ok(json!(broker.pipeline.approvals.pending())),
            Request::Approve { id, scope, redact, pin } => {
                let ask = broker.pipeline.approvals.find(&id)?;
                if redact && !ask.redactable {
                    return Err(Failure::new(
                        "cannot_redact",
                        "this request cannot be answered with a redacted copy",
                    )
                    .advise("approve it as it is, or deny it"));
                }
                let pin_proof = match (ask.effect.as_str(), pin) {
                    ("step_up", None) => {
                        return Err(Failure::new("needs_second_factor", "this request needs your PIN")
                            .advise("chaperone approve ID --pin-stdin"));
                    }
                    (_, Some(pin)) => Some(broker.vault.prove_pin(&pin, &ask.digest)?),
                    (_, None) => None,
                };
                broker.pipeline.approvals.answer(&ask.id, Answer::Approve { scope, redact, pin_proof })?;
                Ok(json!({ "id": ask.id }))
            }
            Request::Deny { id, why } => {
                let ask = broker.pipeline.approvals.find(&id)?;
                broker.pipeline.approvals.answer(&ask.id, Answer::Deny { why })?;
                Ok(json!({ "id": ask.id }))
            }
            Request::CapabilityShow { session } => {
                let session = broker.find(&session)?;
                let held = session.capability.read().clone();
                let held =
                    held.ok_or_else(|| Failure::new("no_capability", "the session holds no capability"))?;
                let grants: Vec<Value> =
                    session.grants.read().iter().map(|g| json!(g.verified.claims())).collect();
                Ok(json!({ "claims": held.verified.claims(), "elevations": grants }))
            }
            Request::CapabilityMint { claims } => grants::mint_for_person(broker, &claims),
            Request::CapabilityRevoke { jti } => {
                broker
                    .pipeline
                    .ledgers
                    .revocations
                    .revoke(&jti, u64::try_from(clock::unix()).unwrap_or(0))
                    .map_err(|e| Failure::new("ledger_unavailable", e.to_string()))?;
                Ok(json!({ "revoked": jti }))
            }
            Request::AuditCheckpoint => {
                let checkpoint = broker
                    .pipeline
                    .records
                    .log()
                    .checkpoint()
                    .map_err(|e| Failure::new("audit_unavailable", e.to_string()))?;
                Ok(json!({ "size": checkpoint.size, "checkpoint": checkpoint.text }))
            }
            Request::AuditShow { seq } => {
                let unavailable =
                    |e: chaperone_audit::LogError| Failure::new("audit_unavailable", e.to_string());
                let reader = chaperone_audit::Reader::open(&broker.dirs.audit()).map_err(unavailable)?;
                let (leaf, payload) = reader.show(seq, &*broker.vault).map_err(unavailable)?;
                Ok(json!({ "leaf": leaf, "payload": payload }))
            }
            Request::PinSet { pin, old } => {
                broker.vault.client().pin_set(old.as_deref(), &pin).map_err(crate::keys::failure)?;
                Ok(json!({}))
            }
            Request::Ping => Ok(json!({})),
            Request::Reload => Ok(json!({ "revision": policy_files::reload(broker)? })),
            Request::Watch { .. } | Request::Mcp { .. } => Err(Failure::new("bad_request", "not here")),
        }
    }

    /// Stream events until the peer is gone.
    fn watch(&self, stream: &UnixStream, session: Option<String>, routine: bool) {
        let events = self.broker.bus.watch(session, routine);
        if wire::send(stream, &Reply::Event(json!({ "kind": "watching" })), &[]).is_err() {
            return;
        }
        loop {
            match events.recv_timeout(WATCH_TICK) {
                Ok(event) => {
                    if wire::send(stream, &Reply::Event(event), &[]).is_err() {
                        return;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    if has_hung_up(stream) {
                        return;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn has_hung_up(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut wait = [PollFd::new(stream, PollFlags::RDHUP)];
    match poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => {
            wait.iter().any(|w| w.revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
        }
        Err(_) => true,
    }
}

/// A conversation with an agent: the first byte tells `why` (a line `why`) from MCP (JSON).
pub fn serve_agent(broker: &Arc<Broker>, session: &Arc<Session>, mut stream: UnixStream) {
    let mut first = [0u8; 1];
    match rustix::net::recv(&stream, &mut first[..], rustix::net::RecvFlags::PEEK) {
        Ok((1, _)) => {}
        _ => return,
    }
    if first == *b"w" {
        // `chaperone why` in the cell: one line asks, one line answers.
        stream.write_all(format!("{}\n", why(session)).as_bytes()).ok();
        return;
    }
    let pid = rustix::net::sockopt::socket_peercred(&stream)
        .ok()
        .and_then(|c| u32::try_from(c.pid.as_raw_pid()).ok());
    // A conversation that cannot be set up is closed; the client sees that.
    mcp::serve(broker, session, stream, pid).ok();
}

/// The last refusals, newest first, as `why --json` prints them.
#[must_use]
pub fn why(session: &Session) -> Value {
    json!(session.refusals.lock().iter().rev().collect::<Vec<_>>())
}

impl Broker {
    /// A session by its id, an unambiguous beginning of it, or its agent's name; ended ones are read back.
    ///
    /// # Errors
    /// `no_such_session`.
    pub fn find(&self, id: &str) -> Result<Arc<Session>, Failure> {
        let none = || {
            Failure::new("no_such_session", format!("no single session is called {id:?}"))
                .advise("list them with: chaperone sessions --all")
        };
        if id.is_empty() {
            return Err(none());
        }
        if let Some(session) = self.sessions.read().get(id) {
            return Ok(Arc::clone(session));
        }
        self.read_back();
        let sessions = self.sessions.read();
        let mut matching = sessions.values().filter(|s| s.id.starts_with(id) || s.name == id);
        match (matching.next(), matching.next()) {
            (Some(one), None) => Ok(Arc::clone(one)),
            _ => Err(none()),
        }
    }

    /// Sessions of an earlier broker; what cannot be read back is left where it is.
    fn read_back(&self) {
        for entry in std::fs::read_dir(self.dirs.staging()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !self.sessions.read().contains_key(&id)
                && let Ok(session) = lifecycle::restore(&entry.path())
            {
                self.sessions.write().entry(id).or_insert(session);
            }
        }
    }

    fn list(&self, all: bool) -> Value {
        if all {
            self.read_back();
        }
        let mut records: Vec<_> = self.sessions.read().values().map(|s| s.record()).collect();
        records.retain(|r| all || r.state != State::Ended);
        records.sort_by(|a, b| a.started.cmp(&b.started));
        let sessions: Vec<Value> = records
            .iter()
            .map(|r| {
                let state = if r.state == State::Starting { State::Running } else { r.state };
                json!({ "id": r.id, "name": r.name, "profile": r.profile, "backend": r.backend, "state": state,
                        "init_pid": r.init_pid, "exit": r.exit, "cause": r.cause, "workspace": r.workspace, "started": r.started })
            })
            .collect();
        json!({ "broker": { "pid": std::process::id() }, "vault": { "pid": self.vault.client().pid() }, "sessions": sessions })
    }
}

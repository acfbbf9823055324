//! A launched cell is handed over: it proves its key, gets its capability, is served, and starts its agent.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::Durability;
use chaperone_capability::{PermissionClaim, thumbprint};
use chaperone_cell::NetworkEnds;
use chaperone_cell::control::{self, Edit, InitMessage, InitOrder, Repeated};
use chaperone_fs::{self as fs, ObjectKind, Outside};
use chaperone_gateway::{Dial, permissions};
use chaperone_pipeline::{Session, authority};
use chaperone_protocol::session::State;
use chaperone_protocol::{Enforced, Failure, NetworkKind};
use serde_json::json;

use super::end::{finish, stop};
use super::live::LiveSession;
use crate::broker::Broker;

/// Hosts named in the record of a start.
const MAX_NOTED: usize = 100;
/// How often the room on the disk is looked at that an agent in an overlay fills.
const ROOM_LOOK: Duration = Duration::from_millis(100);
/// How long cell-init may take for an answer.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// A launched cell is handed over: prove its key, mint its capability, serve it, and let the agent start.
///
/// # Errors
/// The reason it may not start; the caller ends the cell.
pub fn attach(
    broker: &Arc<Broker>,
    live: &Arc<LiveSession>,
    (init_pid, network): (u32, Option<NetworkKind>),
    enforced: &Enforced,
    fds: Vec<OwnedFd>,
) -> Result<(), Failure> {
    let session = &live.session;
    if *session.state.read() != State::Starting {
        return Err(Failure::new("already_started", "this session has its cell already"));
    }
    let mut fds = fds.into_iter();
    let missing = || Failure::new("bad_attach", "a descriptor of the cell is missing");
    let control = Arc::new(fds.next().ok_or_else(missing)?);
    let channel = fds.next().ok_or_else(missing)?;
    let jkt = prove(&control, session)?;
    let held = issue(broker, live, &jkt)?;
    *session.capability.write() = Some(held);
    *session.init_pid.write() = Some(init_pid);
    let pid = i32::try_from(init_pid).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(missing)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|e| Failure::new("cell_gone", format!("the cell ended before it started: {e}")))?;
    *live.cell.init_pidfd.lock() = Some(pidfd);
    *live.cell.groups.lock() = enforced.groups.clone();
    live.mounts.serve(&broker.pipeline, session, &mut fds)?;
    if let Some(kind) = network {
        let ends = NetworkEnds::from_fds(kind, &mut fds).ok_or_else(missing)?;
        chaperone_gateway::serve(&live.way(), ends)?;
    }
    broker.pipeline.records.event(
        session,
        "start",
        &session.workspace.display().to_string(),
        &json!({ "profile": session.profile.name, "backend": session.backend, "command": session.command.first(),
                 "init_pid": init_pid, "network": network, "pack": chaperone_packs::digest(), "enforced": enforced, "environment": given(session), "shown": live.visible,
                 "hosts": live.exit.allowed().rules().iter().take(MAX_NOTED).map(|r| r.host().to_string()).collect::<Vec<_>>() }),
        Durability::Synced,
    )?;
    *live.cell.control.lock() = Some(Arc::clone(&control));
    *session.state.write() = State::Running;
    accept(live, channel)?;
    listen(broker, live, Arc::clone(&control))?;
    keep_room(broker, live)?;
    // An ended session keeps no descriptor of its cell.
    let dialer = Arc::downgrade(&control);
    live.exit.dial_by(Dial(Arc::new(move |order| {
        let control = dialer.upgrade().ok_or(std::io::ErrorKind::NotConnected)?;
        control::order_now(&control, &order)
    })));
    announce(live, &control);
    chaperone_gateway::publish(&live.way())?;
    control::order(&control, &InitOrder::Go).map_err(|e| gone(&e))
}

/// What the user edits is announced to the programs of the cell that watch for it.
fn announce(live: &LiveSession, control: &Arc<OwnedFd>) {
    let control = Arc::downgrade(control);
    let repeat = move |at: &str, edit: Outside| {
        let Some(control) = control.upgrade() else { return false };
        let done = match edit.edit {
            fs::Edit::Written => Edit::Written,
            fs::Edit::Finished => Edit::Finished,
            fs::Edit::Attributes => Edit::Attributes,
            fs::Edit::Made(ObjectKind::Dir) => Edit::MadeDirectory,
            fs::Edit::Made(ObjectKind::Symlink) => Edit::MadeLink,
            fs::Edit::Made(_) => Edit::MadeFile,
            fs::Edit::Removed { directory: true } => Edit::RemovedDirectory,
            fs::Edit::Removed { directory: false } => Edit::RemovedFile,
        };
        let Outside { token, path, .. } = edit;
        control::repeat(&control, Repeated { at: at.to_owned(), token, path, edit: done }).is_ok()
    };
    live.mounts.announce(repeat);
}

/// The session's capability, from its mounts and what it may reach.
fn issue(
    broker: &Broker,
    live: &LiveSession,
    jkt: &str,
) -> Result<Arc<chaperone_pipeline::session::ActiveCapability>, Failure> {
    let mut network = permissions::outbound(live.exit.allowed().rules());
    network.extend(live.exit.published().iter().map(|port| PermissionClaim::publish(*port)));
    let (vault, issuer, now) = (&*broker.vault, &broker.pipeline.issuer, broker.pipeline.clock.now());
    authority::for_session(&live.session, vault, issuer, jkt, network, now)
}

/// Names of the variables that the profile gives the agent: a key among them is a choice of the user's, on record.
fn given(session: &Session) -> Vec<&String> {
    let environment = &session.profile.environment;
    environment.pass.iter().chain(environment.set.keys()).collect()
}

/// An agent in an overlay writes past the broker: when it has filled the disk up to the reserve, it is stopped until
/// the user has made room.
fn keep_room(broker: &Arc<Broker>, live: &Arc<LiveSession>) -> Result<(), Failure> {
    if !live.mounts.has_overlay() {
        return Ok(());
    }
    let (broker, live) = (Arc::clone(broker), Arc::clone(live));
    let watch = move || {
        while !live.has_ended() {
            if live.mounts.is_full() && *live.session.state.read() == State::Running {
                broker.pipeline.suspend(&live.session, ("broker.disk_full", "disk_full"));
            }
            std::thread::sleep(ROOM_LOOK);
        }
    };
    std::thread::Builder::new()
        .name("room".into())
        .spawn(watch)
        .map(|_| ())
        .map_err(|e| Failure::new("no_threads", e.to_string()))
}

/// Let an agent that runs outside of a cell use the session's tools. Its mediation holds only as far as the agent
/// uses them; the record says so. The broker holds the `cnf` key itself, as there is no cell-init.
///
/// # Errors
/// When the capability cannot be minted or the start cannot be recorded.
pub fn attach_outside(broker: &Arc<Broker>, live: &Arc<LiveSession>) -> Result<(), Failure> {
    let session = &live.session;
    if *session.state.read() != State::Starting {
        return Err(Failure::new("already_started", "this session runs already"));
    }
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
    let key = chaperone_capability::SigningKey::from_bytes(&seed);
    let jkt = thumbprint(key.verifying_key().as_bytes());
    let held = issue(broker, live, &jkt)?;
    *session.capability.write() = Some(held);
    let payload = json!({ "profile": session.profile.name, "backend": session.backend });
    let workspace = session.workspace.display().to_string();
    broker.pipeline.records.event(session, "start", &workspace, &payload, Durability::Synced)?;
    *session.state.write() = State::Running;
    Ok(())
}

/// The holder of the channel proves that it has the key that the capability will name.
fn prove(control: &OwnedFd, session: &Session) -> Result<String, Failure> {
    let wrong = |what: &str| Failure::new("no_proof", format!("the cell did not prove its key: {what}"));
    let Some((InitMessage::Hello { key }, _)) =
        control::receive(control, Some(INIT_LIMIT)).map_err(|e| gone(&e))?
    else {
        return Err(wrong("no hello"));
    };
    let key: [u8; 32] =
        hex::decode(key).ok().and_then(|k| k.try_into().ok()).ok_or_else(|| wrong("malformed key"))?;
    let mut nonce = [0u8; 32];
    getrandom::fill(&mut nonce).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
    control::order(control, &InitOrder::Challenge(hex::encode(nonce))).map_err(|e| gone(&e))?;
    let Some((InitMessage::Signature(signature), _)) =
        control::receive(control, Some(INIT_LIMIT)).map_err(|e| gone(&e))?
    else {
        return Err(wrong("no signature"));
    };
    let signature: [u8; 64] = hex::decode(signature)
        .ok()
        .and_then(|s| s.try_into().ok())
        .ok_or_else(|| wrong("malformed signature"))?;
    let jkt = thumbprint(&key);
    chaperone_capability::verify_pop(&jkt, &key, &nonce, &session.id, &signature)
        .map_err(|e| wrong(&e.to_string()))?;
    Ok(jkt)
}

fn gone(error: &std::io::Error) -> Failure {
    Failure::new("cell_gone", format!("the cell does not answer: {error}"))
}

/// Listen to cell-init: decoys that were touched, the seccomp listener, the end.
fn listen(broker: &Arc<Broker>, live: &Arc<LiveSession>, control: Arc<OwnedFd>) -> Result<(), Failure> {
    let (broker, live) = (Arc::clone(broker), Arc::clone(live));
    let thread = std::thread::Builder::new().name("cell".into()).spawn(move || {
        loop {
            let (message, fds) = match control::receive(&control, None) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                // Nobody watches a cell any more whose cell-init is not understood: it must not go on.
                Err(_) => {
                    stop(&live);
                    break;
                }
            };
            match message {
                InitMessage::Started => {
                    if let Some(listener) = fds.into_iter().next() {
                        refusals(&broker, &live, listener);
                    }
                }
                InitMessage::Decoy { path, technique, by: Some(program), .. } => {
                    broker.pipeline.records.decoy_of_its_own(&live.session, &path, &technique, &program);
                }
                InitMessage::Decoy { path, technique, count, by: None } => {
                    broker.pipeline.records.decoy(&live.session, &path, &technique, count);
                }
                InitMessage::Refused { call, count } => {
                    broker.pipeline.records.call(&live.session, &call, count);
                }
                InitMessage::Dialed { id, error } => {
                    live.exit.dialed(id, error.map_or(Ok(fds), Err));
                }
                InitMessage::Over { cause, code } => {
                    live.ending.lock().get_or_insert((cause, code));
                }
                InitMessage::Hello { .. } | InitMessage::Signature(_) => {}
            }
        }
        finish(&broker, &live);
    });
    thread.map(|_| ()).map_err(|e| Failure::new("no_threads", e.to_string()))
}

/// Answer and record system calls that the cell's filter refuses.
fn refusals(broker: &Arc<Broker>, live: &Arc<LiveSession>, listener: OwnedFd) {
    let (broker, session, kept) = (Arc::clone(broker), Arc::clone(&live.session), Arc::clone(live));
    let serve = move || {
        let mut counts: HashMap<&'static str, u64> = HashMap::new();
        chaperone_cell::serve_refusals(&listener, |refusal| {
            let count = counts.entry(refusal.call).or_insert(0);
            *count += 1;
            if chaperone_cell::is_worth_telling(*count) {
                broker.pipeline.records.call(&session, refusal.call, *count);
            }
        });
    };
    if std::thread::Builder::new().name("refusals".into()).spawn(serve).is_err() {
        // Without a listener the kernel answers ENOSYS: still refused, but unseen. Better no session.
        stop(&kept);
    }
}

/// Accept conversations on the cell's channel.
fn accept(live: &Arc<LiveSession>, channel: OwnedFd) -> Result<(), Failure> {
    let listener = UnixListener::from(channel);
    let other_end = listener.try_clone().map_err(|e| Failure::new("no_descriptor", e.to_string()))?;
    *live.cell.channel.lock() = Some(other_end);
    let live = Arc::clone(live);
    let thread = std::thread::Builder::new().name("channel".into()).spawn(move || {
        chaperone_mcp::serve_all(&live.tools, &listener, &|| live.has_ended());
    });
    thread.map(|_| ()).map_err(|e| Failure::new("no_threads", e.to_string()))
}

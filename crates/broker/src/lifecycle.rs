//! A session from its opening to its end, and what is left of it afterwards.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chaperone_audit::Durability;
use chaperone_capability::thumbprint;
use chaperone_cell::control::{self, InitMessage, InitOrder};
use chaperone_cell::{Backend, Native, NetworkEnds, NetworkKind};
use chaperone_egress::{HostPattern, Rule};
use chaperone_fs::{Options, Tree, serve};
use chaperone_vault::CapabilitySigner;
use parking_lot::{Mutex, RwLock};
use serde_json::json;

use crate::clock;
use crate::files::MountGate;
use crate::grants;
use crate::overlay::{self, Overlay, Survey};
use crate::profile::{Mode, Profile};
use crate::records::Records;
use crate::server::Broker;
use crate::session::{Counters, LiveMount, Record, Session, State};
use crate::wire::{Failure, OpenSession, Opened, PlanCache, PlanMount, PlanMountKind};
use crate::{caches, commit, mcp, services, workspace};

/// Sessions that run at once. Protects descriptors and threads.
const MAX_SESSIONS: usize = 64;
/// Hosts named in the record of a start.
const MAX_NOTED: usize = 100;
/// How often the room on the disk is looked at that an agent in an overlay fills.
const ROOM_LOOK: Duration = Duration::from_millis(100);
/// How long cell-init may take for an answer.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Refused calls recorded one by one for each kind; further ones at powers of two, with their count.
const RECORDED_CALLS: u64 = 4;

/// Decide everything about a session before there is a cell.
///
/// # Errors
/// The reason it may not run.
pub fn open(broker: &Arc<Broker>, asked: &OpenSession) -> Result<Opened, Failure> {
    let profile =
        Profile::find(asked.profile.as_deref().unwrap_or("default"), &broker.dirs.config.join("profiles"))
            .map_err(|e| Failure::new("bad_profile", e.to_string()))?;
    let backend = asked.backend.as_deref().unwrap_or(&profile.backend);
    if chaperone_cell::backend(backend).is_none() {
        return Err(Failure::new("no_backend", format!("the backend {backend:?} is not in this version"))
            .advise(format!("use --backend {}", Native.name())));
    }
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    let ours = [broker.dirs.state.as_path(), broker.dirs.config.as_path(), broker.dirs.run.as_path()];
    let workspace = workspace::resolve(&asked.workspace, home.as_deref(), &ours)?;
    let running = broker.sessions.read().values().filter(|s| *s.state.read() != State::Ended).count();
    if running >= MAX_SESSIONS {
        return Err(Failure::new("too_many_sessions", format!("{MAX_SESSIONS} sessions run already")));
    }
    let id = grants::random_id()?.get(..12).unwrap_or_default().to_owned();
    let dir = broker.dirs.staging().join(&id);
    crate::dirs::private_dir(&dir).map_err(|e| Failure::new("state_unavailable", e.to_string()))?;
    let mut mounts = workspace::mounts(&profile, &workspace, &dir)?;
    let mut surveys = Vec::new();
    let mut notices = Vec::new();
    for mount in &mut mounts {
        prepare_mount(mount)?;
        surveys.push(if asked.in_cell { layers(mount, &mut notices)? } else { None });
    }
    let rules = rules(&profile, &asked.allow_hosts, &asked.allow_services, &broker.dirs.config)?;
    let upload = profile.limits.upload().map_err(|m| Failure::new("bad_profile", m))?;
    let network =
        crate::net::Exit::new(&id, rules, &asked.publish, upload, profile.limits.requests_per_minute)?;
    let name = asked.name.clone().unwrap_or_else(|| program_name(&asked.command));
    let session = Arc::new(Session {
        id: id.clone(),
        name,
        profile,
        workspace,
        command: asked.command.clone(),
        interactive: asked.interactive,
        ask: asked.ask,
        ask_timeout: Duration::from_secs(asked.ask_timeout_s.clamp(1, 24 * 3600)),
        started: clock::rfc3339(),
        dir,
        mounts,
        servers: Mutex::default(),
        state: RwLock::new(State::Starting),
        init_pid: RwLock::new(None),
        init_pidfd: Mutex::new(None),
        groups: Mutex::default(),
        control: Mutex::new(None),
        channel: Mutex::new(None),
        exit: Mutex::new(None),
        capability: RwLock::new(None),
        grants: RwLock::default(),
        standing: Mutex::default(),
        counters: Counters::default(),
        refusals: Mutex::new(VecDeque::new()),
        recent: Mutex::default(),
        decided: Mutex::new(HashMap::new()),
        network,
        blobs: Mutex::default(),
    });
    session.network.register_documents(&broker.dirs.config.join("registered"));
    save(&session)?;
    let in_use = broker.sessions.read().values().any(|s| {
        *s.state.read() != State::Ended
            && s.workspace == session.workspace
            && s.profile.name == session.profile.name
    });
    let caches = caches::plan(&session, &broker.dirs.state.join("caches"), in_use)?;
    let mut opened = plan(&session, asked, caches)?;
    for ((mount, survey), planned) in session.mounts.iter().zip(&surveys).zip(&mut opened.mounts) {
        if let (Some(survey), PlanMountKind::Staged { masked, .. }) = (survey, &mut planned.kind) {
            *masked = overlay::masked(&broker.pipeline, &session, mount, survey)?;
            if !masked.is_empty() {
                notices.push(told_masked(&session, masked));
            }
        }
    }
    opened.notices = notices;
    broker.sessions.write().insert(id, session);
    Ok(opened)
}

/// What may be reached: what the profile names, and what the person named at the start.
fn rules(profile: &Profile, hosts: &[String], more: &[String], config: &Path) -> Result<Vec<Rule>, Failure> {
    let mut rules = profile.network.allow.clone();
    for rule in &mut rules {
        rule.source.clone_from(&profile.name);
    }
    let services = services::all(config)?;
    for name in profile.network.services.iter().chain(more) {
        rules.extend(services::rules(&services, name)?);
    }
    for host in hosts {
        let mut rule = Rule::of_text(host).map_err(|e| {
            Failure::new("bad_host", format!("--allow-host {host}: {e}"))
                .advise("write it like api.example.com or api.example.com:8443")
        })?;
        rule.source = "command_line".to_owned();
        rules.push(rule);
    }
    Ok(with_localhost(rules))
}

/// `localhost` is an address, whatever a resolver says; and a rule for the address is one for requests that call it so.
fn with_localhost(rules: Vec<Rule>) -> Vec<Rule> {
    let name = HostPattern::Name("localhost".to_owned());
    let addresses = [
        HostPattern::Network(Ipv4Addr::LOCALHOST.into(), 32),
        HostPattern::Network(Ipv6Addr::LOCALHOST.into(), 128),
    ];
    let mut all = Vec::new();
    for rule in rules {
        if *rule.host() == name {
            all.extend(addresses.iter().map(|address| rule.for_host(address.clone())));
        } else if addresses.contains(rule.host()) {
            all.push(rule.for_host(name.clone()));
        }
        all.push(rule);
    }
    all
}

/// The layers of a staged mount, and what was in its folder when they were made. Where an overlay cannot serve it, the
/// broker does, with the same staging.
fn layers(mount: &mut LiveMount, notices: &mut Vec<String>) -> Result<Option<Survey>, Failure> {
    if mount.mode != Mode::Staged {
        return Ok(None);
    }
    let survey = if rustix::process::geteuid().is_root() {
        Err("a cell that root starts has a user of its own")
    } else if mount.hide_denied {
        Err("its profile hides names")
    } else {
        overlay::survey(&mount.root).unwrap_or(Err("it cannot be read whole"))
    };
    match survey {
        Ok(survey) => {
            let made = Overlay::make(&mount.stage_dir, &mount.root, &survey).map_err(|e| {
                Failure::new("state_unavailable", format!("{}: {e}", mount.stage_dir.display()))
            })?;
            mount.overlay = Some(made);
            Ok(Some(survey))
        }
        Err(why) => {
            notices.push(format!("{} is staged by the broker, more slowly: {why}", mount.at));
            Ok(None)
        }
    }
}

fn told_masked(session: &Session, masked: &[String]) -> String {
    let named: Vec<String> = masked.iter().take(3).map(|p| crate::approvals::for_display(p, 60)).collect();
    let more = if masked.len() > named.len() { ", …" } else { "" };
    let files =
        if masked.len() == 1 { "1 file is".to_owned() } else { format!("{} files are", masked.len()) };
    format!("{files} masked ({}{more}): chaperone why {}", named.join(", "), session.id)
}

/// Folders of the stage; the tree of a mount that is written to.
fn prepare_mount(mount: &mut LiveMount) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::new("state_unavailable", format!("{}: {e}", mount.stage_dir.display()));
    std::fs::create_dir_all(&mount.stage_dir).map_err(failed)?;
    if matches!(mount.mode, Mode::Mediated | Mode::Staged) {
        let root = rustix::io::fcntl_dupfd_cloexec(&mount.root, 3).map_err(|e| failed(e.into()))?;
        let tree = Tree::open(&mount.stage_dir, root)
            .map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
        mount.tree = Some(Arc::new(tree));
    }
    Ok(())
}

fn plan(session: &Session, asked: &OpenSession, caches: Vec<PlanCache>) -> Result<Opened, Failure> {
    let limits = &session.profile.limits;
    let wrong = |m: String| Failure::new("bad_profile", m);
    let mut environment: std::collections::BTreeMap<String, String> = asked
        .environment
        .iter()
        .filter(|(k, _)| session.profile.environment.pass.contains(k))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    environment.extend(session.profile.environment.set.clone());
    for value in environment.iter().filter(|(name, _)| is_key(name)).map(|(_, value)| value) {
        session.network.register(value);
    }
    let mounts = session
        .mounts
        .iter()
        .map(|m| PlanMount {
            at: m.at.clone(),
            kind: match (&m.overlay, m.mode) {
                (_, Mode::ReadOnly) => PlanMountKind::ReadOnly { source: m.source.clone() },
                (Some(overlay), _) => PlanMountKind::Staged {
                    lower: m.source.clone(),
                    upper: overlay.upper(),
                    work: overlay.work(),
                    masked: Vec::new(),
                },
                (None, _) => PlanMountKind::Mediated,
            },
        })
        .collect();
    Ok(Opened {
        session: session.id.clone(),
        mounts,
        notices: Vec::new(),
        caches,
        environment,
        authority: session.network.authority().map(<[u8]>::to_vec),
        loopback: session.network.loopback(),
        workdir: if session.mounts.iter().any(|m| m.at == "/workspace") {
            "/workspace".into()
        } else {
            session.mounts.first().map_or_else(|| "/".to_owned(), |m| m.at.clone())
        },
        memory: limits.bytes().map_err(wrong)?,
        processes: limits.processes,
        cpu_percent: limits.cpu_percent().map_err(wrong)?,
        seconds: limits.seconds().map_err(wrong)?,
        debug: session.profile.debug,
        require_landlock: session.profile.require.landlock,
        require_cgroup: session.profile.require.cgroup,
    })
}

/// Whether a variable holds a credential, by its name.
fn is_key(name: &str) -> bool {
    let name = name.to_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "CREDENTIAL"].iter().any(|part| name.contains(part))
}

/// A launched cell is handed over: prove its key, mint its capability, serve it, and let the agent start.
///
/// # Errors
/// The reason it may not start; the caller ends the cell.
pub fn attach(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    (init_pid, network): (u32, Option<NetworkKind>),
    enforced: &serde_json::Value,
    fds: Vec<OwnedFd>,
) -> Result<(), Failure> {
    if *session.state.read() != State::Starting {
        return Err(Failure::new("already_started", "this session has its cell already"));
    }
    let mut fds = fds.into_iter();
    let missing = || Failure::new("bad_attach", "a descriptor of the cell is missing");
    let control = Arc::new(fds.next().ok_or_else(missing)?);
    let channel = fds.next().ok_or_else(missing)?;
    let jkt = prove(&control, session)?;
    let issuer = &broker.issuer;
    let held = grants::for_session(session, &CapabilitySigner(broker.vault.client()), issuer, &jkt)?;
    *session.capability.write() = Some(held);
    *session.init_pid.write() = Some(init_pid);
    let pid = i32::try_from(init_pid).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(missing)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|e| Failure::new("cell_gone", format!("the cell ended before it started: {e}")))?;
    *session.init_pidfd.lock() = Some(pidfd);
    *session.groups.lock() = serde_json::from_value(enforced["groups"].clone()).unwrap_or_default();
    for mount in &session.mounts {
        let Some(tree) = mount.served() else { continue };
        let device = fds.next().ok_or_else(missing)?;
        let gate = Arc::new(MountGate::new(broker, session, &mount.at, mount.hide_denied));
        let options = Options { uid: 1000, gid: 1000, write_back: mount.write_back };
        let server = serve(device, Arc::clone(tree), gate, options)
            .map_err(|e| Failure::new("no_threads", e.to_string()))?;
        session.servers.lock().push(server);
    }
    if let Some(kind) = network {
        crate::net::serve(broker, session, NetworkEnds::from_fds(kind, &mut fds).ok_or_else(missing)?)?;
    }
    broker.pipeline.records.event(
        session,
        "start",
        &session.workspace.display().to_string(),
        &json!({ "profile": session.profile.name, "backend": Native.name(), "command": session.command.first(),
                 "init_pid": init_pid, "network": network, "enforced": enforced, "environment": given(session),
                 "hosts": session.network.allowed().rules().iter().take(MAX_NOTED).map(|r| r.host().to_string()).collect::<Vec<_>>() }),
        Durability::Synced,
    )?;
    *session.control.lock() = Some(Arc::clone(&control));
    *session.state.write() = State::Running;
    save(session)?;
    accept(broker, session, channel)?;
    listen(broker, session, Arc::clone(&control))?;
    keep_room(broker, session)?;
    crate::net::publish(broker, session)?;
    order(&control, &InitOrder::Go)
}

/// Names of the variables that the profile gives the agent: a key among them is a choice of the person's, on record.
fn given(session: &Session) -> Vec<&String> {
    let environment = &session.profile.environment;
    environment.pass.iter().chain(environment.set.keys()).collect()
}

/// An agent in an overlay writes past the broker: when it has filled the disk up to the reserve, it is stopped until
/// the person has made room.
fn keep_room(broker: &Arc<Broker>, session: &Arc<Session>) -> Result<(), Failure> {
    if session.mounts.iter().all(|m| m.overlay.is_none()) {
        return Ok(());
    }
    let (broker, session) = (Arc::clone(broker), Arc::clone(session));
    let watch = move || {
        while *session.state.read() != State::Ended {
            let mut trees = session.mounts.iter().filter_map(|m| m.tree.as_ref());
            let is_full = trees.any(|tree| !tree.has_room().unwrap_or(false));
            if is_full && *session.state.read() == State::Running {
                suspend(&session, &broker.pipeline.records, ("broker.disk_full", "disk_full"));
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
pub fn attach_outside(broker: &Arc<Broker>, session: &Arc<Session>) -> Result<(), Failure> {
    if *session.state.read() != State::Starting {
        return Err(Failure::new("already_started", "this session runs already"));
    }
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
    let key = chaperone_capability::SigningKey::from_bytes(&seed);
    let jkt = thumbprint(key.verifying_key().as_bytes());
    let held = grants::for_session(session, &CapabilitySigner(broker.vault.client()), &broker.issuer, &jkt)?;
    *session.capability.write() = Some(held);
    let payload = json!({ "profile": session.profile.name, "backend": "none" });
    let workspace = session.workspace.display().to_string();
    broker.pipeline.records.event(session, "start", &workspace, &payload, Durability::Synced)?;
    *session.state.write() = State::Running;
    save(session)
}

/// The holder of the channel proves that it has the key that the capability will name.
fn prove(control: &OwnedFd, session: &Session) -> Result<String, Failure> {
    let wrong = |what: &str| Failure::new("no_proof", format!("the cell did not prove its key: {what}"));
    let gone = |e: std::io::Error| Failure::new("cell_gone", format!("the cell does not answer: {e}"));
    let Some((InitMessage::Hello { key }, _)) = control::receive(control, Some(INIT_LIMIT)).map_err(gone)?
    else {
        return Err(wrong("no hello"));
    };
    let key: [u8; 32] =
        hex::decode(key).ok().and_then(|k| k.try_into().ok()).ok_or_else(|| wrong("malformed key"))?;
    let mut nonce = [0u8; 32];
    getrandom::fill(&mut nonce).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
    order(control, &InitOrder::Challenge(hex::encode(nonce)))?;
    let Some((InitMessage::Signature(signature), _)) =
        control::receive(control, Some(INIT_LIMIT)).map_err(gone)?
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

fn order(control: &OwnedFd, what: &InitOrder) -> Result<(), Failure> {
    control::order(control, what)
        .map_err(|e| Failure::new("cell_gone", format!("the cell does not listen: {e}")))
}

/// Let cell-init connect to a port of the cell; it answers with [`InitMessage::Dialed`] of the same number.
///
/// # Errors
/// `cell_gone`.
pub(crate) fn dial(session: &Session, port: u16, id: u64) -> Result<(), Failure> {
    let control = session.control.lock().clone();
    let control = control.ok_or_else(|| Failure::new("cell_gone", "the cell is gone"))?;
    control::dial(&control, port, id)
        .map_err(|e| Failure::new("cell_gone", format!("the cell does not listen: {e}")))
}

/// Listen to cell-init: decoys that were touched, the seccomp listener, the end.
fn listen(broker: &Arc<Broker>, session: &Arc<Session>, control: Arc<OwnedFd>) -> Result<(), Failure> {
    let (broker, session) = (Arc::clone(broker), Arc::clone(session));
    let thread = std::thread::Builder::new().name("cell".into()).spawn(move || {
        loop {
            let (message, fds) = match control::receive(&control, None) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                // Nobody watches a cell any more whose cell-init is not understood: it must not go on.
                Err(_) => {
                    stop(&session);
                    break;
                }
            };
            match message {
                InitMessage::Started => {
                    if let Some(listener) = fds.into_iter().next() {
                        refusals(&broker, &session, listener);
                    }
                }
                InitMessage::Decoy { path, technique, count } => {
                    broker.pipeline.records.decoy(&session, &path, &technique, count);
                }
                InitMessage::Dialed { id, error } => {
                    let outcome = match (fds.into_iter().next(), error) {
                        (Some(socket), None) => Ok(socket),
                        (_, error) => Err(error.unwrap_or_else(|| "the cell gave no connection".to_owned())),
                    };
                    session.network.dialed(id, outcome);
                }
                InitMessage::Over { cause, code } => {
                    session.exit.lock().get_or_insert((cause, code));
                }
                InitMessage::Hello { .. } | InitMessage::Signature(_) => {}
            }
        }
        finish(&broker, &session);
    });
    thread.map(|_| ()).map_err(|e| Failure::new("no_threads", e.to_string()))
}

/// Answer and record system calls that the cell's filter refuses.
fn refusals(broker: &Arc<Broker>, session: &Arc<Session>, listener: OwnedFd) {
    let kept = Arc::clone(session);
    let (broker, session) = (Arc::clone(broker), Arc::clone(session));
    let serve = move || {
        let mut counts: HashMap<&'static str, u64> = HashMap::new();
        chaperone_cell::serve_refusals(&listener, |refusal| {
            let count = counts.entry(refusal.call).or_insert(0);
            *count += 1;
            if *count <= RECORDED_CALLS || count.is_power_of_two() {
                broker.pipeline.records.call(&session, &refusal, *count);
            }
        });
    };
    if std::thread::Builder::new().name("refusals".into()).spawn(serve).is_err() {
        // Without a listener the kernel answers ENOSYS: still refused, but unseen. Better no session.
        stop(&kept);
    }
}

/// Accept conversations on the cell's channel.
fn accept(broker: &Arc<Broker>, session: &Arc<Session>, channel: OwnedFd) -> Result<(), Failure> {
    let listener = UnixListener::from(channel);
    let other_end = listener.try_clone().map_err(|e| Failure::new("no_descriptor", e.to_string()))?;
    *session.channel.lock() = Some(other_end);
    let (broker, session) = (Arc::clone(broker), Arc::clone(session));
    let open = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let thread = std::thread::Builder::new().name("channel".into()).spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if *session.state.read() == State::Ended {
                break;
            }
            if open.fetch_add(1, Ordering::AcqRel) >= mcp::MAX_CONVERSATIONS {
                open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let (broker, session, open) = (Arc::clone(&broker), Arc::clone(&session), Arc::clone(&open));
            let serve = move || {
                crate::server::serve_agent(&broker, &session, stream);
                open.fetch_sub(1, Ordering::AcqRel);
            };
            if std::thread::Builder::new().name("agent".into()).spawn(serve).is_err() {
                break;
            }
        }
    });
    thread.map(|_| ()).map_err(|e| Failure::new("no_threads", e.to_string()))
}

/// The cell is gone: close what is open, commit what the profile says, and write the session's record.
pub fn finish(broker: &Arc<Broker>, session: &Arc<Session>) {
    {
        let mut state = session.state.write();
        if *state == State::Ended {
            return;
        }
        *state = State::Ended;
    }
    broker.pipeline.approvals.withdraw_session(&session.id);
    let (cause, code) = session.exit.lock().get_or_insert(("broker".to_owned(), 137)).clone();
    session.servers.lock().clear();
    session.network.close();
    *session.control.lock() = None;
    if let Some(channel) = session.channel.lock().take() {
        // Whoever waits for conversations on it stops.
        rustix::net::shutdown(&channel, rustix::net::Shutdown::Both).ok();
    }
    clear_away(session);
    let payload = json!({ "cause": cause, "code": code });
    // The session is over whether or not this can be written; a broken log denies whatever comes next.
    broker.pipeline.records.event(session, "end", &session.id, &payload, Durability::Synced).ok();
    save(session).ok();
    broker.pipeline.records.tell(session, || json!({ "kind": "ended", "cause": cause, "code": code }));
}

/// Whether nothing of the session's cell runs any more.
#[must_use]
pub fn is_over(session: &Session) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    match session.init_pidfd.lock().as_ref() {
        Some(pidfd) => poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&Timespec::default())) == Ok(1),
        None => *session.state.read() == State::Ended,
    }
}

/// Remove what only the cell needed, once its last process is gone; nobody waits for it.
fn clear_away(session: &Arc<Session>) {
    let Some(Ok(pidfd)) = session.init_pidfd.lock().as_ref().map(OwnedFd::try_clone) else { return };
    let session = Arc::clone(session);
    let clear = move || {
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        // Whether it ended or hangs: what is in use is not removed.
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)],
            Some(&limit),
        )
        .ok();
        chaperone_cell::remove_groups(&session.groups.lock());
        caches::discard(&session);
        // What cannot be taken over now is when somebody asks for it.
        commit::bring_up_to_date(&session).ok();
    };
    // Without a thread they stay where they are, which harms nothing.
    std::thread::Builder::new().name("cell-end".into()).spawn(clear).ok();
}

/// End a session's cell and everything in it.
pub fn stop(session: &Session) {
    if let Some(pidfd) = session.init_pidfd.lock().as_ref() {
        // It may have ended by itself already.
        rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL).ok();
    }
    session.exit.lock().get_or_insert(("signal".to_owned(), 137));
}

/// Stop every process of a cell until a person resumes it.
pub fn suspend(session: &Session, records: &Records, (rule, why): (&str, &str)) {
    *session.state.write() = State::Suspended;
    if let Some(control) = session.control.lock().as_ref() {
        order(control, &InitOrder::Suspend).ok();
    }
    records.alert(session, "suspend", &session.id, rule, &[why.to_owned()], None);
    records.tell(session, || json!({ "kind": "suspended", "reasons": [why] }));
}

/// Let a suspended session go on.
///
/// # Errors
/// `not_suspended`, or when the resumption cannot be recorded.
pub fn resume(broker: &Broker, session: &Session) -> Result<(), Failure> {
    if *session.state.read() != State::Suspended {
        return Err(Failure::new("not_suspended", format!("session {} is not suspended", session.id)));
    }
    broker.pipeline.records.event(session, "resume", &session.id, &json!({}), Durability::Synced)?;
    session.refusals.lock().clear();
    *session.state.write() = State::Running;
    if let Some(control) = session.control.lock().as_ref() {
        order(control, &InitOrder::Resume)?;
    }
    Ok(())
}

/// Write what must survive the broker, atomically.
///
/// # Errors
/// `state_unavailable`.
pub fn save(session: &Session) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::new("state_unavailable", format!("{}: {e}", session.dir.display()));
    let text = serde_json::to_vec_pretty(&session.record()).map_err(|e| failed(e.into()))?;
    let (new, at) = (session.dir.join("session.json.new"), session.dir.join("session.json"));
    std::fs::write(&new, text).map_err(failed)?;
    std::fs::rename(new, at).map_err(failed)
}

/// An ended session, from what was written of it: for its changes, commits and undo.
///
/// # Errors
/// `stage_unavailable` when its folder or stage is gone.
pub fn restore(dir: &Path) -> Result<Arc<Session>, Failure> {
    let failed = |e: String| Failure::new("stage_unavailable", format!("{}: {e}", dir.display()));
    let text = std::fs::read(dir.join("session.json")).map_err(|e| failed(e.to_string()))?;
    let record: Record = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
    let mut mounts = Vec::new();
    for m in &record.mounts {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(&m.source, flags, rustix::fs::Mode::empty())
            .map_err(|e| failed(format!("{}: {e}", m.source.display())))?;
        let mut live = LiveMount {
            at: m.at.clone(),
            prefix: m.prefix.clone(),
            source: m.source.clone(),
            root,
            mode: m.mode,
            actions: m.actions.clone(),
            hide_denied: false,
            write_back: false,
            stage_dir: m.stage_dir.clone(),
            tree: None,
            overlay: Overlay::left(&m.stage_dir),
        };
        prepare_mount(&mut live)?;
        mounts.push(live);
    }
    let mut profile = Profile::parse(&format!("name = {:?}", record.profile), "session.json")
        .map_err(|e| failed(e.to_string()))?;
    profile.backend.clone_from(&record.backend);
    let network = crate::net::Exit::new(&record.id, Vec::new(), &[], None, None)?;
    Ok(Arc::new(Session {
        id: record.id,
        name: record.name,
        profile,
        workspace: record.workspace,
        command: record.command,
        interactive: false,
        ask: crate::wire::AskMode::Deny,
        ask_timeout: Duration::from_secs(1),
        started: record.started,
        dir: dir.to_owned(),
        mounts,
        servers: Mutex::default(),
        state: RwLock::new(State::Ended),
        init_pid: RwLock::new(record.init_pid),
        init_pidfd: Mutex::new(None),
        groups: Mutex::default(),
        control: Mutex::new(None),
        channel: Mutex::new(None),
        // A session that ran when its broker died was ended by that.
        exit: Mutex::new(Some((record.cause.unwrap_or_else(|| "broker".into()), record.exit.unwrap_or(137)))),
        capability: RwLock::new(None),
        grants: RwLock::default(),
        standing: Mutex::default(),
        counters: Counters::default(),
        refusals: Mutex::default(),
        recent: Mutex::default(),
        decided: Mutex::default(),
        network,
        blobs: Mutex::default(),
    }))
}

fn program_name(command: &[String]) -> String {
    let first = command.first().map_or("agent", String::as_str);
    let name = first.rsplit('/').next().unwrap_or(first);
    crate::approvals::for_display(name, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_both_loopbacks_and_a_loopback_is_localhost() {
        let rules = |text: &str| {
            let all = with_localhost(vec![Rule::of_text(text).unwrap()]);
            all.iter().map(|r| format!("{} {:?}", r.host(), r.ports())).collect::<Vec<_>>()
        };
        assert_eq!(rules("localhost:5432"), ["127.0.0.1 [5432]", "::1 [5432]", "localhost [5432]"]);
        assert_eq!(rules("127.0.0.1:3000"), ["localhost [3000]", "127.0.0.1 [3000]"]);
        assert_eq!(rules("[::1]:3000"), ["localhost [3000]", "::1 [3000]"]);
        assert_eq!(rules("127.0.0.2:3000"), ["127.0.0.2 [3000]"]);
        assert_eq!(rules("a.example"), ["a.example [80, 443]"]);
    }
}

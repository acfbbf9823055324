//! The opening of a session: everything that is decided before there is a cell.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chaperone_config::network_rules;
use chaperone_config::profile::Profile;
use chaperone_gateway::{Exit, Proxies};
use chaperone_pipeline::authority;
use chaperone_pipeline::session::{Session, SessionPlan};
use chaperone_protocol::session::{Mode, State};
use chaperone_protocol::{
    Failure, OpenSession, Opened, PlanCache, PlanMount, PlanMountKind, counted, for_display,
};
use chaperone_quota::Quota;
use chaperone_workspace::directories;
use chaperone_workspace::installation::{self, Installation};
use chaperone_workspace::mount::{LiveMount, Mounts};
use chaperone_workspace::{masking, tool_caches};

use super::live::LiveSession;
use super::look::{Look, look};
use super::restore::save;
use crate::broker::Broker;
use crate::policy_reload;

/// Sessions that run at once. Protects descriptors and threads.
const MAX_SESSIONS: usize = 64;

/// Decide everything about a session before there is a cell.
///
/// # Errors
/// The reason it may not run.
pub fn open(broker: &Arc<Broker>, asked: &OpenSession) -> Result<Opened, Failure> {
    let Look {
        profile,
        backend,
        passed_over,
        places,
        workspace,
        installation,
        caches,
        visible,
        repositories,
        left_out,
    } = look(broker, asked)?;
    let problem = policy_reload::catch_up(broker)?;
    broker.let_all_go();
    let running = broker.sessions.read().values().filter(|s| !s.has_ended()).count();
    if running >= MAX_SESSIONS {
        return Err(Failure::new("too_many_sessions", format!("{MAX_SESSIONS} sessions run already")));
    }
    let id = authority::random_id()?.get(..12).unwrap_or_default().to_owned();
    let dir = broker.dirs.staging().join(&id);
    chaperone_config::dirs::private_dir(&dir)
        .map_err(|e| Failure::new("state_unavailable", e.to_string()))?;
    let mut mounts = directories::mounts(&profile, &workspace, &dir)?;
    if let Some(own) = mounts.iter().find(|mount| mount.at == "/workspace") {
        mounts.extend(repositories.mounts(own, &dir)?);
    }
    let mut programs = asked.search_path();
    programs.extend(asked.search_path_in(&workspace));
    for mount in &mut mounts {
        mount.programs.clone_from(&programs);
        mount.umask = asked.umask;
        let below = mount.source.strip_prefix(&workspace).ok().map(Path::to_owned);
        mount.spelled = below.map(|below| asked.workspace.join(below));
    }
    let mut covered = installation::covered(&places, &workspace);
    covered.extend(installation.covered.iter().cloned());
    let quota = Quota::new(chaperone_quota::MEMORY, &broker.descriptors);
    let mut surveys = Vec::new();
    let mut notices = repositories.notices.clone();
    notices.extend(passed_over);
    notices.extend(left_out.filter(|notice| broker.is_new_of_path(notice)));
    for mount in &mut mounts {
        mount.prepare(&quota)?;
        surveys.push(if asked.in_cell { mount.make_layers(&mut notices)? } else { None });
    }
    let exit = exit(broker, asked, (&id, &profile), &mounts, &mut notices)?;
    let made_of = SessionPlan {
        id: id.clone(),
        name: asked.name.clone().unwrap_or_else(|| program_name(&asked.command)),
        profile,
        backend: backend.to_owned(),
        workspace,
        command: asked.command.clone(),
        interactive: asked.interactive,
        ask: asked.ask,
        ask_timeout: Duration::from_secs(asked.ask_timeout_s.clamp(1, 24 * 3600)),
        started: broker.pipeline.clock.rfc3339(),
        dir,
        mounts: mounts.iter().map(LiveMount::record).collect(),
        quota,
    };
    let session = Session::new(made_of, State::Starting, None);
    let mut live = LiveSession::new(&broker.pipeline, Arc::new(session), exit, Mounts::new(mounts), None);
    let Installation { shown, scratch, program, path, first, environment, .. } = installation;
    live.visible.clone_from(&visible);
    let session = &live.session;
    save(&live)?;
    let in_use = broker.sessions.read().values().any(|s| {
        !s.has_ended()
            && s.session.workspace == session.workspace
            && s.session.profile.name == session.profile.name
    });
    let caches = tool_caches::plan(session, caches, &broker.dirs.state.join("caches"), in_use)?;
    let mut opened = plan(&live, asked, caches)?;
    for ((mount, survey), planned) in live.mounts.list().iter().zip(&surveys).zip(&mut opened.mounts) {
        if let (Some(survey), PlanMountKind::Staged { masked, .. }) = (survey, &mut planned.kind) {
            *masked = masking::masked(&broker.pipeline, session, mount, survey)?;
            if !masked.is_empty() {
                notices.push(told_masked(session, masked));
            }
        }
    }
    notices.extend(problem);
    opened.notices = notices;
    (opened.shown, opened.visible) = (shown, visible);
    (opened.covered, opened.scratch, opened.path, opened.first) = (covered, scratch, path, first);
    for (name, value) in environment {
        opened.environment.entry(name).or_insert(value);
    }
    opened.program = (!program.as_os_str().is_empty()).then_some(program);
    broker.sessions.write().insert(id, Arc::new(live));
    Ok(opened)
}

/// The proxies that lead out of the user's machine: the profile's one, or those of the user's environment.
fn proxies(profile: &Profile, environment: &BTreeMap<String, String>) -> (Proxies, Vec<String>) {
    Proxies::of(|name| match (&profile.network.proxy, name) {
        (Some(proxy), "http_proxy" | "https_proxy") => Some(proxy.clone()).filter(|proxy| proxy != "none"),
        (Some(_), name) if !name.eq_ignore_ascii_case("no_proxy") => None,
        _ => environment.get(name).cloned(),
    })
}

fn told_masked(session: &Session, masked: &[String]) -> String {
    let named: Vec<String> = masked.iter().take(3).map(|p| for_display(p, 60)).collect();
    let more = if masked.len() > named.len() { ", …" } else { "" };
    let are = if masked.len() == 1 { "is" } else { "are" };
    let files = counted(masked.len(), "file");
    format!("{files} {are} masked ({}{more}): chaperone why {}", named.join(", "), session.id)
}

fn plan(live: &LiveSession, asked: &OpenSession, caches: Vec<PlanCache>) -> Result<Opened, Failure> {
    let session = &live.session;
    let limits = &session.profile.limits;
    let wrong = |m: String| Failure::new("bad_profile", m);
    let mut environment: BTreeMap<String, String> = asked
        .environment
        .iter()
        .filter(|(k, _)| session.profile.environment.pass.contains(k))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    environment.extend(session.profile.environment.set.clone());
    for value in environment.iter().filter(|(name, _)| is_key(name)).map(|(_, value)| value) {
        live.exit.register(value);
    }
    let mounts = live
        .mounts
        .list()
        .iter()
        .map(|m| PlanMount {
            at: m.at.clone(),
            kind: match (m.layers(), m.mode) {
                (_, Mode::ReadOnly) => PlanMountKind::ReadOnly { source: m.source.clone() },
                (Some((upper, work)), _) => {
                    PlanMountKind::Staged { lower: m.source.clone(), upper, work, masked: Vec::new() }
                }
                (None, _) => PlanMountKind::Mediated,
            },
        })
        .collect();
    Ok(Opened {
        session: session.id.clone(),
        backend: session.backend.clone(),
        mounts,
        notices: Vec::new(),
        shown: Vec::new(),
        visible: Vec::new(),
        covered: Vec::new(),
        scratch: Vec::new(),
        program: None,
        path: Vec::new(),
        first: Vec::new(),
        caches,
        environment,
        authority: live.exit.authority().map(<[u8]>::to_vec),
        loopback: live.exit.loopback(),
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

/// The session's way out, with what it is to recognise.
fn exit(
    broker: &Broker,
    asked: &OpenSession,
    (id, profile): (&str, &Profile),
    mounts: &[LiveMount],
    notices: &mut Vec<String>,
) -> Result<Exit, Failure> {
    let rules =
        network_rules::rules(profile, &asked.allow_hosts, &asked.allow_services, &broker.dirs.config)?;
    let upload = profile.limits.upload().map_err(|m| Failure::new("bad_profile", m))?;
    let detectors = broker.pipeline.outgoing.detectors().clone();
    let exit = Exit::new(id, detectors, rules, &asked.publish, upload, profile.limits.requests_per_minute)?;
    let (proxies, unused) = proxies(profile, &asked.environment);
    notices.extend(unused);
    exit.dial_through(proxies);
    exit.read_documents_with(Arc::clone(&broker.pipeline.inspection));
    exit.register_documents(&broker.dirs.config.join("registered"));
    for mount in mounts.iter().filter(|m| m.mode == Mode::ReadOnly || m.layers().is_some()) {
        let root = mount.root.own().map_err(|e| Failure::new("no_descriptor", e.to_string()))?;
        exit.remember_directory(&mount.at, root);
    }
    Ok(exit)
}

/// Whether a variable holds a credential, by its name.
fn is_key(name: &str) -> bool {
    let name = name.to_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "CREDENTIAL"].iter().any(|part| name.contains(part))
}

fn program_name(command: &[String]) -> String {
    let first = command.first().map_or("agent", String::as_str);
    let name = first.rsplit('/').next().unwrap_or(first);
    for_display(name, 60)
}

//! `run`: open a session, launch its cell, hand it over, and stay until it ends.

pub mod prompt;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufReader, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use chaperone_broker::profile;
use chaperone_broker::wire::{AskMode, OpenSession, Opened, PlanMountKind, Reply, Request, Scope};
use chaperone_cell::terminal::{Filter, Raw, Stopped, relay};
use chaperone_cell::{
    BrokerEnds, Cache, Exit, HOME, Kind, Launched, Limits, Mount, Network, NetworkEnds, Plan, SetupError,
    Terminal, can_capture, default_decoys, launch, proxy_environment, trust,
};
use serde_json::{Value, json};

use crate::cli::{Ask, Mcp, Run};
use crate::connect::Broker;
use prompt::Choice;
use crate::report::Report;
use crate::show;

/// The cell could not be set up.
const SETUP: u8 = 125;
/// Codes of the broker's that say the same: what was asked for cannot be had, whatever policy says.
const SETUP_CODES: &[&str] =
    &["bad_profile", "bad_host", "bad_services", "no_such_service", "bad_port", "port_in_use"];
/// Refused by policy.
const REFUSED: u8 = 126;
/// No such command.
const NOT_FOUND: u8 = 127;

pub fn run(args: &Run) -> Result<u8, Report> {
    let ended = whole(args);
    if let Some(file) = &args.status_file {
        let status = match &ended {
            Ok((session, exit)) => {
                json!({ "session": session, "cause": exit.cause, "code": exit.code, "reason": exit.reason, "rule": null })
            }
            Err(report) => {
                let cause = if report.exit == REFUSED { "policy" } else { "setup" };
                json!({ "session": null, "cause": cause, "code": report.exit, "reason": report.message, "rule": report.code })
            }
        };
        std::fs::write(file, format!("{status}\n"))
            .map_err(|e| Report::new(format!("{}: {e}", file.display())))?;
    }
    let (session, exit) = ended?;
    if matches!(exit.cause.as_str(), "setup" | "time" | "memory" | "processes" | "broker")
        && !exit.reason.is_empty()
    {
        eprintln!("chaperone: session {session}: {}", exit.reason);
    }
    if exit.cause == "not_found" {
        return Err(Report::new(exit.reason).exit(NOT_FOUND));
    }
    Ok(u8::try_from(exit.code).unwrap_or(1))
}

fn whole(args: &Run) -> Result<(String, Exit), Report> {
    let broker = Broker::reach().map_err(|r| r.exit(SETUP))?;
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let program = args.command.first().cloned().unwrap_or_default();
    let installed = installation(&program);
    let asked = OpenSession {
        profile: args.profile.clone(),
        workspace: workspace(args.workspace.as_deref())?,
        name: args.name.clone(),
        command: args.command.iter().map(|c| c.to_string_lossy().into_owned()).collect(),
        backend: args.backend.clone(),
        interactive: on_terminal,
        in_cell: true,
        ask: mode(args.ask),
        ask_timeout_s: timeout(&args.ask_timeout)?,
        allow_hosts: args.allow_host.clone(),
        allow_services: args.allow_service.clone(),
        publish: args.publish.clone(),
        environment: environment(),
    };
    let answer = broker.ask(&Request::OpenSession(Box::new(asked))).map_err(|r| {
        let code =
            if r.code.as_deref().is_some_and(|c| c.starts_with("workspace_") || SETUP_CODES.contains(&c)) {
                SETUP
            } else {
                REFUSED
            };
        r.exit(code)
    })?;
    let opened: Opened = serde_json::from_value(answer).map_err(Report::of)?;
    for notice in &opened.notices {
        eprintln!("chaperone: {notice}");
    }
    let terminal = match (on_terminal, chaperone_sys::window_size(std::io::stdin().as_fd())) {
        (true, Ok((rows, columns))) => Terminal::Pty { rows, columns },
        _ => Terminal::Inherit,
    };
    let mut plan = plan(&opened, args, installed, terminal)?;
    let mut launched = launch(&plan);
    if launched.is_err()
        && let Err(why) = can_capture()
    {
        let notice = fall_back(&mut plan, &opened, &why);
        launched = launch(&plan);
        if launched.is_ok() {
            eprintln!("chaperone: {notice}");
        }
    }
    let (cell, ends) = match launched {
        Ok(launched) => launched,
        Err(e) => {
            broker.ask(&Request::Abandon { session: opened.session, reason: e.what.clone() }).ok();
            let report = Report::new(e.what).exit(SETUP);
            return Err(match e.fix {
                Some(fix) => report.advise(format!("mend it with: {fix}")),
                None => report,
            });
        }
    };
    if let Err(report) = required(&opened, &cell).and_then(|()| hand_over(&broker, &opened, &cell, ends)) {
        cell.kill();
        cell.wait().map_err(Report::of)?;
        return Err(report.exit(SETUP));
    }
    let watcher = watch(&opened.session, args.show)?;
    let exit = match (&terminal, &cell.pty) {
        (Terminal::Pty { .. }, Some(_)) => on_screen(cell, &watcher, args.show)?,
        _ => without_screen(cell, watcher, args.show)?,
    };
    let ended =
        Request::Ended { session: opened.session.clone(), cause: exit.cause.clone(), code: exit.code };
    match broker.ask(&ended) {
        Ok(report) => summary(&opened.session, &report, args.show),
        Err(e) => eprintln!("{e}"),
    }
    Ok((opened.session, exit))
}

/// Plan a proxy instead of a capture, and say what that means.
fn fall_back(plan: &mut Plan, opened: &Opened, why: &SetupError) -> String {
    plan.network = Network::Proxied;
    let proxy = proxy_environment().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    // Of two variables of one name a program takes the first.
    plan.environment.retain(|(name, _)| !proxy.iter().any(|(n, _)| n == name));
    plan.environment.extend(proxy);
    let fix = why.fix.as_ref().map_or_else(String::new, |fix| format!("; mend it with: {fix}"));
    let lost = if opened.loopback.is_empty() {
        String::new()
    } else {
        ", and your own servers only if told to use it for localhost, too".to_owned()
    };
    format!("{why}; the agent's programs reach the network only if they heed http_proxy{lost}{fix}")
}

/// What the profile requires beyond the required layers.
fn required(opened: &Opened, cell: &Launched) -> Result<(), Report> {
    let have = &cell.enforced;
    if let Some(abi) = opened.require_landlock
        && have.landlock < abi
    {
        return Err(Report::new(format!(
            "the profile requires Landlock ABI {abi}; this kernel has {}",
            have.landlock
        )));
    }
    if opened.require_cgroup && have.cgroup == "watched" {
        return Err(Report::new("the profile requires limits by cgroup, and none can be made here")
            .advise("systemd-run --user --scope -p Delegate=yes chaperone run …"));
    }
    Ok(())
}

fn hand_over(broker: &Broker, opened: &Opened, cell: &Launched, ends: BrokerEnds) -> Result<(), Report> {
    let mut fds: Vec<BorrowedFd<'_>> = vec![ends.control.as_fd(), ends.channel.as_fd()];
    fds.extend(ends.fuse.iter().map(|(_, fd)| fd.as_fd()));
    fds.extend(ends.network.iter().flat_map(NetworkEnds::fds).map(AsFd::as_fd));
    let attach = Request::Attach {
        session: opened.session.clone(),
        init_pid: u32::try_from(cell.init_pid).map_err(Report::of)?,
        network: ends.network.as_ref().map(NetworkEnds::kind),
        enforced: json!(cell.enforced),
    };
    broker.ask_with(&attach, &fds).map(|_| ())
}

fn plan(opened: &Opened, args: &Run, installed: Vec<PathBuf>, terminal: Terminal) -> Result<Plan, Report> {
    let mounts = opened
        .mounts
        .iter()
        .map(|m| Mount {
            at: PathBuf::from(&m.at),
            kind: match &m.kind {
                PlanMountKind::Mediated => Kind::Fuse,
                PlanMountKind::ReadOnly { source } => Kind::ReadOnly { source: source.clone() },
                PlanMountKind::Staged { lower, upper, work, masked } => Kind::Overlay {
                    lower: lower.clone(),
                    upper: upper.clone(),
                    work: work.clone(),
                    masked: masked.clone(),
                },
            },
        })
        .collect();
    let caches = opened
        .caches
        .iter()
        .map(|c| Cache {
            at: Path::new(HOME).join(&c.at),
            lower: c.lower.clone(),
            upper: c.upper.clone(),
            work: c.work.clone(),
        })
        .collect();
    let mut path =
        OsString::from("/run/chaperone/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    for folder in installed.iter().filter(|p| p.is_dir()) {
        path.push(":");
        path.push(folder.join("bin"));
    }
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), path),
        ("HOME".into(), HOME.into()),
        ("USER".into(), "agent".into()),
        ("LOGNAME".into(), "agent".into()),
        ("SHELL".into(), "/bin/bash".into()),
        ("TMPDIR".into(), "/tmp".into()),
        // The usual place is a decoy, which a shell's own start must not touch.
        ("HISTFILE".into(), "/tmp/.shell_history".into()),
        ("CHAPERONE_SESSION".into(), opened.session.clone().into()),
    ];
    environment.extend(opened.environment.iter().map(|(k, v)| (k.into(), v.into())));
    if opened.authority.is_some() {
        // Of two variables of one name a program takes the first.
        let trust = trust::environment();
        environment.retain(|(name, _)| !trust.iter().any(|(n, _)| n == name));
        environment.extend(trust);
    }
    Ok(Plan {
        session: opened.session.clone(),
        command: command(&args.command)?,
        environment,
        workdir: PathBuf::from(&opened.workdir),
        mounts,
        read_only: installed,
        caches,
        decoys: default_decoys().map_err(Report::new)?,
        limits: Limits {
            memory: opened.memory,
            processes: opened.processes,
            cpu_percent: opened.cpu_percent,
            seconds: opened.seconds,
        },
        network: Network::Captured { loopback: opened.loopback.clone() },
        authority: opened.authority.clone(),
        terminal,
        debug: opened.debug,
        self_exe: std::env::current_exe().map_err(Report::of)?,
    })
}

/// The command as the cell sees it: a program named by a path is named by its real one.
fn command(command: &[OsString]) -> Result<Vec<OsString>, Report> {
    let mut words = command.to_vec();
    if let Some(first) = words.first_mut()
        && let Some(found) = find(first)
        && !found.starts_with("/usr")
    {
        *first = found.canonicalize().map_err(Report::of)?.into();
    }
    Ok(words)
}

/// What must be shown read-only so that the program can run: nothing for one of the system's, the package's folder
/// for one that a package manager put below the home, else the file itself.
fn installation(program: &OsStr) -> Vec<PathBuf> {
    let Some(real) = find(program).and_then(|p| p.canonicalize().ok()) else { return Vec::new() };
    if ["/usr", "/bin", "/sbin", "/lib", "/opt"].iter().any(|s| real.starts_with(s)) {
        return Vec::new();
    }
    // A package of npm's needs those that it depends on: everything in the outermost `node_modules`.
    if let Some(modules) = real.ancestors().filter(|f| f.ends_with("node_modules")).last() {
        return vec![modules.to_owned()];
    }
    // pipx, pyenv, cargo: the nearest folder that is an installation by itself.
    let whole = real.ancestors().skip(1).find(|folder| {
        let marks = ["pyvenv.cfg", "package.json"];
        marks.iter().any(|m| folder.join(m).exists())
            || (folder.join("bin").is_dir() && folder.join("lib").is_dir())
    });
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    match whole {
        Some(folder) if folder != home && folder != Path::new("/") => vec![folder.to_owned()],
        _ => vec![real],
    }
}

/// The program that a name or path stands for, outside.
fn find(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok().filter(|p| p.is_file());
    }
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).map(|d| d.join(path)).find(|p| p.is_file())
}

fn watch(session: &str, routine: bool) -> Result<Broker, Report> {
    let watcher = Broker::reach()?;
    watcher.send(&Request::Watch { session: Some(session.to_owned()), routine }, &[])?;
    watcher.next()?;
    Ok(watcher)
}

/// The agent has a terminal of its own; asks take the screen and give it back.
fn on_screen(mut cell: Launched, watcher: &Broker, tell: bool) -> Result<Exit, Report> {
    let Some(master) = cell.pty.take() else { return Err(Report::new("the cell has no terminal")) };
    let raw = Raw::take().map_err(Report::of)?;
    let mut filter = Filter::default();
    loop {
        match relay(&raw, &master, &mut filter, &[watcher.stream().as_fd()]) {
            Ok(Stopped::Closed) => break,
            Ok(Stopped::Caller(_)) => match watcher.next()? {
                Some((Reply::Event(event), _)) => {
                    if show::text(&event, "kind") == "asked" {
                        put_aside(&raw, &event["ask"])?;
                        redraw(&raw, &master)?;
                    } else if (tell || matches!(show::text(&event, "kind"), "alert" | "suspended"))
                        && let Some(line) = show::event(&event)
                    {
                        eprint!("\r\nchaperone: {line}\r\n");
                    }
                }
                _ => break,
            },
            Err(e) => {
                cell.kill();
                return Err(Report::of(e));
            }
        }
    }
    drop(raw);
    cell.over().map_err(Report::of)
}

/// Ask on a screen of its own, and bring the agent's back.
fn put_aside(raw: &Raw, ask: &Value) -> Result<(), Report> {
    raw.leave().map_err(Report::of)?;
    print!("\x1b[?1049h\x1b[2J\x1b[H");
    let choice = prompt::put(ask, &mut BufReader::new(std::io::stdin()), &mut std::io::stdout());
    print!("\x1b[?1049l");
    std::io::Write::flush(&mut std::io::stdout()).map_err(Report::of)?;
    raw.enter().map_err(Report::of)?;
    answer(ask, choice.map_err(Report::of)?);
    Ok(())
}

fn redraw(raw: &Raw, master: &std::os::fd::OwnedFd) -> Result<(), Report> {
    let (rows, columns) = raw.size().map_err(Report::of)?;
    // A change of size makes full-screen programs paint themselves anew.
    chaperone_sys::set_window_size(master.as_fd(), rows, columns.saturating_sub(1)).map_err(Report::of)?;
    chaperone_sys::set_window_size(master.as_fd(), rows, columns).map_err(Report::of)
}

fn answer(ask: &Value, choice: Choice) {
    let id = show::text(ask, "id").to_owned();
    let request = match choice {
        Choice::Once => Request::Approve { id, scope: Scope::Once, redact: false, pin: None },
        Choice::Session => Request::Approve { id, scope: Scope::Session, redact: false, pin: None },
        Choice::Redact => Request::Approve { id, scope: Scope::Session, redact: true, pin: None },
        Choice::Deny => Request::Deny { id, why: None },
    };
    if let Err(e) = Broker::reach().and_then(|b| b.ask(&request)) {
        eprintln!("{e}");
    }
}

/// No terminal: events are told on standard error when wanted; asks are answered elsewhere or time out.
fn without_screen(cell: Launched, watcher: Broker, tell: bool) -> Result<Exit, Report> {
    let teller = std::thread::spawn(move || {
        while let Ok(Some((Reply::Event(event), _))) = watcher.next() {
            let kind = show::text(&event, "kind");
            if kind == "ended" {
                break;
            }
            if (tell || matches!(kind, "asked" | "alert" | "suspended"))
                && let Some(line) = show::event(&event)
            {
                eprintln!("chaperone: {line}");
            }
        }
    });
    let exit = cell.over().map_err(Report::of);
    drop(teller);
    exit
}

/// What happened, for a person.
fn summary(session: &str, report: &Value, tell: bool) {
    let empty = Vec::new();
    let committed = report["committed"].as_array().unwrap_or(&empty);
    let staged = report["staged"].as_array().unwrap_or(&empty);
    for change in committed {
        if tell || show::text(change, "state") != "committed" {
            let reasons = show::joined(change, "reasons", ", ");
            let why = if reasons.is_empty() { String::new() } else { format!(" ({reasons})") };
            eprintln!("chaperone: {} {}{why}", show::text(change, "state"), show::text(change, "path"));
        }
    }
    if !staged.is_empty() {
        eprintln!(
            "chaperone: {} wait{}: chaperone changes {session} · commit {session} · discard {session}",
            if staged.len() == 1 {
                "1 staged change".to_owned()
            } else {
                format!("{} staged changes", staged.len())
            },
            if staged.len() == 1 { "s" } else { "" },
        );
    }
}

/// `chaperone mcp` outside a cell: a session for an MCP client that runs on the host, without a cell around it.
pub fn outside_agent(args: &Mcp, carry: fn(UnixStream) -> Result<(), Report>) -> Result<u8, Report> {
    let broker = Broker::reach()?;
    let asked = OpenSession {
        profile: args.profile.clone(),
        workspace: workspace(args.workspace.as_deref())?,
        name: Some(args.name.clone().unwrap_or_else(|| "mcp-client".into())),
        command: vec!["mcp".into()],
        backend: None,
        interactive: false,
        in_cell: false,
        ask: mode(args.ask),
        ask_timeout_s: timeout(&args.ask_timeout)?,
        allow_hosts: Vec::new(),
        allow_services: Vec::new(),
        publish: Vec::new(),
        environment: BTreeMap::new(),
    };
    let opened: Opened =
        serde_json::from_value(broker.ask(&Request::OpenSession(Box::new(asked)))?).map_err(Report::of)?;
    broker.ask(&Request::AttachOutside { session: opened.session.clone() })?;
    let talk = Broker::reach()?;
    talk.send(&Request::Mcp { session: opened.session.clone() }, &[])?;
    carry(talk.into_stream())?;
    let report =
        broker.ask(&Request::Ended { session: opened.session.clone(), cause: "exit".into(), code: 0 })?;
    summary(&opened.session, &report, false);
    Ok(0)
}

fn workspace(named: Option<&Path>) -> Result<PathBuf, Report> {
    match named {
        Some(path) => std::path::absolute(path).map_err(Report::of),
        None => std::env::current_dir().map_err(|e| Report::new(format!("the current folder: {e}"))),
    }
}

fn mode(ask: Ask) -> AskMode {
    match ask {
        Ask::Wait => AskMode::Wait,
        Ask::Deny => AskMode::Deny,
        Ask::Redact => AskMode::Redact,
    }
}

fn timeout(text: &str) -> Result<u64, Report> {
    profile::seconds(text)
        .filter(|s| *s > 0)
        .ok_or_else(|| Report::new(format!("--ask-timeout {text}: write it like 50s or 5m")).exit(2))
}

/// What the broker may pick from; only names, and values that are text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

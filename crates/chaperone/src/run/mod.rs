//! `run`: open a session, launch its cell, hand it over, and stay until it ends.

mod filter;
mod git;
mod keyboard;
mod likely;
mod link;
mod mixed;
mod modes;
pub mod options;
mod plan;
mod prompt;
mod queries;
pub mod question;
pub mod screen;
mod signals;
mod status_file;
mod terminal;

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use chaperone_cell::{BrokerEnds, Exit, Launched, NetworkEnds, Plan, SetupError, Terminal, backend_by_name};
use chaperone_protocol::{OpenSession, Opened, Request, name_as_text};
use serde_json::json;

use crate::cli::Run;
use crate::connect::Broker;
use crate::out::note;
use crate::report::Report;
use crate::untrusted::{self, Untrusted};
use mixed::StoodFor;
use options::{environment, mode, timeout, umask, workspace};
pub use plan::find as program;
use plan::{fall_back, find, plan, required};
use screen::{on_screen, print_events, summary, watch};
use signals::Signals;

/// Chaperone itself failed, or refused the session; 126, a program that cannot be executed, is the cell's.
const SETUP: u8 = 125;
/// No such command.
const NOT_FOUND: u8 = 127;

pub fn run(args: &Run) -> Result<u8, Report> {
    let ended = launch_and_wait(args).map_err(|r| if r.exit == 1 { r.exit(SETUP) } else { r });
    if let Some(file) = &args.status_file {
        let status = match &ended {
            Ok((session, exit)) => {
                json!({ "session": session, "cause": exit.cause, "code": exit.code, "reason": exit.reason, "rule": null })
            }
            Err(report) => {
                json!({ "session": null, "cause": "setup", "code": report.exit, "reason": report.message, "rule": report.code })
            }
        };
        status_file::write(file, &(untrusted::json(&status.to_string()) + "\n"))
            .map_err(|e| Report::new(format!("{}: {e}", file.display())).exit(SETUP))?;
    }
    let (session, exit) = ended?;
    if matches!(exit.cause.as_str(), "setup" | "time" | "memory" | "processes" | "broker")
        && !exit.reason.is_empty()
    {
        note!("chaperone: session {session}: {}", Untrusted::new(&exit.reason));
    }
    if exit.cause == "not_found" {
        return Err(Report::new(exit.reason).exit(NOT_FOUND));
    }
    Ok(u8::try_from(exit.code).unwrap_or(1))
}

/// Told when a start takes a while.
const LOOKING: &str = "looking through the directory before the start; the next one is faster";

fn launch_and_wait(args: &Run) -> Result<(String, Exit), Report> {
    let workspace = workspace(args.workspace.as_deref())?;
    let git = git::ask(&workspace);
    let broker = Broker::reach()?.saying(LOOKING);
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let program = args.command.first().cloned().unwrap_or_default();
    let asked = OpenSession {
        profile: args.profile.clone(),
        workspace,
        name: args.name.clone(),
        command: args.command.iter().map(|c| name_as_text(c.as_bytes()).into_owned()).collect(),
        program: find(&program),
        backend: args.backend.clone(),
        interactive: on_terminal,
        in_cell: true,
        ask: mode(args.ask),
        ask_timeout_s: timeout(&args.ask_timeout)?,
        umask: umask(),
        allow_hosts: args.allow_host.clone(),
        allow_services: args.allow_service.clone(),
        publish: args.publish.clone(),
        environment: environment(),
    };
    let answer = broker.ask(&Request::OpenSession(Box::new(asked)))?;
    let opened: Opened = serde_json::from_value(answer).map_err(Report::of)?;
    for notice in &opened.notices {
        note!("chaperone: {}", Untrusted::new(notice));
    }
    if args.workspace.is_none() {
        say_what_is_around()?;
    }
    let terminal = match (on_terminal, chaperone_sys::window_size(std::io::stdin().as_fd())) {
        (true, Ok((rows, columns))) => Terminal::Pty { rows, columns },
        _ => Terminal::Inherit,
    };
    if args.verbose {
        for shown in &opened.visible {
            note!(
                "chaperone: shown read-only: {} ({})",
                Untrusted::new(&name_as_text(shown.path.as_os_str().as_bytes())),
                Untrusted::new(&shown.why)
            );
        }
    }
    let plan = plan(&opened, args, (terminal, git))?;
    let mut stood = match terminal {
        Terminal::Pty { .. } => StoodFor::default(),
        Terminal::Inherit => StoodFor::output_and_error().map_err(|e| Report::of(e).exit(SETUP))?,
    };
    let signals = Signals::hold().map_err(|e| Report::of(e).exit(SETUP))?;
    let (cell, ends) = launch_or_fall_back(plan, &opened, !args.publish.is_empty()).map_err(|e| {
        broker.ask(&Request::Abandon { session: opened.session.clone(), reason: e.what.clone() }).ok();
        let report = Report::new(e.what).exit(SETUP);
        match e.fix {
            Some(fix) => report.advise(format!("To fix this: {fix}")),
            None => report,
        }
    })?;
    let begun = required(&opened, &cell)
        .and_then(|()| watch(&opened.session, args.verbose))
        .and_then(|watcher| hand_over(&broker, &opened, &cell, ends).map(|()| watcher))
        .and_then(|watcher| signals.pass_on(&cell).map_err(Report::of).map(|()| watcher));
    let watcher = match begun {
        Ok(watcher) => watcher,
        Err(report) => {
            cell.kill();
            cell.wait().map_err(Report::of)?;
            return Err(report.exit(SETUP));
        }
    };
    stood.carry().map_err(Report::of)?;
    let (exit, printer) = match (&terminal, &cell.pty) {
        (Terminal::Pty { .. }, Some(_)) => {
            let exit = on_screen(cell, &watcher, args.verbose)?;
            (exit, print_events(watcher, args.verbose))
        }
        _ => {
            let printer = print_events(watcher, args.verbose);
            (cell.over().map_err(Report::of)?, printer)
        }
    };
    drop(stood);
    let ended =
        Request::Ended { session: opened.session.clone(), cause: exit.cause.clone(), code: exit.code };
    let report = broker.ask(&ended);
    printer.finish();
    if let Some(signal) = signals.heard() {
        note!("chaperone: session {} was ended by {signal}", opened.session);
    }
    match report {
        Ok(report) => summary(&opened.session, &report, args.verbose),
        Err(e) => note!("{e}"),
    }
    if matches!(terminal, Terminal::Pty { .. }) {
        // Until here the screen was the agent's, whatever it showed.
        note!("chaperone: session {} has ended", opened.session);
    }
    Ok((opened.session, exit))
}

/// The user's directory may be a part of a repository, which its programs would look for.
fn say_what_is_around() -> Result<(), Report> {
    let here = std::env::current_dir().map_err(Report::of)?;
    let Some(repository) = git::enclosing(&here) else { return Ok(()) };
    let repository = name_as_text(repository.as_os_str().as_bytes());
    let repository = Untrusted::new(&repository);
    note!(
        "chaperone: this directory is a part of the repository {repository}, which is not in the cell; with --workspace {repository} it is"
    );
    Ok(())
}

/// Where the network cannot be captured, the cell is launched with a proxy instead.
fn launch_or_fall_back(
    mut plan: Plan,
    opened: &Opened,
    publishes: bool,
) -> Result<(Launched, BrokerEnds), SetupError> {
    let unknown = || SetupError {
        what: format!("this command does not have the backend {:?} that its broker chose", opened.backend),
        fix: None,
    };
    let backend = backend_by_name(&opened.backend).ok_or_else(unknown)?;
    if publishes && !backend.publishes() {
        return Err(SetupError {
            what: format!("a server of the agent's cannot be published with the backend {}", backend.name()),
            fix: Some(format!("use --backend {}", chaperone_cell::DEFAULT.name())),
        });
    }
    let first = match backend.launch(&plan) {
        Ok(launched) => return Ok(launched),
        Err(e) => e,
    };
    let Err(why) = backend.can_capture() else { return Err(first) };
    let notice = fall_back(&mut plan, opened, &why);
    let launched = backend.launch(&plan)?;
    note!("chaperone: {notice}");
    Ok(launched)
}

fn hand_over(broker: &Broker, opened: &Opened, cell: &Launched, ends: BrokerEnds) -> Result<(), Report> {
    let mut fds: Vec<BorrowedFd<'_>> = vec![ends.control.as_fd(), ends.channel.as_fd()];
    fds.extend(ends.fuse.iter().map(|(_, fd)| fd.as_fd()));
    fds.extend(ends.network.iter().flat_map(NetworkEnds::fds).map(AsFd::as_fd));
    let attach = Request::Attach {
        session: opened.session.clone(),
        init_pid: u32::try_from(cell.init_pid).map_err(Report::of)?,
        network: ends.network.as_ref().map(NetworkEnds::kind),
        enforced: cell.enforced.clone(),
    };
    broker.ask_with(&attach, &fds).map(|_| ())
}

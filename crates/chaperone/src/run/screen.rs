//! The terminal while the agent runs: the agent's own screen, questions in front of it, and what is said at the end.

use std::io::BufReader;
use std::os::fd::AsFd;

use chaperone_cell::{Exit, Launched};
use chaperone_protocol::{Happened, Reply, Request, Scope};
use serde_json::{Value, json};

use super::prompt::{self, Choice};
use super::terminal::{Filter, Raw, Stopped, relay};
use crate::connect::Broker;
use crate::report::Report;
use crate::show;

/// The agent has a terminal of its own; asks take the screen and give it back.
pub fn on_screen(mut cell: Launched, watcher: &Broker, verbose: bool) -> Result<Exit, Report> {
    let Some(master) = cell.pty.take() else { return Err(Report::new("the cell has no terminal")) };
    let raw = Raw::take().map_err(Report::of)?;
    let mut filter = Filter::default();
    loop {
        match relay(&raw, &master, &mut filter, &[watcher.stream().as_fd()]) {
            Ok(Stopped::Closed) => break,
            Ok(Stopped::Caller(_)) => match watcher.next()? {
                Some((Reply::Event(event), _)) => {
                    let urgent = matches!(
                        event.what,
                        Happened::Alert { .. } | Happened::Suspended { .. } | Happened::Notice { .. }
                    );
                    if let Happened::Asked { ask, .. } = &event.what {
                        put_aside(&raw, &json!(ask))?;
                        redraw(&raw, &master)?;
                    } else if (verbose || urgent)
                        && let Some(line) = show::event(&json!(event))
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

/// No terminal: events are printed to stderr when wanted; asks are answered elsewhere or time out.
pub fn without_screen(cell: Launched, watcher: Broker, verbose: bool) -> Result<Exit, Report> {
    let printer = std::thread::spawn(move || {
        while let Ok(Some((Reply::Event(event), _))) = watcher.next() {
            let urgent = match &event.what {
                Happened::Ended { .. } => break,
                Happened::Asked { .. }
                | Happened::Alert { .. }
                | Happened::Suspended { .. }
                | Happened::Notice { .. } => true,
                _ => false,
            };
            if (verbose || urgent)
                && let Some(line) = show::event(&json!(event))
            {
                eprintln!("chaperone: {line}");
            }
        }
    });
    let exit = cell.over().map_err(Report::of);
    drop(printer);
    exit
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
    let id = show::text(ask, "id").raw().to_owned();
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

pub fn watch(session: &str, routine: bool) -> Result<Broker, Report> {
    let watcher = Broker::reach()?;
    watcher.send(&Request::Watch { session: Some(session.to_owned()), routine }, &[])?;
    watcher.next()?;
    Ok(watcher)
}

/// What happened, for the user.
pub fn summary(session: &str, report: &Value, verbose: bool) {
    for line in summary_lines(session, report, verbose) {
        eprintln!("chaperone: {line}");
    }
}

fn summary_lines(session: &str, report: &Value, verbose: bool) -> Vec<String> {
    let all = |field: &str| report[field].as_array().map_or(&[][..], Vec::as_slice);
    let shown = all("committed").iter().filter(|c| verbose || show::text(c, "state") != "committed");
    let mut lines: Vec<String> = shown
        .map(|change| {
            let reasons = show::joined(change, "reasons", ", ");
            let why = if reasons.is_empty() { String::new() } else { format!(" ({reasons})") };
            format!("{} {}{why}", show::text(change, "state"), show::text(change, "path"))
        })
        .collect();
    let next = format!("chaperone changes {session} · commit {session} · discard {session}");
    match all("staged").len() {
        0 => {}
        1 => lines.push(format!("1 staged change pending: {next}")),
        n => lines.push(format!("{n} staged changes pending: {next}")),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn a_hostile_name_forges_no_line_at_the_end_of_a_run() {
        for name in HOSTILE {
            let change = json!({ "state": "refused", "path": name, "reasons": [name] });
            let lines = summary_lines("3f2a", &json!({ "committed": [change], "staged": [change] }), true);
            assert_eq!(lines.len(), 2);
            lines.iter().for_each(|line| assert_plain(line, 1));
        }
    }
}

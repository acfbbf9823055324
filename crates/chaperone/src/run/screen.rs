//! The terminal while the agent runs: the agent's own screen, questions in front of it, and what is said at the end.

use std::collections::{HashSet, VecDeque};
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use chaperone_cell::{Exit, Launched, Stops};
use chaperone_protocol::{Event, Happened, Reply, Request, Scope, counted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::filter::Filter;
use super::prompt::{Answering, Choice};
use super::question;
use super::terminal::{Raw, Stopped, relay, write_all};
use crate::connect::Broker;
use crate::out::note;
use crate::report::Report;
use crate::show;

/// The size of a terminal that does not say it.
const USUAL: (u16, u16) = (24, 80);
/// How often a question is looked at while nobody types.
const TICK: Duration = Duration::from_millis(200);
/// How long the terminal's last answers are waited for, which the shell would take for keys. The last thing that it is asked is what
/// every terminal answers, so that only a slow line takes as long.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// What the launcher carries between the user's terminal and the cell's own.
struct Screen<'a> {
    raw: Raw,
    master: OwnedFd,
    watcher: &'a Broker,
    filter: Filter,
    /// Keys that the cell is still to get.
    typed: Vec<u8>,
    /// Events that came while a question stood on the screen.
    later: VecDeque<Event>,
    /// Questions that stood on the screen.
    put: HashSet<String>,
    verbose: bool,
    /// Tells when the agent has stopped as a job does.
    stops: Option<Stops>,
}

/// The agent has a terminal of its own; asks take the screen and give it back.
pub fn on_screen(mut cell: Launched, watcher: &Broker, verbose: bool) -> Result<Exit, Report> {
    let Some(master) = cell.pty.take() else { return Err(Report::new("the cell has no terminal")) };
    let raw = Raw::take().map_err(Report::of)?;
    let mut screen = Screen {
        raw,
        master,
        watcher,
        filter: Filter::with_answers(),
        typed: Vec::new(),
        later: VecDeque::new(),
        put: HashSet::new(),
        verbose,
        stops: cell.stops.take(),
    };
    let carried = screen.carry();
    let reset = screen.leave();
    drop(screen);
    if carried.is_err() {
        cell.kill();
    }
    carried?;
    reset?;
    cell.over().map_err(Report::of)
}

impl Screen<'_> {
    /// Until the cell closes its terminal or the broker hangs up.
    fn carry(&mut self) -> Result<(), Report> {
        loop {
            while let Some(event) = self.later.pop_front() {
                self.tell(&event)?;
            }
            let mut others = vec![self.watcher.stream().as_fd()];
            others.extend(self.stops.as_ref().map(AsFd::as_fd));
            match relay(&self.raw, &self.master, &mut self.filter, &mut self.typed, &others)
                .map_err(Report::of)?
            {
                Stopped::Closed => return Ok(()),
                Stopped::Caller(0) => match self.watcher.next()? {
                    Some((Reply::Event(event), _)) => self.later.push_back(event),
                    _ => return Ok(()),
                },
                Stopped::Caller(_) => {
                    match self.stops.as_ref().map(Stops::heard).transpose().map_err(Report::of)?.flatten() {
                        Some(true) => self.stop()?,
                        Some(false) => {}
                        None => self.stops = None,
                    }
                }
            }
        }
    }

    /// Stop as the agent has, so that the user's shell has the terminal, until it lets this job go on.
    fn stop(&mut self) -> Result<(), Report> {
        self.leave()?;
        self.raw.give_back().map_err(Report::of)?;
        // Without a shell that would let it go on, the kernel does not stop this.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP).map_err(Report::of)?;
        self.raw.take_again().map_err(Report::of)?;
        write_all(rustix::stdio::stdout(), &self.filter.modes().after_stop()).map_err(Report::of)?;
        self.redraw()?;
        if let Some(stops) = &self.stops {
            // A cell that is gone is seen by its terminal.
            stops.resume().ok();
        }
        Ok(())
    }

    /// Whatever the agent switched in the user's terminal ends, and whatever it asked of it is answered to nobody else.
    fn leave(&mut self) -> Result<(), Report> {
        let mut end = self.filter.modes().at_end();
        if !self.filter.ended_a_line() {
            // What is said next stands at the margin.
            end.extend_from_slice(b"\r\n");
        }
        let reports = self.filter.modes().reports();
        let Some(queries) = self.filter.queries() else { return Ok(()) };
        let waits = queries.wait() || reports;
        if waits {
            end.extend_from_slice(queries.last());
        }
        write_all(rustix::stdio::stdout(), &end).map_err(Report::of)?;
        let until = Instant::now() + LAST_ANSWERS;
        let mut buffer = [0u8; 4096];
        while waits && queries.wait() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.raw.wait(left).map_err(Report::of)? {
                break;
            }
            let n = self.raw.read(&mut buffer).map_err(Report::of)?;
            if n == 0 {
                break;
            }
            queries.sort(buffer.get(..n).unwrap_or_default());
        }
        Ok(())
    }

    fn tell(&mut self, event: &Event) -> Result<(), Report> {
        let urgent = matches!(
            event.what,
            Happened::Alert { .. } | Happened::Suspended { .. } | Happened::Notice { .. }
        );
        if let Happened::Asked { ask, .. } = &event.what {
            let answered = |e: &Event| matches!(&e.what, Happened::Answered { id, .. } if *id == ask.id);
            if self.put.insert(ask.id.clone()) && !self.later.iter().any(answered) {
                self.put(&json!(ask), ask.expires)?;
            }
        } else if (self.verbose || urgent)
            && let Some(line) = show::event(&json!(event))
        {
            self.line(&line);
        }
        Ok(())
    }

    /// A line of ours on the agent's screen.
    fn line(&self, line: &str) {
        let line = format!("chaperone: {line}");
        if std::io::stderr().is_terminal() {
            // Where nobody reads it any more, nobody misses it.
            std::io::stderr().write_all(&self.filter.modes().line(&line)).ok();
        } else {
            note!("{line}");
        }
    }

    /// Ask on a screen of its own, and bring the agent's back.
    fn put(&mut self, ask: &Value, expires: i64) -> Result<(), Report> {
        let mut answering = Answering::new(ask, Instant::now());
        let out = |bytes: &[u8]| write_all(rustix::stdio::stdout(), bytes).map_err(Report::of);
        out(&self.filter.modes().before_ask())?;
        let size = self.raw.size().ok().filter(|(rows, columns)| *rows > 0 && *columns > 0).unwrap_or(USUAL);
        out(question::screen(ask, size).replace('\n', "\r\n").as_bytes())?;
        out(b"\r\n")?;
        let choice = self.hear(&mut answering, show::text(ask, "id").raw(), expires);
        self.typed.extend(answering.into_kept());
        out(&self.filter.modes().after_ask())?;
        self.redraw()?;
        if let Some(choice) = choice?
            && let Err(e) = Broker::reach().and_then(|b| b.ask(&request(ask, choice)))
        {
            self.line(&e.to_string());
        }
        Ok(())
    }

    /// The user's answer; none when it was given elsewhere, or the request is gone.
    fn hear(&mut self, answering: &mut Answering, id: &str, expires: i64) -> Result<Option<Choice>, Report> {
        let mut buffer = [0u8; 4096];
        loop {
            let now = Instant::now();
            let opens = answering.opens_in(now);
            let wait = opens.map_or(TICK, |in_| in_.min(TICK));
            let tick =
                Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: i64::from(wait.subsec_nanos()) };
            let mut polled = [
                PollFd::from_borrowed_fd(self.raw.keys(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.watcher.stream().as_fd(), PollFlags::IN),
                // Only its end: what the agent draws waits.
                PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::empty()),
            ];
            match poll(&mut polled, Some(&tick)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Report::of(e)),
            }
            let [keys, events, cell] = polled.map(|p| !p.revents().is_empty());
            if keys {
                let n = self.raw.read(&mut buffer).map_err(Report::of)?;
                if n == 0 {
                    return Ok(Some(Choice::Deny));
                }
                let mut keys = buffer.get(..n).unwrap_or_default().to_vec();
                if let Some(queries) = self.filter.queries() {
                    // What the agent asked before is answered to the agent.
                    let sent = queries.sort(&keys);
                    self.typed.extend_from_slice(&sent.answers);
                    keys = sent.keys;
                }
                let mut echo = Vec::new();
                let choice = answering.keys(&keys, Instant::now(), &mut echo);
                write_all(rustix::stdio::stdout(), &echo).map_err(Report::of)?;
                if choice.is_some() {
                    return Ok(choice);
                }
            } else if opens.is_some() && answering.opens_in(Instant::now()) == Some(Duration::ZERO) {
                write_all(rustix::stdio::stdout(), answering.open().as_bytes()).map_err(Report::of)?;
            }
            if cell || is_past(expires) {
                return Ok(None);
            }
            if events {
                match self.watcher.next()? {
                    Some((Reply::Event(event), _)) => {
                        let gone =
                            matches!(&event.what, Happened::Answered { id: answered, .. } if answered == id);
                        self.later.push_back(event);
                        if gone {
                            return Ok(None);
                        }
                    }
                    _ => return Ok(None),
                }
            }
        }
    }

    fn redraw(&self) -> Result<(), Report> {
        let (rows, columns) = self.raw.size().map_err(Report::of)?;
        let resize = |columns| chaperone_sys::set_window_size(self.master.as_fd(), rows, columns);
        // A change of size makes full-screen programs paint themselves anew.
        resize(columns.saturating_sub(1)).and_then(|()| resize(columns)).map_err(Report::of)
    }
}

/// Prints what happens in a session to stderr, when wanted, until the session has ended.
pub struct Printer(Receiver<()>);

/// How long the last events are waited for at most: nobody hangs on a broker that has died.
const LAST_EVENTS: Duration = Duration::from_secs(2);

impl Printer {
    /// Returns once the end of the session was heard of, which the broker tells after everything else.
    pub fn finish(self) {
        // It is gone when it has printed the last.
        if self.0.recv_timeout(LAST_EVENTS) == Err(RecvTimeoutError::Timeout) {
            tell(
                "the broker did not tell the end of this session; `chaperone audit query` has what is missing here",
            );
        }
    }
}

/// Without a terminal asks are answered elsewhere or time out.
pub fn print_events(watcher: Broker, verbose: bool) -> Printer {
    let (done, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _done: Sender<()> = done;
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
                tell(&line);
            }
            if let (Happened::Asked { id, .. }, false) = (&event.what, verbose) {
                tell(&format!("answer it: chaperone approve {id} · chaperone deny {id}"));
            }
        }
    });
    Printer(receiver)
}

/// Whether a moment, in seconds since 1970, is over.
fn is_past(expires: i64) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX) > expires
}

fn request(ask: &Value, choice: Choice) -> Request {
    let id = show::text(ask, "id").raw().to_owned();
    match choice {
        Choice::Once => Request::Approve { id, scope: Scope::Once, redact: false, pin: None },
        Choice::Session => Request::Approve { id, scope: Scope::Session, redact: false, pin: None },
        Choice::Redact => Request::Approve { id, scope: Scope::Session, redact: true, pin: None },
        Choice::Deny => Request::Deny { id, why: None },
    }
}

/// Hear of what happens in a session. From before its agent runs: one may be over before anything else is done.
pub fn watch(session: &str, routine: bool) -> Result<Broker, Report> {
    let watcher = Broker::once_more()?;
    watcher.send(&Request::Watch { session: Some(session.to_owned()), routine }, &[])?;
    watcher.next()?;
    Ok(watcher)
}

/// What happened, for the user.
pub fn summary(session: &str, report: &Value, verbose: bool) {
    for line in summary_lines(session, report, verbose) {
        tell(&line);
    }
}

/// A line on stderr in one piece: the agent writes to the same terminal.
fn tell(line: &str) {
    // Nobody is left to hear it when that fails.
    std::io::stderr().write_all(format!("chaperone: {line}\n").as_bytes()).ok();
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
    let left =
        report["totals"]["committed"].as_u64().unwrap_or(0).saturating_sub(all("committed").len() as u64);
    if left > 0 && verbose {
        lines.push(format!("and {left} more committed"));
    }
    lines.extend(super::likely::line(report));
    if let Some(n) = report["counters"]["denied"].as_u64().filter(|n| *n > 0 && !verbose) {
        let were = if n == 1 { "was" } else { "were" };
        lines.push(format!("{} {were} refused: chaperone why {session}", counted(n, "request")));
    }
    let next = format!("chaperone changes {session} · commit {session} · discard {session}");
    match report["totals"]["staged"].as_u64().unwrap_or(all("staged").len() as u64) {
        0 => {}
        n => lines.push(format!("{} pending: {next}", counted(n, "staged change"))),
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

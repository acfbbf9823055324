//! The connection to the broker, which is started on demand: one for each user.

use std::cell::Cell;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use chaperone_config::{Dirs, program};
use chaperone_protocol::reply::{Here, Shutdown};
use chaperone_protocol::{Failure, PROTOCOL, Reply, Request, counted, frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use serde_json::Value;

use crate::out::note;
use crate::report::Report;

/// How long nobody is told that something is done.
const PATIENCE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };
/// How often one of another build is asked to leave while others' commands are on their way out, and what is waited between.
const ASKED_TO_LEAVE: u32 = 4;
const BETWEEN: Duration = Duration::from_millis(50);
/// The cell's one way out.
pub const CHANNEL: &str = "/run/chaperone/channel";

/// Whether this process runs in a cell.
#[must_use]
pub fn inside_a_cell() -> bool {
    std::path::Path::new(CHANNEL).exists()
}

/// What a command of the user's says in a cell, before it does anything there.
#[must_use]
pub fn not_in_a_cell() -> Report {
    Report::new("this process runs in a cell, where only `chaperone mcp` and `chaperone why` work")
}

/// A conversation with the broker.
#[derive(Debug)]
pub struct Broker {
    stream: UnixStream,
    /// Told once, when the next answer is long in coming.
    when_slow: Cell<Option<&'static str>>,
    pid: Pid,
    /// Of a build that said nothing of itself yet: none.
    here: Option<Here>,
}

impl Broker {
    /// Connect to the broker; start it when none runs.
    ///
    /// # Errors
    /// In a cell; and when it cannot be started: the broker's own first words say why.
    pub fn reach() -> Result<Self, Report> {
        if inside_a_cell() {
            return Err(not_in_a_cell());
        }
        let dirs = Dirs::from_environment().map_err(Report::of)?;
        dirs.prepare().map_err(Report::of)?;
        if let Some(there) = Self::running(&dirs)?
            && let Some(there) = there.of_this_build()?
        {
            return Ok(there);
        }
        start()?;
        Self::running(&dirs)?
            .ok_or_else(|| Report::new("the broker started but does not respond on its socket"))
    }

    /// One more conversation with the broker that this command talks to already.
    ///
    /// # Errors
    /// When it is gone.
    pub fn once_more() -> Result<Self, Report> {
        // It answered just now, and the next thing that is said to it is answered or not.
        let dirs = Dirs::from_environment().map_err(Report::of)?;
        Self::connected(&dirs)?.ok_or_else(hung_up)
    }

    /// Connect only when a broker runs already.
    ///
    /// # Errors
    /// When the socket is somebody else's.
    pub fn if_running() -> Result<Option<Self>, Report> {
        let dirs = Dirs::from_environment().map_err(Report::of)?;
        Self::running(&dirs)
    }

    fn running(dirs: &Dirs) -> Result<Option<Self>, Report> {
        let Some(mut there) = Self::connected(dirs)? else { return Ok(None) };
        // One that is being killed takes connections until its socket is closed: only an answer counts.
        if there.send(&Request::Ping, &[]).is_ok()
            && let Ok(Some((reply, _))) = there.next()
        {
            if let Reply::Ok(here) = reply {
                there.here = serde_json::from_value(here).ok();
            }
            return Ok(Some(there));
        }
        wait_for_end(there.pid);
        Ok(None)
    }

    /// A connection to who listens there.
    fn connected(dirs: &Dirs) -> Result<Option<Self>, Report> {
        let Ok(stream) = UnixStream::connect(dirs.socket()) else { return Ok(None) };
        let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(Report::of)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(Report::new(format!(
                "the socket {} belongs to another user",
                dirs.socket().display()
            )));
        }
        Ok(Some(Self { stream, when_slow: Cell::new(None), pid: peer.pid, here: None }))
    }

    /// Itself, when it is of this build or has to be gone on with; `None` when it left, so that one of this build can start.
    fn of_this_build(self) -> Result<Option<Self>, Report> {
        let Some(own) = program::build() else { return Ok(Some(self)) };
        let Some(here) = self.here.as_ref().filter(|here| here.build != own) else {
            if self.here.is_none() {
                self.note_once("an older chaperone, which does not say what it understands");
            }
            return Ok(Some(self));
        };
        let mut leaving = self.ask_to_leave()?;
        for _ in 1..ASKED_TO_LEAVE {
            if leaving.leaves || leaving.sessions > 0 {
                break;
            }
            std::thread::sleep(BETWEEN);
            leaving = self.ask_to_leave()?;
        }
        if leaving.leaves {
            wait_for_end(self.pid);
            return Ok(None);
        }
        let busy = match leaving.sessions {
            0 => format!("it answers {}", counted(leaving.others, "other command")),
            running => format!("it runs {}", counted(running, "session")),
        };
        if here.protocol != PROTOCOL {
            let report = Report::new(format!(
                "the broker that runs is of another chaperone ({}), which this one ({}) cannot talk to, and {busy}",
                here.version,
                program::version()
            ));
            return Err(report.advise(format!(
                "let them end, or stop them with that chaperone, or end the broker with all of them: kill {}",
                self.pid.as_raw_nonzero()
            )));
        }
        self.note_once(&format!("another build of chaperone ({}); {busy}", here.version));
        Ok(Some(self))
    }

    fn ask_to_leave(&self) -> Result<Shutdown, Report> {
        serde_json::from_value(self.ask(&Request::Leave)?).map_err(Report::of)
    }

    /// Say with whom this command goes on: once, however many conversations it has.
    fn note_once(&self, whose: &str) {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            note!("chaperone: the broker that runs (pid {}) is of {whose}", self.pid.as_raw_nonzero());
            note!("  this goes on with it; one of this build starts when it has ended");
        });
    }

    /// What the user is told when the answer to the next question takes more than some seconds.
    #[must_use]
    pub fn saying(self, what: &'static str) -> Self {
        self.when_slow.set(Some(what));
        self
    }

    fn say_when_slow(&self) {
        // Somebody who reads the output of a program later was not left waiting.
        let Some(what) = self.when_slow.take().filter(|_| std::io::stderr().is_terminal()) else { return };
        let mut wait = [PollFd::new(&self.stream, PollFlags::IN)];
        if poll(&mut wait, Some(&PATIENCE)) == Ok(0) {
            note!("chaperone: {what}");
        }
    }

    /// Ask and wait for the one answer.
    ///
    /// # Errors
    /// The broker's refusal, or a broken connection.
    pub fn ask(&self, request: &Request) -> Result<Value, Report> {
        self.ask_with(request, &[])
    }

    /// [`Self::ask`], handing over descriptors.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_with(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Value, Report> {
        self.send(request, fds)?;
        self.say_when_slow();
        match self.next()? {
            Some((Reply::Ok(value), _)) => Ok(value),
            Some((Reply::Event(event), _)) => serde_json::to_value(event).map_err(Report::of),
            Some((Reply::Part(_), _)) => Err(Report::new("the broker answered with a list")),
            Some((Reply::Error(failure), _)) => Err(Report::from(failure)),
            None => Err(hung_up()),
        }
    }

    /// Ask for a list, which comes in parts; `each` gets its elements as they come.
    ///
    /// # Errors
    /// As [`Self::ask`]; elements may have come before.
    pub fn ask_list(&self, request: &Request, each: &mut dyn FnMut(Value)) -> Result<(), Report> {
        self.send(request, &[])?;
        self.say_when_slow();
        loop {
            match self.next()? {
                Some((Reply::Part(list), _)) => list.into_iter().for_each(&mut *each),
                Some((Reply::Ok(Value::Array(list)), _)) => {
                    list.into_iter().for_each(each);
                    return Ok(());
                }
                Some((Reply::Error(failure), _)) => return Err(Report::from(failure)),
                Some((Reply::Ok(_) | Reply::Event(_), _)) => {
                    return Err(Report::new("the broker answered with something else than a list"));
                }
                None => return Err(hung_up()),
            }
        }
    }

    /// A whole list.
    ///
    /// # Errors
    /// As [`Self::ask_list`].
    pub fn list(&self, request: &Request) -> Result<Vec<Value>, Report> {
        let mut all = Vec::new();
        self.ask_list(request, &mut |element| all.push(element))?;
        Ok(all)
    }

    /// Send without waiting for the answer.
    ///
    /// # Errors
    /// A broken connection.
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Report> {
        frame::send(&self.stream, request, fds)
            .map_err(|e| Report::new(format!("cannot reach the broker: {e}")))
    }

    /// The next answer; `None` when the broker closed.
    ///
    /// # Errors
    /// A broken connection.
    pub fn next(&self) -> Result<Option<(Reply, Vec<OwnedFd>)>, Report> {
        frame::receive(&self.stream).map_err(|e| Report::new(format!("cannot read the broker's reply: {e}")))
    }

    /// The socket itself, for conversations in another protocol.
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
}

fn hung_up() -> Report {
    Report::new("the broker closed the connection. To check this machine, run: chaperone doctor")
}

/// Wait until a process that does not answer any more is gone, and its lock with it.
fn wait_for_end(pid: Pid) {
    // No such process: it is gone already.
    let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };
    let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    let mut wait = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    // One that hangs still has its lock, which the next one's start will say.
    rustix::event::poll(&mut wait, Some(&limit)).ok();
}

/// Start the broker and wait until it says that it listens.
fn start() -> Result<(), Report> {
    let exe = std::env::current_exe().map_err(Report::of)?;
    let (mut ready, ready_child) = UnixStream::pair().map_err(Report::of)?;
    let child_end: OwnedFd = ready_child.into();
    let mut child = Command::new(exe)
        .arg("__broker")
        .stdin(Stdio::null())
        .stdout(Stdio::from(child_end))
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(|e| Report::new(format!("cannot start the broker: {e}")))?;
    let mut word = String::new();
    ready.read_to_string(&mut word).map_err(Report::of)?;
    if word.trim() == "ready" || word.trim() == "already" {
        return Ok(());
    }
    let status = child.wait().map_err(Report::of)?;
    let why =
        if word.trim().is_empty() { format!("it exited with {status}") } else { word.trim().to_owned() };
    Err(Report::new(format!("the broker failed to start: {why}")))
}

/// Tell the starter that the broker listens (or why not), and let go of its pipe.
///
/// # Errors
/// When the starter is gone.
pub fn tell_starter(word: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(word.as_bytes())?;
    out.flush()?;
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        let mut report = Report::new(failure.message);
        report.code = Some(failure.code);
        report.advice = failure.advice;
        report
    }
}

//! `cell-init`: the cell's PID 1. It finishes the cell, waits for the broker's word, starts the agent without any
//! privilege, reaps, watches the decoys and limits, and ends everything when the broker or the launcher is gone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chaperone_sys::seccomp::Instruction;
use chaperone_sys::{Forked, landlock};
use ed25519_dalek::{Signer, SigningKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::dial::{Dialed, Dials};

use super::limits::{Watch, usage};
use super::network::{self, NetworkEnds};
use super::report::{self, Exit, Prepared, Word};
use super::root::{self, Sources};
use crate::control::{self, InitMessage, InitOrder, report_now, take_order};
use crate::plan::{AGENT_GID, AGENT_UID, HOME, Network, Plan, SetupError, Terminal};

/// How often watched limits are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// How long after a touch of a decoy further ones are counted, and reported together.
const DECOY_PAUSE: Duration = Duration::from_millis(500);
/// Signals that are forwarded to the agent.
const FORWARDED: &[i32] =
    &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGCONT];

struct Cell<'p> {
    plan: &'p Plan,
    filter: Vec<Instruction>,
    control: OwnedFd,
    reports: OwnedFd,
    signals: OwnedFd,
    watches: OwnedFd,
    decoys: HashMap<i32, usize>,
    traps: Vec<(usize, UnixListener)>,
    touched: HashMap<usize, (Instant, u64)>,
    key: SigningKey,
    watch: Watch,
    landlock: u32,
    agent: Option<i32>,
    started: Instant,
    dials: Dials,
}

/// The inside half of [`crate::launch`]; never returns.
pub(crate) fn main(plan: &Plan, prepared: Prepared) -> ! {
    match set_up(plan, prepared) {
        Ok(mut cell) => {
            let exit = cell.run();
            let code = exit.code;
            // Whoever hears that it is over may rely on it. There may be nobody left to kill.
            everybody(rustix::process::Signal::KILL);
            while let Ok(Some(_)) = chaperone_sys::wait_child(-1, true) {}
            cell.report(&InitMessage::Over { cause: exit.cause.clone(), code }, None);
            // A launcher that is gone needs no report.
            report::send(&cell.reports, &Word::Ended(exit), &[]).ok();
            chaperone_sys::exit_now(code);
        }
        Err((error, Some(socket))) => {
            report::send(&socket, &Word::Failed { what: error.what, fix: error.fix }, &[]).ok();
            chaperone_sys::exit_now(125)
        }
        // The launcher went away; there is nobody to tell.
        Err((_, None)) => chaperone_sys::exit_now(125),
    }
}

type Failed = (SetupError, Option<OwnedFd>);

fn set_up(plan: &Plan, prepared: Prepared) -> Result<Cell<'_>, Failed> {
    let Prepared { filter, control, reports, as_root, watch } = prepared;
    let mut word = [0u8; 16];
    let mapped = rustix::net::recv(&reports, &mut word[..], rustix::net::RecvFlags::empty());
    if !matches!(mapped, Ok((n, _)) if n > 0) {
        return Err((SetupError::new("the launcher went away"), None));
    }
    match prepare(plan, as_root, &control, &reports) {
        Ok((built, network, pty, signals, watches, decoys)) => {
            let landlock = landlock::abi();
            let mut fds: Vec<BorrowedFd<'_>> = vec![built.channel.as_fd()];
            fds.extend(built.fuse.iter().map(AsFd::as_fd));
            fds.extend(network.iter().flat_map(NetworkEnds::fds).map(AsFd::as_fd));
            fds.extend(pty.as_ref().map(AsFd::as_fd));
            let way = network.as_ref().map(NetworkEnds::kind);
            if let Err(e) = report::send(&reports, &Word::Ready { landlock, network: way }, &fds) {
                return Err((
                    SetupError::new(format!("hand out the cell's descriptors: {e}")),
                    Some(reports),
                ));
            }
            let mut seed = [0u8; 32];
            if let Err(e) = getrandom::fill(&mut seed) {
                return Err((SetupError::new(format!("no randomness: {e}")), Some(reports)));
            }
            let key = SigningKey::from_bytes(&seed);
            let cell = Cell {
                plan,
                filter,
                control,
                reports,
                signals,
                watches,
                decoys,
                traps: built.traps,
                touched: HashMap::new(),
                key,
                watch,
                landlock,
                agent: None,
                started: Instant::now(),
                dials: Dials::default(),
            };
            cell.report(&InitMessage::Hello { key: hex::encode(cell.key.verifying_key().as_bytes()) }, None);
            Ok(cell)
        }
        Err(error) => Err((error, Some(reports))),
    }
}

type Parts = (root::Built, Option<NetworkEnds>, Option<OwnedFd>, OwnedFd, OwnedFd, HashMap<i32, usize>);

fn prepare(plan: &Plan, as_root: bool, control: &OwnedFd, reports: &OwnedFd) -> Result<Parts, SetupError> {
    let step = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| SetupError::new(format!("{what}: {e}"))
    };
    chaperone_sys::die_with_parent().map_err(step("follow the launcher"))?;
    chaperone_sys::close_all_but_stdio(&[control.as_raw_fd(), reports.as_raw_fd()])
        .map_err(step("close descriptors"))?;
    let sources = Sources::open(plan)?;
    if as_root {
        chaperone_sys::set_ids(AGENT_UID, AGENT_GID, true).map_err(step("take the agent's ids"))?;
        chaperone_sys::set_dumpable(true).map_err(step("own /proc/self"))?;
        chaperone_sys::die_with_parent().map_err(step("follow the launcher"))?;
    }
    let built = root::build(plan, sources)?;
    chaperone_sys::bring_up_loopback().map_err(step("bring up the loopback"))?;
    let network = match &plan.network {
        Network::None => None,
        Network::Captured { loopback } => Some(network::capture(loopback)?),
        Network::Proxied => Some(network::proxy()?),
    };
    chaperone_sys::set_host_name("cell").map_err(step("name the host"))?;
    let pty = match plan.terminal {
        Terminal::Inherit => None,
        Terminal::Pty { rows, columns } => {
            Some(open_pty(rows, columns).map_err(step("open a pseudo-terminal"))?)
        }
    };
    let mut taken = vec![libc::SIGCHLD];
    taken.extend_from_slice(FORWARDED);
    let signals = chaperone_sys::signal_descriptor(&taken).map_err(step("take signals"))?;
    let (watches, decoys) =
        watch_decoys(plan).map_err(|e| SetupError::new(format!("watch the decoys: {e}")))?;
    chaperone_sys::set_dumpable(false).map_err(step("close /proc/1"))?;
    Ok((built, network, pty, signals, watches, decoys))
}

fn open_pty(rows: u16, columns: u16) -> std::io::Result<OwnedFd> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    chaperone_sys::set_window_size(master.as_fd(), rows, columns)?;
    Ok(master)
}

fn watch_decoys(plan: &Plan) -> rustix::io::Result<(OwnedFd, HashMap<i32, usize>)> {
    let descriptor = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let mut watched = HashMap::new();
    let events = inotify::WatchFlags::OPEN
        | inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::DELETE_SELF
        | inotify::WatchFlags::MOVE_SELF
        | inotify::WatchFlags::DONT_FOLLOW;
    for (i, decoy) in plan.decoys.iter().enumerate() {
        match inotify::add_watch(&descriptor, &decoy.path, events) {
            Ok(watch) => drop(watched.insert(watch, i)),
            // A place that the system's own folders occupy.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
            Err(e) => return Err(e),
        }
    }
    Ok((descriptor, watched))
}

impl Cell<'_> {
    fn run(&mut self) -> Exit {
        let ended =
            |cause: &str, code: i32, reason: &str| Exit { cause: cause.into(), code, reason: reason.into() };
        let mut looked = Instant::now();
        loop {
            let mut ready = vec![
                PollFd::new(&self.control, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.watches, PollFlags::IN),
                PollFd::new(&self.reports, PollFlags::empty()),
            ];
            ready.extend(self.traps.iter().map(|(_, trap)| PollFd::new(trap, PollFlags::IN)));
            ready.extend(self.dials.sockets().map(|socket| PollFd::new(socket, PollFlags::OUT)));
            let timeout = self.timeout();
            match poll(&mut ready, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return ended("broker", 137, &format!("poll: {e}")),
            }
            let mut revents = ready.iter().map(PollFd::revents);
            let mut next = || revents.next().unwrap_or(PollFlags::empty());
            let (control, signals, decoys, reports) = (next(), next(), next(), next());
            let trapped = revents.any(|r| r.contains(PollFlags::IN));
            drop(ready);
            if reports.intersects(PollFlags::HUP | PollFlags::ERR) {
                return ended("broker", 137, "the launcher is gone");
            }
            if control.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                match self.order() {
                    Ok(true) => {}
                    Ok(false) => return ended("broker", 137, "the broker is gone"),
                    Err(exit) => return exit,
                }
            }
            if decoys.contains(PollFlags::IN) {
                self.decoys_touched();
            }
            if trapped {
                self.traps_entered();
            }
            for dialed in self.dials.ended() {
                self.report_dialed(dialed);
            }
            if signals.contains(PollFlags::IN)
                && let Some(exit) = self.signalled()
            {
                return exit;
            }
            if looked.elapsed() >= WATCH_EVERY {
                looked = Instant::now();
                if let Some(exit) = self.limits() {
                    return exit;
                }
                self.report_counted();
            }
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let waits = self.watch.memory.is_some()
            || self.watch.processes.is_some()
            || self.watch.seconds.is_some()
            || !self.touched.is_empty()
            || !self.dials.is_empty();
        waits.then_some(Timespec { tv_sec: 0, tv_nsec: 250_000_000 })
    }

    /// One order of the broker: `Ok(false)` when it is gone, or says what cell-init does not understand.
    fn order(&mut self) -> Result<bool, Exit> {
        let order = match take_order(&self.control) {
            Ok(Some(order)) => order,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        };
        match order {
            InitOrder::Challenge(nonce) => {
                let nonce = hex::decode(nonce).unwrap_or_default();
                let mut message = b"chaperone-cnf-v1\0".to_vec();
                message.extend_from_slice(self.plan.session.as_bytes());
                message.push(0);
                message.extend_from_slice(&nonce);
                self.report(&InitMessage::Signature(hex::encode(self.key.sign(&message).to_bytes())), None);
            }
            InitOrder::Go => {
                if self.agent.is_none() {
                    self.start()?;
                }
            }
            InitOrder::Suspend => everybody(rustix::process::Signal::STOP),
            InitOrder::Resume => everybody(rustix::process::Signal::CONT),
            InitOrder::Dial { port, id } => {
                let own = network::own_ports(&self.plan.network).contains(&port);
                let known = if own {
                    Some((id, Err(format!("port {port} is the cell's way out"))))
                } else {
                    self.dials.begin(id, port)
                };
                if let Some(dialed) = known {
                    self.report_dialed(dialed);
                }
            }
            InitOrder::Stop => {
                everybody(rustix::process::Signal::TERM);
                return Err(Exit {
                    cause: "signal".into(),
                    code: 143,
                    reason: "the session was stopped".into(),
                });
            }
        }
        Ok(true)
    }

    /// Fork the agent, wait until it runs its program (or cannot), and hand its seccomp listener to the broker.
    fn start(&mut self) -> Result<(), Exit> {
        let setup = |reason: String| Exit { cause: "setup".into(), code: 125, reason };
        let (failed, failed_inside) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| setup(format!("pipe: {e}")))?;
        self.started = Instant::now();
        match chaperone_sys::fork().map_err(|e| setup(format!("fork: {e}")))? {
            Forked::Parent { child } => self.agent = Some(child),
            Forked::Child => {
                drop(failed);
                let (stage, error) = self.become_agent(&failed_inside);
                let mut out = File::from(failed_inside);
                // The parent reads this, or is gone itself.
                drop(write!(out, "{stage}\n{}\n{error}", error.raw_os_error().unwrap_or(0)));
                chaperone_sys::exit_now(127)
            }
        }
        drop(failed_inside);
        self.let_go_of_stdio();
        let mut said = String::new();
        File::from(failed).read_to_string(&mut said).map_err(|e| setup(format!("the agent's start: {e}")))?;
        if said.is_empty() {
            return Ok(());
        }
        let mut lines = said.lines();
        let (stage, errno) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let why = lines.next().unwrap_or_default();
        let program = self.plan.command.first().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default();
        if stage == "exec" {
            let (cause, code) = if errno == "2" { ("not_found", 127) } else { ("setup", 126) };
            return Err(Exit { cause: cause.into(), code, reason: format!("{program}: {why}") });
        }
        Err(setup(format!("{stage}: {why}")))
    }

    /// In the agent's process: give everything up, step by step, and run its program. Returns only on failure.
    fn become_agent(&self, failed: &OwnedFd) -> (&'static str, std::io::Error) {
        match self.give_everything_up(failed) {
            Ok(()) => ("exec", chaperone_sys::exec(&self.plan.command, &self.plan.environment)),
            Err(failure) => failure,
        }
    }

    fn give_everything_up(&self, failed: &OwnedFd) -> Result<(), (&'static str, std::io::Error)> {
        let at = |stage: &'static str| move |e: std::io::Error| (stage, e);
        rustix::process::setsid().map_err(|e| ("setsid", e.into()))?;
        self.take_terminal().map_err(at("terminal"))?;
        for mount in &self.plan.mounts {
            // The kernel refuses changes in a FUSE root until it was told once to know its owner.
            rustix::fs::stat(&mount.at).map_err(|e| ("look at a mount", e.into()))?;
        }
        rustix::process::chdir(&self.plan.workdir).map_err(|e| ("enter the working folder", e.into()))?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, none)
            .map_err(|e| ("core limit", e.into()))?;
        chaperone_sys::keep_no_privileges().map_err(at("drop privileges"))?;
        self.landlock().map_err(at("landlock"))?;
        let listener = chaperone_sys::seccomp::install(&self.filter, true).map_err(at("seccomp"))?;
        self.report(&InitMessage::Started, listener.as_ref().map(AsFd::as_fd));
        drop(listener);
        chaperone_sys::close_all_but_stdio(&[failed.as_raw_fd()]).map_err(at("close descriptors"))
    }

    /// No terminal of the person reaches the agent: where one stands, it gets the cell's own, or nothing.
    fn take_terminal(&self) -> std::io::Result<()> {
        let own = match self.plan.terminal {
            Terminal::Pty { .. } => {
                let slave =
                    rustix::fs::open("/dev/pts/0", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
                chaperone_sys::own_terminal(slave.as_fd())?;
                slave
            }
            Terminal::Inherit => {
                rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?
            }
        };
        if rustix::termios::isatty(rustix::stdio::stdin()) {
            rustix::stdio::dup2_stdin(&own)?;
        }
        if rustix::termios::isatty(rustix::stdio::stdout()) {
            rustix::stdio::dup2_stdout(&own)?;
        }
        if rustix::termios::isatty(rustix::stdio::stderr()) {
            rustix::stdio::dup2_stderr(&own)?;
        }
        Ok(())
    }

    fn landlock(&self) -> std::io::Result<()> {
        if self.landlock == 0 {
            return Ok(());
        }
        let all = landlock::all_rights(self.landlock);
        let mut trees: Vec<(PathBuf, u64)> = vec![(PathBuf::from("/"), landlock::rights::READ_ONLY)];
        for writable in ["/tmp", "/var/tmp", "/dev", "/proc", HOME] {
            trees.push((PathBuf::from(writable), all));
        }
        trees.extend(self.plan.mounts.iter().map(|m| (m.at.clone(), all)));
        trees.extend(self.plan.caches.iter().map(|c| (c.at.clone(), all)));
        let mut open = Vec::new();
        for (path, rights) in &trees {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            open.push((rustix::fs::open(path, flags, rustix::fs::Mode::empty())?, *rights));
        }
        let borrowed: Vec<_> = open.iter().map(|(fd, rights)| (fd.as_fd(), *rights)).collect();
        landlock::restrict(self.landlock, &borrowed)
    }

    /// The agent holds standard input and output alone, so that their other ends see its end.
    fn let_go_of_stdio(&self) {
        if let Ok(null) = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()) {
            // Without /dev/null the cell would not have come up; a failure here only keeps pipes open longer.
            rustix::stdio::dup2_stdin(&null).ok();
            rustix::stdio::dup2_stdout(&null).ok();
            rustix::stdio::dup2_stderr(&null).ok();
        }
    }

    fn signalled(&mut self) -> Option<Exit> {
        while let Ok(Some(signal)) = chaperone_sys::take_signal(self.signals.as_fd()) {
            if signal == libc::SIGCHLD {
                while let Ok(Some((pid, code, by_signal))) = chaperone_sys::wait_child(-1, false) {
                    if Some(pid) == self.agent {
                        let cause = if by_signal { "signal" } else { "exit" };
                        return Some(Exit { cause: cause.into(), code, reason: String::new() });
                    }
                }
            } else if let Some(agent) = self.agent.and_then(rustix::process::Pid::from_raw)
                && let Some(signal) = rustix::process::Signal::from_named_raw(signal)
            {
                // The group may have ended this moment; then SIGCHLD follows.
                rustix::process::kill_process_group(agent, signal).ok();
            }
        }
        None
    }

    fn limits(&self) -> Option<Exit> {
        let over = |cause: &str, reason: String| Some(Exit { cause: cause.into(), code: 137, reason });
        if let Some(seconds) = self.watch.seconds
            && self.agent.is_some()
            && self.started.elapsed() > Duration::from_secs(seconds)
        {
            return over("time", format!("the time limit of {seconds} s was reached"));
        }
        if self.watch.memory.is_some() || self.watch.processes.is_some() {
            let (bytes, count) = usage();
            if self.watch.memory.is_some_and(|limit| bytes > limit) {
                return over("memory", "the memory limit was reached".into());
            }
            if self.watch.processes.is_some_and(|limit| count > limit) {
                return over("processes", "the limit on processes was reached".into());
            }
        }
        None
    }

    fn decoys_touched(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watches, &mut buffer);
        let mut hit = Vec::new();
        while let Ok(event) = reader.next() {
            hit.extend(self.decoys.get(&event.wd()).copied());
        }
        hit.into_iter().for_each(|index| self.touch(index));
    }

    /// Somebody connected to a socket that is a decoy: it is hung up on.
    fn traps_entered(&mut self) {
        let mut hit = Vec::new();
        for (index, trap) in &self.traps {
            // A connection that is gone again, or one more that waits, comes with the next round.
            hit.extend(trap.accept().ok().map(|_| *index));
        }
        hit.into_iter().for_each(|index| self.touch(index));
    }

    /// Report the first touch at once; count the next ones.
    fn touch(&mut self, index: usize) {
        match self.touched.get_mut(&index) {
            Some((_, count)) => *count += 1,
            None => {
                let left = u64::from(!self.report_decoy(index, 1));
                self.touched.insert(index, (Instant::now(), left));
            }
        }
    }

    /// Report the touches that were only counted. What the broker has no room for is counted on.
    fn report_counted(&mut self) {
        let due: Vec<(usize, u64)> = self
            .touched
            .iter()
            .filter(|(_, (at, _))| at.elapsed() > DECOY_PAUSE)
            .map(|(i, (_, n))| (*i, *n))
            .collect();
        for (index, count) in due {
            if count == 0 || self.report_decoy(index, count) {
                self.touched.remove(&index);
            }
        }
    }

    /// Whether it was sent. The agent decides how often this happens: a broker that hangs must not make cell-init wait.
    fn report_decoy(&self, index: usize, count: u64) -> bool {
        let Some(decoy) = self.plan.decoys.get(index) else { return true };
        let path = decoy.path.to_string_lossy().into_owned();
        let message = InitMessage::Decoy { path, technique: decoy.technique.clone(), count };
        report_now(&self.control, &message).is_ok()
    }

    fn report_dialed(&self, (id, outcome): Dialed) {
        let dialed = |error| InitMessage::Dialed { id, error };
        match outcome {
            Ok(socket) => {
                // The kernel bounds the descriptors that are on their way.
                if !self.report(&dialed(None), Some(socket.as_fd())) {
                    self.report(&dialed(Some("the connection could not be handed out".to_owned())), None);
                }
            }
            Err(why) => drop(self.report(&dialed(Some(why)), None)),
        }
    }

    /// Whether it was sent. A broker that is gone is noticed by the poll loop, as a hang-up.
    fn report(&self, message: &InitMessage, descriptor: Option<BorrowedFd<'_>>) -> bool {
        control::report(&self.control, message, descriptor).is_ok()
    }
}

fn everybody(signal: rustix::process::Signal) {
    // From PID 1 of a namespace this reaches every other process in it, and nobody outside.
    drop(chaperone_sys::signal_everybody(signal.as_raw()));
}

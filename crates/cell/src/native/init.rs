//! `cell-init`: the cell's PID 1. It finishes the cell, waits for the broker's order, starts the agent without any
//! privilege, reaps, watches the decoys and limits, and ends everything when the broker or the launcher is gone.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use chaperone_sys::landlock;
use chaperone_sys::seccomp::Instruction;
use ed25519_dalek::{Signer, SigningKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::agent::{Agent, open_terminal};
use super::decoy_watch::DecoyWatch;
use super::dial::{Dialed, Dials};
use super::job::Job;
use super::limits::{Entrances, Watch, usage};
use super::network;
use super::repeat::Repeats;
use super::report::{self, LaunchReport, Prepared};
use super::root::{self, Sources, Walls};
use super::shares::{self, InotifyLimits};
use super::streams::Streams;
use super::told::Told;
use crate::backend::Exit;
use crate::control::{self, InitMessage, InitOrder, take_order};
use crate::network::NetworkEnds;
use crate::plan::{AGENT_GID, AGENT_UID, Network, Plan, SetupError, Terminal};
use crate::stops;

/// How often watched limits are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// What a cell's PID 1 is listed as.
const INIT: &str = "cell-init";
/// Permission bits that what the cell is made of does not get, whoever starts it.
const OWN_UMASK: u32 = 0o022;
/// Signals that are forwarded to the agent.
pub(crate) const FORWARDED: &[i32] =
    &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGCONT];

struct Cell<'p> {
    plan: &'p Plan,
    held: Held,
    signals: OwnedFd,
    decoys: DecoyWatch<'p>,
    key: SigningKey,
    landlock: u32,
    agent: Option<i32>,
    started: Instant,
    dials: Dials,
    repeats: Repeats,
    job: Job,
    told: Told,
    /// Held until the agent has it, or its other end would find it closed.
    terminal: Option<OwnedFd>,
}

/// What cell-init holds of those that it serves.
pub(crate) struct Held {
    pub filter: Vec<Instruction>,
    pub control: OwnedFd,
    pub reports: OwnedFd,
    pub watch: Watch,
    /// The user's soft limit on descriptors.
    pub descriptors: Option<u64>,
    /// What the agent's program gets of mounts that are none here, see [`crate::plan::Kind::Frames`].
    pub frames: Vec<OwnedFd>,
    /// See [`Plan::tells`].
    pub told: Option<OwnedFd>,
}

/// Sockets that are decoys, by their place in the plan.
pub(crate) type Traps = Vec<(usize, UnixListener)>;

/// The inside half of [`super::launch`]; never returns.
pub(crate) fn main(plan: &Plan, prepared: Prepared) -> ! {
    let Prepared { filter, control, reports, as_root, watch, entrances, streams, .. } = prepared;
    let entered = enter(entrances, streams, &reports);
    let (descriptors, entered) = (entered.as_ref().copied().unwrap_or_default(), entered.map(|_| ()));
    let mut held = Held { filter, control, reports, watch, descriptors, frames: Vec::new(), told: None };
    let built = entered
        .and_then(|()| build(plan, as_root, INIT, Walls::Own, (&held.reports, &[&held.control])))
        .and_then(|built| {
            chaperone_sys::set_host_name("cell").map_err(step("name the host")).map(|()| built)
        });
    let traps = built.and_then(|(traps, frames)| {
        held.frames = frames;
        if plan.tells {
            let (ours, its) = stops::pair().map_err(step("make a socket pair"))?;
            held.frames.push(its);
            held.told = Some(ours);
        }
        Ok(traps)
    });
    serve(plan, held, traps)
}

/// The agent waits for the broker's order, and is watched over until its end; with it everything in this PID namespace ends.
pub(crate) fn serve(plan: &Plan, held: Held, traps: Result<Traps, SetupError>) -> ! {
    match traps.and_then(|traps| begin(plan, &held, traps)) {
        Ok(begun) => {
            let mut cell = Cell::new(plan, held, begun);
            cell.report(&InitMessage::Hello { key: hex::encode(cell.key.verifying_key().as_bytes()) }, &[]);
            let exit = cell.run();
            let code = exit.code;
            // Whoever hears that it is over may rely on it. There may be nobody left to kill.
            everybody(rustix::process::Signal::KILL);
            while let Ok(Some(_)) = chaperone_sys::wait_child(-1, true) {}
            cell.report(&InitMessage::Over { cause: exit.cause.clone(), code }, &[]);
            // A launcher that is gone needs no report.
            report::send(&cell.held.reports, &LaunchReport::Ended(exit), &[]).ok();
            chaperone_sys::exit_now(code);
        }
        Err(error) => fail(&held.reports, error),
    }
}

/// Report that there will be no cell.
pub(crate) fn fail(reports: &OwnedFd, error: SetupError) -> ! {
    // A launcher that is gone needs no report.
    report::send(reports, &LaunchReport::Failed { what: error.what, fix: error.fix }, &[]).ok();
    chaperone_sys::exit_now(125)
}

/// Enter what limits the cell, take the streams that stand for the user's, and wait until the launcher has mapped the ids. Gives the
/// user's soft limit on descriptors.
pub(crate) fn enter(
    entrances: Entrances,
    streams: Streams,
    reports: &OwnedFd,
) -> Result<Option<u64>, SetupError> {
    // Before anything else, so that all of the cell is counted.
    entrances.enter().map_err(step("enter the groups that limit the cell"))?;
    // The launcher's is the agent's alone: what the cell is made of is the same in every cell.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(OWN_UMASK));
    streams.enter().map_err(step("take the standard streams"))?;
    let mut bytes = [0u8; 16];
    let mapped = rustix::net::recv(reports, &mut bytes[..], rustix::net::RecvFlags::empty());
    if !matches!(mapped, Ok((n, _)) if n > 0) {
        return Err(SetupError::new("the launcher went away"));
    }
    chaperone_sys::raise_descriptor_limit().map_err(step("take descriptors"))
}

/// Build the root and the network of a cell, and hand out what belongs to others. This process is listed as `name` from then on, and
/// keeps no descriptors but these, and those that it gives: the decoys that are sockets, and what the agent's program gets.
pub(crate) fn build(
    plan: &Plan,
    as_root: bool,
    name: &str,
    walls: Walls,
    (reports, others): (&OwnedFd, &[&OwnedFd]),
) -> Result<(Traps, Vec<OwnedFd>), SetupError> {
    chaperone_sys::die_with_parent().map_err(step("follow the launcher"))?;
    let kept: Vec<i32> = others.iter().chain([&reports]).map(|fd| fd.as_raw_fd()).collect();
    chaperone_sys::close_all_but_stdio(&kept).map_err(step("close descriptors"))?;
    chaperone_sys::forget_arguments(name).map_err(step("forget the launcher's arguments"))?;
    chaperone_sys::leave_keyring().map_err(step("leave the user's keyring"))?;
    let sources = Sources::open(plan)?;
    if as_root {
        chaperone_sys::set_ids(AGENT_UID, AGENT_GID, true).map_err(step("take the agent's ids"))?;
        chaperone_sys::set_dumpable(true).map_err(step("own /proc/self"))?;
        chaperone_sys::die_with_parent().map_err(step("follow the launcher"))?;
    }
    let inotify = InotifyLimits::read();
    let built = root::build(plan, sources, walls)?;
    shares::of_the_namespace(&inotify)?;
    chaperone_sys::bring_up_loopback().map_err(step("bring up the loopback"))?;
    let network = match &plan.network {
        Network::None => None,
        Network::Captured { loopback } => Some(network::capture(loopback)?),
        Network::Proxied => Some(network::proxy()?),
    };
    let mut fds: Vec<BorrowedFd<'_>> = vec![built.channel.as_fd()];
    fds.extend(built.fuse.iter().map(AsFd::as_fd));
    fds.extend(network.iter().flat_map(NetworkEnds::fds).map(AsFd::as_fd));
    let kind = network.as_ref().map(NetworkEnds::kind);
    report::send(reports, &LaunchReport::Built { network: kind }, &fds)
        .map_err(step("hand out the cell's descriptors"))?;
    Ok((built.traps, built.frames))
}

/// What a cell runs with once its root is there.
struct Begun<'p> {
    signals: OwnedFd,
    decoys: DecoyWatch<'p>,
    key: SigningKey,
    landlock: u32,
    terminal: Option<OwnedFd>,
    job: Option<OwnedFd>,
}

fn begin<'p>(plan: &'p Plan, held: &Held, traps: Traps) -> Result<Begun<'p>, SetupError> {
    let pty = match plan.terminal {
        Terminal::Inherit => None,
        Terminal::Pty { rows, columns } => {
            Some(open_pty(rows, columns).map_err(step("open a pseudo-terminal"))?)
        }
    };
    let mut taken = vec![libc::SIGCHLD];
    taken.extend_from_slice(FORWARDED);
    let signals = chaperone_sys::signal_descriptor(&taken).map_err(step("take signals"))?;
    let decoys = DecoyWatch::new(&plan.decoys, traps, &plan.command)
        .map_err(|e| SetupError::new(format!("watch the decoys: {e}")))?;
    chaperone_sys::set_dumpable(false).map_err(step("close /proc/1"))?;
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| SetupError::new(format!("no randomness: {e}")))?;
    let key = SigningKey::from_bytes(&seed);
    let landlock = landlock::abi();
    let fds: Vec<BorrowedFd<'_>> =
        pty.iter().flat_map(|pty| [pty.master.as_fd(), pty.launcher.as_fd()]).collect();
    report::send(&held.reports, &LaunchReport::Ready { landlock }, &fds)
        .map_err(step("hand out the cell's terminal"))?;
    let (terminal, job) = pty.map(|pty| (pty.slave, pty.job)).unzip();
    Ok(Begun { signals, decoys, key, landlock, terminal, job })
}

/// The cell's own terminal, and what its launcher and cell-init say to each other about who has the user's.
struct Pty {
    master: OwnedFd,
    slave: OwnedFd,
    launcher: OwnedFd,
    job: OwnedFd,
}

fn step(what: &str) -> impl Fn(std::io::Error) -> SetupError {
    let what = what.to_owned();
    move |e| SetupError::new(format!("{what}: {e}"))
}

fn open_pty(rows: u16, columns: u16) -> std::io::Result<Pty> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    chaperone_sys::set_window_size(master.as_fd(), rows, columns)?;
    match rustix::process::setsid() {
        // A container's runtime has made it a session's leader already.
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let slave = open_terminal()?;
    chaperone_sys::own_terminal(slave.as_fd())?;
    let (launcher, job) = stops::pair()?;
    Ok(Pty { master, slave, launcher, job })
}

impl<'p> Cell<'p> {
    fn new(plan: &'p Plan, mut held: Held, begun: Begun<'p>) -> Self {
        let Begun { signals, decoys, key, landlock, terminal, job } = begun;
        let told = Told::new(held.told.take());
        Self {
            plan,
            held,
            told,
            signals,
            decoys,
            key,
            landlock,
            agent: None,
            started: Instant::now(),
            dials: Dials::default(),
            repeats: Repeats::default(),
            job: Job::new(job),
            terminal,
        }
    }

    fn run(&mut self) -> Exit {
        let ended =
            |cause: &str, code: i32, reason: &str| Exit { cause: cause.into(), code, reason: reason.into() };
        let mut looked = Instant::now();
        loop {
            let mut ready = vec![
                PollFd::new(&self.held.control, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(self.decoys.events(), PollFlags::IN),
                PollFd::new(&self.held.reports, PollFlags::empty()),
            ];
            let jobs = self.job.launcher().map(|launcher| PollFd::new(launcher, PollFlags::IN));
            let has_job = jobs.is_some();
            ready.extend(jobs);
            let tells = self.told.end().map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
            let has_told = tells.is_some();
            ready.extend(tells);
            ready.extend(self.decoys.traps().map(|trap| PollFd::new(trap, PollFlags::IN)));
            ready.extend(self.dials.sockets().map(|socket| PollFd::new(socket, PollFlags::OUT)));
            let timeout = self.timeout();
            match poll(&mut ready, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return ended("broker", 137, &format!("poll: {e}")),
            }
            let mut revents = ready.iter().map(PollFd::revents);
            let mut next = || revents.next().unwrap_or(PollFlags::empty());
            let (control, signals, decoys, reports) = (next(), next(), next(), next());
            let goes_on = has_job && next().intersects(PollFlags::IN | PollFlags::HUP);
            let is_told = has_told && next().intersects(PollFlags::IN | PollFlags::HUP);
            let trapped = revents.any(|r| r.contains(PollFlags::IN));
            drop(ready);
            if reports.intersects(PollFlags::HUP | PollFlags::ERR) {
                return ended("broker", 137, "the launcher is gone");
            }
            if control.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                match self.obey() {
                    Ok(true) => {}
                    Ok(false) => return ended("broker", 137, "the broker is gone"),
                    Err(exit) => return exit,
                }
            }
            if is_told && let Some(refused) = self.told.hear() {
                // A broker that has not read the ones before hears of the next.
                control::report_now(&self.held.control, &refused).ok();
            }
            if goes_on {
                self.job.resume(self.agent);
            }
            if decoys.contains(PollFlags::IN) {
                self.decoys.read_events(&self.held.control);
            }
            if trapped {
                self.decoys.hang_up(&self.held.control);
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
                self.decoys.report_counted(&self.held.control);
            }
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let waits = self.held.watch.memory.is_some()
            || self.held.watch.processes.is_some()
            || self.held.watch.seconds.is_some()
            || self.decoys.is_counting()
            || !self.dials.is_empty();
        waits.then_some(Timespec { tv_sec: 0, tv_nsec: 250_000_000 })
    }

    /// One order of the broker: `Ok(false)` when it is gone, or sends what is no order.
    fn obey(&mut self) -> Result<bool, Exit> {
        let order = match take_order(&self.held.control) {
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
                self.report(&InitMessage::Signature(hex::encode(self.key.sign(&message).to_bytes())), &[]);
            }
            InitOrder::Go => {
                if self.agent.is_none() {
                    self.started = Instant::now();
                    let Held { filter, control, descriptors, frames, .. } = &self.held;
                    let (landlock, descriptors) = (self.landlock, *descriptors);
                    let agent = Agent { plan: self.plan, filter, control, landlock, descriptors, frames };
                    self.agent = Some(agent.start()?);
                    self.held.frames.clear();
                    self.terminal = None;
                }
            }
            InitOrder::Suspend => {
                self.job.hold();
                everybody(rustix::process::Signal::STOP);
            }
            InitOrder::Resume => {
                everybody(rustix::process::Signal::CONT);
                self.job.let_go(self.agent);
            }
            InitOrder::Dial { port, id } => {
                let known = match network::is_free(&self.plan.network, port) {
                    Err(why) => Some((id, Err(why))),
                    Ok(()) => self.dials.begin(id, port),
                };
                if let Some(dialed) = known {
                    self.report_dialed(dialed);
                }
            }
            InitOrder::Listen { port, id } => {
                self.report_sockets(id, network::listen(&self.plan.network, port))
            }
            InitOrder::Repeat(edit) => {
                if self.agent.is_some() {
                    self.repeats.add(edit);
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

    fn signalled(&mut self) -> Option<Exit> {
        while let Ok(Some(signal)) = chaperone_sys::take_signal(self.signals.as_fd()) {
            if signal == libc::SIGCHLD {
                while let Ok(Some((pid, code, by_signal))) = chaperone_sys::wait_child(-1, false) {
                    if Some(pid) == self.agent {
                        let cause = if by_signal { "signal" } else { "exit" };
                        return Some(Exit { cause: cause.into(), code, reason: String::new() });
                    }
                }
                self.job.look(self.agent);
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
        if let Some(seconds) = self.held.watch.seconds
            && self.agent.is_some()
            && self.started.elapsed() > Duration::from_secs(seconds)
        {
            return over("time", format!("the time limit of {seconds} s was reached"));
        }
        if self.held.watch.memory.is_some() || self.held.watch.processes.is_some() {
            let (bytes, count) = usage();
            if self.held.watch.memory.is_some_and(|limit| bytes > limit) {
                return over("memory", "the memory limit was reached".into());
            }
            if self.held.watch.processes.is_some_and(|limit| count > limit) {
                return over("processes", "the limit on processes was reached".into());
            }
        }
        None
    }

    fn report_dialed(&self, (id, outcome): Dialed) {
        self.report_sockets(id, outcome.map(|socket| vec![socket]));
    }

    fn report_sockets(&self, id: u64, outcome: Result<Vec<OwnedFd>, String>) {
        let dialed = |error| InitMessage::Dialed { id, error };
        match outcome {
            Ok(sockets) => {
                let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
                // The kernel bounds the descriptors that are on their way.
                if !self.report(&dialed(None), &sockets) {
                    self.report(&dialed(Some("the connection could not be handed out".to_owned())), &[]);
                }
            }
            Err(why) => drop(self.report(&dialed(Some(why)), &[])),
        }
    }

    /// Whether it was sent. A broker that is gone is noticed by the poll loop, as a hang-up.
    fn report(&self, message: &InitMessage, descriptors: &[BorrowedFd<'_>]) -> bool {
        control::report(&self.held.control, message, descriptors).is_ok()
    }
}

fn everybody(signal: rustix::process::Signal) {
    // From PID 1 of a namespace this reaches every other process in it, and nobody outside.
    drop(chaperone_sys::signal_everybody(signal.as_raw()));
}

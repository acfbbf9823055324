//! The monitor of a microVM: what the native cell runs where its agent would be. It has the agent's user, its root, its system calls,
//! and nothing else; a guest that takes it over has gained that much.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SendFlags;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use super::clock::Measured;
use super::console::Console;
use super::join::join;
use super::machine::Machine;
use super::step::step;
use super::wire::{self, FromGuest, GuestPlan, Shared, ToGuest};
use super::{frames, image};
use crate::backend::Exit;
use crate::native::{FORWARDED, tell, without_io_uring};
use crate::plan::CHANNEL;
use crate::stops;

/// Connections of the guest's to the channel at once.
const CONNECTIONS: usize = 64;
/// The exit code where there was no agent.
const NO_AGENT: i32 = 125;
/// Characters that are said of what the guest says.
const MOST_SAID: usize = 400;

/// Shows a tree of this machine, read-only, to whoever sends FUSE frames on the socket, until that one hangs up; what is in these
/// directories may change meanwhile.
pub type Show = fn(OwnedFd, &Path, &[PathBuf]) -> io::Result<()>;

/// The main of the monitor: what is shared, the agent's program, and its command. The caller must have one thread only. It ends as the
/// agent does, or with 125 and what is missing, or cannot be started, on standard error.
pub fn main(arguments: Vec<OsString>, show: Show) -> ! {
    let code = run(arguments, show).unwrap_or_else(|e| {
        say_to_the_user(&format!("the virtual machine: {e}"));
        NO_AGENT
    });
    chaperone_sys::exit_now(code)
}

fn run(arguments: Vec<OsString>, show: Show) -> io::Result<i32> {
    let mut words = arguments.into_iter();
    let text = words.next().and_then(|text| text.into_string().ok());
    let shared: Shared = serde_json::from_str(&text.ok_or(io::ErrorKind::InvalidInput)?)?;
    let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    let mut mounts =
        step("take its descriptors", chaperone_sys::numbered_descriptors(shared.mounts.len() + 1))?;
    let refusals = mounts.pop().ok_or(io::ErrorKind::InvalidInput)?;
    let signals: Vec<i32> = FORWARDED.iter().copied().chain([libc::SIGWINCH]).collect();
    let signals = step("take signals", chaperone_sys::signal_descriptor(&signals))?;
    let terminal = step("take the terminal", Terminal::take())?;
    let channel = step("listen for the channel", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let plan = GuestPlan {
        program,
        command: words.collect(),
        environment: std::env::vars_os().collect(),
        on_terminal: terminal.as_ref().map_or([false; 3], |terminal| terminal.streams),
        size: terminal.as_ref().map_or((0, 0), Terminal::size),
        channel: channel.local_addr()?.port(),
        shared,
    };
    let measured = Measured::begin();
    let modules: Vec<_> = plan.shared.modules.iter().map(Into::into).collect();
    let image = step("write its first file system", image::build(&serde_json::to_vec(&plan)?, &modules))?;
    let (mut ends, mut ports) = (Vec::new(), Vec::new());
    for number in wire::CONTROL..wire::FIRST_MOUNT + u32::try_from(mounts.len()).map_err(io::Error::other)? {
        let (ours, its) = UnixStream::pair()?;
        ends.push(ours);
        ports.push((number, its.into()));
    }
    let (console_end, console_port) = UnixStream::pair()?;
    let machine = Machine {
        program: Path::new(&plan.shared.machine),
        kernel: Path::new(&plan.shared.kernel),
        image,
        memory: plan.shared.memory,
        ports,
        console: console_port.into(),
        khz: measured.khz(),
    };
    step("set a filter", chaperone_sys::seccomp::install(&without_io_uring(), false))?;
    let mut vmm = step("start the VMM", machine.start())?;
    let console = Console::default();
    console.read(console_end);
    if let Some(errors) = vmm.stderr.take() {
        console.read(errors);
    }
    let mut ends = ends.into_iter();
    let mut end = || ends.next().ok_or_else(|| io::Error::other("too few ports"));
    let (control, root) = (end()?, end()?);
    let told = Control(Arc::new(Mutex::new(control.try_clone()?)));
    step("show the root", show_root(root, show, &plan.shared.changing))?;
    let mut pumps = Pumps::start([end()?, end()?, end()?, end()?], terminal.as_ref(), &told)?;
    for mount in mounts {
        relay(end()?, mount, frames::forget_the_process)?;
    }
    serve_channel(channel);
    forward_signals(signals, terminal.as_ref().map(Terminal::copy).transpose()?, told.clone());
    let over = converse(&mut BufReader::new(control), &told, (&mut pumps, &refusals));
    let code = match over {
        Ok(Some((exit, counts))) => {
            pumps.finish(counts);
            if !exit.reason.is_empty() {
                say_to_the_user(&exit.reason);
            }
            exit.code
        }
        Ok(None) => return Err(ended_early(&mut vmm, &console)),
        Err(e) => return Err(e),
    };
    // Its memory is thrown away, whatever runs in it.
    vmm.kill().and_then(|()| vmm.wait())?;
    Ok(code)
}

/// Until the agent is over; `None` when the guest is gone.
fn converse(
    control: &mut impl io::BufRead,
    told: &Control,
    (pumps, refusals): (&mut Pumps, &OwnedFd),
) -> io::Result<Option<(Exit, [u64; 3])>> {
    loop {
        match step("listen to the guest", wire::hear(control))? {
            Some(FromGuest::Listens) => {
                if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
                    told.say(&ToGuest::Time(now.as_secs(), now.subsec_nanos()));
                }
                pumps.start_input()?;
            }
            Some(FromGuest::Stopped) => {
                // Whoever stops this process, too, lets it go on.
                kill_process(getpid(), Signal::STOP)?;
                told.say(&ToGuest::GoOn);
            }
            // Who does not listen any more has ended this cell.
            Some(FromGuest::Refused(call)) => drop(tell(refusals, &call)),
            Some(FromGuest::Ended { exit, output, errors, terminal }) => {
                return Ok(Some((exit, [output, errors, terminal])));
            }
            Some(FromGuest::Failed(why)) => {
                return Err(io::Error::other(format!("in the guest: {why}")));
            }
            None => return Ok(None),
        }
    }
}

/// A line that may hold what the guest says.
fn say_to_the_user(line: &str) {
    let line: String = line.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
    // Whoever reads no errors needs none.
    drop(writeln!(io::stderr(), "chaperone: {line}"));
}

fn ended_early(vmm: &mut Child, console: &Console) -> io::Error {
    drop(vmm.kill().and_then(|()| vmm.wait()));
    let last = console.last_line().unwrap_or_else(|| "it does not say why".into());
    io::Error::other(format!("it ended: {last}"))
}

/// The way to the guest.
#[derive(Clone)]
struct Control(Arc<Mutex<UnixStream>>);

impl Control {
    fn say(&self, message: &ToGuest) {
        // A guest that is gone is noticed where it is listened to.
        wire::say(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), message).ok();
    }
}

/// The cell's root, for the guest.
fn show_root(port: UnixStream, show: Show, changing: &[OsString]) -> io::Result<()> {
    let changing: Vec<PathBuf> = changing.iter().map(PathBuf::from).collect();
    let (shown, relayed) = stops::pair()?;
    std::thread::Builder::new().spawn(move || drop(show(shown, Path::new("/"), &changing)))?;
    relay(port, relayed, |_| ())
}

/// Frames between a port and a socket, until either ends.
fn relay(port: UnixStream, socket: OwnedFd, mended: fn(&mut [u8])) -> io::Result<()> {
    let socket = Arc::new(socket);
    let (requests, answered) = (port.try_clone()?, Arc::clone(&socket));
    let over = |port: &UnixStream, socket: &OwnedFd| {
        port.shutdown(Shutdown::Both).ok();
        rustix::net::shutdown(socket, rustix::net::Shutdown::Both).ok();
    };
    std::thread::Builder::new().spawn(move || {
        let sent = frames::from_stream(BufReader::with_capacity(64 << 10, &requests), |frame| {
            mended(frame);
            rustix::net::send(&*socket, frame, SendFlags::NOSIGNAL)?;
            Ok(())
        });
        drop(sent);
        over(&requests, &socket);
    })?;
    std::thread::Builder::new().spawn(move || {
        drop(frames::from_packets(&*answered, |frame| (&port).write_all(frame)));
        over(&port, &answered);
    })?;
    Ok(())
}

/// Bytes that were passed on, for whoever waits for the last of them.
#[derive(Clone, Default)]
struct Passed(Arc<(Mutex<(u64, bool)>, Condvar)>);

impl Passed {
    fn add(&self, count: usize, is_over: bool) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += count as u64;
        state.1 |= is_over;
        changed.notify_all();
    }

    fn wait(&self, count: u64) {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_while(state, |state| state.0 < count && !state.1));
    }
}

/// The streams.
struct Pumps {
    passed: [Passed; 3],
    /// Until the guest listens.
    input: Option<UnixStream>,
    /// A port whose other end goes away loses what was not taken yet; one that says that no more comes does not.
    open: Vec<UnixStream>,
}

impl Pumps {
    /// Input, outputs and terminal, by their ports.
    fn start(
        [input, output, errors, tty]: [UnixStream; 4],
        terminal: Option<&Terminal>,
        told: &Control,
    ) -> io::Result<Self> {
        let on_terminal = terminal.map_or([false; 3], |terminal| terminal.streams);
        let pumps =
            Self { passed: Default::default(), input: (!on_terminal[0]).then_some(input), open: Vec::new() };
        let [out, err, screen] = pumps.passed.clone();
        for (number, port, to, passed) in [
            (wire::OUTPUT, output, rustix::stdio::stdout(), out),
            (wire::ERRORS, errors, rustix::stdio::stderr(), err),
        ] {
            let (to, told) = (File::from(rustix::io::dup(to)?), told.clone());
            std::thread::Builder::new().spawn(move || {
                drain(&port, &to, &passed, || told.say(&ToGuest::Closed(number)));
            })?;
        }
        if let Some(terminal) = terminal {
            let (keys, shown) = (File::from(terminal.copy()?), File::from(terminal.copy()?));
            let typed = tty.try_clone()?;
            std::thread::Builder::new().spawn(move || drop(pump(keys, &typed)))?;
            std::thread::Builder::new().spawn(move || drain(&tty, &shown, &screen, || ()))?;
        }
        Ok(pumps)
    }

    fn start_input(&mut self) -> io::Result<()> {
        if let Some(input) = self.input.take() {
            let from = File::from(rustix::io::dup(rustix::stdio::stdin())?);
            self.open.push(input.try_clone()?);
            std::thread::Builder::new().spawn(move || drop(pump(from, &input)))?;
        }
        Ok(())
    }

    fn finish(self, counts: [u64; 3]) {
        for (passed, count) in self.passed.iter().zip(counts) {
            passed.wait(count);
        }
    }
}

/// Copy until the end of either, and tell the other.
fn pump(mut from: impl Read, to: &UnixStream) -> io::Result<()> {
    let mut bytes = vec![0u8; 32 << 10];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(count) => { to }.write_all(bytes.get(..count).unwrap_or_default())?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                to.shutdown(Shutdown::Write).ok();
                return Err(e);
            }
        }
    }
}

/// Copy what the guest writes, also when nobody takes it any more, which is told once.
fn drain(from: &UnixStream, to: &File, passed: &Passed, closed: impl FnOnce()) {
    let mut bytes = vec![0u8; 32 << 10];
    let mut closed = Some(closed);
    loop {
        match { from }.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                let written = { to }.write_all(bytes.get(..count).unwrap_or_default());
                if written.is_err()
                    && let Some(closed) = closed.take()
                {
                    closed();
                }
                passed.add(count, false);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    passed.add(0, true);
}

/// The guest connects to a port of the cell's loopback for the channel, which is a socket in the cell's root.
fn serve_channel(listener: TcpListener) {
    let connected = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(CHANNEL) else { continue };
            if connected.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS {
                connected.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let connected = Arc::clone(&connected);
            std::thread::spawn(move || {
                drop(join(&client, &server));
                connected.fetch_sub(1, Ordering::AcqRel);
            });
        }
    });
}

fn forward_signals(signals: OwnedFd, terminal: Option<OwnedFd>, told: Control) {
    std::thread::spawn(move || {
        loop {
            match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            while let Ok(Some(signal)) = chaperone_sys::take_signal(signals.as_fd()) {
                if signal != libc::SIGWINCH {
                    told.say(&ToGuest::Signal(signal));
                } else if let Some((rows, columns)) =
                    terminal.as_ref().and_then(|terminal| chaperone_sys::window_size(terminal.as_fd()).ok())
                {
                    told.say(&ToGuest::Size { rows, columns });
                }
            }
        }
    });
}

/// The cell's terminal, raw: what is typed is for the guest's own.
struct Terminal {
    end: OwnedFd,
    before: Termios,
    streams: [bool; 3],
}

impl Terminal {
    /// The one that a stream of this process is, if one is.
    fn take() -> io::Result<Option<Self>> {
        let all: [BorrowedFd<'_>; 3] =
            [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let streams = all.map(isatty);
        let Some((stream, _)) = all.iter().zip(streams).find(|(_, on_terminal)| *on_terminal) else {
            return Ok(None);
        };
        let end = rustix::io::fcntl_dupfd_cloexec(stream, 0)?;
        let before = tcgetattr(&end)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&end, OptionalActions::Now, &raw)?;
        Ok(Some(Self { end, before, streams }))
    }

    fn size(&self) -> (u16, u16) {
        chaperone_sys::window_size(self.end.as_fd()).unwrap_or((24, 80))
    }

    fn copy(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.end, 0)?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        tcsetattr(&self.end, OptionalActions::Drain, &self.before).ok();
    }
}

//! Starting the agent: a process of its own, that gives up every privilege before it runs the agent's program.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use chaperone_sys::seccomp::Instruction;
use chaperone_sys::{Forked, landlock};

use super::{limits, shares};
use crate::backend::Exit;
use crate::control::{self, InitMessage};
use crate::plan::{HOME, Plan, Terminal};

/// What an agent is started with.
pub(super) struct Agent<'a> {
    pub plan: &'a Plan,
    pub filter: &'a [Instruction],
    /// To the broker, which gets the seccomp listener.
    pub control: &'a OwnedFd,
    /// ABI; 0 is none.
    pub landlock: u32,
    /// The user's soft limit on descriptors.
    pub descriptors: Option<u64>,
    /// Its program's own, from 3 on.
    pub frames: &'a [OwnedFd],
}

impl Agent<'_> {
    /// Fork the agent, wait until it runs its program (or cannot), and hand its seccomp listener to the broker.
    pub(super) fn start(&self) -> Result<i32, Exit> {
        let setup = |reason: String| Exit { cause: "setup".into(), code: 125, reason };
        let (failed, failed_inside) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| setup(format!("pipe: {e}")))?;
        let agent = match chaperone_sys::fork().map_err(|e| setup(format!("fork: {e}")))? {
            Forked::Parent { child } => child,
            Forked::Child => {
                drop(failed);
                // Beyond the numbers that its program expects descriptors at.
                let beyond = self.frames.len().try_into().map_or(i32::MAX, |count: i32| count + 3);
                let failed_inside =
                    rustix::io::fcntl_dupfd_cloexec(&failed_inside, beyond).unwrap_or(failed_inside);
                let (stage, error) = self.become_agent(&failed_inside);
                let mut out = File::from(failed_inside);
                // The parent reads this, or is gone itself.
                drop(write!(out, "{stage}\n{}\n{error}", error.raw_os_error().unwrap_or(0)));
                chaperone_sys::exit_now(127)
            }
        };
        drop(failed_inside);
        let_go_of_stdio();
        let mut failure = String::new();
        File::from(failed)
            .read_to_string(&mut failure)
            .map_err(|e| setup(format!("the agent's start: {e}")))?;
        if failure.is_empty() {
            return Ok(agent);
        }
        let mut lines = failure.lines();
        let (stage, errno) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let why = lines.next().unwrap_or_default();
        let program = self.plan.program.to_string_lossy();
        if stage == "exec" {
            let (cause, code) = if errno == "2" { ("not_found", 127) } else { ("setup", 126) };
            return Err(Exit { cause: cause.into(), code, reason: format!("{program}: {why}") });
        }
        Err(setup(format!("{stage}: {why}")))
    }

    /// In the agent's process: give everything up, step by step, and run its program. Returns only on failure.
    fn become_agent(&self, failed: &OwnedFd) -> (&'static str, std::io::Error) {
        match self.give_everything_up(failed) {
            Ok(()) => {
                ("exec", chaperone_sys::exec(&self.plan.program, &self.plan.command, &self.plan.environment))
            }
            Err(failure) => failure,
        }
    }

    fn give_everything_up(&self, failed: &OwnedFd) -> Result<(), (&'static str, std::io::Error)> {
        let at = |stage: &'static str| move |e: std::io::Error| (stage, e);
        self.take_terminal().map_err(at("terminal"))?;
        for mount in &self.plan.mounts {
            // The kernel refuses changes in a FUSE root until a lookup has shown it the owner.
            rustix::fs::stat(&mount.at).map_err(|e| ("look at a mount", e.into()))?;
        }
        go_first_without_memory().map_err(at("be the first that ends without memory"))?;
        rustix::process::chdir(&self.plan.workdir).map_err(|e| ("enter the working directory", e.into()))?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.plan.umask & 0o777));
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, none)
            .map_err(|e| ("core limit", e.into()))?;
        shares::of_the_agent(self.descriptors).map_err(at("limit what the agent shares"))?;
        if let Some(count) = self.plan.limits.processes.filter(|_| limits::counts_the_cell_alone()) {
            limits::hold_processes(count).map_err(|e| ("limit of processes", e.into()))?;
        }
        chaperone_sys::keep_no_privileges().map_err(at("drop privileges"))?;
        self.landlock().map_err(at("landlock"))?;
        let listener = chaperone_sys::seccomp::install(self.filter, true).map_err(at("seccomp"))?;
        // A broker that is gone is noticed by cell-init, as a hang-up.
        control::report(self.control, &InitMessage::Started, listener.as_ref().map(AsFd::as_fd).as_slice())
            .ok();
        drop(listener);
        let frames: Vec<_> = self.frames.iter().map(AsFd::as_fd).collect();
        chaperone_sys::number_descriptors(&frames, Some(failed.as_fd())).map_err(at("close descriptors"))
    }

    /// The user's terminal never reaches the agent: where one stands, it gets the cell's own, or nothing. On the cell's own it is a
    /// job of cell-init's, which leads its session: a group whose parent is elsewhere is never stopped from a terminal.
    fn take_terminal(&self) -> std::io::Result<()> {
        let own = match self.plan.terminal {
            Terminal::Pty { .. } => {
                let own = open_terminal()?;
                rustix::process::setpgid(None, None)?;
                chaperone_sys::take_foreground(own.as_fd())?;
                own
            }
            Terminal::Inherit => {
                rustix::process::setsid()?;
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
        trees.extend(self.plan.scratch.iter().map(|at| (at.clone(), all)));
        let mut open = Vec::new();
        for (path, rights) in &trees {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            open.push((rustix::fs::open(path, flags, rustix::fs::Mode::empty())?, *rights));
        }
        let borrowed: Vec<_> = open.iter().map(|(fd, rights)| (fd.as_fd(), *rights)).collect();
        landlock::restrict(self.landlock, &borrowed)
    }
}

/// Where cell-init is kept when there is no memory left, its agent is not.
fn go_first_without_memory() -> std::io::Result<()> {
    const SCORE: &str = "/proc/self/oom_score_adj";
    match std::fs::read_to_string(SCORE) {
        Ok(score) if score.starts_with('-') => std::fs::write(SCORE, "0"),
        _ => Ok(()),
    }
}

/// The cell's own terminal, as programs have it.
pub(super) fn open_terminal() -> std::io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/pts/0", flags, rustix::fs::Mode::empty())?)
}

/// The agent holds standard input and output alone, so that their other ends see its end.
fn let_go_of_stdio() {
    if let Ok(null) = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()) {
        // Without /dev/null the cell would not have come up; a failure here only keeps pipes open longer.
        rustix::stdio::dup2_stdin(&null).ok();
        rustix::stdio::dup2_stdout(&null).ok();
        rustix::stdio::dup2_stderr(&null).ok();
    }
}

//! The holder of a container: PID 1 of the namespaces that the container is made in. It builds the root and the network, starts the
//! runtime, reaps what that leaves, and is the end of all of it.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use chaperone_sys::Forked;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal};

use super::bundle;
use super::handed::{FIXED, Handed};
use super::runtime::{self, Files, Runtime};
use crate::native::{FORWARDED, Prepared, Traps, Walls, Watch, build, enter, fail, tmpfs};
use crate::plan::{Plan, SetupError};

/// What it is listed as.
const NAME: &str = "cell-holder";
/// Where the runtime's files are: in memory, over a directory that every host has, of which the cell sees nothing.
const FILES: &str = "/var/tmp";
/// What the runtime finds its helpers by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct Holder {
    control: OwnedFd,
    reports: OwnedFd,
    joined: OwnedFd,
    signals: OwnedFd,
}

/// Of [`crate::native::launch`]: never returns.
pub(super) fn main(plan: &Plan, prepared: Prepared, runtime: &Runtime) -> ! {
    let Prepared { control, reports, joined, as_root, watch, entrances, streams, .. } = prepared;
    let made = enter(entrances, streams, &reports).and_then(|descriptors| {
        let (traps, _) = build(plan, as_root, NAME, Walls::Container, (&reports, &[&control, &joined]))?;
        Ok((traps, descriptors))
    });
    let begun = made.and_then(|(traps, descriptors)| {
        let signals: Vec<i32> = FORWARDED.iter().copied().chain([libc::SIGCHLD]).collect();
        let signals = chaperone_sys::signal_descriptor(&signals)
            .map_err(|e| SetupError::new(format!("take signals: {e}")))?;
        Ok((traps, descriptors, signals))
    });
    let (traps, descriptors, signals) = match begun {
        Ok(begun) => begun,
        Err(error) => fail(&reports, error),
    };
    let holder = Holder { control, reports, joined, signals };
    match holder.start(plan, (watch, descriptors), &traps, runtime) {
        Ok(init) => chaperone_sys::exit_now(holder.hold(init, traps)),
        Err(error) => fail(&holder.reports, error),
    }
}

impl Holder {
    /// Run the runtime. Gives the pid of the container's process, a child of this one by then.
    fn start(
        &self,
        plan: &Plan,
        (watch, descriptors): (Watch, Option<u64>),
        traps: &Traps,
        runtime: &Runtime,
    ) -> Result<Pid, SetupError> {
        let failed = |e: std::io::Error| SetupError::new(format!("run {}: {e}", runtime.name()));
        tmpfs(Path::new(FILES), "mode=0700")?;
        let at = |name: &str| Path::new(FILES).join(name);
        let [bundle, state, log, errors, pid] = ["bundle", "state", "log", "errors", "pid"].map(at);
        let files = Files { bundle: &bundle, state: &state, log: &log, errors: &errors, pid: &pid };
        let count = FIXED + traps.len();
        bundle::write(&bundle, count)?;
        own_views()?;
        let places = traps.iter().map(|(place, _)| *place).collect();
        let handed = Handed::of(plan, watch, descriptors, places).sealed()?;
        let mut given: Vec<BorrowedFd<'_>> = vec![self.control.as_fd(), self.reports.as_fd(), handed.as_fd()];
        given.extend([rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]);
        given.extend(traps.iter().map(|(_, trap)| trap.as_fd()));
        // Whatever is started before this process is in its groups stays outside of them.
        rustix::io::read(&self.joined, &mut [0u8; 1]).map_err(|e| failed(e.into()))?;
        let child = match chaperone_sys::fork().map_err(failed)? {
            Forked::Parent { child } => child,
            Forked::Child => {
                let error = become_the_runtime(runtime, &files, &given);
                // In its own words, as if the runtime had said so.
                let line = serde_json::json!({ "msg": error.to_string() });
                fs::write(files.log, format!("{line}\n")).ok();
                chaperone_sys::exit_now(125)
            }
        };
        let ended = chaperone_sys::wait_child(child, true).map_err(failed)?;
        if ended.is_none_or(|(_, code, _)| code != 0) {
            let words = runtime::last_words(&files).unwrap_or_else(|| "it does not say why".into());
            return Err(SetupError::new(format!("{} cannot make the container: {words}", runtime.name())));
        }
        let text = fs::read_to_string(&pid).map_err(failed)?;
        text.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| {
            SetupError::new(format!("{} does not say which process it started", runtime.name()))
        })
    }

    /// Until the container's process is over; its exit code. What is left in this PID namespace ends with this process.
    fn hold(self, init: Pid, traps: Traps) -> i32 {
        // Its user is the agent's. Where this fails nobody in the container sees this process all the same.
        chaperone_sys::set_dumpable(false).ok();
        let Self { control, reports, signals, .. } = self;
        // The ends of cell-init alone, so that others see its end.
        drop((control, reports, traps));
        close_streams();
        loop {
            match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return 125,
            }
            while let Ok(Some(signal)) = chaperone_sys::take_signal(signals.as_fd()) {
                if signal == libc::SIGCHLD {
                    while let Ok(Some((pid, code, _))) = chaperone_sys::wait_child(-1, false) {
                        if pid == init.as_raw_nonzero().get() {
                            return code;
                        }
                    }
                } else if let Some(signal) = Signal::from_named_raw(signal) {
                    // It may have ended this moment; then SIGCHLD follows.
                    rustix::process::kill_process(init, signal).ok();
                }
            }
        }
    }
}

/// The `/proc` of this PID namespace, by which the runtime finds itself, and groups of the one kind that every runtime knows.
fn own_views() -> Result<(), SetupError> {
    let careful = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let failed = |what: &'static str| {
        move |e: rustix::io::Errno| SetupError::new(format!("mount {what} for the container: {e}"))
    };
    mount("proc", "/proc", "proc", careful, None).map_err(failed("/proc"))?;
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", careful, None).map_err(failed("/sys/fs/cgroup"))
}

/// In a child of its own: root of a user namespace, as runtimes want it, with these descriptors. Returns only on failure.
fn become_the_runtime(runtime: &Runtime, files: &Files<'_>, given: &[BorrowedFd<'_>]) -> std::io::Error {
    let run = || -> std::io::Result<()> {
        chaperone_sys::enter_user_namespace(0, true)?;
        chaperone_sys::number_descriptors(given, None)?;
        // What it says goes to its log, or to a file beside it; the streams are the agent's.
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(fs::File::create(files.errors)?)?;
        drop(null);
        Ok(())
    };
    if let Err(error) = run() {
        return error;
    }
    let environment = [("PATH", PATH), ("HOME", FILES), ("XDG_RUNTIME_DIR", FILES)];
    let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    chaperone_sys::exec(runtime.path.as_os_str(), &runtime.command(files, given.len()), &environment)
}

/// The agent holds standard input and output alone.
fn close_streams() {
    if let Ok(null) = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()) {
        // A failure only keeps pipes open until the end of the cell.
        rustix::stdio::dup2_stdin(&null).ok();
        rustix::stdio::dup2_stdout(&null).ok();
        rustix::stdio::dup2_stderr(&null).ok();
    }
}

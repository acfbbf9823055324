//! cell-init in the guest, and this process beside it, which is its launcher and its broker.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use chaperone_sys::Forked;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, Timespec, clock_settime};

use super::mounts::{Mounts, NEW_ROOT, inside};
use super::network;
use super::streams::{self, Copies, Inner};
use crate::control::{self, InitMessage, InitOrder};
use crate::microvm::step::step;
use crate::microvm::wire::{self, FromGuest, GuestPlan, OUTPUT, ToGuest};
use crate::native::{Held, LaunchReport, Watch, agent_filter, hidden, receive_report, serve, serve_refusals};
use crate::plan::{AGENT_GID, AGENT_UID, Kind, Limits, Mount, Network, Plan, SetupError, Terminal};
use crate::stops::{self, Stops};

/// The exit code of a process that was killed.
const KILLED: i32 = 137;
/// Stands for files of `/proc` that are hidden.
const COVER: &str = "/cover";
/// What cell-init is listed as.
const NAME: &str = "cell-init";

/// Run the agent until it is over, and tell the monitor.
///
/// # Errors
/// Why there is none.
pub(super) fn run(plan: GuestPlan, monitor: &File) -> io::Result<()> {
    // Without it, and without cell-init, which has this of it, there is nobody to tell that there is no memory left.
    step("be kept", fs::write("/proc/self/oom_score_adj", "-1000"))?;
    let (control, control_inside) = stops::pair()?;
    let (reports, reports_inside) = stops::pair()?;
    let (made_inside, made) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (inner, outer) = step("make the agent's streams", streams::make(plan.on_terminal))?;
    let init = match step("start cell-init", chaperone_sys::clone_as_first_process())? {
        Forked::Parent { child } => child,
        Forked::Child => {
            drop((control, reports, made, outer));
            become_init(plan, made_inside, inner, (control_inside, reports_inside))
        }
    };
    drop((control_inside, reports_inside, made_inside, inner));
    let (mounts, channel) = Mounts::make(&plan.shared)?;
    step("bring up the network", network::bring_up())?;
    step("serve the channel", network::serve_channel(channel, plan.channel))?;
    step("listen on the loopback", network::forward(&plan.shared.loopback))?;
    let copies = step("copy the agent's streams", outer.copy())?;
    drop(made);
    let guest = Guest { monitor: Arc::new(Mutex::new(monitor.try_clone()?)), init };
    guest.serve(reports, control, copies, &mounts, monitor)
}

struct Guest {
    monitor: Arc<Mutex<File>>,
    init: i32,
}

/// The agent's terminal and its job, once they are there.
type Shown = Arc<Mutex<Option<(OwnedFd, Arc<Stops>)>>>;

impl Guest {
    fn serve(
        &self,
        reports: OwnedFd,
        control: OwnedFd,
        mut copies: Copies,
        mounts: &Mounts,
        monitor: &File,
    ) -> io::Result<()> {
        self.say(&FromGuest::Listens);
        let shown = Shown::default();
        self.obey(monitor.try_clone()?, Arc::clone(&shown), &copies)?;
        let control = Arc::new(control);
        self.hear(Arc::clone(&control))?;
        loop {
            match step("hear cell-init", receive_report(&reports))? {
                Some((LaunchReport::Ready { .. }, fds)) => {
                    let mut fds = fds.into_iter();
                    if let (Some(master), Some(stops)) = (fds.next(), fds.next()) {
                        let stops = Arc::new(Stops::of(stops));
                        let kept = rustix::io::fcntl_dupfd_cloexec(&master, 0)?;
                        *shown.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some((kept, Arc::clone(&stops)));
                        step("show the terminal", copies.show(master))?;
                        self.tell_of_stops(stops)?;
                    }
                    step("start the agent", control::order(&control, &InitOrder::Go))?;
                }
                Some((LaunchReport::Ended(mut exit), _)) => {
                    if exit.cause == "signal" && exit.code == KILLED && has_run_out_of_memory() {
                        exit.reason = "the memory limit was reached".into();
                    }
                    // Nobody but the agent's processes had it open for writing.
                    shown.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let [output, errors, terminal] = copies.finish();
                    mounts.write_back();
                    self.say(&FromGuest::Ended { exit, output, errors, terminal });
                    // The monitor ends this machine.
                    loop {
                        std::thread::park();
                    }
                }
                Some((LaunchReport::Failed { what, .. }, _)) => return Err(io::Error::other(what)),
                Some(_) => {}
                None => return Err(io::Error::other("cell-init ended")),
            }
        }
    }

    fn say(&self, message: &FromGuest) {
        say(&self.monitor, message);
    }

    /// What the monitor says.
    fn obey(&self, monitor: File, shown: Shown, copies: &Copies) -> io::Result<()> {
        let (init, closed) = (self.init, copies.closed.clone());
        std::thread::Builder::new().spawn(move || {
            let mut monitor = BufReader::new(monitor);
            while let Ok(Some(order)) = wire::hear::<ToGuest>(&mut monitor) {
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                match order {
                    ToGuest::Signal(signal) => {
                        if let (Some(pid), Some(signal)) =
                            (Pid::from_raw(init), Signal::from_named_raw(signal))
                        {
                            kill_process(pid, signal).ok();
                        }
                    }
                    ToGuest::Time(seconds, nanos) => set_clock(seconds, nanos),
                    ToGuest::Size { rows, columns } => {
                        if let Some((master, _)) = &*shown {
                            chaperone_sys::set_window_size(master.as_fd(), rows, columns).ok();
                        }
                    }
                    ToGuest::GoOn => {
                        if let Some((_, stops)) = &*shown {
                            stops.resume().ok();
                        }
                    }
                    ToGuest::Closed(number) => {
                        let stream = &closed[usize::from(number != OUTPUT)];
                        stream.store(true, std::sync::atomic::Ordering::Release);
                    }
                }
            }
        })?;
        Ok(())
    }

    /// What cell-init says to its broker.
    fn hear(&self, control: Arc<OwnedFd>) -> io::Result<()> {
        let monitor = Arc::clone(&self.monitor);
        std::thread::Builder::new().spawn(move || {
            while let Ok(Some((message, fds))) = control::receive(&control, None) {
                let (InitMessage::Started, Some(listener)) = (message, fds.into_iter().next()) else {
                    continue;
                };
                let monitor = Arc::clone(&monitor);
                std::thread::spawn(move || {
                    serve_refusals(&listener, |refused| {
                        say(&monitor, &FromGuest::Refused(refused.call.into()));
                    });
                });
            }
        })?;
        Ok(())
    }

    fn tell_of_stops(&self, stops: Arc<Stops>) -> io::Result<()> {
        let monitor = Arc::clone(&self.monitor);
        std::thread::Builder::new().spawn(move || {
            loop {
                match poll(&mut [PollFd::new(&*stops, PollFlags::IN)], None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
                match stops.heard() {
                    Ok(Some(true)) => say(&monitor, &FromGuest::Stopped),
                    Ok(Some(false)) => {}
                    Ok(None) | Err(_) => return,
                }
            }
        })?;
        Ok(())
    }
}

fn set_clock(seconds: u64, nanos: u32) {
    let Ok(seconds) = seconds.try_into() else { return };
    let now = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    // It is right but for a second without this.
    clock_settime(ClockId::Realtime, now).ok();
}

/// Whether this kernel has ended something for want of memory.
fn has_run_out_of_memory() -> bool {
    let counters = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    counters.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
}

fn say(monitor: &Mutex<File>, message: &FromGuest) {
    // A monitor that is gone has ended this machine.
    wire::say(&mut *monitor.lock().unwrap_or_else(PoisonError::into_inner), message).ok();
}

/// In the child: PID 1 of the agent's processes. Never returns.
fn become_init(plan: GuestPlan, made: OwnedFd, inner: Inner, (control, reports): (OwnedFd, OwnedFd)) -> ! {
    let processes = plan.shared.processes;
    let watch = Watch { processes, ..Watch::default() };
    let plan = of_the_agent(plan);
    let filter = agent_filter(plan.debug);
    let built = inner.take().and_then(|()| enter_root(made)).map_err(|e| SetupError::new(e.to_string()));
    match filter.map_err(|e| SetupError::new(e.to_string())) {
        Ok(filter) => {
            let held =
                Held { filter, control, reports, watch, descriptors: None, frames: Vec::new(), told: None };
            serve(&plan, held, built.map(|()| Vec::new()))
        }
        Err(error) => crate::native::fail(&reports, error),
    }
}

/// Once the root is made, be in it as the agent's user, with what it takes to start the agent without any privilege.
fn enter_root(made: OwnedFd) -> io::Result<()> {
    File::from(made).read_to_end(&mut Vec::new())?;
    let careful = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    step("mount /proc", mount("proc", inside("/proc"), "proc", careful, None))?;
    // Nobody without a privilege opens it.
    step(
        "make a cover",
        fs::write(COVER, "").and_then(|()| fs::set_permissions(COVER, Permissions::from_mode(0o0))),
    )?;
    for hidden in hidden().map_err(io::Error::other)? {
        let at = inside(&hidden);
        match fs::metadata(&at) {
            Ok(meta) if meta.is_dir() => {
                let empty = Some(c"mode=0555,size=4k");
                step(
                    "hide a part of /proc",
                    mount("tmpfs", &at, "tmpfs", careful | MountFlags::RDONLY, empty),
                )?;
            }
            Ok(_) => step("hide a part of /proc", mount_bind(COVER, &at))?,
            Err(_) => {}
        }
    }
    step("enter the root", rustix::process::chdir(NEW_ROOT).and_then(|()| rustix::process::chroot(".")))?;
    step("name the host", chaperone_sys::set_host_name("cell"))?;
    step("forget the arguments", chaperone_sys::forget_arguments(NAME))?;
    step("become the agent's user", chaperone_sys::set_ids_and_keep_capabilities(AGENT_UID, AGENT_GID))?;
    step("own /proc/self", chaperone_sys::set_dumpable(true))
}

/// The plan as cell-init has it: what places are made of was this process's matter.
fn of_the_agent(plan: GuestPlan) -> Plan {
    let GuestPlan { shared, program, command, environment, on_terminal, size, .. } = plan;
    let paths = |texts: Vec<std::ffi::OsString>| texts.into_iter().map(PathBuf::from);
    Plan {
        session: shared.session,
        program,
        command,
        environment,
        workdir: shared.workdir.into(),
        umask: shared.umask,
        own_place: None,
        mounts: paths(shared.mounts).map(|at| Mount { at, kind: Kind::Fuse }).collect(),
        read_only: Vec::new(),
        covered: Vec::new(),
        scratch: paths(shared.layers).collect(),
        caches: Vec::new(),
        decoys: Vec::new(),
        home_files: Vec::new(),
        limits: Limits { processes: shared.processes, ..Limits::default() },
        network: Network::None,
        authority: None,
        terminal: if on_terminal.contains(&true) {
            Terminal::Pty { rows: size.0, columns: size.1 }
        } else {
            Terminal::Inherit
        },
        debug: shared.debug,
        tells: false,
        self_exe: PathBuf::new(),
    }
}

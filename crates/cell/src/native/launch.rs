//! The outer half of starting a cell: clone into namespaces, map the ids, and receive what the cell hands out.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use chaperone_sys::{Forked, clone_into_namespaces, wait_child};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::limits::Group;
use super::report::{self, LaunchReport, Prepared};
use super::streams::{Copies, Streams};
use crate::backend::{BrokerEnds, Cell, Exit, Launched, kill};
use crate::network::{NetworkEnds, NetworkKind};
use crate::packet;
use crate::plan::{AGENT_GID, AGENT_UID, Plan, SetupError};
use crate::stops::Stops;

/// First outer uid of agents that root starts; the cell's pid is added, so that no two live ones share it.
const ROOT_UID_BASE: u32 = 200_000;
/// Longest time the cell may take to set itself up. It needs milliseconds; beyond this it hangs.
const SETUP_LIMIT: Duration = Duration::from_secs(20);

/// What the launcher needs to wait for it.
#[derive(Debug)]
struct NativeCell {
    init_pid: i32,
    reports: OwnedFd,
    group: Group,
    copies: Copies,
}

/// Start a cell. The caller must have one thread only: `inside` goes on in the cell's namespaces, in a copy of this process, and reports
/// what it hands out.
pub(crate) fn launch(
    plan: &Plan,
    inside: impl FnOnce(&Plan, Prepared),
) -> Result<(Launched, BrokerEnds), SetupError> {
    let filter = super::seccomp::agent_filter(plan.debug).map_err(|e| SetupError::new(e.to_string()))?;
    let pair = || {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| SetupError::new(format!("make a socket pair: {e}")))
    };
    let (control, control_inside) = pair()?;
    let (reports, reports_inside) = pair()?;
    let (joined_inside, joined) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| SetupError::new(format!("make a pipe: {e}")))?;
    let as_root = rustix::process::geteuid().is_root();
    let group = Group::make(&plan.session, &plan.limits);
    let (watch, entrances) = (group.watch(&plan.limits), group.entrances()?);
    std::io::stdout().flush().map_err(|e| SetupError::new(format!("flush the output: {e}")))?;
    let streams = Streams::prepare()?;
    let init_pid = match clone_into_namespaces().map_err(|e| namespaces_refused(&e))? {
        Forked::Parent { child } => child,
        Forked::Child => {
            drop((control, reports, joined));
            let prepared = Prepared {
                filter,
                control: control_inside,
                reports: reports_inside,
                joined: joined_inside,
                as_root,
                watch,
                entrances,
                streams,
            };
            inside(plan, prepared);
            // It ends this process itself.
            chaperone_sys::exit_now(125)
        }
    };
    drop((control_inside, reports_inside, joined_inside, entrances));
    // What is sent to the broker does not count against what an agent has on its way.
    chaperone_sys::raise_descriptor_limit()
        .map_err(|e| SetupError::new(format!("take the descriptors that the user may have: {e}")))?;
    // The kernel lets a grace period pass before another process is in a group: the cell sets itself up meanwhile.
    let started = std::thread::scope(|scope| {
        let group = &group;
        let join = move || {
            let added = group.add(init_pid);
            drop(joined);
            added
        };
        // Where nobody is to be added, that is said by not beginning.
        let joins = if group.wants_adding() {
            Some(scope.spawn(join))
        } else {
            drop(join);
            None
        };
        let set_up = map_ids(init_pid, as_root)
            .and_then(|()| give_layers(plan, init_pid, as_root))
            .and_then(|()| send(&reports, b"mapped"))
            .and_then(|()| ready(&reports));
        let fault = |_| Err(SetupError::new("a fault while limits were set"));
        let joined = joins.map_or(Ok(()), |joins| joins.join().unwrap_or_else(fault));
        joined.and(set_up)
    });
    let (landlock, way, fds) = match started {
        Ok(done) => done,
        Err(error) => {
            end(init_pid);
            return Err(error);
        }
    };
    let mut fds = fds.into_iter();
    let missing = || SetupError::new("the cell did not hand out everything it should");
    let channel = fds.next().ok_or_else(missing)?;
    let mut fuse = Vec::new();
    for mount in plan.mounts.iter().filter(|m| m.kind.is_served()) {
        fuse.push((mount.at.clone(), fds.next().ok_or_else(missing)?));
    }
    let network = match way {
        None => None,
        Some(kind) => Some(NetworkEnds::from_fds(kind, &mut fds).ok_or_else(missing)?),
    };
    let enforced = group.enforced(landlock);
    let copies = match streams.copy() {
        Ok(copies) => copies,
        Err(e) => {
            end(init_pid);
            return Err(SetupError::new(format!("copy the standard streams: {e}")));
        }
    };
    let cell = Box::new(NativeCell { init_pid, reports, group, copies });
    let launched = Launched { init_pid, pty: fds.next(), stops: fds.next().map(Stops::of), enforced, cell };
    Ok((launched, BrokerEnds { control, channel, fuse, network }))
}

impl Cell for NativeCell {
    fn wait(self: Box<Self>) -> std::io::Result<Exit> {
        let reported = self.last_report();
        self.reaped(reported)
    }

    fn over(self: Box<Self>) -> std::io::Result<Exit> {
        match self.last_report() {
            Some(exit) => {
                let exit = self.explained(exit);
                self.group.leave();
                self.copies.finish();
                Ok(exit)
            }
            None => self.reaped(None),
        }
    }
}

impl NativeCell {
    fn last_report(&self) -> Option<Exit> {
        loop {
            match report::receive(&self.reports) {
                Ok(Some((LaunchReport::Ended(exit), _))) => return Some(exit),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    fn explained(&self, exit: Exit) -> Exit {
        if self.group.ran_out_of_memory() && exit.cause == "signal" {
            return Exit { cause: "memory".into(), reason: "the memory limit was reached".into(), ..exit };
        }
        exit
    }

    fn reaped(self, reported: Option<Exit>) -> std::io::Result<Exit> {
        let status = wait_child(self.init_pid, true)?;
        let reported = reported.map(|exit| self.explained(exit));
        self.copies.finish();
        Ok(match (reported, status) {
            (Some(exit), _) => exit,
            (None, Some((_, code, true))) => {
                Exit { cause: "broker".into(), code, reason: "the cell was ended".into() }
            }
            (None, status) => Exit {
                cause: "broker".into(),
                code: status.map_or(137, |(_, code, _)| code),
                reason: "the cell ended without a report".into(),
            },
        })
    }
}

fn end(pid: i32) {
    kill(pid);
    drop(wait_child(pid, true));
}

/// The uid, and gid, of an agent that root starts.
fn outer_id(pid: i32) -> u32 {
    ROOT_UID_BASE + u32::try_from(pid).unwrap_or(0)
}

/// What an agent writes to its layers is its own, also when root starts it.
fn give_layers(plan: &Plan, pid: i32, as_root: bool) -> Result<(), SetupError> {
    if !as_root {
        return Ok(());
    }
    let id = Some(outer_id(pid));
    plan.caches.iter().flat_map(|c| [&c.upper, &c.work]).try_for_each(|layer| {
        std::os::unix::fs::chown(layer, id, id)
            .map_err(|e| SetupError::new(format!("give {} to the agent: {e}", layer.display())))
    })
}

/// An ordinary user maps their own ids; root gives the agent a uid of its own.
fn map_ids(pid: i32, as_root: bool) -> Result<(), SetupError> {
    let outer = |own: u32| if as_root { outer_id(pid) } else { own };
    let uid = outer(rustix::process::geteuid().as_raw());
    let gid = outer(rustix::process::getegid().as_raw());
    let write = |file: &str, text: String| {
        std::fs::write(Path::new("/proc").join(pid.to_string()).join(file), text).map_err(|e| {
            let error = SetupError::new(format!("map the cell's ids ({file}): {e}"));
            match e.kind() {
                std::io::ErrorKind::PermissionDenied => error.fix(RESTRICTED),
                _ => error,
            }
        })
    };
    if !as_root {
        write("setgroups", "deny".into())?;
    }
    write("uid_map", format!("{AGENT_UID} {uid} 1\n"))?;
    write("gid_map", format!("{AGENT_GID} {gid} 1\n"))
}

/// The line for Ubuntu 24.04 and later, whose AppArmor takes capabilities away in user namespaces.
const RESTRICTED: &str = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";

/// What to do where all processes that the user may have are there (clone(2), `EAGAIN`).
const PROCESSES: &str = "end programs that are not needed, or raise the user's limit (ulimit -u)";

/// The setting that switches namespaces off for this user, if one does.
pub(super) fn switched_off() -> Option<SetupError> {
    let off =
        |what: &str| SetupError::new(format!("this machine refuses the namespaces a cell needs: {what}"));
    if is_set("/proc/sys/user/max_user_namespaces", "0") {
        let error = off("there may be no user namespaces");
        return Some(error.fix("sudo sysctl -w user.max_user_namespaces=15000"));
    }
    let as_root = rustix::process::geteuid().is_root();
    if !as_root && is_set("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        let error = off("only root may make user namespaces");
        return Some(error.fix("sudo sysctl -w kernel.unprivileged_userns_clone=1"));
    }
    None
}

fn is_set(file: &str, to: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|value| value.trim() == to)
}

fn namespaces_refused(error: &std::io::Error) -> SetupError {
    if let Some(error) = switched_off() {
        return error;
    }
    if error.raw_os_error() == Some(libc::EAGAIN) {
        return SetupError::new("no further process may be started").fix(PROCESSES);
    }
    let refused = SetupError::new(format!("this machine refuses the namespaces a cell needs: {error}"));
    if is_set("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return refused.fix(RESTRICTED);
    }
    refused.fix("allow user namespaces for this user (seccomp or a container's policy forbids them)")
}

fn ready(reports: &OwnedFd) -> Result<(u32, Option<NetworkKind>, Vec<OwnedFd>), SetupError> {
    let (mut kind, mut fds) = (None, Vec::new());
    loop {
        if !packet::wait(reports, PollFlags::IN, Some(SETUP_LIMIT)).unwrap_or(false) {
            return Err(SetupError::new("the cell did not come up in time"));
        }
        match report::receive(reports)
            .map_err(|e| SetupError::new(format!("read the cell's first report: {e}")))?
        {
            Some((LaunchReport::Built { network }, of_the_root)) => {
                kind = network;
                fds.extend(of_the_root);
            }
            Some((LaunchReport::Ready { landlock }, of_the_agent)) => {
                fds.extend(of_the_agent);
                return Ok((landlock, kind, fds));
            }
            Some((LaunchReport::Failed { what, fix }, _)) => return Err(SetupError { what, fix }),
            _ => return Err(SetupError::new("the cell ended while it was set up")),
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<(), SetupError> {
    rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL)
        .map(|_| ())
        .map_err(|_| SetupError::new("the cell ended while it was set up"))
}

//! Processes: clone into namespaces, fork without exec, drop every privilege, exec.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Where a fork returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    Parent { child: i32 },
    Child,
}

/// `clone(2)` without a new stack (like fork), into new user, mount, pid, net, ipc, uts and cgroup namespaces.
///
/// # Errors
/// `EPERM` and `ENOSPC` where user namespaces are restricted; otherwise what the kernel says.
pub fn clone_into_namespaces() -> io::Result<Forked> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | libc::SIGCHLD;
    // SAFETY: no CLONE_VM and no stack: the child gets a copy of this process and goes on where the parent is, as
    // after fork. Callers are single-threaded (documented at `chaperone_cell::launch`), so no lock is held by a
    // thread that does not exist in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    forked(pid)
}

/// `fork(2)`, for single-threaded callers.
///
/// # Errors
/// What the kernel says.
pub fn fork() -> io::Result<Forked> {
    // SAFETY: as above; cell-init has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    forked(pid)
}

/// The same as root, into new PID, IPC and UTS namespaces alone.
///
/// # Errors
/// What the kernel says.
pub fn clone_as_first_process() -> io::Result<Forked> {
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::SIGCHLD;
    // SAFETY: as above.
    forked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

fn forked(pid: libc::c_long) -> io::Result<Forked> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        child => i32::try_from(child).map(|child| Forked::Parent { child }).map_err(io::Error::other),
    }
}

/// `unshare(2)` into a new user namespace, where this process is the one user of the same id and has every capability; with a
/// copy of the mounts that is that namespace's, if it is to change any. The caller must have one thread only.
///
/// # Errors
/// `EPERM` and `ENOSPC` where user namespaces are restricted; `EPERM` to name an id that is 0 outside without `CAP_SETFCAP`
/// (user_namespaces(7)); otherwise what the kernel says.
pub fn enter_user_namespace(id: u32, with_mounts: bool) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let flags = libc::CLONE_NEWUSER | if with_mounts { libc::CLONE_NEWNS } else { 0 };
    // SAFETY: integer arguments only, and no descriptors or memory are unshared.
    check(unsafe { libc::unshare(flags) })?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", format!("{id} {gid} 1\n"))?;
    std::fs::write("/proc/self/uid_map", format!("{id} {uid} 1\n"))
}

/// Be killed when the parent dies.
///
/// # Errors
/// What the kernel says.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })
}

/// Empty the capability sets of this thread and the bounding set, lock the securebits, and never gain a privilege
/// again.
///
/// # Errors
/// What the kernel says.
pub fn keep_no_privileges() -> io::Result<()> {
    // SECBIT_NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE with their locks, KEEP_CAPS locked off.
    const LOCKED: libc::c_ulong = 0b1110_1111;
    // SAFETY: integer arguments only.
    unsafe {
        for capability in 0..=63 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                break; // Beyond the last capability of this kernel.
            }
        }
        check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_SECUREBITS, LOCKED, 0, 0, 0))?;
    }
    clear_capabilities()?;
    // SAFETY: integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// Empty the permitted, effective and inheritable sets.
///
/// # Errors
/// What the kernel says.
pub fn clear_capabilities() -> io::Result<()> {
    set_capabilities(0)
}

/// Make the permitted, effective and inheritable sets these, of the first 32 capabilities.
fn set_capabilities(low: u32) -> io::Result<()> {
    set_capability_words(&[low, low, low, 0, 0, 0])
}

/// Make what is permitted effective.
fn set_every_capability() -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let permitted = permitted.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let mask = permitted.ok_or(io::ErrorKind::InvalidData)?;
    let [low, high] = [mask as u32, (mask >> 32) as u32];
    set_capability_words(&[low, low, 0, high, high, 0])
}

/// Effective, permitted and inheritable, of the first 32 capabilities and of the next.
fn set_capability_words(data: &[u32; 6]) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: header and data have the layout of capability version 3 (capset(2)) and live through the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(if done == 0 { 0 } else { -1 })
}

/// Become `uid` and `gid` for good, without supplementary groups where that is allowed.
///
/// # Errors
/// What the kernel says.
pub fn set_ids(uid: u32, gid: u32, drop_groups: bool) -> io::Result<()> {
    // SAFETY: integer arguments and a null list of length zero; one thread, so the raw calls are process-wide.
    unsafe {
        if drop_groups {
            check_long(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()))?;
        }
        check_long(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check_long(libc::syscall(libc::SYS_setresuid, uid, uid, uid))
    }
}

/// The same for root, which keeps every capability all the same.
///
/// # Errors
/// What the kernel says.
pub fn set_ids_and_keep_capabilities(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) })?;
    set_ids(uid, gid, true)?;
    // Permitted are still all of them, of which there are more than 32.
    set_every_capability()
}

/// Bring the loopback interface of this network namespace up.
///
/// # Errors
/// What the kernel says.
pub fn bring_up_loopback() -> io::Result<()> {
    // SAFETY: a datagram socket owned here; `request` is a zeroed ifreq with a NUL-terminated name that lives
    // through the calls.
    unsafe {
        let raw = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(raw)?;
        let socket = OwnedFd::from_raw_fd(raw);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
            *to = (*from).cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))
    }
}

/// Let this process have all the descriptors that it may have: its soft limit becomes the hard one. Returns what it was.
///
/// # Errors
/// What the kernel says.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.current)
}

/// The processor's cycle counter; `None` where there is none that programs read.
#[must_use]
pub fn cycles() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC reads a register and nothing else; Linux lets programs read it unless they ask to be killed for it.
    let cycles = Some(unsafe { core::arch::x86_64::_rdtsc() });
    #[cfg(not(target_arch = "x86_64"))]
    let cycles = None;
    cycles
}

/// Name this UTS namespace.
///
/// # Errors
/// What the kernel says.
pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of a live string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

/// Block the signals that `cell-init` takes and make a descriptor to read them from.
///
/// # Errors
/// What the kernel says.
pub fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use; the descriptor is owned from here.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        check(libc::sigemptyset(&raw mut set))?;
        for signal in signals {
            check(libc::sigaddset(&raw mut set, *signal))?;
        }
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()))?;
        let raw = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(raw)?;
        Ok(OwnedFd::from_raw_fd(raw))
    }
}

/// The next signal from a [`signal_descriptor`], if any.
///
/// # Errors
/// What the kernel says.
pub fn take_signal(descriptor: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    // SAFETY: reads at most one signalfd_siginfo into a zeroed one of that size.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let got = libc::read(descriptor.as_raw_fd(), (&raw mut info).cast(), size);
        match got {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Ok(None),
            -1 => Err(io::Error::last_os_error()),
            n if usize::try_from(n) == Ok(size) => Ok(i32::try_from(info.ssi_signo).ok()),
            _ => Ok(None),
        }
    }
}

/// Reap one ended child without waiting: its pid and exit code (128 + n for a signal), and whether a signal ended it.
///
/// # Errors
/// What the kernel says; no children is `Ok(None)`.
pub fn wait_child(pid: i32, block: bool) -> io::Result<Option<(i32, i32, bool)>> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    let got =
        unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | if block { 0 } else { libc::WNOHANG }) };
    if got == -1 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ECHILD) => Ok(None),
            Some(libc::EINTR) if block => wait_child(pid, block),
            _ => Err(error),
        };
    }
    if got == 0 {
        return Ok(None);
    }
    if libc::WIFSIGNALED(status) {
        return Ok(Some((got, 128 + libc::WTERMSIG(status), true)));
    }
    Ok(Some((got, libc::WEXITSTATUS(status), false)))
}

/// Close every descriptor but 0, 1 and 2, and those in `but`.
///
/// # Errors
/// What the kernel says.
pub fn close_all_but_stdio(but: &[i32]) -> io::Result<()> {
    let mut kept: Vec<u32> =
        but.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first: u32 = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

/// Keep one capability when the next program is executed, and no other: that of dropping what could ever be gained.
///
/// # Errors
/// What the kernel says.
pub fn keep_setpcap_across_exec() -> io::Result<()> {
    const SETPCAP: libc::c_ulong = 8;
    set_capabilities(1 << SETPCAP)?;
    // SAFETY: integer arguments only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, SETPCAP, 0, 0) })
}

/// Number these descriptors from 3 on, in their order, for a program that is executed next; every other one is closed, but `kept`,
/// which must have a number beyond theirs.
///
/// # Errors
/// What the kernel says.
pub fn number_descriptors(handed: &[BorrowedFd<'_>], kept: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let count = i32::try_from(handed.len()).map_err(io::Error::other)?;
    // Beyond all numbers that are given, so that none of them is overwritten before it is copied.
    let mut copies = Vec::new();
    for descriptor in handed {
        // SAFETY: a descriptor that is open as long as it is borrowed.
        let copy = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD, 3 + count) };
        check(copy)?;
        copies.push(copy);
    }
    for (number, copy) in (3..).zip(copies) {
        // SAFETY: integer arguments; the caller is about to execute a program and uses no other descriptor any more.
        check(unsafe { libc::dup2(copy, number) })?;
    }
    let others: Vec<i32> = (3..3 + count).chain(kept.map(|kept| kept.as_raw_fd())).collect();
    close_all_but_stdio(&others)
}

/// The descriptors that whoever executed this program numbered from 3 on, closed when another one is executed. To be called once,
/// before this program opens any.
///
/// # Errors
/// `EBADF` when there are fewer.
pub fn numbered_descriptors(count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut taken = Vec::new();
    for number in (3..).take(count) {
        // SAFETY: integer arguments; a number that is no descriptor is an error.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: open, as the call above shows. Called once, at the start of a program (documented above), when nothing in it has
        // opened a descriptor yet: what has these numbers was handed over.
        taken.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    Ok(taken)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: integer arguments; callers are about to exec or exit and own every descriptor they name.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// `execve(2)` of `program`, which is called as `command` says; searches PATH of `environment` as a shell does. Returns only on
/// failure. Signals are unblocked and set to their defaults first.
#[must_use]
pub fn exec(program: &OsStr, command: &[OsString], environment: &[(OsString, OsString)]) -> io::Error {
    let Ok(arguments) = command.iter().map(|a| CString::new(a.as_bytes())).collect::<Result<Vec<_>, _>>()
    else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    let pairs = environment.iter().map(|(k, v)| {
        let mut pair = k.as_bytes().to_vec();
        pair.push(b'=');
        pair.extend_from_slice(v.as_bytes());
        CString::new(pair)
    });
    let Ok(pairs) = pairs.collect::<Result<Vec<_>, _>>() else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|c| c.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (argv, envp) = (pointers(&arguments), pointers(&pairs));
    // SAFETY: the set is initialised before use; SIGPIPE was ignored by the Rust runtime.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates(program, environment) {
        let Ok(path) = CString::new(candidate) else { continue };
        // SAFETY: NULL-terminated arrays of NUL-terminated strings that live until the call returns.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            last = error;
        }
    }
    last
}

fn candidates(name: &OsStr, environment: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.as_bytes().to_vec()];
    }
    let path =
        environment.iter().find(|(k, _)| k == "PATH").map(|(_, v)| v.as_bytes().to_vec()).unwrap_or_default();
    path.split(|b| *b == b':')
        .filter(|d| d.starts_with(b"/"))
        .map(|d| [d, b"/", name.as_bytes()].concat())
        .collect()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Send a signal to every process that this one may signal, but itself: from PID 1, everything in its namespace.
///
/// # Errors
/// What the kernel says.
pub fn signal_everybody(signal: i32) -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // SAFETY: integer arguments; only ever called as PID 1 of a namespace, checked above.
    check(unsafe { libc::kill(-1, signal) })
}

/// End this process at once, without running anything that the parent's copy of this program registered.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Whether `/proc/self` belongs to this process's uid (and it may be traced).
///
/// # Errors
/// What the kernel says.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    // SAFETY: integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) })
}

/// Give large buffers back to the kernel as soon as they are freed, and keep few arenas: a process that holds many
/// megabytes for a moment must not hold them for ever. Source: mallopt(3); glibc raises the first threshold by itself to
/// 32 MiB otherwise. Another libc ignores it.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 256 << 10;
        const ARENAS: libc::c_int = 4;
        // SAFETY: integer arguments only; documented to be called at any time, before threads by our caller.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        }
    }
}

/// Ask for short slices of processor time for the calling thread: it then runs soon after it is woken, also on a busy
/// machine. Unprivileged; a kernel before 6.12 accepts it and changes nothing. Source: sched_setattr(2), EEVDF slices.
///
/// # Errors
/// What the kernel says.
pub fn prefer_short_slices() -> io::Result<()> {
    /// `struct sched_attr`, first version.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime_ns: u64,
        deadline: u64,
        period: u64,
    }
    const SHORTEST_NS: u64 = 100_000;
    let size = u32::try_from(std::mem::size_of::<Attributes>()).unwrap_or(0);
    // SAFETY: integer arguments only. The nice value is given back as it is: -1 is one of its values, too.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = Attributes { size, nice, runtime_ns: SHORTEST_NS, ..Attributes::default() };
    // SAFETY: the structure is as large as it says and outlives the call, which only reads it; 0 is this thread.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

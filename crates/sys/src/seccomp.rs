//! Installing seccomp filters and serving their user notifications (seccomp(2), seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One classic BPF instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// A refused call that waits for its errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    pub id: u64,
    pub pid: u32,
    pub nr: i32,
    pub args: [u64; 6],
}

/// Install a filter on this thread for good; with `listen`, the descriptor that its notifications arrive on.
///
/// # Errors
/// What the kernel says; the caller must not go on then.
pub fn install(filter: &[Instruction], listen: bool) -> io::Result<Option<OwnedFd>> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    const NEW_LISTENER: libc::c_ulong = 1 << 3;
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const Instruction,
    }
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = Program { len, filter: filter.as_ptr() };
    let flags = if listen { NEW_LISTENER } else { 0 };
    // SAFETY: `program` has the layout of struct sock_fprog and points at `len` instructions that live through the
    // call; a returned descriptor is owned from here.
    unsafe {
        let done = libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program);
        match done {
            -1 => Err(io::Error::last_os_error()),
            fd if listen => Ok(Some(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?))),
            _ => Ok(None),
        }
    }
}

/// Wait for the next refused call; `None` when no process under the filter is left.
///
/// # Errors
/// What the kernel says.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    // SAFETY: a zeroed seccomp_notif (80 bytes on this ABI) is filled by the call.
    unsafe {
        let mut raw: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut raw) == -1 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINTR) => {
                    Ok(Some(Notification { id: 0, pid: 0, nr: -1, args: [0; 6] }))
                }
                _ => Err(error),
            };
        }
        Ok(Some(Notification { id: raw.id, pid: raw.pid, nr: raw.data.nr, args: raw.data.args }))
    }
}

/// Answer a refused call with an errno. A caller that died meanwhile is no error.
///
/// # Errors
/// What the kernel says.
pub fn refuse(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    const SEND: libc::c_ulong = 0xc018_2101;
    // SAFETY: a zeroed seccomp_notif_resp (24 bytes) that lives through the call.
    unsafe {
        let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
        answer.id = id;
        answer.error = -errno;
        if libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const answer) == -1 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ENOENT) {
                return Err(error);
            }
        }
    }
    Ok(())
}

//! `mount_setattr(2)`: what `rustix` lacks of the mount calls.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether the mount becomes read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    Yes,
    No,
}

/// Make a mount (and those below it) nosuid, nodev unless `devices`, and read-only if wanted.
///
/// # Errors
/// What the kernel says.
pub fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    read_only: ReadOnly,
    devices: bool,
    recursive: bool,
) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const RDONLY: u64 = 1;
    const NOSUID: u64 = 2;
    const NODEV: u64 = 4;
    let mut set = NOSUID;
    if read_only == ReadOnly::Yes {
        set |= RDONLY;
    }
    if !devices {
        set |= NODEV;
    }
    let attributes = Attributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attributes` has the layout of struct mount_attr (mount_setattr(2)) and lives through the call; the
    // path is an empty C string.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

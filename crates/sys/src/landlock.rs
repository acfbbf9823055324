//! Landlock (kernel documentation `userspace-api/landlock`): the second wall around the file system, and scopes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Rights on files, as the kernel numbers them.
pub mod rights {
    pub const EXECUTE: u64 = 1;
    pub const WRITE_FILE: u64 = 1 << 1;
    pub const READ_FILE: u64 = 1 << 2;
    pub const READ_DIR: u64 = 1 << 3;
    /// Everything but what reads and executes, up to ABI 5.
    pub const READ_ONLY: u64 = EXECUTE | READ_FILE | READ_DIR;
    pub const ABI1: u64 = (1 << 13) - 1;
    pub const REFER: u64 = 1 << 13;
    pub const TRUNCATE: u64 = 1 << 14;
    pub const IOCTL_DEV: u64 = 1 << 15;
}

/// The ABI of this kernel; 0 when Landlock is not there.
#[must_use]
pub fn abi() -> u32 {
    // SAFETY: a null attribute with size zero and the version flag asks for the ABI only.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, 1) };
    u32::try_from(abi).unwrap_or(0)
}

/// Everything that an ABI knows to restrict on files.
#[must_use]
pub fn all_rights(abi: u32) -> u64 {
    let mut all = rights::ABI1;
    if abi >= 2 {
        all |= rights::REFER;
    }
    if abi >= 3 {
        all |= rights::TRUNCATE;
    }
    if abi >= 5 {
        all |= rights::IOCTL_DEV;
    }
    all
}

/// Restrict this thread to the given trees: all that is not named is refused. From ABI 6 on, abstract sockets and
/// signals outside the domain are, too.
///
/// # Errors
/// What the kernel says; the caller must not go on then.
pub fn restrict(abi: u32, trees: &[(BorrowedFd<'_>, u64)]) -> io::Result<()> {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    const PATH_BENEATH: libc::c_int = 1;
    const SCOPE_ABSTRACT_AND_SIGNAL: u64 = 0b11;
    let all = all_rights(abi);
    let ruleset = Ruleset {
        handled_access_fs: all,
        handled_access_net: 0,
        scoped: if abi >= 6 { SCOPE_ABSTRACT_AND_SIGNAL } else { 0 },
    };
    let size = match abi {
        0 => return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        1..=3 => 8usize,
        4 | 5 => 16,
        _ => 24,
    };
    // SAFETY: `ruleset` has the layout of struct landlock_ruleset_attr, of which `size` bytes are known to this ABI;
    // the descriptor is owned from here; each rule lives through its call.
    unsafe {
        let raw = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0);
        if raw == -1 {
            return Err(io::Error::last_os_error());
        }
        let ruleset = OwnedFd::from_raw_fd(i32::try_from(raw).map_err(io::Error::other)?);
        for (tree, allowed) in trees {
            let rule = PathBeneath { allowed_access: allowed & all, parent_fd: tree.as_raw_fd() };
            let done = libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                PATH_BENEATH,
                &raw const rule,
                0,
            );
            if done == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        if libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

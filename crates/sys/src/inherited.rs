//! What a process has of the one that started it, and lets go of.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::FileExt;

/// Let this process be listed as `name` alone, without the arguments that it was started with: everybody may read those.
///
/// # Errors
/// What the kernel says.
pub fn forget_arguments(name: &str) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may hold anything; what follows is numbers, from the third field on (proc_pid_stat(5)).
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split(' ').skip(1).collect()).unwrap_or_default();
    let field = |n: usize| fields.get(n - 3).and_then(|f| f.trim().parse::<u64>().ok());
    let (Some(start), Some(end)) = (field(48), field(49)) else {
        return Err(io::Error::other("/proc/self/stat does not say where the arguments are"));
    };
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?];
    for (to, from) in bytes.iter_mut().rev().skip(1).rev().zip(name.bytes()) {
        *to = from;
    }
    std::fs::OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&bytes, start)?;
    let name = CString::new(name)?;
    // SAFETY: a string that ends with NUL and outlives the call, which copies it.
    match unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Let go of the session keyring that this process was started with, for an empty one. Where there are no keyrings, or whatever
/// contains this process lets it have none, there is nothing to let go of.
///
/// # Errors
/// What the kernel says.
pub fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    // SAFETY: integer arguments and a null name.
    let joined = unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>(), 0, 0, 0)
    };
    if joined != -1 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The session keyring of this thread.
    fn keyring() -> libc::c_long {
        const GET_KEYRING_ID: libc::c_ulong = 0;
        const SESSION: libc::c_long = -3;
        // SAFETY: integer arguments only.
        unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0, 0, 0) }
    }

    #[test]
    fn the_session_keyring_is_another_one_afterwards() {
        let before = keyring();
        leave_keyring().unwrap();
        let after = keyring();
        assert!(after != before || after == -1, "{before} {after}");
    }
}

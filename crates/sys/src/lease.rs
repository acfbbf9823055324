//! Whether anybody has a file open for writing.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{F_RDLCK, F_SETLEASE, F_UNLCK, c_int};
use rustix::io::Errno;

/// `F_SETSIG` of `fcntl(2)`, which the C library does not name.
const F_SETSIG: c_int = 10;

/// Whether nobody has this file, which is open for reading alone, open for writing: no descriptor, and no mapping that was made
/// by one. What is written from now on is written by somebody who opens it from now on. Source: fcntl(2), leases; it asks
/// for the owner of the file, and for a file system that has them.
///
/// # Errors
/// When that cannot be known.
pub fn is_written_by_nobody(file: BorrowedFd<'_>) -> io::Result<bool> {
    let fd = file.as_raw_fd();
    // Somebody who opens it for writing in between waits until the lease is given back, and this process gets a signal: one
    // that does nothing, in place of the one that ends it.
    // SAFETY: integer arguments only.
    check(unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) })?;
    // SAFETY: integer arguments only.
    match check(unsafe { libc::fcntl(fd, F_SETLEASE, F_RDLCK) }) {
        Ok(()) => {}
        Err(e) if Errno::from_io_error(&e) == Some(Errno::AGAIN) => return Ok(false),
        Err(e) => return Err(e),
    }
    // SAFETY: integer arguments only.
    check(unsafe { libc::fcntl(fd, F_SETLEASE, F_UNLCK) })?;
    Ok(true)
}

fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_that_somebody_writes_is_told_from_one_that_nobody_does() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("file");
        std::fs::write(&at, "x").unwrap();
        let file = File::open(&at).unwrap();
        assert!(is_written_by_nobody(file.as_fd()).unwrap());
        let writer = File::options().append(true).open(&at).unwrap();
        assert!(!is_written_by_nobody(file.as_fd()).unwrap());
        drop(writer);
        // Each lease was given back: this does not wait.
        drop(File::options().write(true).open(&at).unwrap());
        assert!(is_written_by_nobody(file.as_fd()).unwrap());
    }
}

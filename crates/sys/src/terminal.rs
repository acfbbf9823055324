//! Terminal controls that `rustix` lacks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Make `terminal` the controlling terminal of this session leader.
///
/// # Errors
/// What the kernel says.
pub fn own_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integer argument.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Put this process group in the foreground of its controlling terminal, from wherever it is.
///
/// # Errors
/// What the kernel says.
pub fn take_foreground(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both sets are initialised before use and live through the calls; the others have integer arguments.
    unsafe {
        let (mut stops, mut before): (libc::sigset_t, libc::sigset_t) =
            (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut stops);
        // Whoever is in the background and asks for this is stopped otherwise.
        libc::sigaddset(&raw mut stops, libc::SIGTTOU);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const stops, &raw mut before);
        let done = libc::tcsetpgrp(terminal.as_raw_fd(), libc::getpgrp());
        let error = io::Error::last_os_error();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        if done == -1 { Err(error) } else { Ok(()) }
    }
}

/// Rows and columns of a terminal.
///
/// # Errors
/// When it is not a terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    // SAFETY: a zeroed winsize is written by the call.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        if libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok((size.ws_row, size.ws_col))
    }
}

/// Set rows and columns; the foreground process group gets SIGWINCH.
///
/// # Errors
/// When it is not a terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` lives through the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

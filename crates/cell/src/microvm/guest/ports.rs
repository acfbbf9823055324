//! The ports of the serial device that lead to the monitor.

use std::fs::{File, OpenOptions};
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the kernel may take to find a port after its module was loaded. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Open a port, which may be done once.
///
/// # Errors
/// When there is none of this number, or nobody at its other end.
pub(super) fn open(number: u32) -> io::Result<File> {
    let at = format!("/dev/vport0p{number}");
    let until = Instant::now() + PATIENCE;
    let failed = |e: io::Error| io::Error::other(format!("open {at}: {e}"));
    let port = loop {
        match OpenOptions::new().read(true).write(true).open(&at) {
            // The kernel finds ports one by one.
            Err(e) if e.kind() == io::ErrorKind::NotFound && Instant::now() < until => {
                std::thread::sleep(PAUSE)
            }
            other => break other.map_err(failed)?,
        }
    };
    // It is there before the kernel hears that its other end is open; until then it reads as if that had been closed.
    while is_hung_up(&port)? {
        if Instant::now() >= until {
            return Err(failed(io::ErrorKind::NotConnected.into()));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(port)
}

fn is_hung_up(port: &File) -> io::Result<bool> {
    let mut looked = [PollFd::new(port, PollFlags::empty())];
    poll(&mut looked, Some(&Timespec::default()))?;
    Ok(looked.iter().any(|port| port.revents().contains(PollFlags::HUP)))
}

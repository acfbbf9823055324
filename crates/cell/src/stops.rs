//! What cell-init and the launcher say to each other about an agent on a terminal that stops, as a job of the user's shell does:
//! one tells that it has, the other that it may go on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

pub(crate) const STOPPED: &[u8] = b"stopped";
pub(crate) const GO_ON: &[u8] = b"go on";

/// The launcher's end.
#[derive(Debug)]
pub struct Stops(OwnedFd);

impl Stops {
    pub(crate) fn of(end: OwnedFd) -> Self {
        Self(end)
    }

    /// Whether the agent has stopped; `None` when there is nobody who would tell. To be asked when the descriptor is ready.
    ///
    /// # Errors
    /// The system's error.
    pub fn heard(&self) -> io::Result<Option<bool>> {
        let mut bytes = [0; STOPPED.len()];
        match rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => Ok(None),
            Ok((n, _)) => Ok(Some(bytes.get(..n) == Some(STOPPED))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Some(false)),
            Err(e) => Err(e.into()),
        }
    }

    /// The user's terminal is the agent's again.
    ///
    /// # Errors
    /// The system's error when the cell is gone.
    pub fn resume(&self) -> io::Result<()> {
        Ok(rustix::net::send(&self.0, GO_ON, SendFlags::NOSIGNAL).map(|_| ())?)
    }
}

impl AsFd for Stops {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The launcher's end, and cell-init's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

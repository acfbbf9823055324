//! One JSON message a packet, with the descriptors that belong to it: how launcher, cell-init and broker talk over
//! sequenced-packet sockets. Nothing here waits without a limit, so that a peer that hangs stops nobody.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;

/// Bytes of a message. One that is longer arrives cut, and so does not parse.
const LONGEST: usize = 64 * 1024;
/// Descriptors that travel with a message: those of every mount and of the network exit. Further ones are closed.
const MOST_DESCRIPTORS: usize = 64;

/// A message as it arrived.
pub(crate) struct Packet {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Send a message and its descriptors, waiting at most so long for room in the socket.
///
/// # Errors
/// `TimedOut` when the peer takes nothing; the system's error when it is gone.
pub(crate) fn send(
    socket: &OwnedFd,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
    limit: Duration,
) -> io::Result<()> {
    if fds.len() > MOST_DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let bytes = serde_json::to_vec(message)?;
    let until = Instant::now() + limit;
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() || !wait(socket, PollFlags::OUT, Some(left))? {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read what it is sent"));
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Receive a message; `None` when the peer has hung up.
///
/// # Errors
/// `WouldBlock` with [`RecvFlags::DONTWAIT`] when there is none; the system's error.
pub(crate) fn receive(socket: &OwnedFd, flags: RecvFlags) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0u8; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    bytes.truncate(got.bytes);
    Ok((got.bytes > 0).then_some(Packet { bytes, fds }))
}

/// Whether the socket is ready before the limit; `None` waits for as long as it takes.
///
/// # Errors
/// The system's error.
pub(crate) fn wait(socket: &OwnedFd, what: PollFlags, limit: Option<Duration>) -> io::Result<bool> {
    let until = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(socket, what)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_peer_that_reads_nothing_stops_nobody() {
        let (ours, theirs) = pair();
        let limit = Duration::from_millis(50);
        let begun = Instant::now();
        let error = loop {
            if let Err(e) = send(&ours, &"suspend", &[], limit) {
                break e;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());
        // Once it reads, the next message goes through whole.
        while receive(&theirs, RecvFlags::DONTWAIT).is_ok() {}
        send(&ours, &"resume", &[], limit).unwrap();
        assert_eq!(receive(&theirs, RecvFlags::empty()).unwrap().unwrap().bytes, b"\"resume\"");
    }

    #[test]
    fn descriptors_travel_and_a_hang_up_is_no_message() {
        let (ours, theirs) = pair();
        send(&ours, &"started", &[ours.as_fd(), theirs.as_fd()], Duration::ZERO).unwrap();
        assert_eq!(receive(&theirs, RecvFlags::empty()).unwrap().unwrap().fds.len(), 2);
        let kept = receive(&theirs, RecvFlags::DONTWAIT).map(|_| ()).unwrap_err();
        assert_eq!(kept.kind(), io::ErrorKind::WouldBlock);
        drop(ours);
        assert!(receive(&theirs, RecvFlags::empty()).unwrap().is_none());
    }

    #[test]
    fn more_descriptors_than_a_message_carries_are_refused_whole() {
        let (ours, theirs) = pair();
        let many = vec![ours.as_fd(); MOST_DESCRIPTORS + 1];
        let error = send(&ours, &"started", &many, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(receive(&theirs, RecvFlags::DONTWAIT).is_err());
    }
}

//! What the broker and cell-init say to each other on the cell's control socket.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use chaperone_protocol::Failure;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};

/// What cell-init reports.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitMessage {
    Hello {
        key: String,
    },
    Signature(String),
    Decoy {
        path: String,
        technique: String,
        count: u64,
    },
    Started,
    Dialed {
        id: u64,
        #[serde(default)]
        error: Option<String>,
    },
    Over {
        cause: String,
        code: i32,
    },
}

/// What cell-init is ordered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InitOrder {
    /// Sign this nonce, in hex.
    Challenge(String),
    /// Start the agent.
    Go,
    Suspend,
    Resume,
    /// Connect to a port of the cell; answered with [`InitMessage::Dialed`] of the same number.
    Dial {
        port: u16,
        id: u64,
    },
}

/// Send an order.
///
/// # Errors
/// `cell_gone`.
pub fn order(control: &OwnedFd, what: &InitOrder) -> Result<(), Failure> {
    let gone =
        |e: &dyn std::error::Error| Failure::new("cell_gone", format!("the cell does not listen: {e}"));
    let text = serde_json::to_vec(what).map_err(|e| gone(&e))?;
    rustix::net::send(control, &text, SendFlags::NOSIGNAL).map(|_| ()).map_err(|e| gone(&e))
}

/// The next message with its descriptors; `None` when the cell is gone, or says nothing within the limit.
///
/// # Errors
/// `cell_gone`.
pub fn receive(
    control: &OwnedFd,
    limit: Option<Duration>,
) -> Result<Option<(InitMessage, Vec<OwnedFd>)>, Failure> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let gone = |e: rustix::io::Errno| Failure::new("cell_gone", format!("the cell does not answer: {e}"));
    let mut wait = [PollFd::new(control, PollFlags::IN)];
    let limit = limit.map(|l| Timespec { tv_sec: l.as_secs().cast_signed(), tv_nsec: 0 });
    if poll(&mut wait, limit.as_ref()).map_err(gone)? == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0u8; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(gone)?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    // cell-init is ours, yet what it says is parsed like anything from a cell.
    Ok(serde_json::from_slice(bytes.get(..got.bytes).unwrap_or_default()).ok().map(|t| (t, fds)))
}

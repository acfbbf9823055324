//! What passes between the launcher and cell-init: what the cell is made with, and what it reports back.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use chaperone_sys::seccomp::Instruction;
use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};

use super::limits::{Entrances, Watch};
use super::streams::Streams;
use crate::backend::Exit;
use crate::network::NetworkKind;
use crate::packet;

/// How long a report waits for the launcher to read the ones before it, of which there is one at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// What cell-init reports to the launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum LaunchReport {
    /// The root and the network are there: the channel, the descriptors of the FUSE mounts, and those of the network, of which
    /// `network` is the kind, travel with it.
    Built {
        network: Option<NetworkKind>,
    },
    /// The agent can be started: what the launcher has of its terminal travels with it.
    Ready {
        landlock: u32,
    },
    Failed {
        what: String,
        fix: Option<String>,
    },
    Ended(Exit),
}

/// What the cell is made with on this side, before there is a cell.
pub(crate) struct Prepared {
    pub filter: Vec<Instruction>,
    pub control: OwnedFd,
    pub reports: OwnedFd,
    /// At its end when this process is in the groups that it does not enter itself: whatever it starts from then on is, too.
    pub joined: OwnedFd,
    pub as_root: bool,
    pub watch: Watch,
    pub entrances: Entrances,
    pub streams: Streams,
}

/// Report to the launcher.
///
/// # Errors
/// Too many descriptors for one message; the system's error when the launcher is gone.
pub(crate) fn send(reports: &OwnedFd, report: &LaunchReport, fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    packet::send(reports, report, fds, PATIENCE)
}

/// The next report and the descriptors that came with it; `None` when the cell is gone.
///
/// # Errors
/// What is no report; the system's error.
pub(crate) fn receive(reports: &OwnedFd) -> std::io::Result<Option<(LaunchReport, Vec<OwnedFd>)>> {
    match packet::receive(reports, RecvFlags::empty())? {
        Some(packet) => Ok(Some((serde_json::from_slice(&packet.bytes)?, packet.fds))),
        None => Ok(None),
    }
}

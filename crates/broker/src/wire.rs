//! The control socket's messages: what the person's commands ask of the broker.
//!
//! A frame is a little-endian `u32` length and that many bytes of JSON; descriptors travel with the frame's
//! first byte (`SCM_RIGHTS`). Only the person's uid can reach the socket, and no cell ever sees it.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest frame. Protects the broker's memory; a diff beyond it is cut by its producer.
pub const MAX_FRAME: usize = 32 << 20;
/// Most descriptors with one frame (an attach carries the cell's control, channel and mount descriptors).
pub const MAX_FDS: usize = 32;

/// How an ask is answered when nobody is there to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum AskMode {
    /// Wait for a person until the time-out, then deny.
    #[default]
    Wait,
    Deny,
    /// Redact; what cannot be redacted is denied.
    Redact,
}

/// Start a session: everything the broker decides before a cell exists.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    pub profile: Option<String>,
    pub workspace: std::path::PathBuf,
    pub name: Option<String>,
    pub command: Vec<String>,
    pub backend: Option<String>,
    pub interactive: bool,
    /// The agent runs in a cell.
    pub in_cell: bool,
    pub ask: AskMode,
    pub ask_timeout_s: u64,
    /// Hosts that may be reached besides those of the profile: `HOST` or `HOST:PORT`.
    #[serde(default)]
    pub allow_hosts: Vec<String>,
    /// Services that may be used besides those of the profile.
    #[serde(default)]
    pub allow_services: Vec<String>,
    /// Ports of the cell to show on the person's loopback.
    #[serde(default)]
    pub publish: Vec<u16>,
    /// The caller's environment, of which only what the profile allows is passed on.
    pub environment: BTreeMap<String, String>,
}

/// What the caller needs to build the cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    pub session: String,
    pub mounts: Vec<PlanMount>,
    /// What the person should know before it starts.
    pub notices: Vec<String>,
    pub caches: Vec<PlanCache>,
    pub environment: BTreeMap<String, String>,
    /// A certificate authority, in DER, that the cell is to trust.
    #[serde(default)]
    pub authority: Option<Vec<u8>>,
    /// Ports of the person's loopback that the cell may reach at its own.
    #[serde(default)]
    pub loopback: Vec<u16>,
    pub workdir: String,
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub cpu_percent: Option<u32>,
    pub seconds: Option<u64>,
    pub debug: bool,
    pub require_landlock: Option<u32>,
    pub require_cgroup: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanMount {
    pub at: String,
    #[serde(flatten)]
    pub kind: PlanMountKind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum PlanMountKind {
    /// Served by the broker; the cell hands out the descriptor.
    Mediated,
    /// Overlay over the person's folder.
    Staged {
        lower: std::path::PathBuf,
        upper: std::path::PathBuf,
        work: std::path::PathBuf,
        /// Files that may not be read, relative to the folder.
        masked: Vec<String>,
    },
    ReadOnly {
        source: std::path::PathBuf,
    },
}

/// A tool's cache: the person's below, read-only; the session's own layer above.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanCache {
    /// Relative to the agent's home.
    pub at: String,
    pub lower: Option<std::path::PathBuf>,
    pub upper: std::path::PathBuf,
    pub work: std::path::PathBuf,
}

/// How far a person's answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "seconds")]
pub enum Scope {
    Once,
    Session,
    For(u64),
}

/// One request of a command to the broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Who is there.
    Status,
    OpenSession(Box<OpenSession>),
    /// Hand over a launched cell: fds are control, channel, one for each mediated mount in the plan's order, then those of
    /// the network exit.
    Attach {
        session: String,
        init_pid: u32,
        /// What the network's descriptors are, when there are any.
        network: Option<chaperone_cell::NetworkKind>,
        enforced: serde_json::Value,
    },
    /// An agent outside of a cell (an MCP client on the host): its channel is the person's own socket.
    AttachOutside {
        session: String,
    },
    /// The cell ended.
    Ended {
        session: String,
        cause: String,
        code: i32,
    },
    /// The cell could not be started.
    Abandon {
        session: String,
        reason: String,
    },
    Sessions {
        all: bool,
    },
    Stop {
        session: Option<String>,
    },
    Resume {
        session: String,
    },
    Why {
        session: Option<String>,
    },
    Changes {
        session: String,
        diff: bool,
    },
    Commit {
        session: String,
        paths: Vec<String>,
        choice: Option<String>,
    },
    Discard {
        session: String,
        paths: Vec<String>,
    },
    Undo {
        session: String,
        commit: Option<u64>,
        paths: Vec<String>,
        force: bool,
    },
    Approvals,
    /// Stream events (asks, refusals, alerts; with `routine`, what was allowed, too) of one session or all until the
    /// caller hangs up.
    Watch {
        session: Option<String>,
        routine: bool,
    },
    Approve {
        id: String,
        scope: Scope,
        redact: bool,
        pin: Option<String>,
    },
    Deny {
        id: String,
        why: Option<String>,
    },
    /// An MCP conversation follows on this connection, as the named session's agent outside a cell.
    Mcp {
        session: String,
    },
    CapabilityShow {
        session: String,
    },
    CapabilityMint {
        claims: serde_json::Value,
    },
    CapabilityRevoke {
        jti: String,
    },
    AuditCheckpoint,
    AuditShow {
        seq: u64,
    },
    PinSet {
        pin: String,
        old: Option<String>,
    },
    Reload,
    /// Whether anybody is there.
    Ping,
}

/// The broker's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(serde_json::Value),
    /// More follows on this connection.
    Event(serde_json::Value),
    Error(Failure),
}

/// A refusal or fault, told so that a person can act on it.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable snake_case reason code, listed in `docs/reason-codes.md`.
    pub code: String,
    pub message: String,
    pub advice: Option<String>,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), advice: None }
    }

    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Send one frame, with descriptors.
///
/// # Errors
/// Whatever the socket says; `InvalidInput` when the frame is over [`MAX_FRAME`].
pub fn send<T: Serialize>(stream: &UnixStream, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    if body.len() > MAX_FRAME || fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large for one frame"));
    }
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
    frame.extend_from_slice(&body);
    let mut sent = 0;
    if !fds.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one frame"));
        }
        sent = rustix::net::sendmsg(stream, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
    }
    let mut out = stream;
    out.write_all(frame.get(sent..).unwrap_or_default())
}

/// Receive one frame and its descriptors; `None` when the peer closed between frames.
///
/// # Errors
/// `InvalidData` on an oversized frame or malformed JSON; otherwise whatever the socket says.
pub fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut fds = Vec::new();
    let mut head = [0u8; 4];
    let mut have = 0;
    while have < head.len() {
        let got = receive_some(stream, head.get_mut(have..).unwrap_or_default(), &mut fds)?;
        if got == 0 {
            return if have == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        have += got;
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes; at most {MAX_FRAME}"),
        ));
    }
    let mut body = Vec::new();
    let mut input = stream;
    (&mut input).take(length as u64).read_to_end(&mut body)?;
    if body.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = serde_json::from_slice(&body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(Some((message, fds)))
}

fn receive_some(stream: &UnixStream, into: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match rustix::net::recvmsg(
            stream.as_fd(),
            &mut [IoSliceMut::new(into)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(got.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_and_its_descriptors_arrive_together() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        send(&a, &Request::Why { session: None }, &[file.as_fd()]).unwrap();
        let (request, fds) = receive::<Request>(&b).unwrap().unwrap();
        assert!(matches!(request, Request::Why { session: None }));
        assert_eq!(fds.len(), 1);
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_read() {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(receive::<Request>(&b).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_peer_that_hangs_up_mid_frame_is_an_error_not_a_request() {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(&[9, 0, 0, 0, b'{']).unwrap();
        drop(a);
        assert!(receive::<Request>(&b).is_err());
    }
}

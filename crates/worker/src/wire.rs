//! What broker and worker say to each other: length-prefixed JSON; files travel as descriptors beside the request.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use chaperone_inspect::{Effects, Finding, Item, RedactionReport, Report, Restoration};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// Longest message either way; a report of 10,000 members fits.
const LONGEST: usize = 32 << 20;
/// Descriptors with one request: input and output, and what the input was made of.
const MOST_FILES: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// With the file; `explains` every value that is weighed.
    Inspect { name: String, explains: bool },
    /// With the file and the output.
    Redact { name: String, key: Option<[u8; 32]> },
    /// With the edited file and the output, and the original where there is one.
    Restore { name: String, new_name: String, key: [u8; 32] },
    /// With the file.
    Effects { name: String },
    /// With the file and the output.
    Text { name: String },
    /// With the file and the output, which gets JSON: nothing is `null`.
    Lines { name: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Digests in the order of the findings.
    Inspected {
        items: Vec<Item>,
        bytes: u64,
        digests: Vec<[u8; 32]>,
    },
    Redacted(RedactionReport),
    Restored(Restoration),
    Effects(Effects),
    Told,
    Refused(String),
}

impl Answer {
    pub(crate) fn inspected(report: Report) -> Answer {
        let digests = report.items.iter().flat_map(|i| &i.findings).map(|f| f.sha256).collect();
        Answer::Inspected { items: report.items, bytes: report.bytes, digests }
    }

    /// `None` when the digests do not belong to the findings.
    pub(crate) fn report(mut items: Vec<Item>, bytes: u64, digests: &[[u8; 32]]) -> Option<Report> {
        let findings: Vec<&mut Finding> = items.iter_mut().flat_map(|i| &mut i.findings).collect();
        if findings.len() != digests.len() {
            return None;
        }
        findings.into_iter().zip(digests).for_each(|(f, d)| (f.sha256, f.fingerprint) = (*d, None));
        Some(Report { items, bytes })
    }
}

pub(crate) fn send<T: Serialize>(
    mut socket: &UnixStream,
    message: &T,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let len = u32::try_from(body.len())
        .ok()
        .filter(|l| *l as usize <= LONGEST)
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let head = len.to_le_bytes();
    let sent = sendmsg(socket, &[IoSlice::new(&head)], &mut control, SendFlags::NOSIGNAL)?;
    socket.write_all(head.get(sent..).unwrap_or_default())?;
    socket.write_all(&body)
}

/// The next message, or `None` when the peer has gone.
pub(crate) fn receive<T: for<'de> Deserialize<'de>>(
    mut socket: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut head = [0; 4];
    let mut files = Vec::new();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?
            .bytes;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    if got == 0 {
        return Ok(None);
    }
    socket.read_exact(head.get_mut(got..).unwrap_or_default())?;
    let len = u32::from_le_bytes(head) as usize;
    if len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = Vec::new();
    socket.take(len as u64).read_to_end(&mut body)?;
    if body.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((serde_json::from_slice(&body)?, files)))
}

//! Netlink messages as they are written to the kernel (`netlink(7)`, `rtnetlink(7)`, `linux/netfilter/nfnetlink.h`).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
/// Create, and fail if it is there.
pub(crate) const CREATE: u16 = 0x400 | 0x200;
const NESTED: u16 = 0x8000;
/// `NLMSG_ERROR`: an acknowledgement, or what was wrong.
const ERROR: u16 = 2;
const HEADER: usize = 16;

/// Messages that are sent together; the kernel acknowledges those that ask for it.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    acknowledged: usize,
}

/// Attributes of one message, or nested in another attribute.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attributes(Vec<u8>);

impl Batch {
    /// A message whose result is waited for.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, head: &[u8], attributes: &Attributes) {
        self.acknowledged += 1;
        self.write(kind, flags | REQUEST | ACK, head, attributes);
    }

    /// A message that only marks a place in the batch.
    pub(crate) fn mark(&mut self, kind: u16, head: &[u8]) {
        self.write(kind, REQUEST, head, &Attributes::default());
    }

    fn write(&mut self, kind: u16, flags: u16, head: &[u8], attributes: &Attributes) {
        let length = u32::try_from(HEADER + head.len() + attributes.0.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        // Sequence and port: there is one batch on a socket, and its answers come in order.
        self.bytes.extend([0; 8]);
        self.bytes.extend(head);
        self.bytes.extend(&attributes.0);
    }

    /// Send all and wait until every message that is acknowledged was.
    ///
    /// # Errors
    /// The first error that the kernel reports.
    pub(crate) fn send(&self, socket: &OwnedFd) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(socket, &self.bytes, SendFlags::empty(), &kernel)?;
        let mut left = self.acknowledged;
        let mut bytes = [0u8; 8192];
        while left > 0 {
            let (got, _) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty())?;
            for (kind, body) in messages(bytes.get(..got).unwrap_or_default()) {
                if kind != ERROR {
                    continue;
                }
                match body.first_chunk::<4>().map(|e| i32::from_ne_bytes(*e)) {
                    Some(0) => left = left.saturating_sub(1),
                    Some(errno) => return Err(io::Error::from_raw_os_error(-errno)),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        }
        Ok(())
    }
}

impl Attributes {
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// A number in network order, as netfilter wants them.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// A socket for addresses and routes (`rtnetlink(7)`).
pub(crate) fn route() -> io::Result<OwnedFd> {
    socket(None)
}

/// A socket for netfilter.
pub(crate) fn netfilter() -> io::Result<OwnedFd> {
    socket(Some(netlink::NETFILTER))
}

fn socket(family: Option<rustix::net::Protocol>) -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, family)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// The kinds and bodies of the messages in a datagram; what does not parse ends it.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The kinds and values of attributes; what does not parse ends it.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & !NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let written = Attributes::default().text(1, "abcd").number(2, 7);
        assert_eq!(written.0.len() % 4, 0);
        let read: Vec<_> = attributes(&written.0).collect();
        assert_eq!(read, [(1, &b"abcd\0"[..]), (2, &[0, 0, 0, 7][..])]);
    }

    #[test]
    fn a_message_that_lies_about_its_length_ends_the_reading() {
        let mut batch = Batch::default();
        batch.push(9, 0, &[1, 2, 3, 4], &Attributes::default());
        assert_eq!(messages(&batch.bytes).collect::<Vec<_>>(), [(9, &[1, 2, 3, 4][..])]);
        for length in [0u32, 3, 15, 21, u32::MAX] {
            let mut bytes = batch.bytes.clone();
            bytes.splice(..4, length.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "{length}");
        }
    }
}

//! Packets that the rules of a captured network refuse, as the kernel logs them (`linux/netfilter/nfnetlink_log.h`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::RecvFlags;

use super::netlink::{self, Attributes, Batch};

/// The log group of refused packets.
pub(super) const LOG_GROUP: u16 = 1;
/// Bytes of a refused packet that are logged: its headers.
pub(super) const LOGGED: u32 = 64;

/// A packet that the cell wanted to send and may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefusedPacket {
    /// The number of its protocol (17 is UDP, 1 ICMP).
    pub protocol: u8,
    /// Port 0 where the protocol has none.
    pub to: SocketAddr,
}

/// Refused packets that were logged since the last call; none when there is nothing new. Of a flood some are missing.
///
/// # Errors
/// When the descriptor is broken.
pub fn refused_packets(log: impl AsFd) -> io::Result<Vec<RefusedPacket>> {
    let mut bytes = vec![0u8; 65_536];
    let got = match rustix::net::recv(log, &mut bytes[..], RecvFlags::DONTWAIT) {
        Ok((got, _)) => got,
        // More were refused than were looked at in time.
        Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e.into()),
    };
    let mut packets = Vec::new();
    for (kind, body) in netlink::messages(bytes.get(..got).unwrap_or_default()) {
        if kind != ulog::PACKET {
            continue;
        }
        let packet = netlink::attributes(body.get(4..).unwrap_or_default())
            .find(|(kind, _)| *kind == ulog::PAYLOAD)
            .and_then(|(_, packet)| headers(packet));
        packets.extend(packet);
    }
    Ok(packets)
}

/// Protocol and destination of an IP packet's first bytes (RFC 791, RFC 8200).
fn headers(packet: &[u8]) -> Option<RefusedPacket> {
    let (protocol, to, rest) = match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet.first()? & 0xf) * 4;
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (*packet.get(9)?, IpAddr::from(to), packet.get(length..)?)
        }
        6 => {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (*packet.get(6)?, IpAddr::from(to), packet.get(40..)?)
        }
        _ => return None,
    };
    let port = match protocol {
        // TCP, UDP, DCCP, SCTP, UDP-Lite: the second field is the destination's port.
        6 | 17 | 33 | 132 | 136 => u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?),
        _ => 0,
    };
    Some(RefusedPacket { protocol, to: SocketAddr::new(to, port) })
}

/// A socket that hears of what the rules refuse.
pub(super) fn log() -> io::Result<OwnedFd> {
    let socket = netlink::netfilter()?;
    let group = LOG_GROUP.to_be_bytes();
    let head = [libc::AF_UNSPEC as u8, 0, group[0], group[1]];
    let mut batch = Batch::default();
    batch.push(ulog::CONFIG, 0, &head, &Attributes::default().bytes(ulog::COMMAND, &[ulog::BIND]));
    let [a, b, c, d] = LOGGED.to_be_bytes();
    let how = Attributes::default()
        .bytes(ulog::MODE, &[a, b, c, d, ulog::COPY_PACKET, 0])
        // Each one at once.
        .number(ulog::QUEUE, 1);
    batch.push(ulog::CONFIG, 0, &head, &how);
    batch.send(&socket)?;
    Ok(socket)
}

/// Numbers of `linux/netfilter/nfnetlink_log.h`.
mod ulog {
    pub(super) const PACKET: u16 = 4 << 8;
    pub(super) const CONFIG: u16 = (4 << 8) | 1;
    pub(super) const COMMAND: u16 = 1;
    pub(super) const BIND: u8 = 1;
    pub(super) const MODE: u16 = 2;
    pub(super) const COPY_PACKET: u8 = 2;
    pub(super) const QUEUE: u16 = 5;
    pub(super) const PAYLOAD: u16 = 9;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_families_are_read() {
        let mut v4 = vec![0u8; 28];
        v4[0] = 0x45;
        v4[9] = 17;
        v4[16..20].copy_from_slice(&[203, 0, 113, 7]);
        v4[22..24].copy_from_slice(&443u16.to_be_bytes());
        assert_eq!(
            headers(&v4),
            Some(RefusedPacket { protocol: 17, to: "203.0.113.7:443".parse().unwrap() })
        );
        let mut v6 = vec![0u8; 48];
        v6[0] = 0x60;
        v6[6] = 58;
        v6[24..26].copy_from_slice(&[0x20, 0x01]);
        assert_eq!(headers(&v6), Some(RefusedPacket { protocol: 58, to: "[2001::]:0".parse().unwrap() }));
    }

    #[test]
    fn a_packet_that_is_cut_or_none_is_not_read() {
        for length in 0..24 {
            let mut cut = vec![0x4fu8; length];
            assert_eq!(headers(&cut), None, "{length}");
            cut.iter_mut().for_each(|b| *b = 0xff);
            assert_eq!(headers(&cut), None, "{length}");
        }
    }
}

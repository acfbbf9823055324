//! The cell's network: loopback of its own, and either no way out or one, to the broker.
//!
//! With a way out, every TCP connection and every DNS query in the cell's network namespace lands on sockets that the
//! broker holds, whatever address it was for; everything else is refused at once and told to the broker. The rules are
//! the kernel's (nf_tables, `nft(8)`), made by cell-init before the agent starts; the agent has no privilege to change
//! them. No interface leads out: the default route is the loopback, so that an address can be asked for at all.
//!
//! A kernel without nf_tables leaves a proxy, for programs that look for one: no rules, no route, and one listener.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use chaperone_sys::Forked;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::netlink::{self, Attributes, Batch, CREATE};
use crate::plan::{Network, SetupError};

/// The cell's own address: programs that ask which families there are must find one besides loopback. Of the block
/// that is never anybody's on a network (RFC 6333 5.7).
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// The same for IPv6: unique local (RFC 4193).
pub const ADDRESS_6: Ipv6Addr = Ipv6Addr::new(0xfd63, 0x6861, 0x7065, 0, 0, 0, 0, 2);
/// The name server that the cell is told of; every other one is answered by the same socket.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// Where TCP lands, on loopback in the cell.
const STREAMS: u16 = 64_080;
/// Where DNS lands, UDP and TCP.
const NAMES: u16 = 64_053;
const CAPTURE: &[u16] = &[STREAMS, NAMES];
/// Where a proxy listens, on loopback in a cell whose network is not captured.
const PROXY: u16 = 3128;
/// Connections that wait to be accepted; more are tried anew by the kernel that asks.
const BACKLOG: i32 = 512;
/// The log group of refused packets.
const LOG_GROUP: u16 = 1;
/// A stream that one side has ended may be silent for a day: the kernel's own minute or two would leave an answer that
/// takes longer without the way back. Data in the first packet of a connection is off, as programs see.
const SETTINGS: &[(&str, &str)] = &[
    ("netfilter/nf_conntrack_tcp_timeout_close_wait", "86400"),
    ("netfilter/nf_conntrack_tcp_timeout_fin_wait", "86400"),
    ("netfilter/nf_conntrack_tcp_timeout_last_ack", "86400"),
    ("ipv4/tcp_fastopen", "0"),
];
/// Bytes of a refused packet that are told: its headers.
const TOLD: u32 = 64;

/// The broker's ends of the way out.
#[derive(Debug)]
pub enum NetworkEnds {
    Captured(CapturedEnds),
    /// Listening: programs that heed [`proxy_environment`] connect and say where to. Nothing else leads out.
    Proxied(OwnedFd),
}

/// Where everything that wants out of a captured cell lands.
#[derive(Debug)]
pub struct CapturedEnds {
    pub v4: FamilyEnds,
    /// `None` where the kernel has IPv6 switched off.
    pub v6: Option<FamilyEnds>,
    /// Told: packets that were refused; see [`refused_packets`].
    pub refused: OwnedFd,
}

/// The ends of one family of addresses.
#[derive(Debug)]
pub struct FamilyEnds {
    /// Listening: TCP connections for any destination, see [`original_destination`].
    pub streams: OwnedFd,
    /// Bound: DNS over UDP.
    pub names: OwnedFd,
    /// Listening: DNS over TCP.
    pub name_streams: OwnedFd,
}

/// What descriptors a [`NetworkEnds`] is made of; told beside them when they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    Captured,
    /// Without IPv6.
    CapturedV4,
    Proxied,
}

impl NetworkEnds {
    /// From descriptors in the order of [`Self::fds`]; `None` when there are too few.
    pub fn from_fds(kind: NetworkKind, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let mut family =
            || Some(FamilyEnds { streams: fds.next()?, names: fds.next()?, name_streams: fds.next()? });
        let (v4, v6) = match kind {
            NetworkKind::Captured => (family()?, Some(family()?)),
            NetworkKind::CapturedV4 => (family()?, None),
            NetworkKind::Proxied => return Some(Self::Proxied(fds.next()?)),
        };
        Some(Self::Captured(CapturedEnds { v4, v6, refused: fds.next()? }))
    }

    #[must_use]
    pub fn kind(&self) -> NetworkKind {
        match self {
            Self::Captured(CapturedEnds { v6: Some(_), .. }) => NetworkKind::Captured,
            Self::Captured(CapturedEnds { v6: None, .. }) => NetworkKind::CapturedV4,
            Self::Proxied(_) => NetworkKind::Proxied,
        }
    }

    /// In the order in which they travel; [`Self::kind`] travels with them.
    #[must_use]
    pub fn fds(&self) -> Vec<&OwnedFd> {
        match self {
            Self::Captured(CapturedEnds { v4, v6, refused }) => std::iter::once(v4)
                .chain(v6)
                .flat_map(|ends| [&ends.streams, &ends.names, &ends.name_streams])
                .chain([refused])
                .collect(),
            Self::Proxied(listener) => vec![listener],
        }
    }
}

/// A packet that the cell wanted to send and may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefusedPacket {
    /// The number of its protocol (17 is UDP, 1 ICMP).
    pub protocol: u8,
    /// Port 0 where the protocol has none.
    pub to: SocketAddr,
}

/// Give this network namespace its one way out; `loopback` as [`Network::Captured`] has it.
pub(crate) fn capture(loopback: &[u16]) -> Result<NetworkEnds, SetupError> {
    let ends = try_capture(loopback)?;
    // The netfilter files come with the rules; a kernel before 5.14 has none in a user namespace. Without one of these
    // a cell is captured all the same.
    for (setting, value) in SETTINGS {
        std::fs::write(Path::new("/proc/sys/net").join(setting), value).ok();
    }
    Ok(NetworkEnds::Captured(ends))
}

fn try_capture(loopback: &[u16]) -> Result<CapturedEnds, SetupError> {
    let step = |what: &'static str| move |e: io::Error| SetupError::new(format!("{what}: {e}"));
    let v4 = family(Ipv4Addr::LOCALHOST.into()).map_err(step("open the way out"))?;
    let (v6, table) = match family(Ipv6Addr::LOCALHOST.into()) {
        Ok(ends) => (Some(ends), nft::INET),
        // No address, yet packets of it: the rules are for both.
        Err(e) if e.raw_os_error() == Some(libc::EADDRNOTAVAIL) => (None, nft::INET),
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => (None, nft::IPV4),
        Err(e) => return Err(step("open the way out for IPv6")(e)),
    };
    addresses(v6.is_some()).map_err(step("give the cell an address"))?;
    let refused = log().map_err(|e| missing(&e))?;
    rules(table, loopback).map_err(|e| missing(&e))?;
    Ok(CapturedEnds { v4, v6, refused })
}

/// Whether this machine can capture a cell's network, tried in namespaces that are thrown away; where it cannot, there is
/// [`Network::Proxied`]. The caller must have one thread only.
///
/// # Errors
/// What is missing, with the line that mends it, where there is one.
pub fn can_capture() -> Result<(), SetupError> {
    let failed = |e: io::Error| SetupError::new(format!("try to capture a network: {e}"));
    let (said, said_inside) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let child = match chaperone_sys::clone_into_namespaces().map_err(failed)? {
        Forked::Parent { child } => child,
        Forked::Child => {
            let tried = chaperone_sys::bring_up_loopback().map_err(failed).and_then(|()| try_capture(&[]));
            let word = tried.map(|_| ()).map_err(|e| (e.what, e.fix));
            // Whoever asks reads this, or is gone.
            drop(serde_json::to_writer(File::from(said_inside), &word));
            chaperone_sys::exit_now(0)
        }
    };
    drop(said_inside);
    let word: Result<Result<(), (String, Option<String>)>, _> = serde_json::from_reader(File::from(said));
    drop(chaperone_sys::wait_child(child, true));
    word.map_err(|e| failed(e.into()))?.map_err(|(what, fix)| SetupError { what, fix })
}

/// Give this network namespace a proxy instead, for a kernel without nf_tables. There is no route to anywhere else.
pub(crate) fn proxy() -> Result<NetworkEnds, SetupError> {
    let listen = || -> io::Result<OwnedFd> {
        let socket = bound(Ipv4Addr::LOCALHOST.into(), PROXY, SocketType::STREAM)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let listener = listen().map_err(|e| SetupError::new(format!("open the proxy: {e}")))?;
    Ok(NetworkEnds::Proxied(listener))
}

/// What tells programs of the proxy of a [`Network::Proxied`] cell; part of the agent's environment.
#[must_use]
pub fn proxy_environment() -> [(&'static str, String); 6] {
    let http = format!("http://{}:{PROXY}", Ipv4Addr::LOCALHOST);
    [
        ("http_proxy", http.clone()),
        ("https_proxy", http.clone()),
        ("HTTP_PROXY", http.clone()),
        ("HTTPS_PROXY", http.clone()),
        // The proxy speaks SOCKS5, too; but Python's httpx and requests fail at the very start on a socks URL without
        // a package that is rarely there.
        ("all_proxy", http),
        ("no_proxy", "127.0.0.1,localhost,::1".to_owned()),
    ]
}

/// Ports on loopback that are none of the agent's.
pub(crate) fn own_ports(network: &Network) -> &'static [u16] {
    match network {
        Network::None => &[],
        Network::Captured { .. } => CAPTURE,
        Network::Proxied => &[PROXY],
    }
}

/// The sockets on the loopback of a family.
fn family(loopback: IpAddr) -> io::Result<FamilyEnds> {
    let listen = |port: u16| -> io::Result<OwnedFd> {
        let socket = bound(loopback, port, SocketType::STREAM)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    Ok(FamilyEnds {
        streams: listen(STREAMS)?,
        names: bound(loopback, NAMES, SocketType::DGRAM)?,
        name_streams: listen(NAMES)?,
    })
}

/// Where a connection that landed on [`FamilyEnds::streams`] or `name_streams` was for.
///
/// # Errors
/// `InvalidInput` when it was for that socket itself: nobody in a cell has a reason to know of it.
pub fn original_destination(stream: impl AsFd) -> io::Result<SocketAddr> {
    let local = SocketAddr::try_from(rustix::net::getsockname(&stream)?)?;
    let to = match local {
        SocketAddr::V4(_) => SocketAddr::V4(rustix::net::sockopt::ip_original_dst(&stream)?),
        SocketAddr::V6(_) => SocketAddr::V6(rustix::net::sockopt::ipv6_original_dst(&stream)?),
    };
    if to == local {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a connection to the way out itself"));
    }
    Ok(to)
}

/// Refused packets that were told since the last look; none when there is nothing new. Of a flood some are missing.
///
/// # Errors
/// When the descriptor is broken.
pub fn refused_packets(told: impl AsFd) -> io::Result<Vec<RefusedPacket>> {
    let mut bytes = vec![0u8; 65_536];
    let got = match rustix::net::recv(told, &mut bytes[..], RecvFlags::DONTWAIT) {
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

fn bound(ip: IpAddr, port: u16, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if ip.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
    Ok(socket)
}

fn missing(error: &io::Error) -> SetupError {
    SetupError::new(format!("this kernel cannot capture a cell's network: {error}"))
        .fix("sudo modprobe -a nf_tables nft_chain_nat nft_redir nft_reject_inet nft_log nfnetlink_log")
}

/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// Addresses and default routes, all on the loopback.
fn addresses(v6: bool) -> io::Result<()> {
    const NEW_ADDRESS: u16 = 20;
    const NEW_ROUTE: u16 = 24;
    // `ifaddrmsg` and `rtmsg` of linux/if_addr.h and linux/rtnetlink.h.
    const UNIVERSE: u8 = 0;
    const TABLE_MAIN: u8 = 254;
    const STATIC: u8 = 4;
    const UNICAST: u8 = 1;
    const NO_DUPLICATE_DETECTION: u8 = 0x02;
    let mut batch = Batch::default();
    for ip in std::iter::once(IpAddr::from(ADDRESS)).chain(v6.then_some(ADDRESS_6.into())) {
        let (family, bits, octets) = match ip {
            IpAddr::V4(ip) => (libc::AF_INET as u8, 32, ip.octets().to_vec()),
            IpAddr::V6(ip) => (libc::AF_INET6 as u8, 128, ip.octets().to_vec()),
        };
        let mut head = vec![family, bits, NO_DUPLICATE_DETECTION, UNIVERSE];
        head.extend(LOOPBACK.to_ne_bytes());
        let local = Attributes::default().bytes(1, &octets).bytes(2, &octets);
        batch.push(NEW_ADDRESS, CREATE, &head, &local);
        let head = [family, 0, 0, 0, TABLE_MAIN, STATIC, UNIVERSE, UNICAST, 0, 0, 0, 0];
        let way = Attributes::default().bytes(4, &LOOPBACK.to_ne_bytes()).bytes(7, &octets);
        batch.push(NEW_ROUTE, CREATE, &head, &way);
    }
    batch.send(&netlink::route()?)
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

/// A socket that hears of what the rules refuse.
fn log() -> io::Result<OwnedFd> {
    let socket = netlink::netfilter()?;
    let group = LOG_GROUP.to_be_bytes();
    let head = [libc::AF_UNSPEC as u8, 0, group[0], group[1]];
    let mut batch = Batch::default();
    batch.push(ulog::CONFIG, 0, &head, &Attributes::default().bytes(ulog::COMMAND, &[ulog::BIND]));
    let [a, b, c, d] = TOLD.to_be_bytes();
    let how = Attributes::default()
        .bytes(ulog::MODE, &[a, b, c, d, ulog::COPY_PACKET, 0])
        // Each one at once.
        .number(ulog::QUEUE, 1);
    batch.push(ulog::CONFIG, 0, &head, &how);
    batch.send(&socket)?;
    Ok(socket)
}

/// Numbers of `linux/netfilter/nf_tables.h`.
mod nft {
    pub(super) const BEGIN: u16 = 16;
    pub(super) const END: u16 = 17;
    pub(super) const SUBSYSTEM: u16 = 10;
    pub(super) const NEW_TABLE: u16 = SUBSYSTEM << 8;
    pub(super) const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
    pub(super) const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
    pub(super) const APPEND: u16 = 0x800 | 0x400;
    /// `NFPROTO_INET`: IPv4 and IPv6.
    pub(super) const INET: u8 = 1;
    /// `NFPROTO_IPV4`: all that a kernel built without IPv6 has.
    pub(super) const IPV4: u8 = 2;
    pub(super) const LOCAL_OUT: u32 = 3;
    pub(super) const REGISTER: u32 = 1;
    pub(super) const META_PROTOCOL_FAMILY: u32 = 15;
    pub(super) const META_PROTOCOL: u32 = 16;
    pub(super) const NETWORK_HEADER: u32 = 1;
    pub(super) const TRANSPORT_HEADER: u32 = 2;
    pub(super) const ACCEPT: u32 = 1;
    pub(super) const PORT_GIVEN: u32 = 2;
    /// `NFT_REJECT_ICMP_UNREACH`, and administratively prohibited as ICMP has it.
    pub(super) const REJECT: u32 = 0;
    pub(super) const PROHIBITED: u8 = 13;
    /// `NFT_REJECT_ICMPX_UNREACH`, and the same for either family.
    pub(super) const REJECT_ANY: u32 = 2;
    pub(super) const PROHIBITED_ANY: u8 = 3;
}

const TABLE: &str = "chaperone";

/// For both families, or for IPv4.
fn rules(table: u8, loopback: &[u16]) -> io::Result<()> {
    let head = [table, 0, 0, 0];
    let subsystem = [0, 0, 0, nft::SUBSYSTEM as u8];
    let mut batch = Batch::default();
    batch.mark(nft::BEGIN, &subsystem);
    batch.push(nft::NEW_TABLE, CREATE, &head, &Attributes::default().text(1, TABLE));
    let mut chain = |name: &str, kind: &str, priority: i32, rules: &[Vec<Attributes>]| {
        let hook = Attributes::default().number(1, nft::LOCAL_OUT).bytes(2, &priority.to_be_bytes());
        let chain = Attributes::default().text(1, TABLE).text(3, name).nested(4, &hook).text(7, kind);
        batch.push(nft::NEW_CHAIN, CREATE, &head, &chain);
        for rule in rules {
            let list = rule.iter().fold(Attributes::default(), |list, one| list.nested(1, one));
            let rule = Attributes::default().text(1, TABLE).text(2, name).nested(4, &list);
            batch.push(nft::NEW_RULE, nft::APPEND, &head, &rule);
        }
    };
    let mut capture = persons(loopback);
    capture.extend(inside());
    capture.push(sends(libc::IPPROTO_UDP, Some(53), NAMES));
    capture.push(sends(libc::IPPROTO_TCP, Some(53), NAMES));
    capture.push(sends(libc::IPPROTO_TCP, None, STREAMS));
    // Destinations are changed (-100) before what is left is refused (0).
    chain("capture", "nat", -100, &capture);
    let mut exit = inside();
    let told = Attributes::default().bytes(1, &LOG_GROUP.to_be_bytes()).number(3, TOLD);
    let (how, code) = if table == nft::INET {
        (nft::REJECT_ANY, nft::PROHIBITED_ANY)
    } else {
        (nft::REJECT, nft::PROHIBITED)
    };
    let refuse = Attributes::default().number(1, how).bytes(2, &[code]);
    exit.push(vec![expression("log", &told), expression("reject", &refuse)]);
    chain("exit", "filter", 0, &exit);
    batch.mark(nft::END, &subsystem);
    batch.send(&netlink::netfilter()?)
}

/// A family of addresses, where a header of it has the destination, and the beginning of one.
struct Place(i32, u32, &'static [u8]);

const LOOPBACKS: [Place; 2] =
    [Place(libc::AF_INET, 16, &[127]), Place(libc::AF_INET6, 24, &Ipv6Addr::LOCALHOST.octets())];
const OWN: [Place; 2] =
    [Place(libc::AF_INET, 16, &ADDRESS.octets()), Place(libc::AF_INET6, 24, &ADDRESS_6.octets())];

/// Whether a packet is for a place.
fn to(Place(family, offset, address): &Place) -> Vec<Attributes> {
    let family = u8::try_from(*family).unwrap_or(0);
    let mut rule = vec![meta(nft::META_PROTOCOL_FAMILY), equals(&[family])];
    rule.extend(field(nft::NETWORK_HEADER, *offset, address));
    rule
}

/// Rules that leave alone what stays in the cell.
fn inside() -> Vec<Vec<Attributes>> {
    let leave = |place| to(place).into_iter().chain([accept()]).collect();
    LOOPBACKS.iter().chain(&OWN).map(leave).collect()
}

/// Rules that send ports of loopback to the broker, as if they were elsewhere. The broker's own ports stay what they are.
fn persons(loopback: &[u16]) -> Vec<Vec<Attributes>> {
    let ports = loopback.iter().filter(|port| !CAPTURE.contains(port));
    let rules = ports.flat_map(|port| {
        LOOPBACKS.iter().map(|place| {
            to(place).into_iter().chain(sends(libc::IPPROTO_TCP, Some(*port), STREAMS)).collect()
        })
    });
    rules.collect()
}

/// A rule that sends a protocol, or one port of it, to a port of the broker's.
fn sends(protocol: i32, port: Option<u16>, to: u16) -> Vec<Attributes> {
    let mut rule = vec![meta(nft::META_PROTOCOL), equals(&[u8::try_from(protocol).unwrap_or(0)])];
    if let Some(port) = port {
        rule.extend(field(nft::TRANSPORT_HEADER, 2, &port.to_be_bytes()));
    }
    let value = Attributes::default().bytes(1, &to.to_be_bytes());
    rule.push(expression("immediate", &Attributes::default().number(1, nft::REGISTER).nested(2, &value)));
    rule.push(expression(
        "redir",
        &Attributes::default().number(1, nft::REGISTER).number(3, nft::PORT_GIVEN),
    ));
    rule
}

fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::default().text(1, name).nested(2, data)
}

fn meta(key: u32) -> Attributes {
    expression("meta", &Attributes::default().number(1, nft::REGISTER).number(2, key))
}

fn equals(value: &[u8]) -> Attributes {
    let value = Attributes::default().bytes(1, value);
    expression("cmp", &Attributes::default().number(1, nft::REGISTER).number(2, 0).nested(3, &value))
}

/// Whether the bytes at an offset of a header are these.
fn field(header: u32, offset: u32, value: &[u8]) -> [Attributes; 2] {
    let length = u32::try_from(value.len()).unwrap_or(0);
    let load =
        Attributes::default().number(1, nft::REGISTER).number(2, header).number(3, offset).number(4, length);
    [expression("payload", &load), equals(value)]
}

fn accept() -> Attributes {
    let code = Attributes::default().number(1, nft::ACCEPT);
    let verdict = Attributes::default().nested(2, &code);
    expression("immediate", &Attributes::default().number(1, 0).nested(2, &verdict))
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
    fn ends_come_out_as_they_went_in() {
        let fds = |count: usize| {
            std::iter::repeat_with(|| OwnedFd::from(std::fs::File::open("/dev/null").unwrap())).take(count)
        };
        for (kind, count) in
            [(NetworkKind::Captured, 7), (NetworkKind::CapturedV4, 4), (NetworkKind::Proxied, 1)]
        {
            let mut given = fds(8);
            let ends = NetworkEnds::from_fds(kind, &mut given).unwrap();
            assert_eq!((ends.kind(), ends.fds().len(), given.count()), (kind, count, 8 - count));
            assert!(NetworkEnds::from_fds(kind, &mut fds(count - 1)).is_none());
        }
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

//! The rules of a captured network, as nf_tables has them (`nft(8)`): what is for somewhere else lands on the broker's
//! sockets or is refused, what stays in the cell is left alone.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::netlink::{self, Attributes, Batch, CREATE};
use super::refused_packets::{LOG_GROUP, LOGGED};

/// The cell's own address: programs that ask which families there are must find one besides loopback. Of the block
/// that is never anybody's on a network (RFC 6333 5.7).
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// The same for IPv6: unique local (RFC 4193).
pub(super) const ADDRESS_6: Ipv6Addr = Ipv6Addr::new(0xfd63, 0x6861, 0x7065, 0, 0, 0, 0, 2);
/// Where TCP lands, on loopback in the cell.
pub(super) const STREAMS: u16 = 64_080;
/// Where DNS lands, UDP and TCP.
pub(super) const NAMES: u16 = 64_053;
pub(super) const CAPTURE: &[u16] = &[STREAMS, NAMES];
/// The name of the table.
const TABLE: &str = "chaperone";

/// The families of addresses that this kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    Both,
    /// A kernel built without IPv6.
    Ipv4,
}

/// Give this network namespace its rules; `loopback` as [`crate::Network::Captured`] has it.
pub(super) fn apply(families: Families, loopback: &[u16]) -> io::Result<()> {
    let table = match families {
        Families::Both => nft::INET,
        Families::Ipv4 => nft::IPV4,
    };
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
    let mut capture = users_ports(loopback);
    capture.extend(inside());
    capture.push(sends(libc::IPPROTO_UDP, Some(53), NAMES));
    capture.push(sends(libc::IPPROTO_TCP, Some(53), NAMES));
    capture.push(sends(libc::IPPROTO_TCP, None, STREAMS));
    // Destinations are changed (-100) before what is left is refused (0).
    chain("capture", "nat", -100, &capture);
    let mut exit = inside();
    let logged = Attributes::default().bytes(1, &LOG_GROUP.to_be_bytes()).number(3, LOGGED);
    let (how, code) = if families == Families::Both {
        (nft::REJECT_ANY, nft::PROHIBITED_ANY)
    } else {
        (nft::REJECT, nft::PROHIBITED)
    };
    let refuse = Attributes::default().number(1, how).bytes(2, &[code]);
    exit.push(vec![expression("log", &logged), expression("reject", &refuse)]);
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

/// Rules that send the user's ports of loopback to the broker, as if they were elsewhere. The broker's own ports stay
/// what they are.
fn users_ports(loopback: &[u16]) -> Vec<Vec<Attributes>> {
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

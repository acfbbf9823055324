//! The cell's network: loopback of its own, and either no way out or one, to the broker.
//!
//! With a way out, every TCP connection and every DNS query in the cell's network namespace lands on sockets that the
//! broker holds, whatever address it was for; everything else is refused at once and logged for the broker. The rules are
//! the kernel's (nf_tables, `nft(8)`), made by cell-init before the agent starts; the agent has no privilege to change
//! them. No interface leads out: the default route is the loopback, so that an address can be asked for at all.
//!
//! A kernel without nf_tables leaves a proxy, for programs that look for one: no rules, no route, and one listener.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use chaperone_sys::Forked;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::netlink::{self, Attributes, Batch, CREATE};
use super::refused_packets::log;
use super::rules::{self, ADDRESS, ADDRESS_6, CAPTURE, Families, NAMES, STREAMS};
use crate::network::{CapturedEnds, FamilyEnds, NetworkEnds, PROXY};
use crate::plan::{Network, SetupError};

/// Connections that wait to be accepted; more are tried anew by the kernel that asks.
const BACKLOG: i32 = 512;
/// A stream that one side has ended may be silent for a day: the kernel's own minute or two would leave an answer that
/// takes longer without the way back. Data in the first packet of a connection is off, as programs see.
const SETTINGS: &[(&str, &str)] = &[
    ("netfilter/nf_conntrack_tcp_timeout_close_wait", "86400"),
    ("netfilter/nf_conntrack_tcp_timeout_fin_wait", "86400"),
    ("netfilter/nf_conntrack_tcp_timeout_last_ack", "86400"),
    ("ipv4/tcp_fastopen", "0"),
];

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
    let (v6, families) = match family(Ipv6Addr::LOCALHOST.into()) {
        Ok(ends) => (Some(ends), Families::Both),
        // No address, yet packets of it: the rules are for both.
        Err(e) if e.raw_os_error() == Some(libc::EADDRNOTAVAIL) => (None, Families::Both),
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => (None, Families::Ipv4),
        Err(e) => return Err(step("open the way out for IPv6")(e)),
    };
    addresses(v6.is_some()).map_err(step("give the cell an address"))?;
    let refused = log().map_err(|e| missing(&e))?;
    rules::apply(families, loopback).map_err(|e| missing(&e))?;
    Ok(CapturedEnds { v4, v6, refused })
}

/// Whether this machine can capture a cell's network, tried in namespaces that are thrown away.
pub(crate) fn can_capture() -> Result<(), SetupError> {
    let failed = |e: io::Error| SetupError::new(format!("try to capture a network: {e}"));
    let (results, results_inside) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let child = match chaperone_sys::clone_into_namespaces().map_err(failed)? {
        Forked::Parent { child } => child,
        Forked::Child => {
            let tried = chaperone_sys::bring_up_loopback().map_err(failed).and_then(|()| try_capture(&[]));
            let result = tried.map(|_| ()).map_err(|e| (e.what, e.fix));
            // Whoever asks reads this, or is gone.
            drop(serde_json::to_writer(File::from(results_inside), &result));
            chaperone_sys::exit_now(0)
        }
    };
    drop(results_inside);
    let result: Result<Result<(), (String, Option<String>)>, _> =
        serde_json::from_reader(File::from(results));
    drop(chaperone_sys::wait_child(child, true));
    result.map_err(|e| failed(e.into()))?.map_err(|(what, fix)| SetupError { what, fix })
}

/// Give this network namespace a proxy instead, for a kernel without nf_tables. There is no route to anywhere else.
pub(crate) fn proxy() -> Result<NetworkEnds, SetupError> {
    let listener = listening(Ipv4Addr::LOCALHOST.into(), PROXY)
        .map_err(|e| SetupError::new(format!("open the proxy: {e}")))?;
    Ok(NetworkEnds::Proxied(listener))
}

/// Why a port on loopback is none of the agent's.
pub(crate) fn is_free(network: &Network, port: u16) -> Result<(), String> {
    let own = match network {
        Network::None => &[],
        Network::Captured { .. } => CAPTURE,
        Network::Proxied => &[PROXY][..],
    };
    if own.contains(&port) { Err(format!("port {port} is the cell's way out")) } else { Ok(()) }
}

/// Sockets that listen at a port of both loopbacks, or of the one that there is.
pub(crate) fn listen(network: &Network, port: u16) -> Result<Vec<OwnedFd>, String> {
    is_free(network, port)?;
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::AddrInUse => format!("a program of the cell listens at port {port} already"),
        _ => format!("port {port} of the cell: {e}"),
    };
    let at = |ip: IpAddr| -> io::Result<OwnedFd> {
        // What ended there a moment ago is no listener.
        let socket = socket_of(ip, SocketType::STREAM)?;
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let mut sockets = vec![at(Ipv4Addr::LOCALHOST.into()).map_err(failed)?];
    match at(Ipv6Addr::LOCALHOST.into()) {
        Ok(socket) => sockets.push(socket),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)) => {}
        Err(e) => return Err(failed(e)),
    }
    Ok(sockets)
}

/// The sockets on the loopback of a family.
fn family(loopback: IpAddr) -> io::Result<FamilyEnds> {
    Ok(FamilyEnds {
        streams: listening(loopback, STREAMS)?,
        names: bound(loopback, NAMES, SocketType::DGRAM)?,
        name_streams: listening(loopback, NAMES)?,
    })
}

fn listening(ip: IpAddr, port: u16) -> io::Result<OwnedFd> {
    let socket = bound(ip, port, SocketType::STREAM)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn bound(ip: IpAddr, port: u16, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = socket_of(ip, kind)?;
    rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
    Ok(socket)
}

fn socket_of(ip: IpAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if ip.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
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

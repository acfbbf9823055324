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
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use chaperone_sys::Forked;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::netlink::{self, Attributes, Batch, CREATE};
use super::refused_packets::log;
use super::rules::{self, ADDRESS, ADDRESS_6, CAPTURE, Families, NAMES, STREAMS};
use crate::plan::{Network, SetupError};

/// The name server in the cell's resolv.conf; queries to every other one reach the same socket.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// Where a proxy listens, on loopback in a cell whose network is not captured.
const PROXY: u16 = 3128;
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
/// The broker's ends of the way out.
#[derive(Debug)]
pub enum NetworkEnds {
    Captured(CapturedEnds),
    /// Listening: programs that honour [`proxy_environment`] connect and name their destination. Nothing else leads out.
    Proxied(OwnedFd),
}

/// Where everything that wants out of a captured cell lands.
#[derive(Debug)]
pub struct CapturedEnds {
    pub v4: FamilyEnds,
    /// `None` where the kernel has IPv6 switched off.
    pub v6: Option<FamilyEnds>,
    /// The kernel's log of refused packets; see [`crate::refused_packets`].
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

/// What descriptors a [`NetworkEnds`] is made of; sent beside them.
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

/// Whether this machine can capture a cell's network, tried in namespaces that are thrown away; where it cannot, there is
/// [`Network::Proxied`]. The caller must have one thread only.
///
/// # Errors
/// What is missing, with the command that fixes it, where there is one.
pub fn can_capture() -> Result<(), SetupError> {
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
    let listen = || -> io::Result<OwnedFd> {
        let socket = bound(Ipv4Addr::LOCALHOST.into(), PROXY, SocketType::STREAM)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let listener = listen().map_err(|e| SetupError::new(format!("open the proxy: {e}")))?;
    Ok(NetworkEnds::Proxied(listener))
}

/// Variables that name the proxy of a [`Network::Proxied`] cell; part of the agent's environment.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}

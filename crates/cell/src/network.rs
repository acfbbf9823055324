//! A cell's network as its broker has it: the ends of its way out, whatever backend made the cell.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

pub use chaperone_protocol::NetworkKind;

/// The name server in a captured cell's resolv.conf; queries to every other one reach the same socket.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// Where a proxy listens, on loopback in a cell whose network is not captured.
pub(crate) const PROXY: u16 = 3128;

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

/// Variables that name the proxy of a [`crate::Network::Proxied`] cell; part of the agent's environment.
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

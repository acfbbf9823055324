//! Connections into the cell, for the broker: what listens on its loopback can be reached from its namespace alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Longest that one may take. On a loopback only a server with a full queue takes long.
const LIMIT: Duration = Duration::from_secs(2);
/// Dials that may be under way at once.
const MOST: usize = 64;
/// Where servers listen, in the order in which they are tried.
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// How a dial ended: its connected socket, or why there is none.
pub(crate) type Dialed = (u64, Result<OwnedFd, String>);

/// Connections that are being made; nothing here blocks.
#[derive(Debug, Default)]
pub(crate) struct Dials(Vec<Dial>);

#[derive(Debug)]
struct Dial {
    id: u64,
    port: u16,
    /// The place in [`LOOPBACKS`] that is tried.
    place: usize,
    socket: OwnedFd,
    until: Instant,
}

impl Dials {
    /// Begin to connect to a port; the outcome, when it is known at once.
    pub(crate) fn begin(&mut self, id: u64, port: u16) -> Option<Dialed> {
        if self.0.len() >= MOST {
            return Some((id, Err(format!("{MOST} connections into the cell are being made already"))));
        }
        match connect(0, port) {
            Ok((place, socket)) => {
                self.0.push(Dial { id, port, place, socket, until: Instant::now() + LIMIT });
                None
            }
            Err(error) => Some((id, Err(refused(port, &error)))),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to wait for: a socket that is writable is connected or refused.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter().map(|dial| &dial.socket)
    }

    /// The dials that ended meanwhile.
    pub(crate) fn ended(&mut self) -> Vec<Dialed> {
        let mut looks: Vec<_> = self.sockets().map(|s| PollFd::new(s, PollFlags::OUT)).collect();
        if looks.is_empty() {
            return Vec::new();
        }
        // Without a look nothing is ready, and the limit ends them.
        poll(&mut looks, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok();
        let ready: Vec<bool> = looks.iter().map(|look| !look.revents().is_empty()).collect();
        let mut ended = Vec::new();
        for (dial, ready) in std::mem::take(&mut self.0).into_iter().zip(ready) {
            match dial.proceed(ready) {
                Ok(outcome) => ended.push(outcome),
                Err(dial) => self.0.push(dial),
            }
        }
        ended
    }
}

impl Dial {
    /// The outcome, or the dial that goes on.
    fn proceed(self, ready: bool) -> Result<Dialed, Self> {
        if !ready && Instant::now() < self.until {
            return Err(self);
        }
        if !ready {
            return Ok((self.id, Err(format!("port {} of the cell does not answer", self.port))));
        }
        match connected(&self.socket) {
            Ok(()) => Ok((self.id, Ok(self.socket))),
            Err(error) => match connect(self.place + 1, self.port) {
                Ok((place, socket)) => Err(Self { place, socket, ..self }),
                Err(_) => Ok((self.id, Err(refused(self.port, &error)))),
            },
        }
    }
}

/// Begin to connect to the first place, from this one on, where that is not refused at once; else the first refusal.
fn connect(from: usize, port: u16) -> io::Result<(usize, OwnedFd)> {
    let mut refusal = None;
    for (place, ip) in LOOPBACKS.iter().enumerate().skip(from) {
        let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let begun = rustix::net::socket_with(family, SocketType::STREAM, flags, None).and_then(|socket| {
            match rustix::net::connect(&socket, &SocketAddr::new(*ip, port)) {
                Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                Err(e) => Err(e),
            }
        });
        match begun {
            Ok(socket) => return Ok((place, socket)),
            Err(e) => drop(refusal.get_or_insert(e)),
        }
    }
    Err(refusal.unwrap_or(Errno::CONNREFUSED).into())
}

/// Whether a socket that is ready is connected; whoever gets it may block on it.
fn connected(socket: &OwnedFd) -> io::Result<()> {
    sockopt::socket_error(socket)??;
    // TCP connects a socket to itself when its own port happens to be the one that it is for.
    if rustix::net::getpeername(socket)? == Some(rustix::net::getsockname(socket)?) {
        return Err(Errno::CONNREFUSED.into());
    }
    Ok(rustix::io::ioctl_fionbio(socket, false)?)
}

fn refused(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nothing listens at port {port} of the cell"),
        _ => format!("port {port} of the cell: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn settled(dials: &mut Dials) -> Vec<Dialed> {
        let mut all = Vec::new();
        while !dials.is_empty() {
            all.extend(dials.ended());
            std::thread::yield_now();
        }
        all
    }

    #[test]
    fn a_server_of_either_family_is_reached() {
        for ip in LOOPBACKS {
            // A machine without IPv6 has nothing to reach.
            let Ok(server) = TcpListener::bind((ip, 0)) else { continue };
            let mut dials = Dials::default();
            assert!(dials.begin(7, server.local_addr().unwrap().port()).is_none());
            let (id, socket) = settled(&mut dials).pop().unwrap();
            let stream = TcpStream::from(socket.unwrap());
            assert_eq!((id, stream.peer_addr().unwrap()), (7, server.local_addr().unwrap()));
        }
    }

    #[test]
    fn nobody_and_a_server_that_does_not_answer_are_told_apart_and_the_number_is_bounded() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&server, 0).unwrap();
        let full = server.local_addr().unwrap().port();
        let _fills = TcpStream::connect(("127.0.0.1", full)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut dials = Dials::default();
        let begun = Instant::now();
        assert!(dials.begin(0, free).is_none());
        for id in 1..64 {
            assert!(dials.begin(id, full).is_none());
        }
        assert!(matches!(dials.begin(64, full), Some((64, Err(_)))));
        let mut ended = settled(&mut dials);
        assert!((LIMIT..LIMIT * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        ended.sort_by_key(|(id, _)| *id);
        let why = |n: usize| ended[n].1.as_ref().unwrap_err().clone();
        assert_eq!(why(0), format!("nothing listens at port {free} of the cell"));
        assert_eq!(why(63), format!("port {full} of the cell does not answer"));
    }
}

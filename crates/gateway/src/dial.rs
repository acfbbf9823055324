//! Connections to servers: only to the addresses that were decided on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_pipeline::Authorized;
use tokio::net::TcpStream;

/// How long a connection to a server may take to come up, for each of its addresses.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The addresses and the port of a connection that was decided on; it comes from nowhere else.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    addresses: Vec<IpAddr>,
    port: u16,
}

impl Pinned {
    /// Those that a connection was granted for; none when something else was granted.
    pub fn of(granted: &Authorized) -> Self {
        let network = granted.network().filter(|_| granted.request().action == Action::Connect);
        Self {
            addresses: network.map(|n| n.addresses.clone()).unwrap_or_default(),
            port: network.map_or(0, |n| n.port),
        }
    }

    /// Connect to the first of them that answers.
    ///
    /// # Errors
    /// What the last one said.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for ip in &self.addresses {
            let to = SocketAddr::new(*ip, self.port);
            match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(to)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(e)) => last = e,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

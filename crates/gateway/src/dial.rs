//! Connections to servers: only to the addresses that were decided on, or, where the user's machine reaches the world through a proxy,
//! to the host that was, by that proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_pipeline::Authorized;
use tokio::net::TcpStream;

use crate::company_proxy::{CompanyProxy, Through};
use crate::exit::Exit;

/// How long a connection to a server may take to come up, for each of its addresses.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The addresses and the port of a connection that was decided on; it comes from nowhere else.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    addresses: Vec<IpAddr>,
    port: u16,
    host: String,
    through: Through,
}

impl Pinned {
    /// Those that a connection was granted for; none when something else was granted.
    pub fn of(granted: &Authorized, exit: &Exit) -> Self {
        let network = granted.network().filter(|_| granted.request().action == Action::Connect);
        let host = network.map(|n| n.host.clone()).unwrap_or_default();
        let port = network.map_or(0, |n| n.port);
        Self {
            addresses: network.map(|n| n.addresses.clone()).unwrap_or_default(),
            port,
            through: Host::parse(&host).map(|host| exit.through(&host, port)).unwrap_or_default(),
            host,
        }
    }

    /// The proxy that requests outside of TLS are sent to, as they are.
    pub fn http_proxy(&self) -> Option<&Arc<CompanyProxy>> {
        self.through.http.as_ref()
    }

    /// A connection that is made before it is known what for, unless that is for a proxy to carry as requests: to port 80, and
    /// where it makes no tunnel. `is_tcp` says that the server speaks no HTTP.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn connect_early(&self, is_tcp: bool) -> io::Result<Option<TcpStream>> {
        if is_tcp {
            return self.connect_past_proxy().await.map(Some);
        }
        if self.port == 80 && self.through.http.is_some() {
            return Ok(None);
        }
        match self.connect().await {
            Err(_) if self.through.http.is_some() => Ok(None),
            connected => connected.map(Some),
        }
    }

    /// A connection to the server.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let Some(proxy) = self.through.tunnel.as_ref().or(self.through.http.as_ref()) else {
            return self.connect_directly().await;
        };
        match proxy.tunnel(&self.host, self.port).await {
            // Proxies of companies lead to the web alone as a rule; whatever else programs reach, they reach by themselves.
            Err(_) if self.port != 443 && !self.addresses.is_empty() => self.connect_directly().await,
            connected => connected,
        }
    }

    /// A connection to a server of plain TCP, which no proxy is for unless it alone knows the name.
    ///
    /// # Errors
    /// What is in the way.
    async fn connect_past_proxy(&self) -> io::Result<TcpStream> {
        if self.addresses.is_empty() { self.connect().await } else { self.connect_directly().await }
    }

    /// Connect to the first address that answers.
    async fn connect_directly(&self) -> io::Result<TcpStream> {
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

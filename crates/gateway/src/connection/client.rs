//! The agent's end of a connection, and how it learns what became of it.

use std::io;

use chaperone_protocol::Failure;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::refusal_text::http_response;

/// A connection of the agent's.
#[derive(Debug)]
pub(crate) struct Client {
    pub stream: TcpStream,
    /// What was read of what it says to its server.
    pub read_ahead: Vec<u8>,
    pub protocol: ClientProtocol,
}

impl Client {
    /// Tell it that the way is open.
    pub(super) async fn welcome(mut self) -> io::Result<(TcpStream, Vec<u8>)> {
        self.stream.write_all(self.protocol.granted()).await?;
        Ok((self.stream, self.read_ahead))
    }
}

/// What a program expects before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientProtocol {
    /// It was captured: it knows of nobody between it and its server.
    Captured,
    /// It asked a proxy for a tunnel, by CONNECT.
    HttpTunnel,
    /// The same by SOCKS5.
    Socks5,
    /// It sent a proxy one request, which is still to be read.
    HttpRequest,
}

impl ClientProtocol {
    /// What is waited for when the way is open.
    pub(crate) fn granted(self) -> &'static [u8] {
        match self {
            Self::Captured | Self::HttpRequest => &[],
            Self::HttpTunnel => b"HTTP/1.1 200 Connection established\r\n\r\n",
            Self::Socks5 => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    }

    /// What is told when it is not; nothing to who does not know of a proxy.
    pub(crate) fn refused(self, failure: &Failure) -> Option<Vec<u8>> {
        match self {
            Self::Captured => None,
            Self::HttpTunnel | Self::HttpRequest => Some(http_response(failure)),
            Self::Socks5 => {
                // RFC 1928, section 6.
                let code = match failure.code.as_str() {
                    "cannot_resolve" => 4,
                    "unreachable" => 5,
                    "bad_proxy_request" => 1,
                    _ => 2,
                };
                Some(vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0])
            }
        }
    }
}

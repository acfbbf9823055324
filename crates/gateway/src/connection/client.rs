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
    /// Report to it that the connection is granted.
    pub(super) async fn welcome(mut self) -> io::Result<(TcpStream, Vec<u8>)> {
        self.stream.write_all(self.protocol.granted()).await?;
        Ok((self.stream, self.read_ahead))
    }
}

/// How a connection reached the gateway, and so which reply its program waits for.
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
    /// The reply when it is granted.
    pub(crate) fn granted(self) -> &'static [u8] {
        match self {
            Self::Captured | Self::HttpRequest => &[],
            Self::HttpTunnel => b"HTTP/1.1 200 Connection established\r\n\r\n",
            Self::Socks5 => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    }

    /// The reply when it is refused; none to a program that does not know of a proxy.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asked_a_proxy_hears_of_it() {
        assert!(ClientProtocol::Captured.granted().is_empty());
        assert_eq!(ClientProtocol::Captured.refused(&Failure::new("fronting", "no")), None);
        assert!(ClientProtocol::HttpRequest.granted().is_empty());
        assert!(ClientProtocol::HttpTunnel.granted().starts_with(b"HTTP/1.1 200 "));
        let refused = ClientProtocol::HttpTunnel.refused(&Failure::new("fronting", "no")).unwrap();
        assert!(refused.starts_with(b"HTTP/1.1 403 "));
    }

    #[test]
    fn a_refusal_by_socks_has_the_code_of_its_cause() {
        for (code, reply) in
            [("cannot_resolve", 4), ("unreachable", 5), ("bad_proxy_request", 1), ("denied_by_policy", 2)]
        {
            let refused = ClientProtocol::Socks5.refused(&Failure::new(code, "no")).unwrap();
            assert_eq!(refused.get(..2), Some(&[5, reply][..]), "{code}");
            assert_eq!(refused.len(), ClientProtocol::Socks5.granted().len());
        }
    }
}

//! The way out of a cell whose network cannot be captured: a proxy that programs ask by themselves, in HTTP or SOCKS5. Where
//! to is what they say; from there on it is the way of a captured connection.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_egress::proxy_head::{self, BadHead, Http, MAX_HEAD_BYTES};
use chaperone_pipeline::AccessRequest;
use chaperone_pipeline::access::NetworkResource;
use chaperone_protocol::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Client, ClientProtocol};
use super::refusal::{reset, turn_away};
use crate::session_gateway::SessionGateway;
use crate::{alerts, destination, names};

/// How long a program may take to say where to, once it has begun.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// SOCKS5: the chosen way of authentication is none; there is no acceptable one.
const WELCOME: [u8; 2] = [5, 0];
const NO_WAY_IN: [u8; 2] = [5, 0xff];

/// Why a conversation does not come to a destination.
enum ProxyError {
    Bad(BadHead),
    /// Broken off, or too slow.
    Gone,
}

impl From<BadHead> for ProxyError {
    fn from(bad: BadHead) -> Self {
        Self::Bad(bad)
    }
}

impl From<io::Error> for ProxyError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Serve one connection to the proxy.
pub(crate) async fn serve_client(gateway: SessionGateway, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let mut client = Client { stream, read_ahead: Vec::new(), protocol: ClientProtocol::HttpRequest };
    // A program may keep a connection in store.
    if client.stream.readable().await.is_err() {
        return;
    }
    let to = match tokio::time::timeout(HEAD_LIMIT, open(&mut client)).await {
        Ok(Ok(to)) => to,
        Ok(Err(ProxyError::Bad(bad))) => return refuse(&gateway, client, bad).await,
        Ok(Err(ProxyError::Gone)) | Err(_) => return reset(client.stream),
    };
    // No resolver is asked what this is.
    let to = match to.host.name() {
        Some("localhost") => {
            proxy_head::Destination { host: Host::Address(Ipv4Addr::LOCALHOST.into()), ..to }
        }
        _ => to,
    };
    let shown = destination::bare(&to.host);
    // A name is a query, which carries what is in it as far as its name server: decided before anybody is asked.
    let host = match names::find(&gateway, &to.host).await {
        Ok(host) => host,
        Err(failure) => {
            alerts::refused(&gateway, &shown);
            return turn_away(client, &failure).await;
        }
    };
    let found = gateway.of_host(host, to.port).await;
    super::handle_connection(&gateway, client, (shown, to.port), found).await;
}

/// Find out where to, by the language of the first byte.
async fn open(client: &mut Client) -> Result<proxy_head::Destination, ProxyError> {
    read_more(client).await?;
    if client.read_ahead.first() != Some(&5) {
        return match read_until_parsed(client, proxy_head::http).await? {
            Http::Connect { to, length } => {
                client.read_ahead.drain(..length);
                client.protocol = ClientProtocol::HttpTunnel;
                Ok(to)
            }
            Http::Absolute { to } => Ok(to),
        };
    }
    client.protocol = ClientProtocol::Socks5;
    let length = read_until_parsed(client, proxy_head::socks_greeting).await?;
    client.read_ahead.drain(..length);
    client.stream.write_all(&WELCOME).await?;
    let (to, length) = read_until_parsed(client, proxy_head::socks_request).await?;
    client.read_ahead.drain(..length);
    Ok(to)
}

async fn read_until_parsed<T>(
    client: &mut Client,
    read: impl Fn(&[u8]) -> Result<Option<T>, BadHead>,
) -> Result<T, ProxyError> {
    loop {
        if let Some(whole) = read(&client.read_ahead)? {
            return Ok(whole);
        }
        let known = client.read_ahead.len();
        read_more(client).await?;
        // HTTP is read line by line: without the end of one, reading it again tells nothing.
        while client.protocol == ClientProtocol::HttpRequest
            && client.read_ahead.len() < MAX_HEAD_BYTES
            && !client.read_ahead.get(known..).unwrap_or_default().contains(&b'\n')
        {
            read_more(client).await?;
        }
    }
}

async fn read_more(client: &mut Client) -> Result<(), ProxyError> {
    let mut chunk = [0u8; 4096];
    match client.stream.read(&mut chunk).await? {
        0 => Err(ProxyError::Gone),
        got => {
            client.read_ahead.extend_from_slice(chunk.get(..got).unwrap_or_default());
            Ok(())
        }
    }
}

/// Answer what is no question to a proxy; it is recorded, as the agent's programs may be set up wrongly.
async fn refuse(gateway: &SessionGateway, mut client: Client, bad: BadHead) {
    let failure = Failure::new("bad_proxy_request", format!("invalid proxy request: {bad}"));
    let resource = NetworkResource { shown: "proxy".to_owned(), ..NetworkResource::default() };
    let refusal = gateway.refuse(AccessRequest::network(Action::Connect, resource), failure).await;
    if bad == BadHead::Authentication {
        // Whoever went away meanwhile needs no answer.
        client.stream.write_all(&NO_WAY_IN).await.ok();
        return;
    }
    turn_away(client, &refusal.failure).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a program that sends this wants to go, how it asked, and what of it is left for the server.
    fn opened(sent: &[u8]) -> Option<(String, ClientProtocol, Vec<u8>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut client = Client { stream, read_ahead: Vec::new(), protocol: ClientProtocol::HttpRequest };
            program.write_all(sent).await.unwrap();
            program.shutdown().await.unwrap();
            let to = open(&mut client).await.ok()?;
            Some((destination::shown(&to.host, to.port), client.protocol, client.read_ahead))
        })
    }

    #[test]
    fn a_tunnel_is_asked_for_by_connect() {
        let sent = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03\x01";
        let expected = ("a.example:443".to_owned(), ClientProtocol::HttpTunnel, b"\x16\x03\x01".to_vec());
        assert_eq!(opened(sent), Some(expected));
    }

    #[test]
    fn a_request_to_a_proxy_is_left_whole_for_the_server() {
        let sent = b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let expected = ("a.example:80".to_owned(), ClientProtocol::HttpRequest, sent.to_vec());
        assert_eq!(opened(sent), Some(expected));
    }

    #[test]
    fn a_tunnel_is_asked_for_by_socks() {
        let sent = [&[5, 1, 0][..], &[5, 1, 0, 3, 9], b"a.example", &[1, 187], b"hello"].concat();
        let expected = ("a.example:443".to_owned(), ClientProtocol::Socks5, b"hello".to_vec());
        assert_eq!(opened(&sent), Some(expected));
    }

    #[test]
    fn what_is_no_question_to_a_proxy_leads_nowhere() {
        assert_eq!(opened(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), None);
        assert_eq!(opened(b"CONNECT a.example"), None, "cut short");
        assert_eq!(opened(&[5, 1, 2]), None, "no way of authentication in common");
        assert_eq!(opened(b""), None);
    }
}

//! The way out of a cell whose network cannot be captured: a proxy that programs ask by themselves, in HTTP or SOCKS5. Where
//! to is what they say; from there on it is the way of a captured connection.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_egress::proxy_head::{self, BadHead, Destination, Http, MAX_HEAD_BYTES};
use chaperone_pipeline::AccessRequest;
use chaperone_pipeline::access::NetworkResource;
use chaperone_protocol::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Client, Waits};
use super::refusal::{reset, turn_away};
use crate::session_gateway::Way;
use crate::{alerts, destination, names};

/// How long a program may take to say where to, once it has begun.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// SOCKS5: the chosen way of authentication is none; there is no acceptable one.
const WELCOME: [u8; 2] = [5, 0];
const NO_WAY_IN: [u8; 2] = [5, 0xff];

/// Why a conversation does not come to a destination.
enum Unopened {
    Bad(BadHead),
    /// Broken off, or too slow.
    Gone,
}

impl From<BadHead> for Unopened {
    fn from(bad: BadHead) -> Self {
        Self::Bad(bad)
    }
}

impl From<io::Error> for Unopened {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Serve one connection to the proxy.
pub(crate) async fn conversation(way: Way, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let mut client = Client { stream, said: Vec::new(), waits: Waits::Response };
    // A program may keep a connection in store.
    if client.stream.readable().await.is_err() {
        return;
    }
    let to = match tokio::time::timeout(HEAD_LIMIT, open(&mut client)).await {
        Ok(Ok(to)) => to,
        Ok(Err(Unopened::Bad(bad))) => return refuse(&way, client, bad).await,
        Ok(Err(Unopened::Gone)) | Err(_) => return reset(client.stream),
    };
    // No resolver is asked what this is.
    let to = match to.host.name() {
        Some("localhost") => Destination { host: Host::Address(Ipv4Addr::LOCALHOST.into()), ..to },
        _ => to,
    };
    if let Host::Name(name) = &to.host
        // A name is a query, which carries what is in it as far as its name server: decided before anybody is asked.
        && let Err(failure) = names::find(&way, &to.host).await
    {
        alerts::refused(&way, name);
        return turn_away(client, &failure).await;
    }
    let found = way.of_host(to.host.clone(), to.port).await;
    super::go_on(&way, client, (destination::bare(&to.host), to.port), found).await;
}

/// Find out where to, by the language of the first byte.
async fn open(client: &mut Client) -> Result<Destination, Unopened> {
    hear(client).await?;
    if client.said.first() != Some(&5) {
        return match until(client, proxy_head::http).await? {
            Http::Connect { to, length } => {
                client.said.drain(..length);
                client.waits = Waits::Tunnel;
                Ok(to)
            }
            Http::Absolute { to } => Ok(to),
        };
    }
    client.waits = Waits::Socks;
    let length = until(client, proxy_head::socks_greeting).await?;
    client.said.drain(..length);
    client.stream.write_all(&WELCOME).await?;
    let (to, length) = until(client, proxy_head::socks_request).await?;
    client.said.drain(..length);
    Ok(to)
}

async fn until<T>(
    client: &mut Client,
    read: impl Fn(&[u8]) -> Result<Option<T>, BadHead>,
) -> Result<T, Unopened> {
    loop {
        if let Some(whole) = read(&client.said)? {
            return Ok(whole);
        }
        let known = client.said.len();
        hear(client).await?;
        // HTTP is read line by line: without the end of one, reading it again tells nothing.
        while client.waits == Waits::Response
            && client.said.len() < MAX_HEAD_BYTES
            && !client.said.get(known..).unwrap_or_default().contains(&b'\n')
        {
            hear(client).await?;
        }
    }
}

async fn hear(client: &mut Client) -> Result<(), Unopened> {
    let mut chunk = [0u8; 4096];
    match client.stream.read(&mut chunk).await? {
        0 => Err(Unopened::Gone),
        got => {
            client.said.extend_from_slice(chunk.get(..got).unwrap_or_default());
            Ok(())
        }
    }
}

/// Answer what is no question to a proxy; it is recorded, as the agent's programs may be set up wrongly.
async fn refuse(way: &Way, mut client: Client, bad: BadHead) {
    let failure = Failure::new("bad_proxy_request", format!("the proxy does not carry this: {bad}"));
    let resource = NetworkResource { shown: "proxy".to_owned(), ..NetworkResource::default() };
    let refusal = way.refuse(AccessRequest::network(Action::Connect, resource), failure).await;
    if bad == BadHead::Authentication {
        // Whoever went away meanwhile needs no answer.
        client.stream.write_all(&NO_WAY_IN).await.ok();
        return;
    }
    turn_away(client, &refusal.failure).await;
}

//! Refusing a connection in the language that it speaks.

use std::time::Duration;

use chaperone_protocol::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Client;
use super::first_bytes::{FirstBytes, read_first};
use crate::refusal_text::http_response;

/// How long the first bytes of a connection that is refused anyway are waited for, to answer in its language.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

/// Refuse a connection in its own language, if it says soon which that is.
pub(crate) async fn turn_away(client: Client, failure: &Failure) {
    let Client { stream: mut client, mut read_ahead, protocol } = client;
    if let Some(reply) = protocol.refused(failure) {
        return reply_and_close(client, &reply).await;
    }
    let first = tokio::time::timeout(REFUSAL_LIMIT, read_first(&mut client, &mut read_ahead, false)).await;
    answer(client, first.ok().and_then(Result::ok).as_ref(), failure).await;
}

/// Answer a refusal in the protocol that the connection began with, and close.
pub(super) async fn answer(client: TcpStream, first: Option<&FirstBytes>, failure: &Failure) {
    let reply = match first {
        // A fatal alert, access_denied (RFC 8446 6.2).
        Some(FirstBytes::Tls(_)) => vec![21, 3, 3, 0, 2, 2, 49],
        Some(FirstBytes::Http) => http_response(failure),
        _ => return reset(client),
    };
    reply_and_close(client, &reply).await;
}

/// Send the last bytes of a connection, and close it.
async fn reply_and_close(mut client: TcpStream, reply: &[u8]) {
    // Whoever went away meanwhile needs no answer.
    if client.write_all(reply).await.is_ok() && client.shutdown().await.is_ok() {
        // What it still sends is read, so that the answer is not lost to a reset.
        let drain = async {
            let mut scrap = [0u8; 4096];
            while matches!(client.read(&mut scrap).await, Ok(1..)) {}
        };
        tokio::time::timeout(REFUSAL_LIMIT, drain).await.ok();
    }
}

/// Close so that the peer sees an error, not an end.
pub(crate) fn reset(client: TcpStream) {
    client.set_zero_linger().ok();
    drop(client);
}

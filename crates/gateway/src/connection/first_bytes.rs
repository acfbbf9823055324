//! What an agent's program says first, and what that begins.

use std::io;
use std::time::Duration;

use chaperone_egress::client_hello::{self, ClientHello, MAX_HELLO_BYTES};
use chaperone_protocol::Failure;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long an agent may take for the beginning of what it says, once it has begun.
const HELLO_LIMIT: Duration = Duration::from_secs(30);

/// What an agent says first.
#[derive(Debug)]
pub(crate) enum First {
    Tls(ClientHello),
    Http,
    Other,
    /// It closed without a word.
    Nothing,
}

/// Read until it is clear what the agent begins with; it may take its time to begin, but not to go on.
pub(crate) async fn read_first(client: &mut TcpStream, said: &mut Vec<u8>) -> io::Result<First> {
    if said.is_empty() {
        client.readable().await?;
    }
    let classify = async {
        // What a proxy's client sent along with its question may say it all.
        let mut known = !said.is_empty();
        loop {
            let mut got = said.len();
            if !std::mem::take(&mut known) {
                let mut chunk = [0u8; 4096];
                got = client.read(&mut chunk).await?;
                said.extend_from_slice(chunk.get(..got).unwrap_or_default());
            }
            match client_hello::read(said).map_err(io::Error::other)? {
                _ if said.is_empty() => return Ok(First::Nothing),
                client_hello::Read::Hello(hello) => return Ok(First::Tls(hello)),
                client_hello::Read::NeedMore if got > 0 && said.len() < 2 * MAX_HELLO_BYTES => {}
                client_hello::Read::NeedMore => return Ok(First::Other),
                client_hello::Read::NotTls => match is_http(said) {
                    Some(true) => return Ok(First::Http),
                    None if got > 0 => {}
                    _ => return Ok(First::Other),
                },
            }
        }
    };
    tokio::time::timeout(HELLO_LIMIT, classify).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whether bytes begin an HTTP request: a method, a blank and a target. `None` when there are too few to tell.
fn is_http(said: &[u8]) -> Option<bool> {
    const LONGEST: usize = 20;
    let word = said.iter().take(LONGEST + 1).take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    match (word, said.get(word), said.get(word + 1)) {
        (1..=LONGEST, Some(b' '), Some(next)) => {
            Some(matches!(next, b'/' | b'*' | b'h' | b'H') || next.is_ascii_alphanumeric())
        }
        (1..=LONGEST, Some(b' '), None) | (0..=LONGEST, None, _) => None,
        _ => Some(false),
    }
}

pub(super) fn unreadable(error: &io::Error) -> Failure {
    Failure::new("bad_start", format!("the connection begins with nothing that can be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_http_from_the_rest() {
        for (said, expected) in [
            (&b"GET / HTTP/1.1"[..], Some(true)),
            (b"M-SEARCH * HTTP/1.1", Some(true)),
            (b"CONNECT a.example:443 HTTP/1.1", Some(true)),
            (b"PRI * HTTP/2.0", Some(true)),
            (b"GET", None),
            (b"GET ", None),
            (b"", None),
            (b"SSH-2.0-x", Some(false)),
            (b"get /", Some(false)),
            (b"\x00\x01", Some(false)),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", Some(false)),
        ] {
            assert_eq!(is_http(said), expected, "{said:?}");
        }
    }
}

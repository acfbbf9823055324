//! What an agent's program says first, and what that begins.

use std::io;
use std::time::Duration;

use chaperone_egress::client_hello::{self, ClientHello, MAX_HELLO_BYTES};
use chaperone_protocol::Failure;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long an agent may take for the beginning of what it says, once it has begun.
const HELLO_LIMIT: Duration = Duration::from_secs(30);

/// What a connection begins with.
#[derive(Debug)]
pub(crate) enum FirstBytes {
    Tls(ClientHello),
    Http,
    Other,
    /// It closed without a word.
    Nothing,
}

/// Read until it is clear what the agent begins with; it may take its time to begin, but not to go on.
pub(crate) async fn read_first(client: &mut TcpStream, read_ahead: &mut Vec<u8>) -> io::Result<FirstBytes> {
    if read_ahead.is_empty() {
        client.readable().await?;
    }
    let classify = async {
        // What a proxy's client sent along with its question may say it all.
        let mut known = !read_ahead.is_empty();
        loop {
            let mut got = read_ahead.len();
            if !std::mem::take(&mut known) {
                let mut chunk = [0u8; 4096];
                got = client.read(&mut chunk).await?;
                read_ahead.extend_from_slice(chunk.get(..got).unwrap_or_default());
            }
            match client_hello::read(read_ahead).map_err(io::Error::other)? {
                _ if read_ahead.is_empty() => return Ok(FirstBytes::Nothing),
                client_hello::Read::Hello(hello) => return Ok(FirstBytes::Tls(hello)),
                client_hello::Read::NeedMore if got > 0 && read_ahead.len() < 2 * MAX_HELLO_BYTES => {}
                client_hello::Read::NeedMore => return Ok(FirstBytes::Other),
                client_hello::Read::NotTls => match is_http(read_ahead) {
                    Some(true) => return Ok(FirstBytes::Http),
                    None if got > 0 => {}
                    _ => return Ok(FirstBytes::Other),
                },
            }
        }
    };
    tokio::time::timeout(HELLO_LIMIT, classify).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whether bytes begin an HTTP request: a method, a blank and a target. `None` when there are too few to tell.
fn is_http(read_ahead: &[u8]) -> Option<bool> {
    const LONGEST: usize = 20;
    let word =
        read_ahead.iter().take(LONGEST + 1).take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    match (word, read_ahead.get(word), read_ahead.get(word + 1)) {
        (1..=LONGEST, Some(b' '), Some(next)) => {
            Some(matches!(next, b'/' | b'*' | b'h' | b'H') || next.is_ascii_alphanumeric())
        }
        (1..=LONGEST, Some(b' '), None) | (0..=LONGEST, None, _) => None,
        _ => Some(false),
    }
}

pub(super) fn unreadable(error: &io::Error) -> Failure {
    Failure::new("bad_start", format!("the first bytes of the connection cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn the_first_bytes_tell_http_from_the_rest() {
        for (read_ahead, expected) in [
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
            assert_eq!(is_http(read_ahead), expected, "{read_ahead:?}");
        }
    }

    /// What a program that sends this and then waits, or closes, begins with.
    fn first_of(sent: &[&[u8]]) -> (io::Result<FirstBytes>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut client, _) = listener.accept().await.unwrap();
            let mut read_ahead = Vec::new();
            let send = async {
                for part in sent {
                    program.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
                program.shutdown().await.unwrap();
            };
            let (first, ()) = tokio::join!(read_first(&mut client, &mut read_ahead), send);
            (first, read_ahead)
        })
    }

    #[test]
    fn a_connection_is_known_by_what_its_program_says_first() {
        let (first, read_ahead) = first_of(&[b"GE", b"T / HTTP/1.1\r\n"]);
        assert!(matches!(first, Ok(FirstBytes::Http)), "{first:?}");
        assert!(read_ahead.starts_with(b"GET /"));
        assert!(matches!(first_of(&[b"SSH-2.0-x\r\n"]).0, Ok(FirstBytes::Other)));
        assert!(matches!(first_of(&[]).0, Ok(FirstBytes::Nothing)));
        assert!(matches!(first_of(&[b"GET"]).0, Ok(FirstBytes::Other)), "cut short");
    }

    #[test]
    fn a_broken_start_is_a_refusal_with_its_cause() {
        let failure = unreadable(&io::ErrorKind::TimedOut.into());
        assert_eq!(failure.code, "bad_start");
    }
}

//! What an agent's program says first, and what that begins.

use std::io;
use std::time::Duration;

use chaperone_egress::client_hello::{self, ClientHello, MAX_HELLO_BYTES};
use chaperone_egress::http_start::{self, Start};
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

/// Read until it is clear what the agent begins with; it may take its time to begin, but not to go on. To a server that the user
/// named as one of plain TCP only TLS is told apart.
pub(crate) async fn read_first(
    client: &mut TcpStream,
    read_ahead: &mut Vec<u8>,
    is_tcp: bool,
) -> io::Result<FirstBytes> {
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
                got = match client.read(&mut chunk).await {
                    // Clients open connections beforehand, and drop those that they do not need.
                    Err(e) if read_ahead.is_empty() && e.kind() == io::ErrorKind::ConnectionReset => 0,
                    other => other?,
                };
                read_ahead.extend_from_slice(chunk.get(..got).unwrap_or_default());
            }
            match client_hello::read(read_ahead).map_err(io::Error::other)? {
                _ if read_ahead.is_empty() => return Ok(FirstBytes::Nothing),
                client_hello::Read::Hello(hello) => return Ok(FirstBytes::Tls(hello)),
                client_hello::Read::NeedMore if got > 0 && read_ahead.len() < 2 * MAX_HELLO_BYTES => {}
                client_hello::Read::NeedMore => return Ok(FirstBytes::Other),
                client_hello::Read::NotTls if is_tcp => return Ok(FirstBytes::Other),
                client_hello::Read::NotTls => match http_start::read(read_ahead, got == 0) {
                    Start::Http => return Ok(FirstBytes::Http),
                    Start::Other => return Ok(FirstBytes::Other),
                    Start::NeedMore => {}
                    Start::Endless => return Err(io::Error::other("a first line that does not end")),
                },
            }
        }
    };
    tokio::time::timeout(HELLO_LIMIT, classify).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

pub(super) fn unreadable(error: &io::Error) -> Failure {
    Failure::new("bad_start", format!("the first bytes of the connection cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// What a program that sends this and then waits, or closes, begins with.
    fn first_of(sent: &[&[u8]]) -> (io::Result<FirstBytes>, Vec<u8>) {
        first_to(sent, false)
    }

    fn first_to(sent: &[&[u8]], is_tcp: bool) -> (io::Result<FirstBytes>, Vec<u8>) {
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
            let (first, ()) = tokio::join!(read_first(&mut client, &mut read_ahead, is_tcp), send);
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
        assert!(matches!(
            first_of(&[b"\r\n", b"\r\npo", b"st /in HT", b"TP/1.1\r\n"]).0,
            Ok(FirstBytes::Http)
        ));
        assert!(matches!(first_of(&[b"\r\n\r\n"]).0, Ok(FirstBytes::Other)), "nothing but empty lines");
        let line = [b"post /".to_vec(), vec![b'a'; 70_000]].concat();
        assert!(first_of(&[&line]).0.is_err(), "a line without an end");
    }

    #[test]
    fn a_connection_that_is_dropped_before_a_word_says_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut client, _) = listener.accept().await.unwrap();
            // Without a goodbye, as programs end that have connections to spare.
            rustix::net::sockopt::set_socket_linger(&program, Some(Duration::ZERO)).unwrap();
            drop(program);
            read_first(&mut client, &mut Vec::new(), false).await
        });
        assert!(matches!(first, Ok(FirstBytes::Nothing)), "{first:?}");
    }

    #[test]
    fn to_a_server_of_plain_tcp_no_line_is_a_request() {
        for line in [
            &b"GET key\r\n"[..],
            b"OPTIONS rtsp://a.example/x RTSP/1.0\r\n",
            b"NICK a",
            b"GET / HTTP/1.1\r\n",
        ] {
            let (first, read_ahead) = first_to(&[line], true);
            assert!(matches!(first, Ok(FirstBytes::Other)), "{first:?}");
            assert!(line.starts_with(&read_ahead));
        }
    }

    #[test]
    fn a_broken_start_is_a_refusal_with_its_cause() {
        let failure = unreadable(&io::ErrorKind::TimedOut.into());
        assert_eq!(failure.code, "bad_start");
    }
}

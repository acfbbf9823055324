//! HTTP/2 without TLS, where nothing is agreed on: a client begins with a preface, a server with its settings (RFC 9113, 3.3 and 3.4),
//! and either may be the first to speak.

use std::time::Duration;

use tokio::net::TcpStream;

/// What a client begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a server may take to begin; one that takes longer is believed to wait for more.
const PATIENCE: Duration = Duration::from_secs(3);
/// The head of a frame.
const HEAD: usize = 9;
/// The type of a frame of settings.
const SETTINGS: u8 = 4;
/// Longest frame of settings, of six bytes each.
const LONGEST: usize = 1 << 10;

/// Whether a server that got the preface goes on in HTTP/2. Nothing of what it says is taken.
pub(crate) async fn answers_http_2(server: &TcpStream) -> bool {
    let begins = async {
        let mut head = [0; HEAD];
        loop {
            match server.peek(&mut head).await {
                Ok(0) | Err(_) => return false,
                Ok(n) if n == HEAD || !may_be_settings(head.get(..n).unwrap_or_default()) => {
                    return is_settings(&head);
                }
                // A part of a head, which nobody sends alone.
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, begins).await.unwrap_or(true)
}

/// Whether a server that has said something begins in HTTP/2.
pub(crate) async fn begins_http_2(server: &TcpStream) -> bool {
    let mut head = [0; HEAD];
    matches!(server.peek(&mut head).await, Ok(n) if n == HEAD && is_settings(&head))
}

fn is_settings(head: &[u8; HEAD]) -> bool {
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    length <= LONGEST && length.is_multiple_of(6) && head[3..] == [SETTINGS, 0, 0, 0, 0, 0]
}

fn may_be_settings(begun: &[u8]) -> bool {
    begun.first() == Some(&0) && begun.get(3).is_none_or(|kind| *kind == SETTINGS)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn answers(said: &[&[u8]]) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut theirs, _) = listener.accept().await.unwrap();
            let says = async {
                for part in said {
                    theirs.write_all(part).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                theirs.shutdown().await.unwrap();
            };
            let (answers, ()) = tokio::join!(answers_http_2(&ours), says);
            answers
        })
    }

    #[test]
    fn a_server_is_known_by_what_it_says_first() {
        assert!(answers(&[b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"]));
        assert!(answers(&[b"\0\0\0\x04", b"\0\0\0\0\0"]));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"<!DOCTYPE html>",
            b"220 mail.example ESMTP\r\n",
            b"",
            b"\0\0\x05\x04\0\0\0\0\0",
            b"\0\0\x06\x04\x01\0\0\0\0",
            b"\0\0\x06\x04\0\0\0\0\x01",
            b"\x01\0\x06\x04\0\0\0\0\0",
        ] {
            assert!(!answers(&[other]), "{other:?}");
        }
    }
}

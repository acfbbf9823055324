//! Carrying bytes both ways, with back-pressure: a side is read only as fast as the other one takes it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Bytes held for each direction of a stream.
const BUFFER: usize = 64 << 10;

/// How a stream ended.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub up: u64,
    pub down: u64,
    /// Why it was cut, when it was.
    pub cut: Option<&'static str>,
}

/// What a stream is cut with whose first line became a request while it was carried.
pub(crate) fn becomes_request() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Carry a stream until both sides are done, or the session is. `first` was read from the client already; `pass` counts and
/// sees what is about to go up, nothing at its end, and may refuse it.
pub(crate) async fn carry<C, S>(
    client: C,
    server: S,
    first: Vec<u8>,
    stop: &CancellationToken,
    mut pass: impl FnMut(&[u8]) -> io::Result<()>,
) -> Carried
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut carried = Carried::default();
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let (mut server_reads, mut server_writes) = tokio::io::split(server);
    let (mut sent, mut got) = (0u64, 0u64);
    let up = async {
        let mut buffer = first;
        loop {
            if !buffer.is_empty() {
                pass(&buffer)?;
                server_writes.write_all(&buffer).await?;
                sent += buffer.len() as u64;
            }
            buffer.resize(BUFFER, 0);
            let read = client_reads.read(&mut buffer).await?;
            buffer.truncate(read);
            if read == 0 {
                pass(&[])?;
                return server_writes.shutdown().await;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let read = server_reads.read(&mut buffer).await?;
            if read == 0 {
                return client_writes.shutdown().await;
            }
            client_writes.write_all(buffer.get(..read).unwrap_or_default()).await?;
            got += read as u64;
        }
    };
    // An error on one side ends both; a clean end of one leaves the other open.
    let ended = tokio::select! {
        ended = async { tokio::try_join!(up, down) } => Some(ended),
        () = stop.cancelled() => None,
    };
    carried.up = sent;
    carried.down = got;
    carried.cut = match ended {
        Some(Ok(_)) => None,
        Some(Err(e)) if e.kind() == io::ErrorKind::QuotaExceeded => Some("over_budget"),
        Some(Err(e)) if e.kind() == io::ErrorKind::InvalidData => Some("becomes_request"),
        Some(Err(_)) => Some("broken"),
        None => Some("session_ended"),
    };
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries `first` to a server that answers `reply`; what the server got, and how it ended.
    fn carried(first: &[u8], reply: &[u8], budget: u64, stop: &CancellationToken) -> (Vec<u8>, Carried) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (client, mut agent) = tokio::io::duplex(BUFFER);
            let (server, mut peer) = tokio::io::duplex(BUFFER);
            agent.shutdown().await.unwrap();
            peer.write_all(reply).await.unwrap();
            peer.shutdown().await.unwrap();
            let pass = |bytes: &[u8]| match bytes.len() as u64 > budget {
                true => Err(io::ErrorKind::QuotaExceeded.into()),
                false => Ok(()),
            };
            let carried = carry(client, server, first.to_vec(), stop, pass).await;
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            (got, carried)
        })
    }

    #[test]
    fn both_directions_are_carried_and_counted() {
        let (got, carried) = carried(b"hello", b"hi", 5, &CancellationToken::new());
        assert_eq!(got, b"hello");
        assert_eq!((carried.up, carried.down, carried.cut), (5, 2, None));
    }

    #[test]
    fn what_is_over_the_budget_does_not_leave() {
        let (got, carried) = carried(b"hello", b"", 4, &CancellationToken::new());
        assert_eq!(got, b"");
        assert_eq!((carried.up, carried.cut), (0, Some("over_budget")));
    }

    #[test]
    fn what_becomes_a_request_is_cut_before_its_line_ends() {
        let stop = CancellationToken::new();
        let refuse = |ended: bool| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (client, mut agent) = tokio::io::duplex(BUFFER);
                let (server, mut peer) = tokio::io::duplex(BUFFER);
                agent.write_all(b"HTTP/1.1").await.unwrap();
                agent.shutdown().await.unwrap();
                let pass =
                    |bytes: &[u8]| if bytes.is_empty() == ended { Err(becomes_request()) } else { Ok(()) };
                let carried = carry(client, server, Vec::new(), &stop, pass).await;
                let mut got = Vec::new();
                peer.read_to_end(&mut got).await.unwrap();
                (got, carried.cut)
            })
        };
        assert_eq!(refuse(false), (Vec::new(), Some("becomes_request")));
        assert_eq!(refuse(true), (b"HTTP/1.1".to_vec(), Some("becomes_request")));
    }

    #[test]
    fn the_end_of_the_session_cuts_a_stream() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let (client, _agent) = tokio::io::duplex(BUFFER);
        let (server, _peer) = tokio::io::duplex(BUFFER);
        let carried = runtime.block_on(carry(client, server, Vec::new(), &stop, |_| Ok(())));
        assert_eq!(carried.cut, Some("session_ended"));
    }
}

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

/// Carry a stream until both sides are done, or the session is. `first` was read from the client already; `spend` is told of
/// what is about to go up, and may refuse it.
pub(crate) async fn carry<C, S>(
    client: C,
    server: S,
    first: Vec<u8>,
    stop: &CancellationToken,
    spend: impl Fn(u64) -> io::Result<()>,
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
                spend(buffer.len() as u64)?;
                server_writes.write_all(&buffer).await?;
                sent += buffer.len() as u64;
            }
            buffer.resize(BUFFER, 0);
            let read = client_reads.read(&mut buffer).await?;
            buffer.truncate(read);
            if read == 0 {
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
        Some(Err(_)) => Some("broken"),
        None => Some("session_ended"),
    };
    carried
}

//! A stream of which some bytes were read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives the bytes again, then goes on.
#[derive(Debug)]
pub(crate) struct Prefixed<S> {
    read_ahead: Vec<u8>,
    given: usize,
    stream: S,
}

impl<S> Prefixed<S> {
    pub fn new(read_ahead: Vec<u8>, stream: S) -> Self {
        Self { read_ahead, given: 0, stream }
    }

    /// Whether the bytes that were read begin so.
    pub fn begins_with(&self, bytes: &[u8]) -> bool {
        self.read_ahead.starts_with(bytes)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.read_ahead.get(this.given..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, into);
        }
        let part = rest.get(..into.remaining().min(rest.len())).unwrap_or_default();
        into.put_slice(part);
        this.given += part.len();
        if this.given == this.read_ahead.len() {
            this.read_ahead = Vec::new();
            this.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn what_was_read_ahead_is_read_again_before_the_rest() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut stream = Prefixed::new(b"PRI * ".to_vec(), &b"HTTP/2.0"[..]);
        assert!(stream.begins_with(b"PRI"));
        let read = runtime.block_on(async {
            let mut first = [0; 4];
            stream.read_exact(&mut first).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            [first.to_vec(), rest].concat()
        });
        assert_eq!(read, b"PRI * HTTP/2.0");
    }
}

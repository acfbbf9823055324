//! What is written to the peer. JSON-RPC 2.0 wants `"id": null` in an answer to what no id could be read of, and clients wait for that
//! member; the SDK leaves it out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// How the SDK begins an error that answers no id.
const WITHOUT: &[u8] = b"{\"jsonrpc\":\"2.0\",\"error\":";
const WITH: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":";

/// A byte stream of whole lines: the SDK hands over each message in one piece.
pub struct Answers<W> {
    inner: W,
    /// What the peer has not taken yet, and how much of it it has.
    waiting: Vec<u8>,
    taken: usize,
}

impl<W: AsyncWrite + Unpin> Answers<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, waiting: Vec::new(), taken: 0 }
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        // Not only emptied: the room of a long answer is given back.
        self.waiting = Vec::new();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Answers<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        // One piece at a time is kept here.
        ready!(self.poll_drain(context))?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_prefix(WITHOUT) {
                Some(rest) => self.waiting.extend_from_slice(&[WITH, rest].concat()),
                None => self.waiting.extend_from_slice(line),
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

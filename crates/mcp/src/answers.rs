//! What is written to the peer. JSON-RPC 2.0 wants `"id": null` in an answer to what no id could be read of, and clients wait for that
//! member; the SDK leaves it out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// How the SDK begins an error that answers no id.
const WITHOUT: &[u8] = b"{\"jsonrpc\":\"2.0\",\"error\":";
const WITH: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":";

/// A byte stream of lines: the SDK hands over each message in one piece, and what was not taken of it again.
pub struct Answers<W> {
    inner: W,
    /// Whether a line has begun that has not ended.
    within: bool,
    /// What the peer has not taken yet of a line that was written anew, and how much of it it has.
    waiting: Vec<u8>,
    taken: usize,
}

impl<W: AsyncWrite + Unpin> Answers<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, within: false, waiting: Vec::new(), taken: 0 }
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
        ready!(self.poll_drain(context))?;
        let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        let line = bytes.get(..end).unwrap_or(bytes);
        let taken = match line.strip_prefix(WITHOUT).filter(|_| !self.within) {
            Some(rest) => {
                self.waiting = [WITH, rest].concat();
                line.len()
            }
            None => ready!(Pin::new(&mut self.inner).poll_write(context, line))?,
        };
        self.within = line.get(..taken).and_then(<[u8]>::last).is_some_and(|last| *last != b'\n');
        Poll::Ready(Ok(taken))
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

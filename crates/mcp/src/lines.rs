//! The conversation's lines, bounded before anything parses them: a message too long ends the conversation, one that
//! nests too deep or is no JSON is dropped; either way the peer is told, with an id of null because none was read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rmcp::model::ErrorData;
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::answers::Answers;
use crate::tools::MAX_ARGUMENTS;

/// Longest message line, in bytes. Protects memory. The SDK drops longer lines without a word.
pub const MAX_MESSAGE: usize = MAX_ARGUMENTS + (1 << 16);
/// Answers of one conversation that its peer has not read. Protects memory; beyond it nothing more is read from the peer.
const MAX_UNREAD: usize = 256;
/// Deepest nesting of a message. Protects the parser's stack; the SDK drops what is deeper without a word.
pub const MAX_NESTING: usize = 127;

/// A conversation over a pair of byte streams.
pub struct Lines<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> {
    inner: AsyncRwTransport<RoleServer, Bounded<R>, Answers<W>>,
    faults: UnboundedReceiver<ErrorData>,
    /// One place for each answer that was not taken yet.
    places: Arc<Semaphore>,
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(read: R, write: W) -> Self {
        let (tell, faults) = unbounded_channel();
        let read = Bounded { inner: read, shape: Shape::default(), line: Vec::new(), tell };
        let inner = AsyncRwTransport::new(read, Answers::new(write)).with_max_line_length(MAX_MESSAGE);
        Self { inner, faults, places: Arc::new(Semaphore::new(MAX_UNREAD)) }
    }

    fn told(&mut self, error: ErrorData) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
        self.answer(TxJsonRpcMessage::<RoleServer>::error(error, None))
    }

    /// Send an answer. It takes a place until it is taken, or one too many: what goes on already is answered.
    fn answer(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let sent = self.inner.send(item);
        async move {
            let sent = sent.await;
            drop(place);
            sent
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.answer(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            // Whoever reads no answers is not read, either.
            drop(self.places.acquire().await);
            let fault = tokio::select! {
                biased;
                Some(fault) = self.faults.recv() => fault,
                message = self.inner.receive() => match (message, self.faults.try_recv()) {
                    (None, Ok(last)) => {
                        // A peer that takes no answers learns it from the end of the conversation.
                        self.told(last).await.ok();
                        return None;
                    }
                    (message, Ok(fault)) => {
                        drop(tokio::spawn(self.told(fault)));
                        return message;
                    }
                    (message, Err(_)) => return message,
                },
            };
            // Sent on its own: this future may be dropped half-way.
            drop(tokio::spawn(self.told(fault)));
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

struct Bounded<R> {
    inner: R,
    shape: Shape,
    /// The line so far, to see at its end whether it is JSON: the SDK drops what is not without a word.
    line: Vec<u8>,
    tell: UnboundedSender<ErrorData>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        for byte in buffer.filled().get(before..).unwrap_or_default() {
            if *byte == b'\n' {
                let was_told = self.shape.reported;
                let line = std::mem::take(&mut self.line);
                if !was_told && !line.trim_ascii().is_empty() && !is_json(&line) {
                    // Nobody listens when the conversation is over.
                    self.tell.send(ErrorData::parse_error("not_json: a line that is not JSON", None)).ok();
                }
            } else {
                self.line.push(*byte);
            }
            match self.shape.after(*byte) {
                Ok(()) => {}
                Err(Fault::Deep) => {
                    let why = format!("too_deep: a message that nests deeper than {MAX_NESTING} levels");
                    self.tell.send(ErrorData::invalid_request(why, None)).ok();
                }
                Err(Fault::Long) => {
                    let why = format!(
                        "too_large: a message longer than {MAX_MESSAGE} bytes; write in parts with append_file"
                    );
                    self.tell.send(ErrorData::invalid_request(why.clone(), None)).ok();
                    return Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether a line is one JSON value, without making one.
fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Long,
    Deep,
}

/// What has been seen of the line.
#[derive(Debug, Default)]
struct Shape {
    length: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    reported: bool,
}

impl Shape {
    /// Each fault once a line.
    fn after(&mut self, byte: u8) -> Result<(), Fault> {
        if byte == b'\n' {
            *self = Self::default();
            return Ok(());
        }
        self.length += 1;
        if self.length > MAX_MESSAGE {
            return Err(Fault::Long);
        }
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > MAX_NESTING && !self.reported {
            self.reported = true;
            return Err(Fault::Deep);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn faults(text: &str) -> Vec<Fault> {
        let mut shape = Shape::default();
        text.bytes().filter_map(|b| shape.after(b).err()).collect()
    }

    #[tokio::test]
    async fn what_has_no_id_that_could_be_read_is_answered_with_null() {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, split};
        let (here, there) = tokio::io::duplex(1 << 16);
        let (read, write) = split(there);
        let mut lines = Lines::new(read, write);
        let served = tokio::spawn(async move {
            let message = lines.receive().await;
            assert!(message.is_some(), "the ping comes after the faults");
            lines.receive().await
        });
        let (answers, mut peer) = split(here);
        let deep = "[".repeat(MAX_NESTING + 1);
        // No JSON, JSON that is no message, and too deep.
        let sent = format!("x\n7\n{deep}\n{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}\n");
        peer.write_all(sent.as_bytes()).await.unwrap();
        let mut answers = BufReader::new(answers).lines();
        for _ in 0..3 {
            let line = answers.next_line().await.unwrap().unwrap();
            let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(answer.get("id"), Some(&serde_json::Value::Null), "{line}");
            assert!(answer["error"]["code"].is_i64(), "{line}");
        }
        peer.shutdown().await.unwrap();
        assert!(served.await.unwrap().is_none());
    }

    #[test]
    fn what_is_not_json_is_told_apart() {
        assert!(is_json(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r"));
        for line in [&b"not json"[..], b"{", b"{} {}", b"\xff\xfe", b"{'a':1}", b"\"open"] {
            assert!(!is_json(line), "{line:?}");
        }
    }

    #[tokio::test]
    async fn who_reads_no_answers_is_not_read() {
        let (own, mut peer) = tokio::io::duplex(1 << 16);
        let (read, write) = tokio::io::split(own);
        let mut lines = Lines::new(read, write);
        let ping = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
        peer.write_all(ping).await.unwrap();
        let refused = || ErrorData::parse_error("x".repeat(1 << 10), None);
        let answers: Vec<_> = (0..MAX_UNREAD).map(|_| tokio::spawn(lines.told(refused()))).collect();
        {
            let mut next = std::pin::pin!(lines.receive());
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(next.as_mut().poll(&mut context).is_pending(), "no place is left");
        }
        let taken = tokio::spawn(async move {
            let mut all = vec![0; 1 << 20];
            while peer.read(&mut all).await.is_ok_and(|got| got > 0) {}
        });
        assert!(lines.receive().await.is_some());
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        drop(lines);
        taken.await.unwrap();
    }

    #[test]
    fn depth_is_counted_outside_of_strings_and_for_each_line() {
        let brackets = "[".repeat(MAX_NESTING);
        assert_eq!(faults(&format!("{brackets}\n{brackets}")), []);
        assert_eq!(faults(&format!("{brackets}[[[")), [Fault::Deep]);
        assert_eq!(faults(&format!("{brackets}[\n{brackets}{{")), [Fault::Deep, Fault::Deep]);
        assert_eq!(faults(&format!("\"{brackets}[[[\\\"[[[\"")), []);
        assert_eq!(faults(&format!("\"\\\\\"{brackets}[")), [Fault::Deep]);
    }
}

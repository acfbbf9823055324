//! The conversation's lines, bounded before anything parses them: a message too long ends the conversation, one that
//! nests too deep or is no JSON is dropped; either way the peer is told, with an id of null because none was read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chaperone_quota::{Held, Quota};
use rmcp::model::{ClientNotification, ErrorData, JsonRpcMessage};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::answers::Answers;
use crate::tools::MAX_ARGUMENTS;
use crate::waiting::Waiting;

/// Longest message line, in bytes. Protects memory. The SDK drops longer lines without a word.
pub const MAX_MESSAGE: usize = MAX_ARGUMENTS + (1 << 16);
/// A line is kept here and in the SDK, each with room to grow.
const COPIES: u64 = 3;
/// The room of a line is taken in steps, in bytes; the first is not counted.
const STEP: usize = 64 << 10;
/// Deepest nesting of a message. Protects the parser's stack; the SDK drops what is deeper without a word.
pub const MAX_NESTING: usize = 127;

/// A conversation over a pair of byte streams.
pub struct Lines<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> {
    inner: AsyncRwTransport<RoleServer, Bounded<R>, Answers<W>>,
    faults: UnboundedReceiver<ErrorData>,
    waiting: Arc<Waiting>,
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(read: R, write: W, quota: &Arc<Quota>, waiting: Arc<Waiting>) -> Self {
        let (tell, faults) = unbounded_channel();
        let (shape, line, room) = (Shape::default(), Vec::new(), Held::nothing(quota));
        let read = Bounded { inner: read, shape, line, room, counted: STEP, tell };
        let inner = AsyncRwTransport::new(read, Answers::new(write)).with_max_line_length(MAX_MESSAGE);
        Self { inner, faults, waiting }
    }

    fn told(&mut self, error: ErrorData) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
        self.answer(TxJsonRpcMessage::<RoleServer>::error(error, None))
    }

    /// Send an answer, which waits until it is taken.
    fn answer(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
        let id = match &item {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        let on_its_way = self.waiting.sends(id);
        let sent = self.inner.send(item);
        async move {
            let sent = sent.await;
            drop(on_its_way);
            sent
        }
    }

    /// What of a message waits from now on, or no more. A fault: it is a request that cannot be told from another one.
    fn counted(&self, message: &RxJsonRpcMessage<RoleServer>) -> Result<(), ErrorData> {
        match message {
            JsonRpcMessage::Request(request) if !self.waiting.asked(request.id.clone()) => {
                let why = "id_in_use: a request with this id was not answered yet";
                return Err(ErrorData::invalid_request(why, None));
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.waiting.withdrawn(id);
                }
            }
            _ => {}
        }
        Ok(())
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
            self.waiting.until_readable().await;
            let fault = tokio::select! {
                biased;
                Some(fault) = self.faults.recv() => fault,
                message = self.inner.receive() => match (message, self.faults.try_recv()) {
                    (None, Ok(last)) => {
                        // A peer that takes no answers learns it from the end of the conversation.
                        self.told(last).await.ok();
                        return None;
                    }
                    (message, fault) => {
                        if let Ok(fault) = fault {
                            drop(tokio::spawn(self.told(fault)));
                        }
                        match message.as_ref().map_or(Ok(()), |message| self.counted(message)) {
                            Ok(()) => return message,
                            Err(fault) => fault,
                        }
                    }
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
    /// Of the session's share: what the longest line took, for the SDK keeps its room; and of how many bytes it is.
    room: Held,
    counted: usize,
    tell: UnboundedSender<ErrorData>,
}

impl<R> Bounded<R> {
    /// The end of a conversation whose line is too long.
    fn ended(&self, why: String) -> std::io::Error {
        self.tell.send(ErrorData::invalid_request(why.clone(), None)).ok();
        std::io::Error::new(std::io::ErrorKind::InvalidData, why)
    }
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
                    return Poll::Ready(Err(self.ended(why)));
                }
            }
        }
        let longest = self.line.len();
        if longest > self.counted {
            let more = (longest - self.counted).next_multiple_of(STEP);
            if let Err(e) = self.room.grow(more as u64 * COPIES, 0) {
                return Poll::Ready(Err(self.ended(format!("too_much_held: {e}"))));
            }
            self.counted += more;
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
    use crate::waiting::MAX_WITHOUT_ID;

    fn faults(text: &str) -> Vec<Fault> {
        let mut shape = Shape::default();
        text.bytes().filter_map(|b| shape.after(b).err()).collect()
    }

    fn lines<R, W>(read: R, write: W) -> Lines<R, W>
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let quota = Quota::unlimited();
        Lines::new(read, write, &quota, Waiting::new(&quota))
    }

    #[tokio::test]
    async fn what_has_no_id_that_could_be_read_is_answered_with_null() {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, split};
        let (here, there) = tokio::io::duplex(1 << 16);
        let (read, write) = split(there);
        let mut lines = lines(read, write);
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
        let mut lines = lines(read, write);
        let ping = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
        peer.write_all(ping).await.unwrap();
        let refused = || ErrorData::parse_error("x".repeat(1 << 10), None);
        let answers: Vec<_> = (0..MAX_WITHOUT_ID).map(|_| tokio::spawn(lines.told(refused()))).collect();
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

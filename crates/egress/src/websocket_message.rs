//! Messages out of WebSocket frames: what inspection looks at, since a secret can be split over any number of frames.

use crate::websocket::{Frame, FrameReader, From, Opcode, WebSocketError, check_close};

/// A whole message, or a control frame that came in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The code and the reason, when they were given; nothing follows.
    Close(Option<(u16, String)>),
}

/// Messages out of bytes. Holds at most one incomplete message and one incomplete frame.
#[derive(Debug)]
pub struct MessageReader {
    frames: FrameReader,
    max_message: usize,
    /// The message that is being put together.
    open: Option<(Opcode, Vec<u8>)>,
    broken: bool,
}

impl MessageReader {
    /// `max_message` in bytes, for one frame as for all of a message.
    pub fn new(from: From, max_message: usize) -> Self {
        Self { frames: FrameReader::new(from, max_message), max_message, open: None, broken: false }
    }

    /// The messages that `bytes` complete, in order.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, WebSocketError> {
        if self.broken {
            return Err(WebSocketError::Broken);
        }
        let frames = self.frames.push(bytes);
        let messages = frames.and_then(|f| f.into_iter().filter_map(|f| self.take(f).transpose()).collect());
        if messages.is_err() {
            self.broken = true;
            self.open = None;
        }
        messages
    }

    /// Bytes of frames and of a message that are not whole yet.
    pub fn buffered(&self) -> usize {
        self.frames.buffered() + self.open.as_ref().map_or(0, |(_, message)| message.len())
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Message>, WebSocketError> {
        let Frame { fin, opcode, payload } = frame;
        match opcode {
            Opcode::Ping => return Ok(Some(Message::Ping(payload))),
            Opcode::Pong => return Ok(Some(Message::Pong(payload))),
            Opcode::Close => return check_close(&payload).map(|close| Some(Message::Close(close))),
            Opcode::Text | Opcode::Binary if self.open.is_none() => self.open = Some((opcode, payload)),
            Opcode::Text | Opcode::Binary => return Err(WebSocketError::Fragment),
            Opcode::Continuation => {
                let (_, message) = self.open.as_mut().ok_or(WebSocketError::Fragment)?;
                if message.len().saturating_add(payload.len()) > self.max_message {
                    return Err(WebSocketError::MessageTooLong);
                }
                message.extend_from_slice(&payload);
            }
        }
        let Some((opcode, message)) = self.open.take_if(|_| fin) else { return Ok(None) };
        Ok(Some(if opcode == Opcode::Text {
            Message::Text(String::from_utf8(message).map_err(|_| WebSocketError::NotUtf8)?)
        } else {
            Message::Binary(message)
        }))
    }
}

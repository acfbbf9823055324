//! WebSocket frames and messages in both directions (RFC 6455), read as they arrive.
//!
//! No extension is ever negotiated, so a reserved bit is an error; memory is bounded by the limits that the caller gives.
//! After an error a reader stays broken: where the next frame starts is not known.

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum From {
    /// Frames are masked.
    Client,
    /// Frames are not masked.
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// One frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The last frame of its message.
    pub fin: bool,
    pub opcode: Opcode,
    pub payload: Vec<u8>,
}

/// Why a stream of frames is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WebSocketError {
    #[error("a reserved bit of a WebSocket frame is set though no extension was agreed on")]
    ReservedBit,
    #[error("a WebSocket frame has an unknown opcode")]
    Opcode,
    #[error("a WebSocket control frame is fragmented or longer than 125 bytes")]
    Control,
    #[error("a client's WebSocket frame is not masked")]
    NotMasked,
    #[error("a server's WebSocket frame is masked")]
    Masked,
    #[error("the length of a WebSocket frame is not written in the shortest way")]
    Length,
    #[error("a WebSocket frame is longer than the limit")]
    FrameTooLong,
    #[error("a WebSocket message is longer than the limit")]
    MessageTooLong,
    #[error("a WebSocket message is continued that was not begun, or begun before the last one ended")]
    Fragment,
    #[error("a WebSocket text is not UTF-8")]
    NotUtf8,
    #[error("a WebSocket close frame has no valid code")]
    CloseCode,
    #[error("a WebSocket frame follows the close frame")]
    AfterClose,
    #[error("the WebSocket stream was broken off after an earlier error")]
    Broken,
}

/// Frames out of bytes. Holds at most one incomplete frame.
#[derive(Debug)]
pub struct FrameReader {
    from: From,
    max_payload: usize,
    buffer: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Broken,
}

impl FrameReader {
    /// `max_payload` in bytes: a longer frame is an error as soon as its header is there.
    pub fn new(from: From, max_payload: usize) -> Self {
        Self { from, max_payload, buffer: Vec::new(), state: State::Open }
    }

    /// Bytes of a frame that is not whole yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The frames that `bytes` complete. On an error the frames of the same call before it are lost; nothing of a stream
    /// that breaks the protocol is worth passing on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, WebSocketError> {
        if self.state == State::Broken {
            return Err(WebSocketError::Broken);
        }
        self.read(bytes).inspect_err(|_| {
            self.state = State::Broken;
            self.buffer = Vec::new();
        })
    }

    /// Whether the stream may end here: no frame is half read.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.state != State::Broken
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<Vec<Frame>, WebSocketError> {
        let mut frames = Vec::new();
        // Fill the frame that is open to its end and no further: the buffer never holds two.
        while !self.buffer.is_empty() && !bytes.is_empty() {
            let missing = match self.header(&self.buffer)? {
                Some(header) => header.total().saturating_sub(self.buffer.len()),
                None => 1,
            };
            let (part, rest) = bytes.split_at(missing.min(bytes.len()));
            self.buffer.extend_from_slice(part);
            bytes = rest;
            if let Some((frame, _)) = self.frame(&self.buffer)? {
                self.buffer.clear();
                self.accept(frame, &mut frames)?;
            }
        }
        while !bytes.is_empty() {
            let Some((frame, len)) = self.frame(bytes)? else {
                self.buffer.extend_from_slice(bytes);
                break;
            };
            bytes = bytes.get(len..).unwrap_or_default();
            self.accept(frame, &mut frames)?;
        }
        Ok(frames)
    }

    fn accept(&mut self, frame: Frame, frames: &mut Vec<Frame>) -> Result<(), WebSocketError> {
        if frame.opcode == Opcode::Close {
            check_close(&frame.payload)?;
            self.state = State::Closed;
        }
        frames.push(frame);
        Ok(())
    }

    /// The frame at the start of `bytes` and its length with the header, once it is complete.
    fn frame(&self, bytes: &[u8]) -> Result<Option<(Frame, usize)>, WebSocketError> {
        let Some(header) = self.header(bytes)? else { return Ok(None) };
        let Some(payload) = bytes.get(header.len..header.total()) else { return Ok(None) };
        let mut payload = payload.to_vec();
        if let Some(mask) = header.mask {
            apply_mask(&mut payload, mask);
        }
        Ok(Some((Frame { fin: header.fin, opcode: header.opcode, payload }, header.total())))
    }

    /// The header at the start of `bytes`; what is wrong with it is said as early as it can be seen.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, WebSocketError> {
        let Some(first) = bytes.first() else { return Ok(None) };
        if self.state == State::Closed {
            return Err(WebSocketError::AfterClose);
        }
        if first & 0x70 != 0 {
            return Err(WebSocketError::ReservedBit);
        }
        let opcode = Opcode::of(first & 15).ok_or(WebSocketError::Opcode)?;
        let fin = first & 0x80 != 0;
        let Some(second) = bytes.get(1) else { return Ok(None) };
        let short = second & 0x7f;
        if opcode.is_control() && (!fin || short > MAX_CONTROL_BYTES) {
            return Err(WebSocketError::Control);
        }
        match (self.from, second & 0x80 != 0) {
            (From::Client, false) => return Err(WebSocketError::NotMasked),
            (From::Server, true) => return Err(WebSocketError::Masked),
            (From::Client, true) | (From::Server, false) => {}
        }
        let (payload, len) = match short {
            126 => {
                let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk::<2>) else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*length)), 4)
            }
            127 => {
                let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk::<8>) else { return Ok(None) };
                (u64::from_be_bytes(*length), 10)
            }
            short => (u64::from(short), 2),
        };
        if short == 126 && payload < 126 || short == 127 && (payload <= 0xffff || payload >> 63 != 0) {
            return Err(WebSocketError::Length);
        }
        let payload = usize::try_from(payload).ok().filter(|p| *p <= self.max_payload);
        let payload = payload.ok_or(WebSocketError::FrameTooLong)?;
        if self.from == From::Server {
            return Ok(Some(Header { fin, opcode, mask: None, len, payload }));
        }
        let mask = bytes.get(len..).and_then(<[u8]>::first_chunk::<4>).copied();
        Ok(mask.map(|mask| Header { fin, opcode, mask: Some(mask), len: len + 4, payload }))
    }
}

struct Header {
    fin: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    len: usize,
    payload: usize,
}

impl Header {
    fn total(&self) -> usize {
        self.len.saturating_add(self.payload)
    }
}

/// RFC 6455, section 5.5.
pub(crate) const MAX_CONTROL_BYTES: u8 = 125;

/// The bytes of a frame, its length written in the shortest way. A client masks with four bytes that nobody can foresee,
/// new ones for each frame (section 5.3); a server does not mask.
pub fn encode(frame: &Frame, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.payload.len() + 14);
    out.push(if frame.fin { 0x80 } else { 0 } | frame.opcode.bits());
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match (u8::try_from(frame.payload.len()), u16::try_from(frame.payload.len())) {
        (Ok(short), _) if short <= MAX_CONTROL_BYTES => out.push(masked | short),
        (_, Ok(len)) => {
            out.push(masked | 126);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend((frame.payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let start = out.len();
    out.extend_from_slice(&frame.payload);
    if let Some(mask) = mask {
        apply_mask(out.get_mut(start..).unwrap_or_default(), mask);
    }
    out
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

/// The code and reason of a close frame (RFC 6455, section 7.4; codes up to 1014 in IANA's registry). Codes that are never
/// sent are refused.
pub(crate) fn check_close(payload: &[u8]) -> Result<Option<(u16, String)>, WebSocketError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(WebSocketError::CloseCode) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(WebSocketError::CloseCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| WebSocketError::NotUtf8)?;
    Ok(Some((code, reason.to_owned())))
}

#[cfg(test)]
mod tests;

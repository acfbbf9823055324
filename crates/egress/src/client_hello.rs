//! The first flight of a TLS client, read before anybody answers it (RFC 8446, RFC 5246, RFC 6066, RFC 7301).
//!
//! Only what decides about the connection is kept. Whatever two readers could understand differently is refused: the server
//! behind the broker must see the name that the broker saw.

use crate::host::{Host, HostError};

/// What the first bytes of a stream are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a ClientHello; call again with more bytes behind these.
    NeedMore,
    /// Some other protocol.
    NotTls,
    Hello(ClientHello),
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server (RFC 6066, section 3); always a `Host::Name`.
    pub server_name: Option<Host>,
    /// Protocols in the client's order (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// An encrypted ClientHello: the name above may be a cover for another one. Browsers send this also at random (GREASE),
    /// and nobody but the server can tell.
    pub ech: bool,
    /// Bytes of the records that hold the message: what a splice has to pass on first.
    pub len: usize,
    /// The client sends a request before the server has answered; such a request can be replayed.
    pub early_data: bool,
}

/// Why a stream that begins as TLS is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    #[error("the ClientHello is longer than {MAX_HELLO_BYTES} bytes")]
    TooLong,
    #[error("the ClientHello comes in more than {MAX_RECORDS} records")]
    TooManyRecords,
    #[error("a TLS record is empty, too long or of an unknown version")]
    Record,
    #[error("another record comes before the ClientHello is complete")]
    Interleaved,
    #[error("the handshake does not begin with a ClientHello")]
    NotHello,
    #[error("a length in the ClientHello does not fit")]
    Length,
    #[error("an extension of the ClientHello comes twice")]
    DuplicateExtension,
    #[error("the ClientHello does not name exactly one server")]
    NameList,
    #[error("the ClientHello names an address where a name belongs")]
    NameIsAddress,
    #[error("the ClientHello names no valid host: {0}")]
    Name(#[from] HostError),
}

/// With keys of post-quantum groups a hello has about 2 KiB; beyond this nothing is buffered.
pub const MAX_HELLO_BYTES: usize = 64 * 1024;
/// Clients use one or two; tiny records only hide the name from those who do not put them together.
pub const MAX_RECORDS: usize = 64;

/// Reads the beginning of a stream. Give it all bytes so far; it keeps nothing between calls.
pub fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    // Two bytes say enough; the second is the major version, 3 for everything since SSL 3.0.
    match bytes {
        [] | [HANDSHAKE] => return Ok(Read::NeedMore),
        [HANDSHAKE, 3, ..] => {}
        _ => return Ok(Read::NotTls),
    }
    let mut message = Vec::new();
    let mut rest = bytes;
    for _ in 0..MAX_RECORDS {
        let Some((header, body)) = rest.split_first_chunk::<5>() else { return need_more(bytes) };
        let [kind, major, minor, high, low] = *header;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE {
            return Err(Malformed::Interleaved);
        }
        if major != 3 || minor > 4 || len == 0 || len > MAX_RECORD_BYTES {
            return Err(Malformed::Record);
        }
        let part = body.get(..len).unwrap_or(body);
        message.extend_from_slice(part);
        let done = message_len(&message)?.is_some_and(|total| message.len() >= total);
        if part.len() < len {
            // More than the message in one record is refused below, once the record is here.
            return need_more(bytes);
        }
        rest = body.get(len..).unwrap_or_default();
        if done {
            return hello(&message, bytes.len() - rest.len()).map(Read::Hello);
        }
    }
    Err(Malformed::TooManyRecords)
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446, section 5.1.
const MAX_RECORD_BYTES: usize = 1 << 14;

const EXT_SERVER_NAME: u16 = 0;
const EXT_ALPN: u16 = 16;
const EXT_EARLY_DATA: u16 = 42;
/// Encrypted ClientHello (RFC 9849), and the encrypted name of its early drafts.
const EXT_ECH: u16 = 0xfe0d;
const EXT_ESNI: u16 = 0xffce;

fn need_more(bytes: &[u8]) -> Result<Read, Malformed> {
    if bytes.len() >= MAX_HELLO_BYTES { Err(Malformed::TooLong) } else { Ok(Read::NeedMore) }
}

/// The length of the handshake message with its header, once its header is there.
fn message_len(message: &[u8]) -> Result<Option<usize>, Malformed> {
    match message {
        [] => Ok(None),
        [CLIENT_HELLO, a, b, c, ..] => {
            let len = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
            if len > MAX_HELLO_BYTES { Err(Malformed::TooLong) } else { Ok(Some(len + 4)) }
        }
        [CLIENT_HELLO, ..] => Ok(None),
        _ => Err(Malformed::NotHello),
    }
}

fn hello(message: &[u8], len: usize) -> Result<ClientHello, Malformed> {
    let mut message = Reader(message);
    message.take(1)?;
    let mut body = message.nested(3)?;
    // A second message in the same record would be read by some servers and skipped by others.
    message.end()?;
    body.take(2 + 32)?;
    let session = body.nested(1)?;
    let suites = body.nested(2)?;
    let compressions = body.nested(1)?;
    if session.0.len() > 32
        || suites.0.is_empty()
        || !suites.0.len().is_multiple_of(2)
        || compressions.0.is_empty()
    {
        return Err(Malformed::Length);
    }
    let mut hello = ClientHello { server_name: None, alpn: Vec::new(), ech: false, len, early_data: false };
    // Before TLS 1.2 there may be none.
    if body.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = body.nested(2)?;
    body.end()?;
    let mut seen = std::collections::HashSet::new();
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut data = extensions.nested(2)?;
        if !seen.insert(kind) {
            return Err(Malformed::DuplicateExtension);
        }
        match kind {
            EXT_SERVER_NAME => hello.server_name = Some(server_name(&mut data)?),
            EXT_ALPN => hello.alpn = alpn(&mut data)?,
            EXT_EARLY_DATA => hello.early_data = true,
            EXT_ECH | EXT_ESNI => hello.ech = true,
            _ => {}
        }
    }
    Ok(hello)
}

fn server_name(data: &mut Reader<'_>) -> Result<Host, Malformed> {
    let mut list = data.nested(2)?;
    data.end()?;
    let kind = list.take(1).map_err(|_| Malformed::NameList)?;
    let name = list.nested(2)?;
    // One name, of the one type that exists.
    if kind != [0] || !list.0.is_empty() {
        return Err(Malformed::NameList);
    }
    let text = std::str::from_utf8(name.0).ok().filter(|t| t.is_ascii()).ok_or(HostError::Character)?;
    match Host::parse(text)? {
        Host::Address(_) => Err(Malformed::NameIsAddress),
        name => Ok(name),
    }
}

fn alpn(data: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut list = data.nested(2)?;
    data.end()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.nested(1)?.0;
        if protocol.is_empty() {
            return Err(Malformed::Length);
        }
        protocols.push(protocol.to_vec());
    }
    if protocols.is_empty() { Err(Malformed::Length) } else { Ok(protocols) }
}

/// Takes pieces off the front; every piece is there in full or the message is malformed.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (piece, rest) = self.0.split_at_checked(len).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(piece)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, Malformed> {
        Ok(self.take(bytes)?.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.number(2)?).map_err(|_| Malformed::Length)
    }

    /// What is behind a length of so many bytes.
    fn nested(&mut self, length_bytes: usize) -> Result<Reader<'a>, Malformed> {
        let len = self.number(length_bytes)?;
        self.take(len).map(Reader)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }
}

#[cfg(test)]
mod tests;

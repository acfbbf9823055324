//! Whether a stream begins with an HTTP request, as servers read it, not as it should be written.
//!
//! Servers skip empty lines before a request (RFC 9112, section 2.2), take methods in any case, split words at any blank
//! (section 3), and some take a request without a version. Some read the line as Latin-1 or UTF-8 and split it at whatever is
//! a blank there; some know the protocols next to HTTP, which have its form. Whatever one of them may take for a request is
//! one here, so that it is read and not carried as it is.

/// Bytes of a first line that are waited for. Servers take up to a megabyte; nobody has to wait for so much.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// What stands before the version. Node's parser takes the methods and versions of RTSP and ICE for requests, too.
const PROTOCOLS: [&[u8]; 3] = [b"http/", b"rtsp/", b"ice/"];

/// How a proxy says in binary for whom it connects (PROXY protocol, version 2); what stands behind it is carried to whatever the
/// server speaks. Version 1 is a line of words, which is read as a request's.
const PROXY_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a stream begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Http,
    /// No server takes this for HTTP, unless its first line goes on ([`FirstLine`]).
    Other,
    /// Too little to tell.
    NeedMore,
    /// A line that may become a request, and does not end.
    Endless,
}

/// What `bytes` begin. `ended`: nothing follows them.
#[must_use]
pub fn read(bytes: &[u8], ended: bool) -> Start {
    if bytes.starts_with(PROXY_HEADER) {
        return Start::Http;
    }
    if !ended && PROXY_HEADER.starts_with(bytes) {
        return Start::NeedMore;
    }
    // Empty lines, and blanks that some servers strip.
    let at = bytes.iter().position(|b| !is_blank(*b) && *b != b'\n').unwrap_or(bytes.len());
    let rest = bytes.get(at..).unwrap_or_default();
    let (line, is_whole) = match rest.iter().position(|b| *b == b'\n') {
        Some(end) => (rest.get(..end).unwrap_or_default(), true),
        None => (rest, ended),
    };
    let word = line.iter().take_while(|b| is_token(**b)).count();
    let begins = word > 0 && line.get(word).is_some_and(|b| is_blank(*b));
    if is_request(line)
        || begins && has_version(line)
        || is_whole && (is_request_line(line) || is_old_request(line))
    {
        return Start::Http;
    }
    match line.get(word) {
        _ if is_whole => Start::Other,
        // A method that goes on, or its target.
        None if bytes.len() > MAX_LINE_BYTES => Start::Endless,
        None => Start::NeedMore,
        Some(_) if !begins || !line.iter().all(|b| is_text(*b)) => Start::Other,
        Some(_) if bytes.len() > MAX_LINE_BYTES => Start::Endless,
        Some(_) => Start::NeedMore,
    }
}

/// The first line of a stream that is carried as it is, while it goes by. Protocols that begin with bytes are not waited
/// for, and what begins like one may still become a line that a server takes for a request.
#[derive(Debug, Default)]
pub struct FirstLine {
    line: Vec<u8>,
    is_over: bool,
    proxy: ProxyHeader,
}

/// How far a stream has begun with [`PROXY_HEADER`].
#[derive(Debug, Default)]
struct ProxyHeader {
    matched: usize,
    differs: bool,
}

impl ProxyHeader {
    /// Whether it is whole with these bytes.
    fn is_whole_with(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.differs || self.matched == PROXY_HEADER.len() {
                break;
            }
            self.differs = PROXY_HEADER.get(self.matched) != Some(byte);
            self.matched += 1;
        }
        !self.differs && self.matched == PROXY_HEADER.len()
    }
}

impl FirstLine {
    /// Whether the line, which goes on with `bytes`, is a request's. Before its end no server acts on it.
    pub fn becomes_request(&mut self, bytes: &[u8]) -> bool {
        if self.proxy.is_whole_with(bytes) {
            return true;
        }
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            if self.is_over {
                return false;
            }
            // Empty lines come before the first.
            let skipped =
                if self.line.is_empty() { piece.iter().take_while(|b| is_separator(**b)).count() } else { 0 };
            self.line.extend_from_slice(piece.get(skipped..).unwrap_or_default());
            if self.line.len() > MAX_LINE_BYTES {
                self.end();
            }
            // A carriage return ends it for some servers.
            let is_end = !matches!(self.line.as_slice(), [] | [.., b'\n' | b'\r', b'\r']);
            if is_end && matches!(piece.last(), Some(b'\n' | b'\r')) && is_request_line(&self.line) {
                return true;
            }
            if self.line.ends_with(b"\n") {
                self.end();
            }
        }
        false
    }

    /// Whether the line is a request's when nothing follows it.
    pub fn is_request_at_end(&mut self) -> bool {
        let is_request = !self.is_over && is_request_line(&self.line);
        self.end();
        is_request
    }

    /// Whether a server may still wait for the end of the line.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_over && !self.line.is_empty()
    }

    fn end(&mut self) {
        self.is_over = true;
        self.line = Vec::new();
    }
}

/// A blank and a version, in whatever case and wherever: targets with blanks in them are taken, too.
fn has_version(line: &[u8]) -> bool {
    let is_version =
        |w: &[u8]| w.split_first().is_some_and(|(b, word)| is_separator(*b) && begins_version(word));
    (0..line.len()).any(|at| is_version(line.get(at..).unwrap_or_default()))
}

/// Whether a whole line is a request's to a server that splits it at whatever may be a blank: it ends with a version, or is
/// the question of the first HTTP, which had none and which other protocols do not ask in this form.
fn is_request_line(line: &[u8]) -> bool {
    let is_path = |word: &[u8]| word.starts_with(b"/");
    let is_old = is_old_request(line)
        && (words(line).nth(1).is_some_and(is_path) || !line.trim_ascii_start().starts_with(b"GET "));
    is_old || words(line).nth(1).is_some() && words(line).next_back().is_some_and(is_version)
}

fn is_old_request(line: &[u8]) -> bool {
    let mut words = words(line);
    words.next() == Some(b"GET") && words.next().is_some()
}

fn words(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(|b| is_separator(*b)).filter(|word| !word.is_empty())
}

/// Whether a word is a version and nothing else.
fn is_version(word: &[u8]) -> bool {
    let number = word.iter().position(|b| *b == b'/').and_then(|at| word.get(at + 1..)).unwrap_or_default();
    begins_version(word) && number.iter().all(|b| b.is_ascii_digit() || *b == b'.')
}

/// Whether a word begins as a version: a protocol and a digit.
fn begins_version(word: &[u8]) -> bool {
    PROTOCOLS.iter().any(|name| {
        let begins = word.get(..name.len()).is_some_and(|w| w.eq_ignore_ascii_case(name));
        begins && word.get(name.len()).is_some_and(u8::is_ascii_digit)
    })
}

/// A method, a blank and what only a target begins with: a request is one from here on, with or without a version.
fn is_request(line: &[u8]) -> bool {
    const LONGEST: usize = 32;
    let is_method = |b: u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    let word = line.iter().take(LONGEST + 1).take_while(|b| is_method(**b)).count();
    let next = line.get(word + 1);
    (1..=LONGEST).contains(&word)
        && line.get(word) == Some(&b' ')
        && next.is_some_and(|b| matches!(b, b'/' | b'*') || b.is_ascii_alphanumeric())
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// Where some server splits a line: every control character and, as it may be a blank of Latin-1 or a part of one of UTF-8,
/// every byte beyond ASCII.
fn is_separator(b: u8) -> bool {
    b <= b' ' || b >= 0x7f
}

/// What a method may consist of (RFC 9110, section 5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// What a first line may hold.
fn is_text(b: u8) -> bool {
    is_blank(b) || !b.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_takes_for_a_request_is_one() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"M-SEARCH * HTTP/1.1",
            b"CONNECT a.example:443 HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"GET /",
            b"\r\nPOST /in HTTP/1.1\r\n",
            b"\n\n\r\n\r\nPOST /in HTTP/1.1\r\n",
            b"post /in HTTP/1.1\r\n",
            b"Post /in http/1.1\r\n",
            b" POST /in HTTP/1.0\r\n",
            b"POST\t/in\tHTTP/1.1\r\n",
            b"POST  /in  HTTP/1.1\r\n",
            b"p0st! /in HTTP/1.1\r\n",
            b"P\xc3\x96ST /in HTTP/1.1\r\n",
            b"\r\n\tpost /in HTTP/1.9\n",
            b"get /in HTTP/1.1",
            b"SET_PARAMETER /in RTSP/1.0\r\n",
            b"GET_PARAMETER /in rtsp/1.1\r\n",
            b"source /in ICE/1.0\r\n",
            b"{ /in HTTP/1.1\r\n",
            b"\x01 /in HTTP/1.1\r\n",
            b"\xef\xbb\xbfPOST /in HTTP/1.1\r\n",
            b"POST\xe2\x80\x83/in\xe2\x80\x83HTTP/1.1\r\n",
            b"POST /in\rHTTP/1.1\r",
            b"GET\xa0/in?name=value\r\n",
            b"GET\t/in?name=value\r\n",
            b"GET  in?name=value\r\n",
        ] {
            assert_eq!(read(bytes, false), Start::Http, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    /// What Python's `str.split` takes for a blank in Latin-1, and what others do.
    #[test]
    fn whatever_a_server_splits_at_parts_a_request() {
        for blank in (0..=b' ').chain(0x7f..=0xff).filter(|b| *b != b'\n') {
            for leading in [&b""[..], &[blank], b"\n"] {
                let words = [b"POST", &b"/in"[..], b"HTTP/1.1\r\n"].join(&blank);
                let line = [leading, &words].concat();
                assert_eq!(read(&line, false), Start::Http, "{blank:#x}");
                let (mut carried, mut is_seen) = (FirstLine::default(), false);
                for byte in &line {
                    is_seen |= carried.becomes_request(&[*byte]);
                }
                assert!(is_seen, "{blank:#x}, byte by byte");
                let unended = line.strip_suffix(b"\r\n").unwrap();
                assert_eq!(read(unended, true), Start::Http, "{blank:#x}");
                let mut carried = FirstLine::default();
                assert!(!carried.becomes_request(unended) && carried.is_open());
                assert!(carried.is_request_at_end(), "{blank:#x}, at its end");
            }
        }
    }

    #[test]
    fn what_is_carried_may_still_become_a_request() {
        for parts in [
            &[&b"POST\xa0"[..], b"/in\xa0HTTP/1.1", b"\r\n"][..],
            &[b"post /in\x01", b" HTTP/1.1\n"],
            &[b"{", b" /in HTTP/1.1\r\n"],
            &[b"\r\n", b"\n\x1cPOST /in HTTP/1.1\r\n"],
            &[b"\x00 /in", b" HTTP/1.1\rHost: a\r"],
            &[b"GET\x85/in?na", b"me=value\n"],
        ] {
            let mut line = FirstLine::default();
            assert!(parts.iter().any(|part| line.becomes_request(part)), "{parts:?}");
        }
        for parts in [
            &[&b"EHLO a.example\r\n"[..], b"GET / HTTP/1.1\r\n"][..],
            &[b"SSH-2.0-x\r\n", b"\x00\x00 HTTP/1.1\n"],
            &[b"{\"line\": \"GET / HTTP/1.1\"}\n"],
            &[b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"\n"],
            &[b"0\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"],
            &[b"HTTP/1.1\n"],
            &[b"GET key\r\n"],
            &[b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$14\r\nGET / HTTP/1.1\r\n"],
        ] {
            let mut line = FirstLine::default();
            assert!(!parts.iter().any(|part| line.becomes_request(part)), "{parts:?}");
            assert!(!line.is_request_at_end(), "{parts:?}");
        }
        let mut line = FirstLine::default();
        assert!(!line.becomes_request(&[b'{'; MAX_LINE_BYTES + 1]) && !line.is_open());
        assert!(!line.becomes_request(b" /in HTTP/1.1\n"), "longer than any server takes");
    }

    #[test]
    fn what_a_proxy_says_before_a_request_begins_one() {
        let mut header = PROXY_HEADER.to_vec();
        header.extend_from_slice(
            b"\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02POST /in HTTP/1.1\r\n",
        );
        assert_eq!(read(&header, false), Start::Http);
        assert_eq!(read(b"PROXY TCP4 192.0.2.1 192.0.2.2 111 80\r\n", false), Start::Http);
        for size in 0..PROXY_HEADER.len() {
            assert_eq!(read(&PROXY_HEADER[..size], false), Start::NeedMore, "{size}");
        }
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIX", false), Start::Other);
        let mut carried = FirstLine::default();
        let seen = header.iter().position(|byte| carried.becomes_request(&[*byte]));
        assert_eq!(seen, Some(PROXY_HEADER.len() - 1), "byte by byte, before anything behind it");
        assert!(FirstLine::default().becomes_request(&header));
        let mut carried = FirstLine::default();
        assert!(!carried.becomes_request(b"\r\n\r\n\0\r\nQUIX\n") && !carried.becomes_request(PROXY_HEADER));
    }

    #[test]
    fn what_may_become_a_request_is_waited_for() {
        for bytes in [
            &b""[..],
            b"\r\n",
            b" \t",
            b"GET",
            b"GET ",
            b"get",
            b"get /a path of any kind",
            b"post /in HTTP/",
            b"SSH-2.0-x",
            b"hello",
        ] {
            assert_eq!(read(bytes, false), Start::NeedMore, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_cannot_be_a_request_is_carried_at_once() {
        for bytes in [
            &b"SSH-2.0-x\r\n"[..],
            b"\x00\x01",
            b"*1\r\n$4\r\nPING\r\n",
            b"{\"id\":",
            b"<stream:stream xmlns",
            b"AMQP\x00\x00\x09\x01",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x10\x1a\x00\x04MQTT",
            b"hello\n",
            b"set key \x00",
            b"<13>Nov 26 01:42:55 web nginx: \"GET / HTTP/1.1\" 200 12\n",
            b"{\"line\": \"GET / HTTP/1.1\"}\n",
        ] {
            assert_eq!(read(bytes, false), Start::Other, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn at_the_end_it_is_what_is_there() {
        assert_eq!(read(b"GET", true), Start::Other);
        assert_eq!(read(b"post /in HTTP/1.1", true), Start::Http);
        assert_eq!(read(b"", true), Start::Other);
    }

    #[test]
    fn a_line_without_an_end_is_no_way_around() {
        let mut line = b"post /".to_vec();
        line.resize(MAX_LINE_BYTES + 10, b'a');
        assert_eq!(read(&line, false), Start::Endless);
        for byte in *b"a\n " {
            assert_eq!(read(&[byte; MAX_LINE_BYTES + 10], false), Start::Endless);
        }
        let mut binary = line.clone();
        binary[1000] = 0;
        assert_eq!(read(&binary, false), Start::Other);
    }
}

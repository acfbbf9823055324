//! Whether a stream begins with an HTTP request, as servers read it, not as it should be written.
//!
//! Servers skip empty lines before a request (RFC 9112, section 2.2), take methods in any case, split words at any blank
//! (section 3), and some take a request without a version. Whatever one of them may take for a request is one here, so that
//! it is read and not carried as it is.

/// Bytes of a first line that are waited for. Servers take up to a megabyte; nobody has to wait for so much.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// What a stream begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Http,
    /// No server takes this for HTTP.
    Other,
    /// Too little to tell.
    NeedMore,
    /// A line that may become a request, and does not end.
    Endless,
}

/// What `bytes` begin. `ended`: nothing follows them.
#[must_use]
pub fn read(bytes: &[u8], ended: bool) -> Start {
    let mut bytes = bytes;
    let (line, is_whole) = loop {
        // Empty lines, and blanks that some servers strip.
        let at = bytes.iter().position(|b| !is_blank(*b) && *b != b'\n').unwrap_or(bytes.len());
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|b| *b == b'\n') else { break (rest, ended) };
        let (line, after) = rest.split_at(end);
        if !is_proxy_line(line) {
            break (line, true);
        }
        bytes = after.get(1..).unwrap_or_default();
    };
    let word = line.iter().take_while(|b| is_token(**b)).count();
    let begins = word > 0 && line.get(word).is_some_and(|b| is_blank(*b));
    if is_request(line, is_whole) || (begins || is_whole) && has_version(line, begins) {
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

/// A blank and a version, in whatever case: anywhere behind what may be a method, else at the end.
fn has_version(line: &[u8], anywhere: bool) -> bool {
    let is_version = |w: &[u8]| match w {
        [blank, name @ .., digit] => {
            is_blank(*blank) && name.eq_ignore_ascii_case(b"http/") && digit.is_ascii_digit()
        }
        _ => false,
    };
    let end = line.trim_ascii_end();
    let at_end = end.len().checked_sub(" HTTP/1.1".len()).and_then(|at| end.get(at..)).unwrap_or_default();
    let searched = if anywhere { line } else { at_end };
    searched.windows(" HTTP/1".len()).any(is_version)
}

/// The line with which proxies say for whom they connect: what follows begins as anywhere.
fn is_proxy_line(line: &[u8]) -> bool {
    line.starts_with(b"PROXY TCP") || line.starts_with(b"PROXY UNKNOWN")
}

/// A method, a blank and what only a target begins with: a request is one from here on, with or without a version. A whole
/// line in which no path and no address of the web follows is none, but for `GET`: so begin the protocols of mail, chat and
/// stores. Nor is one that names the version of a protocol of media or telephony.
fn is_request(line: &[u8], is_whole: bool) -> bool {
    const LONGEST: usize = 32;
    let word = line.iter().take(LONGEST + 1).take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    let next = line.get(word + 1);
    (1..=LONGEST).contains(&word)
        && line.get(word) == Some(&b' ')
        && next.is_some_and(|b| matches!(b, b'/' | b'*') || is_whole && b.is_ascii_alphanumeric())
        && (!is_whole || line.starts_with(b"GET ") || (is_target(line, word + 1) && !is_of_media(line)))
}

fn is_target(line: &[u8], at: usize) -> bool {
    let target = line.get(at..).unwrap_or_default();
    let begins = |with: &[u8]| target.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
    begins(b"/") || begins(b"*") || begins(b"http:") || begins(b"https:")
}

fn is_of_media(line: &[u8]) -> bool {
    let last = line.trim_ascii_end().rsplit(|b| *b == b' ').next().unwrap_or_default();
    last.starts_with(b"RTSP/") || last.starts_with(b"SIP/")
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
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
            b"GET x\n",
            b"POST /in\n",
            b"POST http://a.example/in\n",
            b"NICK someone HTTP/1.1\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPOST /in HTTP/1.1\r\n",
            b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\nget /in http/1.0\r\n",
        ] {
            assert_eq!(read(bytes, false), Start::Http, "{:?}", String::from_utf8_lossy(bytes));
        }
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
            b"NICK someo",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
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
            b"NICK someone\r\nUSER a 0 * :b\r\n",
            b"OPTIONS rtsp://cam.example/x RTSP/1.0\r\n",
            b"DESCRIBE /x RTSP/1.0\r\n",
            b"OPTIONS sip:a@b.example SIP/2.0\r\n",
            b"EHLO me.example\r\n",
            b"A1 LOGIN x y\r\n",
            b"SET key value\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello\r\n",
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

//! What a client of a proxy says first, and so where to: HTTP `CONNECT` (RFC 9110, section 9.3.6), HTTP with the whole URL in
//! its target (RFC 9112, section 3.2.2), or SOCKS5 (RFC 1928).
//!
//! Each reader is given all that was said so far and takes nothing for granted: `None` asks for more, and what is left over
//! after the length that it tells is the conversation with the host itself.

use crate::host::{Host, HostError};
use crate::request::{BadRequest, host_and_port};

/// Longest head that is read; the rest of a request with a whole URL is not the proxy's to read.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

/// Where a client of the proxy wants to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub host: Host,
    pub port: u16,
}

/// How an HTTP conversation with a proxy begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Http {
    /// A tunnel; `length` bytes were its head.
    Connect { to: Destination, length: usize },
    /// One request, to be read from its first byte.
    Absolute { to: Destination },
}

/// Why a client of the proxy is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadHead {
    #[error("the head is longer than {MAX_HEAD_BYTES} bytes")]
    TooLong,
    #[error("the request line is no method, target and HTTP/1 version")]
    RequestLine,
    #[error("a line of the head ends in something else than CR LF, or has a control character")]
    Line,
    #[error("a line of the head is no header")]
    Header,
    #[error("the request is for this proxy itself; a proxy is asked for a whole URL, or by CONNECT")]
    NotForAProxy,
    #[error("the proxy carries http:// URLs, and everything else by CONNECT")]
    Scheme,
    #[error("CONNECT names two hosts")]
    TwoHosts,
    #[error("CONNECT has a body")]
    Body,
    #[error("CONNECT names no port")]
    NoPort,
    #[error("{0}")]
    Authority(#[from] BadRequest),
    #[error("no SOCKS5")]
    NotSocks,
    #[error("the client offers no way in without authentication")]
    Authentication,
    #[error("the proxy connects, and neither binds nor relays UDP")]
    Command,
    #[error("an address type that SOCKS5 does not have")]
    AddressType,
    #[error("the host cannot be used: {0}")]
    Host(#[from] HostError),
    #[error("port 0 is no port")]
    Port,
}

/// The beginning of an HTTP conversation.
///
/// # Errors
/// Whatever could be read in two ways is refused.
pub fn http(said: &[u8]) -> Result<Option<Http>, BadHead> {
    let Some((line, length)) = line(said, 0)? else { return Ok(None) };
    let line = std::str::from_utf8(line).map_err(|_| BadHead::RequestLine)?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = *words else { return Err(BadHead::RequestLine) };
    if method.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(BadHead::RequestLine);
    }
    if method != "CONNECT" {
        let to = absolute(target)?;
        return Ok(Some(Http::Absolute { to }));
    }
    let (host, port) = host_and_port(target)?;
    let to = Destination { host, port: port.ok_or(BadHead::NoPort)? };
    Ok(rest(said, length, &to)?.map(|length| Http::Connect { to, length }))
}

fn absolute(target: &str) -> Result<Destination, BadHead> {
    let Some((scheme, rest)) = target.split_once("://") else { return Err(BadHead::NotForAProxy) };
    if target.starts_with(['/', '*', '?']) {
        return Err(BadHead::NotForAProxy);
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(BadHead::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = host_and_port(authority)?;
    Ok(Destination { host, port: port.unwrap_or(80) })
}

/// The headers of a CONNECT: its length when they are complete.
fn rest(said: &[u8], mut at: usize, to: &Destination) -> Result<Option<usize>, BadHead> {
    let mut named = false;
    loop {
        let Some((line, next)) = line(said, at)? else { return Ok(None) };
        at = next;
        if line.is_empty() {
            return Ok(Some(at));
        }
        let colon = line.iter().position(|b| *b == b':').ok_or(BadHead::Header)?;
        let (name, value) = line.split_at(colon);
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if name.is_empty() || !name.iter().all(token) {
            return Err(BadHead::Header);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            let text = std::str::from_utf8(value).map_err(|_| BadHead::Header)?;
            let (host, port) = host_and_port(text)?;
            // Some clients leave the port out here.
            if named || host != to.host || port.is_some_and(|p| p != to.port) {
                return Err(BadHead::TwoHosts);
            }
            named = true;
        }
        let is_empty_body = name.eq_ignore_ascii_case(b"content-length") && value == b"0";
        let tells_body =
            name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding");
        if tells_body && !is_empty_body {
            return Err(BadHead::Body);
        }
    }
}

/// The line that begins here, without its end, and where the next one begins.
fn line(said: &[u8], from: usize) -> Result<Option<(&[u8], usize)>, BadHead> {
    let seen = said.get(from..said.len().min(MAX_HEAD_BYTES)).unwrap_or_default();
    let end = seen.iter().position(|b| b.is_ascii_control() && *b != b'\t');
    match end.map(|end| (end, seen.get(end), seen.get(end + 1))) {
        None if said.len() >= MAX_HEAD_BYTES => Err(BadHead::TooLong),
        None => Ok(None),
        Some((end, Some(b'\r'), Some(b'\n'))) => {
            Ok(Some((seen.get(..end).unwrap_or_default(), from + end + 2)))
        }
        Some((_, Some(b'\r'), None)) if said.len() < MAX_HEAD_BYTES => Ok(None),
        Some((_, Some(b'\r'), None)) => Err(BadHead::TooLong),
        Some(_) => Err(BadHead::Line),
    }
}

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;

/// The first message of SOCKS5, the ways of authentication: its length when it is complete.
///
/// # Errors
/// [`BadHead::NotSocks`], [`BadHead::Authentication`].
pub fn socks_greeting(said: &[u8]) -> Result<Option<usize>, BadHead> {
    let Some((version, rest)) = said.split_first() else { return Ok(None) };
    if *version != VERSION {
        return Err(BadHead::NotSocks);
    }
    let Some((count, methods)) = rest.split_first() else { return Ok(None) };
    if *count == 0 {
        return Err(BadHead::Authentication);
    }
    let count = usize::from(*count);
    let Some(methods) = methods.get(..count) else { return Ok(None) };
    if methods.contains(&NO_AUTHENTICATION) { Ok(Some(2 + count)) } else { Err(BadHead::Authentication) }
}

/// The second message of SOCKS5, the request: where to, and its length, when it is complete.
///
/// # Errors
/// What in it is none of SOCKS5, or nothing that this proxy does.
pub fn socks_request(said: &[u8]) -> Result<Option<(Destination, usize)>, BadHead> {
    const CONNECT: u8 = 1;
    let [version, command, reserved, kind, rest @ ..] = said else {
        let strange = said.first().is_some_and(|v| *v != VERSION);
        return if strange { Err(BadHead::NotSocks) } else { Ok(None) };
    };
    if *version != VERSION || *reserved != 0 {
        return Err(BadHead::NotSocks);
    }
    if *command != CONNECT {
        return Err(BadHead::Command);
    }
    let (length, skip) = match kind {
        1 => (4, 0),
        4 => (16, 0),
        3 => match rest.first() {
            Some(length) => (usize::from(*length), 1),
            None => return Ok(None),
        },
        _ => return Err(BadHead::AddressType),
    };
    let Some(address) = rest.get(skip..skip + length) else { return Ok(None) };
    let Some([high, low]) = rest.get(skip + length..skip + length + 2) else { return Ok(None) };
    let host = match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
        (Ok(v4), _) if *kind == 1 => Host::Address(v4.into()),
        (_, Ok(v6)) if *kind == 4 => Host::Address(std::net::IpAddr::from(v6).to_canonical()),
        _ => domain(address)?,
    };
    let port = u16::from_be_bytes([*high, *low]);
    if port == 0 {
        return Err(BadHead::Port);
    }
    Ok(Some((Destination { host, port }, 4 + skip + length + 2)))
}

/// A name as programs send it to resolvers: ASCII, nothing that has to be mapped to it.
fn domain(bytes: &[u8]) -> Result<Host, BadHead> {
    let text = std::str::from_utf8(bytes).ok().filter(|t| t.bytes().all(|b| b.is_ascii_graphic()));
    match text {
        Some(text) => Ok(Host::parse(text)?),
        None if bytes.is_empty() => Err(HostError::Empty.into()),
        None => Err(HostError::Character.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(host: &str, port: u16) -> Destination {
        Destination { host: Host::parse(host).unwrap(), port }
    }

    #[test]
    fn a_connect_is_read_to_its_end() {
        for (head, host, port) in [
            ("CONNECT a.example:443 HTTP/1.1\r\n\r\n", "a.example", 443),
            ("CONNECT A.Example.:443 HTTP/1.0\r\nHost: a.example\r\nX: \tb\r\n\r\n", "a.example", 443),
            ("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nhost: [2001:db8::1]:8443\r\n\r\n", "2001:db8::1", 8443),
            ("CONNECT 127.1:80 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "127.0.0.1", 80),
        ] {
            let said = [head.as_bytes(), b"\x16\x03\x01"].concat();
            let expected = Ok(Some(Http::Connect { to: to(host, port), length: head.len() }));
            assert_eq!(http(&said), expected, "{head}");
            for cut in 0..head.len() {
                assert_eq!(http(&said[..cut]), Ok(None), "{cut} of {head}");
            }
        }
    }

    #[test]
    fn a_request_for_a_whole_url_is_known_by_its_first_line() {
        for (line, host, port) in [
            ("GET http://a.example/x?y=http://b.example/ HTTP/1.1\r\n", "a.example", 80),
            ("POST HTTP://a.example:8080 HTTP/1.0\r\n", "a.example", 8080),
            ("GET http://[::1]:3000?q HTTP/1.1\r\n", "::1", 3000),
        ] {
            assert_eq!(http(line.as_bytes()), Ok(Some(Http::Absolute { to: to(host, port) })), "{line}");
            assert_eq!(http(&line.as_bytes()[..line.len() - 1]), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let host = |e| BadHead::Authority(BadRequest::Host(e));
        for (head, error) in [
            ("CONNECT a.example HTTP/1.1\r\n\r\n", BadHead::NoPort),
            ("CONNECT a.example:0 HTTP/1.1\r\n\r\n", BadHead::Authority(BadRequest::Port)),
            ("CONNECT a.example:+443 HTTP/1.1\r\n\r\n", BadHead::Authority(BadRequest::Port)),
            ("CONNECT a.example:443 HTTP/1.1\r\nHost: b.example\r\n\r\n", BadHead::TwoHosts),
            ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", BadHead::TwoHosts),
            (
                "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
                BadHead::TwoHosts,
            ),
            ("CONNECT u@a.example:443 HTTP/1.1\r\n\r\n", BadHead::Authority(BadRequest::UserInfo)),
            ("CONNECT a.example:443  HTTP/1.1\r\n\r\n", BadHead::RequestLine),
            ("CONNECT a.example:443 HTTP/2.0\r\n\r\n", BadHead::RequestLine),
            ("CONNECT a.example:443\r\n\r\n", BadHead::RequestLine),
            ("CONNECT b\u{fc}cher.example:443 HTTP/1.1\r\n\r\n", BadHead::RequestLine),
            ("CONNECT a.example\0.b.example:443 HTTP/1.1\r\n\r\n", BadHead::Line),
            ("CONNECT a.example:443 HTTP/1.1\n\n", BadHead::Line),
            ("CONNECT a.example:443 HTTP/1.1\r\rX: y\r\n\r\n", BadHead::Line),
            ("CONNECT a.example:443 HTTP/1.1\r\n folded\r\n\r\n", BadHead::Header),
            ("CONNECT a.example:443 HTTP/1.1\r\nHost : a.example\r\n\r\n", BadHead::Header),
            ("CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n", BadHead::Body),
            ("CONNECT a.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", BadHead::Body),
            ("CONNECT a..example:443 HTTP/1.1\r\n\r\n", host(HostError::Label)),
            ("GET / HTTP/1.1\r\n", BadHead::NotForAProxy),
            ("GET /http://a.example/ HTTP/1.1\r\n", BadHead::NotForAProxy),
            ("OPTIONS * HTTP/1.1\r\n", BadHead::NotForAProxy),
            ("PRI * HTTP/2.0\r\n", BadHead::RequestLine),
            ("GET https://a.example/ HTTP/1.1\r\n", BadHead::Scheme),
            ("GET ftp://a.example/ HTTP/1.1\r\n", BadHead::Scheme),
            ("GET http:/// HTTP/1.1\r\n", BadHead::Authority(BadRequest::NoHost)),
            ("GET http://a.example\\@b.example/ HTTP/1.1\r\n", BadHead::Authority(BadRequest::UserInfo)),
            ("GET http://a%2eexample/ HTTP/1.1\r\n", host(HostError::Character)),
        ] {
            assert_eq!(http(head.as_bytes()), Err(error), "{head:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_not_waited_for() {
        for head in ["GET http://a.example/".to_owned(), "CONNECT a.example:443 HTTP/1.1\r\nX: ".to_owned()] {
            let long = head + &"x".repeat(MAX_HEAD_BYTES);
            assert_eq!(http(long.as_bytes()), Err(BadHead::TooLong));
        }
        let many = "CONNECT a.example:443 HTTP/1.1\r\n".to_owned() + &"X: y\r\n".repeat(MAX_HEAD_BYTES / 6);
        assert_eq!(http(many.as_bytes()), Err(BadHead::TooLong));
    }

    #[test]
    fn socks_is_read_to_its_end() {
        assert_eq!(socks_greeting(&[5, 2, 2, 0, 9]), Ok(Some(4)));
        for cut in 0..4 {
            assert_eq!(socks_greeting(&[5, 2, 2, 0][..cut]), Ok(None));
        }
        let request = |kind: u8, address: &[u8]| [&[5, 1, 0, kind], address, &443u16.to_be_bytes()].concat();
        let v6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let mapped = "::ffff:192.0.2.1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        for (message, host) in [
            (request(1, &[192, 0, 2, 1]), "192.0.2.1"),
            (request(4, &v6), "2001:db8::1"),
            (request(4, &mapped), "192.0.2.1"),
            (request(3, b"\x09a.Example"), "a.example"),
            // As long as an address, and none.
            (request(3, b"\x04a.de"), "a.de"),
            (request(3, b"\x10abcdefgh.example"), "abcdefgh.example"),
            (request(3, b"\x07127.0.1"), "127.0.0.1"),
        ] {
            let said = [message.as_slice(), b"\x16"].concat();
            assert_eq!(socks_request(&said), Ok(Some((to(host, 443), message.len()))), "{host}");
            for cut in 0..message.len() {
                assert_eq!(socks_request(&said[..cut]), Ok(None), "{cut} of {host}");
            }
        }
    }

    #[test]
    fn what_is_none_of_socks5_is_refused() {
        for (said, error) in [
            (&[4, 1][..], BadHead::NotSocks),
            (&[5, 0], BadHead::Authentication),
            (&[5, 1, 2], BadHead::Authentication),
        ] {
            assert_eq!(socks_greeting(said), Err(error), "{said:?}");
        }
        let name = |name: &[u8]| {
            let length = u8::try_from(name.len()).unwrap();
            [&[5, 1, 0, 3, length], name, &[1, 187]].concat()
        };
        for (said, error) in [
            (vec![4], BadHead::NotSocks),
            (vec![5, 1, 1, 1, 1, 1, 1, 1, 0, 80], BadHead::NotSocks),
            (vec![5, 2, 0, 1, 1, 1, 1, 1, 0, 80], BadHead::Command),
            (vec![5, 3, 0, 1, 1, 1, 1, 1, 0, 80], BadHead::Command),
            (vec![5, 1, 0, 2, 1, 1, 1, 1, 0, 80], BadHead::AddressType),
            (vec![5, 1, 0, 1, 1, 1, 1, 1, 0, 0], BadHead::Port),
            (name(b""), HostError::Empty.into()),
            (name(b"a.example\0.b.example"), HostError::Character.into()),
            (name(b"a.example\r\n"), HostError::Character.into()),
            (name(b"a b.example"), HostError::Character.into()),
            (name(b"a.example:80"), HostError::NotIpv6.into()),
            (name("b\u{fc}cher.example".as_bytes()), HostError::Character.into()),
            (name(b"\xff\xfe.example"), HostError::Character.into()),
            (name(&[b'a'; 255]), HostError::TooLong.into()),
            (name(b"*.example"), HostError::Character.into()),
        ] {
            assert_eq!(socks_request(&said), Err(error), "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn a_head_is_the_same_whatever_follows_it(said in proptest::collection::vec(any::<u8>(), 0..300), more: u8) {
            let longer = [said.as_slice(), &[more]].concat();
            if let Ok(Some(read)) = socks_request(&said) {
                prop_assert!(read.1 <= said.len());
                prop_assert_eq!(socks_request(&longer), Ok(Some(read)));
            }
            if let Err(e) = http(&said) {
                prop_assert_eq!(http(&longer), Err(e));
            }
        }
    }
}

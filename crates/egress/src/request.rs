//! What an HTTP request is about, in one reading (RFC 9110, RFC 9112, RFC 9113), or why it has none.
//!
//! Rules judge these facts; the server acts on the bytes. Whatever a server could read differently from the facts (two hosts,
//! two lengths, a header that takes another one away) is refused, not repaired.

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{Method, Uri};

use crate::headers::{forwards_host, overrides};
use crate::host::{Host, HostError};
use crate::path::{self, PathError};

/// What is known of the connection that a request comes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The host that the connection was made for, by SNI or CONNECT; nothing when it was made to an address without a name.
    pub host: Option<Host>,
    /// The port that the cell connected to.
    pub port: u16,
    /// TLS ended at the broker.
    pub tls: bool,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// As written; methods are told apart by letter case.
    pub method: String,
    pub host: Host,
    pub port: u16,
    pub tls: bool,
    /// The path that rules see, see [`path::normalise`]; `*` for a question about the server as a whole (`OPTIONS *`).
    pub path: String,
    /// Without the question mark, as written: servers agree on no reading of it, so inspection decodes it, not a rule.
    pub query: Option<String>,
    /// The path was written in another form. Forward the form above, so that the server decides about what was judged.
    pub path_changed: bool,
    pub body: Body,
    /// The request asks to go on as a WebSocket.
    pub websocket: bool,
    /// The host of the request, or its port, is not that of the connection: domain fronting.
    pub mismatch: bool,
}

/// How the length of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Neither header is there: none in HTTP/1, up to the end of the stream in HTTP/2.
    Unstated,
    /// In bytes.
    Length(u64),
    Chunked,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadRequest {
    #[error("the method is CONNECT, TRACE or TRACK, which the exit does not carry")]
    Method,
    #[error("the method is longer than {MAX_METHOD_BYTES} bytes")]
    LongMethod,
    #[error("the request names no host")]
    NoHost,
    #[error("the request names more than one host")]
    ManyHosts,
    #[error("the host of the request cannot be used: {0}")]
    Host(#[from] HostError),
    #[error("the port of the request is no number from 1 to 65535")]
    Port,
    #[error("the request's target carries user information")]
    UserInfo,
    #[error("the scheme of the request's target is not that of the connection")]
    Scheme,
    #[error("the path of the request cannot be judged: {0}")]
    Path(#[from] PathError),
    #[error(
        "the request has more than {MAX_HEADERS} headers, or its target is longer than {MAX_TARGET_BYTES} bytes"
    )]
    TooLarge,
    #[error("a header or the target has a control character")]
    ControlCharacter,
    #[error("the request's Content-Length is no number or comes with different values")]
    ContentLength,
    #[error("the request has both Content-Length and Transfer-Encoding")]
    TwoLengths,
    #[error("the request's Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    #[error("the Connection header takes away a header that has to arrive")]
    Connection,
    #[error("the request asks to go on in a protocol other than WebSocket, or does not ask properly")]
    Upgrade,
    #[error("a header asks the server to take another method, host, path or length than the request says")]
    Override,
}

pub const MAX_HEADERS: usize = 256;
/// The longest registered methods have 17.
pub const MAX_METHOD_BYTES: usize = 32;
/// Path and query together; servers take 8 KiB as a rule, some search interfaces more.
pub const MAX_TARGET_BYTES: usize = 32 * 1024;

impl RequestFacts {
    /// The facts of a request, HTTP/1 or HTTP/2, before its body is read.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, over: Connection) -> Result<Self, BadRequest> {
        check_method(method)?;
        check_text(uri, headers)?;
        check_overrides(headers)?;
        check_connection(headers)?;
        let (host, port) = authority(uri, headers)?;
        if uri.scheme_str().is_some_and(|s| s != if over.tls { "https" } else { "http" }) {
            return Err(BadRequest::Scheme);
        }
        let path = match uri.path() {
            "*" if method == Method::OPTIONS => "*".to_owned(),
            path => path::normalise(path)?,
        };
        Ok(Self {
            method: method.as_str().to_owned(),
            mismatch: over.host.is_some_and(|h| h != host) || port.is_some_and(|p| p != over.port),
            host,
            port: over.port,
            tls: over.tls,
            path_changed: path != uri.path(),
            path,
            query: uri.query().map(str::to_owned),
            body: body(headers)?,
            websocket: websocket(method, headers)?,
        })
    }

    /// Path and query as they are to be forwarded.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Removes what concerns one connection alone (RFC 9110, section 7.6.1): the headers that Connection names, and those that
/// are known to. A WebSocket needs Connection and Upgrade again, and a body its framing; whoever forwards writes them anew.
pub fn strip_for_forwarding(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION).filter_map(|t| t.parse().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in
        ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "http2-settings"]
    {
        headers.remove(name);
    }
}

/// What Connection may name: what belongs to it, and nothing that a server or a rule relies on.
const CONNECTION_OPTIONS: &[&str] = &["close", "keep-alive", "upgrade", "te", "http2-settings"];

fn check_method(method: &Method) -> Result<(), BadRequest> {
    let carried = !["CONNECT", "TRACE", "TRACK"].iter().any(|m| method.as_str().eq_ignore_ascii_case(m));
    match carried {
        false => Err(BadRequest::Method),
        true if method.as_str().len() > MAX_METHOD_BYTES => Err(BadRequest::LongMethod),
        true => Ok(()),
    }
}

fn check_text(uri: &Uri, headers: &HeaderMap) -> Result<(), BadRequest> {
    let target = uri.path_and_query().map_or("", |p| p.as_str());
    if headers.len() > MAX_HEADERS || target.len() > MAX_TARGET_BYTES {
        return Err(BadRequest::TooLarge);
    }
    // A tab is the one control character of a header value (RFC 9110, section 5.5).
    let control = |bytes: &[u8], tab| bytes.iter().any(|b| b.is_ascii_control() && !(tab && *b == b'\t'));
    if control(target.as_bytes(), false) || headers.values().any(|v| control(v.as_bytes(), true)) {
        return Err(BadRequest::ControlCharacter);
    }
    Ok(())
}

fn check_overrides(headers: &HeaderMap) -> Result<(), BadRequest> {
    let forwards = headers.get_all(FORWARDED).iter().any(|value| forwards_host(value.as_bytes()));
    if forwards || headers.keys().any(|name| overrides(name.as_str())) {
        return Err(BadRequest::Override);
    }
    Ok(())
}

fn check_connection(headers: &HeaderMap) -> Result<(), BadRequest> {
    if headers.get_all(CONNECTION).iter().any(|v| v.to_str().is_err()) {
        return Err(BadRequest::Connection);
    }
    let allowed = |token: &str| CONNECTION_OPTIONS.iter().any(|o| token.eq_ignore_ascii_case(o));
    if tokens(headers, &CONNECTION).all(allowed) { Ok(()) } else { Err(BadRequest::Connection) }
}

/// The members of a header that is a list, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|t| !t.is_empty())
}

/// The one host of the request, and the port when it is written.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<(Host, Option<u16>), BadRequest> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(BadRequest::ManyHosts);
    }
    let header = match header {
        Some(value) => {
            let text = value.to_str().map_err(|_| BadRequest::Host(HostError::Character))?;
            Some(host_and_port(text)?)
        }
        None => None,
    };
    let target = uri.authority().map(|a| host_and_port(a.as_str())).transpose()?;
    match (target, header) {
        (None, None) => Err(BadRequest::NoHost),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some((host, port)), Some((other, other_port))) => {
            // A port that only one of them writes is the default that the other leaves out.
            let ports_differ = port.zip(other_port).is_some_and(|(a, b)| a != b);
            if host != other || ports_differ {
                return Err(BadRequest::ManyHosts);
            }
            Ok((host, port.or(other_port)))
        }
    }
}

pub(crate) fn host_and_port(text: &str) -> Result<(Host, Option<u16>), BadRequest> {
    if text.is_empty() {
        return Err(BadRequest::NoHost);
    }
    if text.contains('@') {
        return Err(BadRequest::UserInfo);
    }
    // A colon inside brackets is IPv6's own.
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text.get(after_brackets..).and_then(|rest| rest.rfind(':')) {
        Some(at) => text.split_at(after_brackets + at),
        None => (text, ""),
    };
    let port = match port.strip_prefix(':') {
        None => None,
        Some(digits) => {
            let number =
                digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten();
            Some(number.filter(|p| *p != 0).ok_or(BadRequest::Port)?)
        }
    };
    Ok((Host::parse(host)?, port))
}

fn body(headers: &HeaderMap) -> Result<Body, BadRequest> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        // A list of equal numbers is one number written by a careless proxy (RFC 9110, section 8.6).
        for part in value.to_str().map_err(|_| BadRequest::ContentLength)?.split(',') {
            let part = part.trim_matches([' ', '\t']);
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let number = part.parse::<u64>().ok().filter(|_| digits).ok_or(BadRequest::ContentLength)?;
            if *length.get_or_insert(number) != number {
                return Err(BadRequest::ContentLength);
            }
        }
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next(), length) {
        (None, _, None) => Ok(Body::Unstated),
        (None, _, Some(length)) => Ok(Body::Length(length)),
        (Some(_), _, Some(_)) => Err(BadRequest::TwoLengths),
        (Some(one), None, None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        (Some(_), _, None) => Err(BadRequest::TransferEncoding),
    }
}

/// Whether the request asks for a WebSocket, in the one way there is in HTTP/1 (RFC 6455, section 4.1).
fn websocket(method: &Method, headers: &HeaderMap) -> Result<bool, BadRequest> {
    let mut wanted = headers.get_all(UPGRADE).iter();
    let (Some(protocol), another) = (wanted.next(), wanted.next()) else { return Ok(false) };
    // An offer that Java and libcurl make in plain HTTP. It need not be taken (RFC 9110, section 7.8), and is not forwarded.
    if another.is_none() && protocol.as_bytes().eq_ignore_ascii_case(b"h2c") {
        return Ok(false);
    }
    let named = tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
    let proper = another.is_none()
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && method == Method::GET
        && named
        && body(headers)? == Body::Unstated;
    if proper { Ok(true) } else { Err(BadRequest::Upgrade) }
}

#[cfg(test)]
mod tests;

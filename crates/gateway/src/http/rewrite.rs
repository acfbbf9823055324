//! Requests and answers, newly written for the other side.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use chaperone_egress::codings;
use chaperone_egress::request::{RequestFacts, strip_for_forwarding};
use chaperone_protocol::Failure;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue, TE, TRAILER, UPGRADE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame};

use super::refusal::{Answer, HttpRefusal};
use crate::body::BufferedBody;
use crate::destination::shown;
use crate::outgoing::chosen::WRITTEN_HERE;

/// The head of a request as the broker sends it: this is what is looked at, counted and sent. The length of a body that is sent while
/// it comes is not known.
pub(super) fn upstream_head(
    tls: bool,
    facts: &RequestFacts,
    mut head: Parts,
    body_length: Option<u64>,
) -> Result<Parts, HttpRefusal> {
    let wrong = |e: http::Error| {
        HttpRefusal(
            StatusCode::BAD_REQUEST,
            Failure::new("bad_request", format!("the request cannot be re-serialised: {e}")),
        )
    };
    let scheme = if tls { "https" } else { "http" };
    let default = if tls { 443 } else { 80 };
    let authority = match facts.port {
        port if port == default => {
            shown(&facts.host, port).rsplit_once(':').map(|(h, _)| h.to_owned()).unwrap_or_default()
        }
        port => shown(&facts.host, port),
    };
    let target = if facts.path == "*" { "*".to_owned() } else { facts.target() };
    head.uri = Uri::builder()
        .scheme(scheme)
        .authority(authority.as_str())
        .path_and_query(target)
        .build()
        .map_err(wrong)?;
    let headers = &mut head.headers;
    let codings = codings::accepted(headers);
    let key = headers.get("sec-websocket-key").cloned();
    // Without it gRPC servers take a client for one that cannot read their trailers.
    let trailers = head.version == Version::HTTP_2 && headers.get(TE).is_some_and(|v| v == "trailers");
    strip_for_forwarding(headers);
    headers.remove(http::header::EXPECT);
    for name in WRITTEN_HERE {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(codings) = codings {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(&codings).map_err(|e| wrong(e.into()))?);
    }
    if let Some(length) = body_length
        && (length > 0 || !matches!(facts.body, chaperone_egress::request::Body::Unstated))
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|e| wrong(e.into()))?);
    join_cookies(headers).map_err(|e| wrong(e.into()))?;
    if facts.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // Compressed messages could not be inspected.
        headers.remove("sec-websocket-extensions");
        if let Some(key) = key {
            headers.insert("sec-websocket-key", key);
        }
    }
    head.version = Version::HTTP_11;
    Ok(head)
}

/// Ask the server to close after a request whose body it may not read, and would take for another request then: one of a method
/// that has none as a rule, or one in which a request stands. Whatever it answers to that has no connection to come by.
pub(super) fn alone(head: &mut Parts, body: &BufferedBody) -> io::Result<()> {
    let is_read = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    if body.len > 0 && (!is_read || holds_request(body)?) && !head.headers.contains_key(UPGRADE) {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(())
}

fn holds_request(body: &BufferedBody) -> io::Result<bool> {
    let mut end = Vec::new();
    let mut found = false;
    body.pieces(|piece| {
        // It may be cut by the end of a piece.
        end.extend(piece.get(..LINE.min(piece.len())).unwrap_or_default());
        found |= holds_request_line(&end) || holds_request_line(piece);
        end = piece.get(piece.len().saturating_sub(LINE)..).unwrap_or_default().to_vec();
    })?;
    Ok(found)
}

/// Bytes in which the beginning of a request line stands.
const LINE: usize = 32;

/// The version of a request line, or the method and the slash of one without a version (HTTP/0.9), in any letter case.
fn holds_request_line(bytes: &[u8]) -> bool {
    let has_version = memchr::memchr_iter(b'/', bytes)
        .any(|at| at >= 4 && bytes.get(at - 4..at).is_some_and(|four| four.eq_ignore_ascii_case(b"http")));
    let begins = |line: &[u8]| {
        let word = line.iter().take(LINE).take_while(|b| b.is_ascii_alphabetic()).count();
        (3..=12).contains(&word) && line.get(word) == Some(&b' ') && line.get(word + 1) == Some(&b'/')
    };
    let lines = memchr::memchr_iter(b'\n', bytes).filter_map(|at| bytes.get(at + 1..));
    has_version || std::iter::once(bytes).chain(lines).any(begins)
}

/// HTTP/2 cuts cookies into several lines; to a server that speaks HTTP/1 they are one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), http::header::InvalidHeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1 {
        let joined = HeaderValue::from_bytes(&lines.join(&b"; "[..]))?;
        headers.insert(COOKIE, joined);
    }
    Ok(())
}

/// The bytes of a head as HTTP/1 writes them.
pub(super) fn head_bytes(head: &Parts) -> u64 {
    let target = head.uri.path_and_query().map_or(1, |t| t.as_str().len());
    let line = head.method.as_str().len() + target + " \x20HTTP/1.1\r\n".len();
    let headers: usize = head.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + ": \r\n".len()).sum();
    (line + headers + "\r\n".len()) as u64
}

/// The answer as the cell gets it: everything but what concerns the broker's own connection, or leads past the broker. One
/// that is longer than its rule says breaks off.
pub(super) fn response_for_client<B>(mut response: Response<B>, most: Option<u64>) -> Answer
where
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let trailers = announced(response.headers());
    clean_for_client(response.headers_mut());
    if let Some(trailers) = trailers {
        // In HTTP/1 those alone are written that are announced, and to whom takes them.
        response.headers_mut().insert(TRAILER, trailers);
    }
    *response.version_mut() = Version::HTTP_11;
    let response = response.map(|body| {
        body.map_frame(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                clean_for_client(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })
    });
    match most.and_then(|most| usize::try_from(most).ok()) {
        Some(most) => response.map(|body| Limited::new(body, most).map_err(io::Error::other).boxed()),
        None => response.map(|body| body.map_err(io::Error::other).boxed()),
    }
}

fn clean_for_client(headers: &mut HeaderMap) {
    strip_for_forwarding(headers);
    headers.remove(http::header::ALT_SVC);
}

/// The trailers that an answer announces.
fn announced(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(TRAILER).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() { None } else { HeaderValue::from_bytes(&lines.join(&b", "[..])).ok() }
}

pub(super) fn upgrade_response<B>(response: &Response<B>) -> Answer {
    let mut answer = Response::new(Full::default().map_err(|never: Infallible| match never {}).boxed());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in response.headers() {
        // The broker asked for no extension; a server that names one all the same is not believed.
        if *name != http::header::SEC_WEBSOCKET_EXTENSIONS {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use chaperone_egress::Host;
    use chaperone_egress::request::Connection;
    use http::{Method, Request};

    use super::*;

    /// What the server gets of a request to `a.example` over TLS.
    fn sent(mut request: Request<()>, body: &[u8]) -> Request<()> {
        let over = Connection { host: Some(Host::Name("a.example".into())), port: 443, tls: true };
        request.headers_mut().insert(HOST, HeaderValue::from_static("a.example"));
        let facts = RequestFacts::of(request.method(), request.uri(), request.headers(), over).unwrap();
        let head = request.into_parts().0;
        match upstream_head(true, &facts, head, Some(body.len() as u64)) {
            Ok(head) => Request::from_parts(head, ()),
            Err(HttpRefusal(status, failure)) => panic!("{status}: {}", failure.message),
        }
    }

    fn get(headers: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::get("/a?b=c").body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn a_body_that_may_be_taken_for_a_request_is_the_last_of_its_connection() {
        let inner = "DELETE /all HTTP/1.1\r\nHost: other\r\n\r\n";
        let long = format!("{}{inner}", "x".repeat(3 << 20));
        let closes = |method: Method, body: &str| {
            let mut head = Request::builder().method(method).uri("/a").body(()).unwrap().into_parts().0;
            alone(&mut head, &BufferedBody::of(body.as_bytes().to_vec())).unwrap();
            head.headers.get(CONNECTION).is_some_and(|value| value == "close")
        };
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
            assert!(closes(method.clone(), "{}") && !closes(method, ""));
        }
        assert!(closes(Method::POST, inner) && closes(Method::PUT, &long));
        for line in ["GET /all", "x\r\nget /all http/1.1", "a\nDELETE /all"] {
            assert!(closes(Method::POST, line), "{line}");
        }
        assert!(!closes(Method::POST, "{\"model\":\"m\", \"path\": \"a /b\"}"));
    }

    #[test]
    fn what_concerns_the_agents_connection_alone_stays_behind() {
        let request = sent(
            get(&[
                ("connection", "keep-alive"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic eDp5"),
                ("te", "trailers"),
                ("expect", "100-continue"),
                ("accept-encoding", "br;level=11, x-237-82-2033, gzip"),
                ("authorization", "Bearer x"),
            ]),
            b"",
        );
        let mut names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "authorization", "host"]);
        assert_eq!(request.headers()["accept-encoding"], "gzip, br");
        assert_eq!(request.version(), Version::HTTP_11);
    }

    #[test]
    fn the_address_is_written_from_what_was_decided_on() {
        let request = sent(get(&[]), b"");
        assert_eq!(request.uri(), "https://a.example/a?b=c");
        assert_eq!(request.headers()[HOST], "a.example");
    }

    #[test]
    fn the_length_of_a_body_is_that_of_what_was_inspected() {
        let mut chunked = Request::post("/").body(()).unwrap();
        chunked.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
        let request = sent(chunked, b"hello");
        assert_eq!(request.headers()["content-length"], "5");
        assert!(!request.headers().contains_key("transfer-encoding"));
        let mut empty = Request::post("/").body(()).unwrap();
        empty.headers_mut().insert("content-length", HeaderValue::from_static("0"));
        assert_eq!(sent(empty, b"").headers()["content-length"], "0");
        assert!(!sent(get(&[]), b"").headers().contains_key("content-length"));
    }

    #[test]
    fn a_websocket_keeps_its_handshake_but_no_compression() {
        let request = sent(
            get(&[
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-extensions", "permessage-deflate"),
            ]),
            b"",
        );
        assert_eq!(request.headers()[UPGRADE], "websocket");
        assert_eq!(request.headers()[CONNECTION], "Upgrade");
        assert_eq!(request.headers()["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(!request.headers().contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn cookies_that_were_cut_are_one_again() {
        let request = sent(get(&[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")]), b"");
        let lines: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(lines, ["a=1; b=2"]);
    }

    #[test]
    fn every_byte_of_a_head_is_counted() {
        let request = sent(get(&[("x-note", "abc")]), b"");
        let written = "GET /a?b=c HTTP/1.1\r\nx-note: abc\r\nhost: a.example\r\n\r\n";
        assert_eq!(head_bytes(&request.into_parts().0), written.len() as u64);
    }

    #[test]
    fn trailers_are_announced_only_where_http_2_asked_for_them() {
        let mut request = get(&[("te", "trailers")]);
        *request.version_mut() = Version::HTTP_2;
        assert_eq!(sent(request, b"").headers()[TE], "trailers");
    }

    #[test]
    fn an_options_request_for_the_server_itself_keeps_its_asterisk() {
        let request = Request::builder().method(Method::OPTIONS).uri("*").body(()).unwrap();
        assert_eq!(sent(request, b"").uri().path(), "*");
    }

    #[test]
    fn an_answer_neither_leads_past_the_exit_nor_speaks_of_another_connection() {
        let answer = Response::builder()
            .status(404)
            .header("alt-svc", "h3=\":443\"")
            .header("transfer-encoding", "chunked")
            .header("trailer", "x-sum")
            .header("etag", "x")
            .body(Full::new(Bytes::new()))
            .unwrap();
        let answer = response_for_client(answer, None);
        assert_eq!(answer.status(), 404);
        let mut names: Vec<_> = answer.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "trailer"]);
    }

    #[test]
    fn the_trailers_of_an_answer_arrive_without_what_an_answer_may_not_say() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "alt-svc", "connection", "transfer-encoding"] {
            trailers.insert(name, HeaderValue::from_static("0"));
        }
        let body = Full::new(Bytes::from_static(b"ok")).with_trailers(async { Some(Ok(trailers)) });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime
            .block_on(response_for_client(Response::new(body), Some(2)).into_body().collect())
            .unwrap();
        let got = answer.trailers().unwrap();
        assert_eq!(got.keys().collect::<Vec<_>>(), ["grpc-status"]);
    }

    #[test]
    fn an_answer_that_is_longer_than_its_rule_says_breaks_off() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = |most| {
            let answer = Response::new(Full::new(Bytes::from_static(b"12345")));
            let collected = response_for_client(answer, Some(most)).into_body().collect();
            runtime.block_on(collected).map(|body| body.to_bytes())
        };
        assert_eq!(read(5).unwrap(), "12345");
        assert!(read(4).is_err());
    }

    #[test]
    fn an_extension_that_nobody_asked_for_is_not_handed_on() {
        let answer = Response::builder()
            .status(101)
            .header("sec-websocket-accept", "x")
            .header("sec-websocket-extensions", "permessage-deflate")
            .body(())
            .unwrap();
        let answer = upgrade_response(&answer);
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers().keys().collect::<Vec<_>>(), ["sec-websocket-accept"]);
    }
}

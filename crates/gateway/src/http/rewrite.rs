//! Requests and answers, newly written for the other side.

use std::convert::Infallible;
use std::io;

use chaperone_egress::request::{RequestFacts, strip_for_forwarding};
use chaperone_protocol::Failure;
use http::header::{CONNECTION, HOST, HeaderValue, TE, UPGRADE};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::channel::Channel;
use super::refusal::{Answer, HttpRefusal};
use crate::body::{BufferedBody, BufferedBodyStream};
use crate::destination::shown;

/// The request as the broker sends it.
pub(super) fn upstream_request(
    channel: &Channel,
    facts: &RequestFacts,
    mut head: http::request::Parts,
    held: BufferedBody,
) -> Result<Request<BufferedBodyStream>, HttpRefusal> {
    let wrong = |e: http::Error| {
        HttpRefusal(
            StatusCode::BAD_REQUEST,
            Failure::new("bad_request", format!("the request cannot be written anew: {e}")),
        )
    };
    let scheme = if channel.tls { "https" } else { "http" };
    let default = if channel.tls { 443 } else { 80 };
    let authority = match facts.port {
        port if port == default => {
            shown(&facts.host, port).rsplit_once(':').map(|(h, _)| h.to_owned()).unwrap_or_default()
        }
        port => shown(&facts.host, port),
    };
    let target = if facts.path == "*" { "*".to_owned() } else { facts.target() };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority.as_str())
        .path_and_query(target)
        .build()
        .map_err(wrong)?;
    let key = head.headers.get("sec-websocket-key").cloned();
    // Without it gRPC servers take a client for one that cannot read their trailers.
    let trailers = head.version == Version::HTTP_2 && head.headers.get(TE).is_some_and(|v| v == "trailers");
    strip_for_forwarding(&mut head.headers);
    if trailers {
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    head.headers.remove(http::header::EXPECT);
    head.headers.remove(http::header::CONTENT_LENGTH);
    if held.len > 0 || !matches!(facts.body, chaperone_egress::request::Body::Unstated) {
        head.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(held.len));
    }
    head.headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|e| wrong(e.into()))?);
    if facts.websocket {
        head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // Compressed messages could not be looked at.
        head.headers.remove("sec-websocket-extensions");
        if let Some(key) = key {
            head.headers.insert("sec-websocket-key", key);
        }
    }
    let mut request = Request::new(held.into_body());
    *request.method_mut() = head.method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = head.headers;
    Ok(request)
}

/// The answer as the cell gets it: everything but what concerns the broker's own connection, or leads past the broker. One
/// that is longer than its rule says breaks off.
pub(super) fn response_for_client(mut response: Response<Incoming>, most: Option<u64>) -> Answer {
    strip_for_forwarding(response.headers_mut());
    response.headers_mut().remove(http::header::ALT_SVC);
    *response.version_mut() = Version::HTTP_11;
    match most.and_then(|most| usize::try_from(most).ok()) {
        Some(most) => response.map(|body| Limited::new(body, most).map_err(io::Error::other).boxed()),
        None => response.map(|body| body.map_err(io::Error::other).boxed()),
    }
}

pub(super) fn upgrade_response(response: &Response<Incoming>) -> Answer {
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

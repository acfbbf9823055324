//! A request that an agent makes by a tool, not by a connection: the same host rules, the same look, the same record.

use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_egress::request::{Connection, RequestFacts};
use chaperone_protocol::Failure;
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;

use crate::body::STALL_LIMIT;
use crate::dial::Pinned;
use crate::held::Reserved;
use crate::http::channel::Channel;
use crate::http::refusal::HttpRefusal;
use crate::session_gateway::SessionGateway;
use crate::{connection, names};

/// What is asked for.
#[derive(Debug)]
pub struct Fetch {
    pub method: Method,
    pub url: Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Longest answer that is taken, in bytes.
    pub most: u64,
}

/// An answer. Redirects are answers: to follow one is a request of its own.
#[derive(Debug)]
pub struct Fetched {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Until the answer is handed over.
    _held: Reserved,
}

/// Make one request for a session.
///
/// # Errors
/// The refusal, or why the host gave no answer.
pub async fn fetch(gateway: &SessionGateway, asked: Fetch) -> Result<Fetched, Failure> {
    let bad = |why: String| {
        Failure::new("bad_url", why).advise("use an absolute address such as https://example.com/path")
    };
    let tls = match asked.url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(bad("the address begins with neither https:// nor http://".into())),
    };
    let host = asked.url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let host = Host::parse(host).map_err(|e| bad(format!("the host of the address cannot be used: {e}")))?;
    let port = asked.url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    // A name is a query of its own: it is decided before anything asks for it.
    let host = names::find(gateway, &host).await?;
    let target = match gateway.of_host(host, port).await {
        Ok(target) => target,
        Err((_, failure)) => return Err(failure),
    };
    let mut granted = gateway
        .decide(connection::connect_request(gateway, &target))
        .await
        .map_err(|refusal| refusal.failure)?;
    let intent = granted.intent;
    gateway.on_disk(granted.syncing()).await?;
    let pinned = Pinned::of(&granted, gateway.exit());
    // Without TLS nothing is agreed on, and nobody here knows that the server speaks HTTP/2.
    let channel = Arc::new(Channel::new(gateway, (&target, pinned), tls, tls));
    let over = Connection { host: Some(target.host.clone()), port, tls };
    let answered = async {
        let facts = RequestFacts::of(&asked.method, &asked.url, &with_host(&asked)?, over)
            .map_err(|e| Failure::new("bad_request", format!("the request is not sent: {e}")))?;
        let mut head = http::Request::new(()).into_parts().0;
        head.method = asked.method;
        head.headers = asked.headers;
        let sent = async {
            let held = crate::http::hold_body(&channel, &facts, asked.body).await?;
            crate::http::mediate(&channel, &facts, head, held).await
        };
        let sent = sent.await.map_err(|HttpRefusal(_, failure)| failure)?;
        let (parts, body) = sent.answer.into_parts();
        let (body, held) = read(gateway, body, asked.most).await?;
        Ok(Fetched { status: parts.status.as_u16(), headers: parts.headers, body, _held: held })
    };
    let answered = answered.await;
    gateway
        .done(
            intent,
            Action::Connect,
            target.shown(),
            answered.is_ok(),
            0,
            serde_json::json!({ "tool": "fetch" }),
        )
        .await;
    answered
}

/// A whole answer of at most `most` bytes, as far as the session may hold it.
async fn read(
    gateway: &SessionGateway,
    mut answer: hyper::body::Incoming,
    most: u64,
) -> Result<(Vec<u8>, Reserved), Failure> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::new("bad_answer", format!("the response was not read: {why}"))
            .advise("ask for a smaller part, or save it to a file with save_to")
    };
    let (mut body, mut held) = (Vec::new(), Reserved::nothing(&gateway.exit().held));
    loop {
        let frame = match tokio::time::timeout(STALL_LIMIT, answer.frame()).await {
            Err(_) => return Err(bad(&"it stalled")),
            Ok(None) => return Ok((body, held)),
            Ok(Some(frame)) => frame.map_err(|e| bad(&e))?,
        };
        // What follows the body is no part of the answer.
        let Ok(data) = frame.into_data() else { continue };
        if body.len() as u64 + data.len() as u64 > most {
            return Err(bad(&format_args!("it is longer than {most} bytes")));
        }
        held.answer(data.len() as u64).map_err(|_| {
            Failure::new("held_too_much", "more answers are on their way than may be held")
                .advise("wait for other calls of fetch to end")
        })?;
        body.extend_from_slice(&data);
    }
}

/// The headers with the host that the address names, as a client would send them.
fn with_host(asked: &Fetch) -> Result<HeaderMap, Failure> {
    let mut headers = asked.headers.clone();
    let authority = asked.url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(Failure::new("bad_url", "the address carries user information"));
    }
    let value =
        authority.parse().map_err(|_| Failure::new("bad_url", "the host of the address cannot be used"))?;
    headers.insert(http::header::HOST, value);
    Ok(headers)
}

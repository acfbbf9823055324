//! HTTP as the broker mediates it: each request is read strictly, looked at whole, decided, recorded, and only then sent, newly
//! written, over a connection of the broker's own. Nothing of one request's framing reaches the server, so nothing can hide in it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chaperone_egress::Host;
use chaperone_egress::request::{Connection, RequestFacts, strip_for_forwarding};
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, UPGRADE};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::body::{Held, HeldBody, Untaken};
use crate::dial::Pinned;
use crate::leaving::{self, Leaving};
use crate::target::{Target, bare, shown};
use crate::tls::{Upstream, is_h2};
use crate::{gateway::Way, websocket};
use chaperone_capability::Action;
use chaperone_pipeline::AccessRequest;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::network_facts::RequestFacts as SentFacts;
use chaperone_protocol::Failure;

/// How long the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of the head of a request, and buffered of an answer.
const HEAD_BYTES: usize = 64 << 10;
/// Requests of one connection at once (HTTP/2).
const AT_ONCE: u32 = 64;
/// How long a connection to a server is kept for the next request.
const KEPT: Duration = Duration::from_secs(30);
/// Tells where an answer of the broker's own comes from.
const REASON: HeaderName = HeaderName::from_static("x-chaperone-reason");

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// How a conversation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    /// In HTTP/1 with a proxy: the next request may be for another host, so it comes over another connection.
    OneRequest,
    Http2,
}

/// One conversation of the cell's with one host.
pub(crate) struct Channel {
    pub way: Way,
    pub target: Target,
    pub tls: bool,
    client: Client<Connector, HeldBody>,
    upstream: Option<Upstream>,
}

impl Channel {
    /// `h2`: the server may speak HTTP/2.
    pub fn new(way: &Way, (target, pinned): (&Target, Pinned), tls: bool, h2: bool) -> Self {
        let upstream = if tls { way.exit().upstream() } else { None };
        let host = target.host.clone();
        let connector = Connector { pinned, host, upstream: upstream.clone(), tls, h2 };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .set_host(false)
            .build(connector);
        Self { way: way.clone(), target: target.clone(), tls, client, upstream }
    }
}

/// Serve a conversation in HTTP until it ends.
pub(crate) async fn serve<S>(way: &Way, to: (&Target, Pinned), stream: S, tls: bool, spoken: Spoken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let h2 = spoken == Spoken::Http2;
    let channel = Arc::new(Channel::new(way, to, tls, h2));
    let service = service_fn(move |request| {
        let channel = Arc::clone(&channel);
        async move { Ok::<_, Infallible>(answer(&channel, request).await) }
    });
    let stream = TokioIo::new(stream);
    // However it ends, what happened in it is recorded request by request.
    if h2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(AT_ONCE)
            .max_header_list_size(HEAD_BYTES as u32)
            .serve_connection(stream, service)
            .await
            .ok();
    } else {
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD_BYTES)
            .half_close(true)
            .keep_alive(spoken == Spoken::Http1)
            .serve_connection(stream, service)
            .with_upgrades()
            .await
            .ok();
    }
}

/// A request that is not carried, and why.
pub(crate) struct Turned(pub StatusCode, pub Failure);

async fn answer(channel: &Arc<Channel>, request: Request<Incoming>) -> Answer {
    match carry(channel, request).await {
        Ok(answer) => answer,
        Err(Turned(status, failure)) => turned(status, &failure),
    }
}

fn turned(status: StatusCode, failure: &Failure) -> Answer {
    let mut answer = Response::new(
        Full::new(Bytes::from(crate::gateway::told(failure))).map_err(|never| match never {}).boxed(),
    );
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(code) = HeaderValue::from_str(&failure.code) {
        headers.insert(REASON, code);
    }
    answer
}

async fn carry(channel: &Arc<Channel>, mut request: Request<Incoming>) -> Result<Answer, Turned> {
    let facts = read(channel, &request).await?;
    let on_upgrade = facts.websocket.then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let held = take(channel, &facts, body).await?;
    let mut sent = mediate(channel, &facts, head, held).await?;
    if let (Some(cell), StatusCode::SWITCHING_PROTOCOLS) = (on_upgrade, sent.answer.status()) {
        let server = hyper::upgrade::on(&mut sent.answer);
        channel.way.spawn(websocket::carry(Arc::clone(channel), sent.request, cell, server));
        return Ok(switched(&sent.answer));
    }
    let rules = channel.way.exit().allowed();
    let rule = rules.permits_request(&facts.host, facts.port, &facts.method, &facts.path);
    Ok(passed_on(sent.answer, rule.and_then(|r| r.download_bytes)))
}

/// A request that went out, and what came back.
pub(crate) struct Sent {
    pub request: AccessRequest,
    pub answer: Response<Incoming>,
}

/// Look at a whole request, decide, record and send it.
pub(crate) async fn mediate(
    channel: &Arc<Channel>,
    facts: &RequestFacts,
    head: http::request::Parts,
    held: Held,
) -> Result<Sent, Turned> {
    let way = &channel.way;
    let (held, leaving) = look(channel, facts, &head.headers, held).await?;
    let request = asked(channel, facts, &held, leaving);
    let granted = way.decide(request.clone()).await;
    let mut granted = granted.map_err(|refusal| Turned(StatusCode::FORBIDDEN, refusal.failure))?;
    let on_disk = way.on_disk(granted.syncing()).await;
    on_disk.map_err(|failure| Turned(StatusCode::SERVICE_UNAVAILABLE, failure))?;
    let shown = request.subject().to_owned();
    let sent = held.len;
    let outgoing = rewritten(channel, facts, head, held)?;
    match channel.client.request(outgoing).await {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS && !facts.websocket => {
            let failure = Failure::new(
                "unreachable",
                format!("{} changes to a protocol that nobody asked for", channel.target.shown()),
            );
            let detail = json!({ "error": failure.message });
            way.done(granted.intent, Action::Request, shown, false, sent, detail).await;
            Err(Turned(StatusCode::BAD_GATEWAY, failure))
        }
        Ok(answer) => {
            let detail = json!({ "status": answer.status().as_u16() });
            way.done(granted.intent, Action::Request, shown, true, sent, detail).await;
            Ok(Sent { request, answer })
        }
        Err(e) => {
            let failure = unanswered(channel, &e);
            let detail = json!({ "error": failure.message });
            way.done(granted.intent, Action::Request, shown, false, sent, detail).await;
            Err(Turned(StatusCode::BAD_GATEWAY, failure))
        }
    }
}

/// What the request is about; refused where it could be read in two ways, or is for another host than its connection.
async fn read(channel: &Channel, request: &Request<Incoming>) -> Result<RequestFacts, Turned> {
    let Channel { way, target, tls, .. } = channel;
    let over = Connection { host: Some(target.host.clone()), port: target.port, tls: *tls };
    let facts = match RequestFacts::of(request.method(), request.uri(), request.headers(), over) {
        Ok(facts) => facts,
        Err(bad) => {
            let failure = Failure::new("bad_request", format!("the request is not carried: {bad}"));
            let refusal = way.refuse(blank(target), failure).await;
            return Err(Turned(StatusCode::BAD_REQUEST, refusal.failure));
        }
    };
    let is_name_of = match &target.host {
        Host::Address(ip) if facts.mismatch => way.is_name_of(&facts.host, *ip, target.port).await,
        _ => false,
    };
    if facts.mismatch && !is_name_of {
        let failure = Failure::new(
            "fronting",
            format!(
                "the connection is for {}, but the request for {}",
                target.shown(),
                shown(&facts.host, facts.port)
            ),
        )
        .advise("connect to the host that is meant");
        let refusal = way.refuse(blank(target), failure).await;
        return Err(Turned(StatusCode::MISDIRECTED_REQUEST, refusal.failure));
    }
    Ok(facts)
}

fn blank(target: &Target) -> AccessRequest {
    AccessRequest::network(Action::Request, target.resource())
}

async fn take(channel: &Channel, facts: &RequestFacts, body: Incoming) -> Result<Held, Turned> {
    let way = &channel.way;
    let left = way.exit().budget.lock().left(&facts.host);
    match Held::take(body, left, &way.session.dir).await {
        Ok(held) => Ok(held),
        Err(Untaken::TooLong) => {
            let failure = Failure::new(
                "over_budget",
                format!("the body of the request is longer than the {left} bytes that may still be sent"),
            )
            .advise("send less, or ask the person to raise upload_bytes");
            let refusal = way.refuse(blank(&channel.target), failure).await;
            Err(Turned(StatusCode::PAYLOAD_TOO_LARGE, refusal.failure))
        }
        Err(other) => {
            let failure =
                Failure::new("bad_body", format!("the body of the request is not carried: {other}"));
            let refusal = way.refuse(blank(&channel.target), failure).await;
            Err(Turned(StatusCode::BAD_REQUEST, refusal.failure))
        }
    }
}

async fn look(
    channel: &Channel,
    facts: &RequestFacts,
    headers: &http::HeaderMap,
    held: Held,
) -> Result<(Held, Leaving), Turned> {
    let way = channel.way.clone();
    let (host, target, headers) = (facts.host.to_string(), facts.target(), headers.clone());
    let Ok(_place) = way.exit().looks.acquire().await else { return Err(fault()) };
    let way = channel.way.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let head = leaving::Head { target: &target, headers: &headers };
        let (outgoing, exit) = (&*way.pipeline().outgoing, way.exit());
        let mut seen = leaving::request(outgoing, &exit.secrets, head, &held)?;
        exit.pieces.look(outgoing, &exit.secrets, &host, &piece(&target, &held)?, &mut seen);
        Ok::<_, io::Error>((held, seen))
    });
    looked.await.map_err(|_| fault())?.map_err(|_| fault())
}

/// The part of a small request that its sender chose freely: the body, else the query, else the last name of the path.
fn piece(target: &str, held: &Held) -> io::Result<Vec<u8>> {
    if held.len > 0 {
        return if held.len <= leaving::PIECE as u64 { held.read() } else { Ok(Vec::new()) };
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = if query.is_empty() { path.rsplit('/').next().unwrap_or_default() } else { query };
    Ok(text.as_bytes().to_vec())
}

fn fault() -> Turned {
    Turned(StatusCode::INTERNAL_SERVER_ERROR, crate::gateway::fault().failure)
}

fn asked(channel: &Channel, facts: &RequestFacts, held: &Held, leaving: Leaving) -> AccessRequest {
    let Channel { way, target, tls, .. } = channel;
    let exit = way.exit();
    let rules = exit.allowed();
    let head = facts.target().len() as u64;
    let spent = {
        let mut budget = exit.budget.lock();
        let spent = budget.spend(&facts.host, head + held.len, exit.now_ms());
        let values = leaving.findings.iter().filter_map(|f| f.sha256.first_chunk::<8>().copied());
        let level = budget.spend_values(&facts.host, values.map(u64::from_le_bytes)).level;
        crate::gateway::worse(spent.level, level)
    };
    let permitting = rules.permits_request(&facts.host, facts.port, &facts.method, &facts.path);
    let mut sent = SentFacts {
        tls: *tls,
        request_allowed: permitting.is_some(),
        websocket: facts.websocket,
        bytes: held.len,
        ..SentFacts::default()
    };
    leaving.add_to(&mut sent);
    let mut net = target.facts(way);
    net.budget = Some(crate::gateway::level(way, &facts.host, spent));
    net.request = Some(sent);
    let scheme = if *tls { "https" } else { "http" };
    // A path that carries something is not written down.
    let path = if leaving.in_target { "/…" } else { facts.path.as_str() };
    let resource = format!("{} {scheme}://{}{path}", facts.method, shown(&facts.host, facts.port));
    let resource = NetworkResource {
        shown: resource,
        host: bare(&facts.host),
        port: facts.port,
        addresses: target.addresses.clone(),
        method: Some(facts.method.clone()),
        url_path: Some(facts.path.clone()),
        facts: net,
        findings: leaving.findings,
        content: Some((held.sha256, held.len)),
        sources: leaving.passages,
        text: held.text(),
        leaves: true,
    };
    AccessRequest::network(Action::Request, resource)
}

/// The request as the broker sends it.
fn rewritten(
    channel: &Channel,
    facts: &RequestFacts,
    mut head: http::request::Parts,
    held: Held,
) -> Result<Request<HeldBody>, Turned> {
    let wrong = |e: http::Error| {
        Turned(
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
fn passed_on(mut response: Response<Incoming>, most: Option<u64>) -> Answer {
    strip_for_forwarding(response.headers_mut());
    response.headers_mut().remove(http::header::ALT_SVC);
    *response.version_mut() = Version::HTTP_11;
    match most.and_then(|most| usize::try_from(most).ok()) {
        Some(most) => response.map(|body| Limited::new(body, most).map_err(io::Error::other).boxed()),
        None => response.map(|body| body.map_err(io::Error::other).boxed()),
    }
}

fn switched(response: &Response<Incoming>) -> Answer {
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

fn unanswered(channel: &Channel, error: &hyper_util::client::legacy::Error) -> Failure {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        why = inner.to_string();
        source = inner.source();
    }
    if channel.tls && channel.upstream.is_none() {
        return Failure::new("no_roots", "this machine has no root certificates to believe servers by");
    }
    let code = if why.contains("certificate") { "bad_certificate" } else { "unreachable" };
    Failure::new(code, format!("{} did not answer: {why}", channel.target.shown()))
}

/// Makes connections to the one target, at the addresses that were checked.
#[derive(Clone)]
struct Connector {
    pinned: Pinned,
    host: Host,
    upstream: Option<Upstream>,
    tls: bool,
    /// The cell speaks HTTP/2, so the server may.
    h2: bool,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { pinned, host, upstream, tls, h2 } = self.clone();
        Box::pin(async move {
            let stream = pinned.connect().await?;
            if !tls {
                return Ok(Wire::Plain(TokioIo::new(stream)));
            }
            let upstream = upstream.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let stream = upstream.connect(&host, stream, !h2).await?;
            Ok(Wire::Tls(Box::new(TokioIo::new(stream))))
        })
    }
}

/// A connection to a server.
enum Wire {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connects for Wire {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new(),
            Self::Tls(stream) if is_h2(stream.inner().get_ref().1.alpn_protocol()) => {
                Connected::new().negotiated_h2()
            }
            Self::Tls(_) => Connected::new(),
        }
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

//! HTTP as the broker mediates it: each request is read strictly, inspected whole, decided, recorded, and only then sent, newly
//! written, over a connection of the broker's own. Nothing of one request's framing reaches the server, so nothing can hide in it.

pub(crate) mod channel;
mod leased;
mod messages;
mod named_method;
pub(crate) mod refusal;
pub(crate) mod rewrite;
mod streaming;
mod taking;
mod upstream;
mod websocket;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_egress::request::{Connection, RequestFacts};
use chaperone_pipeline::AccessRequest;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::network_facts::RequestFacts as SentFacts;
use chaperone_protocol::Failure;
use http::header::LOCATION;
use http::request::Parts;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::BufferedBody;
use crate::budget::{self, Spending};
use crate::destination::{Destination, bare, shown};
use crate::dial::Pinned;
use crate::outgoing::chosen::Chosen;
use crate::outgoing::redirects::Address;
use crate::outgoing::{self, OutboundFindings};
use crate::session_gateway::SessionGateway;
use crate::{names, ruled_names};
use channel::{Channel, SendError, Sent};
use refusal::{Answer, HttpRefusal, refusal_response};
use rewrite::{head_bytes, response_for_client, upgrade_response, upstream_head};
pub(crate) use taking::hold_body;
use taking::{bare_request, buffer_body, fault};

/// How long the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of the head of a request, and buffered of an answer.
const HEAD_BYTES: usize = 64 << 10;
/// Requests of one connection at once (HTTP/2).
const AT_ONCE: u32 = 64;

/// How a conversation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpMode {
    Http1,
    /// In HTTP/1 with a proxy: the next request may be for another host, so it comes over another connection.
    OneRequest,
    Http2,
}

impl HttpMode {
    pub fn of(h2: bool) -> HttpMode {
        if h2 { HttpMode::Http2 } else { HttpMode::Http1 }
    }
}

/// Serve a conversation in HTTP until it ends.
pub(crate) async fn serve<S>(
    gateway: &SessionGateway,
    to: (&Destination, Pinned),
    stream: S,
    tls: bool,
    mode: HttpMode,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let h2 = mode == HttpMode::Http2;
    let target = to.0;
    let channel = Arc::new(Channel::new(gateway, to, tls, h2));
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
        let ended = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD_BYTES)
            .half_close(true)
            .keep_alive(mode == HttpMode::Http1)
            .serve_connection(stream, service)
            .with_upgrades()
            .await;
        // The parser has answered what no request could be made of.
        if let Some(e) = ended.err().filter(hyper::Error::is_parse) {
            let failure = Failure::new("bad_request", format!("the request is not forwarded: {e}"))
                .advise("a server that speaks no HTTP is named as tcp://HOST:PORT by the user");
            gateway.refuse(bare_request(gateway, target), failure).await;
        }
    }
}

async fn answer(channel: &Arc<Channel>, request: Request<Incoming>) -> Answer {
    match carry(channel, request).await {
        Ok(answer) => answer,
        Err(HttpRefusal(status, failure)) => refusal_response(status, &failure),
    }
}

async fn carry(channel: &Arc<Channel>, mut request: Request<Incoming>) -> Result<Answer, HttpRefusal> {
    let facts = read(channel, &request).await?;
    let on_upgrade = facts.websocket.then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let (held, goes_on) = match streaming::may_stream(&head) {
        true => streaming::begin(channel, &facts, body).await?,
        false => (buffer_body(channel, &facts, body).await?, None),
    };
    let mut sent = mediate(channel, &facts, head, held).await?;
    if let Some(goes_on) = goes_on.filter(|_| streaming::is_grpc(sent.answer.headers())) {
        // What would hear it is gone when the call is.
        goes_on.send(()).ok();
    }
    if let (Some(cell), StatusCode::SWITCHING_PROTOCOLS) = (on_upgrade, sent.answer.status()) {
        let server = hyper::upgrade::on(&mut sent.answer);
        channel.gateway.spawn(websocket::carry(Arc::clone(channel), sent.request, cell, server));
        return Ok(upgrade_response(&sent.answer));
    }
    let rules = channel.gateway.exit().allowed();
    let rule = rules.permits_request(&facts.host, facts.port, &facts.method, &facts.path);
    let most = rule.and_then(|r| r.download_bytes);
    let request = sent.request;
    Ok(response_for_client(sent.answer, most)
        .map(|body| leased::while_it_holds(&channel.gateway, &request, body)))
}

/// Look at a whole request, decide, record and send it.
pub(crate) async fn mediate(
    channel: &Arc<Channel>,
    facts: &RequestFacts,
    head: Parts,
    held: BufferedBody,
) -> Result<Sent, HttpRefusal> {
    let gateway = &channel.gateway;
    let head = upstream_head(channel.tls, facts, head, held.whole_len())?;
    let (head, mut held, found) = inspect(channel, facts, head, held).await?;
    let head_length = head_bytes(&head);
    let bytes = head_length + held.len;
    // Given back wherever this ends before it is sent.
    let (request, spending) = access_request(channel, facts, head_length, &held, found);
    let granted = gateway.decide(request.clone()).await;
    let mut granted = granted.map_err(|refusal| HttpRefusal(StatusCode::FORBIDDEN, refusal.failure))?;
    let on_disk = gateway.on_disk(granted.syncing()).await;
    on_disk.map_err(|failure| HttpRefusal(StatusCode::SERVICE_UNAVAILABLE, failure))?;
    let shown = request.subject().to_owned();
    spending.sent();
    held.begin(&request);
    match channel.send(&granted, head, held).await {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS && !facts.websocket => {
            let failure = Failure::new(
                "unreachable",
                format!("{} switched to a protocol that was not requested", channel.target.shown()),
            );
            let detail = json!({ "error": failure.message });
            gateway.done(granted.intent, Action::Request, shown, false, bytes, detail).await;
            Err(HttpRefusal(StatusCode::BAD_GATEWAY, failure))
        }
        Ok(answer) => {
            // Few answers send on.
            if let Some(location) = answer.headers().get(LOCATION) {
                let (host, target) = (facts.host.to_string(), facts.target());
                let from = Address { tls: channel.tls, host: &host, port: facts.port, target: &target };
                gateway.exit().redirects.remember(from, answer.status(), Some(location));
            }
            let detail = json!({ "status": answer.status().as_u16() });
            gateway.done(granted.intent, Action::Request, shown, true, bytes, detail).await;
            Ok(Sent { request, answer })
        }
        Err(e) => {
            let failure = upstream_failure(channel, &e);
            let detail = json!({ "error": failure.message });
            gateway.done(granted.intent, Action::Request, shown, false, bytes, detail).await;
            Err(HttpRefusal(StatusCode::BAD_GATEWAY, failure))
        }
    }
}

/// What the request is about; refused where it could be read in two ways, or is for another host than its connection.
async fn read(channel: &Channel, request: &Request<Incoming>) -> Result<RequestFacts, HttpRefusal> {
    let Channel { gateway, target, tls, .. } = channel;
    let over = Connection { host: Some(target.host.clone()), port: target.port, tls: *tls };
    let facts = match RequestFacts::of(request.method(), request.uri(), request.headers(), over) {
        Ok(facts) => facts,
        Err(bad) => {
            let failure = Failure::new("bad_request", format!("the request is not forwarded: {bad}"));
            let refusal = gateway.refuse(bare_request(gateway, target), failure).await;
            return Err(HttpRefusal(StatusCode::BAD_REQUEST, refusal.failure));
        }
    };
    let is_name_of = match &target.host {
        Host::Address(ip) if facts.mismatch => {
            names::is_name_of(gateway, &facts.host, *ip, target.port).await
        }
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
        let refusal = gateway.refuse(bare_request(gateway, target), failure).await;
        return Err(HttpRefusal(StatusCode::MISDIRECTED_REQUEST, refusal.failure));
    }
    if matches!(facts.host, Host::Address(_))
        && let Some(name) = ruled_names::ruled_name(gateway, target).await
    {
        let failure = ruled_names::unnamed(target, &name);
        let refusal = gateway.refuse(bare_request(gateway, target), failure).await;
        return Err(HttpRefusal(StatusCode::MISDIRECTED_REQUEST, refusal.failure));
    }
    Ok(facts)
}

async fn inspect(
    channel: &Channel,
    facts: &RequestFacts,
    head: Parts,
    held: BufferedBody,
) -> Result<(Parts, BufferedBody, OutboundFindings), HttpRefusal> {
    let gateway = channel.gateway.clone();
    let (to, target) = (gateway.exit().allowed().recipient(&facts.host), facts.target());
    let Ok(_place) = gateway.exit().inspections.acquire().await else { return Err(fault()) };
    let host = facts.host.to_string();
    let address = Address { tls: channel.tls, host: &host, port: facts.port, target: &target };
    let is_named = gateway.exit().redirects.name(address);
    let gateway = channel.gateway.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let seen = {
            // What a server sent the agent on to is not the agent's to choose. Its signature is nothing for the log.
            let chosen = Chosen::of(&head, if is_named { "/" } else { &target });
            let (detectors, exit) = (&*gateway.pipeline().outgoing, gateway.exit());
            let mut seen = outgoing::inspect_request(detectors, &exit.secrets, &chosen, &held)?;
            let values = chosen.values(&held)?;
            exit.recent_requests.look(detectors, &exit.secrets, &to, values, &mut seen);
            seen.in_target |= is_named;
            seen.named_methods = named_method::named_methods(&head.method, &target, &held)?;
            seen
        };
        let mut head = head;
        rewrite::alone(&mut head, &held)?;
        Ok::<_, io::Error>((head, held, seen))
    });
    let looked = looked.await.map_err(|_| fault())?.map_err(|_| fault());
    channel.gateway.tell_what_is_not_remembered();
    looked
}

fn access_request(
    channel: &Channel,
    facts: &RequestFacts,
    head_bytes: u64,
    held: &BufferedBody,
    found: OutboundFindings,
) -> (AccessRequest, Spending) {
    let Channel { gateway, target, tls, .. } = channel;
    let rules = gateway.exit().allowed();
    let (level, spending) = Spending::request(gateway, &facts.host, head_bytes + held.len, &found.findings);
    held.spent();
    let permits = |method: &str| rules.permits_request(&facts.host, facts.port, method, &facts.path);
    // It is whatever it says to be, each of which a rule permits.
    let permitting =
        permits(&facts.method).filter(|_| found.named_methods.iter().all(|m| permits(m).is_some()));
    let mut sent = SentFacts {
        tls: *tls,
        request_allowed: permitting.is_some(),
        method_named: permitting.is_some_and(|rule| rule.names_method(&facts.method)),
        websocket: facts.websocket,
        bytes: held.len,
        head_bytes,
        ..SentFacts::default()
    };
    found.add_to(&mut sent);
    let mut net = target.facts(gateway);
    net.budget = Some(budget::level(gateway, &facts.host, level));
    net.request = Some(sent);
    let scheme = if *tls { "https" } else { "http" };
    // What carries something is not written down.
    let path = if found.in_target { "/…" } else { facts.path.as_str() };
    let method = if found.in_method { "…" } else { facts.method.as_str() };
    let resource = format!("{method} {scheme}://{}{path}", shown(&facts.host, facts.port));
    let resource = NetworkResource {
        shown: resource,
        host: bare(&facts.host),
        port: facts.port,
        addresses: target.addresses.clone(),
        method: Some(method.to_owned()),
        url_path: Some(facts.path.clone()),
        facts: net,
        findings: found.findings,
        content: Some((held.sha256, held.len)),
        sources: found.passages,
        text: held.text(),
        query: facts.target().split_once('?').map(|(_, query)| query.to_owned()),
        leaves: true,
    };
    (AccessRequest::network(Action::Request, resource), spending)
}

fn upstream_failure(channel: &Channel, error: &SendError) -> Failure {
    if let SendError::NotDecidedOn = error {
        return Failure::new("internal_error", error.to_string());
    }
    let (mut why, mut is_untrusted) = (error.to_string(), false);
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        why = inner.to_string();
        is_untrusted |= is_about_trust(inner);
        source = inner.source();
    }
    if channel.tls && channel.upstream.is_none() {
        return Failure::new("no_roots", "this machine has no CA certificates to verify servers with");
    }
    let code = if is_untrusted { "bad_certificate" } else { "unreachable" };
    Failure::new(code, format!("{} did not answer: {why}", channel.target.shown()))
}

/// Whether a connection failed because the server's certificate is none to trust.
fn is_about_trust(error: &(dyn std::error::Error + 'static)) -> bool {
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let tls = match inside {
        Some(inner) => inner.downcast_ref::<rustls::Error>(),
        None => error.downcast_ref::<rustls::Error>(),
    };
    matches!(
        tls,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::InvalidCertRevocationList(_)
        )
    )
}

//! One connection of the cell's from its arrival to its end.
//!
//! Find out what it is for · decide · connect to the address that was checked, while the record of it goes to disk · read what
//! the agent says first, and check that it is meant for the same host · carry it.

mod as_is;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod first_bytes;
mod opened;
pub(crate) mod prefixed;
pub(crate) mod proxy;
pub(crate) mod refusal;
pub(crate) mod relay;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::{AccessRequest, Authorized};
use chaperone_protocol::Failure;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::destination::{self, Destination};
use crate::dial::Pinned;
use crate::http::HttpMode;
use crate::prior_knowledge::begins_http_2;
use crate::session_gateway::SessionGateway;
use crate::{alerts, budget, http};
use as_is::AsIs;
use certificate::{certificate, observe};
use client::{Client, ClientProtocol};
use first_bytes::{FirstBytes, read_first, unreadable};
use prefixed::Prefixed;
use refusal::{answer, reset, turn_away};

/// The first line of HTTP/2 that was not agreed on in TLS.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0";

/// Serve what comes to a listener in the cell.
pub(crate) async fn accept<F, S>(gateway: SessionGateway, listener: TcpListener, serve: F)
where
    F: Fn(SessionGateway, TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok(place) = Arc::clone(&gateway.exit().streams).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let some streams end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let served = serve(gateway.clone(), client);
        gateway.spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// A connection that the kernel led here.
pub(crate) async fn captured(gateway: SessionGateway, client: TcpStream) {
    match chaperone_cell::original_destination(client.as_fd()) {
        Ok(to) => lead(gateway, client, to).await,
        // To the exit itself, or a connection that the kernel has forgotten: there is nothing to carry it to.
        Err(_) => reset(client),
    }
}

async fn lead(gateway: SessionGateway, client: TcpStream, to: SocketAddr) {
    client.set_nodelay(true).ok();
    // A session that may do nothing asks for no addresses, either.
    let target = match gateway.session.authenticate() {
        Ok(()) => gateway.target(to).await,
        Err(failure) => Err((to.to_string(), failure)),
    };
    let client = Client { stream: client, read_ahead: Vec::new(), protocol: ClientProtocol::Captured };
    handle_connection(&gateway, client, (to.ip().to_string(), to.port()), target).await;
}

/// A connection to a port of the cell behind which a server of the user's was put.
pub(crate) async fn put_in(gateway: SessionGateway, client: TcpStream) {
    match client.local_addr() {
        Ok(to) => lead(gateway, client, to).await,
        Err(_) => reset(client),
    }
}

/// Decide on a connection, and carry it. `to` says where it was for, whatever that turned out to be.
pub(crate) async fn handle_connection(
    gateway: &SessionGateway,
    client: Client,
    to: (String, u16),
    target: Result<Destination, (String, Failure)>,
) {
    let target = match target {
        Ok(target) => target,
        Err((resource, failure)) => {
            let unknown = NetworkResource {
                shown: resource.clone(),
                host: to.0,
                port: to.1,
                ..NetworkResource::default()
            };
            let refusal = gateway.refuse(AccessRequest::network(Action::Connect, unknown), failure).await;
            alerts::refused(gateway, &resource);
            return turn_away(client, &refusal.failure).await;
        }
    };
    let request = connect_request(gateway, &target);
    match gateway.decide(request.clone()).await {
        Ok(granted)
            if client.protocol == ClientProtocol::HttpRequest
                || gateway.exit().wants_requests(&target.host, target.port) =>
        {
            carry_http(gateway, client, &target, request, granted).await;
        }
        Ok(granted) => carry_opaque(gateway, client, &target, request, granted).await,
        Err(refusal) => {
            alerts::refused(gateway, &target.host.to_string());
            turn_away(client, &refusal.failure).await;
        }
    }
}

/// The request for a connection, with all that is known of it.
pub(crate) fn connect_request(gateway: &SessionGateway, target: &Destination) -> AccessRequest {
    let exit = gateway.exit();
    let limit = exit.allowed().of_host(&target.host, target.port).find_map(|r| r.upload_bytes);
    let spent = {
        let mut budget = exit.budget.lock();
        if let Some(limit) = limit {
            budget.limit(&target.host, limit);
        }
        budget.spend(&target.host, 0, exit.now_ms())
    };
    let mut facts = target.facts(gateway);
    let recent = if facts.trusted || !matches!(target.port, 80 | 443) {
        0
    } else {
        alerts::untrusted(gateway, &destination::bare(&target.host), target.addresses.first().copied())
    };
    facts.untrusted_recent = Some(recent);
    facts.budget = Some(budget::level(gateway, &target.host, spent.level));
    let resource = target.resource();
    let is_first = exit.window.is_first_contact(&resource.host);
    facts.first_contact = Some(is_first);
    if is_first && facts.allowed && !facts.trusted {
        alerts::first_contact(gateway, &resource.host);
    }
    AccessRequest::network(Action::Connect, NetworkResource { facts, leaves: true, ..resource })
}

/// A connection whose content policy does not want to see.
async fn carry_opaque(
    gateway: &SessionGateway,
    client: Client,
    target: &Destination,
    request: AccessRequest,
    mut granted: Authorized,
) {
    let intent = granted.intent;
    let (pinned, syncing) = (Pinned::of(&granted, gateway.exit()), granted.syncing());
    let is_tcp = gateway.exit().allowed().of_host(&target.host, target.port).any(|rule| rule.tcp);
    let (server, on_disk) = tokio::join!(pinned.connect_early(is_tcp), gateway.on_disk(syncing));
    if let Err(failure) = on_disk {
        return turn_away(client, &failure).await;
    }
    let server = match server {
        Ok(server) => server,
        Err(e) => {
            let failure = unreachable(gateway, target, intent, &e).await;
            return turn_away(client, &failure).await;
        }
    };
    let Ok((mut client, mut read_ahead)) = client.welcome().await else {
        return gateway
            .done(intent, Action::Connect, target.shown(), false, 0, json!({ "cut": "broken" }))
            .await;
    };
    let server_first = async {
        let Some(server) = &server else { return std::future::pending().await };
        server.readable().await?;
        // One that begins in HTTP/2 waits for a client of it.
        if begins_http_2(server).await {
            return std::future::pending().await;
        }
        Ok(FirstBytes::Other)
    };
    let first = tokio::select! {
        // Nothing else that a server says first is in the way of anything.
        first = server_first => first,
        first = read_first(&mut client, &mut read_ahead, is_tcp) => first,
    };
    let fits = match &first {
        Ok(FirstBytes::Tls(hello)) => opened::name_to_open(gateway, target, hello).await,
        Ok(FirstBytes::Nothing) => Ok(None),
        Ok(FirstBytes::Http) if target.port != 443 => Ok(None),
        Ok(FirstBytes::Http | FirstBytes::Other) => odd_protocol(gateway, target).map(|()| None),
        Err(e) => Err(unreadable(e)),
    };
    let to_open = match fits {
        Ok(to_open) => to_open,
        Err(failure) => {
            return protocol_mismatch(gateway, client, first.ok(), (intent, request), failure).await;
        }
    };
    if let Some(name) = to_open {
        // Its requests make their own way, as if the name had been connected to.
        drop(server);
        let client = Prefixed::new(read_ahead, client);
        let (ok, detail) = opened::open(gateway, (target, pinned), &name, client).await;
        return gateway.done(intent, Action::Connect, target.shown(), ok, 0, detail).await;
    }
    if matches!(first, Ok(FirstBytes::Http)) {
        // It can be read, so it is; each request makes its own way.
        drop(server);
        let client = Prefixed::new(read_ahead, client);
        let h2 = client.begins_with(HTTP_2);
        http::serve(gateway, (target, pinned), client, false, HttpMode::of(h2)).await;
        return gateway
            .done(intent, Action::Connect, target.shown(), true, 0, json!({ "inspected": true }))
            .await;
    }
    let server = match server {
        Some(server) => Ok(server),
        None => pinned.connect().await,
    };
    let server = match server {
        Ok(server) => server,
        Err(e) => {
            unreachable(gateway, target, intent, &e).await;
            return reset(client);
        }
    };
    let mut detail = if is_tcp { json!({ "tcp": true }) } else { json!({}) };
    if let Ok(FirstBytes::Tls(hello)) = &first {
        detail["sni"] = json!(hello.server_name.as_ref().map(ToString::to_string));
        detail["ech"] = json!(hello.ech);
        let name = hello.server_name.clone().unwrap_or_else(|| target.host.clone());
        if observe(gateway, &target.shown()) {
            gateway.spawn(certificate(
                gateway.clone(),
                Destination { host: name, ..target.clone() },
                pinned.clone(),
            ));
        }
    }
    let is_tls = matches!(first, Ok(FirstBytes::Tls(_)));
    let stream = AsIs { target, intent, request, may_be_http: !is_tls && !is_tcp, detail };
    stream.carry(gateway, (client, read_ahead), server).await;
}

/// Record that a server does not answer.
async fn unreachable(
    gateway: &SessionGateway,
    target: &Destination,
    intent: u64,
    error: &io::Error,
) -> Failure {
    let detail = json!({ "error": error.to_string() });
    gateway.done(intent, Action::Connect, target.shown(), false, 0, detail).await;
    Failure::new("unreachable", format!("{} does not answer: {error}", target.shown()))
}

/// A connection whose requests are to be seen: HTTP, within TLS or without.
async fn carry_http(
    gateway: &SessionGateway,
    client: Client,
    target: &Destination,
    request: AccessRequest,
    mut granted: Authorized,
) {
    let intent = granted.intent;
    let pinned = Pinned::of(&granted, gateway.exit());
    if let Err(failure) = gateway.on_disk(granted.syncing()).await {
        return turn_away(client, &failure).await;
    }
    let once = client.protocol == ClientProtocol::HttpRequest;
    let Ok((mut client, mut read_ahead)) = client.welcome().await else {
        return gateway
            .done(intent, Action::Connect, target.shown(), false, 0, json!({ "cut": "broken" }))
            .await;
    };
    let first = read_first(&mut client, &mut read_ahead, false).await;
    let misfit = match &first {
        Ok(FirstBytes::Tls(hello)) => opened::meant_for(gateway, target, hello).await.err(),
        Ok(FirstBytes::Http | FirstBytes::Nothing) => None,
        Ok(FirstBytes::Other) => Some(
            Failure::new(
                "odd_protocol",
                format!("requests to {} are inspected, and this is not HTTP", target.shown()),
            )
            .advise("a rule with pass_through = true lets other protocols through"),
        ),
        Err(e) => Some(unreadable(e)),
    };
    if let Some(failure) = misfit {
        return protocol_mismatch(gateway, client, first.ok(), (intent, request), failure).await;
    }
    let client = Prefixed::new(read_ahead, client);
    let (ok, detail) = match first {
        Ok(FirstBytes::Tls(hello)) => {
            let name = hello.server_name.as_ref().unwrap_or(&target.host);
            opened::open(gateway, (target, pinned), name, client).await
        }
        Ok(FirstBytes::Http) => {
            let mode = if once { HttpMode::OneRequest } else { HttpMode::of(client.begins_with(HTTP_2)) };
            http::serve(gateway, (target, pinned), client, false, mode).await;
            (true, json!({ "inspected": true }))
        }
        _ => (true, json!({ "inspected": true })),
    };
    gateway.done(intent, Action::Connect, target.shown(), ok, 0, detail).await;
}

/// A connection that was decided on begins with what it may not carry.
async fn protocol_mismatch(
    gateway: &SessionGateway,
    client: TcpStream,
    first: Option<FirstBytes>,
    (intent, request): (u64, AccessRequest),
    failure: Failure,
) {
    gateway
        .done(
            intent,
            Action::Connect,
            request.subject().to_owned(),
            false,
            0,
            json!({ "refused": failure.code }),
        )
        .await;
    let refusal = gateway.refuse(request, failure).await;
    answer(client, first.as_ref(), &refusal.failure).await;
}

/// The ports of the web carry what they are for; others carry what the rule that names them lets through.
fn odd_protocol(gateway: &SessionGateway, target: &Destination) -> Result<(), Failure> {
    let rules = gateway.exit().allowed();
    let passes = rules.of_host(&target.host, target.port).any(|r| r.pass_through);
    let failure = |what: &str| {
        Err(Failure::new("odd_protocol", format!("port {} of {} is for {what}", target.port, target.host))
            .advise("a rule with pass_through = true lets other protocols through"))
    };
    match target.port {
        443 if !passes => failure("TLS"),
        80 if !passes => failure("HTTP"),
        _ => Ok(()),
    }
}

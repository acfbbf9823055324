//! Taking the body of a request: as much as the session may hold and still send, and no more than is inspected.

use chaperone_capability::Action;
use chaperone_egress::Host;
use chaperone_egress::request::RequestFacts;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::{AccessRequest, Refusal};
use chaperone_protocol::Failure;
use http::StatusCode;
use hyper::body::Incoming;

use super::channel::Channel;
use super::refusal::HttpRefusal;
use crate::body::{BodyError, BufferedBody};
use crate::destination::Destination;
use crate::exit::Exit;
use crate::held::{Reserved, TooMuch};
use crate::session_gateway::SessionGateway;

/// A request of which nothing is known but where it was to go.
pub(super) fn bare_request(gateway: &SessionGateway, target: &Destination) -> AccessRequest {
    let facts = target.facts(gateway);
    AccessRequest::network(Action::Request, NetworkResource { facts, ..target.resource() })
}

pub(super) async fn buffer_body(
    channel: &Channel,
    facts: &RequestFacts,
    body: Incoming,
) -> Result<BufferedBody, HttpRefusal> {
    within_looks(channel).await?;
    let exit = channel.gateway.exit();
    let left = || left(exit, &facts.host);
    let taken =
        BufferedBody::take(body, Reserved::nothing(&exit.held), left, &channel.gateway.session.dir).await;
    or_refused(channel, taken, || left().0).await
}

/// Refuses where too much was inspected and refused in the last minute.
pub(super) async fn within_looks(channel: &Channel) -> Result<(), HttpRefusal> {
    let exit = channel.gateway.exit();
    let may_look = exit.budget.lock().may_look(exit.now_ms());
    if may_look {
        return Ok(());
    }
    let why = "more of what this session wanted to send was refused within a minute than is inspected";
    let failure = Failure::new("over_budget", why).advise("wait a minute, and send what is allowed");
    Err(refuse_body(channel, StatusCode::TOO_MANY_REQUESTS, failure).await)
}

/// Bytes that may still be sent, to this host and in all.
pub(super) fn left(exit: &Exit, host: &Host) -> (u64, u64) {
    let budget = exit.budget.lock();
    (budget.left(host), budget.left_in_all())
}

pub(super) async fn or_refused(
    channel: &Channel,
    taken: Result<BufferedBody, BodyError>,
    left: impl FnOnce() -> u64,
) -> Result<BufferedBody, HttpRefusal> {
    match taken {
        Ok(held) => Ok(held),
        Err(error) => {
            let (status, failure) = not_taken(&error, left());
            Err(refuse_body(channel, status, failure).await)
        }
    }
}

async fn refuse_body(channel: &Channel, status: StatusCode, failure: Failure) -> HttpRefusal {
    let request = bare_request(&channel.gateway, &channel.target);
    HttpRefusal(status, channel.gateway.refuse(request, failure).await.failure)
}

/// Why a body is not taken, where so many bytes may still be sent.
fn not_taken(error: &BodyError, left: u64) -> (StatusCode, Failure) {
    match error {
        BodyError::TooMuch(TooMuch::Held) => {
            let failure = Failure::new("held_too_much", "more bodies of requests wait than may be held")
                .advise("wait for the answers to other requests");
            (StatusCode::SERVICE_UNAVAILABLE, failure)
        }
        BodyError::TooMuch(TooMuch::Budget) => {
            let why = format!(
                "the body of the request, with those that wait to be sent, is longer than the {left} bytes that may still be sent"
            );
            let failure =
                Failure::new("over_budget", why).advise("send less, or ask the user to raise upload_bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, failure)
        }
        other => {
            let why = format!("the body of the request is not forwarded: {other}");
            (StatusCode::BAD_REQUEST, Failure::new("bad_body", why))
        }
    }
}

/// A body that a tool brings, whole: it is held and counted like one that comes over a connection.
pub(crate) async fn hold_body(
    channel: &Channel,
    facts: &RequestFacts,
    body: Vec<u8>,
) -> Result<BufferedBody, HttpRefusal> {
    within_looks(channel).await?;
    let exit = channel.gateway.exit();
    let (to_host, in_all) = left(exit, &facts.host);
    let held = BufferedBody::hold(body, Reserved::nothing(&exit.held), to_host, in_all);
    or_refused(channel, held.map_err(BodyError::from), || to_host).await
}

pub(super) fn fault() -> HttpRefusal {
    HttpRefusal(StatusCode::INTERNAL_SERVER_ERROR, Refusal::internal().failure)
}

//! A stream that is carried as it is: counted, and cut where its first line becomes a request after all.

use chaperone_capability::Action;
use chaperone_egress::http_start::FirstLine;
use chaperone_pipeline::AccessRequest;
use chaperone_protocol::Failure;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::refusal::reset;
use super::relay;
use crate::destination::Destination;
use crate::session_gateway::SessionGateway;
use crate::{alerts, budget};

/// What is known of a stream.
pub(super) struct AsIs<'a> {
    pub target: &'a Destination,
    pub intent: u64,
    pub request: AccessRequest,
    /// Neither TLS nor to a server that speaks no HTTP.
    pub may_be_http: bool,
    /// For the record of how it ended.
    pub detail: Value,
}

impl AsIs<'_> {
    /// Carry it to its end. Of what the client says some was read already.
    pub async fn carry(
        self,
        gateway: &SessionGateway,
        (mut client, read_ahead): (TcpStream, Vec<u8>),
        mut server: TcpStream,
    ) {
        let Self { target, intent, request, may_be_http, mut detail } = self;
        let mut line = FirstLine::default();
        let pass = |bytes: &[u8]| {
            let is_request =
                if bytes.is_empty() { line.is_request_at_end() } else { line.becomes_request(bytes) };
            match is_request && may_be_http {
                true => Err(relay::becomes_request()),
                false => budget::spend(gateway, &target.host, bytes.len() as u64),
            }
        };
        let lease = gateway.lease(&request);
        let mut carried = relay::carry(&mut client, &mut server, read_ahead, lease.over(), pass).await;
        carried.cut = lease.why(carried.cut);
        if carried.cut == Some("becomes_request") {
            let failure =
                Failure::new("bad_request", "a server may take the first line of the connection for HTTP")
                    .advise(
                        "write requests as RFC 9112 has them, with one space between their parts; a server that speaks no HTTP is named as tcp://HOST:PORT by the user",
                    );
            gateway.refuse(request.clone(), failure).await;
            alerts::refused(gateway, &target.host.to_string());
        }
        // A line that was begun and does not end is none to a server that sees a reset.
        if carried.cut == Some("becomes_request") || carried.cut.is_some() && line.is_open() {
            reset(server);
        }
        if carried.cut == Some("over_budget") {
            let failure = Failure::new("over_budget", "the session has sent as many bytes as it may");
            gateway.refuse(request, failure.advise("ask the user to raise limits.upload_bytes")).await;
        }
        if carried.cut.is_some() {
            reset(client);
        }
        detail["down"] = json!(carried.down);
        detail["cut"] = json!(carried.cut);
        let (shown, ok) = (target.shown(), carried.cut.is_none());
        gateway.done(intent, Action::Connect, shown, ok, carried.up, detail).await;
    }
}

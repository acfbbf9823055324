//! TLS that ends at the broker: for whom it is, and its requests as those of the name that it asks for.

use chaperone_egress::Host;
use chaperone_egress::client_hello::ClientHello;
use chaperone_protocol::Failure;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::prefixed::Prefixed;
use crate::destination::Destination;
use crate::dial::Pinned;
use crate::session_gateway::SessionGateway;
use crate::{http, names, ruled_names};

/// The name whose rules a TLS connection to an address is held to, so that it has to be opened; none where nothing is to be seen.
///
/// # Errors
/// Why it is not carried at all: it is for another host, or does not say for which.
pub(super) async fn name_to_open(
    gateway: &SessionGateway,
    target: &Destination,
    hello: &ClientHello,
) -> Result<Option<Host>, Failure> {
    meant_for(gateway, target, hello).await?;
    if !ruled_names::may_be_ruled(gateway.exit(), target) {
        return Ok(None);
    }
    if let Some(name @ Host::Name(_)) = &hello.server_name {
        return Ok(gateway.exit().wants_requests(name, target.port).then(|| name.clone()));
    }
    match ruled_names::ruled_name(gateway, target).await {
        Some(name) => Err(ruled_names::unnamed(target, &name)),
        None => Ok(None),
    }
}

/// Carry the requests within it; whether that could be done, and what the record says of it.
pub(super) async fn open(
    gateway: &SessionGateway,
    (target, pinned): (&Destination, Pinned),
    name: &Host,
    client: Prefixed<TcpStream>,
) -> (bool, Value) {
    let mut detail = json!({ "inspected": true, "sni": name.to_string() });
    let Some(authority) = &gateway.exit().authority else { return (false, detail) };
    match authority.accept(name, client).await {
        Ok(stream) => {
            let h2 = crate::tls::is_h2(stream.get_ref().1.alpn_protocol());
            let target = Destination { host: name.clone(), ..target.clone() };
            http::serve(gateway, (&target, pinned), stream, true, http::HttpMode::of(h2)).await;
            (true, detail)
        }
        Err(e) => {
            // Most likely the program has roots of its own and does not look at the cell's.
            detail["error"] = json!(format!("the program did not accept the session's certificate: {e}"));
            (false, detail)
        }
    }
}

/// Whether a TLS connection is for the host that was decided on.
pub(super) async fn meant_for(
    gateway: &SessionGateway,
    target: &Destination,
    hello: &ClientHello,
) -> Result<(), Failure> {
    let fronting = |name: &str| {
        Failure::new(
            "fronting",
            format!("the connection is for {}, but its TLS asks for {name}", target.shown()),
        )
        .advise("connect to the name that is meant")
    };
    match (&hello.server_name, &target.host) {
        (Some(asked), host) if asked == host => Ok(()),
        (Some(asked), Host::Address(ip)) if names::is_name_of(gateway, asked, *ip, target.port).await => {
            Ok(())
        }
        (Some(asked), _) => Err(fronting(&asked.to_string())),
        (None, Host::Address(_)) => Ok(()),
        (None, Host::Name(_)) => Err(fronting("no name")),
    }
}

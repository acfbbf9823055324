//! Ports of the cell on the user's loopback: each connection is decided, recorded, and carried to the port of the same
//! number in the cell.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_cell::control::InitOrder;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::{AccessRequest, Authorized, Refusal};
use serde_json::json;
use tokio::net::TcpStream;

use crate::connection::refusal::reset;
use crate::connection::relay;
use crate::session_gateway::SessionGateway;

/// How long cell-init may take for one; its own limit is two seconds for each address.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// Accept from now on.
pub(crate) fn serve(gateway: &SessionGateway) -> std::io::Result<()> {
    let listeners = gateway.exit().published_ports.take_listeners();
    for (listener, accepting) in listeners {
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (stop, accepted) = (gateway.exit().stop.clone(), accept(gateway.clone(), listener, port));
        tokio::spawn(async move {
            stop.run_until_cancelled(accepted).await;
            drop(accepting);
        });
    }
    Ok(())
}

async fn accept(gateway: SessionGateway, listener: tokio::net::TcpListener, port: u16) {
    loop {
        let Ok(place) = Arc::clone(&gateway.exit().published_ports.visits).acquire_owned().await else {
            return;
        };
        let Ok((visitor, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let task = gateway.clone();
        gateway.spawn(async move {
            visit(&task, visitor, port).await;
            drop(place);
        });
    }
}

async fn visit(gateway: &SessionGateway, visitor: TcpStream, port: u16) {
    visitor.set_nodelay(true).ok();
    let resource = format!("localhost:{port}");
    // What the cell answers goes to whoever asks on this machine, and on from there.
    let asked = NetworkResource {
        shown: resource.clone(),
        host: "localhost".to_owned(),
        port,
        leaves: true,
        ..NetworkResource::default()
    };
    let decided = gateway.decide(AccessRequest::network(Action::Publish, asked)).await;
    let Ok(mut granted) = decided else { return reset(visitor) };
    let (intent, syncing) = (granted.intent, granted.syncing());
    let (server, on_disk) = tokio::join!(dial(gateway, &granted), gateway.on_disk(syncing));
    if on_disk.is_err() {
        return reset(visitor);
    }
    let server = match server {
        Ok(server) => server,
        Err(why) => {
            gateway.done(intent, Action::Publish, resource, false, 0, json!({ "error": why })).await;
            return reset(visitor);
        }
    };
    let (mut visitor, mut server) = (visitor, server);
    // Nothing of this leaves the machine, so no budget is spent.
    let lease = gateway.lease(granted.request());
    let mut carried = relay::carry(&mut visitor, &mut server, Vec::new(), lease.over(), |_| Ok(())).await;
    carried.cut = lease.why(carried.cut);
    if carried.cut.is_some() {
        reset(visitor);
    }
    // As for a connection out of the cell: the bytes are those that the cell sent.
    let detail = json!({ "down": carried.up, "cut": carried.cut });
    gateway.done(intent, Action::Publish, resource, carried.cut.is_none(), carried.down, detail).await;
}

/// A connection to a port of the cell, made by cell-init.
async fn dial(gateway: &SessionGateway, granted: &Authorized) -> Result<TcpStream, String> {
    let port = granted.network().map_or(0, |n| n.port);
    let sockets = ordered(gateway, |id| InitOrder::Dial { port, id }).await?;
    let socket = sockets.into_iter().next().ok_or_else(|| "the cell gave no connection".to_owned())?;
    let connect = || {
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        TcpStream::from_std(stream)
    };
    connect().map_err(|e| format!("the connection into the cell cannot be used: {e}"))
}

/// The sockets that cell-init makes on an order of this number.
pub(crate) async fn ordered(
    gateway: &SessionGateway,
    order: impl FnOnce(u64) -> InitOrder,
) -> Result<Vec<OwnedFd>, String> {
    let published_ports = &gateway.exit().published_ports;
    let gone = || "the cell is gone".to_owned();
    let _room = published_ports.room.acquire().await.map_err(|_| gone())?;
    let (id, answer) = published_ports.expect();
    let Some(dial) = gateway.exit().dial.get().cloned() else { return Err(gone()) };
    let order = order(id);
    let ordered = tokio::task::spawn_blocking(move || dial.0(order));
    let answer = match ordered.await {
        Ok(Ok(())) => tokio::time::timeout(DIAL_LIMIT, answer).await,
        Ok(Err(e)) => {
            published_ports.forget(id);
            return Err(format!("the cell does not listen: {e}"));
        }
        Err(_) => return Err(Refusal::internal().failure.message),
    };
    match answer {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(gone()),
        Err(_) => {
            published_ports.forget(id);
            Err("the cell does not answer".to_owned())
        }
    }
}

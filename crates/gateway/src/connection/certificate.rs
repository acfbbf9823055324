//! The certificates of servers whose TLS passes unopened.

use std::io;
use std::time::Duration;

use chaperone_audit::Durability;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::destination::Destination;
use crate::dial::Pinned;
use crate::session_gateway::SessionGateway;

/// Hosts whose certificates are observed. Protects memory.
const OBSERVED: usize = 4_096;
/// How long a look at a certificate may take.
const OBSERVE_LIMIT: Duration = Duration::from_secs(10);

/// Whether this is the session's first TLS connection to a host.
pub(super) fn observe(gateway: &SessionGateway, host: &str) -> bool {
    let mut observed = gateway.exit().observed.lock();
    observed.len() < OBSERVED && observed.insert(host.to_owned())
}

/// Record the certificate of a host whose TLS passes unopened. Of TLS 1.3 nobody on the way sees it, so the broker makes a
/// handshake of its own, to the same address, and sends nothing.
pub(super) async fn certificate(gateway: SessionGateway, target: Destination, pinned: Pinned) {
    let Some(upstream) = gateway.exit().upstream() else { return };
    let look = async {
        let stream = pinned.connect().await?;
        let stream = upstream.connect(&target.host, stream, true).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
        leaf.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let seen = tokio::time::timeout(OBSERVE_LIMIT, look)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let payload = match seen {
        Ok(leaf) => {
            json!({ "host": target.shown(), "verified": true, "sha256": hex::encode(Sha256::digest(&leaf)) })
        }
        Err(e) => json!({ "host": target.shown(), "verified": false, "error": e.to_string() }),
    };
    let record = move || {
        let records = &gateway.pipeline().records;
        // It is an observation; a log that cannot be written denies whatever comes next.
        records.event(&gateway.session, "certificate", &target.shown(), &payload, Durability::Logged).ok();
    };
    tokio::task::spawn_blocking(record).await.ok();
}

//! Capabilities: what a session holds, tokens for the user's own use, revocation.

use chaperone_capability::{Issue, Request, mint as mint_token};
use chaperone_pipeline::authority;
use chaperone_protocol::Failure;
use chaperone_protocol::reply::{CapabilityShown, Minted, Revoked};
use serde_json::{Value, json};

use crate::broker::Broker;

pub fn show(broker: &Broker, session: &str) -> Result<CapabilityShown, Failure> {
    let live = broker.find(session)?;
    let held = live.session.capability.read().clone();
    let held = held.ok_or_else(|| Failure::new("no_capability", "the session holds no capability"))?;
    let elevations = live.session.grants.read().iter().map(|g| json!(g.verified.claims())).collect();
    Ok(CapabilityShown { claims: json!(held.verified.claims()), elevations })
}

/// Mint a token for the user's own use.
pub fn mint(broker: &Broker, claims: &Value) -> Result<Minted, Failure> {
    let request = Request::parse(claims.to_string().as_bytes()).map_err(authority::failure)?;
    let session =
        request.aud.as_deref().and_then(|a| a.strip_prefix("session:")).unwrap_or("none").to_owned();
    let jti = authority::random_id()?;
    let now = u64::try_from(broker.pipeline.clock.now()).unwrap_or(0);
    let issue = Issue { session: &session, jti: &jti, now, jkt: None };
    let token =
        mint_token(&request, &issue, &*broker.vault).map_err(|e| Failure::new(e.code(), e.to_string()))?;
    Ok(Minted { token: token.as_str().to_owned(), jti })
}

pub fn revoke(broker: &Broker, jti: &str) -> Result<Revoked, Failure> {
    let revocations = &broker.pipeline.ledgers.revocations;
    revocations
        .revoke(jti, u64::try_from(broker.pipeline.clock.now()).unwrap_or(0))
        .map_err(|e| Failure::new("ledger_unavailable", e.to_string()))?;
    Ok(Revoked { revoked: jti.to_owned() })
}

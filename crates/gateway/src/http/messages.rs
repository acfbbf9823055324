//! What is said piece by piece after a request was granted: each piece is inspected together with those before it, and decided on
//! when something was seen.

use std::io;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_egress::Level;
use chaperone_pipeline::AccessRequest;
use chaperone_pipeline::access::{NetworkResource, Resource};
use serde_json::json;

use super::channel::Channel;
use crate::budget::{self, Spending};
use crate::outgoing::history::History;
use crate::outgoing::{self, OutboundFindings};

/// Messages that came together, and the bytes of their frames.
pub(super) struct Batch {
    pub messages: Vec<Vec<u8>>,
    /// Numbers that the sender chose beside them, as digits.
    pub codes: Vec<u8>,
    pub bytes: usize,
}

/// Record how it ended with messages that were decided on.
pub(super) async fn ended(channel: &Channel, request: &AccessRequest, intent: u64, ok: bool, bytes: usize) {
    let (shown, bytes) = (request.subject().to_owned(), if ok { bytes as u64 } else { 0 });
    channel.gateway.done(intent, Action::Request, shown, ok, bytes, json!({ "messages": true })).await;
}

/// Whether the newest messages may go: inspected together with those before them, and decided when something was seen. What
/// they take of the budgets, and the intent, where there is one.
pub(super) async fn allowed(
    channel: &Arc<Channel>,
    request: &AccessRequest,
    history: &mut History,
    batch: Batch,
) -> io::Result<(Spending, Option<u64>)> {
    let gateway = &channel.gateway;
    let Batch { messages, codes, bytes } = batch;
    let exit = gateway.exit();
    let number = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let (level, mut spending) = Spending::messages(gateway, &channel.target.host, number, bytes as u64);
    let newest = messages.concat();
    let found = match history.push(messages) {
        None if codes.is_empty() => OutboundFindings::default(),
        said => {
            let Ok(_place) = exit.inspections.acquire().await else {
                return Err(io::ErrorKind::Interrupted.into());
            };
            let looker = gateway.clone();
            let to = exit.allowed().recipient(&channel.target.host);
            let looked = tokio::task::spawn_blocking(move || {
                let (detectors, exit) = (&*looker.pipeline().outgoing, looker.exit());
                let recent = &exit.recent_requests;
                outgoing::inspect_messages(detectors, &exit.secrets, recent, &to, (said.as_ref(), codes))
            });
            looked.await.map_err(io::Error::other)?
        }
    };
    let level = spending.also(level, &found.findings);
    if found.is_clean() && !matches!(level, Level::Over(_)) {
        return Ok((spending, None));
    }
    let Some(known) = request.as_network() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let held = crate::body::BufferedBody::of(newest);
    let mut facts = known.facts.clone();
    facts.budget = Some(budget::level(gateway, &channel.target.host, level));
    let mut sent = facts.request();
    found.add_to(&mut sent);
    // They have no head of their own.
    sent.head_bytes = 0;
    facts.request = Some(sent);
    let resource = NetworkResource {
        facts,
        findings: found.findings,
        content: Some((held.sha256, held.len)),
        sources: found.passages,
        text: held.text(),
        query: None,
        ..known.clone()
    };
    let asked = AccessRequest { resource: Resource::Network(Box::new(resource)), ..request.clone() };
    let granted = gateway.decide(asked).await;
    let mut granted = granted.map_err(|refusal| io::Error::other(refusal.failure.code))?;
    if let Err(failure) = gateway.on_disk(granted.syncing()).await {
        ended(channel, request, granted.intent, false, 0).await;
        return Err(io::Error::other(failure.code));
    }
    Ok((spending, Some(granted.intent)))
}

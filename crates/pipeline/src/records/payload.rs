//! The encrypted part of a record.

use std::borrow::Cow;
use std::net::IpAddr;

use chaperone_inspect::{Finding, Place, Spot};
use serde::Serialize;
use serde_json::Value;

use super::IntentRecord;
use crate::access::{NetworkResource, Resource};
use crate::network_facts::NetworkFacts;

/// Of an intent.
#[derive(Serialize)]
pub(super) struct IntentPayload<'a> {
    entry: &'a str,
    path: &'a str,
    to: Option<&'a str>,
    origin: Option<&'a str>,
    redacted: bool,
    dev: u64,
    ino: u64,
    size: u64,
    pid: Option<u32>,
    content: Option<ContentPayload>,
    findings: Option<&'a [Finding]>,
    change: Option<Cow<'a, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    outbound: Option<NetworkPayload<'a>>,
}

/// What is known of a content: its length and its keyed fingerprint.
#[derive(Serialize)]
pub(super) struct ContentPayload {
    pub bytes: u64,
    pub fingerprint: String,
}

/// What an action on the network was about. What leaves is known by its length and fingerprint alone.
#[derive(Serialize)]
pub(super) struct NetworkPayload<'a> {
    host: &'a str,
    port: u16,
    addresses: &'a [IpAddr],
    method: Option<&'a str>,
    url_path: Option<&'a str>,
    facts: &'a NetworkFacts,
    findings: &'a [Finding],
}

/// Of an outcome.
#[derive(Serialize)]
pub(super) struct OutcomePayload<'a> {
    pub bytes: u64,
    pub detail: Option<&'a Value>,
}

impl<'a> IntentPayload<'a> {
    pub fn of(intent: &IntentRecord<'a>, content: Option<ContentPayload>) -> Self {
        let request = intent.request;
        let (mut file, mut arguments, mut outbound) = (None, None, None);
        match &request.resource {
            Resource::File(of) => file = Some(of),
            Resource::Network(network) => outbound = Some(NetworkPayload::of(network)),
            Resource::Tool(tool) => arguments = Some(hex::encode(tool.arguments)),
            // What is wished for is the change.
            Resource::Elevation(_) => {}
        }
        Self {
            entry: request.entry.as_str(),
            path: request.subject(),
            to: request.leads_to(),
            origin: file.and_then(|f| f.origin.as_deref()),
            redacted: intent.redacted,
            dev: file.map_or(0, |f| f.object.dev),
            ino: file.map_or(0, |f| f.object.ino),
            size: file.map_or(0, |f| f.object.size),
            pid: request.pid,
            content,
            findings: intent.inspected.map(|i| &*i.findings),
            change: request.resource.change(),
            arguments,
            outbound,
        }
    }
}

impl<'a> NetworkPayload<'a> {
    pub fn of(network: &'a NetworkResource) -> Self {
        let carries = network.facts.request.as_ref().is_some_and(|r| r.hides_target)
            || network.findings.iter().any(|f| is_in_target(&f.place));
        Self {
            // A name that carries something is not written down.
            host: if network.facts.tunnel.is_some() { "…" } else { &network.host },
            port: network.port,
            addresses: &network.addresses,
            method: network.method.as_deref(),
            // A path that carries something is not written down.
            url_path: network.url_path.as_deref().filter(|_| !carries),
            facts: &network.facts,
            findings: &network.findings,
        }
    }
}

/// Whether something that was seen at a place may stand in the path or the query of a request.
#[must_use]
pub fn is_in_target(place: &Place) -> bool {
    match place.spot {
        Spot::Method
        | Spot::Header(_)
        | Spot::UnnamedHeader
        | Spot::HeaderNames
        | Spot::Body
        | Spot::Message => false,
        // What was put together from values of requests may be from there, and so may be what nobody knows the place of.
        Spot::Url
        | Spot::Query
        | Spot::FileName
        | Spot::DnsLabel
        | Spot::Request
        | Spot::Requests
        | Spot::File(_)
        | Spot::Told(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use chaperone_inspect::{FileSpot, Step};

    use super::*;

    #[test]
    fn what_is_not_known_to_stand_elsewhere_may_stand_in_the_target() {
        let header = |name: &str| Spot::Header(name.to_owned());
        for spot in [
            header("url"),
            header("names"),
            header("body"),
            Spot::UnnamedHeader,
            Spot::HeaderNames,
            Spot::Method,
            Spot::Body,
            Spot::Message,
        ] {
            assert!(!is_in_target(&Place::from(spot).then(&[Step::Joined, Step::Base64])));
        }
        for spot in [
            Spot::Url,
            Spot::Query,
            Spot::Requests,
            Spot::Request,
            Spot::DnsLabel,
            Spot::FileName,
            Spot::File(FileSpot::Whole),
            Spot::Told("body".to_owned()),
        ] {
            assert!(is_in_target(&spot.into()));
        }
    }
}

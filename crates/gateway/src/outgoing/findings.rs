//! What one look at what leaves came to.

use chaperone_egress::headers::holds_credentials;
use chaperone_inspect::outgoing::{Known, Outgoing, Seen};
use chaperone_inspect::{Finding, Place, Spot};
use chaperone_pipeline::network_facts::{Credential, RequestFacts};
use chaperone_pipeline::records::is_in_target;

use super::secrets::{KnownHere, Secrets};

/// What one look came to.
#[derive(Debug, Default)]
pub(crate) struct OutboundFindings {
    pub findings: Vec<Finding>,
    /// What passages of it were read from, largest first; and its passwords and keys.
    pub passages: Vec<String>,
    /// There is a password or a key among them.
    pub has_read_secret: bool,
    /// Registered values.
    pub registered: Vec<String>,
    /// What could not be looked into, and why.
    pub unread: Vec<String>,
    /// Secrets in the headers that credentials belong in; whether they may go there is policy's to say.
    pub credentials: Vec<Credential>,
    /// Some of it stands in the path or the query.
    pub in_target: bool,
    /// Some of it is the method.
    pub in_method: bool,
    /// Methods that a form or a query names for the request.
    pub named_methods: Vec<&'static str>,
}

impl OutboundFindings {
    /// Whether there is anything that policy should know of.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
            && self.passages.is_empty()
            && self.registered.is_empty()
            && self.unread.is_empty()
            && self.credentials.is_empty()
    }

    /// Add to the facts that policy gets, besides the findings.
    pub fn add_to(&self, facts: &mut RequestFacts) {
        facts.passages = self.passages.len();
        facts.read_from.clone_from(&self.passages);
        facts.registered = self.registered.len();
        facts.unread.clone_from(&self.unread);
        facts.credentials.clone_from(&self.credentials);
        facts.hides_target = self.in_target;
    }

    pub(super) fn extend(&mut self, more: OutboundFindings) {
        self.findings.extend(more.findings);
        self.passages.extend(more.passages);
        self.has_read_secret |= more.has_read_secret;
        self.registered.extend(more.registered);
        self.unread.extend(more.unread);
        self.credentials.extend(more.credentials);
        self.in_target |= more.in_target;
        self.in_method |= more.in_method;
        self.named_methods.extend(more.named_methods);
    }
}

/// Look at pieces, of which those before the last were looked at when they came.
pub(super) fn inspect_parts(outgoing: &Outgoing, secrets: &Secrets, messages: &[&[u8]]) -> Seen {
    secrets.settle();
    let known = secrets.known().read();
    let (before, newest) = messages.split_at(messages.len().saturating_sub(1));
    outgoing.look_at_messages(before, newest, &of(&known))
}

pub(super) fn of(known: &KnownHere) -> Known<'_> {
    Known { read: Some(&known.read), secrets: Some(&known.registered), values: Some(&known.values) }
}

pub(super) fn to_findings(known: &KnownHere, mut seen: Seen) -> OutboundFindings {
    let source = |id: u32| known.sources.get(id as usize).cloned().unwrap_or_default();
    let in_target = places(&mut seen).any(|place| is_in_target(place));
    let in_method = places(&mut seen).any(|place| place.spot == Spot::Method);
    if places(&mut seen).any(|place| place.spot == Spot::HeaderNames) {
        // What a name carries is not written down.
        places(&mut seen).for_each(hide_name);
    }
    // A disguise in a credential is how credentials look.
    let (in_their_place, elsewhere): (Vec<_>, Vec<_>) =
        seen.findings.into_iter().partition(|f| in_credentials(&f.place) && f.category != "pii");
    let credentials = in_their_place.into_iter().filter(|f| f.category == "secret");
    let credentials = credentials
        .map(|f| Credential {
            own: known.own.contains(&f.sha256),
            detector: f.detector,
            place: f.place,
            count: f.count,
        })
        .collect();
    let mut sources: Vec<u32> = seen.passages.iter().map(|p| p.hit.source_id).collect();
    for value in &seen.values {
        if !sources.contains(&value.hit.id) {
            sources.push(value.hit.id);
        }
    }
    OutboundFindings {
        findings: elsewhere,
        credentials,
        passages: sources.into_iter().map(source).collect(),
        has_read_secret: !seen.values.is_empty(),
        registered: seen
            .registered
            .iter()
            .filter(|r| !in_credentials(&r.place))
            .map(|r| source(r.hit.id))
            .collect(),
        unread: seen.unread.into_iter().map(|u| format!("{}: {}", u.place, u.reason)).collect(),
        in_target,
        in_method,
        named_methods: Vec::new(),
    }
}

/// Where each thing stands that was seen.
fn places(seen: &mut Seen) -> impl Iterator<Item = &mut Place> {
    let places = seen.findings.iter_mut().map(|f| &mut f.place);
    let places = places.chain(seen.passages.iter_mut().map(|p| &mut p.place));
    let registered = seen.registered.iter_mut().chain(&mut seen.values);
    let places = places.chain(registered.map(|r| &mut r.place));
    places.chain(seen.unread.iter_mut().map(|u| &mut u.place))
}

/// Whether it is the value of a header that credentials belong in. What a secret looks like is no sign there; what was read or
/// registered still is.
fn in_credentials(place: &Place) -> bool {
    matches!(&place.spot, Spot::Header(name) if holds_credentials(name))
}

/// Take the name of a header out of a place, but for those that credentials belong in.
fn hide_name(place: &mut Place) {
    if matches!(place.spot, Spot::Header(_)) && !in_credentials(place) {
        place.spot = Spot::UnnamedHeader;
    }
}

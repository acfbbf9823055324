//! A look at what is about to leave: secrets and personal data in every encoding, passages of what the session has read, values
//! that are registered.

mod open_directories;
pub(crate) mod recent_requests;
pub(crate) mod secrets;

use chaperone_inspect::Finding;
use chaperone_inspect::outgoing::{Known, Outgoing, Part, Place, Seen, StreamLook, WHOLE};
use chaperone_pipeline::network_facts::{Credential, RequestFacts};
use chaperone_pipeline::records::is_in_target;
use http::HeaderMap;

use crate::body::BufferedBody;
use secrets::{KnownHere, Secrets};

/// Headers that a credential belongs in. What a secret looks like is no sign there; what was read or registered still is.
const CREDENTIALS: &[&str] =
    &["authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key", "private-token"];
/// Headers that every program writes and nobody chooses freely.
const PLAIN: &[&str] = &["host", "content-length", "accept-encoding", "connection", "transfer-encoding"];

/// What one look came to.
#[derive(Debug, Default)]
pub(crate) struct OutboundFindings {
    pub findings: Vec<Finding>,
    /// What passages of it were read from, largest first.
    pub passages: Vec<String>,
    /// Registered values.
    pub registered: Vec<String>,
    /// What could not be looked into, and why.
    pub unread: Vec<String>,
    /// Secrets in the headers that credentials belong in; whether they may go there is policy's to say.
    pub credentials: Vec<Credential>,
    /// Some of it stands in the path or the query.
    pub in_target: bool,
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
    }

    fn extend(&mut self, more: OutboundFindings) {
        self.findings.extend(more.findings);
        self.passages.extend(more.passages);
        self.registered.extend(more.registered);
        self.unread.extend(more.unread);
        self.credentials.extend(more.credentials);
        self.in_target |= more.in_target;
    }
}

/// What a request consists of, besides its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub target: &'a str,
    pub headers: &'a HeaderMap,
}

/// Look at a whole request.
pub(crate) fn inspect_request(
    outgoing: &Outgoing,
    secrets: &Secrets,
    head: Head<'_>,
    body: &BufferedBody,
) -> std::io::Result<OutboundFindings> {
    secrets.settle();
    let known = secrets.known().read();
    let content_type = head.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let whole = if body.len <= WHOLE as u64 { body.read()? } else { Vec::new() };
    let mut parts = vec![Part { place: Place::Url, bytes: head.target.as_bytes(), content_type: None }];
    if let Some((_, query)) = head.target.split_once('?') {
        parts.push(Part { place: Place::Query, bytes: query.as_bytes(), content_type: None });
    }
    for (name, value) in head.headers {
        if !PLAIN.contains(&name.as_str()) {
            parts.push(Part {
                place: Place::Header(name.as_str()),
                bytes: value.as_bytes(),
                content_type: None,
            });
        }
    }
    if !whole.is_empty() {
        parts.push(Part { place: Place::Body, bytes: &whole, content_type });
    }
    let mut found = to_findings(&known, outgoing.look(&parts, &of(&known)));
    if body.len > WHOLE as u64 {
        let mut look = StreamLook::new(outgoing, Place::Body, content_type, of(&known));
        body.pieces(|piece| look.feed(piece))?;
        found.extend(to_findings(&known, look.finish()));
    }
    Ok(found)
}

/// Look at messages of one conversation, the newest last; values that are cut into several are found too.
pub(crate) fn inspect_messages(
    outgoing: &Outgoing,
    secrets: &Secrets,
    messages: &[&[u8]],
) -> OutboundFindings {
    let seen = inspect_parts(outgoing, secrets, messages);
    to_findings(&secrets.known().read(), seen)
}

fn inspect_parts(outgoing: &Outgoing, secrets: &Secrets, messages: &[&[u8]]) -> Seen {
    secrets.settle();
    let known = secrets.known().read();
    let parts: Vec<Part<'_>> =
        messages.iter().map(|bytes| Part { place: Place::Message, bytes, content_type: None }).collect();
    outgoing.look(&parts, &of(&known))
}

fn of(known: &KnownHere) -> Known<'_> {
    Known { read: Some(&known.read), secrets: Some(&known.registered) }
}

fn to_findings(known: &KnownHere, seen: Seen) -> OutboundFindings {
    let in_credentials = |place: &str| {
        let name = place.strip_prefix("header ").and_then(|rest| rest.split(' ').next());
        name.is_some_and(|n| CREDENTIALS.contains(&n))
    };
    let source = |id: u32| known.sources.get(id as usize).cloned().unwrap_or_default();
    let places = seen.findings.iter().map(|f| &f.where_);
    let places = places.chain(seen.passages.iter().map(|p| &p.where_));
    let places = places.chain(seen.registered.iter().map(|r| &r.where_));
    let in_target = places.chain(seen.unread.iter().map(|u| &u.where_)).any(|place| is_in_target(place));
    // A disguise in a credential is how credentials look.
    let (in_their_place, elsewhere): (Vec<_>, Vec<_>) =
        seen.findings.into_iter().partition(|f| in_credentials(&f.where_) && f.category != "pii");
    let credentials = in_their_place.into_iter().filter(|f| f.category == "secret");
    let credentials = credentials
        .map(|f| Credential {
            own: known.own.contains(&f.sha256),
            detector: f.detector,
            place: f.where_,
            count: f.count,
        })
        .collect();
    OutboundFindings {
        findings: elsewhere,
        credentials,
        passages: seen.passages.iter().map(|p| source(p.hit.source_id)).collect(),
        registered: seen
            .registered
            .iter()
            .filter(|r| !in_credentials(&r.where_))
            .map(|r| source(r.hit.id))
            .collect(),
        unread: seen.unread.into_iter().map(|u| format!("{}: {}", u.where_, u.reason)).collect(),
        in_target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaperone_inspect::Detectors;

    #[test]
    fn a_secret_in_a_credentials_place_is_told_apart() {
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        let secrets = Secrets::new().unwrap();
        let look = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let head = Head { target: "/", headers: &headers };
            inspect_request(&outgoing, &secrets, head, &BufferedBody::of(Vec::new())).unwrap()
        };
        let token = "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo";
        let bearer = format!("Bearer {token}");
        let in_its_place = look("authorization", &bearer);
        assert!(in_its_place.findings.is_empty());
        assert_eq!(in_its_place.credentials[0].detector, "github_token");
        assert!(!in_its_place.credentials[0].own);
        let elsewhere = look("x-note", &bearer);
        assert!(elsewhere.findings.iter().any(|f| f.category == "secret"), "only where credentials belong");
        secrets.register(token);
        assert!(look("authorization", &bearer).credentials[0].own);
    }
}

//! A look at what is about to leave: secrets and personal data in every encoding, passages of what the session has read, values
//! that are registered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use chaperone_inspect::Finding;
use chaperone_inspect::outgoing::{
    Fingerprints, KeyedSecrets, Known, Outgoing, Part, Place, Seen, StreamLook, WHOLE,
};
use chaperone_pipeline::network_facts::{Credential, RequestFacts};
use http::HeaderMap;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::body::Held;
use chaperone_pipeline::records::is_in_target;
use chaperone_protocol::Failure;

/// Bytes of what was read that wait to be remembered. Protects memory: beyond it they are remembered at once.
const WAITING: u64 = 16 << 20;
/// Bytes of one file that are remembered.
const MOST_OF_A_FILE: u64 = 32 << 20;
/// Headers that a credential belongs in. What a secret looks like is no sign there; what was read or registered still is.
const CREDENTIALS: &[&str] =
    &["authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key", "private-token"];
/// Headers that every program writes and nobody chooses freely.
const PLAIN: &[&str] = &["host", "content-length", "accept-encoding", "connection", "transfer-encoding"];

/// What a session must not give away.
pub(crate) struct Secrets {
    key: [u8; 32],
    /// Made when the first look needs it: most sessions send nothing.
    known: OnceLock<Arc<RwLock<KnownHere>>>,
    waiting: Mutex<Waiting>,
}

struct KnownHere {
    read: Fingerprints,
    registered: KeyedSecrets,
    /// Names of sources, by their number.
    sources: Vec<String>,
    /// SHA-256 of the keys that the profile gives the agent.
    own: HashSet<[u8; 32]>,
}

#[derive(Default)]
struct Waiting {
    files: Vec<(String, Arc<File>, u64)>,
    bytes: u64,
    seen: HashSet<[u8; 32]>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, Failure> {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
        Ok(Self { key, known: OnceLock::new(), waiting: Mutex::default() })
    }

    fn known(&self) -> &Arc<RwLock<KnownHere>> {
        self.known.get_or_init(|| {
            Arc::new(RwLock::new(KnownHere {
                read: Fingerprints::new(&self.key),
                registered: KeyedSecrets::new(&self.key),
                sources: Vec::new(),
                own: HashSet::new(),
            }))
        })
    }

    /// A value that must not stand anywhere but in a credential's place.
    pub fn register(&self, value: &str) {
        let mut known = self.known().write();
        let id = u32::try_from(known.sources.len()).unwrap_or(u32::MAX);
        known.sources.push("a key that the profile passes to the agent".to_owned());
        // Shorter ones would be found everywhere by chance, longer ones are no keys.
        known.registered.register(id, value.as_bytes()).ok();
        known.own.insert(Sha256::digest(value.as_bytes()).into());
    }

    /// The agent reads this content now.
    pub fn remember(&self, path: &str, content: &Arc<File>, (version, len): ([u8; 32], u64)) {
        let mut waiting = self.waiting.lock();
        if !waiting.seen.insert(version) {
            return;
        }
        waiting.files.push((path.to_owned(), Arc::clone(content), len.min(MOST_OF_A_FILE)));
        waiting.bytes += len.min(MOST_OF_A_FILE);
        if waiting.bytes > WAITING {
            let files = std::mem::take(&mut waiting.files);
            waiting.bytes = 0;
            let (begun, has_begun) = std::sync::mpsc::sync_channel(0);
            let (known, taken) = (Arc::clone(self.known()), files.clone());
            let work = move || {
                let mut known = known.write();
                begun.send(()).ok();
                take_in(&mut known, taken);
            };
            // The agent's reading does not wait for it; whoever looks, or remembers as much again, waits for the lock.
            match std::thread::Builder::new().name("remember".into()).spawn(work) {
                Ok(_) => drop(has_begun.recv()),
                Err(_) => take_in(&mut self.known().write(), files),
            }
        }
    }

    fn settle(&self) {
        let mut waiting = self.waiting.lock();
        let files = std::mem::take(&mut waiting.files);
        waiting.bytes = 0;
        if !files.is_empty() {
            let mut known = self.known().write();
            drop(waiting);
            take_in(&mut known, files);
        }
    }
}

fn take_in(known: &mut KnownHere, files: Vec<(String, Arc<File>, u64)>) {
    for (path, file, len) in files {
        let id = u32::try_from(known.sources.len()).unwrap_or(u32::MAX);
        known.sources.push(path);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        // A snapshot is sealed: what cannot be read of it was not read by the agent either.
        if file.read_exact_at(&mut bytes, 0).is_ok() {
            known.read.add(id, &bytes);
        }
    }
}

/// Longest body that counts as a piece of something longer.
pub(crate) const PIECE: usize = 1 << 10;
/// Bytes and pieces of one host that are looked at together.
const TOGETHER: usize = 16 << 10;
const MOST_PIECES: usize = 1_024;
/// Hosts whose pieces are kept. Protects memory.
const MOST_HOSTS: usize = 256;

/// What was sent to each host last in small requests: each of them says nothing, together they may.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<HashMap<String, Trickle>>);

#[derive(Debug, Default)]
struct Trickle {
    /// Those that were refused, too: the next one would go on where they ended.
    pieces: VecDeque<Vec<u8>>,
    /// What was found in them before the newest came.
    found: u64,
}

impl Pieces {
    /// Look at a small request together with those before it. What it adds to a passage, a key or a registered value is
    /// found in it.
    pub fn look(
        &self,
        outgoing: &Outgoing,
        secrets: &Secrets,
        host: &str,
        piece: &[u8],
        leaving: &mut Leaving,
    ) {
        if piece.is_empty() || piece.len() > PIECE {
            return;
        }
        let mut hosts = self.0.lock();
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            hosts.clear();
        }
        let trickle = hosts.entry(host.to_owned()).or_default();
        trickle.pieces.push_back(values(piece));
        while trickle.pieces.len() > MOST_PIECES
            || trickle.pieces.iter().map(Vec::len).sum::<usize>() > TOGETHER
        {
            trickle.pieces.pop_front();
        }
        let all: Vec<&[u8]> = trickle.pieces.iter().map(Vec::as_slice).collect();
        let seen = look_at(outgoing, secrets, &all);
        // Digits of two requests make no card number; a key or a passage is one however it was cut.
        let is_joined = |place: &str| place.contains("joined");
        let secret = seen.findings.iter().filter(|f| f.category == "secret" && is_joined(&f.where_));
        let registered = seen.registered.iter().filter(|r| is_joined(&r.where_));
        let passages = seen.passages.iter().map(|p| p.hit.matched_bytes);
        let found = passages.sum::<u64>()
            + secret.clone().map(|f| f.count).sum::<u64>()
            + registered.map(|r| r.hit.count).sum::<u64>();
        let is_more = found > trickle.found;
        trickle.found = found;
        if is_more && leaving.passages.is_empty() && leaving.registered.is_empty() {
            let secret: Vec<Finding> = secret.cloned().collect();
            let seen = told(&secrets.known().read(), seen);
            leaving.findings.extend(secret);
            leaving.passages.extend(seen.passages);
            leaving.registered.extend(seen.registered);
        }
    }
}

/// The values of a document, a form or a query, without the names that stand between them; anything else as it is.
fn values(piece: &[u8]) -> Vec<u8> {
    fn strings(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::String(text) => out.extend_from_slice(text.as_bytes()),
            Value::Array(items) => items.iter().for_each(|v| strings(v, out)),
            Value::Object(fields) => fields.values().for_each(|v| strings(v, out)),
            _ => {}
        }
    }
    if let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(piece) {
        let mut out = Vec::new();
        strings(&document, &mut out);
        return out;
    }
    let is_name = |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-[]".contains(b));
    let pairs: Vec<&[u8]> = piece.split(|b| *b == b'&').collect();
    let mut out = Vec::with_capacity(piece.len());
    for pair in pairs {
        match pair.iter().position(|b| *b == b'=') {
            Some(at) if is_name(pair.get(..at).unwrap_or_default()) => {
                out.extend_from_slice(pair.get(at + 1..).unwrap_or_default());
            }
            _ => return piece.to_vec(),
        }
    }
    String::from_utf8(out)
        .map_or_else(|e| e.into_bytes(), |text| text.replace("%20", " ").replace('+', " ").into_bytes())
}

/// What one look came to.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
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

impl Leaving {
    /// Whether there is anything that policy should know of.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
            && self.passages.is_empty()
            && self.registered.is_empty()
            && self.unread.is_empty()
            && self.credentials.is_empty()
    }

    /// What policy is told of it, besides the findings.
    pub fn add_to(&self, facts: &mut RequestFacts) {
        facts.passages = self.passages.len();
        facts.read_from.clone_from(&self.passages);
        facts.registered = self.registered.len();
        facts.unread.clone_from(&self.unread);
        facts.credentials.clone_from(&self.credentials);
    }

    fn extend(&mut self, more: Leaving) {
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
pub(crate) fn request(
    outgoing: &Outgoing,
    secrets: &Secrets,
    head: Head<'_>,
    body: &Held,
) -> std::io::Result<Leaving> {
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
    let mut leaving = told(&known, outgoing.look(&parts, &of(&known)));
    if body.len > WHOLE as u64 {
        let mut look = StreamLook::new(outgoing, Place::Body, content_type, of(&known));
        body.pieces(|piece| look.feed(piece))?;
        leaving.extend(told(&known, look.finish()));
    }
    Ok(leaving)
}

/// Look at messages of one conversation, the newest last; values that are cut into several are found too.
pub(crate) fn messages(outgoing: &Outgoing, secrets: &Secrets, messages: &[&[u8]]) -> Leaving {
    let seen = look_at(outgoing, secrets, messages);
    told(&secrets.known().read(), seen)
}

fn look_at(outgoing: &Outgoing, secrets: &Secrets, messages: &[&[u8]]) -> Seen {
    secrets.settle();
    let known = secrets.known().read();
    let parts: Vec<Part<'_>> =
        messages.iter().map(|bytes| Part { place: Place::Message, bytes, content_type: None }).collect();
    outgoing.look(&parts, &of(&known))
}

fn of(known: &KnownHere) -> Known<'_> {
    Known { read: Some(&known.read), secrets: Some(&known.registered) }
}

fn told(known: &KnownHere, seen: Seen) -> Leaving {
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
        .map(|f| Credential { own: known.own.contains(&f.sha256), detector: f.detector })
        .collect();
    Leaving {
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
            request(&outgoing, &secrets, head, &Held::of(Vec::new())).unwrap()
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

    #[test]
    fn small_requests_are_looked_at_together() {
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        let secrets = Secrets::new().unwrap();
        let passage = b"The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been made before the strike at the port and was never brought up to date.";
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(passage, 0).unwrap();
        secrets.remember("/workspace/a", &Arc::new(file), ([1; 32], passage.len() as u64));
        let caught = |pieces: &[String]| {
            let known = Pieces::default();
            let is_caught = |piece: &String| {
                let mut leaving = Leaving::default();
                known.look(&outgoing, &secrets, "a.example", piece.as_bytes(), &mut leaving);
                !leaving.passages.is_empty()
            };
            pieces.iter().filter(|p| is_caught(p)).count()
        };
        let text = std::str::from_utf8(passage).unwrap();
        let cut = |length: usize, before: &str, after: &str| -> Vec<String> {
            let pieces = passage.chunks(length).map(|p| std::str::from_utf8(p).unwrap());
            pieces.map(|p| format!("{before}{p}{after}")).collect()
        };
        assert_eq!(caught(&[text.to_owned()]), 1);
        for pieces in [cut(8, "", ""), cut(16, "", ""), cut(8, "{\"note\":\"", "\"}"), cut(8, "note=", "")] {
            let count = caught(&pieces);
            assert!(count * 2 >= pieces.len(), "{count} of {}: {}", pieces.len(), pieces[0]);
        }
        let pings: Vec<String> = (0..200).map(|n| format!("{{\"id\":{n},\"method\":\"ping\"}}")).collect();
        assert_eq!(caught(&pings), 0);
    }
}

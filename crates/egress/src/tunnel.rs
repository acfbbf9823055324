//! Data that leaves in the names of DNS queries (T1048, T1071.004, T1572), told from the names that programs need.
//!
//! A name server of the attacker's sees every name below its domain, so the watch counts by registered domain: what the public
//! suffix list calls one. Its private part lists clouds that give names to customers (`cloudfront.net`, `s3.amazonaws.com`), where
//! the generated label is the registered domain itself and the name server is the cloud's own.
//!
//! Nothing here is proof; a verdict is for policy to act on. Thresholds are set so that one working day of browsing, package
//! managers and cloud tools stays below half of each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use hickory_proto::rr::RecordType;

use crate::host::Host;
use crate::tunnel_label::{Oddity, oddity};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    Suspicious(Reason),
}

/// What is suspicious about a query, or about those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    #[error("a label of the name decodes to text")]
    HiddenText,
    #[error("a label of the name is long and random")]
    EncodedLabel,
    #[error("the name below its domain is longer than {MAX_NAME} bytes")]
    LongName,
    #[error("the name below its domain is cut into labels of one length")]
    EqualLabels,
    #[error("the type of the query is one that tunnels use and programs do not")]
    OddType,
    #[error("too many queries of types that carry free content go to one domain")]
    TypeFlood,
    #[error("too many different random names lie below one domain")]
    ManyIdentifiers,
    #[error("too many different names lie below one domain")]
    ManyNames,
    #[error("the names below one domain add up to too many bytes")]
    Volume,
    #[error("too many queries go to one domain")]
    ManyQueries,
    #[error("too many different domains are asked for")]
    ManyDomains,
}

impl Reason {
    /// The stable, snake_case reason code that logs and policies see.
    pub fn code(self) -> &'static str {
        match self {
            Self::HiddenText => "hidden_text",
            Self::EncodedLabel => "encoded_label",
            Self::LongName => "long_name",
            Self::EqualLabels => "equal_labels",
            Self::OddType => "odd_type",
            Self::TypeFlood => "type_flood",
            Self::ManyIdentifiers => "many_identifiers",
            Self::ManyNames => "many_names",
            Self::Volume => "volume",
            Self::ManyQueries => "many_queries",
            Self::ManyDomains => "many_domains",
        }
    }
}

/// The queries of one session. Bounded memory, some 25 MB for who fills every table.
#[derive(Debug, Default)]
pub struct QueryWatch {
    domains: HashMap<String, Domain>,
    /// Time only goes forward here, whatever the caller's clock does.
    now_ms: u64,
    /// Hashes of names kept over all domains.
    kept: usize,
}

#[derive(Debug, Default)]
struct Domain {
    /// Different names of the window, the oldest first, and their hashes.
    names: VecDeque<Seen>,
    recent: HashSet<u64>,
    /// When types were asked for that carry free content.
    free_types: VecDeque<u64>,
    /// Names of the session, by their hash; what no longer fits counts as new in each window.
    ever: HashSet<u64>,
    ever_bytes: usize,
    queries: u32,
    queries_since_ms: u64,
}

#[derive(Debug)]
struct Seen {
    at_ms: u64,
    hash: u64,
    bytes: usize,
    identifier: bool,
}

/// The domain that somebody registered, and so whoever runs its name servers: by the public suffix list, or the last two
/// labels where the list knows nothing; the name itself when it is a suffix. Addresses have none.
pub fn registered_domain(host: &Host) -> Option<&str> {
    let name = host.name()?;
    Some(psl::domain_str(name).unwrap_or(name))
}

/// Ten minutes: a build fetches all it needs, a tunnel at one query a second sends 600 names.
const WINDOW_MS: u64 = 10 * 60 * 1000;
/// Bytes below the registered domain in one name, dots included. The longest of private endpoints and Kubernetes services are
/// about 100; iodine and dnscat2 fill up to 253.
const MAX_NAME: usize = 120;
/// Labels of one length of at least eight in a row: chunks of data. Words never come so.
const EQUAL_LABELS: usize = 3;
const MIN_EQUAL_LABEL: usize = 8;
/// Identifiers in one name: an endpoint has one, a tenant and an endpoint have two.
const MAX_IDENTIFIERS_IN_NAME: usize = 3;
/// Different names below one domain in a window. The largest sites and clouds use 60 to 80 on a page.
const MAX_NAMES: usize = 200;
/// Different random names below one domain in a window. A tool that talks to clusters or buckets by identifier uses a few.
const MAX_IDENTIFIERS: usize = 20;
/// Bytes of different names below one domain in a window: 200 names of 20 bytes. It is a page of text at most.
const MAX_WINDOW_BYTES: usize = 4 * 1024;
/// Bytes of different names below one domain in a session: what comes slowly adds up, too.
const MAX_SESSION_BYTES: usize = 16 * 1024;
/// TXT, MX, SRV, CNAME and the like below one domain in a window. A certificate or a mail check needs fewer.
const MAX_FREE_TYPES: usize = 20;
/// Queries to one domain in a window, also for the same name: a channel of timing or of answers polls.
const MAX_QUERIES: u32 = 3000;
/// Different registered domains in a session.
const MAX_DOMAINS: usize = 2048;
/// Hashes that one domain keeps over a session, and all together (8 bytes each, and about as much around them).
const MAX_NAMES_KEPT: usize = 2048;
const MAX_KEPT: usize = 1 << 18;

impl QueryWatch {
    /// A query that is about to be sent. `domain` is the [`registered_domain`] of `name`; `now_ms` is milliseconds on any clock
    /// that goes forward. A query counts also when it is suspicious, so that repeating it does not help.
    pub fn query(&mut self, domain: &str, name: &Host, kind: RecordType, now_ms: u64) -> Verdict {
        let Some(name) = name.name() else { return Verdict::Fine };
        self.now_ms = self.now_ms.max(now_ms);
        let below = name.strip_suffix(domain).unwrap_or(name).trim_end_matches('.');
        let one = suspicious_name(below).or_else(|| is_odd_type(kind).then_some(Reason::OddType));
        let many = self.count(domain, below, kind);
        one.or(many).map_or(Verdict::Fine, Verdict::Suspicious)
    }

    fn count(&mut self, domain: &str, below: &str, kind: RecordType) -> Option<Reason> {
        if !self.domains.contains_key(domain) && self.domains.len() >= MAX_DOMAINS {
            return Some(Reason::ManyDomains);
        }
        let state = self.domains.entry(domain.to_owned()).or_default();
        let kept_before = state.ever.len();
        let room = self.kept < MAX_KEPT && kept_before < MAX_NAMES_KEPT;
        state.count(below, kind, self.now_ms, room);
        self.kept += state.ever.len() - kept_before;
        state.reason()
    }
}

impl Domain {
    fn count(&mut self, below: &str, kind: RecordType, now_ms: u64, room: bool) {
        self.forget(now_ms.saturating_sub(WINDOW_MS));
        if now_ms.saturating_sub(self.queries_since_ms) >= WINDOW_MS {
            (self.queries_since_ms, self.queries) = (now_ms, 0);
        }
        self.queries = self.queries.saturating_add(1);
        // Tables that are over their limit need not grow: the verdict holds until what is in them has grown old.
        if is_free_type(kind) && self.free_types.len() <= MAX_FREE_TYPES {
            self.free_types.push_back(now_ms);
        }
        let mut hasher = DefaultHasher::new();
        below.hash(&mut hasher);
        let hash = hasher.finish();
        if below.is_empty() || self.recent.contains(&hash) {
            return;
        }
        if self.names.len() <= MAX_NAMES {
            let identifier = below.split('.').any(|label| oddity(label).is_some());
            self.recent.insert(hash);
            self.names.push_back(Seen { at_ms: now_ms, hash, bytes: below.len(), identifier });
        }
        if !self.ever.contains(&hash) {
            self.ever_bytes = self.ever_bytes.saturating_add(below.len());
            if room {
                self.ever.insert(hash);
            }
        }
    }

    fn forget(&mut self, before_ms: u64) {
        while let Some(seen) = self.names.pop_front_if(|seen| seen.at_ms < before_ms) {
            self.recent.remove(&seen.hash);
        }
        while self.free_types.pop_front_if(|at| *at < before_ms).is_some() {}
    }

    fn reason(&self) -> Option<Reason> {
        let identifiers = self.names.iter().filter(|seen| seen.identifier).count();
        let bytes: usize = self.names.iter().map(|seen| seen.bytes).sum();
        match () {
            () if identifiers > MAX_IDENTIFIERS => Some(Reason::ManyIdentifiers),
            () if self.names.len() > MAX_NAMES => Some(Reason::ManyNames),
            () if bytes > MAX_WINDOW_BYTES || self.ever_bytes > MAX_SESSION_BYTES => Some(Reason::Volume),
            () if self.free_types.len() > MAX_FREE_TYPES => Some(Reason::TypeFlood),
            () if self.queries > MAX_QUERIES => Some(Reason::ManyQueries),
            () => None,
        }
    }
}

/// What one name tells without the others.
fn suspicious_name(below: &str) -> Option<Reason> {
    if below.len() > MAX_NAME {
        return Some(Reason::LongName);
    }
    let (mut identifiers, mut equal, mut last) = (0, 1, 0);
    for label in below.split('.') {
        match oddity(label) {
            Some(Oddity::HidesText) => return Some(Reason::HiddenText),
            Some(Oddity::Encoded) => return Some(Reason::EncodedLabel),
            Some(Oddity::Identifier) => identifiers += 1,
            None => {}
        }
        equal = if label.len() == last { equal + 1 } else { 1 };
        last = label.len();
        if equal >= EQUAL_LABELS && last >= MIN_EQUAL_LABEL {
            return Some(Reason::EqualLabels);
        }
    }
    (identifiers >= MAX_IDENTIFIERS_IN_NAME).then_some(Reason::EncodedLabel)
}

/// NULL, ANY, and numbers that are assigned to nobody or to private use (iodine and its kin).
fn is_odd_type(kind: RecordType) -> bool {
    matches!(u16::from(kind), 10 | 255 | 262..=32767 | 32770..)
}

/// Types whose answers hold whatever their owner writes, as against addresses and what resolvers ask for by themselves.
fn is_free_type(kind: RecordType) -> bool {
    use RecordType::{A, AAAA, DNSKEY, DS, HTTPS, NS, PTR, SOA, SVCB};
    !matches!(kind, A | AAAA | HTTPS | SVCB | NS | SOA | PTR | DS | DNSKEY)
}

#[cfg(test)]
mod tests;

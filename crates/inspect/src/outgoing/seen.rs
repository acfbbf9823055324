//! What is looked at, and what a look saw.

use super::fingerprint::{Fingerprints, Hit};
use super::keyed::{KeyedSecrets, SecretHit};
use crate::Finding;

/// Where something stands in what leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A whole address, with or without its scheme.
    Url,
    /// The part of an address behind `?`, or a form.
    Query,
    /// The method of a request.
    Method,
    /// The value of a header, by its name.
    Header(&'a str),
    /// The names of headers, one a line: programs choose those as freely as values.
    HeaderNames,
    Body,
    FileName,
    /// A name that is asked for, or one label of it.
    DnsLabel,
    /// One message of a stream of them. The messages of one look are also read as if they were one.
    Message,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Url => f.write_str("url"),
            Place::Query => f.write_str("query"),
            Place::Method => f.write_str("method"),
            Place::HeaderNames => f.write_str("header names"),
            Place::Header(name) => write!(f, "header {}", crate::report::shown(name)),
            Place::Body => f.write_str("body"),
            Place::FileName => f.write_str("file name"),
            Place::DnsLabel => f.write_str("host name"),
            Place::Message => f.write_str("message"),
        }
    }
}

/// One part of what leaves together.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub place: Place<'a>,
    pub bytes: &'a [u8],
    /// As the sender says; believed only where it makes the look stricter.
    pub content_type: Option<&'a str>,
}

/// What the session must not give away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// What was read.
    pub read: Option<&'a Fingerprints>,
    /// Exact values.
    pub secrets: Option<&'a KeyedSecrets>,
}

/// Passages of what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub hit: Hit,
    /// The place and how it was encoded: `body > base64 > gzip`.
    pub where_: String,
}

/// A registered value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub hit: SecretHit,
    /// The place and how it was encoded.
    pub where_: String,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The place and how it was encoded.
    pub where_: String,
    /// For the user; names the limit or the format.
    pub reason: String,
}

/// What a look saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Of the detectors (`pii`, `secret`), and signs of hiding (`covert`). A value that is seen in several views is counted in the first.
    pub findings: Vec<Finding>,
    pub passages: Vec<Passage>,
    pub registered: Vec<Registered>,
    /// Not empty when a part may hold what was not seen: to be refused where that matters.
    pub unread: Vec<Unread>,
    /// Bytes read and written beyond the first reading; at most 8 for each byte given and 32 MiB, give or take one view.
    pub work: u64,
}

impl Seen {
    /// Whether something was found that nobody sends by accident: a secret, personal data of high severity, data in disguise,
    /// a registered value or a passage of what was read. A policy may be stricter or milder.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        let grave = |f: &Finding| matches!(f.category.as_str(), "secret" | "covert") || f.severity == "high";
        self.findings.iter().any(grave) || !self.passages.is_empty() || !self.registered.is_empty()
    }
}

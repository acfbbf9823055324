//! What is looked at, and what a look saw.

use super::fingerprint::{Fingerprints, Hit};
use super::keyed::{KeyedSecrets, SecretHit};
use crate::{Finding, Place, Spot};

/// One part of what leaves together.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    pub spot: Spot,
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
    /// Passwords and keys of what was read, each by the number of its source.
    pub values: Option<&'a KeyedSecrets>,
}

impl Known<'_> {
    /// Whether these bytes hold one of the exact values, or a password or key of what was read.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let lists = [self.secrets, self.values];
        lists.into_iter().flatten().any(|list| !list.is_empty() && !list.find(bytes).is_empty())
    }
}

/// Passages of what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub hit: Hit,
    pub place: Place,
}

/// A registered value, or one of what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub hit: SecretHit,
    pub place: Place,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub place: Place,
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
    /// Passwords and keys of what was read, which nothing but the file that they stood in told from words.
    pub values: Vec<Registered>,
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
        self.findings.iter().any(grave)
            || !self.passages.is_empty()
            || !self.registered.is_empty()
            || !self.values.is_empty()
    }
}

//! What inspection saw: detector, severity, place and fingerprint; never the text.

use serde::{Deserialize, Serialize};

/// One kind of value in one item (of one column, where there are columns).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub detector: String,
    /// `pii` or `secret`; of what leaves also `covert`: data in disguise.
    pub category: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// 0 to 1.
    pub confidence: f32,
    /// Values found, repetitions included.
    pub count: u64,
    /// The first place, for a person.
    #[serde(rename = "where")]
    pub where_: String,
    /// Keyed; filled in by [`crate::Report::fingerprinted`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fingerprint: Option<String>,
    /// SHA-256 of the one normalised value, or of the sorted digests of all distinct ones.
    /// Guessable for short numbers, so it leaves the worker on its private socket alone and is never printed.
    #[serde(skip)]
    pub sha256: [u8; 32],
}

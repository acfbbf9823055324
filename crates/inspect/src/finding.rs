//! What inspection saw: detector, severity, place and fingerprint; never the text.

use serde::{Deserialize, Serialize};

use crate::place::Place;

/// How sure it is that a finding is what its detector looks for, from the least. Policy decides what each is worth; as
/// shipped, reading is interrupted by what is certain alone, and what leaves is judged by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The shape fits, and much else has it.
    Possible,
    /// More often right than wrong.
    Likely,
    /// A checksum, a format of its own, or a whole column says so.
    Certain,
}

impl std::fmt::Display for Certainty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}

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
    pub certainty: Certainty,
    /// Values found, repetitions included.
    pub count: u64,
    /// Different values, up to 1,024.
    pub distinct: u64,
    /// The first place, for the user.
    #[serde(rename = "where")]
    pub place: Place,
    /// Keyed; filled in by [`crate::Report::fingerprinted`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fingerprint: Option<String>,
    /// SHA-256 of the one normalised value, or of the sorted digests of all distinct ones.
    /// Guessable for short numbers, so it leaves the worker on its private socket alone and is never printed.
    #[serde(skip)]
    pub sha256: [u8; 32],
    /// A number for each different value, of its digest; kept where it was made.
    #[serde(skip)]
    pub values: Vec<u64>,
}

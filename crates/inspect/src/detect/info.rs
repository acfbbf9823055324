//! What is known of a detector from outside.

use crate::Certainty;

/// Names one detector of a `Detectors` set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DetectorId(pub(crate) u16);

/// What a finding says about its detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorInfo {
    /// `service_kind` for secrets, the kind of number for personal data.
    pub name: String,
    /// `pii` or `secret`.
    pub category: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// What a finding of it is worth at most; in a column of its kind it may be more.
    pub certainty: Certainty,
    /// One line for the user.
    pub description: String,
}

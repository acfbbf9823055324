//! What is known of a detector from outside.

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
    /// One line for a person.
    pub description: String,
}

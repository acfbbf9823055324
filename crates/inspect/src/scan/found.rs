//! What the scanner gives out.

use super::filter::Filters;
use crate::detect::DetectorId;

/// One value found: `start..end` is the byte range that redaction replaces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub detector: DetectorId,
    pub start: u64,
    pub end: u64,
    /// 0 to 1.
    pub confidence: f32,
    /// What speaks for it and against it where it stands.
    pub filters: Filters,
}

impl Match {
    pub(crate) fn worth(&self) -> Worth {
        Worth { confidence: self.confidence, filters: self.filters }
    }
}

/// How far a match is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worth {
    pub(crate) confidence: f32,
    pub(crate) filters: Filters,
}

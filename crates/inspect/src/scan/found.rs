//! What the scanner gives out.

use crate::detect::DetectorId;

/// One value found: `start..end` is the byte range that redaction replaces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub detector: DetectorId,
    pub start: u64,
    pub end: u64,
    /// 0 to 1.
    pub confidence: f32,
}

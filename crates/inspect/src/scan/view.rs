//! What the walk sees, and what it notes: bytes held, candidates, labels.

use super::filter::Filters;
use crate::detect::DetectorId;

/// Bytes kept behind the walk: the longest look back of any recogniser.
pub(crate) const LOOK_BACK: usize = 512;

/// What the walk can see: the held bytes, and where they lie in the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) base: u64,
    /// The range that is not white space, when the whole input is short.
    pub(crate) alone: Option<(usize, usize)>,
}

impl<'a> View<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> View<'a> {
        View { bytes, base, alone: None }
    }

    /// The byte at `i`, or 0 beyond the ends.
    #[inline]
    pub(crate) fn at(&self, i: usize) -> u8 {
        self.bytes.get(i).copied().unwrap_or(0)
    }

    /// The byte `back` places before `i`, or 0.
    #[inline]
    pub(crate) fn before(&self, i: usize, back: usize) -> u8 {
        i.checked_sub(back).map_or(0, |j| self.at(j))
    }

    #[inline]
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        let to = to.min(self.bytes.len());
        self.bytes.get(from.min(to)..to).unwrap_or_default()
    }
}

/// One candidate that passed; overlaps are settled on release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) id: DetectorId,
    pub(super) rank: u8,
    pub(super) confidence: f32,
    pub(super) secret: bool,
    pub(super) filters: Filters,
}

/// Where a label was last seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// One past the end, plus one: 0 means never.
    pub(super) end: u64,
}

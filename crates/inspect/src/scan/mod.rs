//! The streaming scanner: blocks in, matches out, the same for every split of the input.
//!
//! The walk over the bytes only ever looks [`LOOK_BACK`] bytes behind and [`LOOK_AHEAD`] bytes ahead of where it stands,
//! and it stands still until that much has arrived, so where blocks end cannot matter.

mod connection;
pub(crate) mod filter;
mod found;
mod number;
mod secret;
mod seed;
mod text;
pub(crate) mod value;
mod view;
pub(crate) mod walk;
mod web_token;

use crate::detect::Detectors;
pub use filter::{Effect, Filter, Filters};
pub use found::Match;
pub(crate) use found::Worth;
use view::{LOOK_BACK, View};
use walk::Walk;

/// How to scan.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanOptions {
    /// Leave out matches below this confidence.
    pub least_confidence: f32,
}

/// Bytes that must have arrived before the walk moves on: the longest value, and some.
pub(crate) const LOOK_AHEAD: usize = 16 * 1024;
/// How much is gathered before the walk moves: small enough for a second-level cache.
const BLOCK: usize = 64 * 1024;
/// Up to this length an input that is nothing but one number is taken for one: a cell, an argument, an answer.
const SHORT_INPUT: usize = 128;

/// Finds values in a stream that arrives in blocks. Holds at most one block, its look-ahead, and one block of input.
pub struct Scanner {
    walk: Walk,
    held: Vec<u8>,
    /// Where `held` begins in the stream.
    base: u64,
    /// Where the walk stands in `held`.
    at: usize,
    least: f32,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("base", &self.base).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Scanner {
    pub fn new(detectors: &Detectors, options: ScanOptions) -> Scanner {
        Scanner {
            walk: Walk::new(detectors),
            held: Vec::new(),
            base: 0,
            at: 0,
            least: options.least_confidence,
        }
    }

    /// Takes the next block; matches that are complete go to `out`, in order of their start.
    pub fn feed(&mut self, block: &[u8], out: &mut Vec<Match>) {
        for part in block.chunks(BLOCK) {
            self.held.extend_from_slice(part);
            if self.held.len() - self.at >= BLOCK + LOOK_AHEAD {
                let limit = self.held.len() - LOOK_AHEAD;
                self.at = self.walk.run(&View::new(&self.held, self.base), self.at, limit);
                let drop = self.at.saturating_sub(LOOK_BACK);
                self.held.drain(..drop);
                self.base += drop as u64;
                self.at -= drop;
                self.walk.release(self.base + self.at as u64, self.least, out);
            }
        }
    }

    /// Ends the stream and begins a new one.
    pub fn finish(&mut self, out: &mut Vec<Match>) {
        let held = std::mem::take(&mut self.held);
        let mut view = View::new(&held, self.base);
        if self.base == 0 && held.len() <= SHORT_INPUT {
            view.alone = Some((held.len() - held.trim_ascii_start().len(), held.trim_ascii_end().len()));
        }
        self.walk.run(&view, self.at, held.len());
        self.walk.end(self.base + held.len() as u64);
        self.walk.release(u64::MAX, self.least, out);
        self.walk.restart();
        (self.base, self.at) = (0, 0);
    }

    /// Bytes that recognisers looked at beyond the one pass over the input; grows in proportion to the input.
    pub fn work(&self) -> u64 {
        self.walk.work
    }
}

/// Scans bytes that are all in memory.
pub fn scan(detectors: &Detectors, bytes: &[u8]) -> Vec<Match> {
    let mut out = Vec::new();
    let mut scanner = Scanner::new(detectors, ScanOptions::default());
    scanner.feed(bytes, &mut out);
    scanner.finish(&mut out);
    out
}

/// Scans one value whose column header or key is `label`; ranges count from the start of `value`.
pub fn scan_labelled(detectors: &Detectors, label: &str, value: &str) -> Vec<Match> {
    // The unit separator quotes the value: no text holds one, and a value may hold every other quote.
    let mut text = Vec::with_capacity(label.len() + value.len() + 6);
    text.extend_from_slice(label.as_bytes());
    text.extend_from_slice(b": \x1f");
    let offset = text.len() as u64;
    text.extend_from_slice(value.as_bytes());
    text.extend_from_slice(b"\x1f\n");
    let limit = value.len() as u64;
    let inside = |m: Match| {
        (m.start >= offset).then(|| Match { start: m.start - offset, end: (m.end - offset).min(limit), ..m })
    };
    scan(detectors, &text).into_iter().filter_map(inside).filter(|m| m.start < m.end).collect()
}

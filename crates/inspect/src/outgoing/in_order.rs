//! Texts that were read, recognised by the order in which their pieces are sent, whatever stands between the pieces and in which coding
//! or direction each of them comes. A piece of a few letters stands in many texts; that it is just the one that follows on the piece
//! before it is chance once in thousands, and a dozen times in a row it is none.
//!
//! The method is that of aligning sequences: matches that go on from each other are chained (seed, extend, chain; Altschul et al. 1990).

mod chains;

use std::collections::HashMap;

use super::fingerprint::Hit;
use super::values;
pub use chains::Progress;
use chains::{LEAST, SEED};

/// Letters and digits of all texts together. Protects memory, of which they take some 20 bytes each; the oldest are forgotten.
const MOST_LETTERS: usize = 1 << 20;
/// Stands between two texts.
const END: u8 = 0;

/// The texts. A place in them is a number that stays the same when the oldest are forgotten.
#[derive(Default)]
pub struct InOrder {
    letters: Vec<u8>,
    /// For the seed that begins at each place: how far before it the same begins, or 0.
    before: Vec<u32>,
    /// Where each seed begins last.
    newest: HashMap<[u8; SEED], usize>,
    /// Letters that are forgotten.
    base: usize,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    from: usize,
    id: u32,
    least: usize,
}

impl std::fmt::Debug for InOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InOrder").field("letters", &self.letters.len()).finish_non_exhaustive()
    }
}

impl InOrder {
    /// Know this text. `least` as in [`super::Fingerprints::add_from`].
    pub fn add(&mut self, source_id: u32, text: &[u8], least: u64) {
        let alone = values::alone(text);
        let reduced = reduced(alone.as_deref().unwrap_or(text));
        if reduced.len() < SEED {
            return;
        }
        let newest = reduced.get(reduced.len().saturating_sub(MOST_LETTERS / 4)..).unwrap_or_default();
        let least = LEAST.max(usize::try_from(least).unwrap_or(usize::MAX));
        self.sources.push(Source { from: self.end(), id: source_id, least });
        self.letters.extend_from_slice(newest);
        self.letters.push(END);
        if self.letters.len() > MOST_LETTERS {
            self.forget();
        }
    }

    /// Whether one more text can be known without forgetting one.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.letters.len() + bytes < MOST_LETTERS
    }

    /// Whether texts were added that are not found before [`InOrder::index`].
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.before.len() < self.letters.len()
    }

    /// Take in what was added: apart from adding, which those wait for who read.
    pub fn index(&mut self) {
        for at in self.before.len()..self.letters.len() {
            let here = self.base + at;
            let seed = self.letters.get(at..at + SEED).and_then(|s| <[u8; SEED]>::try_from(s).ok());
            let before = seed.filter(|s| !s.contains(&END)).and_then(|s| self.newest.insert(s, here));
            self.before.push(before.and_then(|before| u32::try_from(here - before).ok()).unwrap_or(0));
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The sources of which, with these texts, a passage was sent in order. They are taken to be sent, refused or not: whoever goes on
    /// after a refusal goes on with the same passage.
    pub fn look<'t>(&self, texts: impl Iterator<Item = &'t [u8]>, progress: &mut Progress) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        for text in texts {
            let alone = values::alone(text);
            let letters = reduced(alone.as_deref().unwrap_or(text));
            for letter in &letters {
                self.step(*letter, progress, &mut hits);
            }
        }
        progress.forget();
        hits
    }

    fn end(&self) -> usize {
        self.base + self.letters.len()
    }

    fn letter(&self, at: usize) -> Option<u8> {
        self.letters.get(at.checked_sub(self.base)?).copied()
    }

    fn source(&self, at: usize) -> Option<&Source> {
        let after = self.sources.partition_point(|source| source.from <= at);
        self.sources.get(after.checked_sub(1)?)
    }

    /// The older half.
    fn forget(&mut self) {
        let gone = self.letters.len() / 2;
        self.letters.drain(..gone);
        self.before.drain(..gone.min(self.before.len()));
        self.base += gone;
        let base = self.base;
        self.newest.retain(|_, at| *at >= base);
        let kept = self.sources.iter().rposition(|s| s.from <= base).unwrap_or(0);
        self.sources.drain(..kept);
    }
}

/// Letters and digits in one case, and every byte beyond ASCII.
fn reduced(text: &[u8]) -> Vec<u8> {
    let kept = text.iter().filter(|b| b.is_ascii_alphanumeric() || **b >= 0x80);
    kept.map(u8::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests;

//! The texts, in the letters and digits that they are recognised by.

use std::collections::HashMap;

use crate::outgoing::values;

/// Letters and digits of all texts together. Protects memory, of which they take some 20 bytes each; the oldest are forgotten.
pub(super) const MOST_LETTERS: usize = 1 << 20;
/// Letters of a match that is looked for in all texts.
pub(super) const SEED: usize = 4;
/// Letters in order that make a passage: fewer are a phrase that anybody may use.
const LEAST: usize = 96;
/// Stands between two texts.
const END: u8 = 0;

/// The texts. A place in them is a number that stays the same when the oldest are forgotten.
#[derive(Default)]
pub struct InOrder {
    pub(super) letters: Vec<u8>,
    /// For the seed that begins at each place: how far before it the same begins, or 0.
    pub(super) before: Vec<u32>,
    /// Where each seed begins last.
    pub(super) newest: HashMap<[u8; SEED], usize>,
    /// Letters that are forgotten.
    pub(super) base: usize,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    from: usize,
    pub id: u32,
    pub least: usize,
}

impl std::fmt::Debug for InOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InOrder").field("letters", &self.letters.len()).finish_non_exhaustive()
    }
}

impl InOrder {
    /// Know this text. `least` as in [`crate::outgoing::Fingerprints::add_from`].
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

    pub(super) fn end(&self) -> usize {
        self.base + self.letters.len()
    }

    pub(super) fn letter(&self, at: usize) -> Option<u8> {
        self.letters.get(at.checked_sub(self.base)?).copied()
    }

    pub(super) fn source(&self, at: usize) -> Option<&Source> {
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
pub(super) fn reduced(text: &[u8]) -> Vec<u8> {
    let kept = text.iter().filter(|b| b.is_ascii_alphanumeric() || **b >= 0x80);
    kept.map(u8::to_ascii_lowercase).collect()
}

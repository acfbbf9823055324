//! Seed phrases of wallets (BIP 39): 12 to 24 words of one list, of which the last carries a checksum.

use bip39::Language;
use sha2::{Digest, Sha256};

use super::filter::Filter;
use super::view::{LOOK_BACK, View};
use super::walk::{LABEL_REACH, Walk, rank};
use crate::detect::index::{Label, Start, is_word, word_key};
use crate::detect::{DetectorId, Native, Set};

/// The lengths that BIP 39 knows, in words.
const LENGTHS: [usize; 5] = [12, 15, 18, 21, 24];
const FEWEST: u32 = 12;
/// Bytes between two words: a line break, quotes, a comma, a number.
const GAP: usize = 10;
/// A phrase that was drawn at random repeats few of its words; a column of categories repeats most.
const LEAST_DISTINCT: usize = 8;
/// What one checksum costs, in the units of [`crate::Scanner::work`].
const CHECK_WORK: u64 = 32;

impl Walk {
    /// A word of letters: one more of a phrase, or the end of what might have become one.
    #[inline]
    pub(crate) fn seed_word(&mut self, set: &Set, view: &View<'_>, key: u32, start: usize, end: usize) {
        // Behind a line break that is written out, its letter is no part of the word.
        let escaped = usize::from(view.before(start, 1) == b'\\');
        let key = if escaped == 0 { key } else { word_key(view.slice(start + 1, end)) };
        if !set.index.may_seed(key, end - start - escaped) {
            self.seeds = 0;
            return;
        }
        self.seeds += 1;
        if self.seeds >= FEWEST {
            self.phrase(set, view, end);
        }
    }

    fn phrase(&mut self, set: &Set, view: &View<'_>, end: usize) {
        let Some(id) = set.native(Native::SeedPhrase) else { return };
        let from = end.saturating_sub(LOOK_BACK);
        let words = words(view.slice(from, end));
        self.work += LOOK_BACK as u64 / 8;
        for length in LENGTHS {
            let Some(phrase) = words.len().checked_sub(length).and_then(|i| words.get(i..)) else { break };
            let numbers: Vec<u16> = phrase.iter().map(|w| w.1).collect();
            if !drawn(&numbers) {
                continue;
            }
            self.work += CHECK_WORK;
            if checksum(&numbers)
                && let Some((at, _)) = phrase.first()
            {
                let start = from + at;
                let Some(filter) = self.doubt(set, view, id, (from, start, end), phrase) else {
                    self.hit(set, view, id, start, end, rank::BLOCK, 0.9);
                    self.seeds = 0;
                    return;
                };
                // One word in sixteen completes some twelve: the true end of the phrase may follow.
                self.hit(set, view, id, start, end, rank::CHECKED, 0.9);
                self.weaken(filter);
                return;
            }
        }
    }

    /// Why words that pass the checksum may be no phrase all the same: keywords and lists of words have such runs.
    fn doubt(
        &self,
        set: &Set,
        view: &View<'_>,
        id: DetectorId,
        (from, start, end): (usize, usize, usize),
        phrase: &[(usize, u16)],
    ) -> Option<Filter> {
        let Some(divided) = divided(view, from, end, phrase) else { return Some(Filter::MixedSeparators) };
        let before = view.slice(from, start);
        let label = set.specs.get(usize::from(id.0)).map(|s| s.label);
        if label.is_some_and(|label| named(set, label, before)) {
            return None;
        }
        let whole = from == 0 && view.base == 0;
        let length = before.iter().rev().take_while(|b| !is_word(**b) || b.is_ascii_digit()).count();
        let gap = before.get(before.len() - length..).unwrap_or_default();
        let begins = length == before.len() && whole || gap.len() > GAP || divided.ends_at(gap);
        let behind = view.slice(end, end + GAP + 1);
        let length = behind.iter().take_while(|b| !is_word(**b) || b.is_ascii_digit()).count();
        let gap = behind.get(..length).unwrap_or_default();
        let ends = end + length >= view.bytes.len() || length > GAP || divided.ends_at(gap);
        (!begins || !ends).then_some(Filter::RunningWords)
    }
}

/// How the words of a phrase are divided.
struct Divided {
    kind: Vec<u8>,
    /// Blanks, and every so many words a line break.
    wrapped: bool,
}

impl Divided {
    /// Whether a gap before or behind the phrase is of another kind than those in it.
    fn ends_at(&self, gap: &[u8]) -> bool {
        // The first of a numbered list.
        let first = gap.iter().filter(|b| b.is_ascii_digit()).eq(b"1");
        let kind = kind(gap);
        let same = kind == self.kind || self.wrapped && matches!(kind.as_slice(), b" " | b"\n");
        first || !same
    }
}

/// What divides two words, without numbers and with one blank for many.
fn kind(gap: &[u8]) -> Vec<u8> {
    let mut kind: Vec<u8> = Vec::with_capacity(gap.len());
    for b in gap.iter().filter(|b| !b.is_ascii_digit() && **b != b'\r') {
        let b = if *b == b'\t' { b' ' } else { *b };
        let last = kind.last().copied();
        if b == b' ' && matches!(last, Some(b' ' | b'\n')) {
            continue;
        }
        if b == b'\n' && last == Some(b' ') {
            kind.pop();
        }
        kind.push(b);
    }
    kind
}

/// The one way in which the words are divided; `None` when there are several.
fn divided(view: &View<'_>, from: usize, end: usize, phrase: &[(usize, u16)]) -> Option<Divided> {
    let mut kinds = Vec::with_capacity(phrase.len());
    for pair in phrase.windows(2) {
        let [(first, _), (second, _)] = pair else { continue };
        let text = view.slice(from + first, (from + second).min(end));
        let word = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        kinds.push(kind(text.get(word..).unwrap_or_default()));
    }
    let first = kinds.first()?.clone();
    if kinds.iter().all(|k| *k == first) {
        return Some(Divided { kind: first, wrapped: false });
    }
    let blank = |k: &Vec<u8>| matches!(k.as_slice(), b" " | b"\n");
    let lines: Vec<usize> = kinds.split(|k| k.as_slice() == b"\n").map(<[Vec<u8>]>::len).collect();
    let (last, full) = lines.split_last()?;
    let even = full.windows(2).all(|w| w.first() == w.last()) && full.first() >= Some(last);
    (kinds.iter().all(blank) && even).then(|| Divided { kind: b" ".to_vec(), wrapped: true })
}

/// Whether one of the detector's labels stands in the last line or two before.
fn named(set: &Set, label: Label, before: &[u8]) -> bool {
    let near = before.get(before.len().saturating_sub(LABEL_REACH as usize)..).unwrap_or_default();
    near.split(|b| !is_word(*b)).any(|word| {
        let starts = set.index.starts(word_key(word));
        starts.iter().any(|s| matches!(s, Start::Label { text, label: l, .. } if *l == label && word.eq_ignore_ascii_case(text)))
    })
}

/// The last words of `text` that are on the list, up to one that is not: where each starts, and its number.
fn words(text: &[u8]) -> Vec<(usize, u16)> {
    let mut found = Vec::new();
    let mut end = text.len();
    while found.len() < 24 {
        let head = text.get(..end).unwrap_or_default();
        let length = head.iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
        let mut start = end - length;
        // What the look back cuts off may be part of a longer word.
        if length == 0 || start == 0 && text.len() >= LOOK_BACK {
            break;
        }
        if start > 0 && text.get(start - 1) == Some(&b'\\') {
            start += 1;
        }
        let word = text.get(start..end).unwrap_or_default().to_ascii_lowercase();
        let Some(number) = std::str::from_utf8(&word).ok().and_then(|w| Language::English.find_word(w))
        else {
            break;
        };
        found.push((start, number));
        let before = text.get(..start).unwrap_or_default();
        let gap = before.iter().rev().take_while(|b| !b.is_ascii_alphabetic() && **b < 0x80).count();
        // An escaped line break ends in a letter, which belonged to no word.
        let between = before.get(before.len() - gap..).unwrap_or_default();
        let digits = between.iter().filter(|b| b.is_ascii_digit()).count();
        let apart =
            |b: &u8| b.is_ascii_whitespace() || b.is_ascii_digit() || b",;|\"'[]().-_\\#*/+&".contains(b);
        let gap = if start > 1 && text.get(start - 2) == Some(&b'\\') { 2 } else { gap };
        if gap == 0 || gap > GAP || digits > 2 || gap != 2 && !between.iter().all(apart) {
            break;
        }
        end = start - gap;
    }
    found.reverse();
    found
}

/// Whether words may have been drawn: neither the list itself nor a few that take turns.
/// The well-known phrases of one word and another last one count, so that they can be used to try it out.
fn drawn(numbers: &[u16]) -> bool {
    let sorted = numbers.windows(2).all(|w| matches!(w, [a, b] if a < b));
    let mut distinct = numbers.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let known = distinct.len() == 2 && numbers.split_last().is_some_and(|(last, rest)| !rest.contains(last));
    !sorted && (distinct.len() >= LEAST_DISTINCT || known)
}

/// Eleven bits a word; the last bits, one for each three words, begin the SHA-256 of the others.
fn checksum(numbers: &[u16]) -> bool {
    let bits: Vec<u8> = numbers.iter().flat_map(|n| (0..11).rev().map(move |i| (n >> i & 1) as u8)).collect();
    let entropy = bits.len() / 33 * 32;
    let byte = |c: &[u8]| c.iter().fold(0u8, |n, b| n << 1 | b);
    let bytes: Vec<u8> = bits.get(..entropy).unwrap_or_default().chunks(8).map(byte).collect();
    let digest = Sha256::digest(&bytes);
    let expected = digest.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1));
    bits.get(entropy..).unwrap_or_default().iter().copied().zip(expected).all(|(a, b)| a == b)
}

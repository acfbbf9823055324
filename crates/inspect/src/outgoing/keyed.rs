//! Registered values, found again without being kept: a keyed hash of the start finds a candidate, a keyed digest decides.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

/// A shorter value would be found by chance, in bytes.
const SHORTEST: usize = 8;
/// A longer one is a document: see [`crate::outgoing::Fingerprints`].
const LONGEST: usize = 64 * 1024;
/// A value of fewer letters and digits would be found in words, once what stands between them is left out.
const SHORTEST_APART: usize = 12;
/// How that form is called.
const APART: &str = "apart";
/// A value that lacks so many bytes at one end is that value, if it is so long and what is left of it is so too…
const MOST_CUT: usize = 3;
const SHORTEST_CUT: usize = 12;
const SHORTEST_LEFT: usize = 10;
/// …and changes between letters of one case, digits and signs so often: words and years are no sign of a value.
const LEAST_CHANGES: usize = 4;
/// How that form is called.
const PART: &str = "in part";
/// Bytes that are rolled over: one pass for all values at least that long.
const LENGTHS: [usize; 2] = [8, 20];
/// The upper bits of a hash that choose its bit in a filter of 8 KiB, which stays in the first-level cache.
const FILTER_SHIFT: u32 = 48;

/// Why a value was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error("a value of fewer than 8 bytes would be found by chance; register a longer one")]
    Short,
    #[error("a value of more than 65536 bytes is a document; add it to the fingerprints")]
    Long,
}

/// A registered value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretHit {
    /// As given to [`KeyedSecrets::register`].
    pub id: u32,
    /// How it was written; empty when as it is.
    pub form: &'static str,
    pub count: u64,
}

/// Exact values that must not leave: secrets of the vault. Holds no value, only keyed hashes, and has no serialised form.
pub struct KeyedSecrets {
    key: [u8; 32],
    factor: u64,
    values: [u64; 256],
    classes: Classes,
    /// Of their letters and digits alone, which are found whatever stands between them.
    apart: Classes,
}

type Classes = [Class; LENGTHS.len()];

#[derive(Default)]
struct Class {
    filter: Vec<u64>,
    entries: HashMap<u64, Vec<Entry>>,
}

struct Entry {
    id: u32,
    form: &'static str,
    length: usize,
    digest: [u8; 16],
}

impl std::fmt::Debug for KeyedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedSecrets").finish_non_exhaustive()
    }
}

impl KeyedSecrets {
    /// An empty set. `key` must be random and of this session alone.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> KeyedSecrets {
        let mut random = Expand::new(key, "values");
        let factor = random.next() | 1;
        KeyedSecrets {
            key: *key,
            factor,
            values: std::array::from_fn(|_| random.next()),
            classes: Classes::default(),
            apart: Classes::default(),
        }
    }

    /// Registers a value of 8 bytes to 64 KiB: as it is, in one case, reversed, in rot13, in hex and within base64, so that binary
    /// keys are found too, which no decoding can tell from noise; its letters and digits, whatever stands between them; and most of a
    /// long one, without its end or its start.
    ///
    /// # Errors
    /// When it is too short to be told from chance, or so long that it is a document.
    pub fn register(&mut self, id: u32, value: &[u8]) -> Result<(), RegisterError> {
        if value.len() < SHORTEST {
            return Err(RegisterError::Short);
        }
        if value.len() > LONGEST {
            return Err(RegisterError::Long);
        }
        self.enter(id, "", value);
        for part in parts(value) {
            let forms = BTreeSet::from([part.to_vec(), part.to_ascii_lowercase(), part.to_ascii_uppercase()]);
            forms.iter().for_each(|form| self.enter(id, PART, form));
        }
        self.enter(id, "reversed", &value.iter().rev().copied().collect::<Vec<u8>>());
        let turned: Vec<u8> = value.iter().map(|b| crate::encodings::rot13(*b)).collect();
        if turned != value {
            self.enter(id, "rot13", &turned);
        }
        // Names of headers and hosts are written without regard to case.
        let exchanged = value.iter().map(|b| if b.is_ascii_alphabetic() { b ^ 0x20 } else { *b }).collect();
        for (form, folded) in [
            ("lower case", value.to_ascii_lowercase()),
            ("upper case", value.to_ascii_uppercase()),
            ("case exchanged", exchanged),
        ] {
            if folded != value {
                self.enter(id, form, &folded);
            }
        }
        let apart = letters_and_digits(value);
        if apart.len() >= SHORTEST_APART && value.is_ascii() {
            let forms = BTreeSet::from([apart.to_ascii_lowercase(), apart.to_ascii_uppercase(), apart]);
            forms.iter().for_each(|form| self.enter_into(true, (id, APART), form));
        }
        self.enter(id, "hex", hex::encode(value).as_bytes());
        self.enter(id, "hex", hex::encode_upper(value).as_bytes());
        for skip in 0..3 {
            let (standard, url) = base64_within(value, skip);
            self.enter(id, "base64", &standard);
            if url != standard {
                self.enter(id, "base64", &url);
            }
        }
        Ok(())
    }

    /// Whether nothing was registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(|c| c.entries.is_empty())
    }

    /// The registered values in `bytes`.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Vec<SecretHit> {
        let mut hits: Vec<SecretHit> = Vec::new();
        self.find_in(&self.classes, bytes, &mut hits);
        if self.apart.iter().any(|class| !class.entries.is_empty()) {
            let mut apart = Vec::new();
            self.find_in(&self.apart, &letters_and_digits(bytes), &mut apart);
            apart.retain(|hit| hits.iter().all(|known| known.id != hit.id));
            hits.extend(apart);
        }
        let whole: Vec<u32> = hits.iter().filter(|hit| hit.form != PART).map(|hit| hit.id).collect();
        hits.retain(|hit| hit.form != PART || !whole.contains(&hit.id));
        hits
    }

    fn find_in(&self, classes: &Classes, bytes: &[u8], hits: &mut Vec<SecretHit>) {
        for (class, length) in classes.iter().zip(LENGTHS) {
            if class.entries.is_empty() || bytes.len() < length {
                continue;
            }
            let power = (0..length).fold(1u64, |p, _| p.wrapping_mul(self.factor));
            let gone = self.values.map(|v| v.wrapping_mul(power));
            let (head, coming) = bytes.split_at(length);
            let mut h = head.iter().fold(0, |h, b| self.roll(h, *b));
            if class.may_hold(h) {
                self.decide(class, h, bytes, 0, hits);
            }
            for (at, (come, old)) in coming.iter().zip(bytes).enumerate() {
                // What does not depend on the hash comes first, so that each step waits for little.
                let change = self.values[usize::from(*come)].wrapping_sub(gone[usize::from(*old)]);
                h = h.wrapping_mul(self.factor).wrapping_add(change);
                if class.may_hold(h) {
                    self.decide(class, h, bytes, at + 1, hits);
                }
            }
        }
    }

    #[inline]
    fn roll(&self, h: u64, byte: u8) -> u64 {
        h.wrapping_mul(self.factor).wrapping_add(self.values[usize::from(byte)])
    }

    fn decide(&self, class: &Class, h: u64, bytes: &[u8], at: usize, hits: &mut Vec<SecretHit>) {
        for entry in class.entries.get(&h).map_or(&[][..], Vec::as_slice) {
            let Some(value) = bytes.get(at..at + entry.length) else { continue };
            if self.digest(value) != entry.digest {
                continue;
            }
            match hits.iter_mut().find(|s| s.id == entry.id && s.form == entry.form) {
                Some(hit) => hit.count += 1,
                None => hits.push(SecretHit { id: entry.id, form: entry.form, count: 1 }),
            }
        }
    }

    fn enter(&mut self, id: u32, form: &'static str, value: &[u8]) {
        self.enter_into(false, (id, form), value);
    }

    fn enter_into(&mut self, is_apart: bool, (id, form): (u32, &'static str), value: &[u8]) {
        let Some(index) = LENGTHS.iter().rposition(|l| *l <= value.len()) else { return };
        let h = value.iter().take(LENGTHS[index]).fold(0, |h, b| self.roll(h, *b));
        let classes = if is_apart { &mut self.apart } else { &mut self.classes };
        let Some(class) = classes.get_mut(index) else { return };
        if class.filter.is_empty() {
            class.filter = vec![0; 1 << (64 - FILTER_SHIFT - 6)];
        }
        let bit = h >> FILTER_SHIFT;
        if let Some(word) = class.filter.get_mut((bit >> 6) as usize) {
            *word |= 1 << (bit & 63);
        }
        let digest = digest(&self.key, value);
        class.entries.entry(h).or_default().push(Entry { id, form, length: value.len(), digest });
    }

    fn digest(&self, value: &[u8]) -> [u8; 16] {
        digest(&self.key, value)
    }
}

impl Class {
    #[inline]
    fn may_hold(&self, h: u64) -> bool {
        let bit = h >> FILTER_SHIFT;
        self.filter.get((bit >> 6) as usize).is_some_and(|w| w >> (bit & 63) & 1 == 1)
    }
}

fn digest(key: &[u8; 32], value: &[u8]) -> [u8; 16] {
    // The key fills its place, the length ends it: no extension of one value is another's digest.
    let whole = Sha256::new()
        .chain_update(b"chaperone registered value\0")
        .chain_update(key)
        .chain_update((value.len() as u64).to_le_bytes())
        .chain_update(value)
        .finalize();
    std::array::from_fn(|i| whole.get(i).copied().unwrap_or(0))
}

/// A value without a few bytes at its end, and at its start, as far as that is nothing else: whoever has it finds the rest.
fn parts(value: &[u8]) -> Vec<&[u8]> {
    if value.len() < SHORTEST_CUT {
        return Vec::new();
    }
    let most = MOST_CUT.min(value.len().saturating_sub(SHORTEST_LEFT));
    let cuts = || (1..=most).rev();
    let first = cuts().filter_map(|bytes| value.get(..value.len() - bytes)).find(|part| is_certain(part));
    let last = cuts().filter_map(|bytes| value.get(bytes..)).find(|part| is_certain(part));
    first.into_iter().chain(last).collect()
}

/// Whether bytes are no words, names or dates.
fn is_certain(bytes: &[u8]) -> bool {
    let kind = |b: &u8| match b {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let changes = bytes.windows(2).filter(|two| matches!(two, [a, b] if kind(a) != kind(b))).count();
    let kinds = (0..3).filter(|k| bytes.iter().any(|b| kind(b) == *k)).count();
    changes >= LEAST_CHANGES && kinds > 1
}

fn letters_and_digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(u8::is_ascii_alphanumeric).collect()
}

/// The characters of base64 that depend on nothing but `value` when `skip` bytes of something else stand before it, in the standard
/// and in the URL-safe alphabet.
fn base64_within(value: &[u8], skip: usize) -> (Vec<u8>, Vec<u8>) {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Bits of the value that complete characters begun before it.
    let lead = [0, 4, 2].get(skip).copied().unwrap_or(0);
    let bit = |i: usize| value.get(i / 8).map_or(0, |b| b >> (7 - i % 8) & 1);
    let count = (value.len() * 8 - lead) / 6;
    let standard: Vec<u8> = (0..count)
        .map(|c| (0..6).fold(0usize, |n, i| n << 1 | usize::from(bit(lead + c * 6 + i))))
        .map(|n| STANDARD.get(n).copied().unwrap_or(b'A'))
        .collect();
    let url = standard
        .iter()
        .map(|b| match b {
            b'+' => b'-',
            b'/' => b'_',
            b => *b,
        })
        .collect();
    (standard, url)
}

/// Random numbers from a key: SHA-256 of the key, a purpose and a counter.
pub(super) struct Expand {
    state: Sha256,
    counter: u64,
}

impl Expand {
    pub(super) fn new(key: &[u8; 32], purpose: &str) -> Expand {
        let state = Sha256::new().chain_update(b"chaperone\0").chain_update(key).chain_update(purpose);
        Expand { state, counter: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        let digest = self.state.clone().chain_update(self.counter.to_le_bytes()).finalize();
        digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
    }
}

/// The inverse of an odd number modulo 2^64 (Newton: each step doubles the bits that are right).
pub(super) fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(value: &str, sent: &str) -> Vec<&'static str> {
        let mut known = KeyedSecrets::new(&[7; 32]);
        known.register(1, value.as_bytes()).unwrap();
        known.find(sent.as_bytes()).iter().map(|hit| hit.form).collect()
    }

    #[test]
    fn a_value_without_a_few_characters_is_that_value() {
        for value in ["vK8mQz4wRt7pLx2N", "Blue-Harbour-77!x", "vN4xKq9LmZ2w", "1f0e9d8c7b6a5f4e3d2c1b0a"] {
            assert_eq!(forms(value, value), [""], "{value}");
            let most = if value.len() == 12 { 2 } else { 3 };
            for cut in 1..=most {
                let (first, last) = (&value[..value.len() - cut], &value[cut..]);
                for part in [first, last] {
                    assert_eq!(forms(value, &format!("it is {part} then")), [PART], "{part} of {value}");
                    assert_eq!(forms(value, &part.to_lowercase()), [PART], "{part} of {value}");
                }
            }
            assert!(forms(value, &value[4..]).is_empty(), "{value}");
        }
    }

    #[test]
    fn what_a_value_begins_with_is_no_value_where_it_is_a_word() {
        for (value, sent) in [
            ("production123", "production"),
            ("Summer2024!!", "Summer2024"),
            ("my-database-prod", "my-database-primary"),
            ("kR8wPz3vXq6", "kR8wPz3vXq"),
            ("administrator1", "administrator"),
        ] {
            assert!(forms(value, sent).is_empty(), "{sent} of {value}");
            assert!(!forms(value, value).is_empty());
        }
    }
}

//! What stands in a redacted copy for a value: `[REDACTED:us_ssn:xkdfmtbzrwqhlpgvcn]`. The tag names one value of one version of
//! a file, in one session. Only who has the key can make one, so that a tag says neither what it stands for nor whether two
//! values are the same.

mod signs;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::Detectors;
use crate::coding::Coding;

pub use signs::Signs;

/// No vowel, so no word; no digit, so nothing that is looked for.
const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
/// Letters of a tag: 77 bits, which nobody guesses.
pub(crate) const TAG: usize = 18;
pub(crate) const OPEN: &[u8] = b"[REDACTED:";
/// The same in base64, by where it begins in a group of three bytes; without the letters that others share.
pub(crate) const IN_BASE64: [&[u8]; 3] = [b"W1JFREFDVEVEO", b"tSRURBQ1RFRD", b"bUkVEQUNURUQ6"];
/// Longest name of a detector in a placeholder, in bytes.
const LONGEST_NAME: usize = 64;

/// What the tags of one version of a file in one session are made with. Whoever knows it can make them.
#[derive(Clone, Copy)]
pub struct PlaceholderKey([u8; 32]);

impl std::fmt::Debug for PlaceholderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlaceholderKey")
    }
}

impl PlaceholderKey {
    /// For the version with this SHA-256, in the session with this secret.
    #[must_use]
    pub fn new(session: &[u8; 32], content: &[u8; 32]) -> Self {
        Self(Sha256::new().chain_update(session).chain_update(content).finalize().into())
    }

    /// As [`Self::bytes`] gave it.
    #[must_use]
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The tag of the value that is replaced as so manieth.
    fn tag(&self, number: u64) -> Vec<u8> {
        let digest = Sha256::new().chain_update(self.0).chain_update(number.to_le_bytes()).finalize();
        let mut rest = digest.iter().take(16).fold(0u128, |all, byte| all << 8 | u128::from(*byte));
        let mut letter = || {
            let index = (rest % LETTERS.len() as u128) as usize;
            rest /= LETTERS.len() as u128;
            LETTERS.get(index).copied().unwrap_or(b'z')
        };
        (0..TAG).map(|_| letter()).collect()
    }
}

/// A value that a placeholder stands for.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) detector: String,
    pub(crate) coding: Coding,
    /// As it is read.
    pub(crate) text: Vec<u8>,
    /// As it is written, without the quotes around it.
    pub(crate) raw: Vec<u8>,
}

/// Of which tags the values are wanted.
#[derive(Debug)]
enum Wanted {
    These(HashSet<Vec<u8>>),
    All,
}

impl Wanted {
    fn has(&self, tag: &[u8]) -> bool {
        match self {
            Self::These(tags) => tags.contains(tag),
            Self::All => true,
        }
    }
}

/// Gives placeholders their tags in the order of the values, and keeps the values that are wanted back.
#[derive(Debug)]
pub(crate) struct Names {
    key: PlaceholderKey,
    given: Cell<u64>,
    wanted: Wanted,
    kept: RefCell<HashMap<Vec<u8>, Kept>>,
}

impl Names {
    pub(crate) fn new(key: PlaceholderKey) -> Self {
        Self { key, given: Cell::new(0), wanted: Wanted::These(HashSet::new()), kept: RefCell::default() }
    }

    /// The same, and the values of these tags are kept.
    pub(crate) fn keeping(self, wanted: HashSet<Vec<u8>>) -> Self {
        Self { wanted: Wanted::These(wanted), ..self }
    }

    /// The same, and all values are kept.
    pub(crate) fn keeping_all(self) -> Self {
        Self { wanted: Wanted::All, ..self }
    }

    pub(crate) fn given(&self) -> u64 {
        self.given.get()
    }

    pub(crate) fn into_kept(self) -> HashMap<Vec<u8>, Kept> {
        self.kept.into_inner()
    }

    /// The next tag, for this value.
    pub(crate) fn tag(&self, value: impl FnOnce() -> Kept) -> Vec<u8> {
        let tag = self.key.tag(self.given.replace(self.given.get() + 1));
        if self.wanted.has(&tag) {
            self.kept.borrow_mut().insert(tag.clone(), value());
        }
        tag
    }

    /// The value of the last tag goes on: what overlaps is replaced as one.
    pub(crate) fn goes_on(&self, more: &[u8]) {
        let Some(last) = self.given.get().checked_sub(1) else { return };
        if let Some(kept) = self.kept.borrow_mut().get_mut(&self.key.tag(last)) {
            kept.text.extend_from_slice(more);
            kept.raw.extend_from_slice(more);
        }
    }
}

/// A placeholder in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    /// From bracket to bracket.
    pub(crate) range: Range<usize>,
    pub(crate) detector: &'t [u8],
    /// Those of `chaperone inspect --redact` have none.
    pub(crate) tag: Option<&'t [u8]>,
}

/// The longest placeholder, in bytes.
pub(crate) const LONGEST: usize = OPEN.len() + LONGEST_NAME + 1 + TAG + 1;

/// The placeholder that begins at `at`, if it is whole and of a detector that there is.
pub(crate) fn token<'t>(detectors: &Detectors, text: &'t [u8], at: usize) -> Option<Token<'t>> {
    token_of(|name| detectors.0.names(name), text, at)
}

/// The same, with those detectors whose name `is_known`.
pub(crate) fn token_of(is_known: impl Fn(&[u8]) -> bool, text: &[u8], at: usize) -> Option<Token<'_>> {
    let start = at + OPEN.len();
    let rest = text.get(at..)?.strip_prefix(OPEN)?;
    let window = rest.get(..rest.len().min(LONGEST_NAME + 1))?;
    let name = window.iter().position(|b| matches!(b, b':' | b']'))?;
    let detector = window.get(..name)?;
    is_known(detector).then_some(())?;
    let end = start + name;
    if text.get(end) == Some(&b']') {
        return Some(Token { range: at..end + 1, detector, tag: None });
    }
    let tag = text.get(end + 1..end + 1 + TAG).filter(|tag| tag.iter().all(|b| LETTERS.contains(b)))?;
    let close = end + 1 + TAG;
    (text.get(close) == Some(&b']')).then_some(Token { range: at..close + 1, detector, tag: Some(tag) })
}

/// Runs of exactly as many of the letters as a tag has: where one stands alone, its placeholder was damaged.
pub(crate) fn bare_tags(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let from = at + text.get(at..)?.iter().position(|b| LETTERS.contains(b))?;
            let length = text.get(from..)?.iter().take_while(|b| LETTERS.contains(b)).count();
            at = from + length;
            if length == TAG {
                return Some(from..at);
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_the_key_and_the_place_alone() {
        let key = PlaceholderKey::new(&[7; 32], &[1; 32]);
        let names = Names::new(key);
        let value = || Kept { detector: String::new(), coding: Coding::Plain, text: vec![], raw: vec![] };
        let (first, second) = (names.tag(value), names.tag(value));
        assert_ne!(first, second);
        assert_eq!(first, Names::new(key).tag(value));
        assert_ne!(first, Names::new(PlaceholderKey::new(&[7; 32], &[2; 32])).tag(value));
        let text = [b"x [REDACTED:us_ssn:", &*first, b"] y"].concat();
        let detectors = Detectors::builtin().unwrap();
        let found = token(&detectors, &text, 2).unwrap();
        assert_eq!((found.range, found.tag), (2..text.len() - 2, Some(&*first)));
        let mut bare = bare_tags(&text);
        assert_eq!((bare.next(), bare.next()), (Some(19..37), None));
        for damaged in [&text[..text.len() - 3], b"xx[REDACTED:us_ssn:bcdf]", b"xx[REDACTED:no_such]"] {
            assert_eq!(token(&detectors, damaged, 2), None);
        }
    }
}

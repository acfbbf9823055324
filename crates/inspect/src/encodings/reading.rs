//! Text as the user reads it: typographic dashes and blanks, characters without a shape, letters of full width and entities of
//! markup become what they stand for.

use super::escape::{Pieces, Reading, entity};
use super::fold::{Fold, fold_one, next_high};

/// Reads `text`; `None` when it says all that it says as it is written.
pub(crate) fn read(text: &[u8]) -> Option<Reading> {
    let mut pieces = Pieces::default();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        let high = next_high(rest);
        let upto = high.unwrap_or(rest.len());
        for mark in memchr::memchr_iter(b'&', rest.get(..upto).unwrap_or_default()) {
            let from = at + mark;
            if from >= pieces.done
                && let Some((length, value, n)) = text.get(from..).and_then(entity)
            {
                pieces.replace(text, from, from + length, plain(value.get(..n).unwrap_or_default()).as_ref());
            }
        }
        let Some(high) = high else { break };
        at += high;
        let rest = text.get(at..).unwrap_or_default();
        let (length, fold) = one(rest);
        if at >= pieces.done {
            match fold {
                Fold::Keep => {}
                Fold::Ascii(b) | Fold::Used(b) | Fold::Styled(b) => {
                    pieces.replace(text, at, at + length, &[b])
                }
                Fold::Nothing | Fold::Tag(_) => pieces.replace(text, at, at + length, &[]),
            }
        }
        at += length;
    }
    pieces.finish_reading(text)
}

/// What an entity stands for, as it is read.
fn plain(value: &[u8]) -> Vec<u8> {
    if value.is_ascii() {
        return value.to_vec();
    }
    match one(value).1 {
        Fold::Keep => value.to_vec(),
        Fold::Ascii(b) | Fold::Used(b) | Fold::Styled(b) => vec![b],
        Fold::Nothing | Fold::Tag(_) => Vec::new(),
    }
}

/// The character that `text` begins with, one that is not ASCII: how many bytes it has, and what it is read as.
fn one(text: &[u8]) -> (usize, Fold) {
    let head = text.get(..4).unwrap_or(text);
    let chunk = head.utf8_chunks().next();
    match (chunk.as_ref().and_then(|c| c.valid().chars().next()), text.first()) {
        (Some(c), _) => (c.len_utf8(), fold_one(c)),
        // Windows-1252 and Latin-1: a blank that does not break, dashes, a soft hyphen.
        (None, Some(0xa0)) => (1, Fold::Used(b' ')),
        (None, Some(0x96 | 0x97)) => (1, Fold::Used(b'-')),
        (None, Some(0xad)) => (1, Fold::Nothing),
        (None, _) => (1, Fold::Keep),
    }
}

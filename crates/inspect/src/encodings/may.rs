//! Whether a run of base64 can say anything at all, before it is decoded: most words of most texts cannot, and this is one look at each
//! character.

use super::base64::SIX;
use super::readable::READ;

/// How a run may say something: where it cannot, it is not decoded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct May {
    pub(super) as_written: bool,
    pub(super) backwards: bool,
    /// Out of rot13.
    pub(super) turned: bool,
}

/// In three lanes of eight characters: whether the last eight may be two groups of readable bytes as they are written, out of rot13
/// and backwards. A stretch that the reading takes has two such groups, and most text has none.
const AS_WRITTEN: u32 = 0x80;
const TURNED: u32 = 0x8000;
const BACKWARDS: u32 = 0x80_0000;
const LANES: u32 = 0x01_0101;

impl May {
    pub(super) fn of(run: &[u8]) -> May {
        let (mut may, mut state) = (May::default(), 0u32);
        for (i, b) in run.iter().enumerate() {
            state = (state << 1 | LANES) & PLACES[usize::from(*b)];
            if state & (AS_WRITTEN | TURNED | BACKWARDS) == 0 {
                continue;
            }
            let Some(eight) = i.checked_sub(7).and_then(|from| run.get(from..=i)) else { continue };
            let reads = |each: &dyn Fn(usize) -> u8| {
                let group = |at: usize| {
                    (0..4).fold(0u32, |n, k| n << 6 | u32::from(SIX[usize::from(each(at + k))] & 63))
                };
                [group(0), group(4)]
                    .iter()
                    .all(|n| n.to_be_bytes().iter().skip(1).all(|b| READ[usize::from(*b)]))
            };
            let at = |k: usize| eight.get(k).copied().unwrap_or(0);
            may.as_written |= state & AS_WRITTEN != 0 && reads(&at);
            may.turned |= state & TURNED != 0 && reads(&|k| super::rot13(at(k)));
            may.backwards |= state & BACKWARDS != 0 && reads(&|k| at(7 - k));
            if may == (May { as_written: true, backwards: true, turned: true }) {
                break;
            }
        }
        may
    }
}

/// Of each character the places in two groups where it can stand when they say something readable, a bit each, in the three lanes.
const PLACES: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let turned = match b {
            b'a'..=b'z' => (b - b'a' + 13) % 26 + b'a',
            b'A'..=b'Z' => (b - b'A' + 13) % 26 + b'A',
            b => b,
        };
        let (written, turned) = (places(SIX[b as usize]), places(SIX[turned as usize]));
        let backwards = (written & 1) << 3 | (written & 2) << 1 | (written & 4) >> 1 | (written & 8) >> 3;
        table[i] = (written * 0x11) | ((turned * 0x11) << 8) | ((backwards * 0x11) << 16);
        i += 1;
    }
    table
};

/// The places in one group where six bits leave each byte below 0x80, and the first above the signs that control.
const fn places(six: u8) -> u32 {
    if six >= 64 {
        return 0;
    }
    let first = matches!(six, 2 | 3 | 8..=31);
    first as u32 | ((six & 8 == 0) as u32) << 1 | ((six & 2 == 0) as u32) << 2 | 1 << 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::{base64::base64, noise};

    #[test]
    fn what_is_not_decoded_says_nothing() {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
        let mut seed = 7;
        let (mut said, mut left_out) = (0, 0);
        for n in 0..20_000 {
            // Every other one has a text in it, at some alignment.
            let text: &[u8] = if n % 2 == 0 { b"" } else { b"dGhlIHNlY3JldCBvZiB0aGUgYm9hcmQ" };
            let mut run: Vec<u8> =
                (0..n % 9).map(|_| ALPHABET[usize::from(noise(&mut seed)) % ALPHABET.len()]).collect();
            run.extend_from_slice(text);
            run.extend((0..16 + n % 31).map(|_| ALPHABET[usize::from(noise(&mut seed)) % ALPHABET.len()]));
            let backwards: Vec<u8> = run.iter().rev().copied().collect();
            let turned: Vec<u8> = run.iter().map(|b| super::super::rot13(*b)).collect();
            for form in [&run, &backwards, &turned] {
                let may = May::of(form);
                let read = |run: &[u8]| {
                    let mut out = Vec::new();
                    base64(run, &mut out);
                    !out.is_empty()
                };
                let reversed: Vec<u8> = form.iter().rev().copied().collect();
                let unturned: Vec<u8> = form.iter().map(|b| super::super::rot13(*b)).collect();
                for (may, says) in [
                    (may.as_written, read(form)),
                    (may.backwards, read(&reversed)),
                    (may.turned, read(&unturned)),
                ] {
                    assert!(may || !says, "{}", String::from_utf8_lossy(form));
                    said += usize::from(says);
                    left_out += usize::from(!may);
                }
            }
        }
        assert!(said > 20_000 && left_out > 100_000, "{said} {left_out}");
    }
}

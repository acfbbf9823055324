//! Whether a run of base64 can say anything at all, before it is decoded: most words of most texts cannot, and this is one look at each
//! character.

use super::base64::{SHORTEST, SIX};
use super::readable::READ;

/// How a run may say something: where it cannot, it is not decoded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct May {
    pub(super) as_written: bool,
    pub(super) backwards: bool,
    /// Out of rot13.
    pub(super) turned: bool,
    /// A mark stands in it by which something packed begins, wherever it does: the most of [`MARKS`] that is told apart here.
    pub(super) has_mark: bool,
}

/// How gzip and zip begin in base64.
pub(super) const MARKS: [&str; 2] = ["H4sI", "UEsDB"];

/// In three lanes of eight characters: whether the last eight may be two groups of readable bytes as they are written, out of rot13
/// and backwards. A stretch that the reading takes has two such groups, and most text has none.
const AS_WRITTEN: u32 = 0x80;
const TURNED: u32 = 0x8000;
const BACKWARDS: u32 = 0x80_0000;
/// In a fourth lane: whether the last four are those that a mark begins with.
const HAS_MARK: u32 = 0x8800_0000;
const LANES: u32 = 0x1101_0101;

/// What a run may say, and what it can be, at one look at each character; without `mirrored`, what it may say as it is written.
pub(super) fn look(run: &[u8], mirrored: bool) -> (May, Shape) {
    let asked = if mirrored { AS_WRITTEN | TURNED | BACKWARDS | HAS_MARK } else { AS_WRITTEN | HAS_MARK };
    let (mut may, mut state) = (May::default(), 0u32);
    let (mut some, mut every) = (0u8, u8::MAX);
    let (mut digits, mut letters) = (Row::default(), Row::default());
    for (i, b) in run.iter().enumerate() {
        let (places, class) = LOOKED_UP[usize::from(*b)];
        (some, every) = (some | class, every & class);
        digits.goes_on(class & HEX != 0);
        letters.goes_on(class & NOT_BASE32 == 0);
        state = (state << 1 | LANES) & places;
        if state & asked != 0 {
            let eight = i.checked_sub(7).and_then(|from| run.get(from..=i));
            may.look(state & asked, eight);
        }
    }
    let is_mixed = some & (UPPER | LOWER) == UPPER | LOWER;
    let shape = Shape {
        is_mixed,
        has_base32: letters.was_long != 0
            && if some & SIGN == 0 { is_base32_of(some) } else { parts(run).any(is_base32) },
        has_hex: digits.was_long != 0,
        is_one_number: every & HEX != 0 && !is_mixed,
        has_slash: some & SLASH != 0,
    };
    (may, shape)
}

/// Characters of a kind in a row, counted without a branch.
#[derive(Default)]
struct Row {
    length: usize,
    /// Not zero once there were [`SHORTEST`].
    was_long: usize,
}

impl Row {
    #[inline]
    fn goes_on(&mut self, is_of_it: bool) {
        self.length = (self.length + 1) & usize::from(is_of_it).wrapping_neg();
        self.was_long |= self.length / SHORTEST;
    }
}

/// The parts of a run between signs that are long enough to say something.
pub(super) fn parts(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    super::long_stretches(run, SHORTEST, |b| LOOKED_UP[usize::from(b)].1 & SIGN == 0)
        .map(|part| run.get(part).unwrap_or_default())
}

/// Letters of one case and the digits 2 to 7.
pub(super) fn is_base32(part: &[u8]) -> bool {
    is_base32_of(part.iter().fold(0, |all, b| all | LOOKED_UP[usize::from(*b)].1))
}

/// The same by the classes that its characters have.
fn is_base32_of(all: u8) -> bool {
    all & NOT_BASE32 == 0 && all & (UPPER | LOWER) != UPPER | LOWER
}

/// What a run can be by its characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Letters of both cases.
    pub(super) is_mixed: bool,
    /// A part between signs is base32, or has hex digits enough.
    pub(super) has_base32: bool,
    pub(super) has_hex: bool,
    /// A number in hex, as identifiers are: as base64 it would say something in another script by chance alone.
    pub(super) is_one_number: bool,
    pub(super) has_slash: bool,
}

impl May {
    /// Looks at characters that may say something.
    fn look(&mut self, state: u32, eight: Option<&[u8]>) {
        self.has_mark |= state & HAS_MARK != 0;
        let Some(eight) = eight else { return };
        let reads = |each: &dyn Fn(usize) -> u8| {
            let group =
                |at: usize| (0..4).fold(0u32, |n, k| n << 6 | u32::from(SIX[usize::from(each(at + k))] & 63));
            [group(0), group(4)].iter().all(|n| n.to_be_bytes().iter().skip(1).all(|b| READ[usize::from(*b)]))
        };
        let at = |k: usize| eight.get(k).copied().unwrap_or(0);
        self.as_written = self.as_written || state & AS_WRITTEN != 0 && reads(&at);
        self.turned = self.turned || state & TURNED != 0 && reads(&|k| super::rot13(at(k)));
        self.backwards = self.backwards || state & BACKWARDS != 0 && reads(&|k| at(7 - k));
    }
}

const UPPER: u8 = 1;
const LOWER: u8 = 2;
const HEX: u8 = 4;
/// Digits that base32 has none of, and all that is no character of it.
const NOT_BASE32: u8 = 8;
/// What divides names, paths and both alphabets of base64 from each other.
const SIGN: u8 = 16;
const SLASH: u8 = 32;

const fn class(b: u8) -> u8 {
    let mut class = 0;
    if b.is_ascii_uppercase() {
        class |= UPPER;
    }
    if b.is_ascii_lowercase() {
        class |= LOWER;
    }
    if b.is_ascii_hexdigit() {
        class |= HEX;
    }
    if !b.is_ascii_alphabetic() && !matches!(b, b'2'..=b'7') {
        class |= NOT_BASE32;
    }
    if matches!(b, b'/' | b'+' | b'-' | b'_') {
        class |= SIGN;
    }
    if b == b'/' {
        class |= SLASH;
    }
    class
}

/// Of each character the places in two groups where it can stand when they say something readable, a bit each, in three lanes; and
/// where it stands in the marks. Beside them its class.
const LOOKED_UP: [(u32, u8); 256] = {
    let mut table = [(0, 0); 256];
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
        let marked = in_mark(MARKS[0].as_bytes(), b) | in_mark(MARKS[1].as_bytes(), b) << 4;
        let places = (written * 0x11) | ((turned * 0x11) << 8) | ((backwards * 0x11) << 16) | marked << 24;
        table[i] = (places, class(b));
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

/// The places of a character in the first four of a mark.
const fn in_mark(mark: &[u8], b: u8) -> u32 {
    (mark[0] == b) as u32
        | ((mark[1] == b) as u32) << 1
        | ((mark[2] == b) as u32) << 2
        | ((mark[3] == b) as u32) << 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::{base64::base64, noise};

    #[test]
    fn marks_are_seen_wherever_they_stand() {
        for mark in MARKS {
            for before in 0..20 {
                let run = ["UEsH4sUEH4s".repeat(2).get(..before).unwrap(), mark, "abc"].concat();
                assert!(look(run.as_bytes(), false).0.has_mark, "{run}");
            }
        }
        assert!(!look(b"UEsC4sIH4sHUEsB+H4s/IUEs/DB", true).0.has_mark);
    }

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
                let may = look(form, true).0;
                assert_eq!(look(form, false).0, May { turned: false, backwards: false, ..may });
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

    #[test]
    fn one_look_tells_what_a_run_can_be() {
        let mut seed = 3;
        let alphabets: [&[u8]; 6] = [
            b"0123456789abcdef",
            b"ABCDEF01",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            b"abcxyz/",
            b"aB3+-_",
            b"abcdefgh019",
        ];
        for n in 0..20_000 {
            let mut run = Vec::new();
            for _ in 0..1 + n % 3 {
                let alphabet = alphabets[usize::from(noise(&mut seed)) % alphabets.len()];
                let length = 8 + usize::from(noise(&mut seed)) % 40;
                run.extend((0..length).map(|_| alphabet[usize::from(noise(&mut seed)) % alphabet.len()]));
            }
            let shape = look(&run, false).1;
            let parts = || {
                run.split(|b| matches!(b, b'/' | b'+' | b'-' | b'_')).filter(|part| part.len() >= SHORTEST)
            };
            let case = |is: fn(&u8) -> bool| run.iter().any(is);
            let is_mixed = case(u8::is_ascii_uppercase) && case(u8::is_ascii_lowercase);
            let said = Shape {
                is_mixed,
                has_base32: parts().any(|part| {
                    let case = |is: fn(&u8) -> bool| part.iter().any(is);
                    !(case(u8::is_ascii_uppercase) && case(u8::is_ascii_lowercase))
                        && part.iter().all(|b| b.is_ascii_alphabetic() || (b'2'..=b'7').contains(b))
                }),
                has_hex: run.split(|b| !b.is_ascii_hexdigit()).any(|digits| digits.len() >= SHORTEST),
                is_one_number: !is_mixed && run.iter().all(u8::is_ascii_hexdigit),
                has_slash: run.contains(&b'/'),
            };
            assert_eq!(shape, said, "{}", String::from_utf8_lossy(&run));
        }
    }
}

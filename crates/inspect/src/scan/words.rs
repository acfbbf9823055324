//! Where words and marks stand, 64 bytes at a time: a look at each byte would guess wrong at the end of nearly every word.

use crate::encodings::bits::{kinds, lane};

pub(super) const LOWER: u8 = 1;
pub(super) const UPPER: u8 = 2;
pub(super) const DIGIT: u8 = 4;
pub(super) const HIGH: u8 = 8;
pub(super) const WORD: u8 = LOWER | UPPER | DIGIT | HIGH;

pub(super) const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = if b.is_ascii_lowercase() {
            LOWER
        } else if b.is_ascii_uppercase() {
            UPPER
        } else if b.is_ascii_digit() {
            DIGIT
        } else if b >= 0x80 {
            HIGH
        } else {
            0
        };
        i += 1;
    }
    table
};

/// A byte that may mean something between words.
const fn is_mark(b: u8) -> bool {
    matches!(b, b'@' | b':' | b'-' | b'$' | b'~')
}

const LANES: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = match CLASS[i] {
            LOWER => lane(0),
            UPPER => lane(1),
            DIGIT => lane(2),
            HIGH => lane(3),
            _ if is_mark(i as u8) => lane(4),
            _ => 0,
        };
        i += 1;
    }
    table
};

/// What stands in the next 64 bytes.
pub(super) struct Ahead {
    from: usize,
    lower: u64,
    upper: u64,
    digit: u64,
    high: u64,
    mark: u64,
}

impl Ahead {
    pub(super) const LENGTH: usize = 64;

    /// The bytes from `from` on; behind the last one stands nothing.
    #[inline]
    pub(super) fn of(bytes: &[u8], from: usize) -> Ahead {
        let rest = bytes.get(from..).unwrap_or_default();
        let [lower, upper, digit, high, mark, ..] = match rest.first_chunk() {
            Some(whole) => kinds(whole, &LANES),
            None => {
                let mut last = [0; Ahead::LENGTH];
                last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                kinds(&last, &LANES)
            }
        };
        Ahead { from, lower, upper, digit, high, mark }
    }

    /// Where these bytes end.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.from + Ahead::LENGTH
    }

    #[inline]
    fn words(&self) -> u64 {
        self.lower | self.upper | self.digit | self.high
    }

    /// The first byte from `at` on that is of a word or a mark, and whether it is a mark.
    #[inline]
    pub(super) fn next(&self, at: usize) -> Option<(usize, bool)> {
        let rest = (self.words() | self.mark).checked_shr((at - self.from) as u32).unwrap_or(0);
        let found = at + rest.trailing_zeros() as usize;
        (rest != 0).then(|| (found, self.mark >> (found - self.from) & 1 == 1))
    }

    /// The length of the word that begins at `at` and which classes it has; nothing where it may go on behind these bytes.
    #[inline]
    pub(super) fn word(&self, at: usize) -> Option<(usize, u8)> {
        let skipped = (at - self.from) as u32;
        let length = self.words().checked_shr(skipped).unwrap_or(0).trailing_ones();
        if skipped + length >= Ahead::LENGTH as u32 {
            return None;
        }
        let has = |class: u64, of: u8| if class >> skipped & ((1 << length) - 1) == 0 { 0 } else { of };
        let mask =
            has(self.lower, LOWER) | has(self.upper, UPPER) | has(self.digit, DIGIT) | has(self.high, HIGH);
        Some((length as usize, mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_marks_are_where_a_look_at_each_byte_finds_them() {
        let text = "let Wert_9 = \"größer@a.de\"; -- x:1 $5 ~ {}\t".repeat(5);
        let bytes = text.as_bytes();
        for from in 0..bytes.len() {
            let ahead = Ahead::of(bytes, from);
            for at in from..(from + 64).min(bytes.len()) {
                let class = |i: usize| bytes.get(i).map_or(0, |b| CLASS[usize::from(*b)]);
                let mark = |i: usize| bytes.get(i).is_some_and(|b| is_mark(*b));
                let said = (at..from + 64).find(|i| class(*i) != 0 || mark(*i));
                assert_eq!(ahead.next(at), said.map(|i| (i, mark(i))));
                let length = (at..).take_while(|i| class(*i) != 0).count();
                let classes = (at..at + length).fold(0, |all, i| all | class(i));
                let said = (at + length < from + 64).then_some((length, classes));
                assert_eq!(ahead.word(at), said);
            }
        }
    }
}

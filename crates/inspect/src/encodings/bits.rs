//! Of which kind the bytes of a text are, a bit each: what stands together is found 64 bytes at a time, without a branch for each.

/// Letters of the two cases, digits, and `+` and `/`: the characters of base64.
const UPPER: u32 = 0;
const LOWER: u32 = 1;
const DIGIT: u32 = 2;
const SIGN: u32 = 3;
/// `-` and `_`: characters of base64 in the other alphabet, which divide groups of the first.
const URL: u32 = 4;
/// What divides groups and is a character of neither.
const ELSE: u32 = 5;
/// What lists of bytes are written with.
const LISTED: u32 = 6;

const LANES: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let kind = match b {
            b'A'..=b'Z' => lane(UPPER),
            b'a'..=b'z' => lane(LOWER),
            b'0'..=b'9' => lane(DIGIT),
            b'+' | b'/' => lane(SIGN),
            b'-' | b'_' => lane(URL),
            b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b':' | b';' | b'|' | b'~' | b'*' | b'\'' | b'"'
            | b'\\' | b'`' | b'<' | b'>' | b'(' | b')' | b'=' => lane(ELSE),
            _ => 0,
        };
        let is_listed = b.is_ascii_hexdigit()
            || matches!(b, b':' | b' ' | b',' | b'-' | b'\\' | b'x' | b'\n' | b'\r' | b'%');
        table[i] = kind | if is_listed { lane(LISTED) } else { 0 };
        i += 1;
    }
    table
};

/// What a byte of a kind, one of eight, has in the table that [`kinds`] takes.
const fn lane(kind: u32) -> u64 {
    0x80 << (8 * kind)
}

/// Of which kinds 64 bytes are, a bit each; the lowest is the first byte. Each kind has a lane of eight bits: a byte sets the highest
/// of each kind that it is of, and the next one shifts them on.
#[inline]
fn kinds(bytes: &[u8; 64], lanes: &[u64; 256]) -> [u64; 8] {
    let mut rows = [0; 8];
    for (row, eight) in rows.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *row = eight.iter().fold(0, |row, b| row >> 1 | lanes[usize::from(*b)]);
    }
    transposed(rows)
}

/// Each row has a byte of each kind: the rows turned round, so that each is of one kind.
#[inline]
fn transposed(mut rows: [u64; 8]) -> [u64; 8] {
    let halves = [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)];
    for (apart, low) in halves {
        for i in (0..8).filter(|i| i & apart == 0) {
            let (a, b) = (rows[i], rows[i + apart]);
            rows[i] = a & low | (b & low) << (8 * apart);
            rows[i + apart] = a >> (8 * apart) & low | b & !low;
        }
    }
    rows
}

/// 64 bytes of a text; the lowest bit is the first byte.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Block {
    /// Characters of base64.
    pub(super) signed: u64,
    /// Those of either alphabet.
    pub(super) either: u64,
    /// What divides groups of characters of base64.
    pub(super) divides: u64,
    /// Where a group shows that it is no word and no number as texts have them: a sign, an upper-case letter or a digit behind
    /// a lower-case letter, a letter behind a digit.
    pub(super) odd: u64,
    pub(super) listed: u64,
}

/// The kinds of all bytes of a text.
#[derive(Debug)]
pub(super) struct Bits {
    /// The last one is empty, and stands for all behind it.
    blocks: Vec<Block>,
}

impl Bits {
    pub(super) fn of(text: &[u8]) -> Bits {
        let mut blocks = Vec::with_capacity(text.len() / 64 + 2);
        let mut before = Before::default();
        let (whole, rest) = text.as_chunks::<64>();
        blocks.extend(whole.iter().map(|bytes| before.block(bytes)));
        if !rest.is_empty() {
            // A zero is of no kind.
            let mut last = [0; 64];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            blocks.push(before.block(&last));
        }
        blocks.push(Block::default());
        Bits { blocks }
    }

    /// The 64 bytes that begin at `at`.
    #[inline]
    pub(super) fn from(&self, at: usize) -> Block {
        let shift = at as u32 % 64;
        let two = |a: u64, b: u64| a >> shift | (b << 1) << (63 - shift);
        match self.blocks.get(at / 64..) {
            Some([a, b, ..]) => Block {
                signed: two(a.signed, b.signed),
                either: two(a.either, b.either),
                divides: two(a.divides, b.divides),
                odd: two(a.odd, b.odd),
                listed: two(a.listed, b.listed),
            },
            _ => Block::default(),
        }
    }

    /// The first byte from `at` on whose bit is set in what `of` makes of a block.
    pub(super) fn next(&self, at: usize, of: impl Fn(&Block) -> u64) -> Option<usize> {
        let blocks = self.blocks.get(at / 64..)?;
        let mut keep = u64::MAX << (at % 64);
        for (i, block) in blocks.iter().enumerate() {
            let bits = of(block) & keep;
            if bits != 0 {
                return Some((at / 64 + i) * 64 + bits.trailing_zeros() as usize);
            }
            keep = u64::MAX;
        }
        None
    }

    /// Where the next `least` bytes (64 at most) in a row begin, from `at` on, that are all of a kind.
    pub(super) fn next_row(&self, at: usize, least: u32, of: impl Fn(&Block) -> u64) -> Option<usize> {
        let blocks = self.blocks.get(at / 64..)?;
        let mut keep = u64::MAX << (at % 64);
        for (i, two) in blocks.windows(2).enumerate() {
            let [a, b] = two else { break };
            let both = u128::from(of(a) & keep) | u128::from(of(b)) << 64;
            keep = u64::MAX;
            let begins = rows(both, least) as u64;
            if begins != 0 {
                return Some((at / 64 + i) * 64 + begins.trailing_zeros() as usize);
            }
        }
        None
    }
}

/// The bits from which on `least` in a row are set.
fn rows(bits: u128, least: u32) -> u128 {
    let (mut row, mut length) = (bits, 1);
    while length < least && row != 0 {
        let more = length.min(least - length);
        row &= row >> more;
        length += more;
    }
    row
}

/// The last byte and the one before it, for what two or three bytes show together.
#[derive(Debug, Default)]
struct Before {
    upper: u64,
    lower: u64,
    digit: u64,
    /// Two bytes.
    signed: u64,
}

impl Before {
    fn block(&mut self, bytes: &[u8; 64]) -> Block {
        let [upper, lower, digit, sign, url, other, listed, _] = kinds(bytes, &LANES);
        let signed = upper | lower | digit | sign;
        let (behind_upper, behind_lower, behind_digit) =
            (upper << 1 | self.upper, lower << 1 | self.lower, digit << 1 | self.digit);
        // A word may begin with an upper-case letter.
        let begun = signed << 2 | self.signed;
        let odd = sign
            | behind_lower & (upper | digit)
            | behind_digit & (upper | lower)
            | behind_upper & digit
            | begun & behind_upper & lower;
        *self = Before { upper: upper >> 63, lower: lower >> 63, digit: digit >> 63, signed: signed >> 62 };
        Block { signed, either: signed | url, divides: url | other, odd, listed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::noise;

    #[test]
    fn rows_are_found_wherever_they_begin() {
        let mut seed = 9;
        for n in 0..2_000usize {
            let text: Vec<u8> = (0..n % 300)
                .map(|_| if noise(&mut seed) < 12 { b'!' } else { b'a' + noise(&mut seed) % 3 })
                .collect();
            let bits = Bits::of(&text);
            for least in [1, 16, 24, 64] {
                for at in [0, n % 70, n % 299] {
                    let is_row =
                        |i: &usize| text.get(*i..i + least).is_some_and(|row| row.iter().all(|b| *b != b'!'));
                    let said = (at..text.len()).find(is_row);
                    assert_eq!(bits.next_row(at, least as u32, |block| block.signed), said);
                }
            }
            let at = n % 100;
            let said = (at..text.len()).find(|i| text.get(*i) != Some(&b'!'));
            assert_eq!(bits.next(at, |block| block.signed), said);
            let here = bits.from(at).signed;
            assert!((0..64).all(|i| (here >> i & 1 == 1) == text.get(at + i).is_some_and(|b| *b != b'!')));
        }
    }
}

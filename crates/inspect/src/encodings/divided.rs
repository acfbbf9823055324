//! Base64 and base32 of which every few characters stand apart: by blanks, dots, dashes, quotes or short lines.

use super::bits::Bits;

/// What is divided more is a text, in bytes between two groups: a line break of two, an indentation, quotes and a comma.
const WIDEST_GAP: usize = 12;
/// Longer groups are runs by themselves, in characters.
const LONGEST_GROUP: usize = 80;
/// Fewer characters hold nothing that is looked for.
const SHORTEST: usize = 16;
/// So many characters in a row in words as every language writes them are no longer encoded. Short groups look like words now and then.
const PLAIN: usize = 24;
const GROUPS: usize = 3;

/// Calls `take` with each stretch of groups, put together.
pub(super) fn each(text: &[u8], bits: &Bits, mut take: impl FnMut(&[u8])) {
    let mut stretch = Stretch::default();
    let mut joined = Vec::new();
    let mut at = 0;
    while let Some(group) = next(bits, at) {
        let length = group.end - group.start;
        if !group.is_divided || length > LONGEST_GROUP {
            stretch.end(text, &mut joined, &mut take);
        }
        if length <= LONGEST_GROUP {
            stretch.push(&group);
            if stretch.plain > PLAIN {
                stretch.end(text, &mut joined, &mut take);
            }
        }
        at = group.end;
    }
    stretch.end(text, &mut joined, &mut take);
}

/// Characters of base64 in a row.
struct Group {
    start: usize,
    end: usize,
    /// A word or a number, as it stands in texts: in one case but for its first letter, or of digits alone.
    is_plain: bool,
    /// What stands before it divides it from another.
    is_divided: bool,
}

/// The next group from `at` on, where the one before ends.
#[inline]
fn next(bits: &Bits, at: usize) -> Option<Group> {
    let here = bits.from(at);
    let gap = here.signed.trailing_zeros();
    let is_divided = gap as usize <= WIDEST_GAP && here.divides.trailing_ones() >= gap;
    let length = here.signed.checked_shr(gap).unwrap_or(0).trailing_ones();
    if gap + length < 64 {
        let start = at + gap as usize;
        let is_plain = here.odd >> gap & ((1 << length) - 1) == 0;
        return Some(Group { start, end: start + length as usize, is_plain, is_divided });
    }
    // It goes on behind these 64 bytes, or begins there.
    let start = bits.next(at, |block| block.signed)?;
    let end = bits.next(start, |block| !block.signed)?;
    let is_plain = bits.next(start, |block| block.odd).is_none_or(|odd| odd >= end);
    Some(Group { start, end, is_plain, is_divided })
}

#[derive(Default)]
struct Stretch {
    start: usize,
    end: usize,
    groups: usize,
    /// Characters of all groups, and of those at the end that are words.
    length: usize,
    plain: usize,
    odd: usize,
    /// The length of the last group.
    last: usize,
    /// A group before the last one is no run by itself.
    has_short: bool,
}

impl Stretch {
    #[inline]
    fn push(&mut self, group: &Group) {
        let length = group.end - group.start;
        if self.groups == 0 {
            self.start = group.start;
        } else {
            self.has_short |= self.last < SHORTEST;
        }
        self.end = group.end;
        self.groups += 1;
        self.length += length;
        self.last = length;
        if group.is_plain {
            self.plain += length;
        } else {
            self.odd += 1;
            self.plain = 0;
        }
    }

    #[inline]
    fn end(&mut self, text: &[u8], joined: &mut Vec<u8>, take: &mut impl FnMut(&[u8])) {
        // Where each but the last is a run, they are read by themselves, and with those on the next lines.
        if self.groups >= GROUPS && self.odd >= 2 && self.has_short && self.length >= SHORTEST {
            put_together(text.get(self.start..self.end).unwrap_or_default(), joined, take);
        }
        *self = Stretch::default();
    }
}

/// Calls `take` with the groups of a stretch; `joined` lends its room.
fn put_together(stretch: &[u8], joined: &mut Vec<u8>, take: &mut impl FnMut(&[u8])) {
    let all = keep(stretch, SIGNED, joined);
    take(joined);
    // In the other alphabet two of the dividing signs are digits; they divide where nothing else does.
    if all & DIGIT_OF_URL != 0 && all & ELSE != 0 {
        keep(stretch, SIGNED | DIGIT_OF_URL, joined);
        take(joined);
    }
}

/// Leaves in `joined` what is of these kinds; says which there are. Every byte is written and most are kept: that takes no branch.
fn keep(stretch: &[u8], kinds: u8, joined: &mut Vec<u8>) -> u8 {
    joined.clear();
    joined.resize(stretch.len(), 0);
    let (mut all, mut kept) = (0, 0);
    for b in stretch {
        let class = CLASS[usize::from(*b)];
        all |= class;
        if let Some(slot) = joined.get_mut(kept) {
            *slot = *b;
        }
        kept += usize::from(class & kinds != 0);
    }
    joined.truncate(kept);
    all
}

/// Characters of base64.
const SIGNED: u8 = 1;
/// What divides groups: two of these signs are digits in the other alphabet.
const DIGIT_OF_URL: u8 = 2;
const ELSE: u8 = 4;
const CLASS: [u8; 256] = {
    let mut table = [ELSE; 256];
    let mut i = 0;
    while i < 256 {
        match i as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => table[i] = SIGNED,
            b'-' | b'_' => table[i] = DIGIT_OF_URL,
            _ => {}
        }
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        each(text.as_bytes(), &Bits::of(text.as_bytes()), |stretch| {
            found.push(String::from_utf8(stretch.to_vec()).unwrap())
        });
        found
    }

    #[test]
    fn groups_are_put_together_whatever_divides_them() {
        let whole = "Z2hwXzhYazJtUXZSN3RMdzVuWmMzYllkOWZIajRzR2E2cFRlMXVWbw";
        for size in [2, 3, 4, 5, 7, 12] {
            let groups: Vec<&str> =
                whole.as_bytes().chunks(size).map(|g| std::str::from_utf8(g).unwrap()).collect();
            for between in [" ", ".", "-", "_", ", ", "\n", "\r\n", "\n  ", "\", \"", " - "] {
                let found = stretches(&groups.join(between));
                assert!(found.iter().any(|f| f.contains(whole)), "{size} {between:?}: {found:?}");
            }
        }
        let url = "Z2hw-XzhY_azJt UXZS-N3RM dzVu";
        assert!(stretches(url).contains(&"Z2hw-XzhY_azJtUXZS-N3RMdzVu".to_owned()));
    }

    #[test]
    fn texts_and_numbers_are_no_groups() {
        for text in [
            "The branch in the north closed the year with a loss of eleven percent against the plan of the board.",
            "4111 1111 1111 1111 and 2026-11-27 10:15:00, 192.168.0.1",
            "SELECT name, street FROM people WHERE city = 'Berlin' ORDER BY name;",
            "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n",
        ] {
            assert_eq!(stretches(text), Vec::<String>::new(), "{text}");
        }
    }
}

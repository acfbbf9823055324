//! Base64 and base32 of which every few characters stand apart: by blanks, dots, dashes, quotes or short lines.

use std::ops::Range;

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
pub(super) fn each(text: &[u8], mut take: impl FnMut(&[u8])) {
    let mut stretch = Stretch::default();
    let mut at = 0;
    let class = |at: usize| text.get(at).map_or(END, |b| CLASS[usize::from(*b)]);
    loop {
        let (gap, mut only_divides) = (at, true);
        while class(at) & (SIGNED | END) == 0 {
            only_divides &= class(at) & DIVIDES != 0;
            at += 1;
        }
        if class(at) == END {
            break;
        }
        let divides = only_divides && at - gap <= WIDEST_GAP;
        let (start, first) = (at, class(at));
        let mut rest = 0;
        at += 1;
        while class(at) & SIGNED != 0 {
            rest |= class(at);
            at += 1;
        }
        let group = start..at;
        if !divides || group.len() > LONGEST_GROUP {
            stretch.end(text, &mut take);
        }
        if group.len() <= LONGEST_GROUP {
            stretch.push(group, is_plain(first, rest));
            if stretch.plain > PLAIN {
                stretch.end(text, &mut take);
            }
        }
    }
    stretch.end(text, &mut take);
}

#[derive(Default)]
struct Stretch {
    groups: Vec<Range<usize>>,
    /// Characters at the end that are words.
    plain: usize,
    odd: usize,
    /// What was put together last; its room stays.
    joined: Vec<u8>,
}

impl Stretch {
    fn push(&mut self, group: Range<usize>, is_plain: bool) {
        let length = group.len();
        self.groups.push(group);
        if is_plain {
            self.plain += length;
        } else {
            self.odd += 1;
            self.plain = 0;
        }
    }

    fn end(&mut self, text: &[u8], take: &mut impl FnMut(&[u8])) {
        self.put_together(text, take);
        // Its room stays: most stretches of a text are a few words.
        self.groups.clear();
        (self.plain, self.odd) = (0, 0);
    }

    fn put_together(&mut self, text: &[u8], take: &mut impl FnMut(&[u8])) {
        let (Some(first), Some(last)) = (self.groups.first(), self.groups.last()) else { return };
        if self.groups.len() < GROUPS || self.odd < 2 {
            return;
        }
        // Each is a run that is read by itself, and with those on the next lines.
        if self.groups.iter().rev().skip(1).all(|group| group.len() >= SHORTEST) {
            return;
        }
        self.joined.clear();
        for group in &self.groups {
            self.joined.extend_from_slice(text.get(group.clone()).unwrap_or_default());
        }
        if self.joined.len() < SHORTEST {
            return;
        }
        take(&self.joined);
        // In the other alphabet two of the dividing signs are digits; they divide where nothing else does.
        let whole = text.get(first.start..last.end).unwrap_or_default();
        let all = whole.iter().fold(0, |all, b| all | CLASS[usize::from(*b)]);
        if all & DIGIT_OF_URL != 0 && all & ELSE != 0 {
            self.joined.clear();
            let kept = |b: &&u8| CLASS[usize::from(**b)] & (SIGNED | DIGIT_OF_URL) != 0;
            self.joined.extend(whole.iter().filter(kept));
            take(&self.joined);
        }
    }
}

const UPPER: u8 = 1;
const LOWER: u8 = 2;
const DIGIT: u8 = 4;
const SIGN: u8 = 8;
/// Characters of base64.
const SIGNED: u8 = UPPER | LOWER | DIGIT | SIGN;
/// What divides groups: two of these signs are digits in the other alphabet.
const DIGIT_OF_URL: u8 = 16;
const ELSE: u8 = 32;
const DIVIDES: u8 = DIGIT_OF_URL | ELSE;
/// Behind the last byte.
const END: u8 = 64;
/// Every byte of every text is looked up here.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            b'0'..=b'9' => DIGIT,
            b'+' | b'/' => SIGN,
            b'-' | b'_' => DIGIT_OF_URL,
            b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b':' | b';' | b'|' | b'~' | b'*' | b'\'' | b'"'
            | b'\\' | b'`' | b'<' | b'>' | b'(' | b')' | b'=' => ELSE,
            _ => 0,
        };
        i += 1;
    }
    table
};

/// A word or a number, as it stands in texts, by the classes of its first character and of all others: in one case but for its
/// first letter, or of digits alone.
fn is_plain(first: u8, rest: u8) -> bool {
    let all = first | rest;
    rest & !LOWER == 0 && first & (UPPER | LOWER) != 0 || all == UPPER || all == DIGIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        each(text.as_bytes(), |stretch| found.push(String::from_utf8(stretch.to_vec()).unwrap()));
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

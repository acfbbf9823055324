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
    while let Some((gap, rest)) = text.get(at..).and_then(|rest| {
        let from = rest.iter().position(|b| is_signed(*b))?;
        rest.split_at_checked(from)
    }) {
        let start = at + gap.len();
        let end = start + rest.iter().position(|b| !is_signed(*b)).unwrap_or(rest.len());
        let group = start..end;
        let divides = gap.len() <= WIDEST_GAP && gap.iter().all(|b| divides(*b));
        if !divides || group.len() > LONGEST_GROUP {
            stretch.end(text, &mut take);
        }
        if group.len() <= LONGEST_GROUP {
            let is_plain = rest.get(..group.len()).is_some_and(is_plain);
            stretch.push(group, is_plain);
            if stretch.plain > PLAIN {
                stretch.end(text, &mut take);
            }
        }
        at = end;
    }
    stretch.end(text, &mut take);
}

#[derive(Default)]
struct Stretch {
    groups: Vec<Range<usize>>,
    /// Characters at the end that are words.
    plain: usize,
    odd: usize,
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

    fn put_together(&self, text: &[u8], take: &mut impl FnMut(&[u8])) {
        let (Some(first), Some(last)) = (self.groups.first(), self.groups.last()) else { return };
        if self.groups.len() < GROUPS || self.odd < 2 {
            return;
        }
        // Each is a run that is read by itself, and with those on the next lines.
        if self.groups.iter().rev().skip(1).all(|group| group.len() >= SHORTEST) {
            return;
        }
        let groups = self.groups.iter().map(|group| text.get(group.clone()).unwrap_or_default());
        let joined: Vec<u8> = groups.flatten().copied().collect();
        if joined.len() < SHORTEST {
            return;
        }
        take(&joined);
        // In the other alphabet two of the dividing signs are digits; they divide where nothing else does.
        let whole = text.get(first.start..last.end).unwrap_or_default();
        let signs = |b: &u8| matches!(b, b'-' | b'_');
        if whole.iter().any(signs) && whole.iter().any(|b| divides(*b) && !signs(b)) {
            let url: Vec<u8> = whole.iter().copied().filter(|b| is_signed(*b) || signs(b)).collect();
            take(&url);
        }
    }
}

const SIGNED: u8 = 1;
const DIVIDES: u8 = 2;
/// Every byte of every text is looked up here.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'/' => SIGNED,
            b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b':' | b';' | b'|' | b'-' | b'_' | b'~' | b'*'
            | b'\'' | b'"' | b'\\' | b'`' | b'<' | b'>' | b'(' | b')' | b'=' => DIVIDES,
            _ => 0,
        };
        i += 1;
    }
    table
};

fn is_signed(b: u8) -> bool {
    CLASS[usize::from(b)] == SIGNED
}

fn divides(b: u8) -> bool {
    CLASS[usize::from(b)] == DIVIDES
}

/// A word or a number, as it stands in texts: in one case but for its first letter, or of digits alone.
fn is_plain(group: &[u8]) -> bool {
    let rest = group.get(1..).unwrap_or_default();
    let is_word = rest.iter().all(u8::is_ascii_lowercase) || group.iter().all(u8::is_ascii_uppercase);
    is_word && group.iter().all(u8::is_ascii_alphabetic) || group.iter().all(u8::is_ascii_digit)
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

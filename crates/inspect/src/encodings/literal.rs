//! Bytes in a string of a program: each a letter of Latin-1, or an escape of it. What is packed, or a picture, is written so where a
//! format has only text.

use super::readable::APART;

/// So many letters that no text has, at least: a string of colours for a terminal has some.
const LEAST: usize = 4;
/// Of packed bytes one in four is such a letter: farther apart, in characters, they are of two strings.
const APART_BY: usize = 256;
/// What stands before the first of them belongs to it: the first sign of a stream is a letter in some formats.
const BEFORE: usize = 16;
/// Slashes before an escape, of a text that was quoted more than once.
const MOST_SLASHES: usize = 16;

/// The bytes that a text says as strings of bytes are written, each string on its own; nothing where it has none.
pub(crate) fn bytes(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut group: Option<Group> = None;
    for at in memchr::memchr2_iter(b'\\', 0xc2, text) {
        let is_escaped = match text.get(at..at + 2) {
            Some([0xc2, 0x80..=0x9f]) => false,
            Some([b'\\', b'x' | b'u' | b'0'..=b'3']) if is_odd(text.get(at..).unwrap_or_default()) => true,
            _ => continue,
        };
        let other = group.take_if(|group| at > group.last + APART_BY);
        other.into_iter().for_each(|other| other.read(text, &mut out));
        let group = group.get_or_insert(Group { first: at, last: at, count: 0, slashes: 0 });
        group.last = at;
        group.count += 1;
        if is_escaped && group.slashes == 0 {
            let before = text.get(at.saturating_sub(MOST_SLASHES)..at).unwrap_or_default();
            group.slashes = 1 + before.iter().rev().take_while(|b| **b == b'\\').count();
        }
    }
    group.into_iter().for_each(|group| group.read(text, &mut out));
    (!out.is_empty()).then_some(out)
}

/// Letters near each other that no text has.
struct Group {
    first: usize,
    last: usize,
    count: usize,
    /// How many begin an escape: none where all letters stand as they are.
    slashes: usize,
}

impl Group {
    fn read(self, text: &[u8], out: &mut Vec<u8>) {
        if self.count < LEAST {
            return;
        }
        let end = (self.last + APART_BY).min(text.len());
        let text = text.get(self.first.saturating_sub(BEFORE)..end).unwrap_or_default();
        if out.is_empty() {
            // What stands at the very beginning would be taken for the whole.
            out.extend_from_slice(APART);
        }
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = memchr::memchr3(b'\\', 0xc2, 0xc3, rest).unwrap_or(rest.len());
            out.extend_from_slice(rest.get(..plain).unwrap_or_default());
            at += plain;
            let rest = rest.get(plain..).unwrap_or_default();
            at += match rest {
                [b'\\', ..] if self.slashes > 0 => escape(rest, self.slashes, out),
                [high @ (0xc2 | 0xc3), low @ 0x80..=0xbf, ..] => {
                    out.push((high & 3) << 6 | low & 0x3f);
                    2
                }
                [other, ..] => {
                    out.push(*other);
                    1
                }
                [] => 0,
            };
        }
        out.extend_from_slice(APART);
    }
}

/// Whether an escape stands for what no text has.
fn is_odd(text: &[u8]) -> bool {
    let mut byte = Vec::new();
    let length = escape(text, 1, &mut byte);
    length >= 4 && matches!(byte.as_slice(), [0..=8 | 14..=31 | 0x7f..=0x9f])
}

/// Takes the escape that so many slashes begin; how long it is.
fn escape(text: &[u8], slashes: usize, out: &mut Vec<u8>) -> usize {
    let row = text.iter().take(2 * slashes).take_while(|b| **b == b'\\').count();
    if row < slashes {
        out.extend(std::iter::repeat_n(b'\\', row));
        return row;
    }
    if row == 2 * slashes {
        out.push(b'\\');
        return row;
    }
    let rest = text.get(row..).unwrap_or_default();
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = rest.get(from..from + digits).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
    };
    let (value, length) = match rest.first() {
        Some(b'x') => (number(1, 2, 16), 3),
        Some(b'u') => (number(1, 4, 16), 5),
        Some(b'0'..=b'7') => {
            let digits = rest.iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
            (number(0, digits, 8), digits)
        }
        Some(b'a') => (Some(7), 1),
        Some(b'b') => (Some(8), 1),
        Some(b't') => (Some(9), 1),
        Some(b'n') => (Some(10), 1),
        Some(b'v') => (Some(11), 1),
        Some(b'f') => (Some(12), 1),
        Some(b'r') => (Some(13), 1),
        Some(b) => (Some(u32::from(*b)), 1),
        None => (None, 0),
    };
    match value {
        Some(value) => match u8::try_from(value) {
            Ok(byte) => out.push(byte),
            Err(_) => out.push(b'?'),
        },
        None => out.extend(std::iter::repeat_n(b'\\', row)),
    }
    if value.is_some() { row + length } else { row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_from_strings_however_often_they_were_quoted() {
        let all: Vec<u8> = (0..=255u8).map(|n| n.wrapping_mul(167)).collect();
        let latin: String = all.iter().map(|b| char::from(*b)).collect();
        let once = serde_json::to_string(&latin).unwrap();
        let twice = serde_json::to_string(&once).unwrap();
        let octal: String = all.iter().map(|b| format!("\\{b:03o}")).collect();
        for text in [&latin, &once, &twice, &octal] {
            let read = bytes(text.as_bytes()).unwrap();
            assert!(memchr::memmem::find(&read, &all).is_some(), "{text}");
        }
    }

    #[test]
    fn texts_hold_no_bytes() {
        for text in [
            "Die Brücke für Übungen, ça va, © 2026, «oui»".repeat(20),
            "C:\\temp\\new\\x64\\utils\\0\\1".repeat(20),
            "{\"a\": \"\\u00e4\\u00f6\\u2026\\n\\t\"}".repeat(20),
        ] {
            assert_eq!(bytes(text.as_bytes()), None, "{text}");
        }
    }
}

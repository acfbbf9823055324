//! Bytes written as a list of numbers, in hex or decimal.

use super::readable::{Decoded, nibble, readable};

/// Appends what lists of bytes say: `41:4b:49`, `\x41\x4b`, `0x41, 0x4b`, `65, 75, 73`.
pub(crate) fn decode(text: &[u8], out: &mut Decoded) {
    const LONG: usize = 24;
    let listed = |i: usize| text.get(i).is_some_and(|b| LISTED[usize::from(*b)]);
    let mut at = 0;
    while at + LONG <= text.len() {
        if !listed(at + LONG - 1) {
            at += LONG;
            continue;
        }
        let mut start = at + LONG - 1;
        while start > at && listed(start - 1) {
            start -= 1;
        }
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|b| LISTED[usize::from(**b)]).count();
        if length >= LONG {
            out.work += length as u64;
            list(rest.get(..length).unwrap_or_default(), out);
        }
        at = (start + length).max(at + 1);
    }
}

fn list(text: &[u8], out: &mut Decoded) {
    let (mut hex, mut decimal) = (Vec::new(), Vec::new());
    for word in text.split(|b| !b.is_ascii_hexdigit() && *b != b'x').filter(|w| !w.is_empty()) {
        let digits = word.strip_prefix(b"0x").or(word.strip_prefix(b"x")).unwrap_or(word);
        match digits {
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                hex.push(nibble(*a) << 4 | nibble(*b))
            }
            _ => readable(&std::mem::take(&mut hex), &mut out.hex),
        }
        let number = (digits.len() <= 3).then(|| crate::validate::number(digits)).flatten();
        match number.and_then(|n| u8::try_from(n).ok()) {
            Some(n) => decimal.push(n),
            None => readable(&std::mem::take(&mut decimal), &mut out.bytes),
        }
    }
    readable(&hex, &mut out.hex);
    readable(&decimal, &mut out.bytes);
}

/// What numbers and the signs between them are made of.
const LISTED: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_hexdigit()
            || matches!(b, b':' | b' ' | b',' | b'-' | b'\\' | b'x' | b'\n' | b'\r' | b'%');
        i += 1;
    }
    table
};

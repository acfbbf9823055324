//! Bytes written as a list of numbers, in hex or decimal.

use super::readable::{Decoded, nibble, readable};

/// Appends what lists of bytes say: `41:4b:49`, `\x41\x4b`, `0x41, 0x4b`, `65, 75, 73`.
pub(crate) fn decode(text: &[u8], out: &mut Decoded) {
    const LONG: usize = 24;
    for stretch in super::long_stretches(text, LONG, |b| LISTED[usize::from(b)]) {
        out.work += stretch.len() as u64;
        list(text.get(stretch).unwrap_or_default(), out);
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

//! Bytes written as a list of numbers, in hex or decimal.

use super::bits::Bits;
use super::readable::{Decoded, LEAST_TEXT, nibble, readable};

/// Appends what lists of bytes say: `41:4b:49`, `\x41\x4b`, `0x41, 0x4b`, `65, 75, 73`.
pub(super) fn decode(text: &[u8], bits: &Bits, out: &mut Decoded) {
    const LONG: u32 = 24;
    let mut at = 0;
    while let Some(start) = bits.next_row(at, LONG, |block| block.listed) {
        at = bits.next(start, |block| !block.listed).unwrap_or(text.len());
        let stretch = text.get(start..at).unwrap_or_default();
        out.work += stretch.len() as u64;
        // A byte is at least one digit: an indentation is no list.
        if stretch.iter().filter(|b| b.is_ascii_hexdigit()).count() >= LEAST_TEXT {
            list(stretch, out);
        }
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

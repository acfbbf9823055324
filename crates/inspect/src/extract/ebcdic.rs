//! EBCDIC, as mainframes write: told by which bytes are common, read as ASCII.

use std::io::Read;

use super::pulled::Pulled;

/// Bytes read at a time.
const BLOCK: usize = 16 * 1024;
/// A shorter text is not told apart from chance.
const LEAST: usize = 64;

/// What a byte stands for in code page 037; letters, digits and most signs are the same in its relatives (500, 1047, 1140). What has
/// no place in ASCII is a blank.
const TO_ASCII: [u8; 256] = {
    let mut table = [b' '; 256];
    let mut i = 0;
    while i < 9 {
        table[0x81 + i] = b'a' + i as u8;
        table[0x91 + i] = b'j' + i as u8;
        table[0xc1 + i] = b'A' + i as u8;
        table[0xd1 + i] = b'J' + i as u8;
        if i < 8 {
            table[0xa2 + i] = b's' + i as u8;
            table[0xe2 + i] = b'S' + i as u8;
        }
        i += 1;
    }
    let mut i = 0;
    while i < 10 {
        table[0xf0 + i] = b'0' + i as u8;
        i += 1;
    }
    let signs: [(u8, u8); 31] = [
        (0x05, b'\t'),
        (0x15, b'\n'),
        (0x25, b'\n'),
        (0x0d, b'\r'),
        (0x4b, b'.'),
        (0x4c, b'<'),
        (0x4d, b'('),
        (0x4e, b'+'),
        (0x4f, b'|'),
        (0x50, b'&'),
        (0x5a, b'!'),
        (0x5b, b'$'),
        (0x5c, b'*'),
        (0x5d, b')'),
        (0x5e, b';'),
        (0x60, b'-'),
        (0x61, b'/'),
        (0x6b, b','),
        (0x6c, b'%'),
        (0x6d, b'_'),
        (0x6e, b'>'),
        (0x6f, b'?'),
        (0x7a, b':'),
        (0x7b, b'#'),
        (0x7c, b'@'),
        (0x7d, b'\''),
        (0x7e, b'='),
        (0x7f, b'"'),
        (0xbb, b'|'),
        (0xc0, b'{'),
        (0xd0, b'}'),
    ];
    let mut i = 0;
    while i < signs.len() {
        table[signs[i].0 as usize] = signs[i].1;
        i += 1;
    }
    table
};

/// Whether these bytes are text in EBCDIC, and no text in anything else; numbers packed beside it may be a quarter of it.
pub(super) fn is_ebcdic(head: &[u8]) -> bool {
    if head.len() < LEAST || crate::encodings::is_utf8(head) {
        return false;
    }
    let mut counts = [0usize; 256];
    for b in head {
        counts[usize::from(*b)] += 1;
    }
    let sum = |of: &dyn Fn(u8) -> bool| {
        (0..=255u8).filter(|b| of(*b)).map(|b| counts[usize::from(b)]).sum::<usize>()
    };
    let known = |b: u8| b == 0x40 || TO_ASCII[usize::from(b)] != b' ';
    let word = |b: u8| b == 0x40 || TO_ASCII[usize::from(b)].is_ascii_alphanumeric();
    // Letters and digits of ASCII are rare signs and controls there.
    let ascii = |b: u8| b == b' ' || b.is_ascii_digit() || b.is_ascii_alphabetic() && !known(b);
    let digits_or_blanks = sum(&|b| b == 0x40 || b >= 0xf0 && known(b));
    sum(&known) * 4 >= head.len() * 3
        && sum(&word) * 10 >= head.len() * 6
        && sum(&ascii) * 20 <= head.len()
        && digits_or_blanks * 20 >= head.len()
}

/// What all of `bytes` says, when its beginning is EBCDIC.
pub(crate) fn text(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.get(..BLOCK).unwrap_or(bytes);
    is_ebcdic(head).then(|| bytes.iter().map(|b| TO_ASCII[usize::from(*b)]).collect())
}

pub(super) fn decoded(inner: &mut dyn Read) -> impl Read {
    Pulled::new(move |ready| {
        let mut block = [0; BLOCK];
        let n = inner.read(&mut block)?;
        ready.extend(block.iter().take(n).map(|b| TO_ASCII[usize::from(*b)]));
        Ok(())
    })
}

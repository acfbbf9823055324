//! A text in any of the encodings of Unicode, with a mark or without.

use std::borrow::Cow;

/// Bytes that tell whether a text without a mark is UTF-16 or UTF-32.
const SAMPLE: usize = 4096;

/// The text; what is no text of any encoding comes as it is, with replacement characters.
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => wide(rest, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, rest @ ..] => wide(rest, u32::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => double(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => double(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => without_mark(bytes),
    }
}

/// What stands between the elements of markup, one a line.
pub(crate) fn without_tags(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 2);
    for piece in bytes.split(|b| *b == b'<') {
        let text = memchr::memchr(b'>', piece).map_or(piece, |i| piece.get(i + 1..).unwrap_or_default());
        if !text.is_empty() {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
    }
    out
}

/// Plain text in Latin letters has a zero in every second byte of UTF-16, and in three of four of UTF-32.
fn without_mark(bytes: &[u8]) -> Cow<'_, str> {
    let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
    let zeros = |at: usize, of: usize| sample.iter().skip(at).step_by(of).filter(|b| **b == 0).count();
    let mostly = |count: usize, of: usize| count > 0 && count * of * 10 >= sample.len() * 7;
    if mostly(zeros(2, 4), 4) && mostly(zeros(3, 4), 4) {
        return wide(bytes, u32::from_le_bytes);
    }
    if mostly(zeros(0, 4), 4) && mostly(zeros(1, 4), 4) {
        return wide(bytes, u32::from_be_bytes);
    }
    match (zeros(0, 2), zeros(1, 2)) {
        (even, odd) if odd > 4 * even && mostly(odd, 2) => double(bytes, u16::from_le_bytes),
        (even, odd) if even > 4 * odd && mostly(even, 2) => double(bytes, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    }
}

fn double(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Cow<'_, str> {
    let units = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    Cow::Owned(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

fn wide(bytes: &[u8], read: fn([u8; 4]) -> u32) -> Cow<'_, str> {
    let units = bytes.chunks_exact(4).map(|four| read([four[0], four[1], four[2], four[3]]));
    Cow::Owned(units.map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_text_is_the_same_in_every_encoding() {
        let plain = "a;=1+1\nGröße;2\n";
        let little: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = plain.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let wide: Vec<u8> = plain.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let widest: Vec<u8> = plain.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
        for bytes in [
            plain.as_bytes().to_vec(),
            marked(b"\xef\xbb\xbf", plain.as_bytes()),
            marked(b"\xff\xfe", &little),
            marked(b"\xfe\xff", &big),
            marked(b"\xff\xfe\0\0", &wide),
            little,
            big,
            wide,
            widest,
        ] {
            assert_eq!(text(&bytes), plain);
        }
        assert_eq!(text(b""), "");
    }
}

//! What can be read in bytes that no reader accounts for: in bytes of one and of two to a character.

use crate::encodings::readable;

/// Characters of two bytes in a row that are no chance.
const LEAST_WIDE: usize = 8;

/// The readable stretches of `bytes`, one after the other.
pub(super) fn strings(bytes: &[u8]) -> Vec<u8> {
    let mut out = readable::strings(bytes);
    readable::wide_within(bytes, LEAST_WIDE, &mut out);
    out
}

/// Those of two bytes to a character alone.
pub(super) fn wide_strings(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    readable::wide_within(bytes, LEAST_WIDE, &mut out);
    out
}

/// UTF-16, little-endian, whatever it holds.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect()
}

/// The Latin letters of Windows, as far as they matter here.
pub(super) fn latin(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| match b {
            0x96 => '\u{2013}',
            0x97 => '\u{2014}',
            0x91 | 0x92 => '\'',
            b => char::from(*b),
        })
        .collect()
}

pub(super) fn two(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

pub(super) fn four(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

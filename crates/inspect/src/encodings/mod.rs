//! Text that is written otherwise than it is read: escapes, characters that look like others, runs of base64 and hex. The same
//! readings serve what is read and what leaves.

pub(crate) mod base64;
mod bits;
pub(crate) mod deflated;
mod divided;
pub(crate) mod escape;
pub(crate) mod fold;
pub(crate) mod legacy;
mod lists;
pub(crate) mod literal;
mod may;
mod numbers;
pub(crate) mod radix;
pub(crate) mod readable;
pub(crate) mod reading;
pub(crate) mod runs;

use std::ops::Range;

/// Whether bytes begin as something packed does.
pub(crate) fn may_be_packed(head: &[u8]) -> bool {
    match head.first() {
        Some(0x1f) => head.starts_with(b"\x1f\x8b\x08"),
        Some(b'P') => head.starts_with(b"PK\x03\x04"),
        Some(0xfd) => head.starts_with(XZ),
        Some(0x28) => head.starts_with(ZSTD),
        Some(b'B') => head.starts_with(b"BZh") && head.get(4..10) == Some(BZIP2_BLOCK),
        Some(0x78) => is_zlib(head),
        Some(0x5d) => begins_lzma(head),
        _ => false,
    }
}

/// How xz, zstd and the first block of bzip2 begin.
pub(crate) const XZ: &[u8] = b"\xfd7zXZ\0";
pub(crate) const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
pub(crate) const BZIP2_BLOCK: &[u8] = b"1AY&SY";

/// The usual properties of LZMA alone, and a window that makes sense.
fn begins_lzma(head: &[u8]) -> bool {
    matches!(head, [0x5d, a, b, c, d, ..]
        if u32::from_le_bytes([*a, *b, *c, *d]).is_power_of_two() && [*a, *b] == [0; 2])
}

/// The two bytes that begin a zlib stream without a dictionary (RFC 1950 2.2).
pub(crate) fn is_zlib(head: &[u8]) -> bool {
    matches!(head, [0x78, b, ..] if (0x7800 + u32::from(*b)).is_multiple_of(31) && b & 0x20 == 0)
}

/// Whether bytes are UTF-8, the last character of which may be cut.
pub(crate) fn is_utf8(head: &[u8]) -> bool {
    std::str::from_utf8(head).err().is_none_or(|e| e.valid_up_to() + 4 > head.len())
}

/// Text has no zeros and is mostly UTF-8.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    let head = bytes.get(..4096).unwrap_or(bytes);
    if memchr::memchr(0, head).is_some() {
        return true;
    }
    if is_utf8(head) {
        return false;
    }
    let broken: usize = head.utf8_chunks().map(|c| c.invalid().len()).sum();
    broken * 8 > head.len()
}

pub(crate) fn rot13(b: u8) -> u8 {
    match b {
        b'a'..=b'z' => (b - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (b - b'A' + 13) % 26 + b'A',
        b => b,
    }
}

/// Text in UTF-16 without a mark, as UTF-8: every second byte is zero.
pub(crate) fn is_utf16(head: &[u8]) -> bool {
    let head = head.get(..64).unwrap_or(head);
    let (pairs, _) = head.as_chunks::<2>();
    let readable = |b: u8| b == b'\n' || b == b'\r' || b == b'\t' || (b' '..0x7f).contains(&b);
    let little = pairs.iter().filter(|[a, b]| readable(*a) && *b == 0).count();
    let big = pairs.iter().filter(|[a, b]| *a == 0 && readable(*b)).count();
    pairs.len() >= 8 && little.max(big) * 10 >= pairs.len() * 8
}

/// Text in UTF-32, as it is and with a mark: every fourth byte says something.
pub(crate) fn is_utf32(head: &[u8]) -> bool {
    let head = head.get(..128).unwrap_or(head);
    let (fours, _) = head.as_chunks::<4>();
    let readable = |b: u8| b == b'\n' || b == b'\r' || b == b'\t' || (b' '..0x7f).contains(&b);
    let little = fours.iter().filter(|[a, b, c, d]| readable(*a) && [*b, *c, *d] == [0; 3]).count();
    let big = fours.iter().filter(|[a, b, c, d]| [*a, *b, *c] == [0; 3] && readable(*d)).count();
    fours.len() >= 8 && little.max(big) * 10 >= fours.len() * 8
}

/// The characters of UTF-16 or UTF-32 that are ASCII, which is what detectors look for.
pub(crate) fn from_wide(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|b| *b != 0).collect()
}

/// The stretches of at least `least` bytes that are all of a kind, one after the other; most other text is skipped.
pub(crate) fn long_stretches(
    text: &[u8],
    least: usize,
    is_of_it: impl Fn(u8) -> bool,
) -> impl Iterator<Item = Range<usize>> {
    let least = least.max(1);
    let mut at = 0;
    let is_in = move |i: usize| text.get(i).is_some_and(|b| is_of_it(*b));
    std::iter::from_fn(move || {
        while at + least <= text.len() {
            // A stretch that is long enough covers the last byte of any such length in it.
            let probe = at + least - 1;
            if !is_in(probe) {
                at += least;
                continue;
            }
            let (mut start, mut end) = (probe, probe + 1);
            while start > at && is_in(start - 1) {
                start -= 1;
            }
            while is_in(end) {
                end += 1;
            }
            at = end;
            if end - start >= least {
                return Some(start..end);
            }
        }
        None
    })
}

/// Numbers drawn at random, the same in each run.
#[cfg(test)]
fn noise(seed: &mut u64) -> u8 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 56) as u8
}

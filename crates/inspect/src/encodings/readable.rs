//! The readable stretches of bytes, each on its own.

/// Readable bytes that noise does not have in a row: one in three is readable, so ten are one chance in 60,000 a place,
/// and a detector must agree.
pub(super) const LEAST_TEXT: usize = 10;
/// A shorter stretch of readable bytes in binary data is chance.
const LEAST_STRING: usize = 8;
/// Separates what was found in one view from the next: the end of a cell, where a label ends.
pub(crate) const APART: &[u8] = b"\x1f\n";

/// What the runs of one text hold.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) base64: Vec<u8>,
    pub(crate) base32: Vec<u8>,
    pub(crate) hex: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    /// Base64 of what is no text but may be packed.
    pub(crate) packed: Vec<Vec<u8>>,
    /// What long runs say that is neither: pictures, recordings, numbers.
    pub(crate) binary: Vec<Vec<u8>>,
    pub(crate) mirrored: Vec<u8>,
    pub(crate) work: u64,
    /// What unpacks runs, once one has been.
    pub(super) unpacks: Option<flate2::Decompress>,
}

/// Appends the readable stretches of `bytes`, each on its own; all of it when it is text in any script.
pub(crate) fn readable(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() < LEAST_TEXT {
        return;
    }
    if !bytes.is_ascii() && std::str::from_utf8(bytes).is_ok() {
        out.extend_from_slice(bytes);
        out.extend_from_slice(APART);
        return;
    }
    for stretch in bytes.split(|b| !READ[usize::from(*b)]).filter(|s| s.len() >= LEAST_TEXT) {
        out.extend_from_slice(stretch);
        out.extend_from_slice(APART);
    }
}

/// The readable stretches of binary data, one after the other.
pub(crate) fn strings(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for stretch in super::long_stretches(bytes, LEAST_STRING, reads) {
        out.extend_from_slice(bytes.get(stretch).unwrap_or_default());
        out.extend_from_slice(APART);
    }
    out
}

/// What stands in UTF-16 somewhere in other bytes, in either order, in stretches of at least so many letters: every second byte of
/// one is zero.
pub(crate) fn wide_within(bytes: &[u8], least: usize, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(zero) = bytes.get(at..).and_then(|rest| memchr::memchr(0, rest)).map(|n| n + at) {
        // The letter before the first zero is of the same text, when the lower byte comes first.
        let from = zero - usize::from(zero > at && bytes.get(zero - 1).is_some_and(|b| reads(*b)));
        let is_pair = |pair: &&[u8; 2]| pair[0] == 0 && reads(pair[1]);
        let pairs =
            bytes.get(zero..).unwrap_or_default().as_chunks::<2>().0.iter().take_while(is_pair).count();
        if pairs + (zero - from) >= least {
            out.extend(super::from_wide(bytes.get(from..zero + 2 * pairs).unwrap_or_default()));
            out.extend_from_slice(APART);
        }
        at = zero + (2 * pairs).max(1);
    }
}

/// Whether a byte is readable ASCII.
pub(crate) fn reads(b: u8) -> bool {
    READ[usize::from(b)]
}

pub(crate) fn nibble(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        b => (b | 0x20).wrapping_sub(b'a').wrapping_add(10) & 15,
    }
}

pub(super) const READ: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b >= b' ' && b < 0x7f || matches!(b, b'\t' | b'\r' | b'\n');
        i += 1;
    }
    table
};

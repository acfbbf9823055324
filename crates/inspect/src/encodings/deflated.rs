//! What is packed with a mark that is short, or none: zlib behind something else, and base64 of a text that was packed without a mark of
//! it (RFC 1951), as SAML has it in addresses.

use flate2::{Decompress, FlushDecompress, Status};

use super::base64::{SHORTEST, from_base64, twelve};
use super::readable::LEAST_TEXT;

/// Text that is unpacked of one run, in bytes.
const MOST_DEFLATED: usize = 1 << 20;
/// Text is unpacked in steps of so many bytes.
const STEP: usize = 4096;

/// What a run says that was packed without a mark of it (RFC 1951), as SAML has it in addresses: it ends where the run ends. What
/// unpacks is kept from run to run, for it is large.
pub(super) fn text_of(run: &[u8], unpacks: &mut Option<Decompress>) -> Option<Vec<u8>> {
    let first = run.first_chunk().filter(|_| run.len() >= SHORTEST + 8)?;
    if !begins_deflated(&twelve(first)) {
        return None;
    }
    let packed = from_base64(run);
    if packed.is_ascii() {
        return None;
    }
    let stream = unpacks.get_or_insert_with(|| Decompress::new(false));
    stream.reset(false);
    let mut text = Vec::new();
    loop {
        text.reserve(STEP);
        let read = stream.total_in();
        let rest = packed.get(usize::try_from(read).ok()?..)?;
        let written = text.len();
        match stream.decompress_vec(rest, &mut text, FlushDecompress::None).ok()? {
            Status::StreamEnd => break,
            _ if stream.total_in() == read && text.len() == written || text.len() >= MOST_DEFLATED => {
                return None;
            }
            _ => {}
        }
    }
    let is_whole = packed.len() as u64 - stream.total_in() < 4;
    (is_whole && text.len() >= LEAST_TEXT && std::str::from_utf8(&text).is_ok()).then_some(text)
}

/// Where streams of zlib may begin: at its mark, behind which stands what begins a stream.
pub(crate) fn zlib_starts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(0x78, bytes).filter(|at| {
        let rest = bytes.get(*at..).unwrap_or_default();
        super::is_zlib(rest) && begins_deflated(rest.get(2..).unwrap_or_default())
    })
}

/// Whether a stream may begin so: with a block of one of three kinds, whose own beginning is right. Of what is drawn at random
/// hardly one of thirty is, and to unpack the rest costs more than all other readings.
fn begins_deflated(head: &[u8]) -> bool {
    let bits = head.iter().take(8).rev().fold(0u64, |all, b| all << 8 | u64::from(*b));
    match bits >> 1 & 3 {
        // As it is: its length stands there twice, once turned over.
        0 => matches!(head, [_, a, b, c, d, ..] if *a == !*c && *b == !*d),
        1 => begins_in_fixed_code(bits >> 3),
        // A code of its own: 286 and 30 symbols at most, and the code of its lengths leaves nothing over.
        2 => {
            let lengths = (bits >> 13 & 15) as usize + 4;
            let all = head.iter().take(12).rev().fold(0u128, |all, b| all << 8 | u128::from(*b));
            let used = (0..lengths).map(|n| (all >> (17 + 3 * n) & 7) as u32).filter(|length| *length > 0);
            bits >> 3 & 31 <= 29
                && bits >> 8 & 31 <= 29
                && used.map(|length| 128 >> length).sum::<u32>() == 128
        }
        _ => false,
    }
}

/// Whether the first symbols of the fixed code begin a text: nothing is repeated before there is something, and each byte is one
/// of UTF-8.
fn begins_in_fixed_code(mut bits: u64) -> bool {
    let mut left = 61;
    while left >= 9 {
        let first = |n: u32| (bits & ((1 << n) - 1)).reverse_bits() >> (64 - n);
        let (byte, length) = match first(8) {
            code @ 0x30..=0xbf => (code - 0x30, 8),
            0xc8.. => (first(9) - 0x190 + 144, 9),
            // A repetition or the end, which the rest must show.
            _ => return left < 61,
        };
        if byte >= 0x80 {
            return (0xc2..=0xf4).contains(&byte);
        }
        bits >>= length;
        left -= length;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::noise;

    #[test]
    fn every_deflated_text_begins_as_one() {
        use std::io::Write;
        let mut seed = 11;
        for n in 0..3_000usize {
            let text: String = (0..12 + n % 300)
                .map(|_| char::from_u32(u32::from(noise(&mut seed)) * (1 + n as u32 % 3) + 9).unwrap_or('x'))
                .collect();
            for level in [0, 1, 6, 9] {
                let mut encoder =
                    flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
                encoder.write_all(text.as_bytes()).unwrap();
                let packed = encoder.finish().unwrap();
                let head = packed.get(..12).unwrap_or(&packed);
                assert!(begins_deflated(head), "{level} {text:?}");
            }
        }
        let passed = (0..20_000).filter(|_| {
            let head: Vec<u8> = (0..12).map(|_| noise(&mut seed)).collect();
            begins_deflated(&head)
        });
        assert!(passed.count() < 4_000);
    }
}

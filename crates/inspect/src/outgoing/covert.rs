//! Names and addresses that carry data: nobody reads them, and every resolver and proxy on the way does.

use crate::encodings::runs;

/// Labels are at most 63 bytes; a shorter one than this holds too little to be worth sending.
const LEAST_LABEL: usize = 14;
/// So many labels of one length in a row are no name.
const LABELS_ALIKE: usize = 4;
const LEAST_ALIKE: usize = 6;
/// A path segment drawn at random, in characters: longer ones are signed addresses, shorter ones ids of videos.
const SEGMENT: std::ops::RangeInclusive<usize> = 28..=128;
/// Bits a character of the text of the segment; a word has 3, hex at most 4.
const RANDOM_BITS: f32 = 4.3;

/// What is wrong with a host name, as the name of a detector.
pub(super) fn host(name: &[u8]) -> Option<&'static str> {
    let mut labels: Vec<&[u8]> = name.split(|b| *b == b'.').filter(|l| !l.is_empty()).collect();
    // The registered name and its suffix are not chosen for one request.
    labels.truncate(labels.len().saturating_sub(2));
    if labels.iter().any(|l| is_encoded(l)) {
        return Some("encoded_name");
    }
    let alike =
        labels.chunk_by(|a, b| a.len() == b.len() && a.len() >= LEAST_ALIKE).any(|c| c.len() >= LABELS_ALIKE);
    alike.then_some("split_name")
}

/// What is wrong with the path of an address.
pub(super) fn path(path: &[u8]) -> Option<&'static str> {
    path.split(|b| *b == b'/').any(is_random).then_some("random_path")
}

/// Labels together, without the points between them, for values that were cut to fit.
pub(super) fn joined(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|b| *b != b'.').collect()
}

/// Whether a label is text in hex, base32 or base64, or noise.
fn is_encoded(label: &[u8]) -> bool {
    if label.len() < LEAST_LABEL || label.starts_with(b"xn--") {
        return false;
    }
    let hex = label.iter().all(u8::is_ascii_hexdigit);
    let digits = label.iter().filter(|b| b.is_ascii_digit()).count();
    let upper = label.iter().filter(|b| b.is_ascii_uppercase()).count();
    let letters = label.iter().filter(|b| b.is_ascii_alphabetic()).count();
    // Digests name caches and deployments: 32 or 40 hex digits that say nothing are let through.
    let says = {
        let said = runs::decode(label, label.len() as u64 * 16);
        !said.hex.is_empty() || !said.base64.is_empty() || !said.base32.is_empty()
    };
    let noise = crate::scan::value::entropy(label);
    let mixed = !hex && digits >= 1 && upper >= 2 && upper < letters && noise > 3.5 && !label.contains(&b'-');
    let base32 = !hex
        && label.iter().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(b))
        && digits >= 1
        && noise > 2.5;
    let long = !hex && label.len() >= 40 && digits >= 4 && noise > 4.0 && !label.contains(&b'-');
    says || mixed || base32 || long
}

/// Letters of both cases and digits without an order: no digest, UUID, name or number.
fn is_random(segment: &[u8]) -> bool {
    let count = |f: fn(&u8) -> bool| segment.iter().filter(|b| f(b)).count();
    let (digits, upper, lower) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let flips = segment
        .windows(2)
        .filter(|w| matches!(w, [a, b] if a.is_ascii_digit() != b.is_ascii_digit() || a.is_ascii_uppercase() != b.is_ascii_uppercase()))
        .count();
    SEGMENT.contains(&segment.len())
        && digits + upper + lower == segment.len()
        && digits >= 4
        && upper >= 4
        && lower >= 4
        && flips * 3 >= segment.len()
        && crate::scan::value::entropy(segment) >= RANDOM_BITS
}

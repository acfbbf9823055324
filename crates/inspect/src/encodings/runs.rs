//! Runs of base64, base32, hex and byte lists in other text, decoded at every alignment: what stands before a run and could belong
//! to it (`data/`, `key=`) hides nothing.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::base64::{SHORTEST, SIX, base64, from_base64, head_of, twelve};
use super::bits::Bits;
use super::deflated;
use super::may::{MARKS, is_base32, look, parts};
use super::readable::{Decoded, nibble, readable};

/// Runs up to this length are also read backwards and out of rot13, in characters: a token, not a picture.
const LONGEST_MIRRORED: usize = 4096;

/// Characters from which a run may be a picture, or the like, and those that show whether it is: more than 4 KiB in each coding.
const LONG: usize = 1024;
const HEAD: usize = 16 << 10;

/// A length or a kind may stand before a stream, in bytes.
const MOST_BEFORE: usize = 16;

/// Decodes every run of `text`, but no more than `most` bytes of work.
pub(crate) fn decode(text: &[u8], most: u64) -> Decoded {
    decode_as(text, most, true)
}

/// The same without what they say backwards or turned.
pub(crate) fn decode_as_written(text: &[u8], most: u64) -> Decoded {
    decode_as(text, most, false)
}

fn decode_as(text: &[u8], most: u64, mirrored: bool) -> Decoded {
    let mut out = Decoded::default();
    if text.len() < SHORTEST {
        return out;
    }
    let bits = Bits::of(text);
    let mut squeezed = Vec::new();
    each_run(text, &bits, |run, broken| {
        if out.work > most {
            return;
        }
        let run = if broken {
            squeeze(run, &mut squeezed);
            squeezed.as_slice()
        } else {
            run
        };
        out.work += run.len() as u64;
        decode_run(run, mirrored, &mut out);
    });
    super::divided::each(text, &bits, |run| {
        if out.work <= most {
            out.work += run.len() as u64;
            decode_run(run, mirrored, &mut out);
        }
    });
    if out.work <= most {
        super::lists::decode(text, &bits, &mut out);
    }
    out
}

fn decode_run(run: &[u8], mirrored: bool, out: &mut Decoded) {
    let (may, shape) = look(run, mirrored);
    if may.as_written {
        base64(run, &mut out.base64);
    }
    if !shape.is_one_number
        && let Some(whole) = whole_base64(run, may.has_mark, shape.has_slash)
    {
        out.packed.push(whole);
    } else if let Some(text) = deflated::text_of(run, &mut out.unpacks) {
        out.work += text.len() as u64;
        readable(&text, &mut out.base64);
    }
    if mirrored && run.len() >= LONG {
        binary(run, shape.has_hex && shape.is_one_number, out);
    }
    if shape.has_base32 || shape.has_hex {
        for part in parts(run) {
            if shape.has_base32 && is_base32(part) {
                base32(part, &mut out.base32);
                out.packed.extend(packed_base32(part));
            }
            if shape.has_hex {
                plain_hex(part, &mut out.hex);
            }
        }
    }
    if mirrored && shape.is_mixed && run.len() >= 24 && run.len() <= LONGEST_MIRRORED {
        if may.backwards {
            let backwards: Vec<u8> = run.iter().rev().copied().collect();
            base64(&backwards, &mut out.mirrored);
        }
        if may.turned {
            let turned: Vec<u8> = run.iter().map(|b| super::rot13(*b)).collect();
            base64(&turned, &mut out.mirrored);
        }
    }
}

/// What a long run says where it is no text: as base64, or in hex or base32 where it is written in one of these alone.
fn binary(run: &[u8], is_hex: bool, out: &mut Decoded) {
    let is_base32 = !is_hex && is_base32(run);
    let decoded = |run: &[u8]| -> Vec<u8> {
        if is_hex {
            return run.as_chunks::<2>().0.iter().map(|[a, b]| nibble(*a) << 4 | nibble(*b)).collect();
        }
        if !is_base32 {
            return from_base64(run);
        }
        let mut decoded = Vec::with_capacity(run.len() / 8 * 5 + 5);
        from_fives(run.iter().map(five), &mut decoded);
        decoded
    };
    // Most are text, as their first bytes show.
    let head = decoded(run.get(..HEAD).unwrap_or(run));
    if super::is_binary(&head) && !super::may_be_packed(&head) {
        let all = decoded(run);
        out.work += all.len() as u64;
        out.binary.push(all);
    }
}

/// Calls `take` with each run of base64 characters, and whether line breaks divide it.
fn each_run(text: &[u8], bits: &Bits, mut take: impl FnMut(&[u8], bool)) {
    let in_alphabet = |i: usize| text.get(i).is_some_and(|b| SIX[usize::from(*b)] < 64);
    let mut at = 0;
    while let Some(start) = bits.next_row(at, SHORTEST as u32, |block| block.either) {
        let (mut end, mut line, mut broken) = (start, start, false);
        loop {
            end = bits.next(end, |block| !block.either).unwrap_or(text.len());
            let gap = line_break(text.get(end..).unwrap_or_default());
            // Only lines that are full are lines of one run.
            if gap == 0 || end - line < SHORTEST || !in_alphabet(end + gap) {
                break;
            }
            broken = true;
            end += gap;
            line = end;
        }
        take(text.get(start..end).unwrap_or_default(), broken);
        at = end;
    }
}

/// The length of a line break, written as it is or escaped, or of an escape of the next character.
fn line_break(rest: &[u8]) -> usize {
    if !matches!(rest.first(), Some(b'\r' | b'\n' | b'\\' | b'=')) {
        return 0;
    }
    let breaks: [&[u8]; 8] = [b"\r\n", b"\n", b"\\r\\n", b"\\n", b"\\/", b"=\r\n", b"=\n", b"\\\n"];
    breaks.iter().find(|b| rest.starts_with(b)).map_or(0, |b| if *b == b"\\/" { 1 } else { b.len() })
}

/// Whether all of this is base64, in one line.
pub(crate) fn is_run(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| SIX[usize::from(*b)] < 64)
}

fn squeeze(run: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut at = 0;
    while let Some(b) = run.get(at) {
        if SIX[usize::from(*b)] < 64 {
            into.push(*b);
            at += 1;
        } else {
            at += line_break(run.get(at..).unwrap_or_default()).max(1);
        }
    }
}

/// A run decoded from a place where something packed, or text in another script, begins.
fn whole_base64(run: &[u8], has_mark: bool, has_slash: bool) -> Option<Vec<u8>> {
    static LONG: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| MARKS.map(Finder::new));
    // gzip and zip wherever they begin, for their starts are long; everything else at the start of the run or of a path segment.
    let long = if has_mark { LONG.iter().find_map(|m| m.find(run)) } else { None };
    let path = run.get(..256).unwrap_or(run);
    let slash = if has_slash { memchr::memchr(b'/', path).map(|i| i + 1) } else { None };
    let begins = |from: &usize| run.get(*from..).is_some_and(begins_whole);
    // UTF-7 writes its base64 behind a plus.
    let plus = (run.first() == Some(&b'+')).then_some(1);
    let from = long
        .filter(begins)
        .or_else(|| Some(0).filter(begins))
        .or_else(|| plus.filter(begins))
        .or_else(|| slash.filter(begins))?;
    Some(from_base64(run.get(from..)?))
}

/// Whether what a run says begins as something packed does, or as text in another script.
fn begins_whole(run: &[u8]) -> bool {
    let Some(first) = run.first_chunk() else { return false };
    let head = twelve(first);
    // Most are neither packed nor text, as their first bytes show.
    let is_text = !matches!(head, [0x80..=0xc1 | 0xf5.., ..]) && super::is_utf8(&head);
    if !is_text && !super::may_be_packed(&head) && !head.iter().any(|b| matches!(b, 0 | 0x78)) {
        return false;
    }
    let mut room = [0; 66];
    let head = head_of(run.get(..88).unwrap_or(run), &mut room);
    super::may_be_packed(head)
        || deflated::zlib_starts(head).any(|at| at <= MOST_BEFORE)
        || super::is_utf16(head)
        || super::is_utf32(head)
        || !head.is_ascii() && super::is_utf8(head)
}

/// Appends every readable stretch, at each of the eight alignments.
fn base32(part: &[u8], out: &mut Vec<u8>) {
    let mut decoded = Vec::with_capacity(part.len() / 8 * 5 + 5);
    for skip in 0..8.min(part.len()) {
        decoded.clear();
        from_fives(part.iter().skip(skip).map(five), &mut decoded);
        readable(&decoded, out);
    }
}

/// What a part says that is packed, from its beginning.
fn packed_base32(part: &[u8]) -> Option<Vec<u8>> {
    let decoded = |part: &[u8]| {
        let mut decoded = Vec::with_capacity(part.len() / 8 * 5 + 5);
        from_fives(part.iter().map(five), &mut decoded);
        decoded
    };
    let head = decoded(part.get(..64).unwrap_or(part));
    let is_packed = super::may_be_packed(&head) || deflated::zlib_starts(&head).any(|at| at <= MOST_BEFORE);
    is_packed.then(|| decoded(part))
}

/// The five bits of a digit of base32, in either case.
fn five(digit: &u8) -> u8 {
    match digit {
        b'2'..=b'7' => digit - b'2' + 26,
        letter => letter.to_ascii_uppercase().wrapping_sub(b'A') & 31,
    }
}

/// Appends the whole bytes that digits of five bits make.
pub(super) fn from_fives(digits: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u32, 0u32);
    for five in digits {
        bits = bits << 5 | u32::from(five);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
}

/// Appends what the stretches of hex digits of an unbroken word say.
fn plain_hex(part: &[u8], out: &mut Vec<u8>) {
    for digits in part.split(|b| !b.is_ascii_hexdigit()).filter(|d| d.len() >= SHORTEST) {
        for skip in 0..2 {
            let decoded: Vec<u8> = digits
                .get(skip..)
                .unwrap_or_default()
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[a, b]| nibble(*a) << 4 | nibble(*b))
                .collect();
            readable(&decoded, out);
            if super::is_utf16(&decoded) || super::is_utf32(&decoded) {
                readable(&super::from_wide(&decoded), out);
            }
            let head = decoded.get(..64).unwrap_or(&decoded);
            if super::may_be_packed(head) || deflated::zlib_starts(head).any(|at| at <= MOST_BEFORE) {
                out.extend_from_slice(&decoded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::noise;

    #[test]
    fn identifiers_in_hex_hold_nothing_packed() {
        let (mut seed, mut log) = (5, String::new());
        for n in 0..20_000 {
            let id: String = (0..8 + n % 13).map(|_| format!("{:02x}", noise(&mut seed))).collect();
            log.push_str(&format!("{{ {id} }}\n"));
        }
        assert_eq!(decode(log.as_bytes(), u64::MAX).packed.len(), 0);
        // A text in another script is one all the same.
        let text = "e0f00aaa: 0JLRgdC1INGB0YfQsNGB0YLQu9C40LLRi9C1INGB0LXQvNGM0Lg";
        assert_eq!(decode(text.as_bytes(), u64::MAX).packed.len(), 1);
    }
}

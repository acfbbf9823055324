//! Runs of base64, base32, hex and byte lists in other text, decoded at every alignment: what stands before a run and could belong
//! to it (`data/`, `key=`) hides nothing.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::base64::{SHORTEST, SIX, base64, from_base64, head_of};
use super::deflated;
use super::may::May;
use super::readable::{Decoded, nibble, readable};

/// Runs up to this length are also read backwards and out of rot13, in characters: a token, not a picture.
const LONGEST_MIRRORED: usize = 4096;

/// Decodes every run of `text`, but no more than `most` bytes of work.
pub(crate) fn decode(text: &[u8], most: u64) -> Decoded {
    let mut out = Decoded::default();
    let mut squeezed = Vec::new();
    each_run(text, |run, broken| {
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
        decode_run(run, &mut out);
    });
    super::divided::each(text, |run| {
        if out.work <= most {
            out.work += run.len() as u64;
            decode_run(run, &mut out);
        }
    });
    if out.work <= most {
        super::lists::decode(text, &mut out);
    }
    out
}

fn decode_run(run: &[u8], out: &mut Decoded) {
    let (may, shape) = (May::of(run), Shape::of(run));
    if may.as_written {
        base64(run, &mut out.base64);
    }
    if !shape.is_one_number
        && let Some(whole) = whole_base64(run)
    {
        out.packed.push(whole);
    } else if let Some(text) = deflated::text_of(run, &mut out.unpacks) {
        out.work += text.len() as u64;
        readable(&text, &mut out.base64);
    }
    if shape.has_base32 || shape.has_hex {
        for part in run.split(|b| SIGN & CLASS[usize::from(*b)] != 0).filter(|part| part.len() >= SHORTEST) {
            if shape.has_base32 && is_base32(part) {
                base32(part, &mut out.base32);
            }
            if shape.has_hex {
                plain_hex(part, &mut out.hex);
            }
        }
    }
    if shape.is_mixed && run.len() >= 24 && run.len() <= LONGEST_MIRRORED {
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

/// What a run can be by its characters, at one look at each: most are words of a text, and nothing of this.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    /// Letters of both cases.
    is_mixed: bool,
    /// A part between signs may be base32, or has hex digits enough.
    has_base32: bool,
    has_hex: bool,
    /// A number in hex, as identifiers are: as base64 it would say something in another script by chance alone.
    is_one_number: bool,
}

impl Shape {
    fn of(run: &[u8]) -> Shape {
        let (mut all, mut part) = (0u8, 0u8);
        let (mut part_length, mut digits, mut longest) = (0usize, 0usize, 0usize);
        let mut has_base32 = false;
        let may_be_base32 = |part: u8, length: usize| {
            length >= SHORTEST && part & NOT_BASE32 == 0 && part & (UPPER | LOWER) != UPPER | LOWER
        };
        for b in run {
            let class = CLASS[usize::from(*b)];
            all |= class;
            if class & SIGN != 0 {
                has_base32 |= may_be_base32(part, part_length);
                (part, part_length) = (0, 0);
            } else {
                part |= class;
                part_length += 1;
            }
            digits = if class & HEX != 0 { digits + 1 } else { 0 };
            longest = longest.max(digits);
        }
        let is_mixed = all & (UPPER | LOWER) == UPPER | LOWER;
        Shape {
            is_mixed,
            has_base32: has_base32 || may_be_base32(part, part_length),
            has_hex: longest >= SHORTEST,
            is_one_number: longest == run.len() && !is_mixed,
        }
    }
}

const UPPER: u8 = 1;
const LOWER: u8 = 2;
const HEX: u8 = 4;
/// Digits that base32 has none of.
const NOT_BASE32: u8 = 8;
/// What divides names, paths and both alphabets of base64 from each other.
const SIGN: u8 = 16;
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_uppercase() {
            table[i] |= UPPER;
        }
        if b.is_ascii_lowercase() {
            table[i] |= LOWER;
        }
        if b.is_ascii_hexdigit() {
            table[i] |= HEX;
        }
        if !b.is_ascii_alphabetic() && !matches!(b, b'2'..=b'7') {
            table[i] |= NOT_BASE32;
        }
        if matches!(b, b'/' | b'+' | b'-' | b'_') {
            table[i] |= SIGN;
        }
        i += 1;
    }
    table
};

/// Calls `take` with each run of base64 characters, and whether line breaks divide it.
fn each_run(text: &[u8], mut take: impl FnMut(&[u8], bool)) {
    let in_alphabet = |i: usize| text.get(i).is_some_and(|b| SIX[usize::from(*b)] < 64);
    let mut at = 0;
    while let Some(probe) = text.get(at + SHORTEST - 1) {
        // A run that covers this place covers the last byte of any stretch of 16 in it.
        if SIX[usize::from(*probe)] >= 64 {
            at += SHORTEST;
            continue;
        }
        let mut start = at + SHORTEST - 1;
        while start > at && in_alphabet(start - 1) {
            start -= 1;
        }
        let mut end = at + SHORTEST;
        let (mut broken, mut line) = (false, start);
        loop {
            let rest = text.get(end..).unwrap_or_default();
            end += rest.iter().take_while(|b| SIX[usize::from(**b)] < 64).count();
            let gap = line_break(text.get(end..).unwrap_or_default());
            // Only lines that are full are lines of one run.
            if gap == 0 || end - line < SHORTEST || !in_alphabet(end + gap) {
                break;
            }
            broken = true;
            end += gap;
            line = end;
        }
        if end - start >= SHORTEST {
            take(text.get(start..end).unwrap_or_default(), broken);
        }
        at = end.max(at + 1);
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
fn whole_base64(run: &[u8]) -> Option<Vec<u8>> {
    static LONG: LazyLock<[Finder<'static>; 2]> =
        LazyLock::new(|| [Finder::new("H4sI"), Finder::new("UEsDB")]);
    // gzip and zip wherever they begin, for their starts are long; everything else at the start of the run or of a path segment.
    let long = LONG.iter().find_map(|m| m.find(run));
    let slash = run.iter().take(256).position(|b| *b == b'/').map(|i| i + 1);
    let starts = [long, Some(0), slash];
    let from = starts.into_iter().flatten().find(|from| {
        let mut room = [0; 12];
        let head = head_of(run.get(*from..*from + 16).unwrap_or_default(), &mut room);
        // Most are neither packed nor text, as their first bytes show.
        let begins = std::str::from_utf8(head).err().is_none_or(|e| e.valid_up_to() + 4 > head.len());
        if head.is_empty() || !begins && !super::may_be_packed(head) && !head.contains(&0) {
            return false;
        }
        let mut room = [0; 66];
        let head = head_of(run.get(*from..from + 88).or(run.get(*from..)).unwrap_or_default(), &mut room);
        let text = || std::str::from_utf8(head).err().is_none_or(|e| e.valid_up_to() + 4 > head.len());
        head.len() >= 12
            && (super::may_be_packed(head) || super::is_utf16(head) || !head.is_ascii() && text())
    })?;
    Some(from_base64(run.get(from..)?))
}

/// Letters of one case and the digits 2 to 7.
fn is_base32(part: &[u8]) -> bool {
    let one_case = !part.iter().any(u8::is_ascii_uppercase) || !part.iter().any(u8::is_ascii_lowercase);
    one_case && part.iter().all(|b| b.is_ascii_alphabetic() || (b'2'..=b'7').contains(b))
}

/// Appends every readable stretch, at each of the eight alignments.
fn base32(part: &[u8], out: &mut Vec<u8>) {
    let five = |b: &u8| match b {
        b'2'..=b'7' => b - b'2' + 26,
        b => b.to_ascii_uppercase().wrapping_sub(b'A') & 31,
    };
    for skip in 0..8.min(part.len()) {
        let (mut bits, mut held, mut decoded) = (0u32, 0u32, Vec::with_capacity(part.len() / 8 * 5));
        for b in part.iter().skip(skip) {
            bits = bits << 5 | u32::from(five(b));
            held += 5;
            if held >= 8 {
                held -= 8;
                decoded.push((bits >> held) as u8);
            }
        }
        readable(&decoded, out);
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
            if super::may_be_packed(&decoded) {
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
    fn one_look_tells_what_a_run_can_be() {
        let mut seed = 3;
        let alphabets: [&[u8]; 6] = [
            b"0123456789abcdef",
            b"ABCDEF01",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            b"abcxyz/",
            b"aB3+-_",
            b"abcdefgh019",
        ];
        for n in 0..20_000 {
            let mut run = Vec::new();
            for _ in 0..1 + n % 3 {
                let alphabet = alphabets[usize::from(noise(&mut seed)) % alphabets.len()];
                let length = 8 + usize::from(noise(&mut seed)) % 40;
                run.extend((0..length).map(|_| alphabet[usize::from(noise(&mut seed)) % alphabet.len()]));
            }
            let shape = Shape::of(&run);
            let parts = || {
                run.split(|b| matches!(b, b'/' | b'+' | b'-' | b'_')).filter(|part| part.len() >= SHORTEST)
            };
            let case = |is: fn(&u8) -> bool| run.iter().any(is);
            let is_mixed = case(u8::is_ascii_uppercase) && case(u8::is_ascii_lowercase);
            let said = Shape {
                is_mixed,
                has_base32: parts().any(is_base32),
                has_hex: run.split(|b| !b.is_ascii_hexdigit()).any(|digits| digits.len() >= SHORTEST),
                is_one_number: !is_mixed && run.iter().all(u8::is_ascii_hexdigit),
            };
            assert_eq!(shape, said, "{}", String::from_utf8_lossy(&run));
        }
    }

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

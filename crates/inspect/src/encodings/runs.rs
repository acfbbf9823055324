//! Runs of base64, base32, hex and byte lists in other text, decoded at every alignment: what stands before a run and could belong
//! to it (`data/`, `key=`) hides nothing.

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
    let may = May::of(run);
    if may.as_written {
        base64(run, &mut out.base64);
    }
    if let Some(whole) = whole_base64(run) {
        out.packed.push(whole);
    } else if let Some(text) = deflated::text_of(run) {
        out.work += text.len() as u64;
        readable(&text, &mut out.base64);
    }
    for part in run.split(|b| matches!(b, b'/' | b'+' | b'-' | b'_')) {
        if part.len() >= SHORTEST && is_base32(part) {
            base32(part, &mut out.base32);
        }
        if part.len() >= SHORTEST {
            plain_hex(part, &mut out.hex);
        }
    }
    let mixed = run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase);
    if mixed && run.len() >= 24 && run.len() <= LONGEST_MIRRORED {
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
    // gzip and zip wherever they begin, for their starts are long; everything else at the start of the run or of a path segment.
    let long = [&b"H4sI"[..], b"UEsDB"].iter().find_map(|m| memchr::memmem::find(run, m));
    let slash = run.iter().take(256).position(|b| *b == b'/').map(|i| i + 1);
    let starts = [long, Some(0), slash];
    let from = starts.into_iter().flatten().find(|from| {
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

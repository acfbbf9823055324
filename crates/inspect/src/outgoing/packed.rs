//! Compressed bytes and archives, as a whole or behind something else.

use std::io::Read;
use std::ops::Range;

use flate2::bufread::{GzDecoder, ZlibDecoder};
use flate2::read::DeflateDecoder;

use super::zip_span;
use crate::Limits;
use crate::encodings::{self, is_binary, is_zlib, may_be_packed};
use crate::extract::{self, ExtractError};
use crate::place::Step;

/// Places in one text at which something packed of one kind may begin; more are not tried.
const MOST_STARTS: usize = 16;
/// The same of zlib, of which one in half a million bytes of noise begins as one does.
const MOST_ZLIB: usize = 4096;
/// What a format without a mark must give to count: readable bytes.
const LEAST_PROVEN: usize = 24;
/// Bytes decompressed to see whether that is so.
const PROOF: u64 = 4096;
/// What a damaged gzip stream in the middle of something must give to count, in bytes.
const LEAST_GZIP: usize = 256;
/// Containers in a container that the zip reader follows; the decoding of views has its own depth.
const ZIP_DEPTH: u32 = 1;

/// How an archive begins, and each of its members.
const ZIP: &[u8] = b"PK\x03\x04";
/// How a pack begins, which is what git pushes.
const PACK: &[u8] = b"PACK\0\0\0\x02";

/// What one place held.
pub(super) struct Unpacked {
    pub(super) how: Step,
    /// Members of an archive have a name, which leaves with them.
    pub(super) name: Option<String>,
    pub(super) bytes: Vec<u8>,
    /// No text, behind something else: only what is known counts.
    pub(super) is_known_only: bool,
    /// Why not all of it could be read.
    pub(super) error: Option<String>,
}

/// Unpacks everything in `bytes` that it can, in memory, to at most `most` bytes together.
pub(super) fn unpack(bytes: &[u8], most: u64) -> Vec<Unpacked> {
    let mut out = Vec::new();
    let mut left = most;
    let mut took_whole = false;
    let (starts, more) = starts(bytes);
    let mut within = Within::default();
    // Members of archives that were read: each begins with the mark of one.
    let mut members: Vec<Range<usize>> = Vec::new();
    for at in starts {
        let rest = bytes.get(at..).unwrap_or_default();
        let from = out.len();
        if rest.starts_with(ZIP) {
            if members.iter().any(|member| member.contains(&at)) {
                continue;
            }
            let span = zip_span::span(rest).filter(|_| at > 0);
            let archive = span.as_ref().and_then(|span| rest.get(..span.end)).unwrap_or(rest);
            zip(archive, left, &mut out);
            let is_read = out.iter().skip(from).all(|member| member.error.is_none());
            let own = span.into_iter().flat_map(|span| span.members).filter(|_| is_read);
            members.extend(own.map(|member| at + member.start..at + member.end));
        } else if rest.starts_with(PACK) {
            pack(rest, left, &mut out);
        } else if rest.starts_with(b"\x1f\x8b\x08") {
            // Three bytes are soon found in noise: in the middle of something, a stream that says nothing is none.
            out.extend(
                gzip(rest, left).filter(|u| at == 0 || u.error.is_none() || u.bytes.len() >= LEAST_GZIP),
            );
        } else if let Some((how, reader)) = extract::decompressed(rest).filter(|_| !is_text(rest)) {
            // Behind a stream in the middle of something stands what that goes on with, which is no damage.
            out.extend(stream(how, reader, left).map(|mut u| {
                let ends = at > 0 && !u.bytes.is_empty() && (u.bytes.len() as u64) < left;
                u.error = u.error.filter(|_| !ends);
                u
            }));
        } else if is_zlib(rest) {
            match at {
                0 => out
                    .extend(stream(Step::Zlib, ZlibDecoder::new(rest), left).filter(|u| !u.bytes.is_empty())),
                _ => {
                    within.take(rest, &mut left);
                    continue;
                }
            }
        }
        if out.len() == from && !is_text(rest) {
            // Neither format has a mark: what comes out must be text.
            out.extend(proven(Step::Deflate, || DeflateDecoder::new(rest), left));
            if out.len() == from {
                let brotli = || brotli_decompressor::Decompressor::new(rest, 4096);
                out.extend(proven(Step::Brotli, brotli, left));
            }
        }
        left = left.saturating_sub(out.iter().skip(from).map(|u| u.bytes.len() as u64).sum());
        took_whole |= at == 0 && out.len() > from;
        if took_whole {
            // What lies further in belongs to what was unpacked.
            break;
        }
    }
    let is_over = within.is_over && !took_whole;
    within.finish(&mut out);
    if is_over || more && !took_whole {
        let error = Some(ExtractError::Limit("packed parts").to_string());
        out.push(Unpacked { how: Step::Packed, name: None, bytes: Vec::new(), is_known_only: false, error });
    }
    out
}

/// Whether something packed may stand in what begins as a text.
pub(super) fn has_marks(bytes: &[u8]) -> bool {
    memchr::memchr3(0x1f, 0x04, 0x08, bytes).is_some()
        || [PACK, encodings::XZ, encodings::ZSTD, encodings::BZIP2_BLOCK]
            .iter()
            .any(|mark| memchr::memmem::find(bytes, mark).is_some())
        || encodings::deflated::zlib_starts(bytes).next().is_some()
}

/// The start, the starts of parts of a form, and the marks of compressed streams, zip and git anywhere; and whether there are more marks than
/// are tried.
fn starts(bytes: &[u8]) -> (Vec<usize>, bool) {
    let mut starts = vec![0];
    let mut more = false;
    // An archive marks each of its members, a form each of its parts; of the others nobody has many.
    for (mark, skip, is_rare) in [
        (&b"\x1f\x8b\x08"[..], 0, true),
        (PACK, 0, true),
        (encodings::XZ, 0, true),
        (encodings::ZSTD, 0, true),
        // Before the first block stand three letters and a digit.
        (encodings::BZIP2_BLOCK, -4, true),
        (ZIP, 0, false),
        (b"\r\n\r\n", 4, false),
    ] {
        let mut found = memchr::memmem::find_iter(bytes, mark);
        starts.extend(found.by_ref().filter_map(|i| i.checked_add_signed(skip)).take(MOST_STARTS));
        more |= is_rare && found.next().is_some();
    }
    // Pictures and pages are made of such streams, and are read as what they are.
    if !bytes.starts_with(b"\x89PNG") && !bytes.starts_with(b"%PDF") {
        let mut found = encodings::deflated::zlib_starts(bytes);
        starts.extend(found.by_ref().take(MOST_ZLIB));
        more |= found.next().is_some();
    }
    starts.sort_unstable();
    starts.dedup();
    (starts, more)
}

/// No packed bytes are all ASCII, apart from very short ones.
fn is_text(bytes: &[u8]) -> bool {
    bytes.get(..64).unwrap_or(bytes).is_ascii()
}

/// One gzip member after the other, up to something else: the end of a part of a form.
fn gzip(mut rest: &[u8], most: u64) -> Option<Unpacked> {
    let mut whole: Option<Unpacked> = None;
    while rest.starts_with(b"\x1f\x8b\x08") {
        let mut decoder = GzDecoder::new(rest);
        let had = whole.as_ref().map_or(0, |w| w.bytes.len() as u64);
        let member = stream(Step::Gzip, &mut decoder, most.saturating_sub(had));
        rest = decoder.into_inner();
        match (whole.as_mut(), member) {
            (Some(w), Some(m)) => {
                w.bytes.extend_from_slice(&m.bytes);
                w.error = m.error;
            }
            (None, m) => whole = m,
            (_, None) => {}
        }
        if whole.as_ref().is_none_or(|w| w.error.is_some()) {
            break;
        }
    }
    whole
}

fn stream(how: Step, reader: impl Read, most: u64) -> Option<Unpacked> {
    let mut bytes = Vec::new();
    let read = reader.take(most.saturating_add(1)).read_to_end(&mut bytes);
    let over = bytes.len() as u64 > most;
    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    let error = match read {
        _ if over => Some(ExtractError::Limit("decompressed bytes").to_string()),
        Err(_) if matches!(how, Step::Gzip | Step::Xz | Step::Bzip2 | Step::Zstd | Step::Lzma) => {
            Some(ExtractError::Damaged("compressed stream").to_string())
        }
        // The mark of zlib is two bytes: noise has it too.
        Err(_) | Ok(_) => None,
    };
    Some(Unpacked { how, name: None, bytes, is_known_only: false, error })
}

/// Streams of zlib behind something else, of which a data base has many: those of text together, and the others.
#[derive(Default)]
struct Within {
    text: Vec<u8>,
    binary: Vec<u8>,
    /// There was no room for what may have come.
    is_over: bool,
}

impl Within {
    /// Takes what begins here, where it is whole or says something at its start: its mark is short. What was unpacked in vain is spent,
    /// too: streams may lie in one another.
    fn take(&mut self, rest: &[u8], left: &mut u64) {
        let mut bytes = Vec::new();
        let read = ZlibDecoder::new(rest).take(*left).read_to_end(&mut bytes);
        *left -= (bytes.len() as u64).min(*left);
        self.is_over |= *left == 0;
        if bytes.len() < LEAST_PROVEN || read.is_err() && !says(bytes.get(..PROOF as usize).unwrap_or(&bytes))
        {
            return;
        }
        let all = if is_binary(&bytes) && !may_be_packed(&bytes) { &mut self.binary } else { &mut self.text };
        // A stream in it is told by its mark.
        all.push(b'\n');
        all.extend_from_slice(&bytes);
    }

    fn finish(self, out: &mut Vec<Unpacked>) {
        for (bytes, is_known_only) in [(self.text, false), (self.binary, true)] {
            if !bytes.is_empty() {
                out.push(Unpacked { how: Step::Zlib, name: None, bytes, is_known_only, error: None });
            }
        }
    }
}

/// The objects of a pack, each packed by itself: those of text together, and the others.
fn pack(bytes: &[u8], most: u64, out: &mut Vec<Unpacked>) {
    let (count, mut rest) = match bytes.get(PACK.len()..).and_then(<[u8]>::split_first_chunk::<4>) {
        Some((count, rest)) => (u32::from_be_bytes(*count), rest),
        None => return,
    };
    let (mut text, mut binary) = (Vec::new(), Vec::new());
    let mut error = None;
    for _ in 0..count {
        let left = most.saturating_sub((text.len() + binary.len()) as u64);
        let Some(object) = object(&mut rest, left) else {
            error = Some(ExtractError::Damaged("pack of git").to_string());
            break;
        };
        let all = if is_binary(&object) { &mut binary } else { &mut text };
        all.extend_from_slice(&object);
        all.push(b'\n');
    }
    for bytes in [text, binary].into_iter().filter(|b| !b.is_empty()) {
        out.push(Unpacked { how: Step::GitPack, name: None, bytes, is_known_only: false, error: None });
    }
    if error.is_some() {
        out.push(Unpacked { how: Step::GitPack, name: None, bytes: Vec::new(), is_known_only: false, error });
    }
}

/// The next object of a pack. Of a difference, what it adds stands in it as it is.
fn object(rest: &mut &[u8], most: u64) -> Option<Vec<u8>> {
    let (first, mut after) = rest.split_first()?;
    let skip_number = |after: &mut &[u8]| loop {
        let (byte, tail) = after.split_first()?;
        *after = tail;
        if byte & 0x80 == 0 {
            return Some(());
        }
    };
    if first & 0x80 != 0 {
        skip_number(&mut after)?;
    }
    // What a difference is from: so far back, or the object of this name.
    match (first >> 4) & 7 {
        6 => skip_number(&mut after)?,
        7 => after = after.get(20..)?,
        _ => {}
    }
    let mut decoder = ZlibDecoder::new(after);
    let mut bytes = Vec::new();
    Read::by_ref(&mut decoder).take(most.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > most {
        return None;
    }
    *rest = after.get(usize::try_from(decoder.total_in()).ok()?..)?;
    Some(bytes)
}

/// A stream of a format without a mark, when its start is text.
fn proven<R: Read>(how: Step, reader: impl Fn() -> R, most: u64) -> Option<Unpacked> {
    let mut head = Vec::new();
    // An error ends the text; what came before it counts.
    let _ = reader().take(PROOF).read_to_end(&mut head);
    if says(&head) { stream(how, reader(), most) } else { None }
}

/// Whether a stream that begins so is one: it is text, or packed once more.
fn says(head: &[u8]) -> bool {
    let is_read = |b: &&u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    let text = head.iter().filter(is_read).count() * 10 >= head.len() * 9;
    head.len() >= LEAST_PROVEN && (text || may_be_packed(head))
}

/// The members, by the reader of archives and within its limits.
fn zip(bytes: &[u8], most: u64, out: &mut Vec<Unpacked>) {
    let limits = Limits {
        depth: ZIP_DEPTH,
        unpacked: most,
        held: usize::try_from(most).unwrap_or(0),
        ..Limits::default()
    };
    let from = out.len();
    let read = extract::members(extract::Source::Bytes(bytes), &limits, &mut |name, bytes, error| {
        out.push(Unpacked {
            how: Step::Zip,
            name: Some(name.to_string()),
            bytes,
            is_known_only: false,
            error: error.map(|e| e.to_string()),
        });
    });
    if let Err(error) = read {
        // The bytes that begin like an archive may be anything in the middle of something else.
        let error = Some(error.to_string());
        match out.get_mut(from) {
            Some(first) => first.error = error,
            None => out.push(Unpacked {
                how: Step::Zip,
                name: None,
                bytes: Vec::new(),
                is_known_only: false,
                error,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_in_vain_is_spent() {
        // Each stream goes on over all that begin behind it, and none ends.
        let body: Vec<u8> = [&[0][..], &[0x78, 1, 0, 0xff, 0xff, 0, 0].repeat(1_000)].concat();
        let is_over = |most| unpack(&body, most).iter().any(|part| part.error.is_some());
        assert!(is_over(1 << 20));
        assert!(!is_over(1 << 26));
    }
}

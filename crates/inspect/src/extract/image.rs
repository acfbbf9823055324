//! What a picture says beside what it shows: texts and profiles of colours in PNG, which may be compressed, and properties in UTF-16
//! (EXIF). What stands there in plain bytes is read with the strings of any binary. What is read and what leaves is looked at
//! alike: [`Visit::image`] and [`hidden_in`].

use std::io::{Read, Seek, SeekFrom};

use super::batch::Sink;
use super::{ExtractError, Source, Visit, loose, text};
use crate::encodings::is_binary;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const TIFF: [&[u8]; 2] = [b"II*\0", b"MM\0*"];
/// Those that have EXIF or a profile of colours, which may say something in UTF-16.
const MARKS: [&[u8]; 5] = [PNG, b"\xff\xd8\xff", b"WEBPVP8", TIFF[0], TIFF[1]];
/// Parts of PNG that may be compressed.
const PACKED: [&[u8; 4]; 3] = [b"zTXt", b"iTXt", b"iCCP"];
/// The name of a text or profile, as long as PNG allows.
const LONGEST_NAME: usize = 79;
/// The names of its language, which has no limit.
const LONGEST_LANGUAGE: usize = 64 * 1024;
/// Pieces of a picture; protects time.
const MOST_CHUNKS: usize = 100_000;
/// Places at which something packed may begin, when pictures stand in something else.
const MOST_PACKED: usize = 4096;
/// Bytes of all texts of a picture together, unpacked.
const MOST_TEXT: usize = 8 << 20;
/// Of what is not packed, what is held at once; and so much of it is looked at again with what comes next.
const BLOCK: u64 = 1 << 20;
const OVERLAP: usize = 2048;
/// Properties stand at the beginning of a TIFF or at its end: between them is what it shows, and that is not compressed.
const ENDS: usize = 64 * 1024;

/// What [`hidden_in`] found.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// Texts that were compressed.
    pub(crate) packed: Vec<u8>,
    /// Texts in UTF-16.
    pub(crate) wide: Vec<u8>,
    /// There was more than is unpacked.
    pub(crate) over: bool,
}

impl Visit<'_> {
    pub(super) fn image(
        &mut self,
        source: Source<'_>,
        head: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let said = if head.starts_with(PNG) {
            self.png(source)?
        } else if TIFF.iter().any(|begin| head.starts_with(begin)) {
            let mut end = Vec::new();
            let mut reader = source.reader();
            reader.seek(SeekFrom::Start(source.len().saturating_sub(ENDS as u64).max(head.len() as u64)))?;
            reader.read_to_end(&mut end)?;
            [loose::wide_strings(head), loose::wide_strings(&end)].concat()
        } else if head.starts_with(b"\xff\xd8\xff") || is_webp(head) {
            wide_strings(source)?
        } else {
            return Ok(());
        };
        text::walk(&mut &*said, sink)
    }

    /// The texts that are compressed, and those in UTF-16.
    fn png(&mut self, source: Source<'_>) -> Result<Vec<u8>, ExtractError> {
        let mut reader = source.reader();
        let (mut at, mut said, mut left) = (PNG.len() as u64, Vec::new(), MOST_TEXT);
        for _ in 0..MOST_CHUNKS {
            reader.seek(SeekFrom::Start(at))?;
            let mut begin = Vec::new();
            reader.by_ref().take(8).read_to_end(&mut begin)?;
            let Some([a, b, c, d, kind @ ..]) = begin.first_chunk::<8>() else { break };
            let length = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
            at += length + 12;
            if kind != b"eXIf" && !PACKED.contains(&kind) {
                continue;
            }
            let mut data = Vec::new();
            reader.by_ref().take(length.min(MOST_TEXT as u64)).read_to_end(&mut data)?;
            if kind == b"eXIf" {
                said.extend(loose::wide_strings(&data));
            } else if let Some(packed) = packed(kind, &data) {
                left = unpack(packed, left, &mut said)
                    .filter(|_| said.len() <= MOST_TEXT)
                    .ok_or(ExtractError::Limit("the text of a picture"))?;
            }
        }
        self.spend(said.len() as u64)?;
        Ok(said)
    }
}

/// What pictures say out of sight, wherever in `bytes` they stand: in a form, behind or within something else. Unpacks to about
/// `most` bytes.
pub(crate) fn hidden_in(bytes: &[u8], most: u64) -> Hidden {
    let mut out = Hidden::default();
    if memchr::memchr(0, bytes).is_none() {
        return out;
    }
    let mut left = usize::try_from(most).unwrap_or(usize::MAX).min(MOST_TEXT);
    // Not by the lengths of what stands before them: those may be wrong.
    let places =
        PACKED.into_iter().flat_map(|kind| memchr::memmem::find_iter(bytes, kind).map(move |at| (kind, at)));
    for (n, (kind, at)) in places.enumerate() {
        let data = bytes.get(at + kind.len()..).unwrap_or_default();
        let unpacked = packed(kind, data).map_or(Some(left), |packed| unpack(packed, left, &mut out.packed));
        let Some(rest) = unpacked.filter(|_| n < MOST_PACKED) else {
            out.over = true;
            break;
        };
        left = rest;
    }
    if TIFF.iter().any(|begin| bytes.starts_with(begin)) && bytes.len() > 2 * ENDS {
        let (begin, rest) = bytes.split_at(ENDS);
        let end = rest.get(rest.len() - ENDS..).unwrap_or_default();
        out.wide = [loose::wide_strings(begin), loose::wide_strings(end)].concat();
    } else if MARKS.iter().any(|mark| memchr::memmem::find(bytes, mark).is_some()) {
        out.wide = loose::wide_strings(bytes);
    }
    out
}

fn is_webp(head: &[u8]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP")
}

fn wide_strings(source: Source<'_>) -> Result<Vec<u8>, ExtractError> {
    let (mut reader, mut block, mut said) = (source.reader(), Vec::new(), Vec::new());
    while reader.by_ref().take(BLOCK).read_to_end(&mut block)? > 0 && said.len() <= MOST_TEXT {
        said.extend(loose::wide_strings(&block));
        block.drain(..block.len().saturating_sub(OVERLAP));
    }
    if said.len() > MOST_TEXT { Err(ExtractError::Limit("the text of a picture")) } else { Ok(said) }
}

/// Appends what is readable of a compressed text or profile, and answers how many bytes may still be unpacked: nothing when there
/// was more in it. What is damaged is shown up to there.
fn unpack(packed: &[u8], left: usize, into: &mut Vec<u8>) -> Option<usize> {
    let mut said = Vec::new();
    let _ = flate2::read::ZlibDecoder::new(packed).take(left as u64 + 1).read_to_end(&mut said);
    let rest = left.checked_sub(said.len());
    // A profile says little in much that is no text.
    into.extend(if is_binary(&said) { loose::strings(&said) } else { said });
    into.push(b'\n');
    rest
}

/// The compressed part of a text or profile, behind its name.
fn packed<'d>(kind: &[u8; 4], data: &'d [u8]) -> Option<&'d [u8]> {
    let behind = |data: &'d [u8], longest: usize| {
        let length = memchr::memchr(0, data.get(..=longest).unwrap_or(data))?;
        data.get(length + 1..)
    };
    let rest = behind(data, LONGEST_NAME)?;
    if kind != b"iTXt" {
        return rest.get(1..);
    }
    let [1, _, rest @ ..] = rest else { return None };
    behind(behind(rest, LONGEST_LANGUAGE)?, LONGEST_LANGUAGE)
}

//! What a picture says beside what it shows: texts of PNG, which may be compressed, and properties in UTF-16 (EXIF). What
//! stands there in plain bytes is read with the strings of any binary.

use std::io::{Read, Seek, SeekFrom};

use super::batch::Sink;
use super::{ExtractError, Source, Visit, loose, text};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Pictures of other kinds that have EXIF near their beginning: JPEG, TIFF, WebP.
const OTHERS: [&[u8]; 4] = [b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"RIFF"];
/// Pieces of a picture; protects time.
const MOST_CHUNKS: usize = 100_000;
/// Bytes of all texts of a picture together, unpacked.
const MOST_TEXT: usize = 8 << 20;

impl Visit<'_> {
    pub(super) fn image(
        &mut self,
        source: Source<'_>,
        head: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let said = if head.starts_with(PNG) {
            self.png(source)?
        } else if OTHERS.iter().any(|begin| head.starts_with(begin)) {
            loose::wide_strings(head)
        } else {
            return Ok(());
        };
        text::walk(&mut &*said, sink)
    }

    /// The texts that are compressed, and those in UTF-16.
    fn png(&mut self, source: Source<'_>) -> Result<Vec<u8>, ExtractError> {
        let mut reader = source.reader();
        let (mut at, mut said) = (PNG.len() as u64, Vec::new());
        for _ in 0..MOST_CHUNKS {
            reader.seek(SeekFrom::Start(at))?;
            let mut begin = Vec::new();
            reader.by_ref().take(8).read_to_end(&mut begin)?;
            let Some([a, b, c, d, kind @ ..]) = begin.first_chunk::<8>() else { break };
            let length = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
            at += length + 12;
            if !matches!(kind, b"zTXt" | b"iTXt" | b"eXIf") {
                continue;
            }
            let mut data = Vec::new();
            reader.by_ref().take(length.min(MOST_TEXT as u64)).read_to_end(&mut data)?;
            if kind == b"eXIf" {
                said.extend(loose::wide_strings(&data));
            } else if let Some(packed) = packed(kind, &data) {
                let limit = (MOST_TEXT - said.len().min(MOST_TEXT)) as u64;
                // What is damaged is shown up to there.
                let _ = flate2::read::ZlibDecoder::new(packed).take(limit + 1).read_to_end(&mut said);
                said.push(b'\n');
            }
            if said.len() > MOST_TEXT {
                return Err(ExtractError::Limit("the text of a picture"));
            }
        }
        self.spend(said.len() as u64)?;
        Ok(said)
    }
}

/// The compressed part of a text, behind its name.
fn packed<'d>(kind: &[u8; 4], data: &'d [u8]) -> Option<&'d [u8]> {
    let rest = data.get(memchr::memchr(0, data)? + 1..)?;
    if kind == b"zTXt" {
        return rest.get(1..);
    }
    let [1, _, rest @ ..] = rest else { return None };
    let rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
    rest.get(memchr::memchr(0, rest)? + 1..)
}

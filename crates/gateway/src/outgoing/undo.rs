//! What a body says that is sent in a coding (RFC 9110, section 8.4). Whoever takes it undoes the coding, so it is looked at as they see
//! it; what is not undone here, nobody has looked at.

use std::io::{self, Read};

use chaperone_inspect::XZ_MEMORY;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Bytes of what is undone: beyond it nobody looks. Protects memory, as few are looked at at once.
const MOST: u64 = 64 << 20;
/// Codings on top of each other.
const DEEPEST: usize = 3;
/// What a brotli decoder reads at a time.
const PIECE: usize = 4096;

/// A coding that is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
    Xz,
    Bzip2,
}

/// The codings of a body, in the order in which they were applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Codings {
    applied: Vec<Coding>,
    /// Why not all of them can be undone.
    unknown: Option<&'static str>,
}

impl Codings {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut codings = Self::default();
        for line in headers.get_all(CONTENT_ENCODING) {
            match line.to_str() {
                Ok(line) => line.split(',').for_each(|name| codings.add(name.trim())),
                Err(_) => codings.unknown = Some("its content coding is no word"),
            }
        }
        if codings.applied.len() > DEEPEST {
            codings.unknown = Some("it has more content codings than are undone");
        }
        // Of a call, the length and the coding stand before each message; those in gzip are found where they stand.
        for line in headers.get_all("grpc-encoding") {
            if !matches!(line.as_bytes().to_ascii_lowercase().as_slice(), b"identity" | b"gzip") {
                codings.unknown = Some("the coding of its messages is not undone");
            }
        }
        codings
    }

    /// What is written of it is one of these words or nothing: an agent chooses what it sends.
    fn add(&mut self, name: &str) {
        let coding = match name.to_ascii_lowercase().as_str() {
            // What clients write that apply none: the framing and the protocol of a service, the charset of the text.
            "" | "identity" | "none" | "aws-chunked" | "amz-1.0" | "utf-8" | "utf8" => return,
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            "xz" => Coding::Xz,
            "bzip2" | "x-bzip2" | "bz2" => Coding::Bzip2,
            _ => {
                self.unknown = Some("its content coding is not known");
                return;
            }
        };
        self.applied.push(coding);
    }

    /// Whether there is anything to undo.
    pub fn is_none(&self) -> bool {
        self.applied.is_empty() && self.unknown.is_none()
    }

    /// Whether a look at a long body undoes all of it by itself.
    pub fn is_streamed(&self) -> bool {
        self.unknown.is_none() && self.applied == [Coding::Gzip]
    }

    /// What was coded; nothing where none was.
    ///
    /// # Errors
    /// Why it cannot be looked into, as the user is told.
    pub fn undo(&self, body: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
        if let Some(why) = self.unknown {
            return Err(why);
        }
        let mut undone: Option<Vec<u8>> = None;
        for coding in self.applied.iter().rev() {
            let bytes = undone.as_deref().unwrap_or(body);
            undone = Some(coding.undo(bytes).map_err(|_| "it is not in its content coding")?);
            if undone.as_ref().is_some_and(|bytes| bytes.len() as u64 > MOST) {
                return Err("it is longer than what is looked at, without its content coding");
            }
        }
        Ok(undone)
    }
}

impl Coding {
    /// Up to one byte more than is looked at.
    fn undo(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => all(MultiGzDecoder::new(bytes)),
            // Some send it without its head (RFC 9110, section 8.4.1.2).
            Self::Deflate if is_zlib(bytes) => {
                let mut decoder = ZlibDecoder::new(bytes);
                let undone = all(&mut decoder)?;
                nothing_behind(decoder.into_inner(), undone)
            }
            Self::Deflate => {
                let mut decoder = DeflateDecoder::new(bytes);
                let undone = all(&mut decoder)?;
                nothing_behind(decoder.into_inner(), undone)
            }
            Self::Brotli => all(brotli_decompressor::Decompressor::new(bytes, PIECE)),
            Self::Zstd => zstd(bytes),
            Self::Xz => all(lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY)),
            Self::Bzip2 => all(bzip2::read::MultiBzDecoder::new(bytes)),
        }
    }
}

fn all(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut undone = Vec::new();
    decoder.take(MOST + 1).read_to_end(&mut undone)?;
    Ok(undone)
}

/// What stands behind the end of a stream is not looked at, and whoever takes the body may do so.
fn nothing_behind(rest: &[u8], undone: Vec<u8>) -> io::Result<Vec<u8>> {
    // A stream that is longer than is looked at was not read to its end.
    if rest.is_empty() || undone.len() as u64 > MOST {
        Ok(undone)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// One frame after the other.
fn zstd(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut undone = Vec::new();
    while !bytes.is_empty() && undone.len() as u64 <= MOST {
        let left = MOST + 1 - undone.len() as u64;
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut bytes).map_err(io::Error::other)?;
        frame.take(left).read_to_end(&mut undone)?;
    }
    Ok(undone)
}

fn is_zlib(bytes: &[u8]) -> bool {
    let Some([first, second]) = bytes.first_chunk::<2>() else { return false };
    first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use http::HeaderValue;

    use super::*;

    const TEXT: &[u8] = b"The northern plant is closed before the end of March.";

    fn codings(lines: &[(&'static str, &'static str)]) -> Codings {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_static(line));
        }
        Codings::of(&headers)
    }

    fn named(line: &'static str) -> Codings {
        codings(&[("content-encoding", line)])
    }

    pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn a_body_is_looked_at_as_who_takes_it_sees_it() {
        for (line, body) in [
            ("gzip", gzip(TEXT)),
            ("X-Gzip", gzip(TEXT)),
            ("gzip", [gzip(&TEXT[..20]), gzip(&TEXT[20..])].concat()),
            ("deflate", zlib(TEXT)),
            ("deflate", deflate(TEXT)),
            ("bzip2", bzip2(TEXT)),
            ("zstd", zstd(TEXT)),
            ("zstd", [zstd(&TEXT[..20]), zstd(&TEXT[20..])].concat()),
            ("zstd, gzip", gzip(&zstd(TEXT))),
            ("identity, gzip", gzip(TEXT)),
        ] {
            assert_eq!(named(line).undo(&body).unwrap().as_deref(), Some(TEXT), "{line}");
        }
        let lines = codings(&[("content-encoding", "zstd"), ("content-encoding", "gzip")]);
        assert_eq!(lines.undo(&gzip(&zstd(TEXT))).unwrap().as_deref(), Some(TEXT));
    }

    #[test]
    fn what_is_in_no_coding_is_looked_at_as_it_is() {
        for line in ["identity", "", "aws-chunked", "utf-8", "amz-1.0"] {
            assert!(named(line).is_none(), "{line}");
            assert_eq!(named(line).undo(TEXT), Ok(None));
        }
        assert!(codings(&[]).is_none());
        assert!(codings(&[("grpc-encoding", "gzip"), ("grpc-accept-encoding", "zstd")]).is_none());
    }

    #[test]
    fn what_cannot_be_undone_is_not_looked_at() {
        for line in ["foo", "compress", "gzip, foo", "foo, gzip", "gzip;q=1", "gzip,gzip,gzip,gzip"] {
            assert!(named(line).undo(&gzip(TEXT)).is_err(), "{line}");
        }
        for line in ["br", "zstd", "xz", "bzip2", "gzip", "deflate"] {
            assert!(named(line).undo(TEXT).is_err(), "{line}");
        }
        for (line, whole) in
            [("gzip", gzip(TEXT)), ("deflate", zlib(TEXT)), ("bzip2", bzip2(TEXT)), ("zstd", zstd(TEXT))]
        {
            let cut = &whole[..whole.len() - 9];
            assert!(named(line).undo(cut).is_err(), "{line}, cut");
            let more = [&whole[..], b"and more behind it"].concat();
            assert!(named(line).undo(&more).is_err(), "{line}, and more");
        }
        assert!(codings(&[("grpc-encoding", "zstd")]).undo(TEXT).is_err());
    }

    #[test]
    fn a_bomb_is_not_held() {
        let bomb = gzip(&vec![0; 1 + usize::try_from(MOST).unwrap()]);
        let why = named("gzip").undo(&bomb).unwrap_err();
        assert!(why.contains("longer"), "{why}");
    }
}

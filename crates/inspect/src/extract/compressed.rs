//! One compressed stream: gzip, zlib, xz, LZMA alone, bzip2, zstd. What is in it is an item of its own.

use std::io::{self, Read, Write};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::batch::Sink;
use super::kind::{self, Kind};
use super::marks::{Compression, XZ_MEMORY};
use super::{ExtractError, Source, Visit};
use crate::place::Step;
use crate::shown::shown;

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip stream",
            Self::Zlib => "zlib stream",
            Self::Xz => "xz stream",
            Self::Lzma => "LZMA stream",
            Self::Bzip2 => "bzip2 stream",
            Self::Zstd => "zstd stream",
        }
    }

    fn open<'a>(self, source: Source<'a>) -> Result<Box<dyn Read + 'a>, ExtractError> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(source.reader())),
            Self::Zlib => Box::new(ZlibDecoder::new(source.reader())),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(source.reader(), true, XZ_MEMORY)),
            Self::Lzma => Box::new(
                lzma_rust2::LzmaReader::new_mem_limit(source.reader(), XZ_MEMORY, None)
                    .map_err(|_| ExtractError::Damaged(self.name()))?,
            ),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(source.reader())),
            Self::Zstd => Box::new(ZstdFrames {
                source: source.reader(),
                decoder: FrameDecoder::new(),
                in_frame: false,
            }),
        })
    }
}

/// What `bytes` begin with in compressed form, apart from gzip and zlib, which what leaves is read for by itself: what it is, with
/// its reader.
pub(crate) fn decompressed<'a>(bytes: &'a [u8]) -> Option<(Step, Box<dyn Read + 'a>)> {
    let compression = Compression::of(bytes)?;
    let how = match compression {
        Compression::Xz => Step::Xz,
        Compression::Lzma => Step::Lzma,
        Compression::Bzip2 => Step::Bzip2,
        Compression::Zstd => Step::Zstd,
        Compression::Gzip | Compression::Zlib => return None,
    };
    Some((how, compression.open(Source::Bytes(bytes)).ok()?))
}

impl Visit<'_> {
    /// The bytes that a value of a database stands for: decompressed where it is one compressed stream.
    pub(super) fn unpacked_value(&mut self, value: &[u8]) -> Result<Option<Vec<u8>>, ExtractError> {
        let Some(compression) = Compression::of(value) else { return Ok(None) };
        let Ok(mut reader) = compression.open(Source::Bytes(value)) else { return Ok(None) };
        match self.held(&mut reader, compression.name()) {
            Ok(bytes) => Ok(Some(bytes)),
            // It only begins like one.
            Err(ExtractError::Damaged(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn compressed(
        &mut self,
        compression: Compression,
        source: Source<'_>,
        name: &str,
        path: &str,
        depth: u32,
    ) -> Result<(), ExtractError> {
        let inner = unpacked_name(name);
        let inner_path = format!("{path}!/{}", shown(&inner));
        let damaged = ExtractError::Damaged(compression.name());
        let mut head = Vec::new();
        let opened = compression.open(source).and_then(|mut stream| {
            let read = stream.by_ref().take(64 * 1024).read_to_end(&mut head);
            read.map(drop).map_err(ExtractError::Read)
        });
        if opened.is_err() && (!self.in_text || head.is_empty()) {
            return if self.in_text { Ok(()) } else { Err(damaged) };
        }
        let kind = kind::of(&head, &inner);
        if kind.is_container() {
            let mut data = Vec::new();
            match self.held_in(&mut compression.open(source)?, compression.name(), &mut data) {
                Err(ExtractError::Damaged(_)) if self.in_text => {}
                held => held?,
            }
            self.item(Source::Bytes(&data), &inner, &inner_path, depth + 1);
            return Ok(());
        }
        self.streamed(compression.open(source)?, (kind, &inner_path), depth, damaged)
    }

    /// Walks what needs no parser as it is decompressed.
    pub(super) fn streamed(
        &mut self,
        inner: Box<dyn Read + '_>,
        (kind, path): (Kind, &str),
        depth: u32,
        damaged: ExtractError,
    ) -> Result<(), ExtractError> {
        let mut sink = Sink::new(self.detectors);
        let inner = if self.in_text { Box::new(AsFarAsItGoes(inner)) } else { inner };
        let mut metered = Metered { inner, spent: 0, allowance: self.allowance() };
        let walked = self.plain(kind, &mut metered, 0, &mut sink);
        let over = metered.spent >= metered.allowance;
        self.unpacked += metered.spent;
        self.note_and_follow(sink, path, depth);
        match walked {
            _ if over => Err(ExtractError::Limit("decompressed bytes")),
            Err(ExtractError::Read(_)) => Err(damaged),
            walked => walked,
        }
    }

    /// Decompressed bytes that are left of the limits.
    fn allowance(&self) -> u64 {
        let by_ratio = self.packed.saturating_mul(self.limits.ratio).max(16 << 20);
        by_ratio.min(self.limits.unpacked).saturating_sub(self.unpacked)
    }

    pub(super) fn rewrite_gzip(
        &mut self,
        source: Source<'_>,
        name: &str,
        depth: u32,
        out: &mut dyn Write,
    ) -> Result<u64, ExtractError> {
        let data = self.held(&mut MultiGzDecoder::new(source.reader()), Compression::Gzip.name())?;
        let mut packed = GzEncoder::new(out, flate2::Compression::default());
        let replaced = self.rewrite(Source::Bytes(&data), &unpacked_name(name), depth + 1, &mut packed)?;
        packed.finish()?;
        Ok(replaced)
    }
}

fn unpacked_name(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    match base.rsplit_once('.') {
        Some((stem, e)) => match e.to_ascii_lowercase().as_str() {
            "gz" | "xz" | "lzma" | "bz2" | "zst" | "z" | "zz" => stem.to_string(),
            "tgz" | "txz" | "tlz" | "tbz" | "tbz2" | "tzst" => format!("{stem}.tar"),
            _ => base.to_string(),
        },
        None => base.to_string(),
    }
}

/// Ends where it cannot be read on.
struct AsFarAsItGoes<R>(R);

impl<R: Read> Read for AsFarAsItGoes<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(into).unwrap_or(0))
    }
}

/// Ends, as if the stream had ended, when more than the allowance was read; the caller then reports the limit.
struct Metered<R> {
    inner: R,
    spent: u64,
    allowance: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.spent >= self.allowance {
            return Ok(0);
        }
        let n = self.inner.read(into)?;
        self.spent += n as u64;
        Ok(n)
    }
}

/// Zstandard frames one after the other, skippable ones left out (RFC 8878 3.1).
struct ZstdFrames<R: Read> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: Read> ZstdFrames<R> {
    /// Begins the next frame; false at the end of the source.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            let mut first = [0];
            if self.source.read(&mut first)? == 0 {
                return Ok(false);
            }
            match self.decoder.reset((&first[..]).chain(&mut self.source)) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
    }
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if !self.next()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            }
            let n = self.decoder.read(into)?;
            if n > 0 || into.is_empty() {
                return Ok(n);
            }
            self.in_frame = false;
        }
    }
}

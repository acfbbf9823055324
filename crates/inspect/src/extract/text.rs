//! Plain text of any length, and UTF-16 read as UTF-8.

use std::io::{self, Read, Write};

use super::ExtractError;
use super::batch::{Hit, Sink, inside_marker, marker};
use crate::report::NO_COLUMN;
use crate::{ScanOptions, Scanner};

/// Bytes read at a time.
const BLOCK: usize = 128 * 1024;
/// Bytes kept behind the reading position; more than the scanner ever holds back.
const KEPT: usize = 512 * 1024;

/// Scans a stream; memory does not grow with its length.
pub(crate) fn walk(reader: &mut dyn Read, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    let mut text = Text { held: Vec::new(), base: 0, lines: 1, counted: 0, written: 0, sink };
    let mut scanner = Scanner::new(text.sink.detectors, ScanOptions::default());
    let mut block = vec![0; BLOCK];
    let mut matches = Vec::new();
    loop {
        let n = match reader.read(&mut block) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(part) = block.get(..n).filter(|p| !p.is_empty()) else { break };
        text.held.extend_from_slice(part);
        scanner.feed(part, &mut matches);
        text.settle(&mut matches)?;
        text.release(KEPT)?;
    }
    scanner.finish(&mut matches);
    text.settle(&mut matches)?;
    text.release(0)
}

struct Text<'s, 'a> {
    held: Vec<u8>,
    /// Where `held` begins in the stream.
    base: u64,
    lines: u64,
    /// Newlines are counted up to here.
    counted: u64,
    written: u64,
    sink: &'s mut Sink<'a>,
}

impl Text<'_, '_> {
    fn settle(&mut self, matches: &mut Vec<crate::Match>) -> Result<(), ExtractError> {
        for m in matches.drain(..) {
            let (Some(start), Some(end)) = (m.start.checked_sub(self.base), m.end.checked_sub(self.base))
            else {
                return Err(ExtractError::Limit("the length of one value"));
            };
            let hit = Hit {
                cell: 0,
                start: start as usize,
                end: end as usize,
                detector: m.detector,
                confidence: m.confidence,
            };
            if inside_marker(self.sink.detectors, &self.held, hit.start, hit.end) {
                continue;
            }
            if m.start > self.counted {
                let from = (self.counted - self.base) as usize;
                self.lines += memchr::memchr_iter(b'\n', self.held.get(from..hit.start).unwrap_or_default())
                    .count() as u64;
                self.counted = m.start;
            }
            let line = self.lines;
            let value = self.held.get(hit.start..hit.end).unwrap_or_default();
            self.sink.tally.add(
                self.sink.detectors,
                (NO_COLUMN, hit.detector),
                hit.confidence,
                value,
                false,
                || format!("line {line}"),
            );
            if let Some(out) = self.sink.out.as_mut() {
                if m.start >= self.written {
                    let from = (self.written - self.base) as usize;
                    out.write_all(self.held.get(from..hit.start).unwrap_or_default())?;
                    out.write_all(&marker(self.sink.detectors, hit.detector))?;
                    self.sink.replaced += 1;
                }
                self.written = self.written.max(m.end);
            }
        }
        Ok(())
    }

    /// Lets go of all but the last `keep` bytes.
    fn release(&mut self, keep: usize) -> Result<(), ExtractError> {
        // Cut seldom: moving the tail costs.
        if keep > 0 && self.held.len() < 2 * keep {
            return Ok(());
        }
        let drop = self.held.len() - keep.min(self.held.len());
        let upto = self.base + drop as u64;
        if self.counted < upto {
            let from = (self.counted - self.base) as usize;
            self.lines +=
                memchr::memchr_iter(b'\n', self.held.get(from..drop).unwrap_or_default()).count() as u64;
            self.counted = upto;
        }
        if let Some(out) = self.sink.out.as_mut()
            && self.written < upto
        {
            let from = (self.written - self.base) as usize;
            out.write_all(self.held.get(from..drop).unwrap_or_default())?;
            self.written = upto;
        }
        self.held.drain(..drop);
        self.base = upto;
        Ok(())
    }
}

/// UTF-16 with a byte order mark, read as UTF-8. Lone surrogates become U+FFFD.
pub(crate) struct Utf16Reader<'a> {
    inner: &'a mut dyn Read,
    big_endian: bool,
    bytes: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    begun: bool,
}

impl<'a> Utf16Reader<'a> {
    pub(crate) fn new(inner: &'a mut dyn Read, big_endian: bool) -> Utf16Reader<'a> {
        Utf16Reader { inner, big_endian, bytes: Vec::new(), ready: Vec::new(), at: 0, begun: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; 16 * 1024];
        self.ready.clear();
        self.at = 0;
        while self.ready.is_empty() {
            let n = self.inner.read(&mut block)?;
            self.bytes.extend_from_slice(block.get(..n).unwrap_or_default());
            let unit =
                |p: &[u8; 2]| if self.big_endian { u16::from_be_bytes(*p) } else { u16::from_le_bytes(*p) };
            let mut units: Vec<u16> = self.bytes.as_chunks::<2>().0.iter().map(unit).collect();
            let split = n > 0 && units.last().is_some_and(|u| (0xd800..0xdc00).contains(u));
            if split {
                units.pop();
            }
            let used = units.len() * 2;
            if !self.begun && units.first() == Some(&0xfeff) {
                units.remove(0);
                self.begun = true;
            }
            self.ready.extend(
                char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect::<String>().bytes(),
            );
            self.bytes.drain(..used);
            if n == 0 {
                self.bytes.clear();
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Read for Utf16Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.ready.len() {
            self.fill()?;
        }
        let n = (&mut self.ready.get(self.at..).unwrap_or_default()).read(into)?;
        self.at += n;
        Ok(n)
    }
}

/// The way back; begins with the byte order mark.
pub(crate) struct Utf16Writer<'a> {
    inner: &'a mut dyn Write,
    big_endian: bool,
    rest: Vec<u8>,
    begun: bool,
}

impl<'a> Utf16Writer<'a> {
    pub(crate) fn new(inner: &'a mut dyn Write, big_endian: bool) -> Utf16Writer<'a> {
        Utf16Writer { inner, big_endian, rest: Vec::new(), begun: false }
    }
}

impl Write for Utf16Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let valid = match std::str::from_utf8(&self.rest) {
            Ok(s) => s.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let text = std::str::from_utf8(self.rest.get(..valid).unwrap_or_default()).unwrap_or_default();
        let mark = if self.begun { "" } else { "\u{feff}" };
        self.begun = true;
        let coded: Vec<u8> = mark
            .encode_utf16()
            .chain(text.encode_utf16())
            .flat_map(|u| if self.big_endian { u.to_be_bytes() } else { u.to_le_bytes() })
            .collect();
        self.inner.write_all(&coded)?;
        self.rest.drain(..valid);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

//! tar: every byte of it is looked at, the members by what they are. The numbers of the headers are left out: octal
//! times and sizes look like national numbers.
//!
//! Source: POSIX.1-2024, pax, "ustar Interchange Format".

use std::io::{Read, Seek, SeekFrom};

use super::batch::Sink;
use super::kind;
use super::{ExtractError, Reader, Source, Visit};
use crate::shown::shown;

const BLOCK: u64 = 512;
/// Fields of octal digits: mode, uid, gid, size, mtime, checksum; devmajor, devminor.
const NUMBERS: [std::ops::Range<usize>; 2] = [100..156, 329..345];
const CHECKSUM: std::ops::Range<usize> = 148..156;

struct Header {
    name: String,
    size: u64,
    /// The block without its numbers.
    text: Vec<u8>,
}

/// Whether a file starts with a tar header.
pub(super) fn starts(head: &[u8]) -> bool {
    head.get(..512).is_some_and(|block| header(block).is_some())
}

impl Visit<'_> {
    pub(super) fn tar(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let mut reader = source.reader();
        let mut loose = Sink::new(self.detectors);
        let mut at = 0;
        while at < source.len() {
            let mut block = Vec::new();
            reader.seek(SeekFrom::Start(at))?;
            reader.by_ref().take(BLOCK).read_to_end(&mut block)?;
            if block.iter().all(|b| *b == 0) {
                at += BLOCK;
                continue;
            }
            let Some(header) = header(&block) else { break };
            self.members += 1;
            if self.members > self.limits.members {
                return Err(ExtractError::Limit("members"));
            }
            super::text::walk(&mut &*header.text, &mut loose)?;
            let from = at + BLOCK;
            let end = from.checked_add(header.size).filter(|end| *end <= source.len());
            let end = end.ok_or(ExtractError::Damaged("archive"))?;
            let member = format!("{path}!/{}", shown(&header.name));
            if let Err(e) = self.tar_member(&mut reader, (from, header.size), &header.name, &member, depth) {
                self.fail(&member, &e);
            }
            at = end.next_multiple_of(BLOCK);
            // What stands in the padding is in nobody's content.
            reader.seek(SeekFrom::Start(end))?;
            super::text::walk(&mut reader.by_ref().take(at - end), &mut loose)?;
        }
        reader.seek(SeekFrom::Start(at.min(source.len())))?;
        super::text::walk(&mut reader, &mut loose)?;
        self.note(path, &loose.tally);
        Ok(())
    }

    fn tar_member(
        &mut self,
        reader: &mut Reader<'_>,
        (from, size): (u64, u64),
        name: &str,
        path: &str,
        depth: u32,
    ) -> Result<(), ExtractError> {
        let mut head = Vec::new();
        reader.seek(SeekFrom::Start(from))?;
        reader.by_ref().take(size.min(kind::HEAD as u64)).read_to_end(&mut head)?;
        let kind = kind::of(&head, name);
        reader.seek(SeekFrom::Start(from))?;
        let mut content = reader.take(size);
        if kind.is_container() {
            if size > self.limits.held as u64 {
                return Err(ExtractError::Limit("the size of one member"));
            }
            let mut data = Vec::new();
            content.read_to_end(&mut data)?;
            self.item(Source::Bytes(&data), name, path, depth + 1);
            return Ok(());
        }
        let mut sink = Sink::new(self.detectors);
        let walked = self.plain(kind, &mut content, size, &mut sink);
        self.note_and_follow(sink, path, depth);
        walked
    }
}

/// A header whose checksum holds and whose numbers are numbers.
fn header(block: &[u8]) -> Option<Header> {
    if block.len() != 512 {
        return None;
    }
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(i, b)| if CHECKSUM.contains(&i) { u64::from(b' ') } else { u64::from(*b) })
        .sum();
    if number(block.get(CHECKSUM)?)? != sum {
        return None;
    }
    let size = number(block.get(124..136)?)?;
    let mut text = block.to_vec();
    for range in NUMBERS {
        text.get_mut(range)?.fill(b'\n');
    }
    text.iter_mut().filter(|b| **b == 0).for_each(|b| *b = b'\n');
    let part = |range: std::ops::Range<usize>| {
        let bytes = block.get(range).unwrap_or_default();
        String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
    };
    // Links and directories have no content, whatever their size says.
    let size = if matches!(block.get(156), Some(b'1' | b'2' | b'3' | b'4' | b'5' | b'6')) { 0 } else { size };
    Some(Header { name: part(0..100), size, text })
}

/// Octal digits, or GNU's base 256 with the top bit set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        return rest.iter().try_fold(0u64, |n, b| n.checked_mul(256)?.checked_add(u64::from(*b)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(|c| c == ' ' || c == '\0');
    if text.is_empty() {
        return Some(0);
    }
    if !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

//! The write-ahead log of a database, and the journal that undoes a change: pages as they will be, or were.
//!
//! Source: <https://www.sqlite.org/fileformat2.html>, version 3, 3 and 4.

use std::io::{Read, Seek, SeekFrom};

use super::super::batch::Sink;
use super::super::{ExtractError, Source, Visit, marks};
use super::carve::Carver;
use super::record::{DAMAGED, HEADER, four, two};
use crate::place::{FieldKind, Unit};

const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// What is looked at once where the pages cannot be told apart.
const STRETCH: u64 = 1 << 20;

impl Visit<'_> {
    pub(in super::super) fn sqlite_log(
        &mut self,
        source: Source<'_>,
        path: &str,
        depth: u32,
    ) -> Result<(), ExtractError> {
        let mut head = Vec::new();
        source.reader().take(LOG_HEADER).read_to_end(&mut head)?;
        let mut sink = Sink::new(self.detectors);
        (sink.unit, sink.column) = (Unit::Row, FieldKind::Column);
        sink.tally.is_table = true;
        let walked = log(source, &head, &mut sink);
        self.note_and_follow(sink, path, depth);
        walked
    }
}

fn log(source: Source<'_>, head: &[u8], sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    let mut carver = Carver::default();
    let Some(pages) = pages(source, head) else {
        let mut at = 0;
        while at < source.len() {
            carver.gaps(&part(source, at, STRETCH)?, Vec::new(), &[], sink)?;
            at += STRETCH;
        }
        return carver.finish(sink);
    };
    // What the tables are called first: the page that says it may be the last.
    for place in pages.places() {
        let page = part(source, place, pages.size)?;
        if page.starts_with(b"SQLite format 3\0") {
            carver.encoding = four(&page, 56)?;
        }
        carver.learn(&page, pages.size as usize);
    }
    for place in pages.places() {
        carver.page(&part(source, place, pages.size)?, pages.size as usize, sink)?;
    }
    carver.finish(sink)
}

/// Where the pages of a log or journal stand.
struct Pages {
    first: u64,
    apart: u64,
    size: u64,
    end: u64,
}

impl Pages {
    fn places(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, apart, end) = (self.first, self.apart, self.end);
        (0..).map(move |i| first + i * apart).take_while(move |place| *place < end)
    }
}

fn pages(source: Source<'_>, head: &[u8]) -> Option<Pages> {
    let end = source.len();
    if marks::SQLITE_LOG.iter().any(|magic| head.starts_with(magic)) {
        let size = Some(u64::from(four(head, 8).ok()?)).filter(marks::is_page_size)?;
        return Some(Pages { first: LOG_HEADER + FRAME_HEADER, apart: FRAME_HEADER + size, size, end });
    }
    if let Some((sector, size)) = marks::journal_sizes(head) {
        // Each page stands between its number and a checksum.
        return Some(Pages { first: sector + 4, apart: size + 8, size, end });
    }
    // It is over: the sizes are those with which the first pages look like some.
    let sizes = (9..=16).map(|n| 1u64 << n);
    let is_page = |at: u64| {
        let kind = part(source, at, 104).unwrap_or_default();
        let start = if kind.starts_with(b"SQLite format 3\0") { HEADER } else { 0 };
        kind.get(start).is_some_and(|b| matches!(b, 0x0d | 0x0a | 0x05 | 0x02))
            && two(&kind, start + 3).is_ok_and(|cells| cells < 16_384)
    };
    let fits = |size: &u64| is_page(516) && is_page(516 + size + 8);
    let size = sizes.into_iter().find(fits)?;
    Some(Pages { first: 516, apart: size + 8, size, end })
}

fn part(source: Source<'_>, at: u64, length: u64) -> Result<Vec<u8>, ExtractError> {
    let mut reader = source.reader();
    reader.seek(SeekFrom::Start(at)).map_err(|_| DAMAGED)?;
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

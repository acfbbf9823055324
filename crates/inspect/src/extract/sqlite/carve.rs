//! Records that no tree accounts for: in pages of the free list, in the gaps of pages, in logs and journals. What was deleted stays
//! there until something else needs the room.

use super::super::batch::{Batch, Sink};
use super::super::{ExtractError, text};
use super::record::{self, HEADER, Value, four, push, two, varint};
use super::schema::Table;
use crate::encodings::{is_utf16, readable};
use crate::report::NO_COLUMN;

/// Columns of a record without a table that names them; more in a row are chance.
const MOST_KINDS: usize = 64;
/// Bytes of the first value, which the list of free blocks has overwritten the type of.
const LONGEST_FIRST: usize = 64;
/// Tables told apart of a log alone.
const MOST_TABLES: usize = 1_000;
/// Records that one free block is taken apart into.
const MOST_IN_BLOCK: usize = 2_000;

/// What was left, and what is known of the tables that it was in.
#[derive(Default)]
pub(super) struct Carver {
    pub(super) tables: Vec<Table>,
    /// 1 UTF-8, 2 UTF-16 little-endian, 3 big-endian, 0 not known.
    pub(super) encoding: u32,
    batch: Batch,
    row: u64,
    /// Readable stretches, as they stand there.
    loose: Vec<u8>,
}

/// A record that stands at a place.
struct Found {
    values: Vec<Value>,
    columns: usize,
    /// Columns whose values are lost.
    lost: usize,
    end: usize,
}

impl Carver {
    pub(super) fn new(encoding: u32) -> Carver {
        Carver { encoding, ..Carver::default() }
    }

    /// A page that may be any: its cells, where it has some, and its gaps.
    pub(super) fn page(
        &mut self,
        page: &[u8],
        usable: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let start = if page.starts_with(b"SQLite format 3\0") { HEADER } else { 0 };
        let mut taken = Vec::new();
        if let Some(pointers) = cells(page, start) {
            taken.push((0, start + 8 + 2 * pointers.len()));
            let is_table = page.get(start) == Some(&0x0d);
            for at in pointers {
                if let Some((values, end)) = self.cell(page, at, usable, is_table) {
                    let columns = values.len();
                    self.push(&values, columns, 0, sink)?;
                    taken.push((at, end));
                }
            }
        }
        let blocks = free_blocks(page, start);
        self.gaps(page, taken, &blocks, sink)
    }

    /// Learns what the rows of a schema on this page define.
    pub(super) fn learn(&mut self, page: &[u8], usable: usize) {
        let start = if page.starts_with(b"SQLite format 3\0") { HEADER } else { 0 };
        for at in cells(page, start).unwrap_or_default() {
            let row = self.cell(page, at, usable, true);
            if let Some(table) = row.and_then(|(values, _)| Table::of(&values))
                && self.tables.len() < MOST_TABLES
                && !self.tables.contains(&table)
            {
                self.tables.push(table);
            }
        }
    }

    /// The record of a cell, as far as it stands on its page, and where that part ends.
    fn cell(&self, page: &[u8], at: usize, usable: usize, is_table: bool) -> Option<(Vec<Value>, usize)> {
        let mut from = at;
        let length = usize::try_from(varint(page, &mut from).ok()?).ok()?;
        if is_table {
            varint(page, &mut from).ok()?;
        }
        let (local, overflows) = record::local(length, usable, is_table);
        let payload = page.get(from..from + local).or(page.get(from..))?;
        let values = record::beginning(payload, self.encoding_of(payload));
        (!values.is_empty()).then_some((values, from + local + if overflows { 4 } else { 0 }))
    }

    /// What lies between `taken` parts of a page.
    pub(super) fn gaps(
        &mut self,
        page: &[u8],
        mut taken: Vec<(usize, usize)>,
        blocks: &[(usize, usize)],
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        taken.sort_unstable();
        taken.push((page.len(), page.len()));
        let mut at = 0;
        for (from, to) in taken {
            if from > at {
                let gap = page.get(at..from).unwrap_or_default();
                self.loose.extend_from_slice(&readable::strings(gap));
                self.records(gap, sink)?;
            }
            at = at.max(to);
        }
        for (from, size) in blocks {
            // The first four bytes of each cell in it became a link to the next block.
            let block = page.get(*from..from + size).unwrap_or_default();
            let mut lost = vec![false; block.len() + 1];
            let mut found = Vec::new();
            if self.chain(block, page.len(), 0, &mut lost, &mut found) {
                for record in found {
                    self.push(&record.values, record.columns, record.lost, sink)?;
                }
            }
        }
        if self.loose.len() > super::super::batch::FULL { self.finish(sink) } else { Ok(()) }
    }

    /// Whole records wherever they begin.
    pub(super) fn records(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(found) = self.whole(bytes.get(at..).unwrap_or_default()) else {
                at += 1;
                continue;
            };
            self.push(&found.values, found.columns, 0, sink)?;
            at += found.end.max(1);
        }
        Ok(())
    }

    /// The record that `bytes` begin with, from its header on.
    fn whole(&self, bytes: &[u8]) -> Option<Found> {
        let header = usize::from(*bytes.first().filter(|b| (2..=127).contains(*b))?);
        let mut at = 1;
        let mut kinds = Vec::new();
        while at < header && kinds.len() < MOST_KINDS {
            kinds.push(varint(bytes.get(..header)?, &mut at).ok()?);
        }
        let is_known = self.tables.is_empty() || self.tables.iter().any(|t| t.columns.len() == kinds.len());
        (at == header && is_known && kinds.len() > 1).then_some(())?;
        let columns = kinds.len();
        self.body(bytes, header, &kinds, columns, 0)
    }

    /// Values of these types at `at`, when they make sense.
    fn body(&self, bytes: &[u8], at: usize, kinds: &[u64], columns: usize, lost: usize) -> Option<Found> {
        let mut end = at;
        for kind in kinds {
            end = end.checked_add(record::length(*kind)?)?;
        }
        let body = bytes.get(at..end)?;
        let values = record::take(kinds, body, self.encoding_of(body));
        let sense = |v: &Value| match v {
            Value::Text(text) => reads(text),
            Value::Real(real) => real.is_finite(),
            _ => true,
        };
        let says = |v: &Value| match v {
            Value::Text(text) => text.len() >= 4,
            Value::Integer(number) => number.unsigned_abs() > 1 << 24,
            Value::Real(_) => true,
            _ => false,
        };
        (values.iter().all(sense) && values.iter().any(says)).then_some(Found { values, columns, lost, end })
    }

    /// Takes a block of freed cells apart, each without its first four bytes: what of the header is left says how long the values
    /// are that have a type; the length of a first value that has none follows from where the next cell begins.
    fn chain(
        &self,
        block: &[u8],
        page: usize,
        at: usize,
        failed: &mut [bool],
        found: &mut Vec<Found>,
    ) -> bool {
        if at == block.len() {
            return true;
        }
        // What became of the four bytes: where the next block was, and how long this one.
        let Ok(link) = four(block, at) else { return false };
        let (next, size) = ((link >> 16) as usize, (link & 0xffff) as usize);
        if next > page || !(4..=block.len() - at).contains(&size) {
            return false;
        }
        if failed.get(at).copied().unwrap_or(true) || found.len() >= MOST_IN_BLOCK {
            return false;
        }
        let mut counts: Vec<usize> =
            self.tables.iter().filter(|t| !t.is_index).map(|t| t.columns.len()).collect();
        counts.sort_unstable();
        counts.dedup();
        for columns in counts.into_iter().filter(|c| (2..=MOST_KINDS).contains(c)) {
            for lost in [0, 1] {
                let mut from = at + 4;
                let mut kinds = Vec::new();
                while kinds.len() < columns - lost {
                    let Ok(kind) = varint(block, &mut from) else { break };
                    kinds.push(kind);
                }
                if kinds.len() < columns - lost {
                    continue;
                }
                for first in 0..=if lost == 1 { LONGEST_FIRST } else { 0 } {
                    let Some(record) = self.body(block, from + first, &kinds, columns, lost) else {
                        continue;
                    };
                    let end = record.end;
                    let kept = found.len();
                    found.push(record);
                    if self.chain(block, page, end, failed, found) {
                        return true;
                    }
                    found.truncate(kept);
                }
            }
        }
        if let Some(failed) = failed.get_mut(at) {
            *failed = true;
        }
        false
    }

    fn push(
        &mut self,
        values: &[Value],
        columns: usize,
        lost: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        self.row += 1;
        let table = self.tables.iter().find(|t| !t.is_index && t.columns.len() == columns);
        let names: &[String] = table.and_then(|t| t.columns.get(lost..)).unwrap_or_default();
        let numbers: Vec<u32> = (0..values.len())
            .map(|i| match names.get(i) {
                Some(name) => sink.tally.column(name),
                None if values.len() > 1 => sink.tally.column(&format!("{} of {columns}", lost + i + 1)),
                None => NO_COLUMN,
            })
            .collect();
        push(&mut self.batch, names, &numbers, values, self.row);
        if self.batch.is_full() { sink.take(&mut self.batch) } else { Ok(()) }
    }

    /// Scans what was gathered.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        sink.take(&mut self.batch)?;
        text::walk(&mut &*std::mem::take(&mut self.loose), sink)
    }

    fn encoding_of(&self, bytes: &[u8]) -> u32 {
        match self.encoding {
            // A log alone does not say.
            0 if is_utf16(bytes.get((bytes.len() / 2) & !1..).unwrap_or_default()) => 2,
            encoding => encoding,
        }
    }
}

/// Whether a text is one.
fn reads(text: &[u8]) -> bool {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(is_control))
}

/// Where the cells of a leaf begin, when this is one.
fn cells(page: &[u8], start: usize) -> Option<Vec<usize>> {
    page.get(start).filter(|kind| matches!(kind, 0x0d | 0x0a))?;
    let count = usize::from(two(page, start + 3).ok()?);
    let first = start + 8 + 2 * count;
    let cells: Vec<usize> =
        (0..count).map_while(|i| two(page, start + 8 + 2 * i).ok()).map(usize::from).collect();
    (cells.len() == count && cells.iter().all(|at| (first..page.len()).contains(at))).then_some(cells)
}

/// The blocks of a page that were freed: where each begins and how long it is.
pub(super) fn free_blocks(page: &[u8], start: usize) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    if !page.get(start).is_some_and(|kind| matches!(kind, 0x0d | 0x0a | 0x05 | 0x02)) {
        return blocks;
    }
    let mut next = two(page, start + 1).map_or(0, usize::from);
    while next > 0 {
        let Ok(link) = four(page, next) else { break };
        let (after, size) = ((link >> 16) as usize, (link & 0xffff) as usize);
        if size < 4 || next + size > page.len() {
            break;
        }
        blocks.push((next, size));
        // They are in the order of their places.
        if after <= next {
            break;
        }
        next = after;
    }
    blocks
}

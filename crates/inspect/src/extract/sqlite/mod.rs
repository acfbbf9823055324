//! SQLite databases: the rows of every table, with the names of their columns, and what lies in pages and gaps that no row
//! accounts for (deleted rows); their logs and journals.
//!
//! Source: <https://www.sqlite.org/fileformat2.html>, version 3.

mod carve;
mod log;
mod record;
mod schema;

use std::io::{Read, Seek, SeekFrom};

use super::batch::{Batch, Sink};
use super::{ExtractError, Source, Visit};
use crate::place::{FieldKind, Unit};
use carve::{Carver, free_blocks};
use record::{DAMAGED, HEADER, Value, byte, four, local, push, record, two, varint};
use schema::Table;

/// Levels of a tree; 20 hold more than a file of the largest size.
const DEEPEST: u32 = 20;

struct Database<'a> {
    source: Source<'a>,
    page_size: usize,
    /// Bytes of a page that the format uses.
    usable: usize,
    /// 1 UTF-8, 2 UTF-16 little-endian, 3 big-endian.
    encoding: u32,
    pages: u64,
    seen: Vec<bool>,
    /// What no row accounts for.
    left: Carver,
}

impl Visit<'_> {
    pub(super) fn sqlite(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let mut database = Database::open(source)?;
        let mut sink = Sink::new(self.detectors);
        (sink.unit, sink.column) = (Unit::Row, FieldKind::Column);
        sink.tally.is_table = true;
        let walked = self.tables(&mut database, &mut sink);
        if walked.is_ok() {
            for page in 1..=database.pages {
                if !database.is_seen(page) {
                    let bytes = database.page(page)?;
                    database.left.page(&bytes, database.usable, &mut sink)?;
                }
            }
            database.left.finish(&mut sink)?;
        }
        self.note_and_follow(sink, path, depth);
        walked
    }

    fn tables(&mut self, database: &mut Database<'_>, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        let mut tables = Vec::new();
        self.rows(
            database,
            1,
            &mut |values, batch| {
                tables.extend(Table::of(values));
                push(batch, &[], &[], values, 0);
            },
            sink,
        )?;
        database.left.tables.clone_from(&tables);
        for table in tables {
            // A virtual table has no root of its own.
            if table.root == 0 || database.is_seen(table.root) {
                continue;
            }
            if table.is_index {
                // What it says stands in its table, too; what was deleted from it may stand nowhere else.
                let seen = database.seen.clone();
                match self.rows(database, table.root, &mut |_, _| {}, sink) {
                    // Its pages are read as they are.
                    Err(ExtractError::Damaged(_)) => database.seen = seen,
                    walked => walked?,
                }
                continue;
            }
            let numbers: Vec<u32> = table.columns.iter().map(|name| sink.tally.column(name)).collect();
            let mut row = 0;
            self.rows(
                database,
                table.root,
                &mut |values, batch| {
                    row += 1;
                    push(batch, &table.columns, &numbers, values, row);
                },
                sink,
            )?;
        }
        Ok(())
    }

    /// Puts what compressed values say in their place.
    fn unpack_values(&mut self, values: &mut [Value]) -> Result<(), ExtractError> {
        for value in values {
            if let Value::Blob(blob) = value
                && let Some(bytes) = self.unpacked_value(blob)?
            {
                *blob = bytes;
            }
        }
        Ok(())
    }

    /// Gives the records of the tree at `root` to `each`, in no particular order.
    fn rows(
        &mut self,
        database: &mut Database<'_>,
        root: u64,
        each: &mut dyn FnMut(&[Value], &mut Batch),
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let mut batch = Batch::default();
        let mut todo = vec![(root, 0)];
        while let Some((number, level)) = todo.pop() {
            if level > DEEPEST || !database.mark(number) {
                return Err(DAMAGED);
            }
            let page = database.page(number)?;
            let start = if number == 1 { HEADER } else { 0 };
            let kind = byte(&page, start)?;
            let is_leaf = matches!(kind, 0x0d | 0x0a);
            if !is_leaf && !matches!(kind, 0x05 | 0x02) {
                return Err(DAMAGED);
            }
            let cells = usize::from(two(&page, start + 3)?);
            let pointers = start + if is_leaf { 8 } else { 12 };
            if !is_leaf {
                todo.push((four(&page, start + 8)?.into(), level + 1));
            }
            let mut taken = vec![(0, pointers + 2 * cells)];
            for cell in 0..cells {
                let mut at = usize::from(two(&page, pointers + 2 * cell)?);
                let from = at;
                if !is_leaf {
                    todo.push((four(&page, at)?.into(), level + 1));
                    at += 4;
                }
                if kind == 0x05 {
                    continue;
                }
                let length = varint(&page, &mut at)?;
                if kind == 0x0d {
                    varint(&page, &mut at)?;
                }
                self.spend(length)?;
                let (payload, end) = database.payload(&page, at, length, kind == 0x0d, self.limits.held)?;
                taken.push((from, end));
                let mut values = record(&payload, database.encoding)?;
                self.unpack_values(&mut values)?;
                each(&values, &mut batch);
                if batch.is_full() {
                    sink.take(&mut batch)?;
                }
            }
            let blocks = free_blocks(&page, start);
            database.left.gaps(&page, taken, &blocks, sink)?;
        }
        sink.take(&mut batch)
    }
}

impl<'a> Database<'a> {
    fn open(source: Source<'a>) -> Result<Self, ExtractError> {
        let mut header = Vec::new();
        source.reader().take(HEADER as u64).read_to_end(&mut header)?;
        let page_size = match two(&header, 16)? {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            _ => return Err(DAMAGED),
        };
        let usable = page_size - usize::from(byte(&header, 20)?);
        if usable < 480 {
            return Err(DAMAGED);
        }
        let pages = source.len().div_ceil(page_size as u64);
        let seen = vec![false; usize::try_from(pages).map_err(|_| DAMAGED)?];
        let encoding = four(&header, 56)?;
        let left = Carver::new(encoding);
        Ok(Database { source, page_size, usable, encoding, pages, seen, left })
    }

    fn page(&self, number: u64) -> Result<Vec<u8>, ExtractError> {
        let mut reader = self.source.reader();
        reader.seek(SeekFrom::Start((number.max(1) - 1) * self.page_size as u64))?;
        let mut page = Vec::with_capacity(self.page_size);
        reader.take(self.page_size as u64).read_to_end(&mut page)?;
        Ok(page)
    }

    fn is_seen(&self, number: u64) -> bool {
        number.checked_sub(1).and_then(|i| self.seen.get(i as usize)).copied().unwrap_or(true)
    }

    /// Notes that a page is part of a tree; false when it was before, or is none.
    fn mark(&mut self, number: u64) -> bool {
        let seen = number.checked_sub(1).and_then(|i| self.seen.get_mut(i as usize));
        seen.is_some_and(|seen| !std::mem::replace(seen, true))
    }

    /// A payload of `length` bytes that begins at `at`, with what overflows into other pages; and where the cell ends.
    fn payload(
        &mut self,
        page: &[u8],
        at: usize,
        length: u64,
        is_table: bool,
        most: usize,
    ) -> Result<(Vec<u8>, usize), ExtractError> {
        let length =
            usize::try_from(length).ok().filter(|n| *n <= most).ok_or(ExtractError::Limit("one value"))?;
        let usable = self.usable;
        let (local, overflows) = local(length, usable, is_table);
        if !overflows {
            return Ok((page.get(at..at + length).ok_or(DAMAGED)?.to_vec(), at + length));
        }
        let mut payload = page.get(at..at + local).ok_or(DAMAGED)?.to_vec();
        let mut next = u64::from(four(page, at + local)?);
        while payload.len() < length {
            // An overflow page belongs to one row.
            if !self.mark(next) {
                return Err(DAMAGED);
            }
            let more = self.page(next)?;
            let part = (length - payload.len()).min(usable - 4);
            payload.extend_from_slice(more.get(4..4 + part).ok_or(DAMAGED)?);
            next = four(&more, 0)?.into();
        }
        Ok((payload, at + local + 4))
    }
}

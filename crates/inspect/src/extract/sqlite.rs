//! SQLite databases: the rows of every table, with the names of their columns, and what lies in pages and gaps that no row
//! accounts for (deleted rows).
//!
//! Source: <https://www.sqlite.org/fileformat2.html>, version 3.

use std::io::{Read, Seek, SeekFrom};

use super::batch::{Batch, Coding, Sink};
use super::{ExtractError, Source, Visit};
use crate::encodings::{is_binary, readable};
use crate::report::NO_COLUMN;

const HEADER: usize = 100;
/// Levels of a tree; 20 hold more than a file of the largest size.
const DEEPEST: u32 = 20;
/// Columns of a table; what SQLite itself allows.
const MOST_COLUMNS: usize = 2_000;
const DAMAGED: ExtractError = ExtractError::Damaged("SQLite database");

/// A table as its definition names it.
struct Table {
    root: u64,
    columns: Vec<String>,
}

/// One value of a record.
enum Value {
    Nothing,
    Integer(i64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

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
    loose: Vec<u8>,
}

impl Visit<'_> {
    pub(super) fn sqlite(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let mut database = Database::open(source)?;
        let mut sink = Sink::new(self.detectors);
        (sink.unit, sink.column) = ("row", "column");
        sink.tally.is_table = true;
        let walked = self.tables(&mut database, &mut sink);
        if walked.is_ok() {
            for page in 1..=database.pages {
                if !database.is_seen(page) {
                    let bytes = database.page(page)?;
                    database.loosen(&bytes);
                }
                if database.loose.len() > super::batch::FULL || page == database.pages {
                    super::text::walk(&mut &*std::mem::take(&mut database.loose), &mut sink)?;
                }
            }
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
                let text = |i: usize| match values.get(i) {
                    Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
                    _ => String::new(),
                };
                if let (true, Some(Value::Integer(root))) = (text(0) == "table", values.get(3)) {
                    let root = u64::try_from(*root).unwrap_or(0);
                    tables.push(Table { root, columns: columns(&text(4)) });
                }
                push(batch, &[], &[], values, 0);
            },
            sink,
        )?;
        for table in tables {
            // A virtual table has no root of its own.
            if table.root == 0 || database.is_seen(table.root) {
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
                each(&record(&payload, database.encoding)?, &mut batch);
                if batch.is_full() {
                    sink.take(&mut batch)?;
                }
            }
            database.loosen_gaps(&page, taken);
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
        Ok(Database {
            source,
            page_size,
            usable,
            encoding: four(&header, 56)?,
            pages,
            seen,
            loose: Vec::new(),
        })
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
        let largest = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if length <= largest {
            return Ok((page.get(at..at + length).ok_or(DAMAGED)?.to_vec(), at + length));
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let fit = least + (length - least) % (usable - 4);
        let local = if fit <= largest { fit } else { least };
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

    fn loosen(&mut self, bytes: &[u8]) {
        let text = readable::strings(bytes);
        self.loose.extend_from_slice(&text);
    }

    fn loosen_gaps(&mut self, page: &[u8], mut taken: Vec<(usize, usize)>) {
        taken.sort_unstable();
        let mut at = 0;
        for (from, to) in taken {
            if from > at {
                self.loosen(page.get(at..from).unwrap_or_default());
            }
            at = at.max(to);
        }
        self.loosen(page.get(at..).unwrap_or_default());
    }
}

fn push(batch: &mut Batch, columns: &[String], numbers: &[u32], values: &[Value], row: u64) {
    for (i, value) in values.iter().enumerate() {
        let label = columns.get(i).map_or("", String::as_str);
        let column = numbers.get(i).copied().unwrap_or(NO_COLUMN);
        let text = match value {
            Value::Nothing => continue,
            Value::Integer(number) => number.to_string().into_bytes(),
            Value::Text(text) => text.clone(),
            Value::Blob(blob) if is_binary(blob) => readable::strings(blob),
            Value::Blob(blob) => blob.clone(),
        };
        batch.push(0..0, label, &text, (column, row), Coding::Plain);
    }
}

fn record(payload: &[u8], encoding: u32) -> Result<Vec<Value>, ExtractError> {
    let mut at = 0;
    let header = usize::try_from(varint(payload, &mut at)?).map_err(|_| DAMAGED)?;
    let (mut body, mut values) = (header, Vec::new());
    while at < header && values.len() < MOST_COLUMNS {
        let kind = varint(payload, &mut at)?;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            12.. => usize::try_from((kind - 12) / 2).map_err(|_| DAMAGED)?,
            _ => return Err(DAMAGED),
        };
        let end = body.checked_add(length).ok_or(DAMAGED)?;
        let bytes = payload.get(body..end).ok_or(DAMAGED)?;
        body = end;
        values.push(match kind {
            1..=6 => Value::Integer(integer(bytes)),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            13.. if kind % 2 == 1 => Value::Text(text(bytes, encoding)),
            12.. => Value::Blob(bytes.to_vec()),
            _ => Value::Nothing,
        });
    }
    Ok(values)
}

fn text(bytes: &[u8], encoding: u32) -> Vec<u8> {
    let unit: fn([u8; 2]) -> u16 = match encoding {
        2 => u16::from_le_bytes,
        3 => u16::from_be_bytes,
        _ => return bytes.to_vec(),
    };
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect::<String>().into_bytes()
}

fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|b| b & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |n, b| n << 8 | i64::from(*b))
}

/// The names of the columns that a `CREATE TABLE` lists; empty where it cannot be told.
fn columns(sql: &str) -> Vec<String> {
    let Some(open) = sql.find('(') else { return Vec::new() };
    let (mut depth, mut quote, mut parts, mut part) = (0, None, Vec::new(), String::new());
    for c in sql.get(open + 1..).unwrap_or_default().chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('[', None) => quote = Some(']'),
            ('(', None) => depth += 1,
            (')', None) if depth == 0 => break,
            (')', None) => depth -= 1,
            (',', None) if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let quotes = ['"', '\'', '`', '[', ']'];
    let name = |part: String| {
        let part = part.trim().to_owned();
        let quoted = part.starts_with(quotes).then(|| part.split(quotes).nth(1)).flatten();
        quoted.or(part.split_whitespace().next()).unwrap_or_default().to_owned()
    };
    parts.into_iter().take(MOST_COLUMNS).map(name).collect()
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, ExtractError> {
    let mut value = 0;
    for i in 0..9 {
        let b = byte(bytes, *at)?;
        *at += 1;
        if i == 8 {
            return Ok(value << 8 | u64::from(b));
        }
        value = value << 7 | u64::from(b & 0x7f);
        if b & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, ExtractError> {
    bytes.get(at).copied().ok_or(DAMAGED)
}

fn two(bytes: &[u8], at: usize) -> Result<u16, ExtractError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_be_bytes(*b)).ok_or(DAMAGED)
}

fn four(bytes: &[u8], at: usize) -> Result<u32, ExtractError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b)).ok_or(DAMAGED)
}

//! Excel 5 to 2003 (MS-XLS): cells under the names of their columns, shared strings, comments.

use std::collections::HashMap;

use super::shared::ENCRYPTED;
use crate::extract::ExtractError;
use crate::extract::batch::{Batch, Coding, Sink};
use crate::extract::loose::{four, latin, strings, two, utf16};
use crate::report::NO_COLUMN;

const FORMULA: u16 = 0x0006;
const FILE_PASS: u16 = 0x002f;
const CONTINUE: u16 = 0x003c;
const MULTIPLE_RK: u16 = 0x00bd;
const RICH_LABEL: u16 = 0x00d6;
const SHARED: u16 = 0x00fc;
const SHARED_LABEL: u16 = 0x00fd;
const NUMBER: u16 = 0x0203;
const LABEL: u16 = 0x0204;
const RESULT: u16 = 0x0207;
const RK: u16 = 0x027e;
const BEGIN: u16 = 0x0809;
const EXCEL_97: u16 = 0x0600;
/// The longest name of a column, in bytes.
const LONGEST_LABEL: usize = 64;
/// Whole numbers up to here are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

struct Sheets<'s, 'a> {
    sink: &'s mut Sink<'a>,
    batch: Batch,
    /// Characters may be of two bytes.
    is_wide: bool,
    shared: Vec<String>,
    /// Which sheet it is, from 1; before the first there are no cells.
    number: u32,
    /// The first row that has cells, and what it calls its columns.
    header: Option<u16>,
    labels: HashMap<u16, (String, u32)>,
    /// Where the last formula stands.
    formula: (u16, u16),
    rest: Vec<u8>,
}

pub(super) fn read(book: &[u8], sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    sink.tally.is_table = true;
    let mut sheets = Sheets {
        sink,
        batch: Batch::default(),
        is_wide: true,
        shared: Vec::new(),
        number: 0,
        header: None,
        labels: HashMap::new(),
        formula: (0, 0),
        rest: Vec::new(),
    };
    let mut at = 0;
    while let (Some(kind), Some(length)) = (two(book, at), two(book, at + 2)) {
        let mut end = at + 4 + usize::from(length);
        let data = book.get(at + 4..end.min(book.len())).unwrap_or_default();
        if kind == FILE_PASS {
            return Err(ENCRYPTED);
        }
        if kind == SHARED {
            // What goes on in other records is read with it, each with where it begins.
            let mut parts = vec![data];
            while two(book, end) == Some(CONTINUE) {
                let next = end + 4 + usize::from(two(book, end + 2).unwrap_or(0));
                parts.push(book.get(end + 4..next.min(book.len())).unwrap_or_default());
                end = next;
            }
            sheets.shared = Strings { parts: &parts, part: 0, at: 8 }.all();
        } else {
            sheets.record(kind, data)?;
        }
        at = end;
    }
    let Sheets { mut batch, sink, rest, .. } = sheets;
    sink.take(&mut batch)?;
    crate::extract::text::walk(&mut &*rest, sink)
}

impl Sheets<'_, '_> {
    fn record(&mut self, kind: u16, data: &[u8]) -> Result<(), ExtractError> {
        let place = two(data, 0).zip(two(data, 2));
        match (kind, place) {
            (BEGIN, Some((version, _))) => {
                self.is_wide = version >= EXCEL_97;
                self.number += 1;
                self.header = None;
                self.labels.clear();
            }
            (SHARED_LABEL, Some(place)) => {
                let index = four(data, 6).unwrap_or(u32::MAX) as usize;
                let text = self.shared.get(index).cloned().unwrap_or_default();
                self.cell(place, &text, true)?;
            }
            (LABEL | RICH_LABEL, Some(place)) => {
                let text = string(data.get(6..).unwrap_or_default(), self.is_wide);
                self.cell(place, &text, true)?;
            }
            (NUMBER, Some(place)) => {
                self.cell(place, &double(data, 6), false)?;
            }
            (FORMULA, Some(place)) => {
                self.formula = place;
                self.rest.extend(strings(data.get(20..).unwrap_or_default()));
                if data.get(12..14) != Some(&[0xff, 0xff]) {
                    self.cell(place, &double(data, 6), false)?;
                }
            }
            (RESULT, _) => {
                let text = string(data, self.is_wide);
                self.cell(self.formula, &text, true)?;
            }
            (RK, Some(place)) => {
                self.cell(place, &rk(four(data, 6).unwrap_or(0)), false)?;
            }
            (MULTIPLE_RK, Some((row, first))) => {
                for (i, one) in data.get(4..).unwrap_or_default().chunks_exact(6).enumerate() {
                    let column = first.saturating_add(i as u16);
                    self.cell((row, column), &rk(four(one, 2).unwrap_or(0)), false)?;
                }
            }
            _ => self.rest.extend(strings(data)),
        }
        Ok(())
    }

    fn cell(&mut self, (row, column): (u16, u16), text: &str, is_text: bool) -> Result<(), ExtractError> {
        let header = *self.header.get_or_insert(row);
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let names = is_text && text.len() <= LONGEST_LABEL && !text.contains('@') && digits * 2 < text.len();
        let at = u64::from(row) + 1;
        if row == header && names {
            let number = self.sink.tally.column(&format!("sheet {}!{column} {text}", self.number));
            self.labels.insert(column, (text.to_owned(), number));
            self.batch.push_label(0..0, text.as_bytes(), at, Coding::Plain);
        } else {
            let (label, number) = match self.labels.get(&column) {
                Some((label, number)) => (label.as_str(), *number),
                None => ("", NO_COLUMN),
            };
            self.batch.push(0..0, label, text.as_bytes(), (number, at), Coding::Plain);
        }
        if self.batch.is_full() { self.sink.take(&mut self.batch) } else { Ok(()) }
    }
}

/// The shared strings, which may go on in the next record in the middle of a character's row.
struct Strings<'b> {
    parts: &'b [&'b [u8]],
    part: usize,
    at: usize,
}

impl Strings<'_> {
    fn all(mut self) -> Vec<String> {
        let mut strings = Vec::new();
        while let Some(string) = self.next() {
            strings.push(string);
        }
        strings
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        loop {
            let part = self.parts.get(self.part)?;
            if self.at < part.len() || length == 0 {
                break;
            }
            (self.part, self.at) = (self.part + 1, 0);
        }
        let part = self.parts.get(self.part)?;
        let bytes = part.get(self.at..part.len().min(self.at.saturating_add(length)))?;
        self.at += bytes.len();
        Some(bytes)
    }

    fn next(&mut self) -> Option<String> {
        let head = self.take(3)?;
        let (mut left, mut flags) = (usize::from(two(head, 0)?), *head.get(2)?);
        let is_rich = flags & 8 != 0;
        let is_extended = flags & 4 != 0;
        let runs = if is_rich { usize::from(two(self.take(2)?, 0)?) * 4 } else { 0 };
        let extension = if is_extended { four(self.take(4)?, 0)? as usize } else { 0 };
        let mut text = String::new();
        while left > 0 {
            let part = self.part;
            let width = 1 + usize::from(flags & 1);
            let room = self.parts.get(part)?.len().saturating_sub(self.at) / width;
            if room == 0 {
                // The next record begins with how it is written.
                (self.part, self.at) = (part + 1, 0);
                flags = *self.take(1)?.first()?;
                continue;
            }
            let bytes = self.take(left.min(room) * width)?;
            left -= bytes.len() / width;
            text.push_str(&if width == 2 { utf16(bytes) } else { latin(bytes) });
        }
        let mut skip = runs.saturating_add(extension);
        while skip > 0 {
            let Some(bytes) = self.take(skip) else { break };
            skip -= bytes.len();
        }
        Some(text)
    }
}

/// A string with its length before it.
fn string(data: &[u8], is_wide: bool) -> String {
    let length = usize::from(two(data, 0).unwrap_or(0));
    if !is_wide {
        return latin(data.get(2..data.len().min(2 + length)).unwrap_or_default());
    }
    match data.get(2) {
        Some(flags) if flags & 1 != 0 => {
            utf16(data.get(3..data.len().min(3 + length * 2)).unwrap_or_default())
        }
        Some(_) => latin(data.get(3..data.len().min(3 + length)).unwrap_or_default()),
        None => String::new(),
    }
}

fn double(data: &[u8], at: usize) -> String {
    let bytes = data.get(at..).and_then(|b| b.first_chunk());
    number(bytes.map_or(0.0, |b| f64::from_le_bytes(*b)))
}

/// A number in four bytes: the upper half of a double or a whole number, perhaps of hundredths.
fn rk(code: u32) -> String {
    let value = if code & 2 != 0 {
        f64::from((code as i32) >> 2)
    } else {
        f64::from_bits(u64::from(code & !3) << 32)
    };
    number(if code & 1 != 0 { value / 100.0 } else { value })
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() <= EXACT { format!("{value:.0}") } else { value.to_string() }
}

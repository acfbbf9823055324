//! CSV and its dialects: fields by raw span, so that everything but a replaced value stays byte for byte.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

use super::batch::{Batch, Coding, FULL, Sink};
use super::{ExtractError, regular};
use crate::place::{FieldKind, FileSpot, Unit};
use crate::report::NO_COLUMN;

/// Bytes of one record; beyond it a quote is taken for a stray one and the line ends the record.
const LONGEST_RECORD: usize = 1 << 20;
/// Columns told apart in one record.
const MOST_FIELDS: usize = 4096;
const DELIMITERS: &[u8] = b",;\t|";

/// The delimiter that cuts the first lines into the same number of fields, at least two.
pub(crate) fn sniff(head: &[u8]) -> Option<u8> {
    let complete = memchr::memrchr(b'\n', head).map_or(head, |end| head.get(..end).unwrap_or(head));
    let mut fields = Vec::new();
    let mut count = |d: u8| -> Option<usize> {
        let (mut at, mut counts) = (0, Vec::new());
        while at < complete.len() && counts.len() < 20 {
            let end = record(complete, at, d, true, &mut fields)?;
            if fields.len() > 1 || fields.first().is_some_and(|f| !f.is_empty()) {
                counts.push(fields.len());
            }
            at = end;
        }
        let first = *counts.first()?;
        (counts.len() >= 2 && first >= 2 && counts.iter().all(|c| *c == first)).then_some(first)
    };
    DELIMITERS
        .iter()
        .copied()
        .filter_map(|d| count(d).map(|n| (n, d)))
        .max_by_key(|(n, _)| *n)
        .map(|(_, d)| d)
}

/// Puts the fields of the record that starts at `at` into `fields`; where it ends (its line end included). `None`: it does not end.
/// With `last` the end of the bytes ends the record.
fn record(
    bytes: &[u8],
    at: usize,
    delimiter: u8,
    last: bool,
    fields: &mut Vec<Range<usize>>,
) -> Option<usize> {
    fields.clear();
    let (mut start, mut i, mut quoted) = (at, at, false);
    loop {
        let rest = bytes.get(i..).unwrap_or_default();
        if quoted {
            let q = memchr::memchr(b'"', rest)?;
            i += q + 1;
            if bytes.get(i) == Some(&b'"') {
                i += 1;
            } else if i < bytes.len() || last {
                quoted = false;
            } else {
                return None;
            }
            continue;
        }
        if i == start && rest.first() == Some(&b'"') {
            quoted = true;
            i += 1;
            continue;
        }
        let ends = |b: &u8| *b == delimiter || *b == b'\n' || *b == b'\r';
        i += rest.iter().position(ends).unwrap_or(rest.len());
        let Some(b) = bytes.get(i) else { break };
        fields.push(start..i);
        if *b == delimiter {
            i += 1;
            start = i;
            continue;
        }
        return match (*b, bytes.get(i + 1)) {
            (b'\r', Some(b'\n')) => Some(i + 2),
            (b'\r', None) if !last => None,
            _ => Some(i + 1),
        };
    }
    last.then(|| {
        fields.push(start..bytes.len());
        bytes.len()
    })
}

/// The field of a table that `at` is in; nothing where the records do not end.
pub(crate) fn field_at(bytes: &[u8], delimiter: u8, at: usize) -> Option<Range<usize>> {
    let (mut start, mut fields) = (0, Vec::new());
    while start < bytes.len() {
        let end = record(bytes, start, delimiter, true, &mut fields)?;
        if at < end {
            return fields.into_iter().find(|field| field.contains(&at));
        }
        start = end;
    }
    None
}

pub(crate) fn walk(reader: &mut dyn Read, delimiter: u8, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    (sink.unit, sink.column) = (Unit::Row, FieldKind::Column);
    sink.tally.is_table = true;
    let mut table = Table { delimiter, labels: None, row: 0 };
    let (mut batch, mut carried, mut fields) = (Batch::default(), Vec::new(), Vec::new());
    loop {
        let mut block = std::mem::take(&mut carried);
        let before = block.len();
        (&mut *reader).take(FULL as u64).read_to_end(&mut block)?;
        let last = block.len() == before;
        let mut at = 0;
        while at < block.len() {
            let found = record(&block, at, delimiter, last, &mut fields);
            if let Some(end) = found.filter(|end| end - at <= LONGEST_RECORD) {
                table.push(&block, &mut batch, &fields, sink);
                at = end;
            } else if block.len() - at > LONGEST_RECORD || last {
                // A quote that never closes: the line is the record.
                let rest = block.get(at..).unwrap_or_default();
                let end = memchr::memchr(b'\n', rest).map_or(block.len(), |n| at + n + 1);
                table.row += 1;
                let line = rest.get(..end - at).unwrap_or_default();
                batch.push(at..end, "", line, (NO_COLUMN, table.row), Coding::Plain);
                at = end;
            } else {
                break;
            }
        }
        touching(block.get(..at).unwrap_or_default(), sink);
        carried = block.split_off(at);
        batch.raw = block;
        sink.take(&mut batch)?;
        if last {
            return Ok(());
        }
    }
}

/// Counts numbers that touch others at the same place of nearly all lines: fields of a fixed width that happen to have the same
/// number of delimiters in each line.
fn touching(block: &[u8], sink: &mut Sink<'_>) {
    if !sink.reads_otherwise() {
        return;
    }
    let touches = |at: Option<usize>| at.and_then(|at| block.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    for m in regular::find(sink.detectors, block) {
        let (start, end) = (m.start as usize, m.end as usize);
        if touches(start.checked_sub(1)) || touches(Some(end)) {
            let value = block.get(start..end).unwrap_or_default();
            let place = |_| FileSpot::Touching.into();
            sink.tally.add(sink.detectors, (NO_COLUMN, m.detector), m.worth(), value, None, place);
        }
    }
}

struct Table {
    delimiter: u8,
    /// Header and column number of each field, once the first record was seen.
    labels: Option<Vec<(String, u32)>>,
    row: u64,
}

impl Table {
    fn push(&mut self, raw: &[u8], batch: &mut Batch, fields: &[Range<usize>], sink: &mut Sink<'_>) {
        self.row += 1;
        let value = |field: &Range<usize>| decoded(raw.get(field.clone()).unwrap_or_default());
        if let [only] = fields
            && let (only, _) = value(only)
            && (only.is_empty() || only.starts_with(b"sep="))
        {
            return;
        }
        let values = || fields.iter().map(value);
        let is_header = self.labels.is_none() && looks_like_header(values().map(|(v, _)| v));
        let labels = self.labels.get_or_insert_with(|| {
            let named = |(i, (v, _)): (usize, (Cow<'_, [u8]>, bool))| {
                let label = if is_header {
                    String::from_utf8_lossy(&v).trim_start_matches('\u{feff}').trim().to_string()
                } else {
                    String::new()
                };
                let name = if is_header && !label.is_empty() { label.clone() } else { (i + 1).to_string() };
                (label, sink.tally.column(&name))
            };
            values().take(MOST_FIELDS).enumerate().map(named).collect()
        });
        let pair = fields.len() == 2
            && labels
                .get(1)
                .is_none_or(|l| matches!(l.0.to_ascii_lowercase().as_str(), "" | "value" | "val"));
        let first = fields.first().filter(|_| pair).map(value);
        let key = first.as_ref().map(|(v, _)| String::from_utf8_lossy(v));
        for (i, field) in fields.iter().enumerate() {
            let (value, quoted) = value(field);
            let coding = Coding::Csv { quoted, delimiter: self.delimiter };
            if is_header {
                batch.push_label(field.clone(), &value, self.row, coding);
                continue;
            }
            let (label, column) = labels.get(i).map_or(("", NO_COLUMN), |(l, c)| (l.as_str(), *c));
            let label = key.as_deref().filter(|k| i == 1 && !k.is_empty()).unwrap_or(label);
            batch.push(field.clone(), label, &value, (column, self.row), coding);
        }
    }
}

/// A field without its quotes, and whether it had them.
fn decoded(raw: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let Some(inner) = raw.strip_prefix(b"\"") else { return (raw.into(), false) };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    if memchr::memchr(b'"', inner).is_none() {
        return (inner.into(), true);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut pending = false;
    for b in inner {
        if *b == b'"' && pending {
            pending = false;
            continue;
        }
        pending = *b == b'"';
        out.push(*b);
    }
    (out.into(), true)
}

/// A header names its columns: short words, hardly any digits, nothing that is itself a value.
fn looks_like_header<'v>(values: impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
    let is_name = |v: &[u8]| {
        let digits = v.iter().filter(|b| b.is_ascii_digit()).count();
        v.len() <= 64 && !v.contains(&b'@') && digits * 2 < v.len().max(1)
    };
    let mut has_text = false;
    for value in values {
        if !is_name(&value) {
            return false;
        }
        has_text |= !value.trim_ascii().is_empty();
    }
    has_text
}

//! CSV and its dialects: fields by raw span, so that everything but a replaced value stays byte for byte.

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
    let count = |d: u8| -> Option<usize> {
        let (mut at, mut counts) = (0, Vec::new());
        while at < complete.len() && counts.len() < 20 {
            let (fields, end) = record(complete, at, d, true)?;
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

/// The fields of the record that starts at `at` and where it ends (its line end included). `None`: it does not end.
/// With `last` the end of the bytes ends the record.
fn record(bytes: &[u8], at: usize, delimiter: u8, last: bool) -> Option<(Vec<Range<usize>>, usize)> {
    let (mut fields, mut start, mut i, mut quoted) = (Vec::new(), at, at, false);
    while let Some(b) = bytes.get(i) {
        if quoted {
            let q = bytes.get(i..).and_then(|rest| memchr::memchr(b'"', rest))?;
            i += q + 1;
            if bytes.get(i) == Some(&b'"') {
                i += 1;
            } else if i < bytes.len() || last {
                quoted = false;
            } else {
                return None;
            }
        } else if *b == b'"' && i == start {
            quoted = true;
            i += 1;
        } else if *b == delimiter {
            fields.push(start..i);
            i += 1;
            start = i;
        } else if *b == b'\n' || *b == b'\r' {
            let end = match (*b, bytes.get(i + 1)) {
                (b'\r', Some(b'\n')) => i + 2,
                (b'\r', None) if !last => return None,
                _ => i + 1,
            };
            fields.push(start..i);
            return Some((fields, end));
        } else {
            i += 1;
        }
    }
    (last && !quoted).then(|| {
        fields.push(start..bytes.len());
        (fields, bytes.len())
    })
}

/// The field of a table that `at` is in; nothing where the records do not end.
pub(crate) fn field_at(bytes: &[u8], delimiter: u8, at: usize) -> Option<Range<usize>> {
    let mut start = 0;
    while start < bytes.len() {
        let (fields, end) = record(bytes, start, delimiter, true)?;
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
    let (mut batch, mut carried) = (Batch::default(), Vec::new());
    loop {
        let mut block = std::mem::take(&mut carried);
        let before = block.len();
        (&mut *reader).take(FULL as u64).read_to_end(&mut block)?;
        let last = block.len() == before;
        batch.raw = block;
        let mut at = 0;
        while at < batch.raw.len() {
            let found = record(&batch.raw, at, delimiter, last).filter(|(_, end)| end - at <= LONGEST_RECORD);
            if let Some((fields, end)) = found {
                table.push(&mut batch, &fields, sink);
                at = end;
            } else if batch.raw.len() - at > LONGEST_RECORD || last {
                // A quote that never closes: the line is the record.
                let rest = batch.raw.get(at..).unwrap_or_default();
                let end = memchr::memchr(b'\n', rest).map_or(batch.raw.len(), |n| at + n + 1);
                table.row += 1;
                let line = rest.get(..end - at).unwrap_or_default().to_vec();
                batch.push(at..end, "", &line, (NO_COLUMN, table.row), Coding::Plain);
                at = end;
            } else {
                break;
            }
        }
        touching(batch.raw.get(..at).unwrap_or_default(), sink);
        carried = batch.raw.split_off(at);
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
    fn push(&mut self, batch: &mut Batch, fields: &[Range<usize>], sink: &mut Sink<'_>) {
        self.row += 1;
        let values: Vec<(Vec<u8>, bool)> =
            fields.iter().map(|f| decoded(batch.raw.get(f.clone()).unwrap_or_default())).collect();
        if let Some((only, _)) = values.first()
            && values.len() == 1
            && (only.is_empty() || only.starts_with(b"sep="))
        {
            return;
        }
        let is_header = self.labels.is_none() && looks_like_header(&values);
        let labels = self.labels.get_or_insert_with(|| {
            let named = |(i, (v, _)): (usize, &(Vec<u8>, bool))| {
                let label = if is_header {
                    String::from_utf8_lossy(v).trim_start_matches('\u{feff}').trim().to_string()
                } else {
                    String::new()
                };
                let name = if is_header && !label.is_empty() { label.clone() } else { (i + 1).to_string() };
                (label, sink.tally.column(&name))
            };
            values.iter().take(MOST_FIELDS).enumerate().map(named).collect()
        });
        let pair = values.len() == 2
            && labels
                .get(1)
                .is_none_or(|l| matches!(l.0.to_ascii_lowercase().as_str(), "" | "value" | "val"));
        let key =
            if pair { values.first().map(|(v, _)| String::from_utf8_lossy(v).into_owned()) } else { None };
        for (i, ((value, quoted), raw)) in values.iter().zip(fields).enumerate() {
            let coding = Coding::Csv { quoted: *quoted, delimiter: self.delimiter };
            if is_header {
                batch.push_label(raw.clone(), value, self.row, coding);
                continue;
            }
            let (label, column) = labels.get(i).map_or(("", NO_COLUMN), |(l, c)| (l.as_str(), *c));
            let label = key.as_deref().filter(|k| i == 1 && !k.is_empty()).unwrap_or(label);
            batch.push(raw.clone(), label, value, (column, self.row), coding);
        }
    }
}

fn decoded(raw: &[u8]) -> (Vec<u8>, bool) {
    let Some(inner) = raw.strip_prefix(b"\"") else { return (raw.to_vec(), false) };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
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
    (out, true)
}

/// A header names its columns: short words, hardly any digits, nothing that is itself a value.
fn looks_like_header(values: &[(Vec<u8>, bool)]) -> bool {
    let is_name = |(v, _): &(Vec<u8>, bool)| {
        let digits = v.iter().filter(|b| b.is_ascii_digit()).count();
        v.len() <= 64 && !v.contains(&b'@') && digits * 2 < v.len().max(1)
    };
    values.iter().all(is_name) && values.iter().any(|(v, _)| !v.trim_ascii().is_empty())
}

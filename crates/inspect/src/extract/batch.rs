//! Values gathered from a stretch of a document, scanned together, and written back in their own coding.

use std::io::Write;
use std::ops::Range;

use super::{ExtractError, views};
pub(crate) use crate::coding::{Coding, coded};
use crate::detect::Native;
use crate::place::{FieldKind, FileSpot, Unit};
use crate::placeholder::{self, Kept, Names};
use crate::report::{NO_COLUMN, Plan, Tally};
use crate::scan::Worth;
use crate::{DetectorId, Detectors, Filter, Filters};

#[derive(Debug)]
pub(crate) struct Cell {
    /// In [`Batch::raw`].
    pub(crate) raw: Range<usize>,
    /// In [`Batch::text`]; empty when there is nothing to scan.
    pub(crate) text: Range<usize>,
    pub(crate) column: u32,
    /// Row or line, from 1.
    pub(crate) row: u64,
    pub(crate) coding: Coding,
    /// Header or key: scanned, never masked with its column.
    pub(crate) is_label: bool,
}

/// Text gathered before it is scanned; small enough for memory, large enough to start the scanner seldom.
pub(crate) const FULL: usize = 256 * 1024;
/// Values below this many bytes hold nothing that is looked for.
const SHORTEST: usize = 4;
/// Of a label, so much stands before its value.
const MOST_LABEL: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) raw: Vec<u8>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) text: Vec<u8>,
}

/// A match within the value of a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) cell: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) detector: DetectorId,
    pub(crate) worth: Worth,
}

impl Batch {
    /// Adds a value under `label` (may be empty), in the form that `scan_labelled` gives it.
    pub(crate) fn push(
        &mut self,
        raw: Range<usize>,
        label: &str,
        value: &[u8],
        (column, row): (u32, u64),
        coding: Coding,
    ) {
        let at = self.text.len();
        let mut text = at..at;
        if value.len() >= SHORTEST {
            if label.is_empty() {
                self.text.push(b'\x1f');
            } else {
                let label = label.as_bytes();
                let label = label.get(..MOST_LABEL).unwrap_or(label);
                let at = self.text.len();
                self.text.extend_from_slice(label);
                let written = self.text.get_mut(at..).unwrap_or_default();
                written.iter_mut().filter(|b| **b < b' ').for_each(|b| *b = b' ');
                self.text.extend_from_slice(b": \x1f");
            }
            let start = self.text.len();
            self.text.extend_from_slice(value);
            text = start..self.text.len();
            self.text.extend_from_slice(b"\x1f\n");
        }
        self.cells.push(Cell { raw, text, column, row, coding, is_label: false });
    }

    pub(crate) fn push_label(&mut self, raw: Range<usize>, value: &[u8], row: u64, coding: Coding) {
        self.push(raw, "", value, (NO_COLUMN, row), coding);
        if let Some(cell) = self.cells.last_mut() {
            cell.is_label = true;
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= FULL || self.cells.len() >= 64 * 1024
    }

    pub(crate) fn hits(&self, detectors: &Detectors) -> Vec<Hit> {
        detectors.tell(&self.text);
        let mut hits = Vec::new();
        for m in views::matches(detectors, &self.text) {
            let (start, end) = (m.start as usize, m.end as usize);
            let after = self.cells.partition_point(|c| c.text.start <= start);
            // Cells without text share their start with the next one: look back past them.
            let found = (0..after)
                .rev()
                .take_while(|i| self.cells.get(*i).is_some_and(|c| c.text.is_empty()))
                .count();
            let Some(index) = after.checked_sub(found + 1) else { continue };
            let Some(cell) = self.cells.get(index) else { continue };
            let end = end.min(cell.text.end);
            if start >= end
                || inside_marker(
                    detectors,
                    self.text.get(cell.text.clone()).unwrap_or_default(),
                    start - cell.text.start,
                    end - cell.text.start,
                )
            {
                continue;
            }
            hits.push(Hit {
                cell: index,
                start: start - cell.text.start,
                end: end - cell.text.start,
                detector: m.detector,
                worth: m.worth(),
            });
        }
        hits.sort_by_key(|h| (h.cell, h.start, std::cmp::Reverse(h.end)));
        hits
    }

    pub(crate) fn value(&self, cell: &Cell) -> &[u8] {
        self.text.get(cell.text.clone()).unwrap_or_default()
    }
}

/// Where values go: into the tally, and when writing, redacted into the output.
pub(crate) struct Sink<'a> {
    pub(crate) detectors: &'a Detectors,
    pub(crate) tally: Tally,
    pub(crate) plan: Plan,
    pub(crate) out: Option<&'a mut dyn Write>,
    pub(crate) replaced: u64,
    /// What a row is called: row, line.
    pub(crate) unit: Unit,
    /// What a column is called: column, key.
    pub(crate) column: FieldKind,
    /// Packed parts that stood in base64.
    pub(crate) packed: Vec<Vec<u8>>,
    /// More of them than are kept.
    pub(crate) over: bool,
    /// Plain text says something where it is written otherwise.
    pub(crate) otherwise: bool,
    /// Nothing is read otherwise than it is written.
    as_written: bool,
    /// Each value that is not plainly a setting counts, see [`super::settings`].
    pub(crate) is_settings: bool,
    /// What placeholders are called; without it, after their detector alone.
    pub(crate) names: Option<&'a Names>,
}

/// Packed parts of one item, in number and in bytes together; protects memory.
const MOST_PACKED: (usize, usize) = (10_000, 64 << 20);

impl<'a> Sink<'a> {
    pub(crate) fn new(detectors: &'a Detectors) -> Sink<'a> {
        Sink {
            detectors,
            tally: Tally::new(),
            plan: Plan::default(),
            out: None,
            replaced: 0,
            unit: Unit::Line,
            column: FieldKind::Key,
            packed: Vec::new(),
            over: false,
            otherwise: false,
            as_written: false,
            is_settings: false,
            names: None,
        }
    }

    /// Counts the file itself as a private key.
    pub(crate) fn key(&mut self, head: &[u8]) {
        if let Some(id) = self.detectors.0.native(Native::PrivateKey) {
            let worth = Worth { confidence: 0.97, filters: Filters::of(Filter::Form) };
            self.tally.add(self.detectors, (NO_COLUMN, id), worth, head, None, |_| FileSpot::Whole.into());
        }
    }

    /// Without looking at what is encoded in it.
    pub(crate) fn only_as_written(mut self) -> Sink<'a> {
        self.as_written = true;
        self
    }

    /// Whether what is written otherwise counts: a second pass only replaces.
    pub(crate) fn reads_otherwise(&self) -> bool {
        !self.as_written && self.out.is_none()
    }

    /// Counts what `text` holds in base64 and hex.
    pub(crate) fn encoded(&mut self, text: &[u8]) {
        let encoded = views::decode(self.detectors, text);
        for (how, m, value) in encoded.found {
            let place = |_| FileSpot::Written(how).into();
            self.tally.add(self.detectors, (NO_COLUMN, m.detector), m.worth(), &value, None, place);
        }
        self.over |= encoded.over;
        let mut held: usize = self.packed.iter().map(Vec::len).sum();
        for packed in encoded.packed {
            held += packed.len();
            if self.packed.len() >= MOST_PACKED.0 || held > MOST_PACKED.1 {
                self.over = true;
                return;
            }
            self.packed.push(packed);
        }
    }

    pub(crate) fn writing(
        mut self,
        plan: Plan,
        out: &'a mut dyn Write,
        names: Option<&'a Names>,
    ) -> Sink<'a> {
        (self.plan, self.out, self.names) = (plan, Some(out), names);
        self
    }

    /// Scans a batch, counts, writes, and empties it.
    pub(crate) fn take(&mut self, batch: &mut Batch) -> Result<(), ExtractError> {
        let mut hits = batch.hits(self.detectors);
        if self.reads_otherwise() {
            self.encoded(&batch.text);
        }
        for cell in batch.cells.iter().filter(|c| !c.is_label) {
            self.tally.value(cell.column, batch.value(cell));
        }
        for hit in &hits {
            let Some(cell) = batch.cells.get(hit.cell) else { continue };
            let value = batch.value(cell);
            let matched = value.get(hit.start..hit.end).unwrap_or_default();
            let (unit, kind) = (self.unit, self.column);
            let name = self.tally.name(cell.column).to_owned();
            let place = |exact: bool| {
                let field = (!name.is_empty()).then(|| (kind, name.clone()));
                let character = exact.then(|| characters(value, hit.start));
                FileSpot::Record { unit, number: cell.row, field, character }.into()
            };
            let of = (cell.column, hit.detector);
            self.tally.add(self.detectors, of, hit.worth, matched, Some(value), place);
        }
        if let Some(out) = self.out.as_mut() {
            hits.retain(|h| {
                batch.cells.get(h.cell).is_none_or(|c| !self.plan.ignore.contains(&(c.column, h.detector)))
            });
            let mut hits = hits.as_slice();
            let mut written = 0;
            for (i, cell) in batch.cells.iter().enumerate() {
                let of_cell = hits.iter().take_while(|h| h.cell == i).count();
                let (mine, rest) = hits.split_at(of_cell);
                hits = rest;
                let value = batch.value(cell);
                let masked = self
                    .plan
                    .mask
                    .get(&cell.column)
                    .filter(|_| !cell.is_label && !value.trim_ascii().is_empty());
                let spans = match masked {
                    Some(detector) => vec![(0..value.len(), *detector)],
                    None => merged(mine),
                };
                if spans.is_empty() {
                    continue;
                }
                let raw = batch.raw.get(cell.raw.clone()).unwrap_or_default();
                let new = redacted((self.detectors, self.names), (raw, value), cell.coding, &spans);
                self.replaced += 1;
                out.write_all(batch.raw.get(written..cell.raw.start).unwrap_or_default())?;
                out.write_all(&new)?;
                written = cell.raw.end;
            }
            out.write_all(batch.raw.get(written..).unwrap_or_default())?;
        }
        batch.raw.clear();
        batch.cells.clear();
        batch.text.clear();
        Ok(())
    }
}

/// Which character of a text begins at a byte, from 1.
pub(crate) fn characters(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.iter().filter(|b| !matches!(b, 0x80..=0xbf)).count() + 1
}

/// What stands in for a value that is written as `raw` and read as `text`.
pub(crate) fn marker(
    (detectors, names): (&Detectors, Option<&Names>),
    detector: DetectorId,
    coding: Coding,
    (raw, text): (&[u8], &[u8]),
) -> Vec<u8> {
    let detector = &detectors.info(detector).name;
    let Some(names) = names else { return [placeholder::OPEN, detector.as_bytes(), b"]"].concat() };
    let tag =
        names.tag(|| Kept { detector: detector.clone(), coding, text: text.to_vec(), raw: raw.to_vec() });
    [placeholder::OPEN, detector.as_bytes(), b":", &tag, b"]"].concat()
}

/// What hits cover (in order of start), overlapping ones as one.
pub(crate) fn merged(hits: &[Hit]) -> Vec<(Range<usize>, DetectorId)> {
    let mut spans: Vec<(Range<usize>, DetectorId)> = Vec::new();
    for hit in hits {
        match spans.last_mut() {
            Some((last, _)) if hit.start < last.end => last.end = last.end.max(hit.end),
            _ => spans.push((hit.start..hit.end, hit.detector)),
        }
    }
    spans
}

/// A value with a placeholder for each span, in its coding. Around them every byte stays as it is written.
pub(crate) fn redacted(
    how: (&Detectors, Option<&Names>),
    (raw, value): (&[u8], &[u8]),
    coding: Coding,
    spans: &[(Range<usize>, DetectorId)],
) -> Vec<u8> {
    if coding == Coding::JsonNumber {
        let detector = spans.first().map(|(_, detector)| *detector);
        let new = detector.map(|detector| marker(how, detector, coding, (raw, value)));
        return coded(&new.unwrap_or_default(), coding);
    }
    let places = places(raw, value, coding);
    let whole = if places.is_some() { raw } else { value };
    let place = |at: usize| places.as_ref().map_or(Some(at), |p| p.get(at).copied()).unwrap_or(whole.len());
    let mut out = Vec::with_capacity(whole.len() + 48 * spans.len());
    let mut at = 0;
    for (span, detector) in spans {
        let (from, to) = (place(span.start), place(span.end));
        out.extend_from_slice(whole.get(at..from).unwrap_or_default());
        let text = value.get(span.clone()).unwrap_or_default();
        let raw = whole.get(from..to).unwrap_or_default();
        out.extend_from_slice(&marker(how, *detector, coding, (raw, text)));
        at = to;
    }
    out.extend_from_slice(whole.get(at..).unwrap_or_default());
    if places.is_some() { out } else { coded(&out, coding) }
}

/// Where each byte of a value, and its end, stands in what is written; nothing where that cannot be said.
fn places(raw: &[u8], value: &[u8], coding: Coding) -> Option<Vec<usize>> {
    let mut places = Vec::with_capacity(value.len() + 1);
    let mut at = 0;
    let quoted = matches!(coding, Coding::JsonString | Coding::Csv { quoted: true, .. });
    if quoted {
        at = 1;
    }
    while places.len() < value.len() {
        let (length, bytes) = match (coding, raw.get(at)?) {
            (Coding::JsonString, b'\\') => escape(raw.get(at..)?)?,
            (Coding::Csv { quoted: true, .. }, b'"') if raw.get(at + 1) == Some(&b'"') => (2, 1),
            _ => (1, 1),
        };
        places.extend(std::iter::repeat_n(at, bytes));
        at += length;
    }
    let ends = if quoted { raw.len().checked_sub(1)? } else { raw.len() };
    places.push(at);
    (places.len() == value.len() + 1 && at == ends).then_some(places)
}

/// The length of an escape of JSON, and of what it stands for, in bytes.
fn escape(raw: &[u8]) -> Option<(usize, usize)> {
    if raw.get(1) != Some(&b'u') {
        return Some((2, 1));
    }
    let unit = |at: usize| {
        let digits = std::str::from_utf8(raw.get(at + 2..at + 6)?).ok()?;
        raw.get(at..at + 2)?.starts_with(b"\\u").then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = unit(0)?;
    match (first, unit(6)) {
        (0xd800..=0xdbff, Some(0xdc00..=0xdfff)) => Some((12, 4)),
        (0xd800..=0xdfff, _) => None,
        _ => Some((6, char::from_u32(first)?.len_utf8())),
    }
}

/// Whether a match is nothing but a part of a placeholder that a redaction left.
pub(crate) fn inside_marker(detectors: &Detectors, text: &[u8], start: usize, end: usize) -> bool {
    let upto = text.len().min(start + placeholder::OPEN.len());
    let from = start.saturating_sub(128);
    let Some(window) = text.get(from..upto) else { return false };
    // Most text has no bracket there; to look for all of it costs more.
    if memchr::memchr(b'[', window).is_none() {
        return false;
    }
    let open = memchr::memmem::rfind(window, placeholder::OPEN).map(|o| o + from);
    let token = open.and_then(|open| placeholder::token(detectors, text, open));
    token.is_some_and(|token| token.range.start <= start && end <= token.range.end)
}

//! The XML inside Office and OpenDocument files: cells under their headers, strings that several cells share,
//! comments, properties and paragraphs whose text is cut into runs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use quick_xml::Reader as XmlReader;
use quick_xml::events::{BytesStart, Event};

use super::batch::{Batch, Coding, Sink, marker, merged, redacted};
use super::{ExtractError, Reader, Visit};
use crate::doctype::names_only;
use crate::place::{FileSpot, Place};
use crate::report::{NO_COLUMN, Tally};

/// Attributes that carry what the user wrote.
const WRITTEN: &[&[u8]] = &[
    b"Target",
    b"name",
    b"title",
    b"descr",
    b"tooltip",
    b"display",
    b"location",
    b"author",
    b"userId",
    b"value",
    b"text",
];
/// Elements whose runs make one text together.
const WHOLE: &[&[u8]] = &[b"si", b"p", b"comment", b"is"];

/// Elements in which a blank alone is text.
const BLANK_COUNTS: &[&[u8]] = &[b"t", b"delText", b"instrText", b"span", b"a"];
/// Elements that stand for a character.
const MARKS: &[(&[u8], char)] = &[
    (b"noBreakHyphen", '-'),
    (b"tab", '\t'),
    (b"br", '\n'),
    (b"cr", '\n'),
    (b"line-break", '\n'),
    (b"s", ' '),
];

/// A document being gathered, part by part.
#[derive(Debug)]
pub(crate) struct Book {
    parts: BTreeMap<String, Vec<u8>>,
    held: usize,
}

/// What was found in a document, and its parts rewritten without that.
pub(crate) struct Finished {
    pub(crate) tally: Tally,
    pub(crate) rewritten: HashMap<String, (Vec<u8>, u64)>,
    parts: Vec<String>,
}

impl Finished {
    pub(crate) fn is_part(&self, name: &str) -> bool {
        self.parts.iter().any(|p| p == name)
    }
}

/// Text in one or more pieces of a part.
#[derive(Debug, Default)]
struct Group {
    pieces: Vec<Range<usize>>,
    value: String,
    /// The opening tag of a cell whose type must become text when its value is replaced, as it is then.
    tag: Option<(Range<usize>, Vec<u8>)>,
    is_formula: bool,
    used: bool,
}

/// Bytes of a part and what replaces them.
type Edit = (Range<usize>, Vec<u8>);

/// A group where it appears.
struct Use {
    group: (usize, usize),
    label: String,
    column: u32,
    place: Place,
    is_label: bool,
}

struct Cell {
    row: u64,
    letters: String,
    group: (usize, usize),
    is_text: bool,
}

#[derive(Default)]
struct Part {
    groups: Vec<Group>,
    cells: Vec<(u64, String, Option<usize>, usize)>,
}

impl Book {
    /// `None` when the archive is no document.
    pub(crate) fn new(archive: &zip::ZipArchive<Reader<'_>>) -> Option<Book> {
        let has = |name: &str| archive.index_for_name(name).is_some();
        (has("[Content_Types].xml") || (has("mimetype") && has("content.xml")))
            .then(|| Book { parts: BTreeMap::new(), held: 0 })
    }

    pub(crate) fn is_part(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        name.ends_with(".xml") || name.ends_with(".rels") || name.ends_with(".vml")
    }

    pub(crate) fn part(&mut self, visit: &Visit<'_>, name: &str, data: Vec<u8>) -> Result<(), ExtractError> {
        self.held += data.len();
        if self.held > visit.limits.held {
            return Err(ExtractError::Limit("the size of a document's parts"));
        }
        self.parts.insert(name.to_string(), data);
        Ok(())
    }

    pub(crate) fn finish(self, visit: &Visit<'_>) -> Result<Finished, ExtractError> {
        let names: Vec<String> = self.parts.keys().cloned().collect();
        let mut parts = Vec::new();
        for bytes in self.parts.values() {
            parts.push(read(bytes, visit.limits.nesting)?);
        }
        let shared = names.iter().position(|n| n.eq_ignore_ascii_case("xl/sharedStrings.xml"));
        let mut sink = Sink::new(visit.detectors);
        sink.tally.is_table = true;
        let mut uses = sheet_uses(&mut parts, &names, shared, &mut sink.tally);
        for (p, part) in parts.iter().enumerate() {
            for (g, _) in part.groups.iter().enumerate().filter(|(_, g)| !g.used) {
                let place = FileSpot::DocumentPart(names.get(p).cloned().unwrap_or_default()).into();
                uses.push(Use {
                    group: (p, g),
                    label: String::new(),
                    column: NO_COLUMN,
                    place,
                    is_label: false,
                });
            }
        }
        let mut new: HashMap<(usize, usize), Vec<u8>> = HashMap::new();
        for chunk in uses.chunks(4096) {
            scan_uses(visit, chunk, &parts, &mut sink, &mut new);
        }
        let plan = sink.tally.plan();
        for u in uses.iter().filter(|u| !u.is_label) {
            if let Some(detector) = plan.mask.get(&u.column) {
                let how = (visit.detectors, visit.names.as_ref());
                new.insert(u.group, marker(how, *detector, Coding::Plain, (&[], &[])));
            }
        }
        let mut edits: BTreeMap<usize, Vec<Edit>> = BTreeMap::new();
        for ((p, g), value) in new {
            let Some(group) = parts.get(p).and_then(|p| p.groups.get(g)) else { continue };
            let list = edits.entry(p).or_default();
            let text = String::from_utf8_lossy(&value);
            let text = if group.is_formula {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.into_owned()
            };
            for (i, piece) in group.pieces.iter().enumerate() {
                let escaped =
                    if i == 0 { quick_xml::escape::escape(&*text).into_owned() } else { String::new() };
                list.push((piece.clone(), escaped.into_bytes()));
            }
            if let Some((span, tag)) = &group.tag {
                list.push((span.clone(), tag.clone()));
            }
        }
        let mut rewritten = HashMap::new();
        for (p, mut list) in edits {
            list.sort_by_key(|(r, _)| r.start);
            let Some((name, bytes)) = names.get(p).and_then(|n| self.parts.get_key_value(n)) else {
                continue;
            };
            let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
            let count = list.len() as u64;
            for (span, value) in list {
                out.extend_from_slice(bytes.get(at..span.start).unwrap_or_default());
                out.extend_from_slice(&value);
                at = span.end;
            }
            out.extend_from_slice(bytes.get(at..).unwrap_or_default());
            rewritten.insert(name.clone(), (out, count));
        }
        Ok(Finished { tally: sink.tally, rewritten, parts: names })
    }
}

fn scan_uses(
    visit: &Visit<'_>,
    uses: &[Use],
    parts: &[Part],
    sink: &mut Sink<'_>,
    new: &mut HashMap<(usize, usize), Vec<u8>>,
) {
    let mut batch = Batch::default();
    for u in uses {
        let value = parts.get(u.group.0).and_then(|p| p.groups.get(u.group.1)).map_or("", |g| &g.value);
        batch.push(0..0, &u.label, value.as_bytes(), (u.column, 0), Coding::Plain);
        if !u.is_label {
            sink.tally.value(u.column, value.as_bytes());
        }
    }
    let hits = batch.hits(visit.detectors);
    for of_cell in hits.chunk_by(|a, b| a.cell == b.cell) {
        let Some((cell, u)) =
            of_cell.first().and_then(|h| Some((batch.cells.get(h.cell)?, uses.get(h.cell)?)))
        else {
            continue;
        };
        let value = batch.value(cell);
        for hit in of_cell {
            let matched = value.get(hit.start..hit.end).unwrap_or_default();
            let place = |_| u.place.clone();
            let of = (u.column, hit.detector);
            sink.tally.add(visit.detectors, of, hit.worth, matched, Some(value), place);
        }
        let how = (visit.detectors, visit.names.as_ref());
        new.insert(u.group, redacted(how, (value, value), Coding::Plain, &merged(of_cell)));
    }
}

/// The cells of every sheet with their headers; marks what they use.
fn sheet_uses(parts: &mut [Part], names: &[String], shared: Option<usize>, tally: &mut Tally) -> Vec<Use> {
    let mut uses = Vec::new();
    for (p, name) in names.iter().enumerate() {
        let mut cells = Vec::new();
        for (row, letters, index, group) in parts.get(p).map(|p| p.cells.clone()).unwrap_or_default() {
            let at = match (index, shared) {
                (Some(i), Some(s)) => (s, i),
                _ => (p, group),
            };
            let own = parts.get_mut(p).and_then(|p| p.groups.get_mut(group));
            if let Some(g) = own {
                g.used = true;
            }
            if let Some(g) = parts.get_mut(at.0).and_then(|p| p.groups.get_mut(at.1)) {
                g.used = true;
                let is_text = index.is_some() || g.tag.is_none();
                cells.push(Cell { row, letters, group: at, is_text });
            }
        }
        let value = |c: &Cell| {
            parts.get(c.group.0).and_then(|p| p.groups.get(c.group.1)).map_or("", |g| g.value.as_str())
        };
        let top = cells.first().map(|c| c.row);
        let is_name = |c: &Cell| {
            c.is_text
                && value(c).len() <= 64
                && !value(c).contains('@')
                && value(c).bytes().filter(u8::is_ascii_digit).count() * 2 < value(c).len().max(1)
        };
        let header: Vec<&Cell> = cells.iter().filter(|c| Some(c.row) == top).collect();
        let has_header = !header.is_empty() && header.iter().all(|c| is_name(c));
        let labels: HashMap<&str, &str> = if has_header {
            header.iter().map(|c| (c.letters.as_str(), value(c))).collect()
        } else {
            HashMap::new()
        };
        let sheet = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".xml");
        for cell in &cells {
            let is_label = has_header && Some(cell.row) == top;
            let label = if is_label { "" } else { labels.get(cell.letters.as_str()).copied().unwrap_or("") };
            let column =
                if is_label { NO_COLUMN } else { tally.column(&format!("{sheet}!{} {label}", cell.letters)) };
            let spot = FileSpot::Cell {
                sheet: sheet.to_owned(),
                letters: cell.letters.clone(),
                row: cell.row,
                column: (!label.is_empty()).then(|| label.to_owned()),
            };
            let place = spot.into();
            uses.push(Use { group: cell.group, label: label.to_string(), column, place, is_label });
        }
    }
    uses
}

/// The texts of one XML part.
fn read(bytes: &[u8], nesting: usize) -> Result<Part, ExtractError> {
    const DAMAGED: ExtractError = ExtractError::Damaged("document");
    const DECLARES: ExtractError = ExtractError::Opaque("it declares a document type");
    let text = std::str::from_utf8(bytes).map_err(|_| ExtractError::Opaque("a part of it is not UTF-8"))?;
    let mut reader = XmlReader::from_str(text);
    let mut part = Part::default();
    let (mut stack, mut at, mut run): (Vec<Vec<u8>>, usize, Option<usize>) = (Vec::new(), 0, None);
    // The group that the runs of an open element belong to, and at which depth it opened.
    let mut whole: Option<(usize, usize)> = None;
    let mut cell: Option<OpenCell> = None;
    loop {
        let event = reader.read_event().map_err(|_| DAMAGED)?;
        let end = usize::try_from(reader.buffer_position()).map_err(|_| DAMAGED)?;
        let span = at..end;
        at = end;
        if matches!(event, Event::Text(_) | Event::CData(_) | Event::GeneralRef(_)) {
            run.get_or_insert(span.start);
            continue;
        }
        if let Some(start) = run.take() {
            let raw = text.get(start..span.start).unwrap_or_default();
            let element = stack.last().map(Vec::as_slice).unwrap_or_default();
            if raw.trim().is_empty() {
                // A blank in a run of its own is one; one between elements is none.
                if let Some(g) = whole.and_then(|(group, _)| part.groups.get_mut(group))
                    && BLANK_COUNTS.contains(&element)
                {
                    g.value.push(' ');
                }
            } else if element != b"rPh" {
                let value = plain(raw);
                let piece = start..span.start;
                if let Some(open) = cell.as_mut().filter(|_| element == b"v") {
                    open.value(&mut part, piece, value);
                } else if let Some((group, _)) = whole
                    && let Some(g) = part.groups.get_mut(group)
                {
                    g.pieces.push(piece);
                    g.value.push_str(&value);
                } else {
                    part.groups.push(Group {
                        pieces: vec![piece],
                        value,
                        is_formula: element == b"f",
                        ..Group::default()
                    });
                }
            }
        }
        match event {
            Event::Start(tag) => {
                if stack.len() >= nesting {
                    return Err(ExtractError::Limit("nesting"));
                }
                attributes(&tag, &mut part);
                let name = tag.local_name().as_ref().to_vec();
                if name == b"c" {
                    cell = OpenCell::new(&tag, span, text);
                }
                if whole.is_none() && WHOLE.contains(&name.as_slice()) {
                    whole = Some((part.groups.len(), stack.len()));
                    part.groups.push(Group::default());
                    if let Some(open) = cell.as_ref().filter(|_| name == b"is") {
                        part.cells.push((open.row, open.letters.clone(), None, part.groups.len() - 1));
                    }
                }
                stack.push(name);
            }
            Event::End(_) => {
                let name = stack.pop().ok_or(DAMAGED)?;
                if name == b"c" {
                    cell = None;
                }
                if whole.is_some_and(|(_, depth)| depth == stack.len()) {
                    whole = None;
                }
            }
            Event::Empty(tag) => {
                attributes(&tag, &mut part);
                let name = tag.local_name().as_ref().to_vec();
                let in_settings = stack.last().is_some_and(|outer| outer == b"tabs");
                if let Some((_, mark)) = MARKS.iter().find(|(known, _)| *known == name && !in_settings)
                    && let Some(g) = whole.and_then(|(group, _)| part.groups.get_mut(group))
                {
                    g.value.push(*mark);
                }
            }
            Event::DocType(said) if !names_only(&said) => return Err(DECLARES),
            Event::DocType(said) | Event::Comment(said) => part
                .groups
                .push(Group { value: String::from_utf8_lossy(&said).into_owned(), ..Group::default() }),
            Event::Eof => break,
            _ => {}
        }
    }
    if stack.is_empty() { Ok(part) } else { Err(DAMAGED) }
}

struct OpenCell {
    row: u64,
    letters: String,
    kind: String,
    tag: Range<usize>,
    as_text: Vec<u8>,
}

impl OpenCell {
    fn new(tag: &BytesStart<'_>, span: Range<usize>, text: &str) -> Option<OpenCell> {
        let get = |name: &str| {
            tag.try_get_attribute(name).ok().flatten().map(|a| String::from_utf8_lossy(&a.value).into_owned())
        };
        let place = get("r").unwrap_or_default();
        let digits = place.find(|c: char| c.is_ascii_digit()).unwrap_or(place.len());
        let (letters, row) = place.split_at(digits);
        let kind = get("t").unwrap_or_default();
        let mut new = BytesStart::new("");
        new.extend_attributes(tag.attributes().filter_map(Result::ok).filter(|a| a.key.as_ref() != b"t"));
        new.push_attribute(("t", "str"));
        let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
        let written = String::from_utf8_lossy(&new).into_owned();
        text.get(span.clone())?;
        Some(OpenCell {
            row: row.parse().unwrap_or(0),
            letters: letters.to_string(),
            kind,
            tag: span,
            as_text: format!("<{name}{written}>").into_bytes(),
        })
    }

    fn value(&mut self, part: &mut Part, piece: Range<usize>, value: String) {
        let index = if self.kind == "s" { value.trim().parse().ok() } else { None };
        let tag = (!matches!(self.kind.as_str(), "s" | "str" | "inlineStr"))
            .then(|| (self.tag.clone(), self.as_text.clone()));
        part.groups.push(Group { pieces: vec![piece], value, tag, ..Group::default() });
        part.cells.push((self.row, self.letters.clone(), index, part.groups.len() - 1));
    }
}

/// What the user wrote into attributes: scanned, but not rewritten.
fn attributes(tag: &BytesStart<'_>, part: &mut Part) {
    for attribute in tag.attributes().flatten() {
        if WRITTEN.contains(&attribute.key.local_name().as_ref()) && attribute.value.len() > 5 {
            part.groups
                .push(Group { value: plain(&String::from_utf8_lossy(&attribute.value)), ..Group::default() });
        }
    }
}

/// Text without entities and CDATA brackets. Entities that a document defines itself stay as they are written.
fn plain(raw: &str) -> String {
    let raw = raw.replace("<![CDATA[", "").replace("]]>", "");
    quick_xml::escape::unescape(&raw).map(std::borrow::Cow::into_owned).unwrap_or(raw)
}

//! The parts of OpenDocument and Office that hold what somebody reads: paragraphs, one a line, and rows of tables.
//!
//! Source: OpenDocument 1.3 part 3, ECMA-376 part 1.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use sha2::{Digest, Sha256};

/// Bytes of all lines. Protects memory.
const MOST: usize = 4 << 20;
/// Blanks, cells and rows that stand for how often they are repeated.
const REPEATED: usize = 256;
/// What stands between the cells of a row.
const BETWEEN: &str = " | ";

/// The sheets of a table of OpenDocument, each as a table of text with tabs between its cells; nothing of any other part.
pub(crate) fn sheets(content: &[u8]) -> Vec<Vec<u8>> {
    let is_table = memchr::memmem::find(content, b"<office:spreadsheet").is_some();
    let Some(text) = std::str::from_utf8(content).ok().filter(|_| is_table) else { return Vec::new() };
    let mut reading = Reading::default();
    if reading.part(text).is_none() {
        return Vec::new();
    }
    let mut sheets: Vec<Vec<u8>> = Vec::new();
    for line in reading.all.lines() {
        if line.starts_with('[') && line.ends_with(']') || sheets.is_empty() {
            sheets.push(Vec::new());
        }
        if let Some(sheet) = sheets.last_mut().filter(|_| line.contains(BETWEEN)) {
            sheet.extend_from_slice(line.replace(BETWEEN, "\t").as_bytes());
            sheet.push(b'\n');
        }
    }
    sheets.retain(|sheet| !sheet.is_empty());
    sheets
}

#[derive(Default)]
pub(super) struct Reading {
    pub all: String,
    line: String,
    /// Rows that are open, each with the texts of its cells.
    rows: Vec<Vec<String>>,
    /// How often the cells and rows that are open stand there, and what a cell says that its text does not: the value that a program
    /// shows in place of it, and its formula.
    cells: Vec<(usize, Option<String>, String)>,
    repeated_rows: Vec<usize>,
    /// Elements that are open whose text is none of the document's.
    silent: usize,
}

impl Reading {
    /// Takes a part in; answers a digest of all that is not its text.
    pub fn part(&mut self, text: &str) -> Option<String> {
        let mut looks = Sha256::new();
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        loop {
            match reader.read_event().ok()? {
                Event::Start(element) => {
                    looks.update(&*element);
                    self.begin(&element);
                }
                Event::Empty(element) => {
                    looks.update(&*element);
                    self.begin(&element);
                    self.end(element.local_name().as_ref());
                }
                Event::End(element) => {
                    looks.update(b"/");
                    self.end(element.local_name().as_ref());
                }
                Event::Text(text) => self.push(&text.decode().ok()?),
                Event::CData(text) => self.push(&text.decode().ok()?),
                Event::GeneralRef(reference) => {
                    let named = reference.decode().ok()?;
                    match (reference.resolve_char_ref().ok()?, named.as_ref()) {
                        (Some(c), _) => self.push(c.encode_utf8(&mut [0; 4])),
                        (None, "amp") => self.push("&"),
                        (None, "lt") => self.push("<"),
                        (None, "gt") => self.push(">"),
                        (None, "quot") => self.push("\""),
                        (None, "apos") => self.push("'"),
                        _ => return None,
                    }
                }
                // No entity is needed in one, and it could stand for anything.
                Event::DocType(_) => return None,
                Event::Eof => break,
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            }
            if self.all.len() + self.line.len() > MOST {
                return None;
            }
        }
        self.end_line();
        Some(hex::encode(looks.finalize()))
    }

    fn begin(&mut self, element: &BytesStart<'_>) {
        let get = |name: &str| {
            element.attributes().with_checks(false).flatten().find_map(|attribute| {
                let is_it = attribute.key.local_name().as_ref() == name.as_bytes();
                is_it.then(|| attribute.unescape_value().ok().map(|value| value.into_owned())).flatten()
            })
        };
        let times = |name: &str| get(name).and_then(|n| n.parse().ok()).unwrap_or(1usize);
        match element.local_name().as_ref() {
            // Of Office, and of OpenDocument.
            b"tr" | b"table-row" => {
                self.rows.push(Vec::new());
                self.repeated_rows.push(times("number-rows-repeated"));
            }
            b"tc" | b"table-cell" | b"covered-table-cell" => {
                let formula = get("formula").map(|formula| format!(" {{{formula}}}")).unwrap_or_default();
                let value = ["value", "date-value", "time-value", "boolean-value", "string-value"];
                let value = value.into_iter().find_map(get);
                self.cells.push((times("number-columns-repeated"), value, formula));
            }
            b"table" => {
                self.end_line();
                if let Some(name) = get("name") {
                    self.line = format!("[{name}]");
                    self.end_line();
                }
            }
            b"a" => {
                if let Some(to) = get("href") {
                    self.push(&format!("<{to}> "));
                }
            }
            b"image" | b"object" | b"plugin" => {
                if let Some(of) = get("href") {
                    self.push(&format!("[{of}]"));
                }
            }
            b"Relationship" if get("TargetMode").is_some_and(|mode| mode == "External") => {
                self.line = format!("<{}>", get("Target").unwrap_or_default());
                self.end_line();
            }
            b"tab" => self.push("\t"),
            b"s" => self.push(&" ".repeat(times("c").min(REPEATED))),
            b"line-break" | b"br" | b"cr" => self.end_paragraph(),
            b"instrText" | b"binary-data" | b"font-face-decls" | b"automatic-styles" => self.silent += 1,
            _ => {}
        }
    }

    fn end(&mut self, name: &[u8]) {
        match name {
            b"p" | b"h" => self.end_paragraph(),
            b"tc" | b"table-cell" | b"covered-table-cell" => {
                let (times, value, formula) = self.cells.pop().unwrap_or((1, None, String::new()));
                let mut text = std::mem::take(&mut self.line).trim_end().to_owned();
                if let Some(value) = value.filter(|value| !is_same(value, &text)) {
                    text.push_str(&format!(" [{value}]"));
                }
                text.push_str(&formula);
                // What is empty to the end of a sheet is not told.
                let times = if text.is_empty() { 1 } else { times.min(REPEATED) };
                match self.rows.last_mut() {
                    Some(row) => row.extend(std::iter::repeat_n(text, times)),
                    None => self.line = text,
                }
            }
            b"tr" | b"table-row" => {
                let (row, times) =
                    (self.rows.pop().unwrap_or_default(), self.repeated_rows.pop().unwrap_or(1));
                let text = row.join(BETWEEN);
                let text = text.trim_end_matches([' ', '|']);
                // A table in a cell is in the line of the cell.
                if !self.cells.is_empty() {
                    self.push(text);
                    self.push(" ");
                } else if !text.is_empty() {
                    for _ in 0..times.min(REPEATED) {
                        self.line = text.to_owned();
                        self.end_line();
                    }
                }
            }
            b"instrText" | b"binary-data" | b"font-face-decls" | b"automatic-styles" => {
                self.silent = self.silent.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// A paragraph in a cell does not end the line.
    fn end_paragraph(&mut self) {
        if self.cells.is_empty() {
            self.end_line();
        } else if !self.line.ends_with(' ') {
            self.line.push(' ');
        }
    }

    fn end_line(&mut self) {
        let line = self.line.trim_end();
        if !line.is_empty() {
            self.all.push_str(line);
            self.all.push('\n');
        }
        self.line.clear();
    }

    /// Line ends between elements are how it is written.
    fn push(&mut self, text: &str) {
        let is_between = text.contains('\n') && text.trim().is_empty();
        if self.silent == 0 && !is_between {
            self.line.push_str(&text.replace(['\n', '\r'], " "));
        }
    }
}

/// Whether the text of a cell says its value.
fn is_same(value: &str, text: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    value == text || number(value).is_some_and(|value| number(text) == Some(value))
}

//! JSON and JSON lines: the key is the label. What is not strictly JSON is scanned as text.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

use super::batch::{Batch, Coding, Sink};
use super::{ExtractError, Limits, text};
use crate::report::NO_COLUMN;

pub(crate) fn walk(
    reader: &mut dyn Read,
    len: u64,
    limits: &Limits,
    sink: &mut Sink<'_>,
) -> Result<(), ExtractError> {
    let mut bytes = Vec::new();
    reader.take(limits.held as u64 + 1).read_to_end(&mut bytes)?;
    if len > limits.held as u64 || bytes.len() > limits.held {
        // Beside each other in the text, keys still label their values.
        return text::walk(&mut (&*bytes).chain(reader), sink);
    }
    let mut document = Document {
        bytes: &bytes,
        batch: Batch::default(),
        base: 0,
        counted: 0,
        row: 1,
        columns: Columns::default(),
    };
    if check(&bytes, limits.nesting).is_some() {
        document.values(0..bytes.len(), limits.nesting, sink)?;
        return document.finish(sink);
    }
    let is_lines = bytes
        .split(|b| *b == b'\n')
        .take(20)
        .filter(|l| !l.trim_ascii().is_empty())
        .all(|l| check(l, limits.nesting).is_some());
    if !is_lines {
        return text::walk(&mut &*bytes, sink);
    }
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let range = at..at + line.len();
        at = range.end;
        if check(line, limits.nesting).is_some() {
            document.values(range, limits.nesting, sink)?;
        } else {
            document.text(range, sink)?;
        }
    }
    document.finish(sink)
}

/// A document, or one a line; values of many lines are scanned together.
struct Document<'b> {
    bytes: &'b [u8],
    batch: Batch,
    /// The batch holds the raw bytes from here on.
    base: usize,
    /// Line ends are counted up to here.
    counted: usize,
    row: u64,
    columns: Columns,
}

impl Document<'_> {
    /// The values of the JSON in `range`.
    fn values(
        &mut self,
        range: Range<usize>,
        nesting: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let (bytes, first) = (self.bytes, range.start);
        let part = bytes.get(range).unwrap_or_default();
        // On one line there are no others to count.
        let lines = memchr::memchr(b'\n', part).is_some_and(|at| at + 1 < part.len());
        self.count(first);
        let mut failure = Ok(());
        parse(part, nesting, |span, label, place, token| {
            if failure.is_err() {
                return;
            }
            let span = span.start + first..span.end + first;
            if lines {
                self.count(span.start);
            }
            let column = match place {
                Some(place) => sink.tally.column(format!("{label} {place}").trim_start()),
                None if label.is_empty() => self.columns.of_lists(sink),
                None => self.columns.number(label, sink),
            };
            let raw = span.start - self.base..span.end - self.base;
            let inner = bytes.get(span.clone()).unwrap_or_default();
            match token {
                Token::Number => self.batch.push(raw, label, inner, (column, self.row), Coding::JsonNumber),
                Token::Key => self.batch.push_label(raw, &unescaped(inner), self.row, Coding::JsonString),
                Token::String => {
                    self.batch.push(raw, label, &unescaped(inner), (column, self.row), Coding::JsonString);
                }
            }
            failure = self.flush(span.end, sink);
        });
        failure
    }

    /// What is no JSON, as the text that it is.
    fn text(&mut self, range: Range<usize>, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        self.count(range.start);
        let raw = range.start - self.base..range.end - self.base;
        let text = self.bytes.get(range.clone()).unwrap_or_default();
        self.batch.push(raw, "", text, (NO_COLUMN, self.row), Coding::Plain);
        self.flush(range.end, sink)
    }

    fn count(&mut self, upto: usize) {
        let new = self.bytes.get(self.counted..upto).unwrap_or_default();
        self.row += memchr::memchr_iter(b'\n', new).count() as u64;
        self.counted = upto;
    }

    fn flush(&mut self, upto: usize, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        if !self.batch.is_full() {
            return Ok(());
        }
        self.take(upto, sink)
    }

    fn finish(mut self, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        self.take(self.bytes.len(), sink)
    }

    fn take(&mut self, upto: usize, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        // Only what is written again is needed as it was.
        if sink.out.is_some() {
            self.batch.raw = self.bytes.get(self.base..upto).unwrap_or_default().to_vec();
        }
        self.base = upto;
        sink.take(&mut self.batch)
    }
}

/// The numbers of the keys that came last: records have the same ones in the same order.
#[derive(Default)]
struct Columns {
    last: Vec<(String, u32)>,
    next: usize,
    /// Of what stands under no key.
    lists: Option<u32>,
}

/// Keys of one record that are remembered.
const MOST_REMEMBERED: usize = 64;

impl Columns {
    fn of_lists(&mut self, sink: &mut Sink<'_>) -> u32 {
        *self.lists.get_or_insert_with(|| sink.tally.column("list"))
    }

    fn number(&mut self, label: &str, sink: &mut Sink<'_>) -> u32 {
        for at in [self.next, 0] {
            if let Some((known, column)) = self.last.get(at)
                && known == label
            {
                self.next = at + 1;
                return *column;
            }
        }
        let column = sink.tally.column(label);
        self.last.truncate(self.next);
        if self.last.len() >= MOST_REMEMBERED {
            self.last.clear();
        }
        self.last.push((label.to_owned(), column));
        self.next = self.last.len();
        column
    }
}

/// A string token without its quotes and escapes; lone surrogates become U+FFFD.
fn unescaped(token: &[u8]) -> Cow<'_, [u8]> {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner).is_none() {
        return inner.into();
    }
    if let Ok(s) = serde_json::from_slice::<String>(token) {
        return s.into_bytes().into();
    }
    let text = String::from_utf8_lossy(inner);
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('u') => {
                    let code: String = chars.by_ref().take(4).collect();
                    out.push(
                        u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'),
                    );
                }
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out.into_bytes().into()
}

/// Places of a row told apart; what stands further behind shares the last.
const MOST_PLACES: u32 = 256;

/// An object or an array that is open.
struct Open<'t> {
    object: bool,
    /// The label outside.
    label: Cow<'t, str>,
    /// Where the next value stands in a row: in an array of an array.
    place: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Key,
    String,
    Number,
}

fn check(bytes: &[u8], nesting: usize) -> Option<()> {
    parse(bytes, nesting, |_, _, _, _| {})
}

/// Walks a strict JSON document without recursion; `None` when it is not one or nests too deeply. `on` is told of each token: where it
/// stands, its label, and its place in a row.
fn parse(
    bytes: &[u8],
    nesting: usize,
    mut on: impl FnMut(Range<usize>, &str, Option<u32>, Token),
) -> Option<()> {
    // Outside of strings nothing else is JSON.
    let text = std::str::from_utf8(bytes).ok()?;
    let mut p = Cursor { text, bytes, at: 0 };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        p.at = 3;
    }
    let mut stack: Vec<Open<'_>> = Vec::new();
    let mut label = Cow::Borrowed("");
    loop {
        // A value is due.
        p.space();
        let start = p.at;
        let place = stack.last().and_then(|open| open.place);
        let mut closed = true;
        match p.peek()? {
            b'{' | b'[' => {
                let object = p.peek()? == b'{';
                p.at += 1;
                if stack.len() >= nesting {
                    return None;
                }
                p.space();
                if p.peek()? == if object { b'}' } else { b']' } {
                    p.at += 1;
                } else {
                    let is_row = !object && stack.last().is_some_and(|outer| !outer.object);
                    stack.push(Open { object, label: label.clone(), place: is_row.then_some(0) });
                    closed = false;
                    if object {
                        label = p.key(&label, &mut on)?;
                    }
                }
            }
            b'"' => {
                p.string()?;
                on(start..p.at, &label, place, Token::String);
            }
            b't' => p.word(b"true")?,
            b'f' => p.word(b"false")?,
            b'n' => p.word(b"null")?,
            _ => {
                p.number()?;
                on(start..p.at, &label, place, Token::Number);
            }
        }
        while closed {
            p.space();
            let Some(open) = stack.last_mut() else {
                return (p.at == bytes.len()).then_some(());
            };
            match (p.peek()?, open.object) {
                (b',', true) => {
                    p.at += 1;
                    p.space();
                    label = p.key(&open.label, &mut on)?;
                    closed = false;
                }
                (b',', false) => {
                    p.at += 1;
                    label.clone_from(&open.label);
                    open.place = open.place.map(|place| (place + 1).min(MOST_PLACES));
                    closed = false;
                }
                (b'}', true) | (b']', false) => {
                    p.at += 1;
                    stack.pop();
                }
                _ => return None,
            }
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    /// The same.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    /// The label that the next value has: its key; where that is a number, as of the rows of a column, what the object around has.
    fn key(
        &mut self,
        outer: &Cow<'a, str>,
        on: &mut impl FnMut(Range<usize>, &str, Option<u32>, Token),
    ) -> Option<Cow<'a, str>> {
        let start = self.at;
        self.string()?;
        on(start..self.at, "", None, Token::Key);
        let inner = self.text.get(start + 1..self.at - 1)?;
        let key = if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            Cow::Borrowed(inner)
        } else {
            Cow::Owned(String::from_utf8_lossy(&unescaped(self.bytes.get(start..self.at)?)).into_owned())
        };
        self.space();
        (self.peek()? == b':').then(|| self.at += 1)?;
        let is_number = !outer.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
        Some(if is_number { outer.clone() } else { key })
    }

    fn string(&mut self) -> Option<()> {
        (self.peek()? == b'"').then(|| self.at += 1)?;
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))?;
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    let digits = match self.bytes.get(self.at + 1)? {
                        b'u' => self.bytes.get(self.at + 2..self.at + 6)?,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => &[],
                        _ => return None,
                    };
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    self.at += 2 + digits.len();
                }
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::check;

    #[test]
    fn the_json_test_suite_is_accepted_and_rejected_as_it_says() {
        let Some(cases) = std::env::var_os("CHAPERONE_CASES") else {
            println!(
                "SKIPPED the_json_test_suite_is_accepted_and_rejected_as_it_says: CHAPERONE_CASES names no folder"
            );
            return;
        };
        let mut seen = 0;
        for entry in std::fs::read_dir(std::path::Path::new(&cases).join("json")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let accepted = check(&std::fs::read(&path).unwrap(), 512).is_some();
            match name.get(..2) {
                Some("y_") => assert!(accepted, "{name}"),
                Some("n_") => assert!(!accepted, "{name}"),
                _ => continue,
            }
            seen += 1;
        }
        assert!(seen > 100);
    }
}

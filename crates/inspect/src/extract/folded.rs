//! LDIF, vCard and iCalendar: lines that are folded, and values in base64 or quoted-printable under a name of their own.
//!
//! The whole is scanned as the text that it is; what is written otherwise is read here, with its name as the label.

use std::borrow::Cow;
use std::io::Read;

use super::batch::{Batch, Coding, Sink};
use super::{ExtractError, Visit, text};
use crate::encodings::{base64, is_binary, readable, runs};

impl Visit<'_> {
    pub(super) fn folded(&self, reader: &mut dyn Read, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        let mut bytes = Vec::new();
        reader.take(self.limits.held as u64).read_to_end(&mut bytes)?;
        text::walk(&mut (&*bytes).chain(reader), sink)?;
        if sink.reads_otherwise() { values(&bytes, sink) } else { Ok(()) }
    }
}

/// The values that are written otherwise.
fn values(bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    let mut batch = Batch::default();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
        let (line, length, is_folded) = logical(rest);
        at += length;
        let Some((name, value)) = read(&line, is_folded) else { continue };
        let column = sink.tally.column(&name);
        let value = if is_binary(&value) { readable::strings(&value) } else { value };
        batch.push(0..0, &name, &value, (column, 0), Coding::Plain);
        if batch.is_full() {
            sink.take(&mut batch)?;
        }
    }
    sink.take(&mut batch)
}

/// A line with those that go on with it, the bytes they take, and whether there are any.
fn logical(bytes: &[u8]) -> (Cow<'_, [u8]>, usize, bool) {
    let end = |from: usize| {
        memchr::memchr(b'\n', bytes.get(from..).unwrap_or_default()).map_or(bytes.len(), |n| from + n + 1)
    };
    let part = |from: usize, to: usize| {
        let line = bytes.get(from..to).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    };
    let mut at = end(0);
    let mut whole = Cow::Borrowed(part(0, at));
    let is_quoted = |line: &[u8]| {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let params = line.get(..colon).unwrap_or_default().to_ascii_uppercase();
        memchr::memmem::find(&params, b"QUOTED-PRINTABLE").is_some()
    };
    let quoted = is_quoted(&whole);
    let mut is_folded = false;
    while at < bytes.len() {
        let next = end(at);
        let line = part(at, next);
        if matches!(line.first(), Some(b' ' | b'\t')) {
            whole.to_mut().extend_from_slice(line.get(1..).unwrap_or_default());
        } else if quoted && whole.ends_with(b"=") {
            whole.to_mut().pop();
            whole.to_mut().extend_from_slice(line);
        } else {
            break;
        }
        is_folded = true;
        at = next;
    }
    (whole, at, is_folded)
}

/// The name and the value of a line that says more than it shows.
fn read(line: &[u8], is_folded: bool) -> Option<(String, Vec<u8>)> {
    let colon = memchr::memchr(b':', line)?;
    let (head, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let mut params = head.split(|b| *b == b';');
    // A group before the name: `item1.TEL`.
    let name = params.next()?.rsplit(|b| *b == b'.').next()?;
    let name = String::from_utf8_lossy(name).trim_start_matches("X-").replace(['-', '_'], " ");
    let is = |mark: &str| {
        let upper = |p: &[u8]| String::from_utf8_lossy(p).to_ascii_uppercase();
        params.clone().any(|p| upper(p).rsplit('=').next() == Some(mark))
    };
    if let Some(encoded) = value.strip_prefix(b":") {
        return Some((name, base64(encoded)));
    }
    if is("B") || is("BASE64") {
        return Some((name, base64(value)));
    }
    if is("QUOTED-PRINTABLE") {
        return Some((name, quoted_printable(value)));
    }
    is_folded.then(|| (name, value.trim_ascii().to_vec()))
}

fn base64(value: &[u8]) -> Vec<u8> {
    let run: Vec<u8> = value.iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != b'=').collect();
    if runs::is_run(&run) { base64::from_base64(&run) } else { value.to_vec() }
}

fn quoted_printable(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(b) = value.get(at) {
        let digits = value.get(at + 1..at + 3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.filter(|_| *b == b'=').and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*b);
                at += 1;
            }
        }
    }
    out
}

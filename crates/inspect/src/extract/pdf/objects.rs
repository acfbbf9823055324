//! The objects of a file, found by what they look like and not by its tables: those may lie, loop, or leave out what an
//! earlier version said.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use super::crypt::{Id, Key};
use super::value::{Dict, Lexer, Value};

/// Values of one object; protects memory.
const MOST_VALUES: usize = 1_000_000;
/// References that lead to one another.
const MOST_STEPS: usize = 16;
/// Where a number alone ends, in bytes behind `obj`.
const NUMBER: usize = 64;
/// Digits and blanks before `obj`.
const MOST_DIGITS: usize = 10;

#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    File(usize, Id),
    /// In an unpacked object stream.
    Inner(usize, usize),
}

#[derive(Debug)]
pub(super) struct Objects<'a> {
    pub(super) data: &'a [u8],
    /// Every object that stands in the file itself, in its order; older versions among them.
    pub(super) all: Vec<(Id, usize)>,
    /// The last version of each.
    table: HashMap<u32, Place>,
    inner: Vec<Vec<u8>>,
    /// Where the document is encrypted.
    pub(super) key: Option<Key>,
    /// Bytes that may still be read; protects time where objects overlap.
    work: Cell<usize>,
}

/// A dictionary, and where its data is if it is a stream.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) stream: Option<Stream>,
}

#[derive(Debug, Clone)]
pub(super) struct Stream {
    id: Id,
    range: Range<usize>,
}

impl<'a> Objects<'a> {
    pub(super) fn find(data: &'a [u8], most: usize) -> Self {
        let mut all = Vec::new();
        for at in memchr::memmem::find_iter(data, b"obj") {
            if let Some(id) = id_before(data.get(..at).unwrap_or_default()) {
                all.push((id, at + 3));
                if all.len() >= most {
                    break;
                }
            }
        }
        let table = all.iter().map(|(id, at)| (id.0, Place::File(*at, *id))).collect();
        let work = Cell::new(data.len().saturating_mul(64).saturating_add(16 << 20));
        Self { data, all, table, inner: Vec::new(), key: None, work }
    }

    /// Whether more was to be read than may be.
    pub(super) fn is_exhausted(&self) -> bool {
        self.work.get() == 0
    }

    fn spend(&self, bytes: usize) -> bool {
        self.work.set(self.work.get().saturating_sub(bytes));
        self.work.get() > 0
    }

    /// Takes in an unpacked object stream; answers the values in it.
    pub(super) fn unpack(&mut self, data: Vec<u8>, dict: &Dict) -> Vec<Value> {
        let whole = |key: &[u8]| dict.get(key).and_then(Value::whole).unwrap_or(0);
        let (count, first) = (whole(b"N").min(100_000), whole(b"First"));
        let mut lexer = Lexer::new(&data, 0, MOST_VALUES);
        let mut places = Vec::new();
        for _ in 0..count {
            let (Some(number), Some(at)) = (lexer.value(), lexer.value()) else { break };
            let (Some(number), Some(at)) = (number.whole(), at.whole()) else { break };
            places.push((number as u32, first.saturating_add(at)));
        }
        let index = self.inner.len();
        let mut values = Vec::new();
        for (number, at) in places {
            self.table.entry(number).or_insert(Place::Inner(index, at));
            let mut lexer = Lexer::new(&data, at, MOST_VALUES);
            values.extend(lexer.value());
            if !self.spend(lexer.at.saturating_sub(at)) {
                break;
            }
        }
        self.inner.push(data);
        values
    }

    pub(super) fn at(&self, place: Place) -> Option<Object> {
        let (data, at) = match place {
            Place::File(at, _) => (self.data, at),
            Place::Inner(index, at) => (self.inner.get(index)?.as_slice(), at),
        };
        if self.is_exhausted() {
            return None;
        }
        let mut lexer = Lexer::new(data, at, MOST_VALUES);
        let value = lexer.value();
        // What never ends was read all the same.
        self.spend(lexer.at.saturating_sub(at));
        let mut value = value?;
        let stream = match (&value, place) {
            (Value::Dict(dict), Place::File(_, id)) => {
                self.stream(dict, &mut lexer).map(|range| Stream { id, range })
            }
            _ => None,
        };
        if let (Some(key), Place::File(_, id)) = (&self.key, place) {
            key.strings(id, &mut value);
        }
        Some(Object { value, stream })
    }

    /// The data of a stream, decrypted.
    pub(super) fn raw(&self, stream: &Stream, dict: &Dict) -> Cow<'_, [u8]> {
        let data = self.data.get(stream.range.clone()).unwrap_or_default();
        let decrypted = self.key.as_ref().and_then(|key| key.stream(stream.id, dict, data));
        decrypted.map_or(Cow::Borrowed(data), Cow::Owned)
    }

    pub(super) fn get(&self, number: u32) -> Option<Object> {
        self.at(*self.table.get(&number)?)
    }

    /// Follows references to what is none.
    pub(super) fn resolve(&self, value: &Value) -> Option<Value> {
        let mut value = value.clone();
        for _ in 0..MOST_STEPS {
            let Value::Reference(number) = value else { return Some(value) };
            value = self.get(number)?.value;
        }
        None
    }

    pub(super) fn dict_in(&self, dict: &Dict, key: &[u8]) -> Option<Dict> {
        match self.resolve(dict.get(key)?)? {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    fn stream(&self, dict: &Dict, lexer: &mut Lexer<'_>) -> Option<Range<usize>> {
        lexer.skip_blanks();
        let rest = self.data.get(lexer.at..)?;
        let after = rest.strip_prefix(b"stream")?;
        let line = match after {
            [b'\r', b'\n', ..] => 2,
            [b'\n' | b'\r', ..] => 1,
            _ => 0,
        };
        let start = lexer.at + 6 + line;
        let declared = match dict.get(&b"Length"[..]) {
            Some(Value::Reference(number)) => self.length(*number),
            Some(value) => value.whole(),
            None => None,
        };
        let ends = |end: &usize| {
            let rest = self.data.get(*end..).unwrap_or_default();
            rest.get(..16).unwrap_or(rest).trim_ascii_start().starts_with(b"endst")
        };
        if let Some(end) = declared.and_then(|length| start.checked_add(length)).filter(ends) {
            return Some(start..end);
        }
        let rest = self.data.get(start..)?;
        let length = memchr::memmem::find(rest, b"endstream").unwrap_or(rest.len());
        self.spend(length);
        Some(start..start + length)
    }

    /// A length that stands in an object of its own, which is a number alone.
    fn length(&self, number: u32) -> Option<usize> {
        let Place::File(at, _) = *self.table.get(&number)? else { return None };
        let end = self.data.len().min(at + NUMBER);
        Lexer::new(self.data.get(..end)?, at, 1).value()?.whole()
    }
}

/// The number and version of the object whose `obj` comes behind `before`.
fn id_before(before: &[u8]) -> Option<Id> {
    let blanks = |s: &[u8]| s.iter().rev().take(MOST_DIGITS).take_while(|b| b.is_ascii_whitespace()).count();
    let digits = |s: &[u8]| s.iter().rev().take(MOST_DIGITS).take_while(|b| b.is_ascii_digit()).count();
    let without = |s: &'_ [u8], n: usize| s.len() - n;
    let rest = before.get(..without(before, blanks(before)))?;
    let generation = digits(rest);
    let version = rest.get(without(rest, generation)..)?;
    let rest = rest.get(..without(rest, generation))?;
    let between = blanks(rest);
    let rest = rest.get(..without(rest, between))?;
    let number = rest.get(rest.len() - digits(rest)..)?;
    if generation == 0 || between == 0 {
        return None;
    }
    let read = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    Some((read(number)?, read(version)? as u16))
}

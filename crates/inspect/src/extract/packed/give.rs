//! The values of a packed file, given to the sink.

use std::collections::HashMap;
use std::io::Read;

use super::super::batch::{Batch, Coding, Sink};
use super::super::{ExtractError, Visit, binary, text};
use super::tree::{Node, Tree};
use super::{Format, numbers};
use crate::encodings::{is_binary, readable};
use crate::place::{FieldKind, Unit};
use crate::report::NO_COLUMN;

/// So many rows of the same length make a table.
const LEAST_ROWS: usize = 3;

impl Visit<'_> {
    /// The values of a packed file; what is not of its format is read as the binary file that it is.
    pub(in super::super) fn values(
        &self,
        format: Format,
        reader: &mut dyn Read,
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let mut bytes = Vec::new();
        (&mut *reader).take(self.limits.held as u64 + 1).read_to_end(&mut bytes)?;
        let is_whole = bytes.len() <= self.limits.held;
        if is_whole && let Ok(tree) = format.parse(&bytes, self.limits.nesting) {
            (sink.unit, sink.column) = (Unit::Value, FieldKind::Key);
            return tree.give(sink);
        }
        self.binary(&mut (&*bytes).chain(reader), sink)
    }

    /// What can be read in bytes of no known form, and numbers at equal distances in them.
    pub(in super::super) fn binary(
        &self,
        reader: &mut dyn Read,
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        let mut numbers = numbers::Numbers::default();
        let mut look = |bytes: &[u8]| numbers.take(bytes);
        sink.tally.is_among_bytes = true;
        let walked = text::walk(&mut binary::strings(&mut binary::looked(reader, &mut look)), sink);
        sink.tally.is_among_bytes = false;
        numbers.finish(sink);
        walked
    }
}

/// A value that is due, and what it stands under.
struct Due {
    node: u32,
    label: String,
    /// Its place in a row of a table.
    place: Option<usize>,
    /// It is such a row.
    is_row: bool,
}

impl Tree<'_> {
    /// Gives every value to the sink, each once.
    fn give(&self, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
        let mut seen = vec![false; self.len()];
        let mut batch = Batch::default();
        let mut row = 0;
        // Values that nothing holds any more come last.
        let all = self.roots().iter().copied().chain(0..self.len() as u32);
        let mut due = Vec::new();
        for root in all {
            due.push(Due { node: root, label: String::new(), place: None, is_row: false });
            while let Some(next) = due.pop() {
                let Some(slot) = seen.get_mut(next.node as usize) else { continue };
                if std::mem::replace(slot, true) {
                    continue;
                }
                row += 1;
                match self.get(next.node) {
                    Some(Node::List(items)) => self.list(items, &next, &mut due),
                    Some(Node::Map(pairs)) => {
                        for (key, value) in pairs.iter().rev() {
                            let label = self.label(*key, &next.label);
                            due.push(Due { node: *value, label, place: None, is_row: false });
                            due.push(Due { node: *key, label: String::new(), place: None, is_row: false });
                        }
                    }
                    Some(scalar) => push(scalar, &next, row, &mut batch, sink),
                    None => {}
                }
                if batch.is_full() {
                    sink.take(&mut batch)?;
                }
            }
        }
        sink.take(&mut batch)
    }

    fn list(&self, items: &[u32], list: &Due, due: &mut Vec<Due>) {
        let length = |node: &u32| match self.get(*node) {
            Some(Node::List(items)) if items.len() > 1 => Some(items.len()),
            _ => None,
        };
        let mut rows: HashMap<usize, usize> = HashMap::new();
        for length in items.iter().filter_map(length) {
            *rows.entry(length).or_default() += 1;
        }
        for (i, item) in items.iter().enumerate().rev() {
            let is_row = length(item).and_then(|n| rows.get(&n)).is_some_and(|n| *n >= LEAST_ROWS);
            // The places of a row are columns.
            let place = if list.is_row { Some(i) } else { list.place };
            due.push(Due {
                node: *item,
                label: list.label.clone(),
                place,
                is_row: is_row && place.is_none(),
            });
        }
    }

    /// What a key says of its value; a number says as much as what is around.
    fn label(&self, key: u32, outer: &str) -> String {
        let text = match self.get(key) {
            Some(Node::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Node::Made(text)) => text.clone(),
            _ => String::new(),
        };
        if text.bytes().all(|b| b.is_ascii_digit()) { outer.to_owned() } else { text }
    }
}

fn push(scalar: &Node<'_>, due: &Due, row: u64, batch: &mut Batch, sink: &mut Sink<'_>) {
    let name = match due.place {
        Some(place) => format!("{} {place}", due.label),
        None if due.label.is_empty() => "list".to_owned(),
        None => due.label.clone(),
    };
    let column = sink.tally.column(name.trim_start());
    let value = match scalar {
        Node::Integer(number) => number.to_string().into_bytes(),
        Node::Real(real) => format!("{real}").into_bytes(),
        Node::Text(text) => text.to_vec(),
        Node::Made(text) => text.clone().into_bytes(),
        Node::Bytes(bytes) if is_binary(bytes) => {
            numbers::count(bytes, sink);
            batch.push(0..0, "", &readable::strings(bytes), (NO_COLUMN, row), Coding::Plain);
            return;
        }
        Node::Bytes(bytes) => bytes.to_vec(),
        Node::Nothing | Node::List(_) | Node::Map(_) => return,
    };
    batch.push(0..0, &due.label, &value, (column, row), Coding::Plain);
}

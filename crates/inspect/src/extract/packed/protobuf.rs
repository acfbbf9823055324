//! Protocol Buffers without their schema: fields by number, what is read as a message where it is one.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use super::cursor::{Cursor, Parsed, Wrong, size};
use super::tree::{Node, Tree};

/// Fields of a message; programs have fewer.
const MOST_FIELDS: u64 = 4096;
/// Fields from which bytes are no chance.
const LEAST: usize = 8;

/// One message, or several with their lengths.
pub(super) fn parse(bytes: &[u8], nesting: usize) -> Parsed<Tree<'_>> {
    let mut tree = Tree::default();
    let whole = message(bytes, &mut tree, "", nesting);
    let root = match whole {
        Ok(root) => Ok(root),
        Err(wrong) => {
            tree = Tree::default();
            delimited(bytes, &mut tree, nesting).map_err(|_| wrong)
        }
    }?;
    tree.root(root);
    if tree.len() >= LEAST { Ok(tree) } else { Err(Wrong::Otherwise) }
}

fn delimited<'b>(bytes: &'b [u8], tree: &mut Tree<'b>, nesting: usize) -> Parsed<u32> {
    let mut cursor = Cursor::new(bytes);
    let mut items = Vec::new();
    while !cursor.is_done() {
        let length = size(varint(&mut cursor)?)?;
        items.push(message(cursor.take(length)?, tree, "", nesting)?);
    }
    tree.add(Node::List(items))
}

fn message<'b>(bytes: &'b [u8], tree: &mut Tree<'b>, path: &str, left: usize) -> Parsed<u32> {
    let left = left.checked_sub(1).ok_or(Wrong::Otherwise)?;
    let mut cursor = Cursor::new(bytes);
    let mut pairs = Vec::new();
    while !cursor.is_done() {
        let tag = varint(&mut cursor)?;
        let (field, wire) = (tag >> 3, tag & 7);
        if !(1..=MOST_FIELDS).contains(&field) {
            return Err(Wrong::Otherwise);
        }
        let name = format!("{path}field {field}");
        let node = match wire {
            0 => tree.add(Node::Integer(varint(&mut cursor)?.into()))?,
            1 => {
                let bits = u64::from_le_bytes(cursor.array()?);
                let real = f64::from_bits(bits);
                let is_real = real.is_finite() && (1e-6..1e19).contains(&real.abs());
                tree.add(if is_real { Node::Real(real) } else { Node::Integer(bits.into()) })?
            }
            2 => {
                let length = size(varint(&mut cursor)?)?;
                let part = cursor.take(length)?;
                part_of(part, tree, &name, left)?
            }
            5 => cursor.take(4).and_then(|_| tree.add(Node::Nothing))?,
            _ => return Err(Wrong::Otherwise),
        };
        pairs.push((tree.add(Node::Made(name))?, node));
    }
    tree.add(Node::Map(pairs))
}

/// What has a length: a text, a message, packed numbers, or bytes.
fn part_of<'b>(part: &'b [u8], tree: &mut Tree<'b>, name: &str, left: usize) -> Parsed<u32> {
    if super::cursor::is_text(part) {
        return tree.add(Node::Text(part));
    }
    if let Ok(inner) = message(part, tree, &format!("{name}, "), left) {
        return Ok(inner);
    }
    let mut cursor = Cursor::new(part);
    let mut numbers = Vec::new();
    while !cursor.is_done() {
        let Ok(number) = varint(&mut cursor) else { return tree.add(Node::Bytes(part)) };
        numbers.push(tree.add(Node::Integer(number.into()))?);
    }
    tree.add(Node::List(numbers))
}

fn varint(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    let mut number = 0;
    for i in 0..10 {
        let b = cursor.byte()?;
        number |= u64::from(b & 0x7f).checked_shl(7 * i).unwrap_or(0);
        if b & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Wrong::Otherwise)
}

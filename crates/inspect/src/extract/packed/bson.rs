//! BSON, as MongoDB keeps and dumps it: <https://bsonspec.org/spec.html>, version 1.1.

use super::cursor::{Cursor, Parsed, Wrong, signed, size};
use super::tree::{Node, Tree};

/// One document or several.
pub(super) fn parse(bytes: &[u8], nesting: usize) -> Parsed<Tree<'_>> {
    let (mut tree, mut cursor) = (Tree::default(), Cursor::new(bytes));
    while !cursor.is_done() {
        let root = document(&mut cursor, &mut tree, nesting, true)?;
        tree.root(root);
    }
    Ok(tree)
}

fn document<'b>(cursor: &mut Cursor<'b>, tree: &mut Tree<'b>, left: usize, is_map: bool) -> Parsed<u32> {
    let left = left.checked_sub(1).ok_or(Wrong::Otherwise)?;
    let begin = cursor.at;
    let length = size(cursor.little(4)?)?;
    if length < 5 {
        return Err(Wrong::Otherwise);
    }
    let mut pairs = Vec::new();
    loop {
        let kind = cursor.byte()?;
        if kind == 0 {
            break;
        }
        let name = cursor.until(0)?;
        std::str::from_utf8(name).map_err(|_| Wrong::Otherwise)?;
        let key = tree.add(Node::Text(name))?;
        pairs.push((key, value(cursor, tree, kind, left)?));
    }
    if cursor.at - begin != length {
        return Err(Wrong::Otherwise);
    }
    let list = || pairs.iter().map(|(_, value)| *value).collect();
    let node = if is_map { Node::Map(pairs) } else { Node::List(list()) };
    tree.add(node)
}

fn value<'b>(cursor: &mut Cursor<'b>, tree: &mut Tree<'b>, kind: u8, left: usize) -> Parsed<u32> {
    let node = match kind {
        0x01 => Node::Real(f64::from_le_bytes(cursor.array()?)),
        0x02 | 0x0d | 0x0e => {
            let length = size(cursor.little(4)?)?;
            let text = cursor.take(length)?.strip_suffix(&[0]).ok_or(Wrong::Otherwise)?;
            std::str::from_utf8(text).map_err(|_| Wrong::Otherwise)?;
            Node::Text(text)
        }
        0x03 => return document(cursor, tree, left, true),
        0x04 => return document(cursor, tree, left, false),
        0x05 => {
            let length = size(cursor.little(4)?)?;
            cursor.byte()?;
            Node::Bytes(cursor.take(length)?)
        }
        0x06 | 0x0a | 0xff | 0x7f => Node::Nothing,
        0x07 => cursor.take(12).map(|_| Node::Nothing)?,
        0x08 => cursor.byte().map(|_| Node::Nothing)?,
        0x09 | 0x11 => cursor.take(8).map(|_| Node::Nothing)?,
        0x0b => {
            let pattern = cursor.until(0)?;
            cursor.until(0)?;
            Node::Bytes(pattern)
        }
        0x10 => Node::Integer(signed(cursor.little(4)?, 4)),
        0x12 => Node::Integer(signed(cursor.little(8)?, 8)),
        0x13 => decimal(u128::from_le_bytes(cursor.array()?)),
        _ => return Err(Wrong::Otherwise),
    };
    tree.add(node)
}

/// A decimal of 128 bits (IEEE 754-2008), when it is whole.
fn decimal<'b>(bits: u128) -> Node<'b> {
    const BIAS: u128 = 6176;
    let (is_negative, exponent) = (bits >> 127 == 1, bits >> 113 & 0x3fff);
    if is_negative || bits >> 125 & 3 == 3 || exponent != BIAS {
        return Node::Nothing;
    }
    i128::try_from(bits & ((1 << 113) - 1)).map_or(Node::Nothing, Node::Integer)
}

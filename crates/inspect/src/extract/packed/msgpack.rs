//! MessagePack: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use super::cursor::{Cursor, Parsed, Wrong, signed, size};
use super::tree::{Node, Tree};

/// One object or several, each a list or a map.
pub(super) fn parse(bytes: &[u8], nesting: usize) -> Parsed<Tree<'_>> {
    let (mut tree, mut cursor) = (Tree::default(), Cursor::new(bytes));
    while !cursor.is_done() {
        if !matches!(bytes.get(cursor.at), Some(0x80..=0x9f | 0xdc..=0xdf)) {
            return Err(Wrong::Otherwise);
        }
        let root = value(&mut cursor, &mut tree, nesting)?;
        tree.root(root);
    }
    Ok(tree)
}

fn value<'b>(cursor: &mut Cursor<'b>, tree: &mut Tree<'b>, left: usize) -> Parsed<u32> {
    let left = left.checked_sub(1).ok_or(Wrong::Otherwise)?;
    let mark = cursor.byte()?;
    let node = match mark {
        0x00..=0x7f => Node::Integer(mark.into()),
        0xe0..=0xff => Node::Integer(i128::from(mark as i8)),
        0x80..=0x8f => return map(cursor, tree, usize::from(mark & 15), left),
        0x90..=0x9f => return list(cursor, tree, usize::from(mark & 15), left),
        0xa0..=0xbf => text(cursor.take(usize::from(mark & 31))?)?,
        0xc0 | 0xc2 | 0xc3 => Node::Nothing,
        0xc1 => return Err(Wrong::Otherwise),
        0xc4..=0xc6 => {
            let length = size(cursor.big(1 << (mark - 0xc4))?)?;
            Node::Bytes(cursor.take(length)?)
        }
        0xc7..=0xc9 => {
            let length = size(cursor.big(1 << (mark - 0xc7))?)?;
            cursor.byte()?;
            Node::Bytes(cursor.take(length)?)
        }
        0xca => Node::Real(f32::from_be_bytes(cursor.array()?).into()),
        0xcb => Node::Real(f64::from_be_bytes(cursor.array()?)),
        0xcc..=0xcf => Node::Integer(cursor.big(1 << (mark - 0xcc))?.into()),
        0xd0..=0xd3 => {
            let bytes = 1 << (mark - 0xd0);
            Node::Integer(signed(cursor.big(bytes)?, bytes))
        }
        0xd4..=0xd8 => {
            cursor.byte()?;
            Node::Bytes(cursor.take(1 << (mark - 0xd4))?)
        }
        0xd9..=0xdb => {
            let length = size(cursor.big(1 << (mark - 0xd9))?)?;
            text(cursor.take(length)?)?
        }
        0xdc | 0xdd => {
            let length = size(cursor.big(2 << (mark - 0xdc))?)?;
            return list(cursor, tree, length, left);
        }
        0xde | 0xdf => {
            let length = size(cursor.big(2 << (mark - 0xde))?)?;
            return map(cursor, tree, length, left);
        }
    };
    tree.add(node)
}

fn text(bytes: &[u8]) -> Parsed<Node<'_>> {
    std::str::from_utf8(bytes).map(|_| Node::Text(bytes)).map_err(|_| Wrong::Otherwise)
}

fn list<'b>(cursor: &mut Cursor<'b>, tree: &mut Tree<'b>, length: usize, left: usize) -> Parsed<u32> {
    let mut items = Vec::new();
    for _ in 0..length {
        items.push(value(cursor, tree, left)?);
    }
    tree.add(Node::List(items))
}

fn map<'b>(cursor: &mut Cursor<'b>, tree: &mut Tree<'b>, length: usize, left: usize) -> Parsed<u32> {
    let mut pairs = Vec::new();
    for _ in 0..length {
        let key = value(cursor, tree, left)?;
        pairs.push((key, value(cursor, tree, left)?));
    }
    tree.add(Node::Map(pairs))
}

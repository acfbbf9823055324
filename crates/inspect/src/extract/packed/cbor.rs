//! CBOR: RFC 8949.

use super::cursor::{Cursor, Parsed, Wrong, size};
use super::tree::{Node, Tree};

const BREAK: u8 = 0xff;

/// One item or several (RFC 8742), each a list, a map, or one of them behind tags.
pub(super) fn parse(bytes: &[u8], nesting: usize) -> Parsed<Tree<'_>> {
    let (mut tree, mut cursor) = (Tree::default(), Cursor::new(bytes));
    while !cursor.is_done() {
        if !matches!(bytes.get(cursor.at), Some(0x80..=0x9b | 0x9f..=0xbb | 0xbf | 0xc6..=0xdb)) {
            return Err(Wrong::Otherwise);
        }
        let root = value(&mut cursor, &mut tree, nesting)?;
        tree.root(root);
    }
    Ok(tree)
}

/// The argument of an initial byte (3); none where the length is not told.
fn argument(cursor: &mut Cursor<'_>, info: u8) -> Parsed<Option<u64>> {
    match info {
        0..=23 => Ok(Some(info.into())),
        24..=27 => cursor.big(1 << (info - 24)).map(Some),
        31 => Ok(None),
        _ => Err(Wrong::Otherwise),
    }
}

fn value<'b>(cursor: &mut Cursor<'b>, tree: &mut Tree<'b>, left: usize) -> Parsed<u32> {
    let left = left.checked_sub(1).ok_or(Wrong::Otherwise)?;
    let initial = cursor.byte()?;
    let (major, info) = (initial >> 5, initial & 31);
    if major == 7 {
        let node = match info {
            25 => Node::Real(half(cursor.big(2)? as u16)),
            26 => Node::Real(f32::from_be_bytes(cursor.array()?).into()),
            27 => Node::Real(f64::from_be_bytes(cursor.array()?)),
            24 => cursor.byte().map(|_| Node::Nothing)?,
            0..=23 => Node::Nothing,
            _ => return Err(Wrong::Otherwise),
        };
        return tree.add(node);
    }
    let argument = argument(cursor, info)?;
    let node = match (major, argument) {
        (0, Some(n)) => Node::Integer(n.into()),
        (1, Some(n)) => Node::Integer(-1 - i128::from(n)),
        (2, Some(n)) => Node::Bytes(cursor.take(size(n)?)?),
        (3, Some(n)) => {
            let text = cursor.take(size(n)?)?;
            std::str::from_utf8(text).map_err(|_| Wrong::Otherwise)?;
            Node::Text(text)
        }
        (2 | 3, None) => {
            let mut whole = Vec::new();
            while !ends(cursor) {
                let mark = cursor.byte()?;
                let length = self::argument(cursor, mark & 31)?
                    .filter(|_| mark >> 5 == major)
                    .ok_or(Wrong::Otherwise)?;
                whole.extend_from_slice(cursor.take(size(length)?)?);
            }
            Node::Made(String::from_utf8_lossy(&whole).into_owned())
        }
        (4, length) => {
            let mut items = Vec::new();
            while length.map_or_else(|| !ends(cursor), |n| (items.len() as u64) < n) {
                items.push(value(cursor, tree, left)?);
            }
            Node::List(items)
        }
        (5, length) => {
            let mut pairs = Vec::new();
            while length.map_or_else(|| !ends(cursor), |n| (pairs.len() as u64) < n) {
                let key = value(cursor, tree, left)?;
                pairs.push((key, value(cursor, tree, left)?));
            }
            Node::Map(pairs)
        }
        (6, Some(_)) => return value(cursor, tree, left),
        _ => return Err(Wrong::Otherwise),
    };
    tree.add(node)
}

/// Takes the break that ends what has no length.
fn ends(cursor: &mut Cursor<'_>) -> bool {
    let ends = cursor.bytes.get(cursor.at) == Some(&BREAK);
    cursor.at += usize::from(ends);
    ends
}

/// A float of sixteen bits; what it says exactly does not matter.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    let value = if exponent == 0 {
        fraction * 2f64.powi(-24)
    } else {
        (1024.0 + fraction) * 2f64.powi(exponent - 25)
    };
    if bits >> 15 == 1 { -value } else { value }
}

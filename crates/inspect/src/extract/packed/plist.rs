//! Binary property lists, as Apple's programs write them: CFBinaryPList.c.

use super::cursor::{Cursor, Parsed, Wrong, signed, size};
use super::tree::{Node, Tree};

const TRAILER: usize = 32;

pub(super) fn parse(bytes: &[u8]) -> Parsed<Tree<'_>> {
    let end = bytes.len().checked_sub(TRAILER).ok_or(Wrong::Cut)?;
    let mut trailer = Cursor { bytes, at: end + 6 };
    let (offset_size, reference_size) = (usize::from(trailer.byte()?), usize::from(trailer.byte()?));
    let (count, top, table) = (size(trailer.big(8)?)?, trailer.big(8)?, size(trailer.big(8)?)?);
    if !(1..=8).contains(&offset_size) || !(1..=4).contains(&reference_size) || count > bytes.len() {
        return Err(Wrong::Otherwise);
    }
    let mut tree = Tree::default();
    let mut offsets = Cursor { bytes, at: table };
    for _ in 0..count {
        let at = size(offsets.big(offset_size)?)?;
        let node = object(&mut Cursor { bytes, at }, reference_size)?;
        // The number of an object is that of its node.
        tree.add(node)?;
    }
    tree.root(u32::try_from(top).map_err(|_| Wrong::Otherwise)?);
    Ok(tree)
}

fn object<'b>(cursor: &mut Cursor<'b>, reference_size: usize) -> Parsed<Node<'b>> {
    let mark = cursor.byte()?;
    let short = mark & 15;
    Ok(match mark >> 4 {
        0x1 if short <= 4 => {
            let bytes = 1 << short;
            let number = cursor.take(bytes)?.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
            Node::Integer(if bytes == 8 { signed(number as u64, 8) } else { number as i128 })
        }
        0x2 if short == 2 => Node::Real(f32::from_be_bytes(cursor.array()?).into()),
        0x2 if short == 3 => Node::Real(f64::from_be_bytes(cursor.array()?)),
        0x4 => {
            let length = length(cursor, short)?;
            Node::Bytes(cursor.take(length)?)
        }
        0x5 => {
            let length = length(cursor, short)?;
            Node::Text(cursor.take(length)?)
        }
        0x6 => {
            let length = length(cursor, short)?;
            let bytes = cursor.take(length.checked_mul(2).ok_or(Wrong::Otherwise)?)?;
            let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
            Node::Made(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect())
        }
        0xa..=0xc => {
            let length = length(cursor, short)?;
            Node::List(references(cursor, length, reference_size)?)
        }
        0xd => {
            let length = length(cursor, short)?;
            let keys = references(cursor, length, reference_size)?;
            let values = references(cursor, length, reference_size)?;
            Node::Map(keys.into_iter().zip(values).collect())
        }
        _ => Node::Nothing,
    })
}

fn length(cursor: &mut Cursor<'_>, short: u8) -> Parsed<usize> {
    if short < 15 {
        return Ok(short.into());
    }
    let mark = cursor.byte()?;
    if mark >> 4 != 1 || mark & 15 > 3 {
        return Err(Wrong::Otherwise);
    }
    size(cursor.big(1 << (mark & 15))?)
}

fn references(cursor: &mut Cursor<'_>, count: usize, each: usize) -> Parsed<Vec<u32>> {
    let bytes = cursor.take(count.checked_mul(each).ok_or(Wrong::Otherwise)?)?;
    Ok(bytes.chunks_exact(each).map(|r| r.iter().fold(0, |n, b| n << 8 | u32::from(*b))).collect())
}

//! Arrays of numpy: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. What is no array of numbers or texts (an
//! array of objects is a pickle) is read as the binary file that it is.

use super::cursor::{Cursor, Parsed, Wrong, signed, size};
use super::tree::{Node, Tree};

/// Numbers below this are nothing that anybody has.
const LEAST: i128 = 1_000_000;

/// What one field of a record is: its name, its kind and its bytes.
struct Field<'b> {
    name: &'b str,
    kind: char,
    bytes: usize,
    is_big: bool,
}

pub(super) fn parse(bytes: &[u8]) -> Parsed<Tree<'_>> {
    let mut cursor = Cursor { bytes, at: 6 };
    let major = cursor.byte()?;
    cursor.byte()?;
    let length = size(cursor.little(if major == 1 { 2 } else { 4 })?)?;
    let header = std::str::from_utf8(cursor.take(length)?).map_err(|_| Wrong::Otherwise)?;
    let fields = fields(header).ok_or(Wrong::Otherwise)?;
    let record: usize = fields.iter().map(|f| f.bytes).sum();
    let mut tree = Tree::default();
    let mut columns: Vec<Vec<u32>> = fields.iter().map(|_| Vec::new()).collect();
    let data = bytes.get(cursor.at..).unwrap_or_default();
    for element in data.chunks_exact(record.max(1)) {
        let mut at = 0;
        for (field, column) in fields.iter().zip(&mut columns) {
            let node = value(field, element.get(at..at + field.bytes).unwrap_or_default());
            column.push(tree.add(node)?);
            at += field.bytes;
        }
    }
    let mut pairs = Vec::new();
    for (field, column) in fields.iter().zip(columns) {
        pairs.push((tree.add(Node::Text(field.name.as_bytes()))?, tree.add(Node::List(column))?));
    }
    let root = tree.add(Node::Map(pairs))?;
    tree.root(root);
    Ok(tree)
}

/// The fields that a header names; a plain array has one without a name.
fn fields(header: &str) -> Option<Vec<Field<'_>>> {
    let (_, rest) = header.split_once("'descr'")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    if !rest.starts_with('[') {
        return Some(vec![field("", rest.split('\'').nth(1)?)?]);
    }
    let (list, _) = rest.split_once(']')?;
    let mut words = list.split('\'').skip(1).step_by(2);
    let mut fields = Vec::new();
    while let Some(name) = words.next() {
        fields.push(field(name, words.next()?)?);
    }
    Some(fields)
}

fn field<'b>(name: &'b str, kind: &str) -> Option<Field<'b>> {
    let plain = kind.trim_start_matches(['<', '>', '|', '=']);
    let letter = plain.chars().next()?;
    let count: usize = plain.get(1..)?.parse().ok()?;
    let bytes = if letter == 'U' { count.checked_mul(4)? } else { count };
    let fits = match letter {
        'i' | 'u' | 'f' => (1..=16).contains(&bytes),
        'S' | 'a' | 'U' | 'V' | 'b' | 'c' | 'M' | 'm' => bytes <= 1 << 16,
        _ => false,
    };
    (fits && bytes > 0).then_some(Field { name, kind: letter, bytes, is_big: kind.starts_with('>') })
}

fn value<'b>(field: &Field<'b>, element: &'b [u8]) -> Node<'b> {
    let number = |of: &[u8]| {
        let fold = |n: u64, b: &u8| n << 8 | u64::from(*b);
        if field.is_big { of.iter().fold(0, fold) } else { of.iter().rev().fold(0, fold) }
    };
    match (field.kind, field.bytes) {
        ('i', bytes @ ..=8) => Node::Integer(small(signed(number(element), bytes))),
        ('u', ..=8) => Node::Integer(small(number(element).into())),
        ('f', 8) => {
            let real = f64::from_bits(number(element));
            // A fraction is no number of this kind, whatever its digits.
            if real.fract() == 0.0 && real.abs() < 1e19 {
                Node::Integer(small(real as i128))
            } else {
                Node::Real(0.5)
            }
        }
        ('S' | 'a', _) => Node::Text(element.split(|b| *b == 0).next().unwrap_or_default()),
        ('U', _) => {
            let character = |unit: &[u8; 4]| char::from_u32(number(unit) as u32).filter(|c| *c != '\0');
            Node::Made(element.as_chunks::<4>().0.iter().map_while(character).collect())
        }
        _ => Node::Nothing,
    }
}

/// A number that nobody has is one digit, which is not scanned.
fn small(number: i128) -> i128 {
    if number.abs() < LEAST { 0 } else { number }
}

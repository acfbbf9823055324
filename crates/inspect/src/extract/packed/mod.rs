//! Values that programs pack in binary: MessagePack, CBOR, BSON, Protocol Buffers, pickles, property lists, arrays of numpy. Nothing is
//! executed; what does not parse to its end is read as the binary file that it is.

mod bson;
mod cbor;
mod msgpack;
mod npy;
pub(super) mod numbers;
mod pickle;
mod plist;
mod protobuf;
mod tree;

use super::batch::Sink;
use super::{ExtractError, kind};
use tree::Tree;

/// How values are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Npy,
    Plist,
    Pickle,
    Bson,
    MessagePack,
    Cbor,
    Protobuf,
}

/// Those that have no mark, in the order in which they are tried.
const UNMARKED: [Format; 4] = [Format::Bson, Format::MessagePack, Format::Cbor, Format::Protobuf];

/// Why bytes are not of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// They end too early.
    Cut,
    Otherwise,
}

type Parsed<T> = Result<T, Wrong>;

impl Format {
    /// By the first bytes of a file.
    pub(super) fn of(head: &[u8]) -> Option<Format> {
        let marked = match head {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Format::Npy),
            [b'b', b'p', b'l', b'i', b's', b't', b'0', ..] => Some(Format::Plist),
            [0x80, 2..=5, ..] => Some(Format::Pickle),
            _ => None,
        };
        if marked.is_some() || is_text(head) {
            return marked;
        }
        let is_cut = head.len() >= kind::HEAD;
        UNMARKED.into_iter().find(|format| match format.parse(head, super::Limits::default().nesting) {
            Ok(tree) => tree.len() > 1,
            Err(Wrong::Cut) => is_cut,
            Err(Wrong::Otherwise) => false,
        })
    }

    fn parse(self, bytes: &[u8], nesting: usize) -> Parsed<Tree<'_>> {
        match self {
            Format::Npy => npy::parse(bytes),
            Format::Plist => plist::parse(bytes),
            Format::Pickle => pickle::parse(bytes),
            Format::Bson => bson::parse(bytes, nesting),
            Format::MessagePack => msgpack::parse(bytes, nesting),
            Format::Cbor => cbor::parse(bytes, nesting),
            Format::Protobuf => protobuf::parse(bytes, nesting),
        }
    }
}

/// Gives the values to the sink; false when the bytes are not of the format.
pub(super) fn walk(
    format: Format,
    bytes: &[u8],
    nesting: usize,
    sink: &mut Sink<'_>,
) -> Result<bool, ExtractError> {
    let Ok(tree) = format.parse(bytes, nesting) else { return Ok(false) };
    (sink.unit, sink.column) = ("value", "key");
    tree.give(sink)?;
    Ok(true)
}

/// Whether bytes are text, as far as they go.
fn is_text(head: &[u8]) -> bool {
    let is_whole = head.utf8_chunks().next().is_none_or(|c| c.valid().len() + 4 > head.len());
    let is_control = |b: &u8| *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r' | 0x08 | 0x0c | 0x1b);
    is_whole && !head.iter().any(is_control)
}

/// Reads bytes from a place.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    fn new(bytes: &'b [u8]) -> Cursor<'b> {
        Cursor { bytes, at: 0 }
    }

    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Parsed<&'b [u8]> {
        let end = self.at.checked_add(length).ok_or(Wrong::Otherwise)?;
        let taken = self.bytes.get(self.at..end).ok_or(Wrong::Cut)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(Wrong::Cut)
    }

    fn byte(&mut self) -> Parsed<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// An unsigned number of so many bytes, the highest first.
    fn big(&mut self, length: usize) -> Parsed<u64> {
        Ok(self.take(length)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// The same, the lowest first.
    fn little(&mut self, length: usize) -> Parsed<u64> {
        Ok(self.take(length)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// What stands before `end`, which is left out.
    fn until(&mut self, end: u8) -> Parsed<&'b [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(end, rest).ok_or(Wrong::Cut)?;
        self.at += length + 1;
        rest.get(..length).ok_or(Wrong::Cut)
    }
}

fn size(n: u64) -> Parsed<usize> {
    usize::try_from(n).map_err(|_| Wrong::Otherwise)
}

/// A number of one to eight bytes with its sign.
fn signed(n: u64, bytes: usize) -> i128 {
    let unused = 64 - 8 * bytes.clamp(1, 8) as u32;
    i128::from((n << unused) as i64 >> unused)
}

//! Values that programs pack in binary: MessagePack, CBOR, BSON, Protocol Buffers, pickles, property lists, arrays of numpy. Nothing is
//! executed; what does not parse to its end is read as the binary file that it is.

mod bson;
mod cbor;
mod cursor;
mod give;
mod msgpack;
mod npy;
mod numbers;
mod pickle;
mod plist;
mod protobuf;
mod tree;

use cursor::{Parsed, Wrong, is_text};
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

/// Values in one another, as far as a beginning is looked at.
const NESTING: usize = 128;

/// Those that have no mark, in the order in which they are tried.
const UNMARKED: [Format; 4] = [Format::Bson, Format::MessagePack, Format::Cbor, Format::Protobuf];

impl Format {
    /// By the first bytes of a file, which may go on.
    pub(super) fn of(head: &[u8], is_cut: bool) -> Option<Format> {
        let marked = match head {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Format::Npy),
            [b'b', b'p', b'l', b'i', b's', b't', b'0', ..] => Some(Format::Plist),
            [0x80, 2..=5, ..] => Some(Format::Pickle),
            _ => None,
        };
        if marked.is_some() || is_text(head) {
            return marked;
        }
        UNMARKED.into_iter().find(|format| match format.parse(head, NESTING) {
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

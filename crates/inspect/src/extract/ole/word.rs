//! Word 97 to 2003 (MS-DOC): the pieces of the text, of notes, comments, headers and what was deleted with a mark.

use super::shared::{DAMAGED, ENCRYPTED, text as scan};
use crate::extract::ExtractError;
use crate::extract::batch::Sink;
use crate::extract::loose::{four, latin, strings, two, utf16};

/// Pieces of one text; protects memory.
const MOST_PIECES: usize = 1_000_000;
const ENCRYPTED_FLAG: u16 = 0x0100;
const SECOND_TABLE: u16 = 0x0200;
/// The first version with pieces where they are looked for here.
const WORD_97: u16 = 0x00c1;

/// Which of the two tables belongs to the text.
pub(super) fn table(document: &[u8]) -> bool {
    two(document, 0x0a).is_some_and(|flags| flags & SECOND_TABLE != 0)
}

pub(super) fn read(document: &[u8], table: &[u8], sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    let flags = two(document, 0x0a).ok_or(DAMAGED)?;
    if flags & ENCRYPTED_FLAG != 0 {
        return Err(ENCRYPTED);
    }
    let is_older = two(document, 2).is_some_and(|version| version < WORD_97);
    let pieces = if is_older { Some(Vec::new()) } else { pieces(document, table) };
    let mut text = String::new();
    let mut taken = Vec::new();
    for (from, length, is_wide) in pieces.iter().flatten().copied() {
        let bytes = document.get(from..from.saturating_add(length)).unwrap_or_default();
        let piece = if is_wide { utf16(bytes) } else { latin(bytes) };
        text.extend(piece.chars().filter_map(plain));
        taken.push((from, from + bytes.len()));
        if text.len() > document.len() * 4 {
            return Err(ExtractError::Limit("the pieces of a text"));
        }
    }
    text.push('\n');
    taken.sort_unstable();
    let mut rest = Vec::new();
    let mut at = 0;
    for (from, to) in taken.into_iter().chain([(document.len(), document.len())]) {
        if from > at {
            rest.extend(strings(document.get(at..from).unwrap_or_default()));
        }
        at = at.max(to);
    }
    let read = scan(&text, sink).and(crate::extract::text::walk(&mut &*rest, sink));
    if pieces.is_some() { read } else { read.and(Err(DAMAGED)) }
}

/// Where the pieces are: their place, their length in bytes, and whether they are UTF-16.
fn pieces(document: &[u8], table: &[u8]) -> Option<Vec<(usize, usize, bool)>> {
    let at = four(document, 0x01a2)? as usize;
    let length = four(document, 0x01a6)? as usize;
    let mut clx = table.get(at..at.checked_add(length)?)?;
    while let [1, rest @ ..] = clx {
        clx = rest.get(2 + usize::from(two(rest, 0)?)..)?;
    }
    let [2, plc @ ..] = clx else { return None };
    let plc = plc.get(4..)?;
    let count = (plc.len().checked_sub(4)? / 12).min(MOST_PIECES);
    let mut pieces = Vec::new();
    for i in 0..count {
        let characters = four(plc, 4 * i + 4)?.checked_sub(four(plc, 4 * i)?)? as usize;
        let place = four(plc, 4 * (count + 1) + 8 * i + 2)?;
        let is_wide = place & 0x4000_0000 == 0;
        let place = (place & 0x3fff_ffff) as usize;
        pieces.push(if is_wide { (place, characters * 2, true) } else { (place / 2, characters, false) });
    }
    Some(pieces)
}

/// The marks of the format as what they are read as.
fn plain(c: char) -> Option<char> {
    match c {
        '\r' | '\u{b}' | '\u{c}' => Some('\n'),
        '\u{7}' => Some('\t'),
        '\u{1e}' => Some('-'),
        '\u{1f}' => None,
        c if c.is_control() && c != '\t' => Some(' '),
        c => Some(c),
    }
}

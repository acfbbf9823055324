//! Words of hex, as tables of programs and dumps have them: a line may begin with the place where it stands, and end with its letters.

use super::row::{Read, Row};
use crate::encodings::readable::nibble;

/// A shorter record holds nothing, in hex digits.
const SHORTEST: usize = 12;
/// What a line of records for a device begins with beside its data, in bytes, by the digit behind `S`: how many, where, of what kind.
const HEADS: [(u8, usize); 3] = [(b'1', 3), (b'2', 4), (b'3', 5)];
/// The same behind a colon. The sum behind the data is one byte in both.
const COLON_HEAD: usize = 4;
/// Blanks before a line.
const INDENT: usize = 16;

/// A row of words with places before its lines.
#[derive(Debug, Default)]
pub(super) struct Dumped {
    row: Row,
    /// The last place, and how long the row was there.
    place: Option<(u64, usize)>,
    /// Up to where the line goes that began with it.
    line_end: usize,
}

impl Dumped {
    pub(super) fn new() -> Dumped {
        let mut dumped = Dumped::default();
        dumped.row.read_as_text();
        dumped
    }

    /// Takes the word of hex digits at `start`, all of which are written with as many.
    pub(super) fn word(&mut self, text: &[u8], start: usize, digits: &[u8], read: &mut Read) {
        let (value, width) = (value(digits), digits.len() / 2);
        let is_other = self.row.width() != 0 && self.row.width() != width;
        let is_place = || is_other || ends_place(text, start + digits.len());
        if (is_other || width > 1) && begins_line(text, start) && is_place() {
            return self.at_place(text, start, value, read);
        }
        if is_other && start < self.line_end {
            // The last group may be shorter; of the letters beside a line some look like hex.
            if matches!(text.get(start.saturating_sub(2)..start), Some([b, b' ']) if *b != b' ') {
                self.row.extend(value, width);
            }
            return;
        }
        if is_other {
            self.end(read);
        }
        self.row.push_as(value, width, read);
    }

    /// Takes the digits behind the mark at `start`, which may be as few as there need be.
    pub(super) fn marked(&mut self, text: &[u8], start: usize, digits: &[u8], read: &mut Read) {
        let width = match digits.len() {
            1 | 2 => 1,
            3 | 4 => 2,
            5..=8 => 4,
            9..=16 => 8,
            _ => return,
        };
        if text.get(start + 2 + digits.len()) == Some(&b':') && begins_line(text, start) {
            return;
        }
        self.row.push(value(digits), width, read);
    }

    /// What stands between two places is as long as they are apart: what was taken beyond that were letters.
    fn at_place(&mut self, text: &[u8], start: usize, place: u64, read: &mut Read) {
        let Some((last, length)) = self.place else {
            // Numbers before the first place are not of what is shown here.
            self.end(read);
            return self.begin_line(text, start, place);
        };
        if let Some(apart) = place.checked_sub(last).and_then(|n| usize::try_from(n).ok())
            && apart > 0
        {
            self.row.truncate(length.saturating_add(apart));
        }
        self.begin_line(text, start, place);
    }

    fn begin_line(&mut self, text: &[u8], start: usize, place: u64) {
        self.place = Some((place, self.row.length()));
        self.line_end =
            start + memchr::memchr(b'\n', text.get(start..).unwrap_or_default()).unwrap_or(text.len());
    }

    pub(super) fn end(&mut self, read: &mut Read) {
        self.row.end(read);
        self.place = None;
    }
}

fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, b| n << 4 | u64::from(nibble(*b)))
}

/// Whether nothing stands before it in its line.
fn begins_line(text: &[u8], start: usize) -> bool {
    let before = text.get(start.saturating_sub(INDENT)..start).unwrap_or_default();
    match before.iter().rev().find(|b| !matches!(b, b' ' | b'\t')) {
        Some(b) => *b == b'\n',
        None => start < INDENT,
    }
}

/// Whether what ends here is a place by what stands behind it.
fn ends_place(text: &[u8], end: usize) -> bool {
    matches!(text.get(end..end + 2), Some([b':', _] | b"  "))
}

/// The data of one record for a device, if this word is one: it says how long it is.
pub(super) fn record(text: &[u8], start: usize, word: &[u8]) -> Option<Vec<u8>> {
    if word.len() < SHORTEST {
        return None;
    }
    // Behind `S` the length counts what comes after it, behind a colon the data alone.
    let (digits, head, beside) = match word {
        [b'S', kind, digits @ ..] => (digits, HEADS.iter().find(|(k, _)| k == kind)?.1, 1),
        _ if start.checked_sub(1).and_then(|at| text.get(at)) == Some(&b':') => {
            (word, COLON_HEAD, COLON_HEAD + 1)
        }
        _ => return None,
    };
    let mut bytes = hex::decode(digits).ok()?;
    if usize::from(*bytes.first()?) + beside != bytes.len() {
        return None;
    }
    bytes.pop();
    bytes.drain(..head.min(bytes.len()));
    Some(bytes)
}

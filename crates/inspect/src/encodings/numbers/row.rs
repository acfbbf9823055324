//! One row of numbers, each a word of one, two, four or eight bytes.

use crate::encodings::readable::{APART, LEAST_TEXT, readable, reads};
use crate::encodings::{from_wide, is_utf16, is_utf32};

/// Numbers in a row that would fit into fewer bytes: the words have become narrower. Among words drawn at random one in 256 would.
const NARROWER: usize = 8;
/// One of so many is such a number, at most, in a row of more words than are looked at anyway.
const NARROW: usize = 4;
const SHORT: usize = 64;
/// Of each so many bytes one is a different one, at least, in what is packed or a picture.
const VARIED: usize = 3;
const ALL: usize = 256;
/// And no more than one of so many is the same.
const COMMON: usize = 4;

/// What rows of numbers say.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// What is readable in those that were meant to be read.
    pub(crate) text: Vec<u8>,
    /// Those that may say anything, as bytes, each on its own.
    pub(crate) rows: Vec<u8>,
}

impl Read {
    /// Takes the bytes of a row of words, which are written with the highest byte first.
    fn row(&mut self, bytes: &[u8], width: usize, is_text: bool) {
        // Most rows are short, and neither letters nor varied.
        let letters = bytes.iter().filter(|b| reads(**b) || **b >= 0x80).count();
        if letters < LEAST_TEXT && !is_varied(bytes) {
            return;
        }
        self.bytes(bytes, is_text);
        if width > 1 {
            let mut turned = bytes.to_vec();
            turned.chunks_exact_mut(width).for_each(<[u8]>::reverse);
            self.bytes(&turned, is_text);
            if is_text && (is_utf16(bytes) || is_utf32(bytes)) {
                readable(&from_wide(bytes), &mut self.text);
            }
        }
    }

    /// Takes bytes that belong together.
    pub(super) fn bytes(&mut self, bytes: &[u8], is_text: bool) {
        if bytes.len() < LEAST_TEXT {
            return;
        }
        let before = self.text.len();
        if is_text {
            readable(bytes, &mut self.text);
        }
        if self.rows.is_empty() {
            // What stands at the very beginning would be taken for the whole.
            self.rows.extend_from_slice(APART);
        }
        if is_varied(bytes) {
            self.rows.extend_from_slice(bytes);
            self.rows.extend_from_slice(APART);
        } else if is_text {
            self.rows.extend_from_slice(self.text.get(before..).unwrap_or_default());
        } else {
            readable(bytes, &mut self.rows);
        }
    }
}

/// Whether bytes are as different as those of something packed are: measurements are not.
fn is_varied(bytes: &[u8]) -> bool {
    // The most common byte of small numbers in wide words.
    if memchr::memchr_iter(0, bytes).count() * COMMON >= bytes.len() {
        return false;
    }
    let mut counts = [0u32; ALL];
    bytes.iter().for_each(|b| counts[usize::from(*b)] += 1);
    let different = counts.iter().filter(|count| **count > 0).count();
    let most = counts.iter().max().copied().unwrap_or(0) as usize;
    different * VARIED >= bytes.len().min(ALL) && most * COMMON < bytes.len()
}

#[derive(Debug, Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    /// Of its words, in bytes; none while there are none.
    width: usize,
    /// How many would fit into fewer, and how many of the last.
    narrow: usize,
    narrower: usize,
    /// Whether what is readable in it is read as a text.
    is_text: bool,
}

impl Row {
    /// What is readable in it is read as a text, and not for what is known alone.
    pub(super) fn read_as_text(&mut self) {
        self.is_text = true;
    }

    #[inline]
    pub(super) fn push(&mut self, value: u64, width: usize, read: &mut Read) {
        if width == 1 && self.width == 1 {
            self.bytes.push(value as u8);
        } else {
            self.push_word(value, width, read);
        }
    }

    fn push_word(&mut self, value: u64, width: usize, read: &mut Read) {
        if width > self.width {
            self.end(read);
            self.width = width;
        }
        let is_narrow = width < self.width;
        self.narrow += usize::from(is_narrow);
        self.narrower = if is_narrow { self.narrower + 1 } else { 0 };
        self.extend(value, self.width);
        if self.narrower == NARROWER {
            self.split(read);
        }
    }

    /// Takes a number that is written as a word of this width.
    pub(super) fn push_as(&mut self, value: u64, width: usize, read: &mut Read) {
        if width != self.width {
            self.end(read);
            self.width = width;
        }
        self.extend(value, width);
    }

    pub(super) fn extend(&mut self, value: u64, width: usize) {
        self.bytes.extend_from_slice(value.to_be_bytes().get(8 - width..).unwrap_or_default());
    }

    /// Ends the row before the last numbers, which begin another one.
    fn split(&mut self, read: &mut Read) {
        let old = self.width;
        self.narrow -= NARROWER;
        let tail = self.bytes.split_off(self.bytes.len().saturating_sub(NARROWER * old));
        self.end(read);
        for word in tail.chunks(old) {
            let value = word.iter().fold(0, |n, b| n << 8 | u64::from(*b));
            self.push_word(value, width_of(value), read);
        }
    }

    /// Whether it is of numbers of another kind, with counters and the like between them, for so long that it costs.
    fn is_counted(&self) -> bool {
        let words = self.bytes.len() / self.width.max(1);
        words > SHORT && self.narrow * NARROW > words
    }

    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(super) fn end(&mut self, read: &mut Read) {
        if self.bytes.len() >= LEAST_TEXT && !self.is_counted() {
            read.row(&self.bytes, self.width, self.is_text);
        }
        self.bytes.clear();
        (self.width, self.narrow, self.narrower) = (0, 0, 0);
    }
}

/// Into how many bytes a number fits.
#[inline]
pub(super) fn width_of(value: u64) -> usize {
    match value {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

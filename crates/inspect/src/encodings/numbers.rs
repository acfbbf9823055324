//! Bytes written as numbers, whatever the syntax: what stands between the numbers is not looked at, but for the signs that belong to
//! them. A list, an object with indexes, points of a drawing, a table of C, a dump and the records of a device are all rows of numbers
//! of which each, or each second or third, is a byte, or a word of several.
//!
//! A row is taken as far as its numbers fit. Whether it says anything is for whoever looks at it, as at any other bytes.

mod dumped;
mod row;
mod token;

pub(crate) use row::Read;

use dumped::Dumped;
use row::Row;
use token::Token;

/// Every number, every second and every third, each from each that it may begin with.
const STRIDES: [usize; 3] = [1, 2, 3];

/// The rows of a text, of which the words are given one after the other.
pub(super) struct Numbers {
    /// By stride and by what it begins with.
    decimal: [[Row; 3]; 3],
    /// Where in each stride the next number is.
    phases: [usize; 3],
    /// Words of hex behind a mark of it, and without.
    marked: Dumped,
    bare: Dumped,
    records: Vec<u8>,
    /// Up to here the text was read with a number before it.
    done: usize,
    read: Read,
}

impl Default for Numbers {
    fn default() -> Numbers {
        let mut decimal: [[Row; 3]; 3] = Default::default();
        decimal.iter_mut().take(1).flatten().for_each(Row::read_as_text);
        Numbers {
            decimal,
            phases: [0; 3],
            marked: Dumped::new(),
            bare: Dumped::new(),
            records: Vec::new(),
            done: 0,
            read: Read::default(),
        }
    }
}

impl Numbers {
    /// Takes the word of `text` that begins at `start`.
    #[inline]
    pub(super) fn word(&mut self, text: &[u8], start: usize, word: &[u8]) {
        let is_digit = |at: usize| word.get(at).is_some_and(u8::is_ascii_digit);
        if let [b'0', b'x' | b'X', digits @ ..] = word {
            self.marked(text, start, digits);
        } else if is_digit(0) || is_digit(1) {
            self.bare(text, start, word);
            if start >= self.done {
                self.decimal(text, start, word);
            }
        } else if word.first().is_some_and(u8::is_ascii_hexdigit) {
            self.bare(text, start, word);
        }
    }

    fn marked(&mut self, text: &[u8], start: usize, digits: &[u8]) {
        // `u` and `L` behind it say of what type it is.
        let end = digits.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at(end);
        if rest.iter().all(|b| matches!(b, b'u' | b'U' | b'l' | b'L')) {
            self.marked.marked(text, start, digits, &mut self.read);
        }
    }

    #[inline]
    fn bare(&mut self, text: &[u8], start: usize, word: &[u8]) {
        if matches!(word.len(), 2 | 4 | 8 | 16) && word.iter().all(u8::is_ascii_hexdigit) {
            self.bare.word(text, start, word, &mut self.read);
        } else if let Some(data) = dumped::record(text, start, word) {
            self.records.extend_from_slice(&data);
        }
    }

    fn decimal(&mut self, text: &[u8], start: usize, word: &[u8]) {
        match token::decimal(text, start, word) {
            Token::None => {}
            Token::One { value, width, end } => {
                self.done = end;
                self.number(Some((value, width)));
            }
            Token::Two(first, second) => {
                self.number(Some(first));
                self.number(Some(second));
            }
            Token::Broken { end } => {
                self.done = end;
                self.number(None);
            }
        }
    }

    fn number(&mut self, number: Option<(u64, usize)>) {
        for ((stride, rows), phase) in STRIDES.iter().zip(&mut self.decimal).zip(&mut self.phases) {
            if let Some(row) = rows.get_mut(*phase) {
                match number {
                    Some((value, width)) => row.push(value, width, &mut self.read),
                    None => row.end(&mut self.read),
                }
            }
            *phase += 1;
            if phase == stride {
                *phase = 0;
            }
        }
    }

    /// Ends all rows; what they hold.
    pub(super) fn finish(mut self) -> Read {
        self.decimal.iter_mut().flatten().for_each(|row| row.end(&mut self.read));
        self.marked.end(&mut self.read);
        self.bare.end(&mut self.read);
        self.read.bytes(&self.records, true);
        self.read
    }

    /// Bytes of rows so far.
    pub(super) fn written(&self) -> u64 {
        self.read.rows.len() as u64
    }
}

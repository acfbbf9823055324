//! Records of a CSV that are bounded before a parser holds one whole.

use std::io::{self, Read};

/// A reader for a CSV parser, which fails when one record is longer than it may be.
#[derive(Debug)]
pub struct BoundedRecords<R> {
    inner: R,
    since: u64,
    most: u64,
}

impl<R: Read> BoundedRecords<R> {
    /// `most`: bytes of one record, and of what a parser reads ahead.
    pub fn new(inner: R, most: u64) -> Self {
        Self { inner, since: 0, most }
    }

    /// The parser has got a record whole.
    pub fn next_record(&mut self) {
        self.since = 0;
    }
}

impl<R: Read> Read for BoundedRecords<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.since += count as u64;
        if self.since > self.most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "one of its rows is too long"));
        }
        Ok(count)
    }
}

//! Bytes that are no text: only what can be read in them is scanned. Noise holds short words of every kind; what is meant
//! to be read is longer.

use std::io::{self, Read};

use crate::encodings::readable;

/// Bytes read at a time.
const BLOCK: usize = 128 * 1024;
/// A readable stretch at the end of a block waits for the next one up to this length.
const LONGEST_OPEN: usize = 64 * 1024;

/// The readable stretches of a stream, one after the other.
pub(super) struct Strings<'a> {
    inner: &'a mut dyn Read,
    open: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
}

impl<'a> Strings<'a> {
    pub(super) fn new(inner: &'a mut dyn Read) -> Strings<'a> {
        Strings { inner, open: Vec::new(), ready: Vec::new(), at: 0 }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.at = 0;
        self.ready.clear();
        while self.ready.is_empty() {
            let mut block = std::mem::take(&mut self.open);
            let n = (&mut *self.inner).take(BLOCK as u64).read_to_end(&mut block)?;
            if n > 0 {
                let open = block.iter().rev().take(LONGEST_OPEN).take_while(|b| readable::reads(**b)).count();
                if open < LONGEST_OPEN {
                    self.open = block.split_off(block.len() - open);
                }
            }
            self.ready = readable::strings(&block);
            if n == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Read for Strings<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.ready.len() {
            self.fill()?;
        }
        let n = (&mut self.ready.get(self.at..).unwrap_or_default()).read(into)?;
        self.at += n;
        Ok(n)
    }
}

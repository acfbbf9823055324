//! A reader of what is made piece by piece from another one.

use std::io::{self, Read};

/// Gives out what `more` appends, call by call; a call that appends nothing is the end.
pub(super) struct Pulled<F> {
    more: F,
    ready: Vec<u8>,
    at: usize,
}

impl<F: FnMut(&mut Vec<u8>) -> io::Result<()>> Pulled<F> {
    pub(super) fn new(more: F) -> Self {
        Self { more, ready: Vec::new(), at: 0 }
    }
}

impl<F: FnMut(&mut Vec<u8>) -> io::Result<()>> Read for Pulled<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.ready.len() {
            self.at = 0;
            self.ready.clear();
            (self.more)(&mut self.ready)?;
        }
        let n = (&mut self.ready.get(self.at..).unwrap_or_default()).read(into)?;
        self.at += n;
        Ok(n)
    }
}

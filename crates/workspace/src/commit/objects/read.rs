//! Bounded reading of what an agent wrote: from a place in a file, and unpacked.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use flate2::bufread::ZlibDecoder;

/// Bytes and time for all objects of one commit; what is not checked within them is not taken for sound.
const MOST_BYTES: u64 = 4 << 30;
const MOST_TIME: Duration = Duration::from_secs(60);
const BUFFER: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    until: Instant,
}

impl Budget {
    pub fn new() -> Self {
        Self { bytes: MOST_BYTES, until: Instant::now() + MOST_TIME }
    }

    /// `None` when it is used up.
    pub fn spend(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.checked_sub(bytes as u64)?;
        (Instant::now() < self.until).then_some(())
    }
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Part<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(into.len());
        let have = self.file.read_at(into.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += have as u64;
        Ok(have)
    }
}

/// The bytes from `at` to `end`.
pub(super) fn part(file: &File, at: u64, end: u64) -> Part<'_> {
    Part { file, at, end }
}

/// So many bytes at a place.
pub(super) fn exactly(file: &File, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

/// Every block between `at` and `end`.
pub(super) fn blocks(
    file: &File,
    at: u64,
    end: u64,
    budget: &mut Budget,
    each: &mut dyn FnMut(&[u8]),
) -> Option<()> {
    let (mut from, mut block, mut left) = (part(file, at, end), vec![0; BUFFER], end.checked_sub(at)?);
    while left > 0 {
        let have = from.read(&mut block).ok().filter(|have| *have > 0)?;
        budget.spend(have)?;
        each(block.get(..have)?);
        left = left.checked_sub(have as u64)?;
    }
    Some(())
}

/// Unpacks what begins at `at`, all of it, into `each`; returns how many packed bytes it had.
pub(super) fn unpack(
    file: &File,
    (at, end): (u64, u64),
    budget: &mut Budget,
    each: &mut dyn FnMut(&[u8]) -> Option<()>,
) -> Option<u64> {
    let mut unpacked = ZlibDecoder::new(BufReader::with_capacity(BUFFER, part(file, at, end)));
    let mut block = vec![0; BUFFER];
    loop {
        let have = unpacked.read(&mut block).ok()?;
        if have == 0 {
            return Some(unpacked.total_in());
        }
        budget.spend(have)?;
        each(block.get(..have)?)?;
    }
}

//! Open files that count.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

use crate::quota::Held;

/// An open file that counts for as long as anybody has it.
#[derive(Debug)]
pub struct HeldFile {
    file: File,
    _held: Option<Held>,
}

impl HeldFile {
    #[must_use]
    pub fn new(file: File, held: Held) -> Self {
        Self { file, _held: Some(held) }
    }

    /// One that no session holds.
    #[must_use]
    pub fn uncounted(file: File) -> Self {
        Self { file, _held: None }
    }
}

impl Deref for HeldFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl AsFd for HeldFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

//! What was taken of a quota, until it is dropped.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::{Exceeded, Quota};

/// What was taken of a quota. Dropping it gives it back.
#[derive(Debug)]
pub struct Held {
    quota: Arc<Quota>,
    /// Bytes.
    memory: u64,
    descriptors: u64,
}

impl Held {
    /// Nothing yet.
    #[must_use]
    pub fn nothing(quota: &Arc<Quota>) -> Self {
        Self { quota: Arc::clone(quota), memory: 0, descriptors: 0 }
    }

    /// Take more.
    ///
    /// # Errors
    /// When the session holds as much as it may; then nothing was taken.
    pub fn grow(&mut self, memory: u64, descriptors: u64) -> Result<(), Exceeded> {
        self.quota.add(memory, descriptors)?;
        self.memory += memory;
        self.descriptors += descriptors;
        Ok(())
    }

    /// Give some of the memory back.
    pub fn shrink(&mut self, memory: u64) {
        let memory = memory.min(self.memory);
        self.quota.give_back(memory, 0);
        self.memory -= memory;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.quota.give_back(self.memory, self.descriptors);
    }
}

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

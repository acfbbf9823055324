//! A list of changes on its way: in as many frames as it takes, so that none is too long.

use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::frame;
use crate::reply::ChangeEntry;
use crate::request::Reply;

/// Bytes of one part, about; a frame holds much more, and one change is the least.
const PART_BYTES: usize = 1 << 20;
/// Bytes of a change beside its names and its diff, at most.
const ENTRY_BYTES: usize = 1 << 10;

/// Sends parts as they are full; the last is the caller's to send, as the answer.
#[derive(Debug)]
pub struct Parts<'a> {
    stream: &'a UnixStream,
    last: Vec<Value>,
    bytes: usize,
}

impl<'a> Parts<'a> {
    #[must_use]
    pub fn new(stream: &'a UnixStream) -> Self {
        Self { stream, last: Vec::new(), bytes: 0 }
    }

    /// One more.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn push(&mut self, entry: &ChangeEntry) -> std::io::Result<()> {
        let long = [Some(&entry.path), entry.from.as_ref(), entry.diff.as_ref()];
        let bytes = ENTRY_BYTES + long.into_iter().flatten().map(String::len).sum::<usize>();
        if self.bytes + bytes > PART_BYTES && !self.last.is_empty() {
            frame::send(self.stream, &Reply::Part(std::mem::take(&mut self.last)), &[])?;
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.last.push(serde_json::to_value(entry)?);
        Ok(())
    }

    /// What was not sent yet.
    #[must_use]
    pub fn last(self) -> Vec<Value> {
        self.last
    }
}

/// A whole list: all but its last part is sent.
///
/// # Errors
/// As [`Parts::push`].
pub fn in_parts(stream: &UnixStream, list: &[ChangeEntry]) -> std::io::Result<Vec<Value>> {
    let mut parts = Parts::new(stream);
    list.iter().try_for_each(|entry| parts.push(entry))?;
    Ok(parts.last())
}

//! Bytes that one session makes the broker hold: bodies until they are sent, answers until they are handed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Bytes that are held for one session, in memory and in files together. Protects the disk; beyond it a body is refused.
const HELD_BYTES: u64 = 4 << 30;
/// Of them in memory. Beyond it bodies go to files, and answers are refused.
const IN_MEMORY: u64 = 128 << 20;
/// Bodies in files. Protects descriptors.
const FILES: u64 = 1_024;

/// What is held for a session.
#[derive(Debug, Default)]
pub(crate) struct BufferedNow(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Of bodies that nothing was decided on yet: what of the session's budget is taken already.
    unsent: u64,
    memory: u64,
    files: u64,
    in_files: u64,
}

/// Why nothing more is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error("it is longer than the session may send")]
    Budget,
    #[error("the session holds as many bytes as it may")]
    Held,
}

/// A part of what is held, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    of: Arc<BufferedNow>,
    memory: u64,
    /// In a file, where it has one.
    file: Option<u64>,
    unsent: AtomicU64,
}

impl Reserved {
    pub fn nothing(of: &Arc<BufferedNow>) -> Self {
        Self { of: Arc::clone(of), memory: 0, file: None, unsent: AtomicU64::new(0) }
    }

    /// More bytes of a body, where the session may still send so many in all.
    pub fn body(&mut self, bytes: u64, left: u64) -> Result<(), TooMuch> {
        let mut held = self.of.0.lock();
        if held.unsent.saturating_add(bytes) > left {
            return Err(TooMuch::Budget);
        }
        if (held.memory + held.in_files).saturating_add(bytes) > HELD_BYTES {
            return Err(TooMuch::Held);
        }
        held.unsent += bytes;
        self.unsent.fetch_add(bytes, Ordering::Relaxed);
        match &mut self.file {
            Some(file) => {
                *file += bytes;
                held.in_files += bytes;
            }
            None => {
                self.memory += bytes;
                held.memory += bytes;
            }
        }
        Ok(())
    }

    /// More bytes of an answer, which is in memory.
    pub fn answer(&mut self, bytes: u64) -> Result<(), TooMuch> {
        let mut held = self.of.0.lock();
        if held.memory.saturating_add(bytes) > IN_MEMORY {
            return Err(TooMuch::Held);
        }
        held.memory += bytes;
        self.memory += bytes;
        Ok(())
    }

    /// Whether memory has more of it than it should.
    pub fn is_in_the_way(&self) -> bool {
        self.of.0.lock().memory > IN_MEMORY
    }

    /// From memory to a file.
    pub fn spill(&mut self) -> Result<(), TooMuch> {
        let mut held = self.of.0.lock();
        if held.files >= FILES {
            return Err(TooMuch::Held);
        }
        held.files += 1;
        held.memory -= self.memory;
        held.in_files += self.memory;
        self.file = Some(std::mem::take(&mut self.memory));
        Ok(())
    }

    /// It is counted as sent from now on.
    pub fn spent(&self) {
        let unsent = self.unsent.swap(0, Ordering::Relaxed);
        self.of.0.lock().unsent -= unsent;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.spent();
        let mut held = self.of.0.lock();
        held.memory -= self.memory;
        if let Some(file) = self.file {
            held.in_files -= file;
            held.files -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn bodies_that_are_held_share_what_the_session_may_send() {
        let held = Arc::new(BufferedNow::default());
        let mut bodies: Vec<_> = (0..6).map(|_| Reserved::nothing(&held)).collect();
        let taken = bodies.iter_mut().filter_map(|body| body.body(90 * MIB, 100 * MIB).ok()).count();
        assert_eq!(taken, 1);
        // What was counted as sent is no more taken twice, and what was let go of is free again.
        bodies.iter().for_each(Reserved::spent);
        let mut next = Reserved::nothing(&held);
        assert_eq!(next.body(11 * MIB, 10 * MIB), Err(TooMuch::Budget));
        assert_eq!(next.body(10 * MIB, 10 * MIB), Ok(()));
        drop((bodies, next));
        let counts = held.0.lock();
        assert_eq!((counts.unsent, counts.memory, counts.files, counts.in_files), (0, 0, 0, 0));
    }

    #[test]
    fn memory_and_files_are_bounded_whatever_the_session_may_send() {
        let held = Arc::new(BufferedNow::default());
        let mut bodies = Vec::new();
        let refused = loop {
            let mut body = Reserved::nothing(&held);
            if let Err(refused) = body.body(MIB, u64::MAX) {
                break refused;
            }
            if body.is_in_the_way()
                && let Err(refused) = body.spill()
            {
                break refused;
            }
            bodies.push(body);
        };
        assert_eq!(refused, TooMuch::Held);
        assert_eq!(held.0.lock().memory, IN_MEMORY);
        assert_eq!(bodies.len() as u64, IN_MEMORY / MIB + FILES);
        assert_eq!(Reserved::nothing(&held).answer(1), Err(TooMuch::Held));
        drop(bodies);
        let mut whole = Reserved::nothing(&held);
        whole.spill().unwrap();
        assert_eq!(whole.body(HELD_BYTES, u64::MAX), Ok(()));
        assert_eq!(whole.body(1, u64::MAX), Err(TooMuch::Held));
    }
}

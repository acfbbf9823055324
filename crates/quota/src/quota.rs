//! What one session holds: counted where it is taken, given back when it is dropped.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::descriptors::Descriptors;

/// What one session holds, and how much it may.
#[derive(Debug)]
pub struct Quota {
    memory: u64,
    descriptors: Arc<Descriptors>,
    used: Mutex<Used>,
}

/// What is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes.
    pub memory: u64,
    pub descriptors: u64,
}

/// Of what a session holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    Memory,
    Descriptors,
}

impl Quota {
    /// The share of one session, which takes its descriptors from those of the process.
    #[must_use]
    pub fn new(memory: u64, descriptors: &Arc<Descriptors>) -> Arc<Self> {
        Arc::new(Self { memory, descriptors: Arc::clone(descriptors), used: Mutex::default() })
    }

    /// Counts without a limit: for what the user asks for.
    #[must_use]
    pub fn unlimited() -> Arc<Self> {
        Self::new(u64::MAX, &Arc::new(Descriptors::unlimited()))
    }

    /// Take memory and descriptors until what is returned is dropped.
    ///
    /// # Errors
    /// When the session holds as much as it may.
    pub fn take(self: &Arc<Self>, memory: u64, descriptors: u64) -> Result<Held, Exceeded> {
        let mut held = Held::nothing(self);
        held.grow(memory, descriptors)?;
        Ok(held)
    }

    /// What the session holds now.
    #[must_use]
    pub fn used(&self) -> Used {
        *self.used.lock()
    }

    /// Whether less than a quarter of its memory is left.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.used.lock().memory > self.memory / 4 * 3
    }

    fn add(&self, memory: u64, descriptors: u64) -> Result<(), Exceeded> {
        let mut used = self.used.lock();
        let all = used.memory.checked_add(memory).filter(|all| *all <= self.memory);
        let all = all.ok_or(Exceeded::Memory)?;
        if descriptors > 0 && !self.descriptors.take(used.descriptors, descriptors) {
            return Err(Exceeded::Descriptors);
        }
        used.memory = all;
        used.descriptors += descriptors;
        Ok(())
    }

    fn give_back(&self, memory: u64, descriptors: u64) {
        let mut used = self.used.lock();
        used.memory = used.memory.saturating_sub(memory);
        if descriptors > 0 {
            self.descriptors.give_back(used.descriptors, descriptors);
            used.descriptors = used.descriptors.saturating_sub(descriptors);
        }
    }
}

impl From<Exceeded> for Errno {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Memory => Self::NOMEM,
            Exceeded::Descriptors => Self::NFILE,
        }
    }
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "this session holds as much of the broker's memory as one may",
            Self::Descriptors => "this session holds as many of the broker's descriptors as one may",
        })
    }
}

impl std::error::Error for Exceeded {}

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_nothing_else_is() {
        let quota = Quota::new(100, &Arc::new(Descriptors::of(1_000_000)));
        let some = quota.take(60, 2);
        assert!(some.is_ok());
        assert_eq!(quota.take(41, 0).err(), Some(Exceeded::Memory));
        assert_eq!(quota.used(), Used { memory: 60, descriptors: 2 });
        let mut rest = quota.take(30, 1).unwrap();
        assert_eq!(rest.grow(11, 0), Err(Exceeded::Memory));
        assert_eq!(rest.grow(10, 0), Ok(()));
        drop(some);
        assert_eq!(quota.used(), Used { memory: 40, descriptors: 1 });
        rest.shrink(15);
        assert_eq!(quota.used(), Used { memory: 25, descriptors: 1 });
        drop(rest);
        assert_eq!(quota.used(), Used::default());
    }
}

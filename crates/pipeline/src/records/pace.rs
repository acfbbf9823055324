//! How fast one session may write to the log: what is beyond it waits, and nothing is left out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Bytes of records a second that a session may go on writing.
const RATE: u64 = 2 << 20;
/// Bytes that it may write at once before that: what ordinary work comes to, of ten thousands of files.
const BURST: u64 = 128 << 20;
/// What a record takes beside its texts, in bytes, about.
const RECORD: u64 = 900;
/// Bytes that are written before the log's disk is looked at again.
const LOOK_EVERY: u64 = 64 << 10;
/// Who wrote less than this of late, in bytes, is not the one who fills the disk.
const LITTLE: u64 = 1 << 20;

/// What one session has written to the log of late.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    /// Less what its rate has made up for since.
    bytes: u64,
    until: Option<Instant>,
    unlooked: u64,
}

impl Pace {
    /// A record with texts of so many bytes is written.
    pub fn spend(&self, texts: usize) {
        let mut written = self.0.lock();
        written.settle();
        let bytes = RECORD + texts as u64;
        written.bytes += bytes;
        written.unlooked += bytes;
    }

    /// How long the next request waits.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let mut written = self.0.lock();
        if written.bytes <= BURST {
            return None;
        }
        written.settle();
        let beyond = written.bytes.checked_sub(BURST + 1)?;
        Some(Duration::from_micros(beyond.saturating_mul(1_000_000) / RATE + 1))
    }

    /// Whether it is time to look at the disk.
    pub fn is_look_due(&self) -> bool {
        let mut written = self.0.lock();
        let due = written.unlooked >= LOOK_EVERY;
        if due {
            written.unlooked = 0;
        }
        due
    }

    /// Whether it wrote more of late than ordinary work does.
    #[must_use]
    pub fn is_fast(&self) -> bool {
        let mut written = self.0.lock();
        written.settle();
        written.bytes > LITTLE
    }
}

impl Written {
    fn settle(&mut self) {
        let now = Instant::now();
        let passed = self.until.map_or(Duration::ZERO, |until| now.duration_since(until));
        let made_up = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1_000_000;
        self.bytes = self.bytes.saturating_sub(made_up);
        self.until = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_work_never_waits_and_a_flood_is_held_to_its_rate() {
        let pace = Pace::default();
        // Twenty thousand files opened and closed at once.
        (0..40_000).for_each(|_| pace.spend(300));
        assert_eq!(pace.wait(), None);
        assert!(pace.is_fast());
        (0..200_000).for_each(|_| pace.spend(300));
        let wait = pace.wait().unwrap_or_default();
        // 288 MB, of which 134 MB may be at once, at 2.1 MB a second.
        assert!(wait > Duration::from_secs(50) && wait < Duration::from_secs(80), "{wait:?}");
    }
}

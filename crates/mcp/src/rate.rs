//! How many calls a conversation may make. Protects the log and the disk from a flood: every call that is decided
//! leaves records.

use std::time::{Duration, Instant};

/// Calls at once after a pause.
pub const BURST: u32 = 20_000;
/// Calls a second that go on for ever.
pub const SUSTAINED: u32 = 2_000;

/// A token bucket.
#[derive(Debug)]
pub struct Bucket {
    left: f64,
    seen: Instant,
}

impl Bucket {
    #[must_use]
    pub fn full(now: Instant) -> Self {
        Self { left: f64::from(BURST), seen: now }
    }

    /// Take one call out.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = self.seen.max(now);
        self.left = (self.left + passed * f64::from(SUSTAINED)).min(f64::from(BURST));
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / f64::from(SUSTAINED)));
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_calls_pass_at_the_sustained_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!((0..BURST * 2).filter(|_| bucket.take(start).is_ok()).count(), BURST as usize);
        let later = start + Duration::from_secs(1);
        let passed = (0..BURST).filter(|_| bucket.take(later).is_ok()).count();
        assert!(passed.abs_diff(SUSTAINED as usize) <= 1, "{passed}");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::full(start);
        while bucket.take(start).is_ok() {}
        assert!(bucket.take(start - Duration::from_secs(5)).is_err());
        assert!(bucket.take(start).is_err());
    }
}

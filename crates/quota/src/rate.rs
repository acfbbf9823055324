//! How often a session may do something: so many at once after a pause, and so many a second for ever (a token bucket).

use std::time::Duration;

/// Time is passed in, as what has passed since any moment that stays the same; one that goes back gives nothing.
#[derive(Debug)]
pub struct Rate {
    most: u64,
    each_second: u64,
    /// In thousandths.
    left: u64,
    seen: Duration,
}

/// One, as [`Rate`] counts.
const WHOLE: u64 = 1_000;

impl Rate {
    #[must_use]
    pub fn new(most: u64, each_second: u64) -> Self {
        Self { most, each_second, left: most.saturating_mul(WHOLE), seen: Duration::ZERO }
    }

    /// Take one.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = u64::try_from(now.saturating_sub(self.seen).as_micros()).unwrap_or(u64::MAX);
        let come = passed.saturating_mul(self.each_second) / 1_000;
        // What is less than a thousandth is not lost: it comes with the next.
        if come > 0 {
            self.seen = now;
            self.left = self.left.saturating_add(come).min(self.most.saturating_mul(WHOLE));
        }
        match self.left.checked_sub(WHOLE) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Duration::from_micros((WHOLE - self.left) * 1_000 / self.each_second.max(1) + 1)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(10);

    #[test]
    fn after_a_burst_it_goes_on_at_the_sustained_rate() {
        let mut rate = Rate::new(20_000, 2_000);
        assert_eq!((0..40_000).filter(|_| rate.take(START).is_ok()).count(), 20_000);
        let later = START + Duration::from_secs(1);
        assert_eq!((0..20_000).filter(|_| rate.take(later).is_ok()).count(), 2_000);
        let wait = rate.take(later).unwrap_err();
        assert!(rate.take(later + wait).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut rate = Rate::new(3, 1);
        while rate.take(START).is_ok() {}
        assert!(rate.take(START - Duration::from_secs(5)).is_err());
        assert!(rate.take(START).is_err());
    }

    #[test]
    fn small_steps_add_up() {
        let mut rate = Rate::new(1, 40);
        assert!(rate.take(START).is_ok());
        let steps = (1..=26_000).map(|n| START + Duration::from_micros(n));
        assert_eq!(steps.filter(|now| rate.take(*now).is_ok()).count(), 1);
    }
}

//! The one place that reads the wall clock; everything else asks the port, or is told the time.

use crate::ports::Clock;

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        unix_ms()
    }
}

/// Seconds since 1970, UTC.
#[must_use]
pub fn unix() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Milliseconds since 1970, UTC.
#[must_use]
pub fn unix_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

//! How fast the processor counts cycles, measured here for the guest's kernel: one that is emulated has the host's counter, and no clock
//! beside it that it could be measured by on a busy machine. It would go without a timer then, and stand still.

use std::time::{Duration, Instant};

/// Over which it is measured at least; a reading is off by less than a thousandth of this.
const SPAN: Duration = Duration::from_millis(25);
/// Readings of which the best is taken.
const READINGS: usize = 16;

/// A measurement that has begun.
pub(super) struct Measured(Option<Reading>);

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cycles: u64,
}

impl Measured {
    pub(super) fn begin() -> Self {
        Self(read())
    }

    /// Thousands of cycles a second; `None` where there is no such counter.
    pub(super) fn khz(self) -> Option<u64> {
        let begun = self.0?;
        std::thread::sleep(SPAN.saturating_sub(begun.at.elapsed()));
        let now = read()?;
        let micros = u64::try_from(now.at.duration_since(begun.at).as_micros()).ok()?;
        now.cycles.wrapping_sub(begun.cycles).checked_mul(1000)?.checked_div(micros)
    }
}

/// Counter and clock together, as closely as they can be read: a thread may stand still between the two.
fn read() -> Option<Reading> {
    let one = || {
        let before = Instant::now();
        let cycles = chaperone_sys::cycles()?;
        let took = before.elapsed();
        Some((took, Reading { at: before + took / 2, cycles }))
    };
    (0..READINGS).filter_map(|_| one()).min_by_key(|(took, _)| *took).map(|(_, reading)| reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_agree() {
        let measure = || Measured::begin().khz();
        let (Some(one), Some(other)) = (measure(), measure()) else { return };
        assert!(one.abs_diff(other) * 100 < one, "{one} and {other} kHz");
    }
}

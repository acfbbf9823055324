//! How refusals are recorded when there are very many: names and hosts are endless, the log is not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Refusals of a minute that are recorded one by one.
const RECORDED: u64 = 500;
const MINUTE: Duration = Duration::from_secs(60);
/// Serious refusals of one kind that are raised one by one; further ones at powers of two.
const RAISED: u64 = 8;
/// Kinds that are counted. Protects memory; beyond it they are counted anew.
const MOST: usize = 4_096;

/// How one refusal is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// By itself.
    No,
    /// As so many in a minute.
    Told(u64),
    /// It is among those that are reported as a number.
    Counted,
}

/// Refusals of one session.
#[derive(Debug, Default)]
pub struct RefusalFlood(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    serious: HashMap<String, u64>,
    /// Refusals of a minute, since when.
    refusals: (Option<Instant>, u64),
}

impl RefusalFlood {
    /// Count a refusal.
    pub fn count(&self) -> Flood {
        let mut counts = self.0.lock();
        let (since, count) = &mut counts.refusals;
        if since.is_none_or(|at| at.elapsed() > MINUTE) {
            (*since, *count) = (Some(Instant::now()), 0);
        }
        *count += 1;
        match *count {
            count if count <= RECORDED => Flood::No,
            count if count.is_power_of_two() => Flood::Told(count),
            _ => Flood::Counted,
        }
    }

    /// Count a serious refusal; whether it is raised. However many hosts or names it is tried with, nobody is flooded.
    pub fn is_raised(&self, kind: &str) -> bool {
        let mut counts = self.0.lock();
        if counts.serious.len() >= MOST {
            counts.serious.clear();
        }
        let count = counts.serious.entry(kind.to_owned()).or_insert(0);
        *count += 1;
        *count <= RAISED || count.is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serious_refusals_are_raised_without_a_flood() {
        let flood = RefusalFlood::default();
        let raised = (0..1024).filter(|_| flood.is_raised("T1071.004")).count();
        assert_eq!(raised, 8 + 7);
        assert!(flood.is_raised("T1046"));
    }

    #[test]
    fn a_flood_of_refusals_is_reported_as_a_number() {
        let flood = RefusalFlood::default();
        let counted: Vec<_> = (0..5000).map(|_| flood.count()).collect();
        assert_eq!(counted.iter().filter(|f| **f == Flood::No).count() as u64, RECORDED);
        let numbers: Vec<_> = counted.iter().filter(|f| matches!(f, Flood::Told(_))).collect();
        assert_eq!(numbers, [&Flood::Told(512), &Flood::Told(1024), &Flood::Told(2048), &Flood::Told(4096)]);
    }
}

//! The descriptors of the process, shared out among the sessions.

use std::sync::atomic::{AtomicU64, Ordering};

/// Sessions that have a part of their own.
const SESSIONS: u64 = 64;

/// Descriptors for what sessions hold open. Half of them are parts of their own, one for each session. The rest is for
/// whoever needs more; a session takes of it as long as it leaves as much as it has, so that what one hoards is never
/// what the next one lacks.
#[derive(Debug)]
pub struct Descriptors {
    own: u64,
    common: u64,
    /// Of the common ones.
    taken: AtomicU64,
}

impl Descriptors {
    /// Of so many that the process may have: a quarter is for what belongs to no session's files.
    #[must_use]
    pub fn of(limit: u64) -> Self {
        let half = limit / 8 * 3;
        Self { own: half / SESSIONS, common: half, taken: AtomicU64::new(0) }
    }

    /// Of the process's limit.
    #[must_use]
    pub fn of_process() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self::of(limit.unwrap_or(1 << 20))
    }

    pub(crate) fn unlimited() -> Self {
        Self { own: u64::MAX, common: 0, taken: AtomicU64::new(0) }
    }

    /// Take more for a session that has `has`; false when there are none for it.
    pub(crate) fn take(&self, has: u64, more: u64) -> bool {
        let all = has.saturating_add(more).saturating_sub(self.own);
        let of_common = all - has.saturating_sub(self.own);
        if of_common == 0 {
            return true;
        }
        let fits = |taken: u64| {
            let taken = taken.checked_add(of_common)?;
            let left = self.common.checked_sub(taken)?;
            (left >= all).then_some(taken)
        };
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    /// A session that has `has` gives some back.
    pub(crate) fn give_back(&self, has: u64, less: u64) {
        let of_common = has.saturating_sub(self.own).min(less);
        if of_common > 0 {
            self.taken.fetch_sub(of_common, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One that takes all that it gets.
    fn hoard(descriptors: &Descriptors) -> u64 {
        let mut has = 0;
        while descriptors.take(has, 1) {
            has += 1;
        }
        has
    }

    #[test]
    fn whatever_others_hoard_each_session_gets_its_part() {
        let descriptors = Descriptors::of(20_000);
        let all: Vec<u64> = (0..SESSIONS).map(|_| hoard(&descriptors)).collect();
        assert_eq!(all.first(), Some(&(117 + 3750)));
        assert!(all.get(1).is_some_and(|second| *second >= 117 + 1875));
        assert!(all.iter().all(|has| *has >= 117));
        assert!(all.iter().sum::<u64>() <= 15_000);
        all.iter().for_each(|has| descriptors.give_back(*has, *has));
        assert_eq!(descriptors.taken.load(Ordering::Acquire), 0);
    }
}

//! Files with several names of which a commit gave or took one: their time of change is another, and they are the same.

use std::collections::HashMap;

use crate::change::BaseVersion;

/// What became of each version, by device, inode number and time of change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched(HashMap<(u64, u64, i128), BaseVersion>);

impl Touched {
    /// A name of the file came, went or became another.
    pub(crate) fn note(&mut self, before: &BaseVersion, now: &BaseVersion) {
        if (before.dev, before.ino) == (now.dev, now.ino) && before.ctime_ns < now.ctime_ns {
            self.0.insert((before.dev, before.ino, before.ctime_ns), *now);
        }
    }

    /// Whether `now` is what the commit made of `before`.
    pub(crate) fn leads(&self, before: &BaseVersion, now: &BaseVersion) -> bool {
        before.is_same_content(now) && self.from(before).any(|at| at.ctime_ns == now.ctime_ns)
    }

    /// What the commit made of this version, where it is another.
    #[must_use]
    pub fn after(&self, before: &BaseVersion) -> Option<BaseVersion> {
        let last = self.from(before).last()?;
        Some(BaseVersion { ctime_ns: last.ctime_ns, nlink: last.nlink, ..*before })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The versions after this one, in order: each is later, so they come to an end.
    fn from(&self, before: &BaseVersion) -> impl Iterator<Item = BaseVersion> {
        let next = move |at: &BaseVersion| self.0.get(&(at.dev, at.ino, at.ctime_ns)).copied();
        std::iter::successors(next(before), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_leads_to_what_was_made_of_it_and_to_nothing_else() {
        let at = |ctime_ns, nlink| BaseVersion {
            dev: 1,
            ino: 2,
            size: 3,
            mtime_ns: 4,
            ctime_ns,
            mode: 0o100_644,
            nlink,
        };
        let mut touched = Touched::default();
        touched.note(&at(10, 2), &at(11, 2));
        touched.note(&at(11, 2), &at(12, 1));
        touched.note(&at(12, 1), &at(12, 1));
        assert!(touched.leads(&at(10, 2), &at(12, 1)) && touched.leads(&at(10, 2), &at(11, 2)));
        assert!(!touched.leads(&at(9, 2), &at(12, 1)) && !touched.leads(&at(10, 2), &at(13, 1)));
        assert!(!touched.leads(&at(10, 2), &BaseVersion { mtime_ns: 5, ..at(12, 1) }));
        assert_eq!(touched.after(&at(10, 2)), Some(at(12, 1)));
        assert_eq!(touched.after(&at(12, 1)), None);
        assert_eq!(touched.after(&BaseVersion { ino: 3, ..at(10, 2) }), None);
    }
}

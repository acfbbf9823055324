//! What git only computed from its objects, to be faster: graphs of commits, bitmaps, indexes of indexes. Git believes them, so a
//! forged one hides what there is; and nothing is lost without them. They are never carried: what comes is thrown away, and where
//! the agent's git wrote another in place of the user's, the user's goes, too, so that git reads the objects.

use std::collections::HashSet;

use chaperone_staging::{Change, Op};

use super::objects::is_derived;
use super::repository;
use super::seen::Seen;

/// Those of one commit.
#[derive(Debug, Default)]
pub(super) struct Derived {
    dropped: Vec<Change>,
    removed: HashSet<String>,
}

/// The changes that are carried, and the others.
pub(super) fn apart(seen: &Seen<'_>, changes: Vec<Change>) -> (Vec<Change>, Derived) {
    let mut derived = Derived::default();
    let mut carried = Vec::with_capacity(changes.len());
    for mut change in changes {
        let there = seen.change(&change);
        let is_derived = is_derived(&there) && repository::holds(seen.mount(), &there.path);
        match change.op {
            Op::Create if is_derived => derived.dropped.push(change),
            Op::Modify if is_derived && change.base.is_some() && change.blob.is_some() => {
                derived.removed.insert(change.path.clone());
                (change.op, change.blob, change.size) = (Op::Delete, None, 0);
                carried.push(change);
            }
            _ => carried.push(change),
        }
    }
    (carried, derived)
}

impl Derived {
    pub fn has(&self, path: &str) -> bool {
        self.removed.contains(path)
    }

    /// What is not carried.
    pub fn dropped(&self) -> &[Change] {
        &self.dropped
    }
}

//! Decisions for tests of the tree alone: everything is let through.
#![allow(dead_code)]

use chaperone_fs::{ChangeKind, ChangeRequest, Decided, Decides, Located, NewAttributes, Refused};

struct Anything;

impl Decides for Anything {
    fn change(&self, _: &ChangeRequest<'_>) -> Result<u64, Refused> {
        Ok(0)
    }
}

fn by(kind: ChangeKind, at: &Located) -> Decided {
    Decided::by(&Anything, kind, at, 1).unwrap()
}

pub fn to_create(at: &Located) -> Decided {
    by(ChangeKind::Create, at)
}

pub fn to_write(at: &Located) -> Decided {
    by(ChangeKind::Write, at)
}

pub fn to_list(at: &Located) -> Decided {
    by(ChangeKind::List, at)
}

pub fn to_delete(at: &Located) -> Decided {
    by(ChangeKind::Delete, at)
}

/// Everything that moves, to one place.
pub fn to_move(moved: &[Located], to: &Located) -> Vec<Decided> {
    let from = moved.first().unwrap();
    let each = moved.iter().map(|at| Decided::of_move(&Anything, at, (from, to), 1).unwrap());
    each.collect()
}

/// One more name.
pub fn to_link(at: &Located, to: &Located) -> Decided {
    Decided::of_link(&Anything, at, to, 1).unwrap()
}

/// Attributes; a size is a writing of files.
pub fn to_change(at: &Located, new: &NewAttributes) -> Decided {
    by(if new.size.is_some() { ChangeKind::Write } else { ChangeKind::Attributes }, at)
}

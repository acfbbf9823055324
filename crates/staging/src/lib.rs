//! Staged changes: where an agent's writes wait until they are validated and committed.
//!
//! A [`Tree`] is the user's directory with its stage and its history. [`Tree::commit`] makes changes one by one, each
//! atomic, journaled and undoable; [`Tree::undo`] takes them back; [`Tree::recover`] clears up after a death.
#![forbid(unsafe_code)]

mod beneath;
pub mod change;
mod commit;
mod content;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod cut;
mod effects;
mod error;
pub mod facts;
mod journal;
mod linked;
mod plan;
mod printable;
mod recover;
mod relinked;
mod report;
mod resolve;
pub mod sparse;
mod synced;
mod together;
mod touched;
mod undo;

pub use change::{BaseVersion, Change, Kind, Op, SameAs, validate_path};
pub use commit::{Judge, MADE_BY_A_COMMIT, Marks, Says, Tree};
pub use content::{Wanted, sha256};
pub use error::{Error, Result};
pub use facts::{Facts, facts, link_leaves_root, removes};
pub use plan::MAX_CHANGES;
pub use printable::printable;
pub use recover::{INTERRUPTED, is_about};
pub use report::{Choice, Entry, Report, State, Verdict};
pub use together::Together;
pub use touched::Touched;
pub use undo::{CommitSummary, NEEDED, Undo, Undoing};

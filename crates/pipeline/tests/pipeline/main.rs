//! Claims about the decision pipeline, on fakes of everything around it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod bound;
mod cache;
mod commits;
mod faults;
mod folds;
mod input;
mod names;
mod obligations;
mod properties;
mod refusals;
mod sharing;
mod snapshots;
mod standing;
mod support;
mod unread;
mod verdicts;

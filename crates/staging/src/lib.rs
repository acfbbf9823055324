//! Staged changes: where an agent's writes wait until they are validated and committed.
#![forbid(unsafe_code)]

pub mod change;
pub mod diff;
mod error;

pub use change::{BaseVersion, Change, Kind, Op, validate_path};
pub use error::{Error, Result};

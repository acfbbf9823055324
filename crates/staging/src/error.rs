//! What can go wrong while changes are staged, committed or undone.

use std::io;

/// Errors of this crate. Paths in messages are neutralised for terminals.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the path {path} cannot be used: {why}")]
    BadPath { path: String, why: &'static str },
    #[error("the change of {path} is malformed: {why}")]
    MalformedChange { path: String, why: &'static str },
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: String, source: io::Error },
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

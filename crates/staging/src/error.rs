//! What can go wrong while changes are staged, committed or undone.

use std::io;

/// Errors of this crate. Paths in messages are neutralised for terminals.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the path {path} cannot be used: {why}")]
    BadPath { path: String, why: &'static str },
    #[error("the change of {path} is malformed: {why}")]
    MalformedChange { path: String, why: &'static str },
    #[error("two changes want the same name {path}; commit one of them first")]
    TwoChangesOfOneName { path: String },
    #[error("{count} changes are more than one commit takes ({limit}); commit them directory by directory")]
    TooManyChanges { count: usize, limit: usize },
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: String, source: io::Error },
    #[error(
        "the journal of commit {commit} is damaged at line {line}; nothing was changed. \
         Move {path} aside to go on without it"
    )]
    DamagedJournal { commit: u64, line: usize, path: String },
    #[error("the history {path} belongs to another directory; use the history of this workspace")]
    ForeignHistory { path: String },
    #[error(
        "the history {path} must be a directory that only its owner can use; to fix this, run: chmod 700"
    )]
    OpenHistory { path: String },
    #[error("commit {commit} is not in the history")]
    NoSuchCommit { commit: u64 },
    #[error("the staged file system holds {path}, which uses {feature}; that cannot be committed")]
    OverlayFeature { path: String, feature: &'static str },
    #[error("what was decided cannot be recorded, so nothing was changed")]
    NotRecorded,
    #[error("nobody waits for it any more")]
    Cancelled,
    #[error("the staged directory holds more than {limit} objects; discard a part of it")]
    StageTooLarge { limit: usize },
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Puts a path and an action to an I/O error.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &str) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, what: &'static str, path: &str) -> Result<T> {
        self.map_err(|source| Error::Io {
            what,
            path: crate::printable::printable(path, 300),
            source: source.into(),
        })
    }
}

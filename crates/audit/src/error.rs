use std::path::{Path, PathBuf};

/// Why the log refused. Nothing may take effect after one of these.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: cannot be written or read ({source}); free space or fix permissions, then try again")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: another process writes this log; stop it first")]
    Locked { path: PathBuf },
    #[error(
        "{path}: {what}; run `chaperone audit verify`, keep this directory as evidence and start with a new one"
    )]
    Corrupt { path: PathBuf, what: String },
    #[error("the record is {len} bytes, the limit is {limit}; shorten its fields")]
    TooLarge { len: usize, limit: usize },
    #[error("the log stopped after a failed write or sync ({0}); restart the broker to recover")]
    Stopped(String),
    #[error("no record {0} in this log")]
    NoRecord(u64),
    #[error("record {0} has no readable payload")]
    NoPayload(u64),
    #[error("the proof or checkpoint is not valid: {0}")]
    Proof(String),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl LogError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}

/// The key holder refused or could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("the vault did not give a key or signature: {0}")]
pub struct KeyError(pub String);

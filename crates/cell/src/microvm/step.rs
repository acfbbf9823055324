//! Errors that say what failed.

use std::io;

/// Name what failed.
pub(super) fn step<T>(what: &str, done: Result<T, impl std::fmt::Display>) -> io::Result<T> {
    done.map_err(|e| io::Error::other(format!("{what}: {e}")))
}

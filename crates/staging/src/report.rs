//! What a commit, an undo or a recovery did, path by path.

use std::collections::HashMap;
use std::fs::File;

use serde::{Deserialize, Serialize};

use crate::change::{Kind, Op};
use crate::touched::Touched;

/// The judge's answer about one change.
#[derive(Debug)]
pub enum Verdict {
    Commit,
    /// Commit a link that leads out of the directory; with `Commit` it is refused.
    CommitLinkOut,
    /// Commit with this content in place of the staged one. Nobody else may be able to write it.
    Replace(File),
    /// Reason codes (snake_case) that the user sees.
    Refuse {
        reasons: Vec<String>,
    },
}

/// The state of a change, as `changes --json` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Staged,
    Committed,
    Refused,
    Conflict,
}

/// What the user may choose when both sides changed a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The user's version stays, the staged one is dropped.
    KeepMine,
    /// The agent's version replaces what is there, which goes to the history.
    KeepTheirs,
    /// The agent's version is written beside it as `name.agent-N.ext`.
    WriteBoth,
}

/// One path's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub path: String,
    pub op: Op,
    pub kind: Kind,
    pub from: Option<String>,
    pub size: u64,
    /// Of the new content; what a report may show is the caller's business.
    pub sha256: Option<String>,
    pub state: State,
    /// Reason codes, see `docs`: stable, snake_case.
    pub reasons: Vec<String>,
    /// What can be chosen, for a conflict.
    pub choices: Vec<Choice>,
    /// The commit that did it, when something was done.
    pub commit: Option<u64>,
}

/// Outcomes in the order of the changes that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The commit that was made; `None` when nothing was changed.
    pub commit: Option<u64>,
    pub entries: Vec<Entry>,
    /// Files that have more, fewer or other names since.
    #[serde(skip)]
    pub touched: Touched,
}

impl Report {
    /// Whether every change was committed.
    pub fn is_complete(&self) -> bool {
        self.entries.iter().all(|entry| entry.state == State::Committed)
    }

    /// As [`Self::entry`], of each path.
    pub fn by_path(&self) -> HashMap<&str, &Entry> {
        self.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect()
    }

    /// The entry of `path`, the last one when a path has several.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.path == path)
    }
}

/// Why one change was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Refused(Vec<String>),
    Conflict(&'static str),
}

impl Stop {
    pub fn refused(code: &'static str) -> Self {
        Stop::Refused(vec![code.to_owned()])
    }

    /// What an error of the file system means for one change.
    pub fn of_errno(errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        match errno {
            Errno::NOENT | Errno::NOTDIR => Stop::Conflict("parent_missing"),
            Errno::LOOP | Errno::XDEV => Stop::Conflict("parent_is_a_link"),
            Errno::EXIST => Stop::Conflict("already_exists"),
            Errno::NOTEMPTY => Stop::Conflict("directory_not_empty"),
            Errno::ACCESS | Errno::PERM => Stop::refused("permission_denied"),
            Errno::ROFS => Stop::refused("read_only_file_system"),
            Errno::NOSPC | Errno::DQUOT => Stop::refused("no_space"),
            Errno::FBIG => Stop::refused("too_large_for_the_file_system"),
            _ => Stop::refused("io_error"),
        }
    }

    pub fn into_parts(self) -> (State, Vec<String>) {
        match self {
            Stop::Refused(reasons) => (State::Refused, reasons),
            Stop::Conflict(code) => (State::Conflict, vec![code.to_owned()]),
        }
    }
}

impl From<rustix::io::Errno> for Stop {
    fn from(errno: rustix::io::Errno) -> Self {
        Stop::of_errno(errno)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        match rustix::io::Errno::from_io_error(&error) {
            Some(errno) => Stop::of_errno(errno),
            None => Stop::refused("io_error"),
        }
    }
}

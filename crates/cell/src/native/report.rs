//! What passes between the launcher and cell-init: what the cell is made with, and what it reports back.

use std::os::fd::OwnedFd;

use chaperone_sys::seccomp::Instruction;
use serde::{Deserialize, Serialize};

use super::limits::Watch;
use super::network::NetworkKind;

/// How the agent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// `exit`, `signal`, `setup`, `not_found`, `time`, `memory`, `broker`.
    pub cause: String,
    /// The agent's exit code, 128 + n for a signal.
    pub code: i32,
    #[serde(default)]
    pub reason: String,
}

/// What the cell tells its launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Word {
    /// `network` says which of the descriptors that travel with it are the way out.
    Ready {
        landlock: u32,
        network: Option<NetworkKind>,
    },
    Failed {
        what: String,
        fix: Option<String>,
    },
    Ended(Exit),
}

/// What the cell is made with on this side, before there is a cell.
pub(crate) struct Prepared {
    pub filter: Vec<Instruction>,
    pub control: OwnedFd,
    pub reports: OwnedFd,
    pub as_root: bool,
    pub watch: Watch,
}

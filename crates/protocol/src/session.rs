//! A session as it is listed, and what is written of it to disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Decided, but its cell does not run yet.
    Starting,
    Running,
    /// Stopped until the user resumes it; every request is denied.
    Suspended,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Mediated,
    Staged,
    ReadOnly,
}

/// Stands for the backend of a session whose agent runs outside of a cell.
pub const NO_CELL: &str = "none";

/// What survives the broker: written at start and end of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub name: String,
    pub profile: String,
    /// What its cell was made by, or [`NO_CELL`].
    pub backend: String,
    pub workspace: PathBuf,
    pub command: Vec<String>,
    pub started: String,
    pub state: State,
    pub init_pid: Option<u32>,
    pub exit: Option<i32>,
    pub cause: Option<String>,
    pub mounts: Vec<MountRecord>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountRecord {
    pub at: String,
    pub prefix: String,
    pub source: PathBuf,
    pub mode: Mode,
    pub actions: Vec<String>,
    pub stage_dir: PathBuf,
    /// Where the user looks for programs.
    #[serde(default)]
    pub programs: Vec<PathBuf>,
}

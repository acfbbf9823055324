//! What the user's commands ask of the broker, and what the broker answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::approval::{AskMode, Scope};
use crate::event::Event;
use crate::failure::Failure;

/// Raised with whatever makes builds misunderstand each other: a command goes on with a broker of another build only where this is
/// the same.
pub const PROTOCOL: u32 = 1;

/// Start a session: everything the broker decides before a cell exists.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    pub profile: Option<String>,
    pub workspace: PathBuf,
    pub name: Option<String>,
    pub command: Vec<String>,
    /// Where the caller found the program, absolute, with its links; none when nothing is to run in a cell.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// The backend that is to make the cell, in place of the one that the profile names.
    pub backend: Option<String>,
    pub interactive: bool,
    /// The agent runs in a cell.
    pub in_cell: bool,
    pub ask: AskMode,
    pub ask_timeout_s: u64,
    /// Permission bits that files which tools make do not get: the caller's.
    pub umask: u32,
    /// Hosts that may be reached besides those of the profile: `HOST` or `HOST:PORT`.
    #[serde(default)]
    pub allow_hosts: Vec<String>,
    /// Services that may be used besides those of the profile.
    #[serde(default)]
    pub allow_services: Vec<String>,
    /// Ports of the cell to show on the user's loopback.
    #[serde(default)]
    pub publish: Vec<u16>,
    /// The caller's environment, of which only what the profile allows is passed on.
    pub environment: BTreeMap<String, String>,
}

impl OpenSession {
    /// Where the user looks for programs.
    #[must_use]
    pub fn search_path(&self) -> Vec<PathBuf> {
        std::env::split_paths(self.path()).filter(|place| place.is_absolute()).collect()
    }

    /// Directories of the workspace in which a shell of the user's looks for programs when it stands there.
    #[must_use]
    pub fn search_path_in(&self, workspace: &Path) -> Vec<PathBuf> {
        let relative = std::env::split_paths(self.path()).filter(|place| place.is_relative());
        relative.filter(|place| !place.as_os_str().is_empty()).map(|place| workspace.join(place)).collect()
    }

    fn path(&self) -> &str {
        self.environment.get("PATH").map(String::as_str).unwrap_or_default()
    }
}

/// What the caller needs to build the cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    pub session: String,
    /// The backend that is to make the cell.
    pub backend: String,
    pub mounts: Vec<PlanMount>,
    /// What the user should know before it starts.
    pub notices: Vec<String>,
    pub caches: Vec<PlanCache>,
    pub environment: BTreeMap<String, String>,
    /// A certificate authority, in DER, that the cell is to trust.
    #[serde(default)]
    pub authority: Option<Vec<u8>>,
    /// Ports of the user's loopback that the cell may reach at its own.
    #[serde(default)]
    pub loopback: Vec<u16>,
    /// What of the host is shown read-only at its own place, beside what every cell shows.
    #[serde(default)]
    pub shown: Vec<Shown>,
    /// All that is shown of the host beside its mounts and what every cell shows: that, and what lies below its caches.
    #[serde(default)]
    pub visible: Vec<Shown>,
    /// What of the host is covered where every cell shows it.
    #[serde(default)]
    pub covered: Vec<PathBuf>,
    /// Directories in memory beside what is shown in them, for toolchains that write there.
    #[serde(default)]
    pub scratch: Vec<PathBuf>,
    /// The program as the cell sees it, when the caller named one.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Directories to search for programs, before the system's.
    #[serde(default)]
    pub first: Vec<PathBuf>,
    /// Directories to search for programs, after the system's.
    #[serde(default)]
    pub path: Vec<PathBuf>,
    pub workdir: String,
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub cpu_percent: Option<u32>,
    pub seconds: Option<u64>,
    pub debug: bool,
    pub require_landlock: Option<u32>,
    pub require_cgroup: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanMount {
    pub at: String,
    #[serde(flatten)]
    pub kind: PlanMountKind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum PlanMountKind {
    /// Served by the broker; the cell hands out the descriptor.
    Mediated,
    /// Overlay over the user's directory.
    Staged {
        lower: PathBuf,
        upper: PathBuf,
        work: PathBuf,
        /// Files that may not be read, relative to the directory.
        masked: Vec<String>,
    },
    ReadOnly {
        source: PathBuf,
    },
}

/// A path of the host that a cell shows, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub path: PathBuf,
    pub why: String,
}

/// A tool's cache: the user's below, read-only; the session's own layer above.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanCache {
    /// Relative to the agent's home.
    pub at: String,
    pub lower: Option<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// What the descriptors of the network exit are that travel with [`Request::Attach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    Captured,
    /// Without IPv6.
    CapturedV4,
    Proxied,
}

/// What holds a cell's limits, for `doctor` and for profiles that require it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// ABI; 0 is none.
    pub landlock: u32,
    /// `v2`, `v1` or `watched`.
    pub cgroup: String,
    /// The groups' directories, for whoever outlives the cell and removes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<PathBuf>,
    /// The OCI runtime that made the container, where the cell is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
}

/// One request of a command to the broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Who is there.
    Status,
    OpenSession(Box<OpenSession>),
    /// What such a session would be shown; none is opened.
    ProfileShow(Box<OpenSession>),
    /// Hand over a launched cell: fds are control, channel, one for each mediated mount in the plan's order, then those of
    /// the network exit.
    Attach {
        session: String,
        init_pid: u32,
        /// What the network's descriptors are, when there are any.
        network: Option<NetworkKind>,
        enforced: Enforced,
    },
    /// An agent outside of a cell (an MCP client on the host): its channel is the user's own socket.
    AttachOutside {
        session: String,
    },
    /// The cell ended.
    Ended {
        session: String,
        cause: String,
        code: i32,
    },
    /// The cell could not be started.
    Abandon {
        session: String,
        reason: String,
    },
    Sessions {
        all: bool,
        /// Count what those that have ended have staged.
        #[serde(default)]
        staged: bool,
    },
    /// Remove what is kept of sessions that have ended and have nothing staged: with an age, of those that were used last before
    /// that, also where it is needed to undo their commits; without, of those that committed nothing.
    Prune {
        older_than_s: Option<u64>,
        dry_run: bool,
    },
    Stop {
        session: Option<String>,
    },
    Resume {
        session: String,
    },
    Why {
        session: Option<String>,
    },
    Changes {
        session: String,
        diff: bool,
        /// Numbers in place of differences: nothing of the contents, and so nothing that counts as shown.
        #[serde(default)]
        stat: bool,
        /// Only these, and what is below them; all when empty.
        #[serde(default)]
        paths: Vec<String>,
    },
    /// Hold the cell of a session still for as long as this connection is there.
    Hold {
        session: String,
    },
    /// How many changes of the last answer to [`Self::Changes`] on this connection reached the user, from the first: these count
    /// as shown.
    Shown {
        count: usize,
    },
    Commit {
        session: String,
        paths: Vec<String>,
        choice: Option<String>,
        /// Also what is not what the user was shown.
        #[serde(default)]
        unseen: bool,
        /// The caller can show the changes and ask the user: where nobody looked at them, it is refused with `look_first`.
        #[serde(default)]
        ask_first: bool,
        /// Say what would become of each change, and commit nothing.
        #[serde(default)]
        rehearsal: bool,
        /// Reasons that the user has confirmed for whatever is asked about for them alone.
        #[serde(default)]
        confirm: Vec<String>,
        /// Reasons that the user accepts of the named paths and what is below them: naming these says no more than that then.
        #[serde(default)]
        accept: Vec<String>,
    },
    /// Which of the paths a commit took before: [`CommittedBefore`](crate::reply::CommittedBefore).
    Committed {
        session: String,
        paths: Vec<String>,
    },
    Discard {
        session: String,
        paths: Vec<String>,
    },
    Undo {
        session: String,
        commit: Option<u64>,
        paths: Vec<String>,
        force: bool,
    },
    Approvals,
    /// Stream events (asks, refusals, alerts; with `routine`, what was allowed, too) of one session or all until the
    /// caller hangs up.
    Watch {
        session: Option<String>,
        routine: bool,
    },
    Approve {
        id: String,
        scope: Scope,
        redact: bool,
        pin: Option<String>,
    },
    Deny {
        id: String,
        why: Option<String>,
    },
    /// An MCP conversation follows on this connection, as the named session's agent outside a cell.
    Mcp {
        session: String,
    },
    CapabilityShow {
        session: String,
    },
    CapabilityMint {
        claims: serde_json::Value,
    },
    CapabilityRevoke {
        jti: String,
    },
    AuditCheckpoint,
    AuditShow {
        seq: u64,
    },
    PinSet {
        pin: String,
        old: Option<String>,
    },
    Reload,
    /// Whether anybody is there, and who: [`Here`](crate::reply::Here).
    Ping,
    /// End, when no session runs and nobody else asks for anything: one of another build takes over.
    Leave,
}

/// The broker's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(serde_json::Value),
    /// The next elements of an answer that is a list; the rest follows.
    Part(Vec<serde_json::Value>),
    /// More follows on this connection.
    Event(Event),
    Error(Failure),
}

//! What a cell is made from, and why one cannot be made.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The agent's uid inside the cell; outside it is the user's own, or one of its own when started by root.
pub const AGENT_UID: u32 = 1000;
/// The agent's gid inside.
pub const AGENT_GID: u32 = 1000;
/// Where the directory that the agent works on is in every cell.
pub const WORKSPACE: &str = "/workspace";
/// This program, in every cell.
pub(crate) const PROGRAM: &str = "/run/chaperone/bin/chaperone";
/// The socket of the channel, in every cell.
pub(crate) const CHANNEL: &str = "/run/chaperone/channel";
/// The agent's home: empty, in memory, gone with the cell.
pub const HOME: &str = "/home/agent";

/// Everything that [`crate::Backend::launch`] needs.
#[derive(Debug, Clone)]
pub struct Plan {
    pub session: String,
    /// The path, or a name to be looked for in the environment's PATH, of what is executed.
    pub program: OsString,
    /// What it is called with; the first is what it is called by, which programs with many names go by.
    pub command: Vec<OsString>,
    /// The whole environment of the agent; nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    pub workdir: PathBuf,
    /// Permission bits that what the agent makes does not get; what the cell is made of has its own modes.
    pub umask: u32,
    /// Where `/workspace` is seen as well: at its own place, so that absolute paths that lead into it lead there.
    pub own_place: Option<PathBuf>,
    pub mounts: Vec<Mount>,
    /// Directories shown read-only at their own place: an agent's installation outside /usr.
    pub read_only: Vec<PathBuf>,
    /// Directories that must not be seen though they lie in what every cell shows: an empty one covers each.
    pub covered: Vec<PathBuf>,
    /// Directories in memory, where the agent may write beside what is shown in them.
    pub scratch: Vec<PathBuf>,
    pub caches: Vec<Cache>,
    pub decoys: Vec<Decoy>,
    /// Texts in the agent's home, by their paths there.
    pub home_files: Vec<(PathBuf, String)>,
    pub limits: Limits,
    pub network: Network,
    /// One CA certificate in DER, which programs in the cell trust beside the host's roots. The environment needs
    /// [`crate::trust::environment`] with it.
    pub authority: Option<Vec<u8>>,
    pub terminal: Terminal,
    /// Allows ptrace inside the cell.
    pub debug: bool,
    /// The program tells of refused system calls in a world of its own, on the descriptor after those of [`Kind::Frames`].
    pub tells: bool,
    /// This program, for `chaperone mcp` and `chaperone why` inside.
    pub self_exe: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Mount {
    /// Absolute path in the cell.
    pub at: PathBuf,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    /// A FUSE mount whose descriptor is handed out.
    Fuse,
    /// No mount: an empty directory. What would be the mount's descriptor is a socket, the other end of which the program has, on a
    /// descriptor from 3 on in the plan's order.
    Frames,
    ReadOnly {
        source: PathBuf,
    },
    Overlay {
        lower: PathBuf,
        upper: PathBuf,
        work: PathBuf,
        /// Files that are covered, relative to the directory.
        masked: Vec<String>,
    },
}

impl Kind {
    /// Whether the broker serves it, on a descriptor that is handed out.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self, Self::Fuse | Self::Frames)
    }
}

/// A tool's cache: the user's below and read-only, a layer of the session above.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Absolute path in the cell.
    pub at: PathBuf,
    pub lower: Option<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// A watched place in the cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoy {
    /// Absolute path in the cell.
    pub path: PathBuf,
    /// ATT&CK technique that touching it speaks for.
    pub technique: String,
    /// A socket is touched by connecting to it, a file by opening it.
    #[serde(default)]
    pub kind: DecoyKind,
    /// Programs that look there by themselves when they start.
    #[serde(default)]
    pub own: Vec<String>,
}

/// What stands at a watched place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecoyKind {
    #[default]
    File,
    Socket,
}

/// `None` is no limit.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Bytes of the whole cell.
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    /// Per cent of one processor.
    pub cpu_percent: Option<u32>,
    /// Seconds of wall time.
    pub seconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Loopback of its own, and nothing else.
    None,
    /// All TCP and DNS goes to the broker, everything else is refused.
    Captured {
        /// Ports of loopback that are the user's: TCP to them goes to the broker as well, and the agent cannot serve there.
        loopback: Vec<u16>,
    },
    /// A proxy on loopback leads to the broker, and nothing else anywhere: for a kernel that cannot capture.
    Proxied,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// Standard input, output and error are the caller's.
    Inherit,
    /// A pseudo-terminal of the cell's own.
    Pty { rows: u16, columns: u16 },
}

/// Why a cell cannot be made; `fix` is the command that fixes it.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct SetupError {
    pub what: String,
    pub fix: Option<String>,
}

/// Places of a cell that nothing else may stand at or below.
const TAKEN: &[&str] = &[
    "/bin",
    "/dev",
    "/etc",
    "/opt",
    "/proc",
    "/run/chaperone",
    "/sbin",
    "/sys",
    "/usr",
    "/var/run",
    WORKSPACE,
];

/// Whether a directory of the user's may be seen at its own place, canonical outside: nothing of the cell's own is
/// hidden by it.
#[must_use]
pub fn can_be_at_its_own_place(at: &Path) -> bool {
    let lib = |at: &Path| {
        at.components().nth(1).is_some_and(|c| c.as_os_str().as_encoded_bytes().starts_with(b"lib"))
    };
    let hides = |place: &str| Path::new(place).starts_with(at);
    let plain = at.components().skip(1).all(|c| matches!(c, Component::Normal(_)));
    at.is_absolute()
        && plain
        && !lib(at)
        && !TAKEN.iter().any(|taken| at.starts_with(taken) || hides(taken))
        && !["/tmp", "/var/tmp", HOME].iter().any(|place| hides(place))
}

impl SetupError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None }
    }

    pub(crate) fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix = Some(line.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cell_has_of_its_own_is_hidden_by_nothing() {
        for own in [
            "/home/u/src/app",
            "/srv/app",
            "/tmp/app",
            "/root/app",
            "/mnt/disk",
            "/home/agent/app",
            "/var/www",
            "/run/media/u/disk/app",
        ] {
            assert!(can_be_at_its_own_place(Path::new(own)), "{own}");
        }
        for taken in [
            "/",
            "/home",
            "/home/agent",
            "/tmp",
            "/var",
            "/usr/src/app",
            "/etc",
            "/lib64/x",
            "/proc/1",
            "/workspace/x",
            "/run",
            "/opt/x",
            "app",
            "/srv/../etc",
        ] {
            assert!(!can_be_at_its_own_place(Path::new(taken)), "{taken}");
        }
    }
}

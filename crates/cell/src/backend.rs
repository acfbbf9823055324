//! What makes a cell and confines what runs in it, and what it must give. A backend is one way of doing so; each has a
//! directory of its own and an entry in [`crate::BACKENDS`], and nothing outside of this crate names one.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use chaperone_protocol::Enforced;

use crate::network::NetworkEnds;
use crate::plan::{Plan, SetupError};
use crate::stops::Stops;

/// Stands for the first of [`crate::BACKENDS`] that is available.
pub const STRONGEST: &str = "strongest";

/// A way of making cells.
pub trait Backend: Sync {
    /// What options, profiles and records call it.
    fn name(&self) -> &'static str;

    /// What isolates its cells, in a line.
    fn help(&self) -> &'static str;

    /// Whether its cells can be made here, as far as that shows without making one. It is asked before a session is opened, by a
    /// process with many threads.
    ///
    /// # Errors
    /// The reason, with the command that fixes it, where there is one.
    fn available(&self) -> Result<(), SetupError>;

    /// Whether its cells are made only where a user asks for them by its name: they cost so much that nobody wants them unasked.
    fn is_for_asking(&self) -> bool {
        false
    }

    /// Whether the broker reaches servers of the agent's, at the ports that the user publishes.
    fn publishes(&self) -> bool {
        true
    }

    /// What this machine can enforce, tried for real. The caller must have one thread only.
    fn probe(&self, self_exe: &Path) -> Vec<Layer>;

    /// Start a cell. Its agent waits for the broker's order. The caller must have one thread only.
    ///
    /// # Errors
    /// [`SetupError`] with the command that fixes it, where there is one.
    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError>;

    /// Whether the network of a cell can be captured here; where it cannot, there is [`crate::Network::Proxied`]. The caller
    /// must have one thread only.
    ///
    /// # Errors
    /// What is missing, with the command that fixes it, where there is one.
    fn can_capture(&self) -> Result<(), SetupError>;
}

/// A cell that was launched, as its backend knows how to wait for it.
pub trait Cell: std::fmt::Debug {
    /// Wait for the end of the cell; it is reaped.
    ///
    /// # Errors
    /// When waiting itself fails.
    fn wait(self: Box<Self>) -> io::Result<Exit>;

    /// Wait until every process of the agent is gone. What is left of the cell, its first process that lets go of the mounts and
    /// the groups, is for whoever outlives this process: the broker.
    ///
    /// # Errors
    /// When waiting itself fails.
    fn over(self: Box<Self>) -> io::Result<Exit>;
}

/// What its launcher holds of a cell that is set up and waits for the broker's order to start the agent.
#[derive(Debug)]
pub struct Launched {
    /// A child of the launcher's. Its death is the end of everything in the cell.
    pub init_pid: i32,
    /// The agent's terminal, when the plan has one.
    pub pty: Option<OwnedFd>,
    /// Tells when the agent has stopped as a job of the user's shell, where it has a terminal.
    pub stops: Option<Stops>,
    pub enforced: Enforced,
    pub cell: Box<dyn Cell>,
}

/// What belongs to the broker. The launcher must not keep it: the cell learns from it that the broker is gone.
#[derive(Debug)]
pub struct BrokerEnds {
    /// Conversation of the broker with cell-init, see [`crate::control`].
    pub control: OwnedFd,
    /// Listening socket at `/run/chaperone/channel`.
    pub channel: OwnedFd,
    /// One a mediated mount, in the plan's order.
    pub fuse: Vec<(PathBuf, OwnedFd)>,
    /// The way out, when the plan has one.
    pub network: Option<NetworkEnds>,
}

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

/// One layer of confinement, as `doctor --json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    pub layer: &'static str,
    pub state: LayerState,
    pub required: bool,
    pub detail: String,
    /// The command that fixes it.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerState {
    Ok,
    Partial,
    Missing,
}

/// Why a session gets no backend.
#[derive(Debug, Error)]
pub enum NoBackend {
    #[error("the backend {0:?} is not in this version")]
    Unknown(String),
    #[error("the backend {name} cannot be used here: {why}")]
    Unavailable { name: &'static str, why: SetupError },
}

impl Launched {
    /// See [`Cell::wait`].
    ///
    /// # Errors
    /// When waiting itself fails.
    pub fn wait(self) -> io::Result<Exit> {
        self.cell.wait()
    }

    /// See [`Cell::over`].
    ///
    /// # Errors
    /// When waiting itself fails.
    pub fn over(self) -> io::Result<Exit> {
        self.cell.over()
    }

    /// End the cell and everything in it at once.
    pub fn kill(&self) {
        kill(self.init_pid);
    }
}

/// What a session gets.
#[derive(Clone)]
pub struct Choice {
    pub backend: &'static dyn Backend,
    /// That a stronger one could not be used, and why, for the user.
    pub passed_over: Option<String>,
}

/// See [`crate::choose`].
pub(crate) fn choose(all: &[&'static dyn Backend], name: &str) -> Result<Choice, NoBackend> {
    let known = all.iter().filter(|b| name == b.name() || (name == STRONGEST && !b.is_for_asking()));
    let mut refused = None;
    for backend in known {
        match backend.available() {
            Ok(()) => {
                let told = |why: &NoBackend| format!("{why}; this session gets {}", backend.name());
                return Ok(Choice { backend: *backend, passed_over: refused.as_ref().map(told) });
            }
            // Of several the strongest is what the user is told of.
            Err(why) => refused = refused.or(Some(NoBackend::Unavailable { name: backend.name(), why })),
        }
    }
    Err(refused.unwrap_or_else(|| NoBackend::Unknown(name.to_owned())))
}

/// End a process; it may have ended by itself already.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, Signal::KILL).ok();
    }
}

#[cfg(test)]
mod tests;

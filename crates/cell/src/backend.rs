//! What makes a cell and confines what runs in it. A backend is one way of doing so; a second one stands beside
//! [`crate::Native`] and is named in [`crate::BACKENDS`].

use std::path::Path;

use serde::Serialize;

use crate::native::launch::{BrokerEnds, Launched};
use crate::plan::{Plan, SetupError};

/// A way of making cells.
pub trait Backend: Sync {
    /// What options, profiles and records call it.
    fn name(&self) -> &'static str;

    /// What this machine can enforce, tried for real. The caller must have one thread only.
    fn probe(&self, self_exe: &Path) -> Vec<Layer>;

    /// Start a cell. The caller must have one thread only.
    ///
    /// # Errors
    /// [`SetupError`] with the command that fixes it, where there is one.
    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError>;

    /// Whether the network of a cell can be captured here. The caller must have one thread only.
    ///
    /// # Errors
    /// What is missing.
    fn can_capture(&self) -> Result<(), SetupError>;
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

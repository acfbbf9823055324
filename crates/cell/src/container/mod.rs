//! The container backend: the same root, network and cell-init as the native one, in a container that an OCI runtime makes and
//! walls off. A kernel that forgets a wall of ours has the runtime's beside it, and the other way round.
//!
//! A holder, PID 1 of namespaces of its own, builds the root and the network, runs the runtime in them, and keeps whatever the
//! runtime leaves: when the launcher dies, the holder dies, and with it all of it. In the container cell-init is PID 1.

mod bundle;
mod handed;
mod holder;
mod init;
mod launch;
mod probing;
mod runtime;

use std::path::Path;

use crate::backend::{Backend, BrokerEnds, Launched, Layer};
use crate::native;
use crate::plan::{Plan, SetupError};

pub use init::main as init;
pub use probing::said as try_one;

/// An OCI runtime's container on this machine's own kernel.
#[derive(Debug, Clone, Copy)]
pub struct Container;

impl Backend for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn help(&self) -> &'static str {
        "An OCI container (crun or runc), with the walls of the native backend inside"
    }

    fn available(&self) -> Result<(), SetupError> {
        native::Native.available()?;
        probing::tried(&runtime::find()?)
    }

    fn probe(&self, self_exe: &Path) -> Vec<Layer> {
        probing::probe(self_exe)
    }

    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
        launch::launch(plan)
    }

    fn can_capture(&self) -> Result<(), SetupError> {
        native::Native.can_capture()
    }
}

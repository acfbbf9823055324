//! The native backend: namespaces, a root of its own, Landlock and seccomp, on this machine's own kernel.

mod agent;
mod calls;
mod covers;
mod decoy_watch;
mod decoys;
mod dial;
mod init;
mod job;
mod launch;
mod limits;
mod mounting;
mod netlink;
mod network;
mod probe;
mod refusals;
mod refused_packets;
mod repeat;
mod report;
mod root;
mod rules;
mod seccomp;
mod shares;
mod streams;
pub mod trust;

use std::path::Path;

use crate::backend::{Backend, BrokerEnds, Launched, Layer};
use crate::plan::{Plan, SetupError};

pub use decoys::default_decoys;
pub use limits::remove_groups;
pub use refusals::{Refusal, serve_refusals};
pub use refused_packets::{RefusedPacket, refused_packets};

/// This machine's own kernel.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Backend for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn help(&self) -> &'static str {
        "Linux namespaces, seccomp and Landlock"
    }

    fn available(&self) -> Result<(), SetupError> {
        probe::available()
    }

    fn probe(&self, self_exe: &Path) -> Vec<Layer> {
        probe::probe(self_exe)
    }

    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
        launch::launch(plan)
    }

    fn can_capture(&self) -> Result<(), SetupError> {
        network::can_capture()
    }
}

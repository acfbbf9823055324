//! The native backend: namespaces, a root of its own, Landlock and seccomp, on this machine's own kernel.

mod agent;
mod calls;
mod decoy_watch;
mod decoys;
mod dial;
mod init;
pub(crate) mod launch;
mod limits;
mod mounting;
mod netlink;
mod network;
mod probe;
mod refusals;
mod refused_packets;
mod report;
mod root;
mod rules;
mod seccomp;
mod shares;
mod streams;
pub mod trust;

use std::path::Path;

use crate::backend::{Backend, Layer};
use crate::plan::{Plan, SetupError};

pub use decoys::default_decoys;
pub use launch::{BrokerEnds, Launched, launch};
pub use limits::{Enforced, remove_groups};
pub use network::{
    CapturedEnds, FamilyEnds, NAME_SERVER, NetworkEnds, NetworkKind, can_capture, original_destination,
    proxy_environment,
};
pub use probe::probe;
pub use refusals::{Refusal, serve_refusals};
pub use refused_packets::{RefusedPacket, refused_packets};
pub use report::Exit;

/// This machine's own kernel.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Backend for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn probe(&self, self_exe: &Path) -> Vec<Layer> {
        probe(self_exe)
    }

    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
        launch(plan)
    }

    fn can_capture(&self) -> Result<(), SetupError> {
        can_capture()
    }
}

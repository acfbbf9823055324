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
pub(crate) mod netlink;
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
mod told;
pub mod trust;

use std::path::Path;

use crate::backend::{Backend, BrokerEnds, Launched, Layer};
use crate::plan::{Plan, SetupError};

pub use decoys::default_decoys;
pub(crate) use init::{FORWARDED, Held, Traps, build, enter, fail, serve};
pub(crate) use launch::launch;
pub(crate) use limits::Watch;
pub use limits::remove_groups;
pub(crate) use mounting::{BASE, tmpfs};
pub(crate) use probe::plan as probe_plan;
pub use refusals::{Refusal, serve_refusals};
pub use refused_packets::{RefusedPacket, refused_packets};
pub(crate) use report::{LaunchReport, Prepared, receive as receive_report};
pub(crate) use root::{Walls, hidden};
pub(crate) use seccomp::{agent_filter, calls_of_a_cell, without_io_uring};
pub(crate) use shares::TERMINALS;
pub use told::is_worth_telling;
pub(crate) use told::tell;

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
        launch::launch(plan, |plan, prepared| init::main(plan, prepared))
    }

    fn can_capture(&self) -> Result<(), SetupError> {
        network::can_capture()
    }
}

//! The cell: where an agent runs. Everything in it is made anew for one session, and nothing in it is worth taking: a
//! root of its own, no network or one way out that leads to the broker, no keys, no privileges, and one channel.
//!
//! A [`Backend`] makes cells: `native` with this machine's kernel alone, `container` with an OCI runtime beside it, `microvm`
//! with a kernel of the agent's own.
//! [`Backend::launch`] is called by `chaperone run` outside; what runs inside as PID 1 is `native/init.rs`, and [`control`] is how
//! the broker talks to it. No helper binaries of ours, no root.
#![forbid(unsafe_code)]

use chaperone_protocol::Failure;

mod backend;
mod container;
pub mod control;
mod microvm;
mod native;
mod network;
mod packet;
mod plan;
mod stops;

pub use backend::{
    Backend, BrokerEnds, Cell, Choice, Enforced, Exit, Launched, Layer, LayerState, NoBackend, STRONGEST,
};
pub use container::{init as container_init, try_one as try_a_container};
pub use microvm::{Show, guest_init, monitor as microvm_monitor};
pub use native::{
    Refusal, RefusedPacket, default_decoys, is_worth_telling, refused_packets, remove_groups, serve_refusals,
    trust,
};
pub use network::{
    CapturedEnds, FamilyEnds, NAME_SERVER, NetworkEnds, NetworkKind, original_destination, proxy_environment,
};
pub use plan::{
    AGENT_GID, AGENT_UID, Cache, Decoy, DecoyKind, HOME, Kind, Limits, Mount, Network, Plan, SetupError,
    Terminal, WORKSPACE, can_be_at_its_own_place,
};
pub use stops::Stops;

/// Every backend of this version, the strongest first.
pub const BACKENDS: &[&dyn Backend] = &[&microvm::MicroVm, &container::Container, &native::Native];
/// What a session gets that asks for none: what is there on every machine, and starts fastest.
pub const DEFAULT: &dyn Backend = &native::Native;

/// The backend of this name.
#[must_use]
pub fn backend_by_name(name: &str) -> Option<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| name == backend.name())
}

/// The backend for a session: the one of this name, the native one without a name, or, with [`STRONGEST`], the strongest that is
/// available.
///
/// # Errors
/// When there is none of this name, or it is not available.
pub fn choose(named: Option<&str>) -> Result<Choice, NoBackend> {
    backend::choose(BACKENDS, named.unwrap_or(DEFAULT.name()))
}

impl From<NoBackend> for Failure {
    fn from(refused: NoBackend) -> Self {
        let message = refused.to_string();
        match refused {
            NoBackend::Unknown(_) => {
                let known: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
                Self::new("no_backend", message).advise(format!("use --backend {}", known.join(" or ")))
            }
            NoBackend::Unavailable { why, .. } => {
                let failure = Self::new("backend_unavailable", message);
                match why.fix {
                    Some(fix) => failure.advise(format!("to fix this: {fix}")),
                    None => failure,
                }
            }
        }
    }
}

//! The cell: where an agent runs. Everything in it is made anew for one session, and nothing in it is worth taking: a
//! root of its own, no network or one way out that leads to the broker, no keys, no privileges, and one channel.
//!
//! A [`Backend`] makes cells; there is one, [`Native`]. [`launch()`] is called by `chaperone run` outside; what runs
//! inside as PID 1 is `native/init.rs`, and [`control`] is how the broker talks to it. No helper binaries, no root.
#![forbid(unsafe_code)]

mod backend;
pub mod control;
mod native;
mod packet;
mod plan;

pub use backend::{Backend, Layer, LayerState};
pub use native::{
    BrokerEnds, CapturedEnds, Enforced, Exit, FamilyEnds, Launched, NAME_SERVER, Native, NetworkEnds,
    NetworkKind, Refusal, RefusedPacket, can_capture, default_decoys, launch, original_destination, probe,
    proxy_environment, refused_packets, remove_groups, serve_refusals, trust,
};
pub use plan::{
    AGENT_GID, AGENT_UID, Cache, Decoy, DecoyKind, HOME, Kind, Limits, Mount, Network, Plan, SetupError,
    Terminal, WORKSPACE, can_be_at_its_own_place,
};

/// Every backend of this version, the strongest first.
pub const BACKENDS: &[&dyn Backend] = &[&Native];

/// The backend of this name; `strongest` is the first there is.
#[must_use]
pub fn backend(name: &str) -> Option<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| name == "strongest" || name == backend.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_found_by_its_name_and_no_other_is_promised() {
        for known in ["native", "strongest"] {
            assert_eq!(backend(known).map(Backend::name), Some(Native.name()), "{known}");
        }
        for unknown in ["container", "microvm", "Native", ""] {
            assert!(backend(unknown).is_none(), "{unknown}");
        }
    }
}

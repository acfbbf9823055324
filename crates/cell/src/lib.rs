//! The native cell: where an agent runs. Everything in it is made anew for one session, and nothing in it is worth
//! taking: a root of its own, no network or one way out that leads to the broker, no keys, no privileges, and one channel.
//!
//! [`launch`] is called by `chaperone run` outside; what runs inside as PID 1 is `native/init.rs`. No helper binaries, no
//! root.
#![forbid(unsafe_code)]

pub mod control;
mod native;
mod packet;
mod plan;
pub mod terminal;

pub use native::{
    BrokerEnds, CapturedEnds, Enforced, Exit, FamilyEnds, Launched, Layer, LayerState, NAME_SERVER,
    NetworkEnds, NetworkKind, Refusal, RefusedPacket, can_capture, default_decoys, launch,
    original_destination, probe, proxy_environment, refused_packets, remove_groups, serve_refusals, trust,
};
pub use plan::{
    AGENT_GID, AGENT_UID, Cache, Decoy, DecoyKind, HOME, Kind, Limits, Mount, Network, Plan, SetupError,
    Terminal,
};

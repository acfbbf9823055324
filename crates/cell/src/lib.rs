//! The native cell: where an agent runs. Everything in it is made anew for one session, and nothing in it is worth
//! taking: a root of its own, no network or one way out that leads to the broker, no keys, no privileges, and one channel.
//!
//! [`launch`] is called by `chaperone run` outside; what runs inside as PID 1 is `init`. No helper binaries, no root.
#![forbid(unsafe_code)]

mod calls;
mod decoys;
mod dial;
mod init;
mod launch;
mod limits;
mod netlink;
mod network;
mod plan;
mod probe;
mod refusals;
mod root;
pub mod seccomp;
pub mod trust;

pub use decoys::{Decoy, DecoyKind, default_decoys};
pub use launch::{BrokerEnds, Exit, Launched, launch};
pub use limits::{Enforced, remove_groups};
pub use network::{
    CapturedEnds, FamilyEnds, NAME_SERVER, NetworkEnds, NetworkKind, RefusedPacket, can_capture,
    original_destination, proxy_environment, refused_packets,
};
pub use plan::{AGENT_GID, AGENT_UID, Cache, HOME, Kind, Limits, Mount, Network, Plan, SetupError, Terminal};
pub use probe::{Layer, LayerState, probe};
pub use refusals::{Refusal, serve_refusals};

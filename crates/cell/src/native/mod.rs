//! The native backend: namespaces, a root of its own, Landlock and seccomp, on this machine's own kernel.

mod calls;
mod decoys;
mod dial;
mod init;
mod launch;
mod limits;
mod mounting;
mod netlink;
mod network;
mod probe;
mod refusals;
mod report;
mod root;
mod seccomp;
pub mod trust;

pub use decoys::default_decoys;
pub use launch::{BrokerEnds, Launched, launch};
pub use limits::{Enforced, remove_groups};
pub use network::{
    CapturedEnds, FamilyEnds, NAME_SERVER, NetworkEnds, NetworkKind, RefusedPacket, can_capture,
    original_destination, proxy_environment, refused_packets,
};
pub use probe::{Layer, LayerState, probe};
pub use refusals::{Refusal, serve_refusals};
pub use report::Exit;

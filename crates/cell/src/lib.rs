//! The native cell: where an agent runs. Everything in it is made anew for one session, and nothing in it is worth
//! taking: a root of its own, no network, no keys, no privileges, and one channel to the broker.
//!
//! [`launch`] is called by `chaperone run` outside; what runs inside as PID 1 is `init`. No helper binaries, no root.
#![forbid(unsafe_code)]

mod calls;
mod decoys;
mod init;
mod launch;
mod limits;
mod plan;
mod probe;
mod refusals;
mod root;
pub mod seccomp;
pub mod terminal;

pub use decoys::{Decoy, DecoyKind, default_decoys};
pub use launch::{BrokerEnds, Exit, Launched, launch};
pub use limits::{Enforced, remove_groups};
pub use plan::{AGENT_GID, AGENT_UID, Cache, HOME, Kind, Limits, Mount, Plan, SetupError, Terminal};
pub use probe::{Layer, LayerState, probe};
pub use refusals::{Refusal, serve_refusals};

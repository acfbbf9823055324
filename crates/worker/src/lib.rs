//! Inspection in a process of its own: [`serve`] is what the worker runs, [`WorkerPool`] starts workers and asks them.
//!
//! What is parsed and what is found is `chaperone-inspect`'s; this crate knows processes, sockets and time limits.
#![forbid(unsafe_code)]

mod pool;
mod serve;
mod snapshot;
mod wire;

pub use pool::{InspectError, Worker, WorkerPool};
pub use serve::serve;
pub use snapshot::{Place, Snapshot, snapshot};

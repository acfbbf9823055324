//! The decision pipeline: what every request of an agent goes through, whoever brings it.
//!
//! Read [`pipeline`] first: it is the story of one request. Adapters above (the mediated file system, the network exit, the
//! tools) resolve an object, ask here, and act on what was decided.
#![forbid(unsafe_code)]

pub mod access;
pub mod approvals;
pub mod asking;
pub mod authority;
pub mod clock;
mod digest;
pub mod events;
pub mod faults;
pub mod granting;
mod holding;
pub mod inspection;
pub mod network_facts;
pub mod pipeline;
pub mod policy_input;
pub mod ports;
pub mod program;
mod protection;
pub mod records;
pub mod refusal;
pub mod remembered;
mod resource;
pub mod session;
pub mod snapshots;
mod steps;
mod users_word;
pub mod vault;
mod verdict_files;
pub mod verdicts;

pub use access::{AccessRequest, Resource};
pub use asking::{Admission, Pending};
pub use granting::{Authorized, Released};
pub use pipeline::Pipeline;
pub use refusal::Refusal;
pub use session::Session;

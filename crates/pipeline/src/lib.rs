//! The decision pipeline: what every request of an agent goes through, whoever brings it.
//!
//! Read [`pipeline`] first: it is the story of one request. Adapters above (the mediated file system, the network exit, the
//! tools) resolve an object, ask here, and act on what was decided.
#![forbid(unsafe_code)]

pub mod approvals;
pub mod authority;
pub mod clock;
pub mod events;
pub mod inspection;
pub mod pipeline;
pub mod ports;
pub mod program;
pub mod records;
pub mod session;
pub mod vault;

pub use pipeline::Pipeline;
pub use session::Session;

//! The narrow RPC for agents: an MCP server over the cell's channel, a thin adapter over the pipeline.
#![forbid(unsafe_code)]

mod answers;
mod calls;
mod conversations;
mod lines;
mod looking;
mod server;
mod session_tools;
pub mod tools;
mod waiting;

pub use conversations::serve_all;
pub use server::serve;
pub use session_tools::{Blobs, ReadInParts, SessionTools, Tables};

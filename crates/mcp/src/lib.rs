//! The narrow RPC for agents: an MCP server over the cell's channel, a thin adapter over the pipeline.
#![forbid(unsafe_code)]

mod calls;
mod lines;
mod rate;
mod server;
pub mod tools;

pub use server::{Blobs, MAX_CONVERSATIONS, SessionTools, serve};

//! The one network exit: what a cell sends lands on sockets that the broker holds; each name, connection and request goes
//! through the pipeline, and what policy allows is carried on to the address that was checked.
//!
//! Read `streams.rs` first: it is the way of one connection. `names.rs` answers the cell's queries, `target.rs` finds out what a
//! destination really is.
#![forbid(unsafe_code)]

mod alerts;
mod body;
mod dial;
mod fetch;
mod gateway;
mod http;
mod leaving;
mod names;
mod own;
pub mod permissions;
mod prefixed;
mod proxy;
mod publish;
mod relay;
mod serve;
mod streams;
mod target;
mod tls;
mod websocket;

pub use fetch::{Fetch, Fetched, fetch};
pub use gateway::{Dial, Exit, Way};
pub use serve::{publish, serve};

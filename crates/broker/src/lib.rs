//! The broker's process: it starts the parts, holds the sessions, and answers the user's commands.
//!
//! Decisions are made in `chaperone-pipeline`; this crate is wiring. Read [`start`] first.
#![forbid(unsafe_code)]

mod broker;
mod control;
mod notify;
mod policy_reload;
mod prune;
mod registry;
mod session;
pub mod start;

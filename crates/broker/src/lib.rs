//! The broker: the process in the person's session that mediates everything an agent does.
//!
//! Read [`pipeline`] first: it is the story of one request, and every adapter calls it. The adapters are
//! [`files`] (the mediated file system), [`mcp`] (the narrow RPC) and [`commit`] (staged changes on their way
//! to the person's folder), [`net`] (the network exit); [`server`] answers the person's own commands on the control socket.
#![forbid(unsafe_code)]

pub mod approvals;
pub mod bus;
pub mod caches;
pub mod clock;
pub mod commit;
pub mod difference;
pub mod dirs;
pub mod files;
pub mod grants;
pub mod inspection;
pub mod keys;
pub mod lifecycle;
pub mod mcp;
pub mod net;
pub mod notify;
pub mod overlay;
pub mod pipeline;
pub mod policy_files;
pub mod profile;
pub mod program;
pub mod records;
pub mod server;
pub mod services;
pub mod session;
pub mod technique;
pub mod wire;
pub mod workspace;

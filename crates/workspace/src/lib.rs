//! The user's directories in a cell: which may be handed to an agent, how each is mounted, what the mediated file system asks
//! of the pipeline, and how staged changes reach the user's files.
#![forbid(unsafe_code)]

pub mod commit;
pub mod directories;
pub mod gate;
pub mod installation;
mod known;
pub mod later;
pub mod masking;
pub mod mediated;
pub mod mount;
pub mod overlay;
mod parallel;
mod remembered;
pub mod repositories;
pub mod root;
pub mod tool_caches;
pub mod toolchains;
mod withheld;

//! The data that ships: every file of `packs/`, compiled in and found by name. What a file means is its reader's; here is
//! only which files there are, and that they are those that `packs/pack.toml` lists with their digests.

#![forbid(unsafe_code)]

mod files;
mod manifest;

pub use files::{File, PackError, below, files, parse, read, table, text};
pub use manifest::{MANIFEST, Manifest, differences, digest, manifest};

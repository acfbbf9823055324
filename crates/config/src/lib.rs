//! What the user configured: directories, profiles, services, policy files; and a profile as the settings of other walls.
#![forbid(unsafe_code)]

pub mod dirs;
pub mod exports;
pub mod network_rules;
pub mod policy_files;
pub mod profile;
pub mod program;
pub mod services;

pub use dirs::Dirs;
pub use profile::Profile;

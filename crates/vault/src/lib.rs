//! The process that holds the keys. It answers the broker over an inherited socket pair with a short list of typed
//! operations; it has no network, runs nothing, gives no signing key out, and signs a checkpoint only for a tree that it
//! has seen extend the last one it signed. `docs/vault.md` has the operations, the files and what protects them.
#![forbid(unsafe_code)]

mod approval;
mod client;
mod error;
mod operations;
mod pin;
mod sealed;
mod serve;
mod state;
mod wire;

pub use approval::{Answer, ApprovalError, ApprovalRecord, Effect, SignedApproval, verify_approval};
pub use client::{CapabilitySigner, VaultClient};
pub use error::{RemoteError, VaultError};
pub use serve::{Unlock, serve, serve_inherited};
pub use wire::{Hello, LastSigned, MAX_FINGERPRINTS, MAX_FRAME};

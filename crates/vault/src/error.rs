//! What can go wrong in the vault and on the way to it. No message holds key material, a PIN or content.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An error of the vault; [`VaultError::code`] is stable and listed in `docs/vault.md`.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} must be a directory of this user alone (owner, mode 0700); run: chmod 700 {path}")]
    OpenToOthers { path: PathBuf },
    #[error(
        "another vault process has {path} open: a broker that was started with another XDG_RUNTIME_DIR runs; set that variable as it was there, or end that broker"
    )]
    InUse { path: PathBuf },
    #[error("the sealed record {record} does not open: damaged, swapped, or of another vault")]
    Unsealable { record: String },
    #[error(
        "the vault was rolled back: its state is at epoch {found}, the anchor at {anchor}; restore the newest copy of both"
    )]
    RolledBack { found: u64, anchor: u64 },
    #[error("{path} is missing although the vault was in use; restore it from a backup")]
    Missing { path: PathBuf },
    #[error("the process is being traced and will not load keys")]
    Traced,
    #[error("the process cannot confine itself ({what}): {detail}")]
    Unconfined { what: &'static str, detail: String },
    #[error("no randomness from the kernel")]
    Randomness,
    #[error("the request breaks the protocol: {0}")]
    Protocol(&'static str),
    #[error("the claims are refused: {0}")]
    Claims(String),
    #[error("the tree of {size} entries does not extend the signed tree of {signed} entries")]
    Forked { size: u64, signed: u64 },
    #[error("the approval is refused: {0}")]
    Approval(&'static str),
    #[error("a step-up approval needs the PIN, given for this very action in the last minute")]
    PinRequired,
    #[error("no PIN is set; set one with: chaperone vault pin")]
    NoPin,
    #[error("the PIN is wrong")]
    WrongPin,
    #[error("too many wrong PINs; try again in {seconds} s")]
    PinLocked { seconds: u64 },
    #[error("a PIN has 6 to 128 bytes")]
    PinLength,
    #[error("there is no data key {0}; its payloads were erased or belong to another vault")]
    NoDataKey(String),
    #[error("the vault process is gone: {0}")]
    Dead(String),
    #[error("{}", .0.message)]
    Remote(RemoteError),
}

/// An error as the vault process reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteError {
    pub code: String,
    pub message: String,
    /// Seconds until a locked PIN may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl VaultError {
    /// The stable, snake_case reason code.
    pub fn code(&self) -> &str {
        match self {
            Self::Io { .. } => "vault_io",
            Self::OpenToOthers { .. } => "vault_open_to_others",
            Self::InUse { .. } => "vault_in_use",
            Self::Unsealable { .. } => "vault_unsealable",
            Self::RolledBack { .. } => "vault_rolled_back",
            Self::Missing { .. } => "vault_file_missing",
            Self::Traced => "vault_traced",
            Self::Unconfined { .. } => "vault_unconfined",
            Self::Randomness => "vault_no_randomness",
            Self::Protocol(_) => "vault_protocol",
            Self::Claims(_) => "vault_claims_refused",
            Self::Forked { .. } => "vault_tree_forked",
            Self::Approval(_) => "vault_approval_refused",
            Self::PinRequired => "pin_required",
            Self::NoPin => "pin_not_set",
            Self::WrongPin => "pin_wrong",
            Self::PinLocked { .. } => "pin_locked",
            Self::PinLength => "pin_length",
            Self::NoDataKey(_) => "vault_no_data_key",
            Self::Dead(_) => "vault_dead",
            Self::Remote(error) => &error.code,
        }
    }

    pub(crate) fn to_remote(&self) -> RemoteError {
        let retry_after = match self {
            Self::PinLocked { seconds } => Some(*seconds),
            _ => None,
        };
        RemoteError { code: self.code().to_owned(), message: self.to_string(), retry_after }
    }
}

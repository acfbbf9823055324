//! The append-only Merkle audit log: leaves, tiles, checkpoints and proofs.
//! It knows no process, socket or clock: keys come through [`Keys`], time with each [`Entry`].
#![forbid(unsafe_code)]

mod error;
mod keys;
mod layout;
mod log;
mod model;
mod payload;
mod proof;
mod reader;
mod salvage;
mod tree;
mod verify;
mod words;

pub use error::{KeyError, LogError};
pub use keys::{Checkpoint, Keys};
pub use log::{Durability, Log, Options, SyncTicket};
pub use model::{Entry, Leaf, MAX_LEAF, Phase, Severity, Source, class_uid, rfc3339_millis};
pub use payload::MAX_PAYLOAD;
pub use proof::{prove, verify_proof};
pub use reader::{Filter, Follow, Reader};
pub use salvage::{Damaged, Found, Part};
pub use verify::{Look, Verdict, VerifyOptions, verify};
pub use words::{ACTIONS, EFFECTS, Word, knows};

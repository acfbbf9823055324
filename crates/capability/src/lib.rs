//! Capability tokens: who may do what to which resource, until when, for which session.
//!
//! A token is a JWS signed by the issuer, or a chain `root~link~link`, each link signed by the key that its parent names
//! in `cnf` (so a holder narrows its own capability without the issuer) or by the issuer itself. Attenuation only narrows;
//! it is checked when a link is made and again whenever the token is verified.
//!
//! The crate is pure but for ledger-backed files: time, token ids and keys are passed in; nothing here knows of
//! processes or sockets. `docs/capabilities.md` has the format and every reason code.
#![forbid(unsafe_code)]

mod claims;
mod error;
mod jws;
mod ledger;
pub mod limits;
mod mint;
mod path_pattern;
mod permission;
mod possession;
mod verify;

pub use claims::{Claims, Confirmation, Request};
pub use error::{MintError, Rejection, SignError};
pub use jws::{HolderKey, LocalIssuer, Signer, compact, signing_input};
pub use ledger::{LedgerError, RETENTION, Revocations, Uses};
pub use mint::{Holder, Issue, Narrowing, Token, attenuate, mint};
pub use path_pattern::{PathPattern, PatternError, escape_path};
pub use permission::{Action, Permission, PermissionClaim, Target};
pub use possession::{pop_challenge, thumbprint, verify_pop};
pub use verify::{Context, Possession, Verified, inspect, verify};

pub use ed25519_dalek::{SigningKey, VerifyingKey};

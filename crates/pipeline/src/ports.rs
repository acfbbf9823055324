//! What the pipeline needs of the parts around it. The broker gives it the real ones, tests give it fakes.

use std::fs::File;
use std::sync::Arc;

use chaperone_audit::{Durability, Entry, LogError};
use chaperone_capability::Signer;
use chaperone_inspect::Effects;
use chaperone_policy::{Decision, Engine, Store};
use chaperone_protocol::Failure;
use chaperone_vault::{ApprovalRecord, SignedApproval};
use serde_json::Value;

use crate::access::FileObject;
use crate::granting::Released;
use crate::inspection::{Inspected, Restored};
use crate::snapshots::Snapshots;

/// The policies in force.
pub trait Policies: Send + Sync + std::fmt::Debug {
    fn current(&self) -> Arc<dyn PolicySet>;
}

/// One set of policies; immutable.
pub trait PolicySet: Send + Sync {
    fn revision(&self) -> &str;
    fn decide(&self, input: &Value) -> Decision;

    /// Whether the same input but for the session's name is decided alike.
    fn outlives_sessions(&self) -> bool {
        false
    }
}

/// Looks into what would be read.
pub trait Inspect: Send + Sync + std::fmt::Debug {
    /// The exact bytes of a file that was resolved as `object`, with what is in them. `snapshots` is what
    /// the session's copies are made of.
    ///
    /// # Errors
    /// `cannot_inspect`; the operation is then denied.
    fn inspect(
        &self,
        file: &File,
        object: &FileObject,
        name: &str,
        snapshots: &Snapshots,
    ) -> Result<Arc<Inspected>, Failure>;

    /// The redacted copy of an inspected version, with placeholders of this session.
    ///
    /// # Errors
    /// `cannot_redact`; the operation is then denied.
    fn redacted(&self, seen: &Inspected, name: &str, of: (&str, &Snapshots)) -> Result<Released, Failure>;

    /// An edited redacted copy with the values of `original` in place of the session's placeholders. It was called by the first of
    /// the names and will be by the other.
    ///
    /// # Errors
    /// `cannot_restore`; the change then stays staged.
    fn restored(
        &self,
        original: Option<&File>,
        edited: &File,
        names: (&str, &str),
        of: (&str, &Snapshots),
    ) -> Result<Restored, Failure>;

    /// The text of a document that needs a parser ([`chaperone_inspect::needs_a_parser`]), as far as it can be had, at most 4 MiB.
    fn text(&self, file: &File, name: &str) -> Vec<u8>;

    /// A document as lines that people compare ([`chaperone_inspect::document::lines`]); `None` of what has none.
    fn lines(&self, file: &File, name: &str) -> Option<chaperone_inspect::document::Lines>;

    /// What a file does when a program opens it; of one that cannot be looked into within the limits, that it was not seen.
    fn effects(&self, file: &File, name: &str) -> Effects;
}

/// Holds the keys.
pub trait Vault: Signer + Send + Sync + std::fmt::Debug {
    /// The keyed fingerprint of a SHA-256, as records show it.
    ///
    /// # Errors
    /// When the vault is gone.
    fn fingerprint(&self, sha256: &[u8; 32]) -> Result<String, Failure>;

    /// Whether a second factor is enrolled.
    ///
    /// # Errors
    /// When the vault is gone.
    fn second_factor(&self) -> Result<bool, Failure>;

    /// Sign the user's answer.
    ///
    /// # Errors
    /// When the vault refuses or is gone.
    fn sign_approval(
        &self,
        record: &ApprovalRecord,
        pin: Option<[u8; 16]>,
    ) -> Result<SignedApproval, Failure>;
}

/// The audit log. An error of it stops actions.
pub trait AuditLog: Send + Sync {
    /// # Errors
    /// When the record cannot be written.
    fn append(&self, entry: Entry, payload: Option<&[u8]>, durability: Durability) -> Result<u64, LogError>;

    /// Append now, be on disk when the ticket was waited for.
    ///
    /// # Errors
    /// When the record cannot be written.
    fn append_then_sync(&self, entry: Entry, payload: Option<&[u8]>) -> Result<Box<dyn Syncing>, LogError>;
}

/// A record on its way to the disk.
pub trait Syncing: Send + Sync + std::fmt::Debug {
    fn seq(&self) -> u64;

    /// Blocks until it is there.
    ///
    /// # Errors
    /// When it will not be.
    fn wait(self: Box<Self>) -> Result<(), LogError>;
}

/// The wall clock.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since 1970, UTC.
    fn now_ms(&self) -> u64;

    /// Seconds since 1970, UTC.
    fn now(&self) -> i64 {
        i64::try_from(self.now_ms() / 1000).unwrap_or(i64::MAX)
    }

    /// As the audit log writes it: RFC 3339, UTC, microseconds.
    fn rfc3339(&self) -> String {
        let time =
            i64::try_from(self.now_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        format!("{:.6}", time.unwrap_or(jiff::Timestamp::MAX))
    }
}

/// Is told which content becomes readable to the agent, so that it is recognised when it leaves.
pub trait OnRelease: Send + Sync + std::fmt::Debug {
    fn released(&self, path: &str, content: &Released);
}

/// The cell of a session.
pub trait CellHandle: Send + Sync + std::fmt::Debug {
    /// Stop every process of the cell until the user resumes it. A cell that is gone is stopped already.
    fn suspend(&self);
}

impl Policies for Store {
    fn current(&self) -> Arc<dyn PolicySet> {
        Store::current(self)
    }
}

impl PolicySet for Engine {
    fn revision(&self) -> &str {
        Engine::revision(self)
    }

    fn decide(&self, input: &Value) -> Decision {
        Engine::decide(self, input)
    }

    fn outlives_sessions(&self) -> bool {
        Engine::outlives_sessions(self)
    }
}

impl AuditLog for chaperone_audit::Log {
    fn append(&self, entry: Entry, payload: Option<&[u8]>, durability: Durability) -> Result<u64, LogError> {
        self.append_json(entry, payload, durability)
    }

    fn append_then_sync(&self, entry: Entry, payload: Option<&[u8]>) -> Result<Box<dyn Syncing>, LogError> {
        Ok(Box::new(self.append_async_sync(entry, payload)?))
    }
}

impl Syncing for chaperone_audit::SyncTicket {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn wait(self: Box<Self>) -> Result<(), LogError> {
        chaperone_audit::SyncTicket::wait(*self).map(|_| ())
    }
}

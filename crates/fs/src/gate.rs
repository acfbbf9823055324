//! The seam to the decision pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chaperone_quota::HeldFile;

use crate::object::{Identity, Object};

/// The opening of an existing object.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// Relative to the mount.
    pub path: String,
    /// Where a moved file of the user's comes from.
    pub origin: Option<String>,
    pub object: Object,
    /// What the decision is about: the opening acts on this and nothing else.
    pub identity: Identity,
    /// The object, open for reading; decide on this and nothing else.
    pub file: Arc<HeldFile>,
    pub read: bool,
    pub write: bool,
    pub truncate: bool,
    /// The asking process as its own PID namespace counts.
    pub pid: u32,
}

/// A staged change, or a look at what is in a directory: decided at once, it never waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Create,
    Write,
    Delete,
    Rename,
    /// A file gets one more name.
    Link,
    Attributes,
    /// The names in a directory.
    List,
}

/// One staged change, or one listing.
#[derive(Debug, Clone, Copy)]
pub struct ChangeRequest<'a> {
    pub kind: ChangeKind,
    /// Relative to the mount.
    pub path: &'a str,
    /// Where a rename goes, or what the further name is.
    pub to: Option<&'a str>,
    /// What is there already.
    pub object: Option<Object>,
    /// What the decision is about, be it that nothing is there: the change acts on this and nothing else.
    pub identity: Identity,
    /// What stands where a rename goes; of an exchange, the other one.
    pub replaces: Option<Object>,
    /// The same for the place where a rename goes, where that is decided on, too.
    pub to_identity: Option<Identity>,
    pub pid: u32,
}

/// An errno for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub i32);

/// What an allowed opening serves.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Names the opening in [`Gate::closed`].
    pub handle: u64,
    /// The exact bytes to serve, what identifies them, and their number; `None` serves the object itself.
    pub bytes: Option<(Arc<HeldFile>, [u8; 32], u64)>,
}

/// What was done with an opening.
#[derive(Debug, Clone, Copy)]
pub struct Closed<'a> {
    /// Relative to the mount, as it was opened.
    pub path: &'a str,
    pub writable: bool,
    /// Bytes that the server handed out; cached and mapped reads never reach it.
    pub read: u64,
    pub written: u64,
}

/// Decides on a thread that may wait.
pub type Decide = Box<dyn FnOnce(&Cancel) -> Result<Opened, Refused> + Send>;

/// A verdict, or the promise of one from a thread that may wait for the user.
pub enum Opening {
    Now(Result<Opened, Refused>),
    Later(Decide),
}

/// Set when the waiting caller was interrupted.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The caller no longer waits.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Decides on changes.
pub trait Decides {
    /// Returns the name of the decision.
    ///
    /// # Errors
    /// The errno for the caller.
    fn change(&self, change: &ChangeRequest<'_>) -> Result<u64, Refused>;
}

/// Decides and records; implemented by the broker.
pub trait Gate: Decides + Send + Sync {
    fn open(&self, request: OpenRequest) -> Opening;

    /// How a decided change or listing ended.
    fn changed(&self, change: &ChangeRequest<'_>, handle: u64, ok: bool);

    /// Whether some names may not be shown.
    fn hides_names(&self) -> bool;

    /// Whether a name is shown at all.
    fn visible(&self, path: &str) -> bool;

    /// The last use of an opening is over, or it came to nothing.
    fn closed(&self, handle: u64, closed: &Closed<'_>);
}

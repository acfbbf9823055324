//! Changes: decided, made, and reported. When what was decided on is something else by the time of the act, the decision
//! is made anew.

use rustix::io::Errno;

use super::answer::Failed;
use crate::gate::{ChangeKind, ChangeRequest};
use crate::object::Located;
use crate::shared::Shared;

/// Decisions on one change. Protects from a program that changes a path as fast as another is decided on; beyond it:
/// `EBUSY`.
pub(super) const DECISIONS: usize = 16;

/// Decide a change of what a path stands for, make it, and say how it ended.
pub(super) fn staged<T>(
    shared: &Shared,
    kind: impl Fn(&Located) -> ChangeKind,
    path: &str,
    pid: u32,
    make: impl Fn(&Located) -> Result<T, Errno>,
) -> Result<T, Failed> {
    for _ in 0..DECISIONS {
        let at = shared.tree.locate(path)?;
        let request = request(kind(&at), &at, pid);
        if request.kind != ChangeKind::Create && at.object().is_none() {
            return Err(Errno::NOENT.into());
        }
        let handle = shared.gate.change(&request)?;
        let made = make(&at);
        shared.gate.changed(&request, handle, made.is_ok());
        match made {
            Err(Errno::STALE) => {}
            made => return Ok(made?),
        }
    }
    Err(Errno::BUSY.into())
}

/// The request for a change of what is at one path.
pub(super) fn request(kind: ChangeKind, at: &Located, pid: u32) -> ChangeRequest<'_> {
    // What is made is decided on as made anew; where something is already, making it fails.
    let object = if kind == ChangeKind::Create { None } else { at.object() };
    let (path, identity) = (at.path(), at.identity());
    ChangeRequest { kind, path, to: None, object, identity, replaces: None, to_identity: None, pid }
}

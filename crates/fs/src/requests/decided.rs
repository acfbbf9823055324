//! Changes: decided, made, and reported.

use rustix::io::Errno;

use super::answer::Failed;
use crate::gate::{ChangeKind, ChangeRequest};
use crate::object::Object;
use crate::shared::Shared;

/// Decide a change, make it, and say how it ended.
pub(super) fn staged<T>(
    shared: &Shared,
    (kind, path, to): (ChangeKind, &str, Option<&str>),
    object: Option<Object>,
    pid: u32,
    make: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Failed> {
    let request = ChangeRequest { kind, path, to, object, pid };
    let handle = shared.gate.change(&request)?;
    let made = make();
    shared.gate.changed(&request, handle, made.is_ok());
    Ok(made?)
}

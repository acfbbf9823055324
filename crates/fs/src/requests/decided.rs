//! Changes: decided, made, and reported. When what was decided on is something else by the time of the act, the decision
//! is made anew.

use rustix::io::Errno;

use super::answer::Failed;
use crate::decided::Decided;
use crate::gate::ChangeKind;
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
    make: impl Fn(&Decided) -> Result<T, Errno>,
) -> Result<T, Failed> {
    for _ in 0..DECISIONS {
        let at = shared.tree.locate(path)?;
        let kind = kind(&at);
        if kind != ChangeKind::Create && at.object().is_none() {
            return Err(Errno::NOENT.into());
        }
        let decided = Decided::by(&*shared.gate, kind, &at, pid)?;
        let made = make(&decided);
        shared.gate.changed(&decided.request(), decided.handle(), made.is_ok());
        match made {
            Err(Errno::STALE) => {}
            made => return Ok(made?),
        }
    }
    Err(Errno::BUSY.into())
}

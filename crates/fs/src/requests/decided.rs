//! Changes: decided, made, and reported. When what was decided on is something else by the time of the act, the decision
//! is made anew.

use std::collections::HashSet;

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
    (kind, also): (impl Fn(&Located) -> ChangeKind, impl Fn(&Located) -> Vec<Decided>),
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
        let decided = Decided::by(&*shared.gate, kind, &at, pid)?.and(also(&at));
        let made = make(&decided);
        ended(shared, &decided, made.is_ok());
        match made {
            Err(Errno::STALE) => {}
            made => return Ok(made?),
        }
    }
    Err(Errno::BUSY.into())
}

/// What is decided about the other names that a file of the user's has in the directory, which change with it. One that may
/// not change so keeps what it has.
pub(super) fn also(shared: &Shared, at: &Located, kind: ChangeKind, pid: u32) -> Vec<Decided> {
    let decide = |other: Located| Decided::by(&*shared.gate, kind, &other, pid).ok();
    others(shared, at).filter_map(decide).collect()
}

/// The other names that the agent sees of a file of the user's.
fn others(shared: &Shared, at: &Located) -> impl Iterator<Item = Located> {
    shared.tree.other_names(at).into_iter().filter(move |other| shared.gate.visible(other.path()))
}

/// What was decided to move, each with what is decided about those of its other names that stay where they are: what is
/// written under the new name later is written under them, too. `places` are where something moves from or to.
pub(super) fn with_others(
    shared: &Shared,
    moved: Vec<Decided>,
    places: &HashSet<&str>,
    pid: u32,
) -> Vec<Decided> {
    let with = |decided: Decided| {
        let stay = others(shared, decided.located()).filter(|other| !places.contains(other.path()));
        let decide = |other: Located| Decided::by(&*shared.gate, ChangeKind::Attributes, &other, pid).ok();
        let also = stay.filter_map(decide).collect();
        decided.and(also)
    };
    moved.into_iter().map(with).collect()
}

/// Of what changes alone.
pub(super) fn alone(_: &Located) -> Vec<Decided> {
    Vec::new()
}

/// How a change ended, under each name.
pub(super) fn ended(shared: &Shared, decided: &Decided, ok: bool) {
    also_ended(shared, decided, ok);
    shared.gate.changed(&decided.request(), decided.handle(), ok);
}

/// How it ended under the other names. They stand for the file of the stage now: what the kernel knows by them is another one.
pub(super) fn also_ended(shared: &Shared, decided: &Decided, ok: bool) {
    for other in decided.also() {
        shared.gate.changed(&other.request(), other.handle(), ok);
        if ok {
            shared.nodes.write().unname(other.located().path());
        }
    }
}

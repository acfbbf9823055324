//! What a path stands for, and the verdict on its opening.

use rustix::io::Errno;

use super::answer::Failed;
use super::decided::{DECISIONS, also, also_ended};
use crate::change::Content;
use crate::decided::{Decided, DecidedOpening, How};
use crate::gate::{Cancel, ChangeKind, Closed};
use crate::object::ObjectKind;
use crate::protocol::Header;
use crate::shared::{MAX_WAITING, Shared};

/// Bringing a larger file into the stage takes its time, in bytes.
const LARGE: u64 = 4 << 20;
// Open flags of Linux.
pub(super) const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;
pub(super) const O_TRUNC: u32 = 0o1000;

/// Before a file that is not the agent's own work is cut or lengthened by its path: what stays of it would be readable, so it
/// is decided on as an opening for writing is, whole, and what may be released is brought into the stage.
pub(super) fn release_to_resize(
    shared: &Shared,
    header: Header,
    path: &str,
    slow: &dyn Fn(),
) -> Result<(), Failed> {
    for _ in 0..DECISIONS {
        let at = shared.tree.locate(path)?;
        if at.object().is_none_or(|object| object.kind != ObjectKind::File || object.staged) {
            return Ok(());
        }
        let granted = decided(shared, header, path, O_WRONLY, slow)?;
        let released = Content::Released(granted.served());
        let brought = written(shared, &granted, header.pid, |write| shared.tree.copy_up(write, released));
        let closed = Closed { path, writable: true, read: 0, written: 0 };
        shared.gate.closed(granted.verdict().handle, &closed);
        match brought {
            Err(Errno::STALE) => {}
            brought => {
                let blob = brought?.blob;
                blob.into_iter().for_each(|blob| shared.tree.writer_closed(blob));
                return Ok(());
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// What a path stands for, opened, and the verdict on it; the user may be waited for.
pub(super) fn decided(
    shared: &Shared,
    header: Header,
    path: &str,
    flags: u32,
    slow: &dyn Fn(),
) -> Result<DecidedOpening, Failed> {
    let opened = shared.tree.open_file(path)?;
    let write = flags & O_ACCMODE != 0;
    let how = How { read: flags & O_ACCMODE != O_WRONLY, write, truncate: flags & O_TRUNC != 0 && write };
    // Known before the gate is asked, so that no interruption falls between.
    let cancel = Cancel::default();
    {
        let mut waiting = shared.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            return Err(Errno::AGAIN.into());
        }
        waiting.insert(header.unique, cancel.clone());
    }
    if write && opened.object.size > LARGE {
        slow();
    }
    let granted = DecidedOpening::by(&*shared.gate, opened, how, header.pid, (&cancel, slow));
    shared.waiting.lock().remove(&header.unique);
    if cancel.is_cancelled() {
        granted.iter().for_each(|granted| unused(shared, granted));
        return Err(Errno::INTR.into());
    }
    Ok(granted?)
}

/// Act on what an opening lets write, with the other names that the file of the user's has.
pub(super) fn written<T>(
    shared: &Shared,
    granted: &DecidedOpening,
    pid: u32,
    write: impl FnOnce(&Decided) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let decided = granted.to_write()?;
    let others = also(shared, decided.located(), ChangeKind::Write, pid);
    if others.is_empty() {
        return write(decided);
    }
    let decided = decided.clone().and(others);
    let made = write(&decided);
    also_ended(shared, &decided, made.is_ok());
    made
}

/// A granted opening of which nothing is made.
pub(super) fn unused(shared: &Shared, granted: &DecidedOpening) {
    let path = granted.opened().located.path();
    shared.gate.closed(granted.verdict().handle, &Closed { path, writable: false, read: 0, written: 0 });
}

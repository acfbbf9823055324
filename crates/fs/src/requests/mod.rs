//! One function for each request of the kernel.

mod answer;
mod attributes;
mod data;
mod decided;
mod directories;
mod names;
mod open;
mod outside;
mod unnamed;
mod verdict;

use std::sync::Arc;

use rustix::io::Errno;

use self::answer::Failed;
use self::attributes::{getattr, lookup, readlink, setattr};
pub(crate) use self::data::close;
use self::data::{fallocate, fsync, read, release, statfs, write};
use self::directories::{opendir, readdir, releasedir};
use self::names::{link, mkdir, mknod, remove, rename, symlink};
use self::open::{create, open};
use crate::nodes::ROOT;
use crate::protocol::{Header, Reader, Reply, Short, op};
use crate::shared::Shared;

/// Answer one request; `None` when no answer is due. `slow` is called before what takes its time: another thread
/// reads from then on.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    header: Header,
    body: Reader<'_>,
    slow: &dyn Fn(),
) -> Option<Vec<u8>> {
    let done = match header.opcode {
        op::LOOKUP if header.node == ROOT && is_token(shared, header, body) => Err(Errno::NOENT.into()),
        _ if shared.announcing.is_by(header.pid) && !is_cleared_away(header.opcode) => {
            outside::answer(shared, header, body)
        }
        op::FORGET | op::BATCH_FORGET => {
            // A short one forgets nothing: the node lives a little longer.
            forget(shared, header, body).ok();
            return None;
        }
        op::INTERRUPT => {
            let Ok(unique) = { body }.u64() else { return None };
            if let Some(cancel) = shared.waiting.lock().get(&unique) {
                cancel.cancel();
                return None;
            }
            // It was read by another thread that has not come so far yet, or is answered: the kernel asks again.
            return Some(Reply::error(header.unique, Errno::AGAIN.raw_os_error()));
        }
        op::OPEN => open(shared, header, body, slow),
        op::LOOKUP => lookup(shared, header, body),
        op::GETATTR => getattr(shared, header, body),
        op::SETATTR => setattr(shared, header, body, slow),
        op::READLINK => readlink(shared, header),
        op::SYMLINK => symlink(shared, header, body),
        op::MKNOD => mknod(shared, header, body),
        op::MKDIR => mkdir(shared, header, body),
        op::UNLINK => remove(shared, header, body, false),
        op::RMDIR => remove(shared, header, body, true),
        op::RENAME => rename(shared, header, body, false, slow),
        op::RENAME2 => rename(shared, header, body, true, slow),
        op::LINK => link(shared, header, body, slow),
        op::READ => read(shared, body),
        op::WRITE => write(shared, body),
        op::STATFS => statfs(shared),
        op::RELEASE => release(shared, body),
        op::FSYNC => {
            slow();
            fsync(shared, body)
        }
        op::FSYNCDIR => {
            slow();
            shared.tree.sync().map(|()| Reply::new()).map_err(Into::into)
        }
        // ENOSYS: there are none, on any file. Callers see EOPNOTSUPP, and the kernel does not ask again; else it would
        // ask for the capabilities of a file before each write.
        op::SETXATTR | op::GETXATTR | op::LISTXATTR | op::REMOVEXATTR => Err(Errno::NOSYS.into()),
        op::OPENDIR => opendir(shared, header),
        op::READDIR => readdir(shared, header, body, false),
        op::READDIRPLUS => readdir(shared, header, body, true),
        op::RELEASEDIR => releasedir(shared, body),
        op::CREATE => create(shared, header, body),
        op::TMPFILE => unnamed::tmpfile(shared, header, body),
        op::FALLOCATE => fallocate(shared, body),
        _ => Err(Errno::NOSYS.into()),
    };
    if matches!(header.opcode, op::LOOKUP | op::READDIRPLUS | op::CREATE) {
        crate::forget::when_little_is_left(shared);
    }
    Some(match done {
        Ok(reply) => reply.finish(header.unique, 0),
        Err(Failed(errno)) => Reply::error(header.unique, errno),
    })
}

fn is_token(shared: &Shared, header: Header, mut body: Reader<'_>) -> bool {
    body.name().is_ok_and(|name| shared.announcing.is_token(name, header.pid))
}

/// Requests by which the kernel itself clears up, whoever gives it the occasion.
fn is_cleared_away(opcode: u32) -> bool {
    matches!(
        opcode,
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT | op::WRITE | op::RELEASE | op::RELEASEDIR | op::FSYNC
    )
}

fn forget(shared: &Shared, header: Header, mut body: Reader<'_>) -> Result<(), Short> {
    if header.opcode == op::FORGET {
        let times = body.u64()?;
        shared.nodes.write().forget(header.node, times);
        return Ok(());
    }
    let count = body.u32()?;
    let _padding = body.u32()?;
    let mut nodes = shared.nodes.write();
    for _ in 0..count {
        let (node, times) = (body.u64()?, body.u64()?);
        nodes.forget(node, times);
    }
    Ok(())
}

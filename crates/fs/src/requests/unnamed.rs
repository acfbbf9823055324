//! Files that are made without a name.

use rustix::io::Errno;

use super::answer::{Answer, path_of};
use super::attributes::entry_of_node;
use super::decided::DECISIONS;
use super::open::new_handle;
use crate::decided::Decided;
use crate::gate::{ChangeKind, Closed};
use crate::nodes::Version;
use crate::protocol::{Header, Reader, Reply, open as open_flag};
use crate::shared::{Handle, MAX_HANDLES, Shared};
use crate::tree::join;

/// What a file without a name is called where something has to be decided and recorded of it.
const UNNAMED: &str = "#unnamed";

pub(super) fn tmpfile(shared: &Shared, header: Header, mut body: Reader<'_>) -> Answer {
    let (flags, mode, umask) = (body.u32()?, body.u32()?, body.u32()?);
    if shared.handles.read().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    let number = shared.next_handle.load(std::sync::atomic::Ordering::Relaxed);
    let path = join(&path_of(shared, header.node)?, &format!("{UNNAMED}-{number}"));
    for _ in 0..DECISIONS {
        let at = shared.tree.locate(&path)?;
        let decided = Decided::by(&*shared.gate, ChangeKind::Create, &at, header.pid)?;
        let opened = match shared.tree.create_unnamed(&decided, mode & !umask) {
            Ok(opened) => opened,
            Err(e) => {
                shared.gate.changed(&decided.request(), decided.handle(), false);
                match e {
                    Errno::STALE => continue,
                    e => return Err(e.into()),
                }
            }
        };
        let opening = decided.handle();
        let blob = opened.blob.ok_or(Errno::IO)?;
        let known = shared.tree.quota.take(Handle::MEMORY, 0).and_then(|held| {
            let node = shared.nodes.write().unnamed(&path, Version::Staged(blob))?;
            Ok((held, node))
        });
        let (held, node) = known.map_err(Errno::from).inspect_err(|_| {
            shared.tree.writer_closed(blob);
            shared.gate.closed(opening, &Closed { path: &path, writable: true, read: 0, written: 0 });
        })?;
        let mut reply = Reply::new();
        if let Some(seen) = opened.located.attributes() {
            entry_of_node(shared, node, seen, &mut reply);
        }
        let answer = open_flag::NOFLUSH | open_flag::KEEP_CACHE;
        let mode = 0o100_000 | opened.mode;
        let open =
            new_handle(shared, (node, path), (opened.file, held), opening, Some(blob), flags, mode, answer);
        reply.bytes(open.body());
        return Ok(reply);
    }
    Err(Errno::BUSY.into())
}

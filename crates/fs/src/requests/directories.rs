//! What is in a directory.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chaperone_names::native;
use rustix::io::Errno;

use super::answer::{Answer, Failed, TRUST_SECONDS, path_of};
use super::attributes::entry;
use super::decided::{alone, staged};
use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::listing::Listing;
use crate::object::{ListingVersion, Located};
use crate::protocol::{Header, Reader, Reply, open as open_flag};
use crate::shared::{MAX_HANDLES, Shared};
use crate::tree::join;

pub(super) fn opendir(shared: &Shared, header: Header) -> Answer {
    let path = path_of(shared, header.node)?;
    if shared.folders.lock().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    let names = listed(shared, header, &path, |decided| {
        let kept = !shared.gate.hides_names() && kernel_keeps(shared, header.node, decided.located());
        if kept { Ok(None) } else { names_in(shared, header.node, decided).map(Some) }
    })?;
    let flags =
        if names.is_some() { open_flag::CACHE_DIR } else { open_flag::CACHE_DIR | open_flag::KEEP_CACHE };
    let fh = shared.next_handle.fetch_add(1, Ordering::Relaxed);
    shared.folders.lock().insert(fh, names);
    let mut reply = Reply::new();
    reply.u64(fh).u32(flags).u32(0);
    Ok(reply)
}

pub(super) fn readdir(shared: &Shared, header: Header, mut body: Reader<'_>, plus: bool) -> Answer {
    let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
    let known = shared.folders.lock().get(&fh).cloned().ok_or(Errno::BADF)?;
    let folder = path_of(shared, header.node)?;
    let names = if let Some(names) = known {
        names
    } else {
        // The kernel has dropped the names that it was told to keep.
        let names = listed(shared, header, &folder, |decided| names_in(shared, header.node, decided))?;
        shared.folders.lock().insert(fh, Some(Arc::clone(&names)));
        names
    };
    let mut reply = Reply::new();
    let dot = |o: u64| if o == 0 { "." } else { ".." };
    let mut at = offset;
    loop {
        let (name, seen) = match at {
            0 | 1 => (dot(at), None),
            n => match usize::try_from(n - 2).ok().and_then(|i| names.names.get(i)) {
                Some((name, seen)) => (name.as_str(), Some(seen)),
                None => break,
            },
        };
        let own = native(name);
        let fixed = if plus { 128 + 24 } else { 24 };
        let needed = (fixed + own.len()).next_multiple_of(8);
        if reply.len() + needed > size as usize {
            break;
        }
        let (ino, kind) = seen.map_or((1, 4), |s| (s.object.ino, s.mode >> 12));
        if plus {
            match seen {
                // Node 0: the kernel looks the name up when somebody wants it.
                Some(seen) if entry(shared, &join(&folder, name), seen, &mut reply).is_ok() => {}
                _ => drop(reply.bytes(&[0; 128])),
            }
        }
        let before = reply.len();
        reply.u64(ino).u64(at + 1).u32(u32::try_from(own.len()).unwrap_or(0)).u32(kind).bytes(own.as_bytes());
        let padding = (reply.len() - before).next_multiple_of(8) - (reply.len() - before);
        reply.bytes(&[0; 8][..padding]);
        at += 1;
    }
    Ok(reply)
}

pub(super) fn releasedir(shared: &Shared, mut body: Reader<'_>) -> Answer {
    let fh = body.u64()?;
    shared.folders.lock().remove(&fh);
    Ok(Reply::new())
}

/// Have a look at a directory's names decided, and look.
fn listed<T>(
    shared: &Shared,
    header: Header,
    folder: &str,
    look: impl Fn(&Decided) -> Result<T, Errno>,
) -> Result<T, Failed> {
    staged(shared, (|_| ChangeKind::List, alone), folder, header.pid, look)
}

/// Whether the kernel has the names of this directory as it is, and within the time that it may believe what it was told.
fn kernel_keeps(shared: &Shared, node: u64, at: &Located) -> bool {
    let version = shared.tree.listing_version(at);
    let listed = shared.nodes.read().get(node).and_then(|node| node.listed);
    listed.is_some_and(|(listed, at)| Some(listed) == version && at.elapsed().as_secs() < TRUST_SECONDS)
}

/// The names in a directory. Those who open it while it is the same, and within the time that the kernel may believe what it
/// was told, share one listing.
fn names_in(shared: &Shared, node: u64, decided: &Decided) -> Result<Arc<Listing>, Errno> {
    let at = decided.located();
    let version = shared.tree.listing_version(at).filter(ListingVersion::is_settled);
    if version.is_some()
        && let Some(known) = shared.nodes.read().get(node).and_then(|n| n.listing.upgrade())
        && known.version == version
        && known.made.elapsed().as_secs() < TRUST_SECONDS
    {
        return Ok(known);
    }
    let mut names = shared.tree.list(decided)?;
    names.retain(|(name, _)| shared.gate.visible(&join(at.path(), name)));
    let listing = Arc::new(Listing::new(names, version, &shared.tree.quota)?);
    if let Some(node) = shared.nodes.write().node(node) {
        node.listing = Arc::downgrade(&listing);
        node.listed = version.map(|version| (version, Instant::now()));
    }
    Ok(listing)
}

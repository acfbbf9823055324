//! What is in a directory.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chaperone_names::native;
use rustix::io::Errno;

use super::answer::{Answer, Failed, TRUST_SECONDS, path_of};
use super::attributes::entry;
use crate::listing::Listing;
use crate::object::ListingVersion;
use crate::protocol::{Header, Reader, Reply, open as open_flag};
use crate::shared::{MAX_HANDLES, Shared};
use crate::tree::join;

pub(super) fn opendir(shared: &Shared, header: Header) -> Answer {
    let path = path_of(shared, header.node)?;
    if shared.folders.lock().len() >= MAX_HANDLES {
        return Err(Errno::MFILE.into());
    }
    shared.gate.list(&path, header.pid)?;
    let version = if shared.gate.hides_names() { None } else { shared.tree.listing_version(&path)? };
    let kept =
        version.is_some()
            && shared.nodes.read().get(header.node).and_then(|n| n.listed).is_some_and(|(listed, at)| {
                Some(listed) == version && at.elapsed().as_secs() < TRUST_SECONDS
            });
    let (names, flags) = if kept {
        (None, open_flag::CACHE_DIR | open_flag::KEEP_CACHE)
    } else {
        let names = names_in(shared, header.node, &path)?;
        if let Some(node) = shared.nodes.write().node(header.node) {
            node.listed = version.filter(ListingVersion::is_settled).map(|v| (v, Instant::now()));
        }
        (Some(names), open_flag::CACHE_DIR)
    };
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
        let names = names_in(shared, header.node, &folder)?;
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

/// The names in a directory. Those who open it while it is the same, and within the time that the kernel may believe what it
/// was told, share one listing.
fn names_in(shared: &Shared, node: u64, folder: &str) -> Result<Arc<Listing>, Failed> {
    let version = shared.tree.listing_version(folder)?.filter(ListingVersion::is_settled);
    if version.is_some()
        && let Some(known) = shared.nodes.read().get(node).and_then(|n| n.listing.upgrade())
        && known.version == version
        && known.made.elapsed().as_secs() < TRUST_SECONDS
    {
        return Ok(known);
    }
    let mut names = shared.tree.list(folder)?;
    names.retain(|(name, _)| shared.gate.visible(&join(folder, name)));
    let listing = Arc::new(Listing::new(names, version, &shared.tree.quota).map_err(Errno::from)?);
    if let Some(node) = shared.nodes.write().node(node) {
        node.listing = Arc::downgrade(&listing);
    }
    Ok(listing)
}

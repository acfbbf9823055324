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
use crate::listing::{Listing, Name};
use crate::object::{ListingVersion, Located};
use crate::protocol::{Header, Reader, Reply, dirent_length, open as open_flag};
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
    let before = if plus { 128 } else { 0 };
    let mut room = size as usize;
    let mut fits = |name: &str| {
        let needed = before + dirent_length(native(name).as_bytes());
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    };
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let dots: Vec<&str> = [".", ".."].into_iter().skip(from).take_while(|dot| fits(dot)).collect();
    let rest = names.names.get(from.saturating_sub(2)..).unwrap_or_default();
    let rest: Vec<&Name> = rest.iter().take_while(|name| fits(&name.text)).collect();
    let seen = if plus { shared.tree.now(&folder, names.of, rest.iter().copied()) } else { Vec::new() };
    let mut reply = Reply::new();
    let mut next = offset;
    let mut dirent = |reply: &mut Reply, (text, ino, kind): (&str, u64, u32)| {
        next += 1;
        reply.dirent(ino, next, kind, native(text).as_bytes());
    };
    for dot in dots {
        if plus {
            reply.bytes(&[0; 128]);
        }
        dirent(&mut reply, (dot, 1, 4));
    }
    let mut seen = seen.into_iter();
    for name in rest {
        if plus {
            let seen = seen.next().flatten();
            let is_known =
                seen.is_some_and(|seen| entry(shared, &join(&folder, &name.text), &seen, &mut reply).is_ok());
            if !is_known {
                // Node 0: the kernel looks the name up when somebody wants it.
                reply.bytes(&[0; 128]);
            }
        }
        dirent(&mut reply, (&name.text, name.ino, name.kind));
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
    let (mut names, of) = shared.tree.names(decided)?;
    names.retain(|name| shared.gate.visible(&join(at.path(), &name.text)));
    let listing = Arc::new(Listing::new(names, (version, of), &shared.tree.quota)?);
    if let Some(node) = shared.nodes.write().node(node) {
        node.listing = Arc::downgrade(&listing);
        node.listed = version.map(|version| (version, Instant::now()));
    }
    Ok(listing)
}

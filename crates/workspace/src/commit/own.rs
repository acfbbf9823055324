//! The user's files as they are, those of the stage, and what of either is read.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use chaperone_inspect::Effects;
use rustix::fs::OFlags;

use crate::mount::LiveMount;
use crate::overlay;

/// Bytes of the beginning of a file by which it is known.
pub(super) const HEAD: usize = 4096;

/// How a file is looked into: in a process of its own.
pub(super) type Look<'a> = &'a dyn Fn(&File, &str) -> Effects;

/// What a file does when a program opens it, by its name and content.
pub(super) fn effects(look: Look<'_>, path: &str, file: &File) -> Effects {
    match read(file, HEAD) {
        Some(head) if !chaperone_inspect::may_have_effects(path, &head) => Effects::default(),
        Some(_) => look(file, path),
        None => Effects::unseen(),
    }
}

/// A file of the directory as it is, following no link; `None` when there is none.
pub(super) fn open(mount: &LiveMount, path: &str) -> Option<File> {
    let file = File::from(overlay::open(&mount.root, path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    file.metadata().is_ok_and(|m| m.is_file()).then_some(file)
}

/// A file of the stage by its place there, following no link.
pub(super) fn staged(blob: &Path) -> Option<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(blob).ok()
}

/// At most so many bytes from the beginning; `None` when it cannot be read.
pub(super) fn read(file: &File, most: usize) -> Option<Vec<u8>> {
    read_from(file, 0, most)
}

/// The same from a place on.
pub(super) fn read_from(file: &File, from: u64, most: usize) -> Option<Vec<u8>> {
    let size = usize::try_from(file.metadata().ok()?.len().saturating_sub(from)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size.min(most)];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(bytes.get_mut(have..)?, from + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(have);
    Some(bytes)
}

//! The user's files as they are, and what of theirs is read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use chaperone_inspect::document::{self, Reach};
use rustix::fs::OFlags;

use crate::mount::LiveMount;
use crate::overlay;

/// Bytes of the beginning of a file by which it is known.
pub(super) const HEAD: usize = 4096;

/// What a file reaches for as a document, by its name and content.
pub(super) fn reach_of(path: &str, file: &File) -> Reach {
    let head = read(file, HEAD).unwrap_or_default();
    document::kind(path, &head).map(|kind| reach(kind, file)).unwrap_or_default()
}

pub(super) fn reach(kind: document::Kind, file: &File) -> Reach {
    match read(file, document::MOST + 1) {
        Some(bytes) => document::look(kind, &bytes),
        None => Reach { unseen: true, ..Reach::default() },
    }
}

/// A file of the directory as it is, following no link; `None` when there is none.
pub(super) fn open(mount: &LiveMount, path: &str) -> Option<File> {
    let file = File::from(overlay::open(&mount.root, path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    file.metadata().is_ok_and(|m| m.is_file()).then_some(file)
}

/// At most so many bytes from the beginning; `None` when it cannot be read.
pub(super) fn read(file: &File, most: usize) -> Option<Vec<u8>> {
    let size = usize::try_from(file.metadata().ok()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size.min(most)];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(bytes.get_mut(have..)?, have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(have);
    Some(bytes)
}

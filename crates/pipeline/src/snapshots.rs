//! The private copies of one session: what was inspected is what is served, and what is kept of it goes with the session.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chaperone_inspect::{Finding, Restoration, endings};
use chaperone_protocol::Failure;
use chaperone_quota::{DiskReserve, Exceeded, Held, HeldFile, Quota};
use chaperone_worker::{Place, Snapshot, snapshot};
use lru::LruCache;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::access::FileObject;

/// Inspected versions kept open. Beyond it the oldest is looked at anew, as where the session's share runs out.
const KEPT: usize = 4_096;
/// Bytes of kept copies together.
const KEPT_BYTES: u64 = 64 << 20;
/// Up to this length, in bytes, a copy lives in sealed memory; a longer one on the disk, to spare memory.
const IN_MEMORY: u64 = 64 << 20;
/// In the session's directory, when its agent got a redacted copy of anything.
const REDACTED: &str = "redacted";
/// Part of the kept copies that go first when the session's share runs out.
const FIRST: usize = 4;

/// Exact bytes that may be read.
#[derive(Debug, Clone)]
pub struct Released {
    /// Identifies the bytes: SHA-256 of what is served.
    pub version: [u8; 32],
    pub file: Arc<HeldFile>,
    pub len: u64,
}

/// One inspected version of a file.
#[derive(Debug)]
pub struct Inspected {
    pub sha256: [u8; 32],
    pub len: u64,
    pub findings: Arc<[Finding]>,
    /// Why a part of it, or all of it, could not be looked into; empty when nothing was left out.
    pub unread: Arc<[String]>,
    pub(crate) file: Arc<HeldFile>,
}

/// An edited file with its values, where it had any, and what became of its placeholders.
#[derive(Debug, Default)]
pub struct Restored {
    pub file: Option<Arc<HeldFile>>,
    pub report: Restoration,
}

/// What a session's copies are made of, and those that are kept.
#[derive(Debug)]
pub struct Snapshots {
    /// Where those go that memory is not for.
    dir: PathBuf,
    quota: Arc<Quota>,
    room: DiskReserve,
    kept: Mutex<Kept>,
    /// That a redacted copy was handed out is noted already.
    redacted: AtomicBool,
}

#[derive(Debug)]
struct Kept {
    /// With the endings of the name, by which a content is read.
    versions: LruCache<(FileObject, String), Arc<Inspected>>,
    /// By the content that they are made of, and how it was read.
    redacted: LruCache<([u8; 32], String), Released>,
    bytes: u64,
    is_over: bool,
}

impl Inspected {
    /// What was found in `file`, which nobody can change any more.
    #[must_use]
    pub fn new(sha256: [u8; 32], len: u64, findings: Arc<[Finding]>, file: HeldFile) -> Self {
        Self { sha256, len, findings, unread: Arc::new([]), file: Arc::new(file) }
    }

    /// The same, of which something could not be looked into for these reasons.
    #[must_use]
    pub fn with_unread(self, unread: Arc<[String]>) -> Self {
        Self { unread, ..self }
    }

    /// What the user and the agent are told of what could not be looked into.
    #[must_use]
    pub fn cannot_look(&self) -> Option<String> {
        (!self.unread.is_empty()).then(|| format!("it cannot be looked into: {}", self.unread.join("; ")))
    }

    /// The bytes as they were inspected.
    #[must_use]
    pub fn released(&self) -> Released {
        Released { version: self.sha256, file: Arc::clone(&self.file), len: self.len }
    }
}

impl Snapshots {
    /// None yet, of a session with this share and this directory of its own.
    #[must_use]
    pub fn new(dir: &Path, quota: &Arc<Quota>) -> Self {
        let most = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        let kept =
            Kept { versions: LruCache::new(most), redacted: LruCache::new(most), bytes: 0, is_over: false };
        Self {
            dir: dir.to_owned(),
            quota: Arc::clone(quota),
            room: DiskReserve::default(),
            kept: Mutex::new(kept),
            redacted: AtomicBool::new(false),
        }
    }

    /// Whether asking for this version by this path is quick.
    #[must_use]
    pub fn knows(&self, object: &FileObject, path: &str) -> bool {
        self.kept.lock().versions.contains(&(*object, endings(path)))
    }

    /// Copy a file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`snapshot`]; `ENFILE` and `ENOSPC` when the session, or the disk, has no more.
    pub fn take(&self, file: &File, limit: u64) -> io::Result<Snapshot> {
        snapshot(file, limit, &|len| self.place(len))
    }

    /// An empty file for about so many bytes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn make(&self, len: u64) -> io::Result<HeldFile> {
        self.place(len)?.make()
    }

    /// Drop what is kept, and keep nothing any more.
    pub fn forget(&self) {
        let mut kept = self.kept.lock();
        kept.versions.clear();
        kept.redacted.clear();
        (kept.bytes, kept.is_over) = (0, true);
    }

    pub(crate) fn version(&self, object: &FileObject, name: &str) -> Option<Arc<Inspected>> {
        self.kept.lock().versions.get(&(*object, endings(name))).map(Arc::clone)
    }

    pub(crate) fn keep(&self, (object, name): (FileObject, &str), seen: &Arc<Inspected>) {
        let mut kept = self.kept.lock();
        if kept.is_over {
            return;
        }
        kept.bytes += seen.len;
        if let Some((_, old)) = kept.versions.push((object, endings(name)), Arc::clone(seen)) {
            kept.bytes = kept.bytes.saturating_sub(old.len);
        }
        kept.fit();
    }

    pub(crate) fn redaction(&self, of: &[u8; 32], name: &str) -> Option<Released> {
        self.kept.lock().redacted.get(&(*of, endings(name))).cloned()
    }

    /// Note, for as long as there is the session, that its agent gets a redacted copy.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn hands_out_a_redaction(&self) -> io::Result<()> {
        if !self.redacted.load(Ordering::Acquire) {
            File::create(self.dir.join(REDACTED))?.sync_all()?;
            self.redacted.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether the session's agent ever got a redacted copy: only then may it have placeholders of its own.
    pub(crate) fn handed_out_a_redaction(&self) -> bool {
        self.redacted.load(Ordering::Acquire) || self.dir.join(REDACTED).exists()
    }

    pub(crate) fn keep_redaction(&self, (of, name): ([u8; 32], &str), released: &Released) {
        let mut kept = self.kept.lock();
        if kept.is_over {
            return;
        }
        kept.bytes += released.len;
        if let Some((_, old)) = kept.redacted.push((of, endings(name)), released.clone()) {
            kept.bytes = kept.bytes.saturating_sub(old.len);
        }
        kept.fit();
    }

    fn place(&self, len: u64) -> io::Result<Place<'_>> {
        // What is kept only to be quick goes before anything is refused, or is slow.
        if len <= IN_MEMORY {
            match self.held(len) {
                Ok(held) => return Ok(Place::Memory(held)),
                Err(Exceeded::Memory) => {}
                Err(exceeded) => return Err(Errno::from(exceeded).into()),
            }
        }
        let held = self.held(0).map_err(Errno::from)?;
        self.room.take(&self.dir, len)?;
        Ok(Place::Disk(&self.dir, held))
    }
}

impl Snapshots {
    /// One descriptor and so much memory, if need be in place of what is kept.
    fn held(&self, memory: u64) -> Result<Held, Exceeded> {
        loop {
            match self.quota.take(memory, 1) {
                Err(_) if self.kept.lock().drop_some() => {}
                taken => return taken,
            }
        }
    }
}

impl Kept {
    fn fit(&mut self) {
        while self.bytes > KEPT_BYTES && self.versions.len() + self.redacted.len() > 1 && self.drop_oldest() {
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let old = self.versions.pop_lru().map(|(_, old)| old.len);
        let old = old.or_else(|| self.redacted.pop_lru().map(|(_, old)| old.len));
        self.bytes = self.bytes.saturating_sub(old.unwrap_or(0));
        old.is_some()
    }

    /// Drop the oldest; false when there are none.
    fn drop_some(&mut self) -> bool {
        let some = (self.versions.len() + self.redacted.len()).div_ceil(FIRST);
        (0..some).filter(|_| self.drop_oldest()).count() > 0
    }
}

/// The failure to make a copy that is the session's own doing, or the disk's.
pub(crate) fn too_much(error: &io::Error) -> Option<Failure> {
    let told = match Errno::from_io_error(error)? {
        Errno::NFILE | Errno::NOMEM => {
            Failure::new("too_much_held", "this session holds as much open as it may")
                .advise("close files that are not in use")
        }
        Errno::NOSPC => Failure::new("no_room", "the disk has no room for a copy of it")
            .advise("ask the user to make room on the disk"),
        _ => return None,
    };
    Some(told)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chaperone_quota::{Descriptors, Used};

    use super::*;

    #[test]
    fn what_is_kept_makes_room_for_what_is_needed_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let quota = Quota::new(1000, &Arc::new(Descriptors::of(1 << 20)));
        let snapshots = Snapshots::new(dir.path(), &quota);
        let from = tempfile::tempfile().unwrap();
        from.set_len(400).unwrap();
        let keep = |ino| {
            let taken = snapshots.take(&from, 1 << 20).unwrap();
            let seen = Arc::new(Inspected::new(taken.sha256, taken.len, Arc::new([]), taken.file));
            snapshots.keep((FileObject { ino, ..FileObject::ABSENT }, "a"), &seen);
        };
        (0..5).for_each(keep);
        assert_eq!(quota.used(), Used { memory: 800, descriptors: 2 });
        assert!(snapshots.knows(&FileObject { ino: 4, ..FileObject::ABSENT }, "b"));
        snapshots.forget();
        keep(5);
        assert_eq!(quota.used(), Used::default());
    }
}

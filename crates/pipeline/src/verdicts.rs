//! What was looked at and found to be nothing to ask about, kept over sessions and restarts.
//!
//! Of each verdict a tag is kept: what it is about, under a key of the vault and of this program's revision. A tag that is
//! there is the verdict; nobody makes one without the key, and one that was moved or changed is about nothing. No name, no
//! content and no digest can be read from it. Whatever is wrong with what is kept, it is looked at again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::digest::Key;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::ports::Clock;
pub use crate::verdict_files::Tag;
use crate::verdict_files::{Generation, HEAD, NEWER, OLDER};

/// Verdicts of one of the two generations. Protects memory and disk: 16 MB together.
const MOST: usize = 500_000;
/// A clock may be put back so far, in milliseconds, without anything being dropped.
const PUT_BACK: u64 = 1_000;
/// What changed less than this before it was looked at, in nanoseconds, may change again within the same tick of its clock:
/// no verdict about it is kept. More than a clock may be put back.
pub const SETTLED_NS: i128 = 2_000_000_000;

/// Makes tags, and keeps them.
pub struct Verdicts {
    key: Hmac<Sha256>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

struct Kept {
    /// Nothing: for this process alone.
    dir: Option<PathBuf>,
    is_read: bool,
    /// Of one generation.
    most: usize,
    newer: Generation,
    older: Generation,
    /// The latest time that was seen.
    seen_ms: u64,
}

impl std::fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verdicts").finish_non_exhaustive()
    }
}

impl Verdicts {
    /// Those in this directory that were made with this key by a program of this revision; without a directory, none but
    /// those of this process. They are read when they are first asked for.
    #[must_use]
    pub fn new(dir: Option<&Path>, (key, revision): (&[u8; 32], &[u8]), clock: Arc<dyn Clock>) -> Self {
        let made_of = Sha256::new().chain_update(key).chain_update(Sha256::digest(revision)).finalize();
        let mut own = Key::<Hmac<Sha256>>::default();
        own.iter_mut().zip(made_of).for_each(|(to, from)| *to = from);
        let kept = Kept {
            dir: dir.map(Path::to_owned),
            is_read: false,
            most: MOST,
            newer: Generation::default(),
            older: Generation::default(),
            seen_ms: 0,
        };
        Self { key: <Hmac<Sha256> as Mac>::new(&own), clock, kept: Mutex::new(kept) }
    }

    /// The tag of the verdict of this kind about this.
    #[must_use]
    pub fn tag(&self, kind: &str, about: &[&[u8]]) -> Tag {
        tag(&self.key, kind, about)
    }

    /// Which of these verdicts are known.
    #[must_use]
    pub fn known(&self, tags: &[Tag]) -> Vec<bool> {
        let mut kept = self.in_time();
        let known: Vec<bool> = tags.iter().map(|tag| kept.newer.has(tag) || kept.older.has(tag)).collect();
        // What is used stays when the older ones go.
        let again: Vec<Tag> =
            tags.iter().filter(|tag| kept.older.has(tag) && !kept.newer.has(tag)).copied().collect();
        self.add(&mut kept, &again);
        known
    }

    /// Keep these verdicts.
    pub fn keep(&self, tags: &[Tag]) {
        let mut kept = self.in_time();
        self.add(&mut kept, tags);
    }

    /// Nanoseconds since 1970 by the clock that verdicts are kept by.
    #[must_use]
    pub fn now_ns(&self) -> i128 {
        i128::from(self.clock.now_ms()) * 1_000_000
    }

    /// What is kept, unless the clock went back: then a time may come again that something was judged by.
    fn in_time(&self) -> parking_lot::MutexGuard<'_, Kept> {
        let now = self.clock.now_ms();
        let mut kept = self.kept.lock();
        if !kept.is_read {
            kept.is_read = true;
            kept.read(&self.key, now);
        }
        if now.saturating_add(PUT_BACK) < kept.seen_ms {
            kept.begin_anew();
            kept.seen_ms = 0;
        }
        kept.seen_ms = kept.seen_ms.max(now);
        kept
    }

    fn add(&self, kept: &mut Kept, tags: &[Tag]) {
        let mut new: Vec<Tag> = tags.iter().filter(|tag| !kept.newer.has(tag)).copied().collect();
        if new.is_empty() {
            return;
        }
        new.truncate(kept.most);
        if kept.newer.len() + new.len() > kept.most {
            kept.grow_old();
        }
        let head = head(&self.key, kept.seen_ms);
        kept.newer.add(kept.dir.as_deref(), head, &new);
    }
}

impl Kept {
    fn read(&mut self, key: &Hmac<Sha256>, now: u64) {
        let Some(dir) = &self.dir else { return };
        let read = |name| {
            Generation::read(dir, name, self.most, |time_ms, mark| {
                *mark == tag(key, HEADER, &[&time_ms.to_le_bytes()])
            })
        };
        let (newer, older) = (read(NEWER), read(OLDER));
        let latest = [&newer, &older].into_iter().flatten().map(|(_, time_ms)| *time_ms).max();
        if latest.is_some_and(|latest| now.saturating_add(PUT_BACK) < latest) {
            self.begin_anew();
            return;
        }
        self.newer = newer.map(|(it, _)| it).unwrap_or_default();
        self.older = older.map(|(it, _)| it).unwrap_or_default();
        self.seen_ms = latest.unwrap_or(0);
    }

    /// The newer generation is the older one from now on, which goes.
    fn grow_old(&mut self) {
        if let Some(dir) = &self.dir {
            // What stays is written over.
            std::fs::rename(dir.join(NEWER), dir.join(OLDER)).ok();
        }
        self.older = std::mem::take(&mut self.newer);
    }

    fn begin_anew(&mut self) {
        if let Some(dir) = &self.dir {
            // What cannot be removed is not read again: the newer one is written over, and a header says when.
            std::fs::remove_file(dir.join(OLDER)).ok();
            std::fs::remove_file(dir.join(NEWER)).ok();
        }
        (self.newer, self.older) = (Generation::default(), Generation::default());
    }
}

/// The kind of tag that a file of verdicts begins with.
const HEADER: &str = "file";

fn head(key: &Hmac<Sha256>, time_ms: u64) -> [u8; HEAD] {
    crate::verdict_files::head(time_ms, &tag(key, HEADER, &[&time_ms.to_le_bytes()]))
}

fn tag(key: &Hmac<Sha256>, kind: &str, about: &[&[u8]]) -> Tag {
    let mut made = key.clone();
    for part in std::iter::once(kind.as_bytes()).chain(about.iter().copied()) {
        made.update(&(part.len() as u64).to_le_bytes());
        made.update(part);
    }
    let made: [u8; 32] = made.finalize().into_bytes().into();
    let mut tag = Tag::default();
    tag.iter_mut().zip(made).for_each(|(to, from)| *to = from);
    tag
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug)]
    struct At(AtomicU64);

    impl Clock for At {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    const KEY: &[u8; 32] = &[7; 32];

    fn at(seconds: u64) -> Arc<At> {
        Arc::new(At(AtomicU64::new(seconds * 1000)))
    }

    fn open(dir: &Path, revision: &[u8], clock: &Arc<At>) -> Verdicts {
        Verdicts::new(Some(dir), (KEY, revision), Arc::clone(clock) as _)
    }

    fn knows(verdicts: &Verdicts, about: &str) -> bool {
        verdicts.known(&[verdicts.tag("content", &[about.as_bytes()])]) == [true]
    }

    fn keep(verdicts: &Verdicts, about: &str) {
        verdicts.keep(&[verdicts.tag("content", &[about.as_bytes()])]);
    }

    #[test]
    fn verdicts_outlive_the_process_and_end_with_the_revision_and_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let clock = at(1_000_000);
        let first = open(dir.path(), b"one", &clock);
        assert!(!knows(&first, "a"));
        keep(&first, "a");
        keep(&first, "b");
        assert!(knows(&first, "a") && knows(&first, "b"));
        let again = open(dir.path(), b"one", &clock);
        assert!(knows(&again, "a") && knows(&again, "b") && !knows(&again, "c"));
        let other_key = Verdicts::new(Some(dir.path()), (&[8; 32], b"one"), clock.clone());
        assert!(!knows(&other_key, "a"));
        assert!(!knows(&open(dir.path(), b"two", &clock), "a"));
        // What another revision keeps takes the place of all.
        keep(&open(dir.path(), b"two", &clock), "a");
        assert!(!knows(&open(dir.path(), b"one", &clock), "a"));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(dir.path().join(NEWER)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_verdict_is_about_one_thing() {
        let verdicts = Verdicts::new(None, (KEY, b"one"), at(1_000_000));
        verdicts.keep(&[verdicts.tag("content", &[b"ab", b"c"])]);
        assert_eq!(verdicts.known(&[verdicts.tag("content", &[b"a", b"bc"])]), [false]);
        assert_eq!(verdicts.known(&[verdicts.tag("other", &[b"ab", b"c"])]), [false]);
        assert_eq!(verdicts.known(&[verdicts.tag("content", &[b"ab", b"c"])]), [true]);
    }

    #[test]
    fn a_forged_or_broken_file_makes_no_verdict_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let clock = at(1_000_000);
        let file = dir.path().join(NEWER);
        let fresh = || {
            std::fs::remove_file(&file).ok();
            let verdicts = open(dir.path(), b"one", &clock);
            keep(&verdicts, "a");
            keep(&verdicts, "b");
            std::fs::read(&file).unwrap()
        };
        let whole = fresh();
        // Any byte that is flipped costs at least one verdict and makes none.
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
            let verdicts = open(dir.path(), b"one", &clock);
            assert!(!(knows(&verdicts, "a") && knows(&verdicts, "b")), "{place}");
            assert!(!knows(&verdicts, "c"));
            keep(&verdicts, "c");
            assert!(knows(&open(dir.path(), b"one", &clock), "c"), "{place}");
        }
        // A tag that another made, without the key.
        let mut bytes = whole.clone();
        let foreign = Verdicts::new(None, (&[9; 32], b"one"), clock.clone());
        bytes.extend(foreign.tag("content", &[b"c"]));
        std::fs::write(&file, &bytes).unwrap();
        assert!(!knows(&open(dir.path(), b"one", &clock), "c"));
        // One that was cut off holds what is whole, and is gone on with.
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            let verdicts = open(dir.path(), b"one", &clock);
            assert!(!knows(&verdicts, "b"));
            keep(&verdicts, "c");
            let again = open(dir.path(), b"one", &clock);
            assert!(knows(&again, "c"), "{cut}");
            assert_eq!(knows(&again, "a"), cut >= HEAD + 16, "{cut}");
        }
        // A link, a directory or somebody else's text in its place.
        std::fs::remove_file(&file).unwrap();
        let aside = dir.path().join("aside");
        std::fs::write(&aside, &whole).unwrap();
        std::os::unix::fs::symlink(&aside, &file).unwrap();
        let verdicts = open(dir.path(), b"one", &clock);
        assert!(!knows(&verdicts, "a"));
        keep(&verdicts, "d");
        assert!(knows(&verdicts, "d") && std::fs::read(&aside).unwrap() == whole);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let verdicts = open(dir.path(), b"one", &clock);
        keep(&verdicts, "d");
        assert!(knows(&verdicts, "d") && !knows(&verdicts, "a"));
    }

    #[test]
    fn a_clock_that_goes_back_drops_every_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let clock = at(1_000_000);
        let verdicts = open(dir.path(), b"one", &clock);
        keep(&verdicts, "a");
        clock.0.fetch_add(5_000, Ordering::Relaxed);
        keep(&verdicts, "b");
        // As it is put right now and then.
        clock.0.fetch_sub(500, Ordering::Relaxed);
        assert!(knows(&verdicts, "a"));
        // While nobody looks …
        assert!(!knows(&open(dir.path(), b"one", &at(1_000_002)), "a"));
        // … and while somebody does.
        clock.0.fetch_sub(3_000, Ordering::Relaxed);
        assert!(!knows(&verdicts, "a") && !knows(&verdicts, "b"));
        keep(&verdicts, "c");
        assert!(knows(&verdicts, "c"));
        let again = open(dir.path(), b"one", &clock);
        assert!(knows(&again, "c") && !knows(&again, "a"));
    }

    #[test]
    fn what_is_not_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let clock = at(1_000_000);
        let mut verdicts = open(dir.path(), b"one", &clock);
        let most = 2_000;
        verdicts.kept.get_mut().most = most;
        keep(&verdicts, "used");
        keep(&verdicts, "unused");
        let many = |from: usize| -> Vec<Tag> {
            (from..from + most - 10).map(|n| (n as u128).to_be_bytes()).collect()
        };
        verdicts.keep(&many(0));
        verdicts.keep(&many(most));
        assert!(knows(&verdicts, "used"));
        verdicts.keep(&many(2 * most));
        let again = open(dir.path(), b"one", &clock);
        assert!(knows(&again, "used") && !knows(&again, "unused"));
        let size = |name| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size(NEWER) + size(OLDER) <= (2 * (most * 16 + HEAD)) as u64);
    }
}

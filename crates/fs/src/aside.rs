//! What the agent set of directories, links, FIFOs and sockets: they have no file of their own in the stage that could hold
//! their times, and a directory of the user's none that could hold its mode. It lives as long as the mount.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chaperone_quota::{Held, Quota};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::object::Attributes;

/// Memory that one takes beside its path, in bytes, by far.
const MEMORY: u64 = 160;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Aside {
    atime_ns: Option<i128>,
    mtime_ns: Option<i128>,
    ctime_ns: Option<i128>,
    mode: Option<u32>,
    /// Of what was renamed: a number stays with its object.
    ino: Option<u64>,
}

impl Aside {
    /// What it looks like with what was set.
    pub fn over(&self, seen: Attributes) -> Attributes {
        let mut object = seen.object;
        object.mtime_ns = self.mtime_ns.unwrap_or(object.mtime_ns);
        object.ctime_ns = self.ctime_ns.unwrap_or(object.ctime_ns);
        object.ino = self.ino.unwrap_or(object.ino);
        let mode = self.mode.map_or(seen.mode, |bits| seen.mode & 0o170_000 | bits);
        Attributes { object, mode, atime_ns: self.atime_ns.unwrap_or(seen.atime_ns), ..seen }
    }

    fn set(&mut self, times: Option<&Timestamps>, now: i128) {
        self.ctime_ns = Some(now);
        if let Some(times) = times {
            let given = |time: Timespec, before| match time.tv_nsec {
                UTIME_OMIT => before,
                UTIME_NOW => Some(now),
                ns => Some(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(ns)),
            };
            self.atime_ns = given(times.last_access, self.atime_ns);
            self.mtime_ns = given(times.last_modification, self.mtime_ns);
        }
    }
}

/// All of one stage, by path.
pub(crate) struct Asides {
    all: BTreeMap<String, Aside>,
    held: Held,
}

impl Asides {
    pub fn new(quota: &Arc<Quota>) -> Self {
        Self { all: BTreeMap::new(), held: Held::nothing(quota) }
    }

    /// What a path looks like with what was set of it.
    pub fn over(&self, path: &str, seen: Attributes) -> Attributes {
        self.all.get(path).map_or(seen, |aside| aside.over(seen))
    }

    /// The number of what was renamed.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.all.get(path).and_then(|aside| aside.ino)
    }

    /// When it was modified last; now when nobody knows.
    pub fn mtime_ns(&self, path: &str) -> i128 {
        self.all.get(path).and_then(|aside| aside.mtime_ns).unwrap_or_else(now)
    }

    /// Keep times, and where the stage has no place for them permission bits, of an object without a file in the stage. Where
    /// there is no more room for them they are as they were, and that is no failure.
    pub fn set(&mut self, path: &str, times: Option<&Timestamps>, mode: Option<u32>) {
        let Some(aside) = self.of(path) else { return };
        aside.set(times, now());
        aside.mode = mode.map(|mode| mode & 0o7777).or(aside.mode);
    }

    /// It was made now.
    pub fn made(&mut self, path: &str) {
        let now = Some(now());
        if let Some(aside) = self.of(path) {
            *aside = Aside { atime_ns: now, mtime_ns: now, ctime_ns: now, mode: None, ino: None };
        }
        self.names_changed(path);
    }

    /// The directory that this is in has other names now.
    pub fn names_changed(&mut self, path: &str) {
        let now = Some(now());
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        if let Some(aside) = self.of(above) {
            aside.mtime_ns = now;
            aside.ctime_ns = now;
        }
    }

    fn of(&mut self, path: &str) -> Option<&mut Aside> {
        if !self.all.contains_key(path) {
            self.held.grow(MEMORY + path.len() as u64, 0).ok()?;
            self.all.insert(path.to_owned(), Aside::default());
        }
        self.all.get_mut(path)
    }

    /// Nothing of the agent's is there any more.
    pub fn forget(&mut self, path: &str) {
        if self.all.remove(path).is_some() {
            self.held.shrink(MEMORY + path.len() as u64);
        }
    }

    pub fn keep_number(&mut self, path: &str, ino: u64) {
        if let Some(aside) = self.of(path) {
            aside.ino = Some(ino);
        }
    }

    /// What is kept of a path and of everything below it, to be put where they move.
    pub fn below(&self, path: &str) -> Vec<(String, Aside)> {
        let below = format!("{path}/");
        let own = self.all.get(path).map(|aside| (String::new(), *aside));
        let inner = self.all.range(below.clone()..).take_while(|(at, _)| at.starts_with(&below));
        let rest = |at: &str| at.strip_prefix(path).unwrap_or_default().to_owned();
        own.into_iter().chain(inner.map(|(at, aside)| (rest(at), *aside))).collect()
    }

    /// What was kept of a path, where it is now.
    pub fn moved(&mut self, from: &str, to: &str, moved: Vec<(String, Aside)>) {
        moved.iter().for_each(|(rest, _)| self.forget(&format!("{from}{rest}")));
        self.put(to, moved);
        self.names_changed(from);
        self.names_changed(to);
    }

    /// What was kept of a path is kept of another.
    pub fn put(&mut self, to: &str, kept: Vec<(String, Aside)>) {
        for (rest, aside) in kept {
            if let Some(place) = self.of(&format!("{to}{rest}")) {
                *place = aside;
            }
        }
    }
}

/// Nanoseconds since the epoch.
fn now() -> i128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|now| i128::try_from(now.as_nanos()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    use crate::change::NewAttributes;
    use crate::decided::Decided;
    use crate::gate::{ChangeKind, ChangeRequest, Decides, Refused};
    use crate::tree::Tree;

    use super::*;

    struct Anything;

    impl Decides for Anything {
        fn change(&self, _: &ChangeRequest<'_>) -> Result<u64, Refused> {
            Ok(0)
        }
    }

    fn decided(tree: &Tree, kind: ChangeKind, path: &str) -> Decided {
        Decided::by(&Anything, kind, &tree.locate(path).unwrap(), 1).unwrap()
    }

    /// A directory of the user's with another one in it.
    fn opened(own: &tempfile::TempDir) -> Tree {
        let dir = own.path().join("docs/dir");
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let root = File::open(own.path().join("docs")).unwrap().into();
        Tree::open(&own.path().join("stage"), root, &Quota::unlimited()).unwrap()
    }

    #[test]
    fn what_is_set_of_a_directory_that_was_there_is_seen_and_is_no_change() {
        let own = tempfile::tempdir().unwrap();
        let tree = opened(&own);
        let time = Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
        let times = Some(Timestamps { last_access: time, last_modification: time });
        let new = NewAttributes { mode: Some(0o700), times, ..NewAttributes::default() };
        let seen = tree.set_attributes(&decided(&tree, ChangeKind::Attributes, "dir"), &new).unwrap();
        assert_eq!((seen.mode & 0o777, seen.object.mtime_ns), (0o700, 1_000_000_000_000_000));
        assert!(tree.changes().unwrap().is_empty());
        let mode = fs::metadata(own.path().join("docs/dir")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        // Of one that the agent makes it is committed.
        tree.make_dir(&decided(&tree, ChangeKind::Create, "dir/new"), 0o755).unwrap();
        tree.set_attributes(&decided(&tree, ChangeKind::Attributes, "dir/new"), &new).unwrap();
        let changes = tree.changes().unwrap();
        assert_eq!(changes.iter().map(|c| (&*c.path, c.mode)).collect::<Vec<_>>(), [("dir/new", 0o700)]);
    }

    #[test]
    fn how_many_directories_are_in_one_is_said_of_none() {
        let own = tempfile::tempdir().unwrap();
        let tree = opened(&own);
        for path in ["dir/new", "dir/new/inner"] {
            tree.make_dir(&decided(&tree, ChangeKind::Create, path), 0o755).unwrap();
        }
        let links = |path: &str| tree.attributes(path).unwrap().object.nlink;
        assert_eq!(["", "dir", "dir/new", "dir/new/inner"].map(links), [1; 4]);
        assert!(
            tree.list(&decided(&tree, ChangeKind::List, "dir"))
                .unwrap()
                .iter()
                .all(|(_, seen)| seen.object.nlink == 1)
        );
    }
}

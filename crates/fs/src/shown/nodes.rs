//! The numbers by which the guest knows what it looked up.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::beneath::kind;
use crate::nodes::ROOT;

/// Nodes at one time.
const MAX_NODES: usize = 1 << 20;
/// Bytes of their paths: a deep tree may have long ones.
const MAX_PATHS: usize = 256 << 20;

/// What the guest knows of, each under its number. A number is never given again.
pub(super) struct Nodes {
    by_number: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    last: u64,
    bytes: usize,
    most: usize,
}

struct Node {
    path: Arc<Path>,
    key: Key,
    lookups: u64,
}

/// By what it is known again: files with several names are one node, as they are one file.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Path(Arc<Path>),
    Linked { device: u64, inode: u64 },
}

impl Default for Nodes {
    fn default() -> Self {
        Self::at_most(MAX_NODES)
    }
}

impl Nodes {
    /// No more than so many, the root among them.
    pub fn at_most(most: usize) -> Self {
        let path: Arc<Path> = Path::new("").into();
        let key = Key::Path(Arc::clone(&path));
        Self {
            by_number: HashMap::from([(ROOT, Node { path, key: key.clone(), lookups: 0 })]),
            by_key: HashMap::from([(key, ROOT)]),
            last: ROOT,
            bytes: 0,
            most,
        }
    }

    /// # Errors
    /// `ESTALE` when there is no such node, or no more.
    pub fn path(&self, number: u64) -> Result<Arc<Path>, Errno> {
        self.by_number.get(&number).map(|node| Arc::clone(&node.path)).ok_or(Errno::STALE)
    }

    /// The node of a path, if the guest knows of it by this name.
    pub fn number_of(&self, path: &Path) -> Option<u64> {
        self.by_key.get(&Key::Path(path.into())).copied()
    }

    /// The node of what the guest looked up; it knows of it once more.
    ///
    /// # Errors
    /// `ENFILE` when the guest knows of as much as it may.
    pub fn looked_up(&mut self, path: &Path, stat: &Stat) -> Result<u64, Errno> {
        let path: Arc<Path> = path.into();
        // Directories are one for each path: the guest's kernel takes no second name for one.
        let key = if stat.st_nlink > 1 && kind(stat) != FileType::Directory {
            Key::Linked { device: stat.st_dev, inode: stat.st_ino }
        } else {
            Key::Path(Arc::clone(&path))
        };
        if let Some(number) = self.by_key.get(&key)
            && let Some(node) = self.by_number.get_mut(number)
        {
            node.lookups = node.lookups.saturating_add(1);
            return Ok(*number);
        }
        let bytes = self.bytes.saturating_add(path.as_os_str().len());
        if self.by_number.len() >= self.most || bytes > MAX_PATHS {
            return Err(Errno::NFILE);
        }
        self.last += 1;
        self.bytes = bytes;
        self.by_key.insert(key.clone(), self.last);
        self.by_number.insert(self.last, Node { path, key, lookups: 1 });
        Ok(self.last)
    }

    /// The guest knows of a node so many times less; true when the node is gone by that.
    pub fn forget(&mut self, number: u64, times: u64) -> bool {
        if number == ROOT {
            return false;
        }
        let Some(node) = self.by_number.get_mut(&number) else { return false };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups > 0 {
            return false;
        }
        if let Some(node) = self.by_number.remove(&number) {
            self.by_key.remove(&node.key);
            self.bytes = self.bytes.saturating_sub(node.path.as_os_str().len());
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_makes_room() {
        let stat = rustix::fs::stat("/").unwrap();
        let mut nodes = Nodes::at_most(3);
        let a = nodes.looked_up(Path::new("a"), &stat).unwrap();
        assert_eq!(nodes.looked_up(Path::new("a"), &stat), Ok(a));
        let b = nodes.looked_up(Path::new("b"), &stat).unwrap();
        assert_eq!(nodes.looked_up(Path::new("c"), &stat), Err(Errno::NFILE));
        assert!(!nodes.forget(a, 1), "it was looked up twice");
        assert!(nodes.forget(a, 1));
        assert!(!nodes.forget(a, 1) && !nodes.forget(ROOT, u64::MAX) && !nodes.forget(99, 1));
        assert_eq!((nodes.path(a), nodes.number_of(Path::new("a"))), (Err(Errno::STALE), None));
        let c = nodes.looked_up(Path::new("c"), &stat).unwrap();
        assert!(c != a && c != b, "no number is given again");
        assert!(nodes.forget(b, 1) && nodes.forget(c, u64::MAX));
        assert_eq!((nodes.by_number.len(), nodes.by_key.len(), nodes.bytes), (1, 1, 0));
    }
}

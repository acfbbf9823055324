//! What the kernel knows of: node numbers, the paths they stand for, and the version whose pages each may hold.
//!
//! The kernel caches pages by node. So a node serves one version at a time; another version of the same path, or a
//! redaction of it, gets a node of its own as long as the first is open.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gate::Opened as Verdict;
use crate::object::{FileVersion, Identity, ListingVersion, Object};
use crate::tree::Opened;

/// How long a granted opening waits for the kernel to come back for it on its new node.
const PREPARED: Duration = Duration::from_secs(5);

/// Which bytes a node's pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Inspected or redacted bytes, by their SHA-256.
    Exact([u8; 32]),
    /// The user's file itself.
    Live(FileVersion),
    /// A file of the stage. The kernel sees every write to it.
    Staged(u64),
}

pub(crate) struct Node {
    pub path: String,
    /// The name is gone (deleted, replaced) or another node stands for it now.
    pub unnamed: bool,
    pub lookups: u64,
    /// Size that the kernel was told last.
    pub told: Option<u64>,
    pub version: Option<Version>,
    /// Handles that use the node's pages.
    pub open: usize,
    /// Size of the version that is served, where that is not the object's own.
    pub shown: Option<u64>,
    /// Once a handle of this version was made writable, all of them read what it writes.
    pub written: Option<Arc<File>>,
    /// The names of the directory that the kernel has, and since when.
    pub listed: Option<(ListingVersion, Instant)>,
}

/// An opening that was granted and waits for its own node.
pub(crate) struct Prepared {
    pub flags: u32,
    pub opened: Opened,
    pub verdict: Verdict,
    made: Instant,
}

impl Prepared {
    /// Whether it was made for this opening, and for what is there now.
    pub fn fits(&self, flags: u32, now: Identity) -> bool {
        self.flags == flags && self.opened.located.identity() == now && self.made.elapsed() < PREPARED
    }
}

/// What became of an opening on a node.
pub(crate) enum Fit {
    /// The pages that the kernel holds are of this version.
    Same,
    /// The kernel must drop the pages that it holds.
    Fresh,
    /// The node is taken by another version.
    Elsewhere,
}

#[derive(Default)]
pub(crate) struct Nodes {
    by_path: HashMap<String, u64>,
    by_number: HashMap<u64, Node>,
    prepared: HashMap<String, Prepared>,
    last: u64,
}

impl Nodes {
    /// The path of a node; none for one whose name is gone.
    pub fn path(&self, number: u64) -> Option<&str> {
        if number == 1 {
            return Some("");
        }
        self.by_number.get(&number).filter(|n| !n.unnamed).map(|n| n.path.as_str())
    }

    pub fn get(&self, number: u64) -> Option<&Node> {
        self.by_number.get(&number)
    }

    pub fn node(&mut self, number: u64) -> Option<&mut Node> {
        self.by_number.get_mut(&number)
    }

    pub fn all(&self) -> impl Iterator<Item = (u64, &Node)> {
        self.by_number.iter().map(|(number, node)| (*number, node))
    }

    pub fn number_of(&self, path: &str) -> Option<u64> {
        if path.is_empty() { Some(1) } else { self.by_path.get(path).copied() }
    }

    /// The kernel learns of a path once more.
    pub fn looked_up(&mut self, path: &str, object: &Object) -> u64 {
        if let Some(number) = self.by_path.get(path).copied()
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.lookups += 1;
            return number;
        }
        self.last = self.last.max(1) + 1;
        let number = self.last;
        let prepared = self.prepared.get(path).filter(|p| p.opened.object == *object);
        let shown = prepared.and_then(|p| p.verdict.bytes.as_ref().map(|(_, _, len)| *len));
        self.by_path.insert(path.to_owned(), number);
        let node = Node {
            path: path.to_owned(),
            unnamed: false,
            lookups: 1,
            told: None,
            version: None,
            open: 0,
            shown,
            written: None,
            listed: None,
        };
        self.by_number.insert(number, node);
        number
    }

    pub fn forget(&mut self, number: u64, times: u64) {
        if let Some(node) = self.by_number.get_mut(&number) {
            node.lookups = node.lookups.saturating_sub(times);
            if node.lookups == 0
                && let Some(node) = self.by_number.remove(&number)
                && self.by_path.get(&node.path) == Some(&number)
            {
                self.by_path.remove(&node.path);
            }
        }
    }

    /// A path no longer names its node.
    pub fn unname(&mut self, path: &str) {
        if let Some(number) = self.by_path.remove(path)
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.unnamed = true;
        }
    }

    /// A path and everything below it moved.
    pub fn renamed(&mut self, from: &str, to: &str) {
        self.unname(to);
        let below = format!("{from}/");
        let moved: Vec<(String, u64)> = self
            .by_path
            .iter()
            .filter(|(path, _)| *path == from || path.starts_with(&below))
            .map(|(path, number)| (path.clone(), *number))
            .collect();
        for (path, number) in moved {
            self.by_path.remove(&path);
            let now = format!("{to}{}", path.strip_prefix(from).unwrap_or_default());
            if let Some(node) = self.by_number.get_mut(&number) {
                node.path.clone_from(&now);
            }
            self.by_path.insert(now, number);
        }
    }

    /// Whether a node can serve a version of `len` bytes.
    pub fn fit(&self, number: u64, version: Version, len: u64) -> Fit {
        let Some(node) = self.by_number.get(&number) else { return Fit::Fresh };
        let same = node.version == Some(version);
        // Without open handles the pages may go; but the kernel must not go on believing in another size.
        if node.told.is_some_and(|told| told != len) && !(same && matches!(version, Version::Staged(_))) {
            Fit::Elsewhere
        } else if same {
            Fit::Same
        } else if node.open == 0 {
            Fit::Fresh
        } else {
            Fit::Elsewhere
        }
    }

    /// Keep a granted opening until the kernel comes back for it on a node of its own. Returns those for which it never
    /// did.
    pub fn prepare(&mut self, flags: u32, opened: Opened, verdict: Verdict) -> Vec<Prepared> {
        let path = opened.located.path().to_owned();
        let mut dropped: Vec<Prepared> =
            self.prepared.extract_if(|_, p| p.made.elapsed() >= PREPARED).map(|(_, p)| p).collect();
        self.unname(&path);
        let prepared = Prepared { flags, opened, verdict, made: Instant::now() };
        dropped.extend(self.prepared.insert(path, prepared));
        dropped
    }

    /// Whether an opening waits for this path.
    pub fn is_prepared(&self, path: &str) -> bool {
        !self.prepared.is_empty() && self.prepared.contains_key(path)
    }

    /// The opening that waits for this path; it waits no longer.
    pub fn prepared(&mut self, path: &str) -> Option<Prepared> {
        self.prepared.remove(path)
    }

    /// Openings that wait for the kernel.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.prepared.len()
    }
}

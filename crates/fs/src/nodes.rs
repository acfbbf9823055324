//! What the kernel knows of: node numbers, the paths they stand for, and the version whose pages each may hold.
//!
//! The kernel caches pages by node. So a node serves one version at a time; another version of the same path, or a
//! redaction of it, gets a node of its own as long as the first is open.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chaperone_quota::{Exceeded, Held, HeldFile, Quota};

use crate::decided::DecidedOpening;
use crate::listing::Listing;
use crate::object::{FileVersion, Identity, ListingVersion, Object, ObjectKind};

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
    pub path: Arc<str>,
    /// Further names of the same file.
    others: Vec<Arc<str>>,
    /// The name is gone (deleted, replaced) or another node stands for it now.
    pub unnamed: bool,
    pub lookups: u64,
    pub is_file: bool,
    /// Size that the kernel was told last.
    pub told: Option<u64>,
    pub version: Option<Version>,
    /// Handles that use the node's pages.
    pub open: usize,
    /// Size of the version that is served, where that is not the object's own.
    pub shown: Option<u64>,
    /// Once a handle of this version was made writable, all of them read what it writes.
    pub written: Option<Arc<HeldFile>>,
    /// The names of the directory that the kernel has, and since when.
    pub listed: Option<(ListingVersion, Instant)>,
    /// What was listed of it last, as long as somebody has it open.
    pub listing: Weak<Listing>,
}

impl Node {
    fn new(path: Arc<str>) -> Self {
        Self {
            path,
            others: Vec::new(),
            unnamed: false,
            lookups: 1,
            is_file: false,
            told: None,
            version: None,
            open: 0,
            shown: None,
            written: None,
            listed: None,
            listing: Weak::new(),
        }
    }
}

/// An opening that was granted and waits for its own node.
pub(crate) struct Prepared {
    pub flags: u32,
    pub granted: DecidedOpening,
    made: Instant,
}

impl Prepared {
    /// Whether it was made for this opening, and for what is there now.
    pub fn fits(&self, flags: u32, now: Identity) -> bool {
        self.flags == flags
            && self.granted.opened().located.identity() == now
            && self.made.elapsed() < PREPARED
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

pub(crate) struct Nodes {
    by_path: HashMap<Arc<str>, u64>,
    by_number: HashMap<u64, Node>,
    prepared: HashMap<String, Prepared>,
    last: u64,
    held: Held,
    /// Directories that the kernel was told of since somebody asked last.
    new_directories: Vec<Arc<str>>,
}

pub(crate) const ROOT: u64 = 1;
/// Directories that are remembered until somebody asks which are new.
const MOST_NEW: usize = 4096;
/// Memory that a node takes beside its path, in bytes, by far.
const NODE: u64 = 384;

fn memory_of(path: &str) -> u64 {
    NODE + path.len() as u64
}

impl Nodes {
    /// The kernel knows of the root from the beginning.
    pub fn new(quota: &Arc<Quota>) -> Self {
        Self {
            by_path: HashMap::new(),
            by_number: HashMap::from([(ROOT, Node::new("".into()))]),
            prepared: HashMap::new(),
            last: 0,
            held: Held::nothing(quota),
            new_directories: Vec::new(),
        }
    }

    /// The path of a node; none for one whose name is gone.
    pub fn path(&self, number: u64) -> Option<&str> {
        self.by_number.get(&number).filter(|n| !n.unnamed).map(|n| &*n.path)
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
        if path.is_empty() { Some(ROOT) } else { self.by_path.get(path).copied() }
    }

    /// The kernel learns of a path once more; `same` are other names of the file, and `waits` the one of all for which an opening
    /// waits, with what stands there.
    ///
    /// # Errors
    /// When it knows of as many as may be.
    pub fn looked_up(
        &mut self,
        path: &str,
        object: &Object,
        same: &[String],
        waits: Option<(&str, Identity)>,
    ) -> Result<u64, Exceeded> {
        if let Some(number) = self.by_path.get(path).copied()
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.lookups += 1;
            return Ok(number);
        }
        self.held.grow(memory_of(path), 0)?;
        let known = same.iter().find_map(|name| self.by_path.get(name.as_str()).copied());
        if let Some((number, node)) = known.and_then(|n| Some((n, self.by_number.get_mut(&n)?))) {
            let path: Arc<str> = path.into();
            node.lookups += 1;
            node.others.push(Arc::clone(&path));
            self.by_path.insert(path, number);
            return Ok(number);
        }
        self.last = self.last.max(ROOT) + 1;
        let number = self.last;
        // Not by what is shown of it: that may have another number and other times.
        let granted = waits.and_then(|(name, now)| {
            let granted = &self.prepared.get(name)?.granted;
            (granted.opened().located.identity() == now).then_some((name, granted))
        });
        let shown = granted.and_then(|(_, g)| g.verdict().bytes.as_ref().map(|(_, _, len)| *len));
        // It is found by the name that it waits under.
        let first = granted.map(|(name, _)| name).filter(|name| *name != path);
        if let Some(first) = first {
            let room = self.held.grow(memory_of(first), 0);
            room.inspect_err(|_| self.held.shrink(memory_of(path)))?;
        }
        let path: Arc<str> = path.into();
        self.by_path.insert(Arc::clone(&path), number);
        if object.kind == ObjectKind::Dir && self.new_directories.len() < MOST_NEW {
            self.new_directories.push(Arc::clone(&path));
        }
        let mut node = Node { shown, is_file: object.kind == ObjectKind::File, ..Node::new(path) };
        if let Some(first) = first {
            let first: Arc<str> = first.into();
            self.by_path.insert(Arc::clone(&first), number);
            node.others.push(std::mem::replace(&mut node.path, first));
        }
        self.by_number.insert(number, node);
        Ok(number)
    }

    /// The kernel learns of a file that has no name; `path` is what it is called here.
    ///
    /// # Errors
    /// When it knows of as many as may be.
    pub fn unnamed(&mut self, path: &str, version: Version) -> Result<u64, Exceeded> {
        self.held.grow(memory_of(path), 0)?;
        self.last = self.last.max(ROOT) + 1;
        let node =
            Node { unnamed: true, is_file: true, open: 1, version: Some(version), ..Node::new(path.into()) };
        self.by_number.insert(self.last, node);
        Ok(self.last)
    }

    /// A node without a name has this one.
    pub fn named(&mut self, number: u64, path: &str) {
        self.unname(path);
        let Some(node) = self.by_number.get_mut(&number) else { return };
        self.held.shrink(memory_of(&node.path));
        self.held.grow(memory_of(path), 0).ok();
        let path: Arc<str> = path.into();
        node.path = Arc::clone(&path);
        node.unnamed = false;
        self.by_path.insert(path, number);
    }

    /// Whether the kernel was told of a directory since somebody asked last.
    pub fn has_new_directories(&self) -> bool {
        !self.new_directories.is_empty()
    }

    pub fn take_new_directories(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.new_directories)
    }

    pub fn forget(&mut self, number: u64, times: u64) {
        if number != ROOT
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.lookups = node.lookups.saturating_sub(times);
            if node.lookups == 0
                && let Some(node) = self.by_number.remove(&number)
            {
                for path in std::iter::once(&node.path).chain(&node.others) {
                    self.held.shrink(memory_of(path));
                    if self.by_path.get(path) == Some(&number) {
                        self.by_path.remove(path);
                    }
                }
            }
        }
    }

    /// The files that the kernel has known longest and nobody has open, by their directories and names. A directory may be
    /// where a program is, and stays.
    pub fn known_longest(&self, most: usize) -> Vec<(u64, String)> {
        let idle = |node: &Node| node.is_file && node.open == 0 && !node.unnamed;
        let mut numbers: Vec<u64> =
            self.by_number.iter().filter(|(_, node)| idle(node)).map(|(number, _)| *number).collect();
        if numbers.len() > most {
            numbers.select_nth_unstable(most);
            numbers.truncate(most);
        }
        let name_of = |number: &u64| {
            let (folder, name) = {
                let path = &*self.by_number.get(number)?.path;
                path.rsplit_once('/').unwrap_or(("", path))
            };
            Some((self.number_of(folder)?, name.to_owned()))
        };
        numbers.iter().filter_map(name_of).collect()
    }

    /// A path no longer names its node.
    pub fn unname(&mut self, path: &str) {
        let Some(number) = self.by_path.remove(path) else { return };
        let Some(node) = self.by_number.get_mut(&number) else { return };
        if *node.path != *path {
            node.others.retain(|other| **other != *path);
            self.held.shrink(memory_of(path));
        } else if let Some(other) = node.others.pop() {
            self.held.shrink(memory_of(path));
            node.path = other;
        } else {
            node.unnamed = true;
        }
    }

    /// No name stands for the node of a path any more, be it another name of it.
    fn unname_all(&mut self, path: &str) {
        let Some(number) = self.by_path.get(path).copied() else { return };
        let Some(node) = self.by_number.get_mut(&number) else { return };
        node.unnamed = true;
        let names: Vec<Arc<str>> = std::iter::once(&node.path).chain(&node.others).cloned().collect();
        for name in names {
            self.by_path.remove(&name);
        }
    }

    /// A path and everything below it moved.
    pub fn renamed(&mut self, from: &str, to: &str) {
        // Two names of one file stay where they are.
        if self.by_path.get(from).is_some_and(|number| self.by_path.get(to) == Some(number)) {
            return;
        }
        self.unname(to);
        for (path, number) in self.taken_from(from) {
            self.put(&path, number, &format!("{to}{}", path.strip_prefix(from).unwrap_or_default()));
        }
    }

    /// Two paths, and everything below them, changed over.
    pub fn exchanged(&mut self, one: &str, other: &str) {
        let (of_one, of_other) = (self.taken_from(one), self.taken_from(other));
        for (moved, from, to) in [(of_one, one, other), (of_other, other, one)] {
            for (path, number) in moved {
                self.put(&path, number, &format!("{to}{}", path.strip_prefix(from).unwrap_or_default()));
            }
        }
    }

    /// The nodes at a path and below it, whose names are taken from them.
    fn taken_from(&mut self, from: &str) -> Vec<(Arc<str>, u64)> {
        let below = format!("{from}/");
        let moved: Vec<(Arc<str>, u64)> = self
            .by_path
            .iter()
            .filter(|(path, _)| ***path == *from || path.starts_with(&below))
            .map(|(path, number)| (Arc::clone(path), *number))
            .collect();
        for (path, _) in &moved {
            self.by_path.remove(path);
        }
        moved
    }

    /// A node that had one name has another for it.
    fn put(&mut self, path: &Arc<str>, number: u64, now: &str) {
        let now: Arc<str> = now.into();
        if let Some(node) = self.by_number.get_mut(&number) {
            // A longer name is not refused any more: it is counted as far as there is room.
            self.held.shrink(memory_of(path));
            self.held.grow(memory_of(&now), 0).ok();
            match node.others.iter_mut().find(|other| *other == path) {
                Some(other) => *other = Arc::clone(&now),
                None => node.path = Arc::clone(&now),
            }
        }
        self.by_path.insert(now, number);
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

    /// Whether the kernel would serve `len` bytes of a node.
    pub fn believes(&self, number: u64, len: u64) -> bool {
        self.by_number.get(&number).and_then(|node| node.told).is_none_or(|told| told == len)
    }

    /// Keep a granted opening until the kernel comes back for it on a node of its own. Returns those for which it never
    /// did.
    pub fn prepare(&mut self, flags: u32, granted: DecidedOpening) -> Vec<Prepared> {
        let path = granted.opened().located.path().to_owned();
        let mut dropped: Vec<Prepared> =
            self.prepared.extract_if(|_, p| p.made.elapsed() >= PREPARED).map(|(_, p)| p).collect();
        self.unname_all(&path);
        let prepared = Prepared { flags, granted, made: Instant::now() };
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

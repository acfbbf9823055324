//! Files of the stage with several names, and the numbers by which files are known wherever they go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use crate::journal::{Entry, Record, blob_of};

/// What entries do not say of the files that they name. A file is its blob: all entries with the same one are its names.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Names of each blob that has, or had, more than one.
    names: HashMap<u64, BTreeSet<String>>,
    /// Inode numbers that were shown of a blob under an earlier name.
    numbers: HashMap<u64, u64>,
}

impl Links {
    pub fn of(entries: &BTreeMap<String, Entry>) -> Self {
        let mut first: HashMap<u64, &str> = HashMap::new();
        let mut links = Self::default();
        for (path, entry) in entries {
            let Some(blob) = blob_of(entry) else { continue };
            if let Some(other) = first.insert(blob, path) {
                links.names.entry(blob).or_default().extend([other.to_owned(), path.clone()]);
            }
        }
        links
    }

    /// How many names a blob has that has one at least.
    pub fn count(&self, blob: u64) -> u64 {
        self.names.get(&blob).map_or(1, |names| names.len().max(1) as u64)
    }

    /// The names of a blob but this one.
    pub fn others<'a>(&'a self, blob: u64, path: &'a str) -> impl Iterator<Item = &'a String> {
        self.names.get(&blob).into_iter().flatten().filter(move |name| *name != path)
    }

    /// Whether one of the entries that were not changed just now names it.
    pub fn has_name(&self, blob: u64) -> bool {
        self.names.get(&blob).is_some_and(|names| !names.is_empty())
    }

    /// What is about to be recorded gives blobs several names.
    pub fn about_to(&mut self, record: &Record) {
        let mut once = BTreeSet::new();
        for blob in record.iter().filter_map(|(_, entry)| blob_of(entry)) {
            if !once.insert(blob) {
                self.names.entry(blob).or_default();
            }
        }
    }

    /// The blob that a path has, or is about to have, gets one more name.
    pub fn share(&mut self, blob: u64, path: &str) {
        self.names.entry(blob).or_default().insert(path.to_owned());
    }

    /// A path has another entry.
    pub fn changed(&mut self, path: &str, before: Option<u64>, now: Option<u64>) {
        if before != now
            && let Some(names) = before.and_then(|blob| self.names.get_mut(&blob))
        {
            names.remove(path);
        }
        if let Some(names) = now.and_then(|blob| self.names.get_mut(&blob)) {
            names.insert(path.to_owned());
        }
    }

    /// The number that is shown of a blob, where that is not its own.
    pub fn number(&self, blob: u64) -> Option<u64> {
        self.numbers.get(&blob).copied()
    }

    pub fn keep_number(&mut self, blob: u64, ino: u64) {
        self.numbers.insert(blob, ino);
    }

    /// The blob is gone.
    pub fn forget(&mut self, blob: u64) {
        self.names.remove(&blob);
        self.numbers.remove(&blob);
    }
}

/// What a file of the stage is under each of its names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    pub blob: u64,
    pub mode: u32,
    pub cleared: bool,
}

/// Where the files with several names are, by device and inode number, as it was found last.
#[derive(Debug, Default)]
pub(crate) struct Others(pub Option<Walked>);

#[derive(Debug)]
pub(crate) struct Walked {
    pub until: Instant,
    pub names: HashMap<(u64, u64), Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(blob: u64) -> Entry {
        Entry::File { blob, base: None, mode: 0o644, origin: None, cleared: true }
    }

    #[test]
    fn names_are_counted_as_they_come_and_go() {
        let record = [("a".to_owned(), file(1)), ("b".to_owned(), file(1)), ("c".to_owned(), file(2))];
        let mut links = Links::of(&record.iter().cloned().collect());
        assert_eq!((links.count(1), links.count(2)), (2, 1));
        assert_eq!(links.others(1, "a").collect::<Vec<_>>(), ["b"]);
        links.changed("b", Some(1), None);
        links.changed("d", None, Some(1));
        assert_eq!(links.others(1, "a").collect::<Vec<_>>(), ["d"]);
        links.changed("a", Some(1), None);
        links.changed("d", Some(1), Some(2));
        assert!(!links.has_name(1));
        let more = vec![("c".to_owned(), file(2)), ("d".to_owned(), file(2))];
        links.about_to(&more);
        more.iter().for_each(|(path, _)| links.changed(path, Some(2), Some(2)));
        assert_eq!(links.count(2), 2);
    }
}

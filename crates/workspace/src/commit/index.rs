//! What an index of git says: its entries. The times and numbers of files that it keeps beside them are there to be quick, and
//! every `git status` of the user's writes them anew.
//!
//! Source: gitformat-index(5).

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::ops::Range;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::own;

/// Largest file of git's own that is looked at, in bytes; an index of it has some 500,000 entries.
pub(super) const LARGEST: u64 = 64 << 20;
/// Bytes of the name of an object, and of the checksum at the end.
pub(super) const SHA1: usize = 20;
pub(super) const SHA256: usize = 32;
/// Bytes of an entry before the name of its object; flags follow that, in version 3 perhaps two more bytes of them, and the path.
const STAT: usize = 40;
/// Of those: the mode. All others are times and numbers.
const MODE: Range<usize> = 24..28;
const EXTENDED: u16 = 0x4000;
/// Directories inside each other that are followed. Protects the stack.
const DEEPEST: usize = 512;
/// Bytes before the entries: mark, version, how many.
const HEAD: usize = 12;

/// What stands in an index.
pub(super) enum Part<'a> {
    Entry(Entry<'a>),
    Extension { at: usize, name: &'a [u8], content: &'a [u8] },
}

/// A file that git knows.
pub(super) struct Entry<'a> {
    /// Where it begins.
    at: usize,
    /// How many bytes of the name before it begins with, before what follows; nothing before version 4.
    kept: usize,
    name: &'a [u8],
    pub flags: u16,
    /// Nothing before version 3, and as a rule.
    pub more_flags: u16,
    mode: &'a [u8],
    object_and_flags: &'a [u8],
    /// With its end, and what stands before it.
    path: &'a [u8],
}

/// Go over an index whose objects have names of so many bytes; `None` when it is none, or has anything else in it.
pub(super) fn walk<'a>(index: &'a [u8], object: usize, each: &mut dyn FnMut(Part<'a>)) -> Option<()> {
    let (version, count) = (four(index, 4)?, four(index, 8)?);
    if !index.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return None;
    }
    let fixed = STAT + object + 2;
    let (mut at, mut length) = (HEAD, 0usize);
    for _ in 0..count {
        let entry = index.get(at..)?;
        let flags = two(entry, fixed - 2)?;
        let is_extended = version >= 3 && flags & EXTENDED != 0;
        let mut name = if is_extended { fixed + 2 } else { fixed };
        let mut dropped = 0usize;
        if version == 4 {
            // How much of the end of the name before goes, as git writes offsets: seven bits a byte.
            let bytes = entry.get(name..)?.iter().position(|b| b & 0x80 == 0)? + 1;
            for (n, byte) in entry.get(name..name + bytes)?.iter().enumerate() {
                let before = if n == 0 { 0 } else { dropped.checked_add(1)?.checked_mul(128)? };
                dropped = before.checked_add(usize::from(byte & 0x7f))?;
            }
            name += bytes;
        }
        let end = name + entry.get(name..)?.iter().position(|b| *b == 0)?;
        let kept = if version == 4 { length.checked_sub(dropped)? } else { 0 };
        length = kept + end - name;
        each(Part::Entry(Entry {
            at,
            kept,
            name: entry.get(name..end)?,
            flags,
            more_flags: if is_extended { two(entry, fixed)? } else { 0 },
            mode: entry.get(MODE)?,
            object_and_flags: entry.get(STAT..fixed)?,
            path: entry.get(fixed..=end)?,
        }));
        at += if version == 4 { end + 1 } else { end / 8 * 8 + 8 };
    }
    let checksum = index.len().checked_sub(object)?;
    while at < checksum {
        let size = usize::try_from(four(index, at + 4)?).ok()?;
        let end = (at + 8).checked_add(size)?;
        each(Part::Extension { at, name: index.get(at..at + 4)?, content: index.get(at + 8..end)? });
        at = end;
    }
    (at == checksum).then_some(())
}

/// Whether what an index has beside its entries, to be quick, is what they say: trees that stand for directories, and where entries
/// and the rest begin. What git found of the directory (names that it does not know, what a monitor saw) is nobody's to bring.
/// `None` when it is no index whose objects have names of so many bytes.
pub(super) fn is_sound(index: &[u8], object: usize) -> Option<bool> {
    let mut entries = Trees { object, path: Vec::new(), entries: Vec::new() };
    let (mut trees, mut is_sound, mut is_shared) = (None, true, false);
    let mut starts = Vec::new();
    let mut rest = None;
    walk(index, object, &mut |part| match part {
        Part::Entry(entry) => {
            starts.push(entry.at);
            is_sound &= entries.add(&entry);
        }
        Part::Extension { at, name, content } => {
            let begins = *rest.get_or_insert(at);
            match name {
                b"TREE" => trees = Some(content),
                b"link" => is_shared = true,
                b"UNTR" | b"FSMN" => is_sound = false,
                b"EOIE" => is_sound &= four(content, 0).is_some_and(|at| at as usize == begins),
                b"IEOT" => is_sound &= begin_so(content, &starts),
                _ => {}
            }
        }
    })?;
    Some(is_sound && trees.is_none_or(|trees| !is_shared && entries.are(trees)))
}

/// Whether blocks of entries begin where they do, each by its offset and how many it has.
fn begin_so(blocks: &[u8], starts: &[usize]) -> bool {
    let mut number = 0usize;
    let is_so = blocks.get(4..).unwrap_or_default().chunks(8).all(|block| {
        let (Some(at), Some(count)) = (four(block, 0), four(block, 4)) else { return false };
        let begins = starts.get(number) == Some(&(at as usize));
        number = number.saturating_add(count as usize);
        begins
    });
    is_so && number == starts.len()
}

/// By the path of a directory, which ends with `/` but for the first: how many entries are below it, and the name of its tree.
type Made = HashMap<Vec<u8>, (usize, Vec<u8>)>;

/// The entries of an index as the trees that git would make of them.
struct Trees<'a> {
    object: usize,
    /// Of the last entry.
    path: Vec<u8>,
    entries: Vec<(Vec<u8>, u32, &'a [u8])>,
}

impl<'a> Trees<'a> {
    fn add(&mut self, entry: &Entry<'a>) -> bool {
        self.path.truncate(entry.kept);
        self.path.extend_from_slice(entry.name);
        let object = entry.object_and_flags.get(..self.object);
        let (Some(mode), Some(object)) = (four(entry.mode, 0), object) else { return false };
        self.entries.push((self.path.clone(), mode, object));
        true
    }

    /// Whether each tree that stands for a directory is that directory, with as many entries.
    fn are(&self, mut trees: &[u8]) -> bool {
        let mut made = Made::new();
        self.tree(0, 0..self.entries.len(), &mut made, 0);
        self.are_below(&mut trees, &mut Vec::new(), &made, 0).is_some() && trees.is_empty()
    }

    fn are_below(&self, trees: &mut &[u8], path: &mut Vec<u8>, made: &Made, depth: usize) -> Option<()> {
        let mut until = |end: u8| {
            let at = trees.iter().position(|b| *b == end)?;
            let (taken, rest) = trees.split_at_checked(at)?;
            *trees = rest.get(1..)?;
            Some(taken)
        };
        let name = until(0)?;
        let count: i64 = std::str::from_utf8(until(b' ')?).ok()?.parse().ok()?;
        let below: usize = std::str::from_utf8(until(b'\n')?).ok()?.parse().ok()?;
        let length = path.len();
        path.extend_from_slice(name);
        if !path.is_empty() {
            path.push(b'/');
        }
        // One that is out of date has no name.
        if let Ok(count) = usize::try_from(count) {
            let (object, rest) = trees.split_at_checked(self.object)?;
            *trees = rest;
            let (entries, known) = made.get(path)?;
            if *entries != count || known != object {
                return None;
            }
        }
        for _ in 0..below {
            if depth >= DEEPEST {
                return None;
            }
            self.are_below(trees, path, made, depth + 1)?;
        }
        path.truncate(length);
        Some(())
    }

    /// The name of the tree of these entries, whose paths begin with as many bytes of their directory.
    fn tree(&self, prefix: usize, range: Range<usize>, made: &mut Made, depth: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut at = range.start;
        while let Some((path, mode, object)) = self.entries.get(at).filter(|_| at < range.end) {
            let rest = path.get(prefix..).unwrap_or_default();
            match rest.iter().position(|b| *b == b'/') {
                // A directory that is not checked out is an entry itself.
                Some(end) if end + 1 == rest.len() => {
                    add(&mut content, *mode, rest.get(..end).unwrap_or_default(), object);
                    at += 1;
                }
                Some(end) if depth < DEEPEST => {
                    let folder = path.get(..=prefix + end).unwrap_or_default();
                    let inside = self.entries.get(at..range.end).unwrap_or_default();
                    let inside = inside.iter().take_while(|(path, ..)| path.starts_with(folder)).count();
                    let tree = self.tree(folder.len(), at..at + inside, made, depth + 1);
                    add(&mut content, 0o40_000, rest.get(..end).unwrap_or_default(), &tree);
                    at += inside;
                }
                _ => {
                    add(&mut content, *mode, rest, object);
                    at += 1;
                }
            }
        }
        let head = format!("tree {}\0", content.len());
        let name = if self.object == SHA1 {
            Sha1::new().chain_update(head).chain_update(&content).finalize().to_vec()
        } else {
            Sha256::new().chain_update(head).chain_update(&content).finalize().to_vec()
        };
        let folder = self.entries.get(range.start).and_then(|(path, ..)| path.get(..prefix));
        made.insert(folder.unwrap_or_default().to_vec(), (range.len(), name.clone()));
        name
    }
}

fn add(tree: &mut Vec<u8>, mode: u32, name: &[u8], object: &[u8]) {
    tree.extend_from_slice(format!("{mode:o} ").as_bytes());
    tree.extend_from_slice(name);
    tree.push(0);
    tree.extend_from_slice(object);
}

/// The paths of the entries that are readable as text; none of what is no index, and for one that is kept in parts those of this part.
pub(super) fn names(index: &[u8]) -> BTreeSet<String> {
    let of = |object: usize| {
        let (mut names, mut path) = (BTreeSet::new(), Vec::new());
        walk(index, object, &mut |part| {
            let Part::Entry(entry) = part else { return };
            path.truncate(entry.kept);
            path.extend_from_slice(entry.name);
            names.extend(std::str::from_utf8(&path).map(str::to_owned));
        })?;
        Some(names)
    };
    [SHA1, SHA256].into_iter().find_map(of).unwrap_or_default()
}

/// A digest of the entries of what is an index by its name and content; nothing for all else, and for one that is kept in parts.
pub(super) fn says(path: &str, file: &File) -> Option<String> {
    if path.rsplit('/').next() != Some("index") {
        return None;
    }
    let most = usize::try_from(LARGEST).ok()?;
    let bytes = own::read(file, most).filter(|bytes| bytes.len() < most)?;
    entries(&bytes).map(hex::encode)
}

fn entries(index: &[u8]) -> Option<[u8; 32]> {
    let mut digest = Sha256::new_with_prefix(index.get(..HEAD)?);
    let mut is_shared = false;
    walk(index, SHA1, &mut |part| match part {
        Part::Entry(Entry { mode, object_and_flags, path, .. }) => {
            [mode, object_and_flags, path].iter().for_each(|said| digest.update(said));
        }
        Part::Extension { name: b"link", .. } => is_shared = true,
        // What only makes it quick has a name that begins with a capital letter; the rest says something.
        Part::Extension { name, content, .. } if !name.first().is_some_and(u8::is_ascii_uppercase) => {
            digest.update(name);
            digest.update(content);
        }
        Part::Extension { .. } => {}
    })?;
    (!is_shared).then(|| digest.finalize().into())
}

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn git(at: &Path, arguments: &[&str]) {
        let run = Command::new("git").args(arguments).current_dir(at).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    #[test]
    fn trees_that_an_index_keeps_are_those_of_its_entries() {
        if Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED trees_that_an_index_keeps_are_those_of_its_entries: no git");
            return;
        }
        for (format, object) in [("sha1", SHA1), ("sha256", SHA256)] {
            let place = tempfile::tempdir().unwrap();
            let at = |name: &str| place.path().join(name);
            git(place.path(), &["init", "-q", "--object-format", format]);
            for (folder, name) in
                [("a/b", "x"), ("a/b", "y"), ("a", "b.txt"), ("a-b", "z"), (".", "top"), ("\u{e4}", "u")]
            {
                std::fs::create_dir_all(at(folder)).unwrap();
                std::fs::write(at(folder).join(name), name).unwrap();
            }
            git(place.path(), &["add", "."]);
            git(place.path(), &["update-index", "--chmod=+x", "top"]);
            let bytes = || std::fs::read(at(".git/index")).unwrap();
            for version in ["2", "3", "4"] {
                git(place.path(), &["update-index", "--index-version", version]);
                git(place.path(), &["write-tree"]);
                let sound = bytes();
                assert_eq!(is_sound(&sound, object), Some(true), "{format} {version}");
                // Another tree for a directory, and another number of entries.
                let tree = sound.windows(4).position(|w| w == b"TREE").unwrap() + 8;
                for place in tree..sound.len() - object {
                    let mut forged = sound.clone();
                    forged[place] ^= 1;
                    assert_ne!(is_sound(&forged, object), Some(true), "{format} {version} {place}");
                }
                // A directory that changed has no tree until the next commit.
                std::fs::write(at("a/b/x"), version).unwrap();
                git(place.path(), &["add", "a/b/x"]);
                assert_eq!(is_sound(&bytes(), object), Some(true), "{format} {version} out of date");
            }
            git(place.path(), &["update-index", "--force-untracked-cache"]);
            git(place.path(), &["status"]);
            assert_eq!(is_sound(&bytes(), object), Some(false));
        }
    }

    #[test]
    fn an_index_says_its_entries_and_not_when_they_were_looked_at() {
        if Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED an_index_says_its_entries_and_not_when_they_were_looked_at: no git");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        git(place.path(), &["init", "-q"]);
        std::fs::create_dir(at("some")).unwrap();
        for name in ["a", "some/longer.txt", "some/longest.txt", "z"] {
            std::fs::write(at(name), name).unwrap();
        }
        git(place.path(), &["add", "."]);
        let said = || says(".git/index", &File::open(at(".git/index")).unwrap());
        let bytes = || std::fs::read(at(".git/index")).unwrap();
        for version in ["2", "3", "4"] {
            git(place.path(), &["update-index", "--index-version", version]);
            let (before, was) = (said().unwrap(), bytes());
            // The same file anew, a cache of trees: other bytes that say the same.
            std::fs::write(at("new"), "a").unwrap();
            std::fs::rename(at("new"), at("a")).unwrap();
            git(place.path(), &["status"]);
            git(place.path(), &["write-tree"]);
            assert_eq!(said().unwrap(), before, "{version}");
            assert_ne!(bytes(), was, "{version}");
            for change in [
                ["update-index", "--chmod=+x", "a"],
                ["update-index", "--assume-unchanged", "z"],
                ["update-index", "--skip-worktree", "z"],
                ["rm", "--cached", "some/longer.txt"],
            ] {
                git(place.path(), &change);
                assert_ne!(said().unwrap(), before, "{version}: {change:?}");
                std::fs::write(at(".git/index"), &was).unwrap();
                assert_eq!(said().unwrap(), before);
            }
            std::fs::write(at("z"), "other").unwrap();
            git(place.path(), &["add", "z"]);
            assert_ne!(said().unwrap(), before, "{version}");
            std::fs::write(at("z"), "z").unwrap();
            git(place.path(), &["add", "z"]);
        }
        git(place.path(), &["update-index", "--split-index"]);
        assert_eq!(said(), None);
        for none in ["", "DIRC", "text"] {
            std::fs::write(at("index"), none).unwrap();
            assert_eq!(says("index", &File::open(at("index")).unwrap()), None);
        }
        std::fs::write(at("other"), bytes()).unwrap();
        assert_eq!(says("other", &File::open(at("other")).unwrap()), None);
    }
}

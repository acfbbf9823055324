//! What an index of git says: its entries. The times and numbers of files that it keeps beside them are there to be quick, and
//! every `git status` of the user's writes them anew.
//!
//! Source: gitformat-index(5).

use std::fs::File;

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
const MODE: std::ops::Range<usize> = 24..28;
const EXTENDED: u16 = 0x4000;
/// Bytes before the entries: mark, version, how many.
const HEAD: usize = 12;

/// What stands in an index.
pub(super) enum Part<'a> {
    Entry(Entry<'a>),
    Extension { name: &'a [u8], content: &'a [u8] },
}

/// A file that git knows.
pub(super) struct Entry<'a> {
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
    let mut at = HEAD;
    for _ in 0..count {
        let entry = index.get(at..)?;
        let flags = two(entry, fixed - 2)?;
        let is_extended = version >= 3 && flags & EXTENDED != 0;
        let mut name = if is_extended { fixed + 2 } else { fixed };
        if version == 4 {
            // How much of the name before is kept, as a number of seven bits a byte.
            name += entry.get(name..)?.iter().position(|b| b & 0x80 == 0)? + 1;
        }
        let end = name + entry.get(name..)?.iter().position(|b| *b == 0)?;
        each(Part::Entry(Entry {
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
        each(Part::Extension { name: index.get(at..at + 4)?, content: index.get(at + 8..end)? });
        at = end;
    }
    (at == checksum).then_some(())
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
        Part::Extension { name, content } if !name.first().is_some_and(u8::is_ascii_uppercase) => {
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

//! What an index of git says: its entries. The times and numbers of files that it keeps beside them are there to be quick, and
//! every `git status` of the user's writes them anew.
//!
//! Source: gitformat-index(5).

use std::fs::File;

use sha2::{Digest, Sha256};

use super::git::LARGEST;
use super::own;

/// Bytes of an entry before its name; version 3 may have two more.
const ENTRY: usize = 62;
/// Where what an entry says begins: its mode, then after times and numbers its object and flags.
const MODE: std::ops::Range<usize> = 24..28;
const OBJECT_AND_FLAGS: std::ops::Range<usize> = 40..62;
const EXTENDED: u16 = 0x4000;
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 20;

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
    let (version, count) = (four(index, 4)?, four(index, 8)?);
    if !index.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return None;
    }
    let mut digest = Sha256::new_with_prefix(index.get(..12)?);
    let mut at = 12;
    for _ in 0..count {
        let entry = index.get(at..)?;
        digest.update(entry.get(MODE)?);
        digest.update(entry.get(OBJECT_AND_FLAGS)?);
        let flags = entry.get(ENTRY - 2..ENTRY)?.first_chunk().map(|b| u16::from_be_bytes(*b))?;
        let mut name = if version >= 3 && flags & EXTENDED != 0 { ENTRY + 2 } else { ENTRY };
        let said = ENTRY;
        if version == 4 {
            // How much of the name before is kept, as a number of seven bits a byte.
            name += entry.get(name..)?.iter().position(|b| b & 0x80 == 0)? + 1;
        }
        let end = name + entry.get(name..)?.iter().position(|b| *b == 0)?;
        digest.update(entry.get(said..=end)?);
        at += if version == 4 { end + 1 } else { end / 8 * 8 + 8 };
    }
    // What only makes it quick has a name that begins with a capital letter; the rest says something.
    let end = index.len().checked_sub(CHECKSUM)?;
    while at < end {
        let (name, size) = (index.get(at..at + 4)?, usize::try_from(four(index, at + 4)?).ok()?);
        let content = index.get(at + 8..(at + 8).checked_add(size)?)?;
        if !name.first()?.is_ascii_uppercase() {
            if name == b"link" {
                return None;
            }
            digest.update(name);
            digest.update(content);
        }
        at += 8 + size;
    }
    (at == end).then(|| digest.finalize().into())
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

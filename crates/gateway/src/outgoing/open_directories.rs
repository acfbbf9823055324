//! Directories that a session may read without asking for each file: staged and read-only ones. Their files are remembered when
//! something is first looked at that leaves, since until then nobody needs it, and most sessions send nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

/// Objects that are looked at in one directory. Protects the time of the first request.
const MOST_OBJECTS: usize = 50_000;
/// Bytes that are remembered of all files of one directory: beyond them fingerprints would only thin out.
const MOST_BYTES: u64 = 128 << 20;
/// Bytes that are remembered of one file.
pub(super) const MOST_OF_A_FILE: u64 = 32 << 20;
/// Directories within directories.
const DEEPEST: usize = 128;

/// A directory as the agent sees it.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    /// Its place in the cell.
    pub at: String,
    pub root: OwnedFd,
}

/// What a walk left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub files: u64,
    /// There is more than was even counted.
    pub more: bool,
}

impl LeftOut {
    pub(super) fn is_something(self) -> bool {
        self.files > 0 || self.more
    }
}

impl OpenDirectory {
    /// Hands every file to `take`, by its path in the cell, smaller ones of a directory first where a limit cuts.
    pub(super) fn files(&self, mut take: impl FnMut(String, File, u64)) -> LeftOut {
        let mut left_out = LeftOut::default();
        let (mut objects, mut bytes) = (0, 0);
        let mut directories = vec![(PathBuf::new(), 0)];
        while let Some((path, depth)) = directories.pop() {
            // What cannot be opened here the agent cannot open either.
            let Ok(directory) = self.open(&path, OFlags::DIRECTORY) else { continue };
            let Ok(mut found) = list(&directory) else { continue };
            found.sort_by_key(|(_, _, size)| *size);
            for (name, kind, size) in found {
                objects += 1;
                if objects > MOST_OBJECTS {
                    return LeftOut { more: true, ..left_out };
                }
                let below = path.join(name);
                match kind {
                    FileType::Directory if depth < DEEPEST => directories.push((below, depth + 1)),
                    FileType::RegularFile if size > 0 => {
                        bytes += size.min(MOST_OF_A_FILE);
                        if bytes > MOST_BYTES {
                            left_out.files += 1;
                        } else if let Ok(file) = self.open(&below, OFlags::NONBLOCK) {
                            take(
                                format!("{}/{}", self.at, below.display()),
                                File::from(file),
                                size.min(MOST_OF_A_FILE),
                            );
                        }
                    }
                    _ => {}
                }
            }
        }
        left_out
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.root, path, flags, Mode::empty(), beneath)?)
    }
}

/// Names, kinds and sizes.
fn list(directory: &OwnedFd) -> io::Result<Vec<(OsString, FileType, u64)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || found.len() >= MOST_OBJECTS {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        found.push((
            OsStr::from_bytes(name.to_bytes()).to_owned(),
            FileType::from_raw_mode(stat.st_mode),
            size,
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &std::path::Path) -> OpenDirectory {
        OpenDirectory { at: "/workspace".into(), root: File::open(path).unwrap().into() }
    }

    #[test]
    fn every_file_is_handed_on_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("a/b/plan.md"), "the plan").unwrap();
        std::fs::write(place.path().join("notes"), "x").unwrap();
        std::fs::write(place.path().join("empty"), "").unwrap();
        std::os::unix::fs::symlink(secret.path(), place.path().join("link")).unwrap();
        std::os::unix::fs::symlink("a", place.path().join("loop")).unwrap();
        let mut names = Vec::new();
        let left_out = opened(place.path()).files(|name, _, len| names.push((name, len)));
        names.sort();
        assert_eq!(names, [("/workspace/a/b/plan.md".to_owned(), 8), ("/workspace/notes".to_owned(), 1)]);
        assert!(!left_out.is_something());
    }

    #[test]
    fn what_a_limit_cuts_is_told() {
        let place = tempfile::tempdir().unwrap();
        for i in 0..6 {
            // Holes: their length counts, and they are not read here.
            File::create(place.path().join(format!("{i}"))).unwrap().set_len(40 << 20).unwrap();
        }
        let mut taken = 0;
        let left_out = opened(place.path()).files(|_, _, _| taken += 1);
        assert_eq!((taken, left_out), (4, LeftOut { files: 2, more: false }));
    }
}

//! The names in a directory: looked at, and held while it is open.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use chaperone_names::{name_as_text, native};
use chaperone_quota::{Exceeded, Held, Quota};
use rustix::fs::{AtFlags, DirEntry, FileType, OFlags};

use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::journal::Entry;
use crate::object::{Attributes, FileVersion, ListingVersion, Located, ObjectId, from_stat};
use crate::tree::{Errno, Result, State, Tree, hidden_by_parent, join};

/// Entries of one listed directory. Protects memory; beyond it the listing fails with `EOVERFLOW`.
const MAX_LISTED: usize = 1_000_000;

/// The names of an open directory, as they were when it was opened. What they are is looked at when it is asked for: it may be another
/// thing by then.
pub(crate) struct Listing {
    pub names: Vec<Name>,
    /// The directory that was listed, where that can be told from another one.
    pub version: Option<ListingVersion>,
    /// The same of the user's, which it has to be for what its names are.
    pub of: Option<FileVersion>,
    pub made: Instant,
    _held: Held,
}

/// A name, and what a directory itself says of it.
#[derive(Debug)]
pub(crate) struct Name {
    pub text: String,
    pub ino: u64,
    /// The highest bits of a mode.
    pub kind: u32,
}

impl Listing {
    /// # Errors
    /// When the session holds as much as it may.
    pub fn new(
        names: Vec<Name>,
        (version, of): (Option<ListingVersion>, Option<FileVersion>),
        quota: &Arc<Quota>,
    ) -> std::result::Result<Self, Exceeded> {
        let memory = names.iter().map(|name| size_of::<Name>() + name.text.capacity()).sum::<usize>() as u64;
        Ok(Self { names, version, of, made: Instant::now(), _held: quota.take(memory, 0)? })
    }
}

/// The directory of the user's that was decided on, if it is one of the user's.
fn of_user(decided: &Decided) -> Option<FileVersion> {
    match decided.located().identity().object {
        ObjectId::User(version) => Some(version),
        ObjectId::Absent | ObjectId::Blob(_) | ObjectId::Staged => None,
    }
}

impl Tree {
    /// Identifies the names in a directory in and below which nothing is staged; any other has no version.
    pub(crate) fn listing_version(&self, at: &Located) -> Option<ListingVersion> {
        let path = at.path();
        let state = self.lock();
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let next = state.entries.range(below.clone()..).next();
        let touched = next.is_some_and(|(staged, _)| staged.starts_with(&below))
            || state.entries.contains_key(path)
            || hidden_by_parent(&state, path);
        // What changed since it was located is another version the next time.
        at.object().filter(|_| !touched).map(|object| ListingVersion::of(&object))
    }

    /// The names in a directory with what they are.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ESTALE` when another directory has the name by now, `EOVERFLOW` for more than a million names.
    pub fn list(&self, decided: &Decided) -> Result<Vec<(String, Attributes)>> {
        let state = self.lock();
        let path = self.still_decided(&state, decided)?;
        let mut names = self.names_in(&state, path, of_user(decided), attributes_at, |seen| seen)?;
        for (name, seen) in &mut names {
            *seen = Self::over(&state, &join(path, name), *seen);
        }
        Ok(names)
    }

    /// The names in a directory, and the directory of the user's that they are of.
    ///
    /// # Errors
    /// As [`Tree::list`].
    pub(crate) fn names(&self, decided: &Decided) -> Result<(Vec<Name>, Option<FileVersion>)> {
        let state = self.lock();
        let path = self.still_decided(&state, decided)?;
        let of = of_user(decided);
        let staged = |seen: Attributes| (seen.object.ino, seen.mode >> 12);
        let names = self.names_in(&state, path, of, said_of, staged)?;
        let name = |(text, (ino, kind)): (String, (u64, u32))| {
            let ino = state.shown_number(&join(path, &text)).unwrap_or(ino);
            Name { text, ino, kind }
        };
        Ok((names.into_iter().map(name).collect(), of))
    }

    /// What these names of a directory are now, where they still are in the directory that was listed.
    pub(crate) fn now<'n>(
        &self,
        path: &str,
        of: Option<FileVersion>,
        names: impl Iterator<Item = &'n Name>,
    ) -> Vec<Option<Attributes>> {
        let state = self.lock();
        let shows_base = shows_base(&state, path);
        let folder = if shows_base { self.base_folder(path, of) } else { Ok(None) };
        let look = |name: &Name| {
            let below = join(path, &name.text);
            let seen = match (state.entries.get(&below), &folder) {
                (None | Some(Entry::Base), Ok(Some(folder))) => {
                    attributes_of(folder, &CString::new(native(&name.text).as_bytes()).ok()?)
                }
                (None | Some(Entry::Base), _) => None,
                (Some(_), _) => self.attributes_in(&state, &below).ok(),
            };
            seen.map(|seen| Self::over(&state, &below, seen))
        };
        names.map(look).collect()
    }

    /// The path of a directory, which is the one that was decided on.
    fn still_decided<'d>(&self, state: &State, decided: &'d Decided) -> Result<&'d str> {
        let at = decided.for_one_of(&[ChangeKind::List])?;
        if !at.object().ok_or(Errno::NOENT)?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        match state.generations.of(at.path()) == at.identity().generation {
            true => Ok(at.path()),
            false => Err(Errno::STALE),
        }
    }

    pub(crate) fn list_in(&self, state: &State, path: &str) -> Result<Vec<(String, Attributes)>> {
        if !self.attributes_in(state, path)?.object.is_dir() {
            return Err(Errno::NOTDIR);
        }
        self.names_in(state, path, None, attributes_at, |seen| seen)
    }

    /// The names in a directory; in this one of the user's, if it has to be a certain one. What is said of them is taken of the
    /// user's, and of what is staged.
    fn names_in<T>(
        &self,
        state: &State,
        path: &str,
        certain: Option<FileVersion>,
        of_base: impl Fn(&OwnedFd, &DirEntry) -> Option<T>,
        of_staged: impl Fn(Attributes) -> T,
    ) -> Result<Vec<(String, T)>> {
        let mut names = BTreeMap::new();
        let folder = if shows_base(state, path) { self.base_folder(path, certain)? } else { None };
        if let Some(folder) = &folder {
            for entry in rustix::fs::Dir::read_from(folder)? {
                let entry = entry?;
                let own = entry.file_name().to_bytes();
                if matches!(own, b"." | b"..") {
                    continue;
                }
                if let Some(said) = of_base(folder, &entry) {
                    names.insert(name_as_text(own).into_owned(), said);
                }
                if names.len() > MAX_LISTED {
                    return Err(Errno::OVERFLOW);
                }
            }
        }
        for (child, entry) in children(&state.entries, path) {
            if matches!(entry, Entry::Base) {
                continue;
            }
            match self.attributes_in(state, &join(path, child)) {
                Ok(seen) => drop(names.insert(child.to_owned(), of_staged(seen))),
                Err(_) => drop(names.remove(child)),
            }
        }
        Ok(names.into_iter().collect())
    }

    /// A directory of the user's, open; nothing where there is none.
    fn base_folder(&self, path: &str, certain: Option<FileVersion>) -> Result<Option<OwnedFd>> {
        let folder = match self.base_open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) if certain.is_some() => return Err(Errno::STALE),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(e),
        };
        match certain {
            Some(version) if !version.is_object(&rustix::fs::fstat(&folder)?) => Err(Errno::STALE),
            _ => Ok(Some(folder)),
        }
    }
}

/// Whether what the user has in a directory shows.
fn shows_base(state: &State, path: &str) -> bool {
    !matches!(state.entries.get(path), Some(Entry::Dir { opaque: true, .. }))
        && !hidden_by_parent(state, path)
}

fn attributes_at(folder: &OwnedFd, entry: &DirEntry) -> Option<Attributes> {
    attributes_of(folder, entry.file_name())
}

fn attributes_of(folder: &OwnedFd, name: &CStr) -> Option<Attributes> {
    let seen = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    seen.and_then(|stat| from_stat(&stat, false)).ok()
}

/// The number and the kind that a directory itself tells of a name, without a look at the file.
fn said_of(folder: &OwnedFd, entry: &DirEntry) -> Option<(u64, u32)> {
    let kind = match entry.file_type() {
        FileType::RegularFile => 0o10,
        FileType::Directory => 0o4,
        FileType::Symlink => 0o12,
        FileType::Unknown => {
            return attributes_at(folder, entry).map(|seen| (seen.object.ino, seen.mode >> 12));
        }
        // As `from_stat` says.
        _ => return None,
    };
    Some((entry.ino(), kind))
}

/// The staged entries directly in a directory, by name.
fn children<'a>(entries: &'a BTreeMap<String, Entry>, folder: &str) -> Vec<(&'a str, &'a Entry)> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    entries
        .range(prefix.clone()..)
        .take_while(|(p, _)| p.starts_with(&prefix))
        .filter_map(|(p, e)| {
            let rest = p.get(prefix.len()..)?;
            (!rest.is_empty() && !rest.contains('/')).then_some((rest, e))
        })
        .collect()
}

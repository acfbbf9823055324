//! The names in a directory: looked at, and held while it is open.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use chaperone_names::name_as_text;
use chaperone_quota::{Exceeded, Held, Quota};
use rustix::fs::{AtFlags, OFlags};

use crate::decided::Decided;
use crate::gate::ChangeKind;
use crate::journal::Entry;
use crate::object::{Attributes, FileVersion, ListingVersion, Located, ObjectId, from_stat};
use crate::tree::{Errno, Result, State, Tree, hidden_by_parent, join};

/// Entries of one listed directory. Protects memory; beyond it the listing fails with `EOVERFLOW`.
const MAX_LISTED: usize = 1_000_000;

/// The entries of an open directory, as they were when it was opened.
pub(crate) struct Listing {
    pub names: Vec<(String, Attributes)>,
    /// The directory that was listed, where that can be told from another one.
    pub version: Option<ListingVersion>,
    pub made: Instant,
    _held: Held,
}

impl Listing {
    /// # Errors
    /// When the session holds as much as it may.
    pub fn new(
        names: Vec<(String, Attributes)>,
        version: Option<ListingVersion>,
        quota: &Arc<Quota>,
    ) -> std::result::Result<Self, Exceeded> {
        let each = |(name, _): &(String, Attributes)| size_of::<(String, Attributes)>() + name.capacity();
        let memory = names.iter().map(each).sum::<usize>() as u64;
        Ok(Self { names, version, made: Instant::now(), _held: quota.take(memory, 0)? })
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
        let at = decided.for_one_of(&[ChangeKind::List])?;
        let (path, identity) = (at.path(), at.identity());
        let state = self.lock();
        if !at.object().ok_or(Errno::NOENT)?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if state.generations.of(path) != identity.generation {
            return Err(Errno::STALE);
        }
        let version = match identity.object {
            ObjectId::User(version) => Some(version),
            ObjectId::Absent | ObjectId::Blob(_) | ObjectId::Staged => None,
        };
        let mut names = self.names_in(&state, path, version)?;
        for (name, seen) in &mut names {
            *seen = Self::over(&state, &join(path, name), *seen);
        }
        Ok(names)
    }

    pub(crate) fn list_in(&self, state: &State, path: &str) -> Result<Vec<(String, Attributes)>> {
        if !self.attributes_in(state, path)?.object.is_dir() {
            return Err(Errno::NOTDIR);
        }
        self.names_in(state, path, None)
    }

    /// The names in a directory; in this one of the user's, if it has to be a certain one.
    fn names_in(
        &self,
        state: &State,
        path: &str,
        certain: Option<FileVersion>,
    ) -> Result<Vec<(String, Attributes)>> {
        let mut names = BTreeMap::new();
        let shows_base = !matches!(state.entries.get(path), Some(Entry::Dir { opaque: true, .. }))
            && !hidden_by_parent(state, path);
        let folder = if shows_base { self.base_folder(path, certain)? } else { None };
        if let Some(folder) = &folder {
            for entry in rustix::fs::Dir::read_from(folder)? {
                let entry = entry?;
                let own = entry.file_name();
                if matches!(own.to_bytes(), b"." | b"..") {
                    continue;
                }
                let seen = rustix::fs::statat(folder, own, AtFlags::SYMLINK_NOFOLLOW);
                if let Ok(seen) = seen.and_then(|stat| from_stat(&stat, false)) {
                    names.insert(name_as_text(own.to_bytes()).into_owned(), seen);
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
                Ok(seen) => drop(names.insert(child.to_owned(), seen)),
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

//! Files that had several names before a commit which an undo takes back: they get their names back as such where that can be,
//! and where not, that is said.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use chaperone_names::name_as_text;
use rustix::fs::{Dir, FileType, OFlags};

use crate::beneath;
use crate::change::{BaseVersion, Change, Kind, SameAs};
use crate::journal::MadeStep;
use crate::plan::{Action, WriteBase};

/// Entries of directories that are looked at for another name of a file.
const LOOKED_AT: usize = 500_000;

/// The version of a file that the first of these steps took away or replaced, as it was before the commit.
pub(crate) fn restored(steps: &[MadeStep<'_>]) -> Option<BaseVersion> {
    let (_, step, done) = steps.first()?;
    let version = match &step.action {
        Action::Remove { base } | Action::Write { base: WriteBase::Version(base) } => *base,
        Action::Write { .. } => done.before?,
        _ => return None,
    };
    (version.kind() == Some(Kind::File)).then_some(version)
}

/// Make of changes that bring back names of one file changes that give them to one file. `names` has the position of each in
/// `changes`, with the version that it brings back.
pub(crate) fn link_again(root: BorrowedFd<'_>, names: &[(usize, BaseVersion)], changes: &mut [Change]) {
    let mut files: HashMap<(u64, u64), Vec<(usize, u64)>> = HashMap::new();
    for (position, version) in names {
        files.entry((version.dev, version.ino)).or_default().push((*position, version.nlink));
    }
    files.retain(|_, names| names.iter().any(|(_, links)| *links > names.len() as u64) || names.len() > 1);
    if files.is_empty() {
        return;
    }
    let comes_back: BTreeSet<String> =
        names.iter().filter_map(|(position, _)| Some(changes.get(*position)?.path.clone())).collect();
    let has_others = |names: &[(usize, u64)]| names.iter().any(|(_, links)| *links > names.len() as u64);
    let wanted = names
        .iter()
        .map(|(_, version)| *version)
        .filter(|version| files.get(&(version.dev, version.ino)).is_some_and(|names| has_others(names)));
    let others = other_names(root, wanted.collect(), &comes_back);
    for (file, names) in &files {
        let mut first = others.get(file).cloned();
        for (position, _) in names {
            let Some(change) = changes.get_mut(*position) else { continue };
            let is_alone = first.is_none() && has_others(names);
            let own = SameAs { path: change.path.clone(), version: None };
            change.same_as = match &first {
                Some(same) => Some(same.clone()),
                // A name of its own that is not there yet is none: it becomes a copy, and that is said.
                None => is_alone.then(|| own.clone()),
            };
            first.get_or_insert(own);
        }
    }
}

/// A name that each of these files has in the tree now, as it was, but those that come back: another file may have its number by now.
fn other_names(
    root: BorrowedFd<'_>,
    mut wanted: Vec<BaseVersion>,
    but: &BTreeSet<String>,
) -> HashMap<(u64, u64), SameAs> {
    let (mut found, mut looked_at) = (HashMap::new(), 0);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop().filter(|_| !wanted.is_empty()) {
        let Some(fd) = open_folder(root, &folder) else { continue };
        let Ok(entries) = Dir::read_from(&fd) else { continue };
        for entry in entries.flatten() {
            let name = &*name_as_text(entry.file_name().to_bytes());
            if matches!(name, "." | "..") {
                continue;
            }
            looked_at += 1;
            if looked_at > LOOKED_AT {
                return found;
            }
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if entry.file_type() == FileType::Directory {
                folders.push(path);
                continue;
            }
            if but.contains(&path) || !wanted.iter().any(|before| before.ino == entry.ino()) {
                continue;
            }
            let Ok(Some(version)) = beneath::version_at(fd.as_fd(), name) else { continue };
            if wanted.iter().any(|before| before.is_same_content(&version)) {
                wanted.retain(|before| (before.dev, before.ino) != (version.dev, version.ino));
                let file = (version.dev, version.ino);
                found.insert(file, SameAs { path, version: Some(version) });
            }
        }
    }
    found
}

fn open_folder(root: BorrowedFd<'_>, folder: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let at = if folder.is_empty() { "." } else { folder };
    beneath::open(root, at, flags).ok()
}

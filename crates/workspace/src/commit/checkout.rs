//! What the user's directory has already: whether it is a source checkout, files of a kind, hosts that its documents load from.

use std::collections::BTreeSet;
use std::fs::File;

use super::own;
use crate::later;
use crate::mount::LiveMount;
use crate::overlay;

/// Names of one directory that are looked at.
const NAMES: usize = 2_000;
/// Documents beside and above a document whose hosts are known, and bytes of each.
const DOCUMENTS: usize = 64;
const DOCUMENT_BYTES: u64 = 1 << 20;
/// What makes a directory a checkout.
const MARKS: &[&str] = &[".git/config", ".git", ".hg/requires", ".jj/repo/store/type"];

/// What the user's own git writes whenever it is used in one.
const INDEX: &str = ".git/index";

/// Whether the path is in a source checkout of the user's. One that an agent made is theirs once their own git wrote there.
pub(super) fn holds(mount: &LiveMount, path: &str) -> bool {
    let is_own = |path: String| own::open(mount, &path).map(|file| !is_marked(&file));
    above(path).any(|directory| {
        let own = |mark: &&str| is_own(below(directory, mark));
        match MARKS.iter().find_map(own) {
            Some(is_own_mark) => is_own_mark || is_own(below(directory, INDEX)) == Some(true),
            None => false,
        }
    })
}

/// Whether a commit marks a new file of that path: what makes a checkout, and the index by which it becomes the user's.
pub(super) fn is_mark(path: &str) -> bool {
    MARKS
        .iter()
        .chain([&INDEX])
        .any(|mark| path.strip_suffix(mark).is_some_and(|above| above.is_empty() || above.ends_with('/')))
}

fn is_marked(file: &File) -> bool {
    rustix::fs::fgetxattr(file, chaperone_staging::MADE_BY_A_COMMIT, &mut [0u8; 8]).is_ok()
}

/// Whether a file that is of this class for the same reason stands there, or in a directory above.
pub(super) fn knows(mount: &LiveMount, class: &str, path: &str) -> bool {
    above(path)
        .any(|directory| names(mount, directory).iter().any(|name| later::is_of_a_kind(class, path, name)))
}

/// The hosts that documents beside and above the path load from.
pub(super) fn hosts(look: own::Look<'_>, mount: &LiveMount, path: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut left = DOCUMENTS;
    for directory in above(path) {
        for name in names(mount, directory) {
            let at = below(directory, &name);
            let is_document = chaperone_inspect::document::kind(&at, b"").is_some();
            let file = own::open(mount, &at).filter(|_| is_document && left > 0);
            if let Some(file) = file.filter(|f| f.metadata().is_ok_and(|m| m.len() <= DOCUMENT_BYTES)) {
                left -= 1;
                known.extend(own::effects(look, &at, &file).reach.unwrap_or_default().hosts());
            }
        }
    }
    known
}

/// The directory of a path and those above it, up to the mount itself, which is the empty path.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |at| {
        (!at.is_empty()).then(|| at.rsplit_once('/').map_or("", |(up, _)| up))
    })
    .skip(1)
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn names(mount: &LiveMount, directory: &str) -> Vec<String> {
    overlay::names(&mount.root, directory).take(NAMES).collect()
}

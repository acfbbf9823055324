//! Where a path is in the store of objects or among the names of a repository, and lookups in an index.
//!
//! Source: gitrepository-layout(5), gitformat-pack(5).

use std::fs::File;

use super::hash::Hash;
use super::read::exactly;

/// A file of a store; the store is the directory `objects`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored<'p> {
    pub store: &'p str,
    pub what: What<'p>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What<'p> {
    /// With its name in two parts.
    Loose(&'p str, &'p str),
    /// A file of a pack, without and with its ending.
    Pack(&'p str, &'p str),
    /// What git computed from the objects, and believes.
    Derived,
}

/// The SHA-256 that a large file has, which git keeps outside of its objects (Git LFS), by its place.
pub(super) fn large(path: &str) -> Option<&str> {
    let (folder, digest) = path.rsplit_once('/')?;
    let (first, second) = (digest.get(..2)?, digest.get(2..4)?);
    let is_one = digest.len() == 64 && folder.ends_with(&format!("/lfs/objects/{first}/{second}"));
    is_one.then_some(digest)
}

pub(super) fn stored(path: &str) -> Option<Stored<'_>> {
    let end = path.rfind("/objects/").map(|at| at + "/objects".len());
    let end = end.or_else(|| path.starts_with("objects/").then_some("objects".len()))?;
    let (store, rest) = (path.get(..end)?, path.get(end + 1..)?);
    let (folder, name) = rest.split_once('/')?;
    let what = match folder {
        "pack" if name.starts_with("multi-pack-index") => What::Derived,
        "pack" => {
            let (stem, ending) = path.rsplit_once('.')?;
            match ending {
                "pack" | "idx" => What::Pack(stem, ending),
                "rev" | "bitmap" | "mtimes" => What::Derived,
                _ => return None,
            }
        }
        "info" if name.starts_with("commit-graph") => What::Derived,
        _ if folder.len() == 2 && folder.bytes().all(|b| b.is_ascii_hexdigit()) && !name.contains('/') => {
            What::Loose(folder, name)
        }
        _ => return None,
    };
    Some(Stored { store, what })
}

/// The store that the names in this file are of, for a file of names.
pub(super) fn store_of_names(path: &str) -> Option<String> {
    let inside =
        path.rfind("/.git/").map(|at| at + 6).or_else(|| path.starts_with(".git/").then_some(5)).unwrap_or(0);
    let rest = path.get(inside..)?;
    let refs = rest.starts_with("refs/").then_some(0).or_else(|| rest.find("/refs/"));
    let git = match (refs, path.rsplit_once('/')) {
        (Some(at), _) => path.get(..inside + at)?.trim_end_matches('/'),
        (None, Some((git, "HEAD" | "packed-refs" | "shallow"))) => git,
        _ => return None,
    };
    // What names were before.
    let is_log =
        git.strip_suffix("/logs").is_some_and(|up| !up.ends_with("/worktrees") && !up.ends_with("/modules"));
    if is_log {
        return None;
    }
    // Another work tree has its HEAD, and the rest where the first has it.
    let git = match git.rsplit_once('/') {
        Some((up, _)) if up.ends_with("/worktrees") => up.strip_suffix("/worktrees")?,
        _ => git,
    };
    Some(format!("{git}/objects"))
}

/// Whether an index of version 2 has an object.
pub(super) fn has(index: &File, id: &[u8]) -> bool {
    look_up(index, id).unwrap_or(false)
}

fn look_up(index: &File, id: &[u8]) -> Option<bool> {
    let width = match id.len() {
        20 | 32 => id.len(),
        _ => return None,
    };
    let count =
        |at: u64| exactly(index, 8 + 4 * at, 4).and_then(|b| b.first_chunk().map(|b| u32::from_be_bytes(*b)));
    let first = u64::from(*id.first()?);
    let mut low = if first == 0 { 0 } else { u64::from(count(first - 1)?) };
    let mut high = u64::from(count(first)?);
    while low < high {
        let middle = low.midpoint(high);
        let name = exactly(index, 8 + 1024 + middle * width as u64, width)?;
        match name.as_slice().cmp(id) {
            std::cmp::Ordering::Equal => return Some(true),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Some(false)
}

/// The objects that an index of version 2 lists, of the pack without its ending; `None` when it is none.
pub(super) fn listed<'i>(index: &'i [u8], stem: &str) -> Option<impl Iterator<Item = &'i [u8]> + use<'i>> {
    const NAMES: usize = 8 + 4 * 256;
    let digits = stem.rsplit_once("/pack-")?.1.len();
    Hash::of_name(digits)?;
    let width = digits / 2;
    let count = index.get(NAMES - 4..NAMES)?.first_chunk().map(|b| u32::from_be_bytes(*b))?;
    let count = usize::try_from(count).ok()?;
    index.starts_with(b"\xfftOc\0\0\0\x02").then_some(())?;
    Some(index.get(NAMES..NAMES.checked_add(count.checked_mul(width)?)?)?.chunks_exact(width))
}

/// The bytes of an object's name; `None` when it is none, or the one that stands for no object.
pub(super) fn id(text: &str) -> Option<Vec<u8>> {
    Hash::of_name(text.len())?;
    let id = hex::decode(text).ok()?;
    id.iter().any(|byte| *byte != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_store_are_known_by_their_places() {
        let of = |path| stored(path).map(|s| (s.store, s.what));
        assert_eq!(of(".git/objects/ab/cd"), Some((".git/objects", What::Loose("ab", "cd"))));
        assert_eq!(
            of("objects/pack/pack-1.idx"),
            Some(("objects", What::Pack("objects/pack/pack-1", "idx")))
        );
        for path in [
            "pack/pack-1.rev",
            "pack/pack-1.bitmap",
            "pack/multi-pack-index",
            "info/commit-graph",
            "info/commit-graphs/graph-1.graph",
            "pack/multi-pack-index-1.bitmap",
        ] {
            let path = format!("a/.git/objects/{path}");
            assert_eq!(stored(&path).map(|s| s.what), Some(What::Derived), "{path}");
        }
        for path in
            [".git/objects/info/packs", ".git/objects/pack/pack-1.keep", "src/objects.rs", ".git/HEAD"]
        {
            assert_eq!(of(path), None, "{path}");
        }
        let names = |path| store_of_names(path).unwrap_or_default();
        assert_eq!(names(".git/refs/heads/a/b"), ".git/objects");
        assert_eq!(names(".git/worktrees/x/HEAD"), ".git/objects");
        assert_eq!(names(".git/modules/x/packed-refs"), ".git/modules/x/objects");
        assert_eq!(names(".git/refs/remotes/origin/HEAD"), ".git/objects");
        assert_eq!(names(".git/refs/heads/logs/refs/x"), ".git/objects");
        assert_eq!(names("a/.git/modules/logs/refs/heads/x"), "a/.git/modules/logs/objects");
        assert_eq!(names("bare.git/refs/heads/x"), "bare.git/objects");
        for path in [
            ".git/index",
            ".git/logs/HEAD",
            ".git/logs/refs/heads/x",
            ".git/worktrees/x/logs/HEAD",
            "src/a.rs",
        ] {
            assert_eq!(store_of_names(path), None, "{path}");
        }
    }
}

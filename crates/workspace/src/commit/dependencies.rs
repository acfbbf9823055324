//! Directories of dependencies of a commit: of each change which one it belongs to, and whether that is new.

use std::collections::BTreeSet;
use std::fs::File;

use chaperone_staging::{Change, Kind, Op};
use rustix::fs::OFlags;
use serde_json::{Map, Value, json};

use super::own;
use crate::later;
use crate::mount::LiveMount;
use crate::overlay;

/// Directories that the user does not have.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    new: BTreeSet<String>,
}

/// The directory of dependencies that a change is in, and its kind: by its name, or by what is in it as of the last look.
pub(super) fn around<'c>(mount: &LiveMount, change: &'c Change) -> Option<(&'c str, &'static str)> {
    around_path(mount, &change.path, change.kind == Kind::Dir)
}

/// The same of a path, which is itself one when `is_dir`.
pub(super) fn around_path<'p>(
    mount: &LiveMount,
    path: &'p str,
    is_dir: bool,
) -> Option<(&'p str, &'static str)> {
    let named = later::dependencies(path, is_dir);
    let installed = mount.installed.lock();
    let mut ends = path.match_indices('/').map(|(at, _)| at).chain(is_dir.then_some(path.len()));
    let held = ends.find_map(|end| path.get(..end).filter(|at| installed.contains(*at)));
    match (named, held.and_then(|at| Some((at, later::kind_by_content()?)))) {
        (Some(named), Some(held)) => Some(if held.0.len() < named.0.len() { held } else { named }),
        (named, held) => named.or(held),
    }
}

/// Directories that are ones of dependencies by what is in them: the user's, or new with these changes. One of the user's own does
/// not become one by a file that is put into it.
pub(super) fn installed(mount: &LiveMount, changes: &[Change]) -> BTreeSet<String> {
    let is_there = |at: &str| overlay::open(&mount.root, at, OFlags::PATH | OFlags::NOFOLLOW).is_ok();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut found = BTreeSet::new();
    for change in changes {
        let made = later::made_dependencies(&change.path).filter(|_| change.op != Op::Delete);
        if let Some(at) = made.filter(|at| !is_there(at)) {
            found.insert(at.to_owned());
        }
        let mut at = change.path.as_str();
        while let Some((up, _)) = at.rsplit_once('/').filter(|(up, _)| seen.insert(up)) {
            let is_own = |mark: &str| is_there(&format!("{up}/{mark}"));
            if later::dependencies(up, true).is_none()
                && is_there(up)
                && later::marks_of_dependencies().any(is_own)
            {
                found.insert(up.to_owned());
            }
            at = up;
        }
    }
    found
}

impl Dependencies {
    pub fn by(mount: &LiveMount, changes: &[Change]) -> Self {
        let roots: BTreeSet<&str> =
            changes.iter().filter_map(|change| around(mount, change)).map(|(at, _)| at).collect();
        let is_there = |at: &str| overlay::open(&mount.root, at, OFlags::PATH | OFlags::NOFOLLOW).is_ok();
        Self { new: roots.into_iter().filter(|at| !is_there(at)).map(str::to_owned).collect() }
    }

    /// Facts about a change.
    pub fn add(
        &self,
        about: &mut Map<String, Value>,
        mount: &LiveMount,
        change: &Change,
        content: Option<&File>,
    ) {
        let Some((at, kind)) = around(mount, change) else { return };
        about.insert("dependencies".into(), json!(kind));
        about.insert("dependencies_new".into(), json!(self.new.contains(at)));
        if change.kind == Kind::File && change.op != Op::Delete {
            let bytes = content.and_then(|file| own::read(file, later::SOURCE_BYTES));
            let whole = bytes.filter(|bytes| bytes.len() < later::SOURCE_BYTES);
            let is_run = later::has_install_step(&change.path, whole.as_deref());
            about.insert("install_step".into(), json!(is_run));
        }
    }
}

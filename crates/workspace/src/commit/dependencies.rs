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

/// The directory of dependencies that a change is in, and its kind.
pub(super) fn around(change: &Change) -> Option<(&str, &'static str)> {
    later::dependencies(&change.path, change.kind == Kind::Dir)
}

impl Dependencies {
    pub fn by(mount: &LiveMount, changes: &[Change]) -> Self {
        let roots: BTreeSet<&str> = changes.iter().filter_map(around).map(|(at, _)| at).collect();
        let is_there = |at: &str| overlay::open(&mount.root, at, OFlags::PATH | OFlags::NOFOLLOW).is_ok();
        Self { new: roots.into_iter().filter(|at| !is_there(at)).map(str::to_owned).collect() }
    }

    /// Facts about a change.
    pub fn add(&self, about: &mut Map<String, Value>, change: &Change, content: Option<&File>) {
        let Some((at, kind)) = around(change) else { return };
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

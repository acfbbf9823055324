//! Names that are known, with their classes, and the reading of what may have more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::own;
use crate::directories;
use crate::mount::LiveMount;

/// Bytes of a file that are read.
const BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// The directory by its names.
    roots: Vec<PathBuf>,
    files: BTreeMap<String, BTreeSet<&'static str>>,
    directories: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Names {
    pub fn of(mount: &LiveMount) -> Self {
        let real = std::fs::canonicalize(&mount.source).ok().filter(|real| *real != mount.source);
        let roots = std::iter::once(mount.source.clone()).chain(real).collect();
        Self { roots, ..Self::default() }
    }

    pub fn file(&mut self, path: String, class: &'static str) {
        self.files.entry(path).or_default().insert(class);
    }

    /// Everything below it, too, but for the directory as a whole, of which what matters is known by its names.
    pub fn directory(&mut self, path: String, class: &'static str) {
        if !path.is_empty() {
            self.directories.entry(path).or_default().insert(class);
        }
    }

    pub fn classes(&self, path: &str, holds: bool) -> BTreeSet<&'static str> {
        let above = std::iter::successors(Some(path), |at| at.rsplit_once('/').map(|(up, _)| up));
        let mut found: BTreeSet<&'static str> = self.files.get(path).into_iter().flatten().copied().collect();
        found.extend(above.filter_map(|at| self.directories.get(at)).flatten());
        if holds {
            let inside = format!("{path}/");
            let named = self.files.iter().chain(&self.directories);
            found
                .extend(named.filter(|(name, _)| name.starts_with(&inside)).flat_map(|(_, classes)| classes));
        }
        found
    }

    /// The paths in the directory that an absolute one means, as it is written and through links.
    pub fn places(&self, path: &Path) -> BTreeSet<String> {
        let plain = directories::plain(path);
        let real = std::fs::canonicalize(&plain).ok();
        let inside = |path: &Path| {
            let below = self.roots.iter().find_map(|root| path.strip_prefix(root).ok())?;
            below.to_str().map(str::to_owned)
        };
        std::iter::once(plain).chain(real).filter_map(|path| inside(&path)).collect()
    }
}

/// The text of a file of the user's by its absolute path.
pub(super) fn text(mount: &LiveMount, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(&mount.source).ok().and_then(Path::to_str);
    let file = inside.and_then(|path| own::open(mount, path)).or_else(|| {
        // What lies in the way of a file may be anything else, which is not waited for.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
        let file: File = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).ok()?;
        file.metadata().is_ok_and(|about| about.is_file()).then_some(file)
    })?;
    own::read(&file, BYTES).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The absolute path that a text means, read in `from`.
pub(super) fn meant(home: Option<&Path>, from: &Path, text: &str) -> Option<PathBuf> {
    let text = text.strip_prefix("%(prefix)").unwrap_or(text);
    let of_home = ["~/", "$HOME/", "${HOME}/"].iter().find_map(|start| text.strip_prefix(start));
    match of_home {
        Some(rest) => home.map(|home| home.join(rest)),
        None => Some(from.join(text)),
    }
}

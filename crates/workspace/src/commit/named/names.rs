//! Names that are known, with their classes, and the reading of what may have more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chaperone_protocol::name_as_text;

use super::super::own;
use crate::directories;
use crate::later;
use crate::mount::LiveMount;

/// Bytes of a file that are read.
const BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// The directory by its names.
    roots: Vec<PathBuf>,
    files: BTreeMap<String, BTreeSet<&'static str>>,
    directories: BTreeMap<String, BTreeSet<&'static str>>,
    /// Names in a directory, with `*`.
    patterns: BTreeMap<(String, String), BTreeSet<&'static str>>,
    /// Of whatever a program may load.
    whole: BTreeSet<&'static str>,
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

    /// What a shell means by a pattern with `*`, `?` and `[` in a directory.
    pub fn pattern(&mut self, directory: String, pattern: &str, class: &'static str) {
        if pattern.contains('/') {
            return self.directory(directory, class);
        }
        let plain = pattern.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest));
        let plain = plain.collect::<Vec<_>>().join("*").replace('?', "*");
        self.patterns.entry((directory, plain)).or_default().insert(class);
    }

    /// Whatever of the directory a program may load.
    pub fn whole(&mut self, class: &'static str) {
        self.whole.insert(class);
    }

    /// Whether the directory is below a path.
    pub fn is_below(&self, path: &Path) -> bool {
        let real = std::fs::canonicalize(path).ok();
        self.roots
            .iter()
            .any(|root| root.starts_with(path) || real.as_ref().is_some_and(|r| root.starts_with(r)))
    }

    /// Whether an absolute path is the directory or in it, as it is written.
    pub fn is_in(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }

    pub fn classes(&self, path: &str, holds: bool) -> BTreeSet<&'static str> {
        let (up, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = std::iter::successors(Some(path), |at| at.rsplit_once('/').map(|(up, _)| up));
        let mut found: BTreeSet<&'static str> = self.files.get(path).into_iter().flatten().copied().collect();
        found.extend(above.filter_map(|at| self.directories.get(at)).flatten());
        let fits = |((directory, pattern), _): &(&(String, String), _)| {
            directory == up && later::like(pattern, name)
        };
        found.extend(self.patterns.iter().filter(fits).flat_map(|(_, classes)| classes));
        if later::may_be_loaded(path) && !path.split('/').any(|name| name == ".git") {
            found.extend(&self.whole);
        }
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
        // What is not there yet is where the directory that it would be in is.
        let real = plain.ancestors().find_map(|at| {
            let (real, rest) = (std::fs::canonicalize(at).ok()?, plain.strip_prefix(at).ok()?);
            Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
        });
        let inside = |path: &Path| {
            let below = self.roots.iter().find_map(|root| path.strip_prefix(root).ok())?;
            Some(name_as_text(below.as_os_str().as_encoded_bytes()).into_owned())
        };
        std::iter::once(plain).chain(real).filter_map(|path| inside(&path)).collect()
    }
}

/// The text of a file of the user's by its absolute path.
pub(super) fn text(mount: &LiveMount, path: &Path) -> Option<String> {
    open(mount, path).and_then(|file| read(&file))
}

/// The same of what may be a program, which is no text.
pub(super) fn script(mount: &LiveMount, path: &Path) -> Option<String> {
    let file = open(mount, path)?;
    own::read(&file, own::HEAD).filter(|head| !head.contains(&0))?;
    read(&file)
}

fn read(file: &File) -> Option<String> {
    own::read(file, BYTES).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn open(mount: &LiveMount, path: &Path) -> Option<File> {
    let inside = path.strip_prefix(&mount.source).ok().and_then(Path::to_str);
    inside.and_then(|path| own::open(mount, path)).or_else(|| {
        // What lies in the way of a file may be anything else, which is not waited for.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
        let file: File = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).ok()?;
        file.metadata().is_ok_and(|about| about.is_file()).then_some(file)
    })
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

//! The directory that a new module of Python comes into.

use std::collections::BTreeSet;

use rustix::fs::{Dir, OFlags};

use super::own;
use crate::later::Folder;
use crate::mount::LiveMount;
use crate::overlay;

/// Scripts of one directory that are looked into, and bytes of each. Protects time.
const MOST_SCRIPTS: usize = 64;
const MOST_OF_SCRIPT: usize = 64 << 10;

pub(super) struct At<'a> {
    pub mount: &'a LiveMount,
    /// Paths of the mount that the commit brings.
    pub brings: &'a BTreeSet<&'a str>,
}

impl Folder for At<'_> {
    fn has(&self, path: &str) -> bool {
        self.brings.contains(path) || own::open(self.mount, path).is_some()
    }

    fn is_own(&self, folder: &str) -> bool {
        overlay::open(&self.mount.root, folder, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    fn takes_in(&self, folder: &str, module: &str) -> bool {
        let opened = overlay::open(&self.mount.root, folder, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(entries) = opened.and_then(Dir::read_from) else { return false };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned));
        let scripts = names.filter(|name| name.ends_with(".py")).take(MOST_SCRIPTS);
        let mut paths = scripts.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") });
        paths.any(|path| {
            own::open(self.mount, &path)
                .and_then(|file| own::read(&file, MOST_OF_SCRIPT))
                .is_some_and(|text| imports(&String::from_utf8_lossy(&text), module))
        })
    }
}

/// Whether a script takes in a module, or something of it.
fn imports(script: &str, module: &str) -> bool {
    let first = |name: &str| name.trim().split(['.', ' ', '\t']).next() == Some(module);
    script.lines().map(str::trim_start).any(|line| match line.split_once([' ', '\t']) {
        Some(("import", names)) => names.split(',').any(first),
        Some(("from", name)) => first(name),
        _ => false,
    })
}

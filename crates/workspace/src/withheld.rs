//! What a cell is not shown of the installations and toolchains that it is shown: names at which tools keep credentials and
//! settings. They are looked for where installations have them, not everywhere: a start walks over no whole toolchain.

use std::collections::HashMap;
use std::fs::{self, DirEntry};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::remembered::Remembered;

static KNOWN: LazyLock<Known> = LazyLock::new(|| chaperone_packs::table("packs/cell/withheld.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// With at most one `*`.
    names: Vec<String>,
    /// Names that are shown all the same.
    but: Vec<String>,
    /// Below an installation.
    inside: Vec<PathBuf>,
    /// Names in `node_modules` that begin with a dot and are shown.
    modules: Vec<String>,
}

/// What is covered of this directory that is shown. `installations` are patterns of whole paths, in which `*` is one name.
#[must_use]
pub fn find(shown: &Path, installations: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = Seen::default();
    seen.look(shown);
    for pattern in installations {
        if !pattern.iter().zip(shown).all(|(wanted, name)| wanted == "*" || wanted == name) {
            continue;
        }
        // The installation that this is a part of, or those that are in it.
        let mut reached: Vec<PathBuf> = vec![shown.iter().take(pattern.iter().count()).collect()];
        for part in pattern.iter().skip(shown.iter().count()) {
            reached = reached.iter().flat_map(|at| seen.step(at, part.as_ref())).collect();
        }
        for installation in reached {
            seen.inside(&installation, shown);
        }
    }
    seen.withheld
}

#[derive(Default)]
struct Seen {
    withheld: Vec<PathBuf>,
    looked: Vec<PathBuf>,
    listed: HashMap<PathBuf, Arc<Listed>>,
}

impl Seen {
    fn inside(&mut self, installation: &Path, shown: &Path) {
        for inside in &KNOWN.inside {
            if !installation.join(inside).starts_with(shown) {
                continue;
            }
            let mut at = installation.to_owned();
            let is_there = inside.iter().all(|name| {
                let listed = self.list(&at);
                at.push(name);
                listed.below.contains(&at)
            });
            if is_there {
                self.look(&at);
            }
        }
    }

    /// The directories that one part of a pattern leads to.
    fn step(&mut self, at: &Path, part: &Path) -> Vec<PathBuf> {
        let is_meant = |directory: &&PathBuf| part.as_os_str() == "*" || directory.ends_with(part);
        let below: Vec<PathBuf> = self.look(at).below.iter().filter(is_meant).cloned().collect();
        for directory in &below {
            self.look(directory);
        }
        below
    }

    /// What is withheld of a directory that is shown.
    fn look(&mut self, directory: &Path) -> Arc<Listed> {
        let listed = self.list(directory);
        if !self.looked.iter().any(|looked| looked == directory) {
            self.looked.push(directory.to_owned());
            self.withheld.extend(listed.withheld.iter().cloned());
        }
        listed
    }

    fn list(&mut self, directory: &Path) -> Arc<Listed> {
        if let Some(known) = self.listed.get(directory) {
            return Arc::clone(known);
        }
        let listed = LISTED.of(directory, list);
        self.listed.insert(directory.to_owned(), Arc::clone(&listed));
        listed
    }
}

/// What a directory has.
#[derive(Debug, Default)]
struct Listed {
    withheld: Vec<PathBuf>,
    /// Directories that are not withheld.
    below: Vec<PathBuf>,
}

static LISTED: LazyLock<Remembered<Listed>> = LazyLock::new(Remembered::default);

/// What a directory has, and whether its names alone said so.
fn list(directory: &Path) -> (Listed, bool) {
    let mut listed = Listed::default();
    let mut by_names_alone = true;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        // Where a link leads is either not in the cell, or looked at where it is.
        if kind.is_symlink() {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        by_names_alone &= !name.starts_with('.') || !directory.ends_with("bin");
        if is_withheld(directory, &entry, &name) {
            listed.withheld.push(entry.path());
        } else if kind.is_dir() {
            listed.below.push(entry.path());
        }
    }
    (listed, by_names_alone)
}

fn is_withheld(directory: &Path, entry: &DirEntry, name: &str) -> bool {
    if name.starts_with('.') {
        if directory.ends_with("node_modules") {
            return !KNOWN.modules.iter().any(|module| module == name);
        }
        // Beside programs; one that begins with a dot is what a wrapper calls.
        let is_program =
            || entry.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        if directory.ends_with("bin") && !is_program() {
            return true;
        }
    }
    let is = |pattern: &String| match pattern.split_once('*') {
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        None => pattern == name,
    };
    KNOWN.names.iter().any(is) && !KNOWN.but.iter().any(is)
}

/// Every name of the table, made plain, and every place below an installation: for generated homes.
#[cfg(test)]
pub(crate) fn everything() -> (Vec<String>, Vec<PathBuf>) {
    let names = KNOWN.names.iter().map(|name| name.replace('*', "x")).collect();
    (names, KNOWN.inside.iter().cloned().chain([PathBuf::new()]).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_to_a_directory_that_is_remembered_is_withheld() {
        let tmp = tempfile::tempdir().unwrap();
        let bin = tmp.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        let set_back = || fs::File::open(&bin).unwrap().set_modified(long_ago).unwrap();
        for name in ["npmrc", "x.pem"] {
            set_back();
            let before = find(&bin, &[]);
            fs::write(bin.join(name), "x").unwrap();
            // Whoever sets the time back does not hide it: the time of the entry itself is the kernel's.
            set_back();
            assert_eq!(find(&bin, &[]).len(), before.len() + 1, "{name}");
        }
        fs::remove_file(bin.join("npmrc")).unwrap();
        assert_eq!(find(&bin, &[]), [bin.join("x.pem")]);
    }

    #[test]
    fn of_node_modules_and_beside_programs_only_packages_and_programs_are_shown() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path();
        let put = |at: &str, mode: u32| {
            fs::create_dir_all(root.join(at).parent().unwrap()).unwrap();
            fs::write(root.join(at), "x").unwrap();
            fs::set_permissions(root.join(at), fs::Permissions::from_mode(mode)).unwrap();
        };
        let shown = [
            "node_modules/.bin/a",
            "node_modules/.pnpm/a",
            "node_modules/a/a",
            "bin/.a-wrapped",
            "ssl/cacert.pem",
        ];
        let hidden = [
            "node_modules/.cache/a",
            "node_modules/.vite/a",
            "node_modules/.prisma/a",
            "node_modules/.env",
            "node_modules/.package-lock.json",
            "bin/.env",
            "bin/.x/y",
            "ssl/private.pem",
            "ssl/server.key",
        ];
        for at in shown {
            put(at, 0o755);
        }
        for at in hidden {
            put(at, 0o600);
        }
        let withheld: Vec<PathBuf> =
            ["node_modules", "bin", "ssl"].iter().flat_map(|d| find(&root.join(d), &[])).collect();
        let is_covered = |at: &str| withheld.iter().any(|w| root.join(at).starts_with(w));
        assert_eq!(hidden.iter().find(|at| !is_covered(at)), None);
        assert_eq!(shown.iter().find(|at| is_covered(at)), None);
    }
}

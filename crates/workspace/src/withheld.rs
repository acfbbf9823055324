//! What a cell is not shown of the installations and toolchains that it is shown: names at which tools keep credentials and
//! settings. They are looked for where installations have them, not everywhere: a start walks over no whole toolchain.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;

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
        let mut reached = vec![shown.iter().take(pattern.iter().count()).collect()];
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
    /// Directories that were looked in, each with those in it.
    looked: BTreeMap<PathBuf, Vec<PathBuf>>,
    withheld: Vec<PathBuf>,
}

impl Seen {
    fn inside(&mut self, installation: &Path, shown: &Path) {
        for at in KNOWN.inside.iter().map(|inside| installation.join(inside)) {
            let is_below = at.starts_with(shown) && !self.withheld.iter().any(|w| at.starts_with(w));
            if is_below && is_directory(&at) {
                self.look(&at);
            }
        }
    }

    /// The directories that one part of a pattern leads to.
    fn step(&mut self, at: &Path, part: &Path) -> Vec<PathBuf> {
        let mut below = self.look(at);
        below.retain(|directory| part.as_os_str() == "*" || directory.ends_with(part));
        for directory in &below {
            self.look(directory);
        }
        below
    }

    fn look(&mut self, directory: &Path) -> Vec<PathBuf> {
        if let Some(below) = self.looked.get(directory) {
            return below.clone();
        }
        let mut below = Vec::new();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (Ok(kind), at) = (entry.file_type(), entry.path()) else { continue };
            // Where a link leads is either not in the cell, or looked at where it is.
            if kind.is_symlink() {
                continue;
            }
            if is_withheld(directory, &at, &entry.file_name().to_string_lossy()) {
                self.withheld.push(at);
            } else if kind.is_dir() {
                below.push(at);
            }
        }
        self.looked.insert(directory.to_owned(), below.clone());
        below
    }
}

fn is_withheld(directory: &Path, at: &Path, name: &str) -> bool {
    if name.starts_with('.') {
        if directory.ends_with("node_modules") {
            return !KNOWN.modules.iter().any(|module| module == name);
        }
        // Beside programs; one that begins with a dot is what a wrapper calls.
        let is_program =
            || at.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
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

fn is_directory(at: &Path) -> bool {
    at.symlink_metadata().is_ok_and(|meta| meta.is_dir())
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

//! Toolchains below the user's home that a cell shows, since they are in the user's PATH: what they are made of is data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chaperone_protocol::Shown;
use serde::Deserialize;

use crate::directories::{Places, overlap};

/// Links of one directory that are looked at. Protects from a mistaken path; no toolchain has more programs.
const MAX_LINKS: usize = 4096;

static KNOWN: LazyLock<Known> = LazyLock::new(|| chaperone_packs::table("packs/cell/toolchains.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Directories of packages that PATH may name.
    packages: Vec<PathBuf>,
    toolchain: Vec<Toolchain>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Toolchain {
    name: String,
    /// Below a home: the directory in PATH; `*` is one name.
    bin: String,
    /// Below a home: what is shown.
    shows: Vec<String>,
    /// Of the directory in PATH only links that lead into what is shown.
    #[serde(default)]
    links: bool,
    /// Below a home: directories around what is shown, in which the tools write. They are in memory, and end with the cell.
    #[serde(default)]
    scratch: Vec<String>,
    /// Variables with places below a home.
    #[serde(default)]
    set: BTreeMap<String, String>,
}

/// What the user's toolchains need.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Toolchains {
    /// To show read-only at their own place, each with its reason.
    pub shown: Vec<Shown>,
    /// Directories in memory, some of what is shown in them.
    pub scratch: Vec<PathBuf>,
    /// Directories for PATH, in the user's order.
    pub path: Vec<PathBuf>,
    pub environment: BTreeMap<String, String>,
}

/// The toolchains of these directories of PATH. A path of which a part is a link, that overlaps the workspace or Chaperone's own
/// state, or that is not there, is not shown.
#[must_use]
pub fn find(path: &[PathBuf], places: &Places, workspace: &Path) -> Toolchains {
    let mut found = Toolchains::default();
    for (home, directory) in path.iter().flat_map(|d| places.homes().iter().map(move |home| (home, d))) {
        let Some(below) = below(home, directory) else { continue };
        for toolchain in &KNOWN.toolchain {
            let Some(names) = matched(&toolchain.bin, &below) else { continue };
            let plain = |at: &Path| {
                at.canonicalize().is_ok_and(|real| real == at)
                    && !overlap(at, workspace)
                    && !places.ours().iter().any(|own| overlap(at, own))
            };
            let shows: Vec<PathBuf> = toolchain
                .shows
                .iter()
                .map(|place| home.join(filled(place, &names)))
                .filter(|at| plain(at))
                .collect();
            let bin = home.join(&below);
            let links = if toolchain.links { links(&bin, &shows) } else { Vec::new() };
            if shows.is_empty() || (toolchain.links && links.is_empty()) {
                continue;
            }
            let why = format!("toolchain {} of your PATH", toolchain.name);
            for at in shows.into_iter().chain(links) {
                if !found.shown.iter().any(|shown| at.starts_with(&shown.path)) {
                    found.shown.push(Shown { path: at, why: why.clone() });
                }
            }
            let around = toolchain.scratch.iter().map(|place| home.join(filled(place, &names)));
            for at in around.filter(|at| plain(at)) {
                if !found.scratch.contains(&at) {
                    found.scratch.push(at);
                }
            }
            for (name, place) in &toolchain.set {
                let place = home.join(filled(place, &names));
                found.environment.entry(name.clone()).or_insert_with(|| place.display().to_string());
            }
            if !found.path.contains(&bin) {
                found.path.push(bin);
            }
        }
    }
    for packages in &KNOWN.packages {
        add_packages(&mut found, packages, path, places, workspace);
    }
    found
}

/// The packages of this directory that PATH names.
fn add_packages(
    found: &mut Toolchains,
    packages: &Path,
    path: &[PathBuf],
    places: &Places,
    workspace: &Path,
) {
    let is_any = std::fs::read_dir(packages).is_ok_and(|mut entries| entries.next().is_some());
    if !is_any || packages.canonicalize().is_ok_and(|real| real != packages) {
        return;
    }
    let package = |at: &Path| Some(packages.join(at.strip_prefix(packages).ok()?.components().next()?));
    for directory in path {
        let Ok(real) = directory.canonicalize() else { continue };
        let mut named: Vec<PathBuf> = package(&real).into_iter().collect();
        if !named.is_empty() && !found.path.contains(&real) {
            found.path.push(real.clone());
        }
        // Of a home only what the managers of toolchains put there is known.
        if !places.in_home(&real) {
            named.extend(
                links(&real, &[packages.to_owned()])
                    .iter()
                    .filter_map(|link| package(&link.canonicalize().ok()?)),
            );
        }
        for at in named {
            let is_private = overlap(&at, workspace)
                || places.ours().iter().any(|own| overlap(&at, own))
                || places.homes().iter().any(|home| overlap(&at, home));
            let is_plain = at.canonicalize().is_ok_and(|real| real == at);
            if is_plain && !is_private && !found.shown.iter().any(|shown| at.starts_with(&shown.path)) {
                found.shown.push(Shown { path: at, why: "package of your PATH".to_owned() });
            }
        }
    }
}

/// A directory of PATH relative to the home, however the home is called.
fn below(home: &Path, directory: &Path) -> Option<PathBuf> {
    let real = directory.canonicalize().ok()?;
    real.strip_prefix(home).ok().map(Path::to_owned)
}

/// What the stars of a pattern stand for.
fn matched(pattern: &str, path: &Path) -> Option<Vec<String>> {
    let path: Vec<&str> = path.to_str()?.split('/').collect();
    let pattern: Vec<&str> = pattern.split('/').collect();
    if path.len() != pattern.len() {
        return None;
    }
    let mut names = Vec::new();
    for (wanted, name) in pattern.into_iter().zip(path) {
        match wanted {
            "*" => names.push(name.to_owned()),
            wanted if wanted == name => {}
            _ => return None,
        }
    }
    Some(names)
}

fn filled(place: &str, names: &[String]) -> String {
    let mut names = names.iter();
    let parts = place.split('/').map(|part| match part {
        "*" => names.next().map_or("*", String::as_str),
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The links of a directory that lead into these places.
fn links(bin: &Path, into: &[PathBuf]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(bin).into_iter().flatten().flatten().take(MAX_LINKS);
    let mut links: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| entry.path())
        .filter(|link| link.canonicalize().is_ok_and(|real| into.iter().any(|place| real.starts_with(place))))
        .collect();
    links.sort();
    links
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn made(home: &Path, files: &[&str]) {
        for file in files {
            fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
            fs::write(home.join(file), "x").unwrap();
        }
    }

    fn shown(found: &Toolchains, home: &Path) -> Vec<String> {
        found.shown.iter().map(|s| s.path.strip_prefix(home).unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_a_toolchain_is_made_of_is_shown_and_nothing_beside_it() {
        let tmp = tempfile::tempdir().unwrap();
        let home = tmp.path().canonicalize().unwrap();
        made(
            &home,
            &[
                ".cargo/bin/cargo",
                ".cargo/credentials.toml",
                ".rustup/toolchains/stable/bin/rustc",
                ".nvm/versions/node/v22/bin/node",
                ".nvm/versions/node/v22/etc/npmrc",
                ".nvm/versions/node/v20/bin/node",
                "scripts/deploy",
                ".local/bin/deploy",
                ".local/share/pipx/venvs/black/bin/black",
            ],
        );
        symlink(home.join(".local/share/pipx/venvs/black/bin/black"), home.join(".local/bin/black")).unwrap();
        symlink("/bin/sh", home.join(".local/bin/sh")).unwrap();
        let path =
            [".nvm/versions/node/v22/bin", "scripts", ".cargo/bin", ".local/bin"].map(|d| home.join(d));
        let places = Places::new(std::slice::from_ref(&home), &[]);
        let found = find(&path, &places, Path::new("/nowhere"));
        let wanted = [
            ".nvm/versions/node/v22/bin",
            ".cargo/bin",
            ".rustup/toolchains",
            ".local/share/pipx/venvs",
            ".local/bin/black",
        ];
        assert_eq!(shown(&found, &home), wanted);
        assert_eq!(found.path, [path[0].clone(), path[2].clone(), path[3].clone()]);
        assert_eq!(found.environment["RUSTUP_HOME"], home.join(".rustup").display().to_string());
        assert_eq!(found.scratch, [home.join(".rustup")]);
    }

    #[test]
    fn links_the_workspace_and_our_own_state_are_not_shown() {
        let tmp = tempfile::tempdir().unwrap();
        let home = tmp.path().canonicalize().unwrap();
        made(
            &home,
            &[".deno/bin/deno", ".ssh/id", ".bun/bin/bun", "go/bin/tool", "go/pkg/mod/x", ".volta/bin/node"],
        );
        symlink(home.join(".ssh"), home.join(".deno/lib")).unwrap();
        symlink(home.join(".ssh"), home.join(".volta/tools")).unwrap();
        let path = [".deno/bin", ".bun/bin", "go/bin", ".volta/bin"].map(|d| home.join(d));
        let places = Places::new(std::slice::from_ref(&home), &[&home.join(".bun/bin/state")]);
        let found = find(&path, &places, &home.join("go/pkg/mod/x"));
        assert_eq!(shown(&found, &home), [".deno/bin", "go/bin", ".volta/bin"]);
    }

    #[test]
    fn of_a_directory_of_packages_what_path_names_is_shown() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().canonicalize().unwrap();
        made(
            &root,
            &[
                "opt/tool/bin/tool",
                "opt/linked/chrome",
                "opt/service/service.conf",
                "opt/work/x",
                "bin/other",
                "home/bin/y",
            ],
        );
        symlink(root.join("opt/linked/chrome"), root.join("bin/chrome")).unwrap();
        symlink(root.join("opt/service/service.conf"), root.join("home/bin/conf")).unwrap();
        let path = ["opt/tool/bin", "bin", "home/bin", "opt", "opt/work"].map(|d| root.join(d));
        let places = Places::new(&[root.join("home")], &[]);
        let mut found = Toolchains::default();
        add_packages(&mut found, &root.join("opt"), &path, &places, &root.join("opt/work"));
        assert_eq!(shown(&found, &root), ["opt/tool", "opt/linked"]);
        assert!(found.path.contains(&path[0]) && !found.path.contains(&path[1]));
    }

    #[test]
    fn the_table_is_of_places_below_a_home() {
        for toolchain in &KNOWN.toolchain {
            let stars = toolchain.bin.matches('*').count();
            for place in toolchain.shows.iter().chain([&toolchain.bin]).chain(toolchain.set.values()) {
                let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
                assert!(place.split('/').all(plain), "{}: {place}", toolchain.name);
                assert!(place.matches('*').count() <= stars, "{}: {place}", toolchain.name);
            }
        }
    }
}

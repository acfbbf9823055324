//! Toolchains below the user's home that a cell shows, since they are in the user's PATH: what they are made of is data.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use chaperone_config::profile;
use chaperone_protocol::{Failure, Shown};
use serde::Deserialize;

use crate::directories::{Places, overlap, plain};
use crate::remembered::Remembered;
use crate::{installation, withheld};

/// Links of one directory that are looked at. Protects from a mistaken path; no toolchain has more programs.
const MAX_LINKS: usize = 4096;
/// Links after each other that are followed, as `/etc/alternatives` has them.
const MAX_CHAIN: usize = 8;

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
    /// Below a home: where in what is shown an installation begins; `*` is any name.
    #[serde(default)]
    installations: Vec<PathBuf>,
    /// Variables with places below a home.
    #[serde(default)]
    set: BTreeMap<String, String>,
}

/// What the user's toolchains need.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Toolchains {
    /// To show read-only at their own place, each with its reason.
    pub shown: Vec<Shown>,
    /// What of that is covered.
    pub covered: BTreeSet<PathBuf>,
    /// Directories in memory, some of what is shown in them.
    pub scratch: Vec<PathBuf>,
    /// Directories for PATH, in the user's order.
    pub path: Vec<PathBuf>,
    pub environment: BTreeMap<String, String>,
}

/// The toolchains of these directories of PATH, and what the profile adds. A path of which a part is a link, that overlaps the
/// workspace or Chaperone's own state, or that is not there, is not shown.
///
/// # Errors
/// `bad_profile` for what the profile adds and no cell shows, and for what it removes and is not known.
pub fn find(
    path: &[PathBuf],
    wanted: &profile::Toolchains,
    places: &Places,
    workspace: &Path,
) -> Result<Toolchains, Failure> {
    let removed = Removed::of(wanted, places)?;
    let mut found = Toolchains::default();
    let path: Vec<PathBuf> = real_ones(path).collect();
    for (home, directory) in path.iter().flat_map(|d| places.homes().iter().map(move |home| (home, d))) {
        let Ok(below) = directory.strip_prefix(home) else { continue };
        for toolchain in &KNOWN.toolchain {
            let Some(names) = matched(&toolchain.bin, below) else { continue };
            if removed.has(&toolchain.name, directory) {
                continue;
            }
            let plain = |at: &Path| {
                at.canonicalize().is_ok_and(|real| real == at)
                    && !overlap(at, workspace)
                    && !places.ours().iter().any(|own| overlap(at, own))
            };
            let shows: Vec<PathBuf> = toolchain
                .shows
                .iter()
                .map(|place| home.join(filled(place, &names)))
                .filter(|at| plain(at) && !removed.holds(at))
                .collect();
            let bin = home.join(below);
            let links = if toolchain.links { links(&bin, &shows) } else { Vec::new() };
            if shows.is_empty() || (toolchain.links && links.is_empty()) {
                continue;
            }
            let why = format!("toolchain {} of your PATH", toolchain.name);
            let installations: Vec<PathBuf> = toolchain.installations.iter().map(|i| home.join(i)).collect();
            for at in shows.into_iter().chain(links) {
                found.cover(&at, &installations);
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
        let named = path.iter().filter(|directory| !removed.holds(directory));
        add_packages(&mut found, packages, named, places, workspace);
    }
    for named in &wanted.add {
        let at = addable(named, places, workspace)
            .map_err(|why| Failure::new("bad_profile", format!("toolchains.add: {named} {why}")))?;
        if !found.shown.iter().any(|shown| at.starts_with(&shown.path)) {
            found.shown.retain(|shown| !shown.path.starts_with(&at));
            found.shown.push(Shown { path: at.clone(), why: "toolchain of the profile".to_owned() });
        }
        found.cover(&at, std::slice::from_ref(&at));
        if !found.path.contains(&at) {
            found.path.push(at);
        }
    }
    Ok(found)
}

/// Directories of PATH below a home, and of the packages that their links lead into, that this cell does not show, and that a profile
/// may add: how a profile would name them.
#[must_use]
pub fn left_out(
    path: &[PathBuf],
    shown: &[&Path],
    wanted: &profile::Toolchains,
    places: &Places,
    workspace: &Path,
) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    let Ok(removed) = Removed::of(wanted, places) else { return left };
    let is_removed = |home: &Path, directory: &Path| {
        let below = below(home, directory);
        let is = |t: &&Toolchain| below.as_ref().is_some_and(|below| matched(&t.bin, below).is_some());
        removed.holds(directory) || KNOWN.toolchain.iter().filter(is).any(|t| removed.has(&t.name, directory))
    };
    for directory in path.iter().flat_map(|directory| with_packages(directory, places)) {
        let Ok(real) = directory.canonicalize() else { continue };
        let Some(home) = places.homes().iter().find(|home| real.starts_with(home)) else { continue };
        let is_shown = shown.iter().any(|some| real.starts_with(some)) || real.starts_with(workspace);
        let has_any = || std::fs::read_dir(&real).is_ok_and(|mut entries| entries.next().is_some());
        let Ok(below) = real.strip_prefix(home) else { continue };
        let named = format!("~/{}", below.display());
        if !is_shown
            && !is_removed(home, &directory)
            && !left.contains(&named)
            && addable(&named, places, workspace).is_ok()
            && has_any()
        {
            left.push(named);
        }
    }
    left
}

/// A directory of programs below a home, and where npm keeps the packages that programs in it are links into.
fn with_packages(directory: &Path, places: &Places) -> BTreeSet<PathBuf> {
    let real = directory.canonicalize().ok();
    let Some(real) = real.filter(|real| places.homes().iter().any(|home| real.starts_with(home))) else {
        return BTreeSet::new();
    };
    let packages =
        |to: &PathBuf| Some(to.ancestors().filter(|at| at.ends_with("node_modules")).last()?.to_owned());
    let links = LINKS.of(&real, leaving);
    std::iter::once(directory.to_owned()).chain(links.values().filter_map(packages)).collect()
}

/// The directory that a profile adds, or why it may not be added.
fn addable(named: &str, places: &Places, workspace: &Path) -> Result<PathBuf, &'static str> {
    let at = expanded(named, places).ok_or("is no absolute path, nor one that begins with ~/")?;
    let real = at.canonicalize().map_err(|_| "is not there")?;
    if !real.is_dir() {
        return Err("is no directory");
    }
    if overlap(&real, workspace) {
        return Err("holds files of the workspace, or is one of its directories");
    }
    if places.is_public_data(&real) {
        return Ok(real);
    }
    let refused = installation::refuse_directory(places, &real).or_else(|| places.of_system(&real));
    refused.map_or(Ok(real), Err)
}

fn expanded(named: &str, places: &Places) -> Option<PathBuf> {
    match named.strip_prefix("~/") {
        Some(below) => {
            let all = || places.homes().iter().map(|home| home.join(below));
            all().find(|at| at.is_dir()).or_else(|| all().next())
        }
        None => Some(PathBuf::from(named)).filter(|at| at.is_absolute()),
    }
}

/// What a profile takes away: toolchains by their names, directories with all below them.
struct Removed<'a> {
    names: Vec<&'a str>,
    places: Vec<PathBuf>,
}

impl<'a> Removed<'a> {
    fn of(wanted: &'a profile::Toolchains, places: &Places) -> Result<Self, Failure> {
        let mut removed = Self { names: Vec::new(), places: Vec::new() };
        for named in &wanted.remove {
            if KNOWN.toolchain.iter().any(|toolchain| toolchain.name == *named) {
                removed.names.push(named);
            } else if let Some(at) = expanded(named, places) {
                removed.places.push(at.canonicalize().unwrap_or(at));
            } else {
                let mut known: Vec<&str> = KNOWN.toolchain.iter().map(|t| t.name.as_str()).collect();
                known.dedup();
                let text = format!("toolchains.remove: {named} is no toolchain, and no path");
                return Err(
                    Failure::new("bad_profile", text).advise(format!("known are: {}", known.join(", ")))
                );
            }
        }
        Ok(removed)
    }

    fn has(&self, name: &str, bin: &Path) -> bool {
        self.names.contains(&name) || self.holds(bin)
    }

    fn holds(&self, at: &Path) -> bool {
        !self.places.is_empty() && {
            let real = at.canonicalize().unwrap_or_else(|_| at.to_owned());
            self.places.iter().any(|place| real.starts_with(place))
        }
    }
}

impl Toolchains {
    fn cover(&mut self, shown: &Path, installations: &[PathBuf]) {
        self.covered.extend(withheld::find(shown, installations));
    }
}

/// The packages of this directory that PATH, resolved, names.
fn add_packages<'a>(
    found: &mut Toolchains,
    packages: &Path,
    path: impl Iterator<Item = &'a PathBuf>,
    places: &Places,
    workspace: &Path,
) {
    let is_any = std::fs::read_dir(packages).is_ok_and(|mut entries| entries.next().is_some());
    if !is_any || packages.canonicalize().is_ok_and(|real| real != packages) {
        return;
    }
    let mut links = Links::default();
    let package = |at: &Path| Some(packages.join(at.strip_prefix(packages).ok()?.components().next()?));
    for real in path {
        let mut named: Vec<PathBuf> = package(real).into_iter().collect();
        if !named.is_empty() && !found.path.contains(real) {
            found.path.push(real.clone());
        }
        // Of a home only what the managers of toolchains put there is known.
        if !places.in_home(real) {
            let leaving = links.of(real);
            named.extend(leaving.values().filter_map(|to| package(&links.led_to(to, packages)?)));
        }
        for at in named {
            let is_private = overlap(&at, workspace)
                || places.ours().iter().any(|own| overlap(&at, own))
                || places.homes().iter().any(|home| overlap(&at, home));
            let is_plain = at.canonicalize().is_ok_and(|real| real == at);
            if is_plain && !is_private && !found.shown.iter().any(|shown| at.starts_with(&shown.path)) {
                found.cover(&at, std::slice::from_ref(&at));
                found.shown.push(Shown { path: at, why: "package of your PATH".to_owned() });
            }
        }
    }
}

/// The directories of PATH, resolved, each once.
fn real_ones(path: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let mut seen = BTreeSet::new();
    path.iter().filter_map(|at| at.canonicalize().ok()).filter(move |real| seen.insert(real.clone()))
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

fn all_links(bin: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(bin).into_iter().flatten().flatten().take(MAX_LINKS);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path())
}

type OutwardLinks = BTreeMap<OsString, PathBuf>;

static LINKS: LazyLock<Remembered<OutwardLinks>> = LazyLock::new(Remembered::default);

/// The links of directories of the system that leave them, each with where it leads.
#[derive(Default)]
struct Links(HashMap<PathBuf, Arc<OutwardLinks>>);

impl Links {
    fn of(&mut self, directory: &Path) -> Arc<OutwardLinks> {
        if let Some(known) = self.0.get(directory) {
            return Arc::clone(known);
        }
        let links = LINKS.of(directory, leaving);
        self.0.insert(directory.to_owned(), Arc::clone(&links));
        links
    }

    /// Where in `packages` this is, or leads through other links, as those of `/etc/alternatives` do. What lies beside a link is
    /// looked at by itself. Nothing else on the way is resolved, which would take its time at each start.
    fn led_to(&mut self, at: &Path, packages: &Path) -> Option<PathBuf> {
        let next = |at: &PathBuf| self.of(at.parent()?).get(at.file_name()?).cloned();
        std::iter::successors(Some(at.to_owned()), next).take(MAX_CHAIN).find(|at| at.starts_with(packages))
    }
}

fn leaving(directory: &Path) -> (OutwardLinks, bool) {
    let leaving = all_links(directory).filter_map(|link| {
        let to = link.read_link().ok().filter(|to| to.components().count() > 1)?;
        Some((link.file_name()?.to_owned(), plain(&directory.join(to))))
    });
    (leaving.collect(), true)
}

/// The links of a directory that lead into these places.
fn links(bin: &Path, into: &[PathBuf]) -> Vec<PathBuf> {
    let mut links: Vec<PathBuf> = all_links(bin)
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
        let found = find(&path, &profile::Toolchains::default(), &places, Path::new("/nowhere")).unwrap();
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
            &[
                ".deno/bin/deno",
                ".ssh/id",
                ".bun/bin/bun",
                "go/bin/tool",
                "go/pkg/mod/x",
                ".bun/install/global/x",
                ".volta/bin/node",
            ],
        );
        symlink(home.join(".ssh"), home.join(".deno/lib")).unwrap();
        symlink(home.join(".ssh"), home.join(".volta/tools")).unwrap();
        let path = [".deno/bin", ".bun/bin", "go/bin", ".volta/bin"].map(|d| home.join(d));
        let places = Places::new(std::slice::from_ref(&home), &[&home.join(".bun/bin/state")]);
        let found =
            find(&path, &profile::Toolchains::default(), &places, &home.join(".bun/install/global/x"))
                .unwrap();
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
        add_packages(&mut found, &root.join("opt"), path.iter(), &places, &root.join("opt/work"));
        assert_eq!(shown(&found, &root), ["opt/tool", "opt/linked"]);
        assert!(found.path.contains(&path[0]) && !found.path.contains(&path[1]));
    }

    fn is_readable(found: &Toolchains, at: &Path) -> bool {
        found.shown.iter().any(|shown| at.starts_with(&shown.path))
            && !at.ancestors().any(|part| found.covered.contains(part))
    }

    /// Directories in which a toolchain's files lie: those that are shown, those that its installations are in, and theirs.
    fn levels(toolchain: &Toolchain, shown: &[PathBuf], inside: &[PathBuf]) -> Vec<PathBuf> {
        let mut levels = shown.to_vec();
        for pattern in &toolchain.installations {
            let installation: PathBuf =
                pattern.iter().map(|part| if part == "*" { "x".as_ref() } else { part }).collect();
            let all = installation
                .ancestors()
                .map(Path::to_owned)
                .chain(inside.iter().map(|i| installation.join(i)));
            levels.extend(all.filter(|at| shown.iter().any(|shown| at.starts_with(shown))));
        }
        levels
    }

    #[test]
    fn of_no_toolchain_a_cell_reads_what_is_withheld_at_any_level() {
        let (names, inside) = withheld::everything();
        let directories = ["etc", "conf.d", "init.d", "condarc.d", ".git", ".ssh", ".config", ".cache"];
        for toolchain in &KNOWN.toolchain {
            let tmp = tempfile::tempdir().unwrap();
            let home = tmp.path().canonicalize().unwrap();
            let plain = |place: &str| place.replace('*', "x");
            // What is in a place that is a file in life is not looked for.
            let shows: Vec<PathBuf> = toolchain
                .shows
                .iter()
                .map(|s| PathBuf::from(plain(s)))
                .filter(|s| s.extension().is_none())
                .collect();
            let bin = plain(&toolchain.bin);
            for shown in &shows {
                fs::create_dir_all(home.join(shown)).unwrap();
                fs::write(home.join(shown).join("program"), "x").unwrap();
            }
            fs::create_dir_all(home.join(&bin)).unwrap();
            if toolchain.links {
                symlink(home.join(&shows[0]).join("program"), home.join(&bin).join("program")).unwrap();
            }
            let mut secret = Vec::new();
            for level in levels(toolchain, &shows, &inside) {
                for name in &names {
                    let at = level.join(name);
                    let at = if directories.contains(&name.as_str()) { at.join("x") } else { at };
                    made(&home, &[at.to_str().unwrap()]);
                    secret.push(home.join(at));
                }
                made(&home, &[level.join("program").to_str().unwrap()]);
            }
            let places = Places::new(std::slice::from_ref(&home), &[]);
            let found =
                find(&[home.join(&bin)], &profile::Toolchains::default(), &places, Path::new("/nowhere"))
                    .unwrap();
            let read = secret.iter().find(|at| is_readable(&found, at));
            assert_eq!(read, None, "{}", toolchain.name);
            for shown in &shows {
                assert!(is_readable(&found, &home.join(shown).join("program")), "{}", toolchain.name);
            }
        }
    }

    #[test]
    fn tokens_where_the_managers_of_toolchains_have_them_are_not_shown() {
        let tmp = tempfile::tempdir().unwrap();
        let home = tmp.path().canonicalize().unwrap();
        let secrets = [
            ".asdf/installs/nodejs/20.1.0/etc/npmrc",
            ".local/share/mise/installs/node/20/etc/npmrc",
            ".volta/tools/image/node/20.1.0/etc/npmrc",
            ".pyenv/versions/3.11.1/pip.conf",
            ".local/share/pipx/venvs/x/pipx_metadata.json",
            ".local/share/pipx/venvs/x/pip.conf",
            "go/pkg/mod/cache/vcs/abc/config",
            "go/pkg/mod/git.example/private@v1/secret.go",
            ".rbenv/versions/3.2.0/etc/gemrc",
            ".sdkman/candidates/maven/current/conf/settings.xml",
            ".sdkman/candidates/gradle/current/gradle.properties",
            ".sdkman/candidates/gradle/current/init.d/x.gradle",
        ];
        let programs = [
            ".asdf/shims/node",
            ".local/share/mise/shims/node",
            ".volta/bin/node",
            ".pyenv/shims/python",
            "go/bin/gopls",
            ".rbenv/shims/ruby",
            ".sdkman/candidates/maven/current/bin/mvn",
            ".sdkman/candidates/gradle/current/bin/gradle",
            ".sdkman/candidates/maven/current/conf/logging/simplelogger.properties",
            ".local/share/pipx/venvs/x/bin/x",
        ];
        made(&home, &secrets);
        made(&home, &programs);
        fs::create_dir_all(home.join(".local/bin")).unwrap();
        symlink(home.join(".local/share/pipx/venvs/x/bin/x"), home.join(".local/bin/x")).unwrap();
        let path: Vec<PathBuf> = programs[..8]
            .iter()
            .map(|at| home.join(at).parent().unwrap().to_owned())
            .chain([home.join(".local/bin")])
            .collect();
        let places = Places::new(std::slice::from_ref(&home), &[]);
        let found = find(&path, &profile::Toolchains::default(), &places, Path::new("/nowhere")).unwrap();
        assert_eq!(secrets.iter().find(|at| is_readable(&found, &home.join(at))), None);
        assert_eq!(programs.iter().find(|at| !is_readable(&found, &home.join(at))), None);
    }

    #[test]
    fn a_profile_adds_directories_and_takes_toolchains_away() {
        let tmp = tempfile::tempdir().unwrap();
        let home = tmp.path().canonicalize().unwrap();
        let files = [
            "bin/deploy",
            "bin/.env",
            ".local/bin/mine",
            ".deno/bin/deno",
            ".bun/bin/bun",
            ".config/x/bin/y",
            "work/bin/z",
            "state/log",
        ];
        made(&home, &files);
        let path =
            ["bin", ".local/bin", ".deno/bin", ".bun/bin", ".config/x/bin", "work/bin"].map(|d| home.join(d));
        let places = Places::new(std::slice::from_ref(&home), &[&home.join("state")]);
        let workspace = home.join("work");
        let wanted = |add: &[&str], remove: &[&str]| profile::Toolchains {
            add: add.iter().map(|&a| a.to_owned()).collect(),
            remove: remove.iter().map(|&r| r.to_owned()).collect(),
        };
        let found = |wanted: &profile::Toolchains| find(&path, wanted, &places, &workspace);
        let left = |wanted: &profile::Toolchains| {
            let found = found(wanted).unwrap();
            let shown: Vec<&Path> = found.path.iter().map(PathBuf::as_path).collect();
            left_out(&path, &shown, wanted, &places, &workspace)
        };
        assert_eq!(left(&profile::Toolchains::default()), ["~/bin", "~/.local/bin"]);
        // What npm puts there with its prefix is no program without the packages.
        made(&home, &[".local/lib/node_modules/agent/cli.js"]);
        symlink("../lib/node_modules/agent/cli.js", home.join(".local/bin/agent")).unwrap();
        let packages = "~/.local/lib/node_modules".to_owned();
        assert_eq!(left(&profile::Toolchains::default()), ["~/bin", "~/.local/bin", packages.as_str()]);
        assert_eq!(left(&wanted(&["~/bin", "~/.local/bin"], &[])), [packages.as_str()]);
        assert!(left(&wanted(&["~/bin", "~/.local/bin", &packages], &[])).is_empty());
        fs::remove_dir_all(home.join(".local/lib")).unwrap();
        fs::remove_file(home.join(".local/bin/agent")).unwrap();
        let around = home.join(".local");
        assert_eq!(left_out(&path, &[&around], &wanted(&[], &[]), &places, &workspace)[0], "~/bin");
        assert!(
            !left_out(&path, &[&around], &wanted(&[], &[]), &places, &workspace)
                .contains(&"~/.local/bin".to_owned())
        );
        let both = wanted(&["~/bin", "~/.local/bin"], &["deno", "~/.bun/bin"]);
        let with = found(&both).unwrap();
        assert_eq!(shown(&with, &home), ["bin", ".local/bin"]);
        assert_eq!(with.path, [home.join("bin"), home.join(".local/bin")]);
        assert!(is_readable(&with, &home.join("bin/deploy")) && !is_readable(&with, &home.join("bin/.env")));
        assert!(left(&both).is_empty());
        for refused in [
            "~/",
            "~/.config/x/bin",
            "~/work/bin",
            "~/state",
            "~/none",
            "bin",
            "/",
            "/etc",
            "~/bin/deploy",
            "~/.local",
        ] {
            assert_eq!(found(&wanted(&[refused], &[])).unwrap_err().code, "bad_profile", "{refused}");
        }
        // What every user may read of one program's settings for the machine.
        let with = found(&wanted(&["/etc/security"], &[])).unwrap();
        assert!(with.shown.iter().any(|shown| shown.path == Path::new("/etc/security")));
        for secret in ["/etc/ssl/private", "/var/lib", "/usr/share"] {
            assert!(found(&wanted(&[secret], &[])).is_err(), "{secret}");
        }
        assert_eq!(found(&wanted(&[], &["denno"])).unwrap_err().code, "bad_profile");
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

//! Directories that tools fill with the code of others: which one a path is in.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::place::like;

static PACK: LazyLock<Pack> = LazyLock::new(|| chaperone_packs::table("packs/dependencies.toml"));

/// Directories that hold packages and nothing beside them.
static HOLDS_PACKAGES: LazyLock<Vec<String>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Names {
        names: Vec<String>,
    }
    chaperone_packs::table::<Names>("packs/installed-code.toml").names
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pack {
    kind: Vec<Kind>,
    before: Vec<Before>,
    programs: Vec<String>,
    loaded: Loaded,
    install_steps: InstallSteps,
    system: System,
}

/// Names of a module, of which one is taken in place of others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    takes: Vec<String>,
    of: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    file: String,
    groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct System {
    directories: Vec<PathBuf>,
    toolchains: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    kind: String,
    names: Vec<String>,
    #[serde(default)]
    holds: Vec<String>,
    #[serde(default)]
    records: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallSteps {
    file: String,
    scripts: Vec<String>,
}

/// The outermost directory of dependencies that the path is in, or is itself when `is_dir`, and its kind. The inside of a
/// repository is none.
#[must_use]
pub fn dependencies(path: &str, is_dir: bool) -> Option<(&str, &'static str)> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain(is_dir.then_some(path.len()));
    let mut start = 0;
    let mut before = None;
    let mut found: Option<(usize, usize, &'static str)> = None;
    for end in ends {
        let name = path.get(start..end)?;
        if name.eq_ignore_ascii_case(".git") {
            return None;
        }
        // One in another one is that, when it is a kind of its own.
        let in_other = before.and_then(|from| Some((from, of_names(path.get(from..end)?)?)));
        found = match (found, in_other) {
            (Some((from, ..)), Some((same, kind))) if from == same => Some((from, end, kind)),
            (None, Some((from, kind))) => Some((from, end, kind)),
            (None, None) => of_names(name).map(|kind| (start, end, kind)),
            (found, _) => found,
        };
        (before, start) = (Some(start), end + 1);
    }
    found.and_then(|(_, end, kind)| Some((path.get(..end)?, kind)))
}

/// The kind of what is called so, with as many names.
fn of_names(names: &str) -> Option<&'static str> {
    let is_so = |known: &String| {
        known.split('/').count() == names.split('/').count()
            && known.split('/').zip(names.split('/')).all(|(known, name)| like(known, name))
    };
    PACK.kind.iter().find(|kind| kind.names.iter().any(is_so)).map(|kind| kind.kind.as_str())
}

/// The directory that a file at this path makes one of dependencies, by what is in it. The workspace itself is none, nor is the
/// inside of a repository.
#[must_use]
pub fn made_dependencies(path: &str) -> Option<&str> {
    let names: Vec<&str> = path.split('/').collect();
    if names.iter().any(|name| name.eq_ignore_ascii_case(".git")) {
        return None;
    }
    let marks = PACK.kind.iter().flat_map(|kind| &kind.holds);
    let depths = marks.filter_map(|mark| {
        let depth = mark.split('/').count();
        let inside = names.get(names.len().checked_sub(depth)?..)?;
        mark.split('/').zip(inside).all(|(known, name)| like(known, name)).then_some(depth)
    });
    let depth = depths.max()?;
    let (at, _) = path.rmatch_indices('/').nth(depth - 1)?;
    path.get(..at).filter(|at| !at.is_empty())
}

/// Files that make the directory that they are in one of dependencies, by their names in it, where these are told in full.
pub fn marks_of_dependencies() -> impl Iterator<Item = &'static str> {
    PACK.kind.iter().flat_map(|kind| &kind.holds).map(String::as_str).filter(|mark| !mark.contains('*'))
}

/// Whether a tool writes the file at every turn, beside the code.
#[must_use]
pub fn is_record_of_dependencies(path: &str) -> bool {
    let records = || PACK.kind.iter().flat_map(|kind| &kind.records);
    path.split('/').any(|name| records().any(|known| like(known, name)))
}

/// The places of which this one is taken in place, where one of them is there.
pub fn stands_before(path: &str) -> impl Iterator<Item = String> {
    let module = |pattern: &String| {
        let module = path.strip_suffix(pattern.strip_prefix('*')?)?;
        // A name with an ending of its own is that of another module.
        let name = module.rsplit('/').next().filter(|name| !name.is_empty())?;
        (!name.contains('.') || !pattern.ends_with(".so")).then_some(module)
    };
    PACK.before.iter().flat_map(move |row| {
        let module = row.takes.iter().find_map(module);
        module.into_iter().flat_map(|module| row.of.iter().map(move |of| of.replace('*', module)))
    })
}

/// A package of npm into which another one comes, and what it found further up under the name of that.
#[must_use]
pub fn nested(path: &str) -> Option<[String; 2]> {
    const IN: &str = "/node_modules/";
    let at = path.rfind(IN)?;
    let (package, inside) = (path.get(..at)?, path.get(at + IN.len()..)?);
    let mut names = inside.split('/');
    let first = names.next()?;
    let name = if first.starts_with('@') { format!("{first}/{}", names.next()?) } else { first.to_owned() };
    let up = package
        .rfind(IN)
        .map(|up| up + IN.len())
        .or_else(|| package.starts_with("node_modules/").then_some("node_modules/".len()))?;
    Some([format!("{package}/package.json"), format!("{}{name}/package.json", package.get(..up)?)])
}

/// The package of an interpreter's that a path is in, or is: the name in the innermost directory that holds packages and nothing
/// else, with what stands before it.
#[must_use]
pub fn package(path: &str) -> Option<&str> {
    let mut found = None;
    let mut start = 0;
    for (end, _) in path.match_indices('/') {
        if HOLDS_PACKAGES.iter().any(|name| path.get(start..end) == Some(name)) {
            found = Some(end + 1);
        }
        start = end + 1;
    }
    let from = found?;
    let inside = path.get(from..)?;
    let first = inside.find('/').unwrap_or(inside.len());
    // One of a scope has two names.
    let length = match inside.get(first + 1..).filter(|_| inside.starts_with('@')) {
        Some(rest) => first + 1 + rest.find('/').unwrap_or(rest.len()),
        None => first,
    };
    path.get(..from + length).filter(|_| length > 0)
}

/// Whether a new name among the programs of packages is one that scripts mean another program by.
#[must_use]
pub fn takes_a_program(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(folder, name)| {
        package(path) == Some(folder)
            && folder.ends_with("node_modules/.bin")
            && PACK.programs.iter().any(|known| like(known, name))
    })
}

/// Whether a package says that a tool loads something of it without being told to.
#[must_use]
pub fn is_loaded_by_itself(path: &str, content: &[u8]) -> bool {
    let is_one = path.rsplit_once(".dist-info/").or_else(|| path.rsplit_once(".egg-info/"));
    is_one.is_some_and(|(_, name)| name == PACK.loaded.file)
        && String::from_utf8_lossy(content).lines().any(|line| {
            let group = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            group.is_some_and(|group| PACK.loaded.groups.iter().any(|known| known == group.trim()))
        })
}

/// The kind of a directory of dependencies that is one by what is in it.
#[must_use]
pub fn kind_by_content() -> Option<&'static str> {
    PACK.kind.iter().find(|kind| !kind.holds.is_empty()).map(|kind| kind.kind.as_str())
}

/// Whether the file has a step that its package manager runs at installation. One that is no JSON is taken for one that has.
#[must_use]
pub fn has_install_step(path: &str, content: Option<&[u8]>) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    if !name.eq_ignore_ascii_case(&PACK.install_steps.file) {
        return false;
    }
    let content = content.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let Some(package) = content else { return true };
    let has = |name: &str| PACK.install_steps.scripts.iter().any(|step| name.eq_ignore_ascii_case(step));
    package["scripts"].as_object().is_some_and(|scripts| scripts.keys().any(|name| has(name)))
}

/// Whether the text of a link names something of the system's programs, or of a toolchain below a home: nothing that is anybody's own.
#[must_use]
pub fn is_of_the_system(target: &str) -> bool {
    let target = Path::new(target);
    if target.components().any(|part| part == Component::ParentDir) {
        return false;
    }
    let below_a_home = || {
        let home = target
            .ancestors()
            .find(|at| at.parent() == Some(Path::new("/home")))
            .unwrap_or(Path::new("/root"));
        let below = target.strip_prefix(home);
        below.is_ok_and(|below| PACK.system.toolchains.iter().any(|at| below != at && below.starts_with(at)))
    };
    PACK.system.directories.iter().any(|at| target != at && target.starts_with(at)) || below_a_home()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_directory_of_dependencies_counts() {
        for (path, at, kind) in [
            ("node_modules/a/node_modules/b/c.js", "node_modules", "installed"),
            ("app/node_modules/a", "app/node_modules", "installed"),
            (".venv/bin/python", ".venv", "installed"),
            ("venv-3.12/lib/x.pth", "venv-3.12", "installed"),
            ("go/vendor/a/b.go", "go/vendor", "built"),
            ("target/debug/x", "target", "built"),
        ] {
            assert_eq!(dependencies(path, false), Some((at, kind)), "{path}");
        }
        for path in ["node_modules", "src/vendors/x", "a/b/c", "", ".git/vendor/x", "vendor/x/.git/config"] {
            assert_eq!(dependencies(path, false), None, "{path}");
        }
        assert_eq!(dependencies("a/node_modules", true), Some(("a/node_modules", "installed")));
        for (path, at, kind) in [
            ("vendor/bundle/ruby/x.rb", "vendor/bundle", "installed"),
            ("app/vendor/bundle/x", "app/vendor/bundle", "installed"),
            ("vendor/bundles/x", "vendor", "built"),
            ("node_modules/vendor/bundle/x", "node_modules", "installed"),
        ] {
            assert_eq!(dependencies(path, false), Some((at, kind)), "{path}");
        }
        assert_eq!(dependencies("vendor", true), Some(("vendor", "built")));
    }

    #[test]
    fn a_directory_is_one_of_dependencies_by_what_is_in_it() {
        for (path, at) in [
            ("v/pyvenv.cfg", Some("v")),
            ("tools/env-3/pyvenv.cfg", Some("tools/env-3")),
            ("conda/conda-meta/history", Some("conda")),
            ("libs/requests-2.32.dist-info/RECORD", Some("libs")),
            ("pyvenv.cfg", None),
            ("conda-meta/history", None),
            ("v/other.cfg", None),
            (".git/v/pyvenv.cfg", None),
        ] {
            assert_eq!(made_dependencies(path), at, "{path}");
        }
        assert!(marks_of_dependencies().all(|mark| made_dependencies(&format!("x/{mark}")) == Some("x")));
        assert_eq!(kind_by_content(), Some("installed"));
    }

    #[test]
    fn links_to_programs_of_the_system_and_of_toolchains_are_told_from_others() {
        for target in [
            "/usr/bin/python3",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/home/me/.local/share/uv/python/cpython-3.13/bin/python3.13",
            "/home/me/.pyenv/versions/3.13.0/bin/python",
            "/root/.rustup/toolchains/stable/bin/rustc",
        ] {
            assert!(is_of_the_system(target), "{target}");
        }
        for target in [
            "/usr/../etc/passwd",
            "/etc/passwd",
            "/home/me/.ssh/id_rsa",
            "/home/me",
            "/home/me/.pyenv/versions",
            "usr/bin/x",
            "../x",
            "/usr",
            "/home/me/.pyenv/versions/../../.ssh/id_rsa",
            "/opt/x",
            "/tmp/.pyenv/versions/x/bin/y",
            "",
        ] {
            assert!(!is_of_the_system(target), "{target}");
        }
    }

    #[test]
    fn a_step_at_installation_is_found_and_what_is_no_json_has_one() {
        let has = |text: &str| has_install_step("node_modules/a/package.json", Some(text.as_bytes()));
        assert!(
            has(r#"{"scripts": {"postinstall": "node x"}}"#) && has(r#"{"scripts": {"\u0069nstall": "x"}}"#)
        );
        assert!(!has(r#"{"scripts": {"test": "node x"}, "install": "x"}"#) && !has("{}"));
        assert!(has("{not json") && has_install_step("package.json", None));
        assert!(!has_install_step("a/other.json", None));
    }
}

//! Directories that tools fill with the code of others: which one a path is in.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::place::like;

static PACK: LazyLock<Pack> = LazyLock::new(|| chaperone_packs::table("packs/dependencies.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pack {
    kind: Vec<Kind>,
    install_steps: InstallSteps,
    system: System,
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
    let mut found = None;
    for end in ends {
        let name = path.get(start..end)?;
        if name.eq_ignore_ascii_case(".git") {
            return None;
        }
        found = found.or_else(|| {
            let kind = PACK.kind.iter().find(|kind| kind.names.iter().any(|known| like(known, name)))?;
            Some((path.get(..end)?, kind.kind.as_str()))
        });
        start = end + 1;
    }
    found
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

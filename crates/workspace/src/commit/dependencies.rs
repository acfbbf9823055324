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

/// What says that a directory is made anew by a build. The user's own, too, comes whole or stays whole: half of it is of another build.
const OUTPUT: [&str; 2] = [".rustc_info.json", "maven-archiver/pom.properties"];
/// The kind of what a package manager installs.
const INSTALLED: &str = "installed";
/// What npm installs, and where it says which packages have steps of their own at installation.
const NODE_MODULES: &str = "node_modules";
const LOCK: &str = "package-lock.json";
/// Bytes of that which are looked at.
const LOCK_BYTES: usize = 32 << 20;

/// Of one commit.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    /// Directories that the user does not have, or that are made anew.
    new: BTreeSet<String>,
    /// Directories in which code that the user has becomes another.
    rewritten: BTreeSet<String>,
    /// Files with installation steps that the user's own lock file names.
    announced: BTreeSet<String>,
}

/// The directory of dependencies that a change is in, and its kind: by its name, or by what is in it as of the last look.
pub(super) fn around<'c>(mount: &LiveMount, change: &'c Change) -> Option<(&'c str, &'static str)> {
    around_path(mount, &change.path, change.kind == Kind::Dir)
}

/// The same of a path, which is itself one when `is_dir`.
pub(super) fn around_path<'p>(
    mount: &LiveMount,
    path: &'p str,
    is_dir: bool,
) -> Option<(&'p str, &'static str)> {
    let named = later::dependencies(path, is_dir);
    let installed = mount.installed.lock();
    let mut ends = path.match_indices('/').map(|(at, _)| at).chain(is_dir.then_some(path.len()));
    let held = ends.find_map(|end| path.get(..end).filter(|at| installed.contains(*at)));
    match (named, held.and_then(|at| Some((at, later::kind_by_content()?)))) {
        (Some(named), Some(held)) => Some(if held.0.len() <= named.0.len() { held } else { named }),
        (named, held) => named.or(held),
    }
}

/// Directories that are ones of dependencies by what is in them: the user's, or new with these changes. One of the user's own does
/// not become one by a file that is put into it.
pub(super) fn installed(mount: &LiveMount, changes: &[Change]) -> BTreeSet<String> {
    let is_there = |at: &str| overlay::open(&mount.root, at, OFlags::PATH | OFlags::NOFOLLOW).is_ok();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut found = BTreeSet::new();
    for change in changes {
        let made = later::made_dependencies(&change.path).filter(|_| change.op != Op::Delete);
        if let Some(at) = made.filter(|at| !is_there(at)) {
            found.insert(at.to_owned());
        }
        let mut at = change.path.as_str();
        while let Some((up, _)) = at.rsplit_once('/').filter(|(up, _)| seen.insert(up)) {
            let is_own = |mark: &str| is_there(&format!("{up}/{mark}"));
            let is_named = later::dependencies(up, true);
            if is_named.is_none_or(|(_, kind)| Some(kind) != later::kind_by_content())
                && is_there(up)
                && later::marks_of_dependencies().any(is_own)
            {
                found.insert(up.to_owned());
            }
            at = up;
        }
    }
    found
}

impl Dependencies {
    pub fn by(mount: &LiveMount, changes: &[Change], staged: &dyn Fn(&Change) -> Option<File>) -> Self {
        let placed: Vec<(&Change, &str, &str)> = changes
            .iter()
            .filter_map(|change| around(mount, change).map(|(at, kind)| (change, at, kind)))
            .collect();
        let roots: BTreeSet<&str> = placed.iter().map(|(_, at, _)| *at).collect();
        let is_there = |at: &str| overlay::open(&mount.root, at, OFlags::PATH | OFlags::NOFOLLOW).is_ok();
        let there: BTreeSet<&str> = roots.iter().copied().filter(|at| is_there(at)).collect();
        let is_output = |at: &str| OUTPUT.iter().any(|mark| is_there(&format!("{at}/{mark}")));
        let is_named = |path: &str| {
            later::stands_before(path).any(|other| is_there(&other))
                || later::nested(path).is_some_and(|both| both.iter().all(|at| is_there(at)))
                || later::takes_a_program(path)
        };
        let is_loaded = |change: &Change| {
            change.path.ends_with(".txt")
                && staged(change)
                    .and_then(|file| own::read(&file, later::SOURCE_BYTES))
                    .is_some_and(|text| later::is_loaded_by_itself(&change.path, &text))
        };
        // A package goes whole, or is another one.
        let gone: BTreeSet<&str> =
            placed.iter().filter(|(c, ..)| c.op == Op::Delete).map(|(c, ..)| c.path.as_str()).collect();
        let comes: BTreeSet<&str> = placed
            .iter()
            .filter(|(c, ..)| c.op != Op::Delete)
            .filter_map(|(c, ..)| later::package(&c.path))
            .collect();
        let changes_one = |path: &str| {
            later::package(path)
                .filter(|at| !at.ends_with("/.bin"))
                .is_some_and(|at| is_there(at) && (!gone.contains(at) || comes.contains(at)))
        };
        let rewrites = |(change, at, kind): &&(&Change, &str, &str)| {
            if later::is_record_of_dependencies(&change.path) {
                return false;
            }
            if change.kind == Kind::Dir {
                return false;
            }
            let is_own = change.op == Op::Modify || change.replaces.is_some();
            if is_own && (change.blob.is_some() || change.op == Op::Rename || change.kind == Kind::Symlink) {
                return true;
            }
            let is_installed = *kind == INSTALLED && there.contains(at);
            let is_new = || change.op != Op::Delete && change.kind == Kind::File && !is_there(&change.path);
            is_installed
                && (std::iter::once(&change.path).chain(&change.from).any(|path| changes_one(path))
                    || (is_named(&change.path) || is_loaded(change)) && is_new())
        };
        let rewritten = placed.iter().filter(rewrites).map(|(_, at, _)| (*at).to_owned()).collect();
        let announced = roots.iter().flat_map(|at| announced(mount, at)).collect();
        let new = roots.into_iter().filter(|at| !there.contains(at) || is_output(at));
        Self { new: new.map(str::to_owned).collect(), rewritten, announced }
    }

    /// Facts about a change.
    pub fn add(
        &self,
        about: &mut Map<String, Value>,
        mount: &LiveMount,
        change: &Change,
        content: Option<&File>,
    ) {
        let Some((at, kind)) = around(mount, change) else { return };
        about.insert("dependencies".into(), json!(kind));
        about.insert("dependencies_new".into(), json!(self.new.contains(at)));
        about.insert("dependencies_rewritten".into(), json!(self.rewritten.contains(at)));
        if change.kind == Kind::File && change.op != Op::Delete {
            let bytes = content.and_then(|file| own::read(file, later::SOURCE_BYTES));
            let whole = bytes.filter(|bytes| bytes.len() < later::SOURCE_BYTES);
            let is_run = later::has_install_step(&change.path, whole.as_deref())
                && !self.announced.contains(&change.path);
            about.insert("install_step".into(), json!(is_run));
        }
    }
}

/// The packages of a directory that npm fills, whose steps at installation the user knows of: their own lock file names them, and
/// their own npm runs them.
fn announced(mount: &LiveMount, at: &str) -> Vec<String> {
    let (above, name) = at.rsplit_once('/').map_or(("", at), |(above, name)| (above, name));
    if name != NODE_MODULES {
        return Vec::new();
    }
    let below = |path: &str| if above.is_empty() { path.to_owned() } else { format!("{above}/{path}") };
    let lock = own::open(mount, &below(LOCK)).and_then(|file| own::read(&file, LOCK_BYTES));
    let lock = lock.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let packages = lock.as_ref().and_then(|lock| lock["packages"].as_object());
    let has_step = |package: &Value| package["hasInstallScript"] == true;
    let named = packages.into_iter().flatten().filter(|(_, package)| has_step(package));
    named.map(|(place, _)| below(&format!("{place}/package.json"))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::*;

    fn made(path: &str) -> Change {
        Change::blank(path.to_owned(), Op::Create, Kind::File)
    }

    fn facts(directory: &Directory, dependencies: &Dependencies, path: &str) -> Map<String, Value> {
        let mut about = Map::new();
        let content = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&content, br#"{"scripts": {"postinstall": "x"}}"#, 0)
            .unwrap();
        dependencies.add(&mut about, &directory.mount, &made(path), Some(&content));
        about
    }

    #[test]
    fn a_step_that_the_users_own_lock_file_names_is_no_news() {
        let lock = r#"{"packages": {"": {}, "node_modules/esbuild": {"hasInstallScript": true}, "node_modules/x": {}}}"#;
        let directory = Directory::new(&[("app/package-lock.json", lock)]);
        let changes = ["esbuild", "x"].map(|name| made(&format!("app/node_modules/{name}/package.json")));
        let dependencies = Dependencies::by(&directory.mount, &changes, &|_| None);
        let is_run = |path: &str| facts(&directory, &dependencies, path)["install_step"] == true;
        assert!(!is_run("app/node_modules/esbuild/package.json"));
        assert!(is_run("app/node_modules/x/package.json"));
        // The agent's own lock file says nothing of the user.
        let directory = Directory::new(&[("package-lock.json", "{}")]);
        let dependencies =
            Dependencies::by(&directory.mount, &[made("node_modules/esbuild/package.json")], &|_| None);
        assert!(
            facts(&directory, &dependencies, "node_modules/esbuild/package.json")["install_step"] == true
        );
    }

    #[test]
    fn code_that_the_user_has_becomes_another_where_more_than_a_record_is_written() {
        let directory =
            Directory::new(&[("node_modules/a/x.js", ""), ("node_modules/.package-lock.json", "")]);
        let modified = |path: &str| {
            let mut change = Change::blank(path.to_owned(), Op::Modify, Kind::File);
            change.blob = Some(std::path::PathBuf::from("x"));
            change
        };
        let new = made("node_modules/b/x.js");
        for (path, is) in [("node_modules/a/x.js", true), ("node_modules/.package-lock.json", false)] {
            let changes = [modified(path), new.clone()];
            let dependencies = Dependencies::by(&directory.mount, &changes, &|_| None);
            let about = facts(&directory, &dependencies, "node_modules/b/x.js");
            assert_eq!(about["dependencies_rewritten"], is, "{path}");
        }
    }

    #[test]
    fn what_is_taken_in_place_of_what_is_installed_makes_it_another() {
        const SITE: &str = "venv/lib/python3.11/site-packages";
        let site = |name: &str| format!("{SITE}/{name}");
        let own = ["six.py", "pkg/__init__.py", "pkg/mod.py", "fast.so"].map(site);
        let mut own: Vec<(&str, &str)> = own.iter().map(|path| (path.as_str(), "")).collect();
        let modules = ["lodash/package.json", "foo/package.json", "foo/lib/a.json", "@s/b/package.json"];
        let modules = modules.map(|name| format!("node_modules/{name}"));
        own.extend(modules.iter().map(|path| (path.as_str(), "{}")));
        let directory = Directory::new(&own);
        let entry = |group: &'static str| {
            move |_: &Change| {
                let mut file = tempfile::tempfile().unwrap();
                std::io::Write::write_all(&mut file, format!("[{group}]\nx = y\n").as_bytes()).unwrap();
                Some(file)
            }
        };
        let rewrites = |path: &str, staged: &dyn Fn(&Change) -> Option<File>| {
            let dependencies = Dependencies::by(&directory.mount, &[made(path)], staged);
            facts(&directory, &dependencies, path)["dependencies_rewritten"] == true
        };
        let taken = ["six/__init__.py", "six.abi3.so", "pkg/mod/__init__.py", "fast/__init__.py"].map(site);
        let more = [
            "lodash.js",
            "lodash.json",
            "foo/lib/a.js",
            "foo/node_modules/lodash/index.js",
            "foo/node_modules/@s/b/x.js",
        ];
        for path in taken.into_iter().chain(more.map(|name| format!("node_modules/{name}"))) {
            assert!(rewrites(&path, &|_| None), "{path}");
        }
        let beside = ["new/__init__.py", "six.pyi", "fast.py"].map(site);
        let more = ["new/index.js", "new/node_modules/lodash/index.js"];
        for path in beside.into_iter().chain(more.map(|name| format!("node_modules/{name}"))) {
            assert!(!rewrites(&path, &|_| None), "{path}");
        }
        let points = site("plug-1.0.dist-info/entry_points.txt");
        assert!(rewrites(&points, &entry("pytest11")) && !rewrites(&points, &entry("console_scripts")));
    }

    #[test]
    fn a_package_that_is_there_becomes_another_by_whatever_changes_in_it() {
        let directory = Directory::new(&[
            ("node_modules/dep/main.js", ""),
            ("node_modules/dep/package.json", "{}"),
            ("node_modules/@s/b/x.js", ""),
            ("venv/lib/python3/site-packages/six.py", ""),
            ("venv/lib/python3/site-packages/pkg/__init__.py", ""),
        ]);
        let of = |op: Op, kind: Kind, path: &str, from: Option<&str>| {
            let mut change = Change::blank(path.to_owned(), op, kind);
            change.from = from.map(str::to_owned);
            change
        };
        let is_rewritten = |changes: &[Change]| {
            let dependencies = Dependencies::by(&directory.mount, changes, &|_| None);
            !dependencies.rewritten.is_empty()
        };
        let gone = |path: &str| of(Op::Delete, Kind::File, path, None);
        let whole = [
            of(Op::Delete, Kind::Dir, "node_modules/dep", None),
            gone("node_modules/dep/main.js"),
            gone("node_modules/dep/package.json"),
        ];
        let link = of(Op::Create, Kind::Symlink, "node_modules/dep", None);
        let another = [
            vec![whole[0].clone(), whole[1].clone(), whole[2].clone(), link],
            vec![gone("node_modules/dep/main.js"), made("node_modules/dep/main/index.js")],
            vec![gone("node_modules/dep/package.json")],
            vec![made("node_modules/dep/lib/main")],
            vec![of(Op::Rename, Kind::File, "node_modules/new/x.js", Some("node_modules/dep/main.js"))],
            vec![made("node_modules/@s/b/y.js")],
            vec![of(
                Op::Rename,
                Kind::File,
                "venv/lib/python3/site-packages/fl.py",
                Some("venv/lib/python3/site-packages/six.py"),
            )],
            vec![made("node_modules/.bin/node")],
        ];
        for changes in another {
            assert!(is_rewritten(&changes), "{:?}", changes.iter().map(|c| &c.path).collect::<Vec<_>>());
        }
        let beside = [
            whole.to_vec(),
            vec![
                made("node_modules/other/index.js"),
                made("node_modules/.bin/other"),
                made("node_modules/@s/c/x.js"),
            ],
            vec![
                made("node_modules/.package-lock.json"),
                made("venv/lib/python3/site-packages/__pycache__/six.cpython-311.pyc"),
            ],
            vec![made("venv/lib/python3/site-packages/new/__init__.py"), made("venv/bin/new")],
        ];
        for changes in beside {
            assert!(!is_rewritten(&changes), "{:?}", changes.iter().map(|c| &c.path).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_built_anew_comes_whole_also_where_the_user_has_one() {
        let directory = Directory::new(&[("target/.rustc_info.json", "{}"), ("vendor/x", "")]);
        let changes = ["target/debug/app", "vendor/y"].map(made);
        *directory.mount.installed.lock() = installed(&directory.mount, &changes);
        let dependencies = Dependencies::by(&directory.mount, &changes, &|_| None);
        let told = |path: &str| {
            let about = facts(&directory, &dependencies, path);
            (about["dependencies"].clone(), about["dependencies_new"].clone())
        };
        assert_eq!(told("target/debug/app"), (json!("installed"), json!(true)));
        assert_eq!(told("vendor/y"), (json!("built"), json!(false)));
    }
}

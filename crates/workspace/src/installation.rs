//! What of the host a cell shows beside its mounts, so that the program can run: the files of its installation, item by item,
//! and never a directory of which they are only a part. Whatever holds, is or lies in the workspace, a home, a private place or
//! Chaperone's own state is refused, not narrowed: what cannot be shown without it does not start. What is shown follows from the
//! command, the user's PATH and the system; a file of the workspace, which an agent may have written, chooses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use chaperone_protocol::{Failure, Shown};
use serde::Deserialize;

use crate::directories::{Places, overlap};
use crate::withheld;

/// An interpreter may have an interpreter, and a virtual environment a base; nobody has more of them.
const DEEPEST: usize = 4;
/// Names under which PATH finds what is installed under a longer one, such as `python3.12`.
const GENERIC: &[&str] = &["python3", "python"];
/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

static KNOWN: LazyLock<Known> = LazyLock::new(|| chaperone_packs::table("packs/installations.toml"));

/// Where installations are, and what they consist of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// What every cell shows already.
    base: Vec<PathBuf>,
    /// Below a home: places within private ones where programs are installed.
    places: Vec<PathBuf>,
    /// Below a home: installations as somebody published them, in which nothing is the user's.
    published: Vec<PathBuf>,
    /// Below a home: what is private even there.
    private: Vec<PathBuf>,
    /// Of a directory with `bin/PROGRAM` and `lib/`: the parts that are the installation's.
    parts: Vec<PathBuf>,
    /// A directory that has one of these is somebody's work, and what lies beside it is not an installation.
    work: Vec<PathBuf>,
}

/// What a program needs of the host.
#[derive(Debug, Default)]
pub struct Installation {
    /// Canonical paths to show read-only at their own place, each with its reason.
    pub shown: Vec<Shown>,
    /// What of that is covered.
    pub covered: BTreeSet<PathBuf>,
    /// Directories in memory around them, where toolchains write.
    pub scratch: Vec<PathBuf>,
    /// The program as the cell sees it.
    pub program: PathBuf,
    /// Directories for PATH.
    pub path: Vec<PathBuf>,
    /// The same, of the user's own toolchains: these come before those of the system.
    pub first: Vec<PathBuf>,
    /// Variables by which toolchains find their places.
    pub environment: BTreeMap<String, String>,
}

/// What the program at `named`, an absolute path with its links, needs of the host. `path` is where its interpreter is
/// looked for, `mounts` are places in the cell with where they come from. A program in the workspace needs nothing: it runs
/// through its mount.
///
/// # Errors
/// `not_shown` when it needs what no cell shows; `not_mounted` when it is in the workspace and in no mount.
pub fn find(
    named: &Path,
    path: &[PathBuf],
    places: &Places,
    workspace: &Path,
    mounts: &[(&str, &Path)],
) -> Result<Installation, Failure> {
    let mut finder = Finder { path, places, workspace, found: Installation::default() };
    finder.add(named, 0, Chosen::ByUser)?;
    let named = own_name(named).unwrap_or_else(|| named.to_owned());
    let real = named.canonicalize().unwrap_or_else(|_| named.clone());
    finder.found.program = if named.starts_with(workspace) {
        in_mount(&named, workspace, mounts)?
    } else if real.starts_with(workspace) {
        in_mount(&real, workspace, mounts)?
    } else if is_base(&named) || environment_of(&named).is_some() {
        // By its own name: a virtual environment is known by where its interpreter was called.
        named
    } else {
        real
    };
    Ok(finder.found)
}

/// Places that lie in what every cell shows: to be covered there.
#[must_use]
pub fn covered(places: &Places, workspace: &Path) -> Vec<PathBuf> {
    let all = places.homes().iter().chain(places.ours()).map(PathBuf::as_path).chain([workspace]);
    all.filter(|p| is_base(p)).map(Path::to_owned).collect()
}

/// Why nothing at this canonical path may be shown, if so: what is private but for the places where programs are installed.
pub(crate) fn refuse_directory(places: &Places, real: &Path) -> Option<&'static str> {
    let why = places.refuse(real)?;
    let is_installed = places.homes().iter().any(|home| {
        KNOWN.places.iter().any(|p| real.starts_with(home.join(p)))
            && !KNOWN.private.iter().any(|p| overlap(real, &home.join(p)))
    });
    let is_ours = places.ours().iter().any(|own| overlap(real, own));
    (is_ours || !is_installed).then_some(why)
}

/// Who decides that it is this program and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    /// The command, PATH, or a file that they lead to.
    ByUser,
    /// A link or a first line in the workspace.
    InWorkspace,
}

struct Finder<'a> {
    path: &'a [PathBuf],
    places: &'a Places,
    workspace: &'a Path,
    found: Installation,
}

impl Finder<'_> {
    fn add(&mut self, named: &Path, depth: usize, chosen: Chosen) -> Result<(), Failure> {
        let Ok(real) = named.canonicalize() else { return Ok(()) };
        if depth > DEEPEST || !real.is_file() {
            return Ok(());
        }
        let inside = real.starts_with(self.workspace);
        let mut chosen = if crosses(named, self.workspace) { Chosen::InWorkspace } else { chosen };
        let named = &own_name(named).unwrap_or_else(|| named.to_owned());
        if chosen == Chosen::InWorkspace {
            // An environment may be the user's where the interpreter that it is made of is the system's.
            for one in [named, &real] {
                let matters = one == &real || environment_of(one).is_some();
                if matters && !one.starts_with(self.workspace) && !is_base(one) {
                    if !self.is_published(one) && !self.is_on_path(one) {
                        return Err(chosen_by_agent(one));
                    }
                    chosen = Chosen::ByUser;
                }
            }
        }
        for one in [named, &real] {
            if let Some(root) = environment_of(one).filter(|root| !root.starts_with(self.workspace)) {
                self.environment(&root, depth, chosen)?;
            }
        }
        if !inside && !is_base(&real) {
            self.program(&real)?;
        }
        if let Some(interpreter) = interpreter(&real).and_then(|i| self.locate(&i)) {
            self.add(&interpreter, depth + 1, chosen)?;
        }
        Ok(())
    }

    /// Whether the user's PATH, without what lies in the workspace, finds the same installation.
    fn is_on_path(&self, program: &Path) -> bool {
        let is_same = |found: PathBuf| {
            [own_name(&found), found.canonicalize().ok()]
                .iter()
                .flatten()
                .any(|f| f.parent() == program.parent())
        };
        let names = program.file_name().into_iter().chain(GENERIC.iter().map(OsStr::new));
        names.filter_map(|name| self.first_on_path(name)).any(is_same)
    }

    fn first_on_path(&self, name: &OsStr) -> Option<PathBuf> {
        self.path.iter().map(|d| d.join(name)).find(|p| p.is_file() && !crosses(p, self.workspace))
    }

    fn is_published(&self, real: &Path) -> bool {
        self.places.homes().iter().any(|home| KNOWN.published.iter().any(|p| real.starts_with(home.join(p))))
    }

    /// A program outside the workspace, with what belongs to it.
    fn program(&mut self, real: &Path) -> Result<(), Failure> {
        // A package of npm's needs those that it depends on: everything in the outermost `node_modules`.
        if let Some(modules) = real.ancestors().filter(|f| f.ends_with("node_modules")).last() {
            self.show(modules, "packages that the program is one of", modules)?;
            // Of its own package also what its author forgot in it.
            let inside = real.strip_prefix(modules).unwrap_or(real);
            let names = if inside.to_string_lossy().starts_with('@') { 2 } else { 1 };
            self.cover(&modules.join(inside.iter().take(names).collect::<PathBuf>()), modules);
            return Ok(());
        }
        if !real.metadata().is_ok_and(|m| m.permissions().mode() & 0o111 != 0) {
            return Err(refused(real, "is no program: it may not be executed"));
        }
        if let Some(prefix) = real.parent().filter(|d| d.ends_with("bin")).and_then(Path::parent) {
            self.prefix(prefix, real)?;
        }
        self.show(real, "the program", real)?;
        if let Some(directory) = real.parent() {
            self.search(directory);
        }
        Ok(())
    }

    /// What stands around `prefix/bin/PROGRAM`.
    fn prefix(&mut self, prefix: &Path, program: &Path) -> Result<(), Failure> {
        let lib = prefix.join("lib");
        let is_python = interpreter(program).is_some_and(|i| i.to_string_lossy().contains("python"));
        let is_work = KNOWN.work.iter().any(|mark| prefix.join(mark).symlink_metadata().is_ok());
        let is_own = !is_work && self.refuse(prefix).is_none() && !overlap(prefix, self.workspace);
        if is_own && lib.is_dir() {
            for part in KNOWN.parts.iter().map(|p| prefix.join(p)).filter(|p| p.is_dir()) {
                self.show(&part, "the program's installation", prefix)?;
            }
        } else if is_python && !is_work {
            // `pip install --user`: the programs of many share a prefix, and their packages a directory in it.
            for entry in std::fs::read_dir(&lib).into_iter().flatten().flatten() {
                let packages = entry.path().join("site-packages");
                if entry.file_name().to_string_lossy().starts_with("python") && packages.is_dir() {
                    self.show(&packages, "Python packages beside the program", &packages)?;
                }
            }
        }
        Ok(())
    }

    /// A virtual environment, and the interpreter that it was made of. The directory may be a project's, too, so only what
    /// makes it one is shown.
    fn environment(&mut self, root: &Path, depth: usize, chosen: Chosen) -> Result<(), Failure> {
        for part in ["pyvenv.cfg", "bin", "lib", "lib64"] {
            let part = root.join(part);
            if part.exists() {
                self.show(&part, "the program's virtual environment", root)?;
            }
        }
        let python = root.join("bin/python");
        let base = std::fs::read_link(&python).map(|to| python.with_file_name(to));
        base.map_or(Ok(()), |base| self.add(&base, depth + 1, chosen))
    }

    /// Shows one item of an installation, unless something that holds it is shown already.
    fn show(&mut self, item: &Path, why: &str, installation: &Path) -> Result<(), Failure> {
        let Ok(real) = item.canonicalize() else { return Ok(()) };
        if is_base(&real) {
            return Ok(());
        }
        if overlap(&real, self.workspace) {
            return Err(refused(
                item,
                "holds files of the workspace, which are shown through their mount alone",
            ));
        }
        if let Some(why) = self.refuse(&real) {
            return Err(refused(item, why));
        }
        if item.is_dir() {
            self.cover(item, installation);
        }
        let bin = item.is_dir() && item.ends_with("bin");
        if bin {
            self.search(item);
        }
        if !self.found.shown.iter().any(|s| item.starts_with(&s.path)) {
            self.found.shown.push(Shown { path: item.to_owned(), why: why.to_owned() });
        }
        Ok(())
    }

    fn cover(&mut self, item: &Path, installation: &Path) {
        self.found.covered.extend(withheld::find(item, &[installation.to_owned()]));
    }

    fn refuse(&self, real: &Path) -> Option<&'static str> {
        let is_place =
            self.places.homes().iter().any(|home| KNOWN.places.iter().any(|p| real == home.join(p)));
        if is_place { self.places.refuse(real) } else { refuse_directory(self.places, real) }
    }

    fn search(&mut self, directory: &Path) {
        if !self.found.path.iter().any(|p| p == directory) {
            self.found.path.push(directory.to_owned());
        }
    }

    /// An interpreter by its path, or by its name on PATH.
    fn locate(&self, interpreter: &Path) -> Option<PathBuf> {
        if interpreter.is_absolute() {
            return Some(interpreter.to_owned());
        }
        self.path.iter().map(|d| d.join(interpreter)).find(|p| p.is_file())
    }
}

fn refused(item: &Path, why: &str) -> Failure {
    Failure::new("not_shown", format!("the program needs {}, which {why}", item.display()))
        .advise("install the program outside of what is private, or start it in a workspace of its own")
}

fn chosen_by_agent(item: &Path) -> Failure {
    let text = format!("the program needs {}, which only a file of the workspace names", item.display());
    let directory = item.parent().unwrap_or(item).display().to_string();
    Failure::new("not_shown", text)
        .advise(format!("put {directory} on your PATH, or name the interpreter in the command"))
}

/// Whether something on the way that `path` leads, a directory or a link, lies in the workspace.
fn crosses(path: &Path, workspace: &Path) -> bool {
    let mut at = PathBuf::from("/");
    let mut rest: Vec<OsString> = path.iter().rev().map(ToOwned::to_owned).collect();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        match Path::new(&name).components().next() {
            Some(Component::Normal(name)) => at.push(name),
            Some(Component::ParentDir) => drop(at.pop()),
            _ => continue,
        }
        if at.starts_with(workspace) {
            return true;
        }
        let Ok(to) = std::fs::read_link(&at) else { continue };
        links += 1;
        if links > MOST_LINKS {
            return true;
        }
        at.pop();
        if to.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(to.iter().rev().map(ToOwned::to_owned));
    }
    false
}

/// A path in the workspace as the cell has it.
fn in_mount(inside: &Path, workspace: &Path, mounts: &[(&str, &Path)]) -> Result<PathBuf, Failure> {
    mounts
        .iter()
        .find_map(|(at, source)| Some(Path::new(at).join(inside.strip_prefix(source).ok()?)))
        .ok_or_else(|| {
            let name = inside.strip_prefix(workspace).unwrap_or(inside).display();
            Failure::new("not_mounted", format!("{name} is in the workspace, but in no mount of the profile"))
                .advise("use a profile that mounts it, or a program from elsewhere")
        })
}

/// The directory resolved, the last name as it is: where a program was called, not what it is a link to.
fn own_name(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

fn is_base(path: &Path) -> bool {
    KNOWN.base.iter().any(|base| path.starts_with(base))
}

/// The virtual environment that `ROOT/bin/PROGRAM` belongs to.
fn environment_of(program: &Path) -> Option<PathBuf> {
    let root = program.parent().filter(|d| d.ends_with("bin"))?.parent()?;
    root.join("pyvenv.cfg").is_file().then(|| root.to_owned())
}

/// What the first line of a script names: a path, or the name that `env` looks for.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut head = [0; 512];
    let read = File::open(program).and_then(|mut f| f.read(&mut head)).ok()?;
    let line = head.get(..read)?.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let first = Path::new(words.next()?);
    if !first.ends_with("env") {
        return Some(first.to_owned());
    }
    words.find(|w| !w.starts_with('-') && !w.contains('=')).map(PathBuf::from)
}

#[cfg(test)]
mod tests;

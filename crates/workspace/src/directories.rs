//! Which directories may be handed to an agent, and where its mounts come from.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode as FileMode, OFlags, ResolveFlags};
use serde::Deserialize;

use crate::mount::{CAUTIOUS, LiveMount};
use crate::root::Root;
use chaperone_config::profile::{self, Profile};
use chaperone_protocol::Failure;
use chaperone_protocol::session::Mode;

static NEVER: LazyLock<Never> = LazyLock::new(|| chaperone_packs::table("packs/directories.toml"));

/// What is never a workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Never {
    /// Directories below the home that hold credentials or settings that programs act on, and all in them.
    private: Vec<PathBuf>,
    /// Directories with a dot, or in one, in which people keep projects.
    projects: Vec<PathBuf>,
    /// Directories of the system, and all in them.
    system: Vec<PathBuf>,
    /// Directories that hold other people's or programs' directories; what is in them may be.
    shared: Vec<PathBuf>,
}

/// The places of one user that no agent is given: the homes, what is private in them, and Chaperone's own directories.
/// All are canonical: a path is compared with where a place really is.
#[derive(Debug, Clone)]
pub struct Places {
    homes: Vec<PathBuf>,
    ours: Vec<PathBuf>,
}

impl Places {
    /// `homes` as the environment and the user database name them; `ours` are Chaperone's own directories. What is not
    /// there yet is taken as it is written.
    #[must_use]
    pub fn new(homes: &[PathBuf], ours: &[&Path]) -> Self {
        let real = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
        let mut homes: Vec<PathBuf> =
            homes.iter().map(|h| real(h)).filter(|h| h.parent().is_some()).collect();
        homes.sort();
        homes.dedup();
        Self { homes, ours: ours.iter().map(|o| real(o)).collect() }
    }

    #[must_use]
    pub fn homes(&self) -> &[PathBuf] {
        &self.homes
    }

    #[must_use]
    pub fn ours(&self) -> &[PathBuf] {
        &self.ours
    }

    /// Why nothing at this canonical path may be given as it is, if so.
    pub(crate) fn refuse(&self, real: &Path) -> Option<&'static str> {
        if NEVER.shared.iter().any(|s| real == s) {
            return Some("is not a directory of your own documents");
        }
        if self.ours.iter().any(|o| overlap(real, o)) {
            return Some("holds this program's own state");
        }
        self.homes.iter().find_map(|home| {
            if real == home {
                Some("is your whole home, with every key and setting in it")
            } else if home.starts_with(real) {
                Some("contains your home")
            } else if is_private(home, real) {
                Some("is a directory of credentials or settings")
            } else {
                None
            }
        })
    }

    /// Why no workspace is made of what programs may well be shown.
    fn settings(&self, real: &Path) -> Option<&'static str> {
        let is_settings = self.homes.iter().any(|home| is_in_a_dot_directory(home, real));
        is_settings.then_some(
            "is in a directory with a dot below your home, of settings and code that programs start with",
        )
    }

    pub(crate) fn of_system(&self, real: &Path) -> Option<&'static str> {
        let in_system = NEVER.system.iter().any(|s| real.starts_with(s)) && !real.starts_with("/var/tmp");
        (in_system && !self.in_home(real)).then_some("is a directory of the system")
    }

    /// It is settings or data of one program for the whole machine, which every user may read: a profile may show it.
    pub(crate) fn is_public_data(&self, real: &Path) -> bool {
        let parents = ["/etc", "/var/lib"].map(Path::new);
        let is_below = parents.iter().any(|parent| real != *parent && real.starts_with(parent));
        // All on the way to it, too.
        let is_open = |at: &Path| {
            at.metadata()
                .is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o005 == 0o005 && meta.mode() & 0o002 == 0)
        };
        is_below && real.ancestors().all(is_open)
    }

    /// It is in one of the homes.
    pub(crate) fn in_home(&self, real: &Path) -> bool {
        self.homes.iter().any(|home| real.starts_with(home))
    }
}

/// It is in, or holds, what is private in this home.
fn is_private(home: &Path, real: &Path) -> bool {
    let is_project = is_project(home, real);
    NEVER.private.iter().any(|p| {
        let place = home.join(p);
        if place.symlink_metadata().is_err() {
            return overlap(real, &place) && !is_project;
        }
        // A private place may itself be a link to elsewhere.
        let real_place = place.canonicalize().unwrap_or_else(|_| place.clone());
        overlap(real, &place) && !is_project || real_place != place && overlap(real, &real_place)
    })
}

fn is_in_a_dot_directory(home: &Path, real: &Path) -> bool {
    let first = real.strip_prefix(home).ok().and_then(|below| below.components().next());
    first.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"."))
        && !is_project(home, real)
}

fn is_project(home: &Path, real: &Path) -> bool {
    NEVER.projects.iter().any(|place| real.starts_with(home.join(place)))
}

/// One holds the other, or they are the same.
pub(crate) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Resolve a directory that the user names as a workspace.
///
/// # Errors
/// `workspace_refused` for `/`, a whole home, directories of the system or of credentials, with what to do instead;
/// `workspace_missing` when it is not a directory.
pub fn resolve(named: &Path, places: &Places) -> Result<PathBuf, Failure> {
    let missing = |e: std::io::Error| {
        Failure::new("workspace_missing", format!("{}: {e}", named.display()))
            .advise("name a directory that exists")
    };
    let real = named.canonicalize().map_err(missing)?;
    if !real.is_dir() {
        return Err(Failure::new("workspace_missing", format!("{} is not a directory", real.display())));
    }
    match places.refuse(&real).or_else(|| places.of_system(&real)).or_else(|| places.settings(&real)) {
        Some(why) => Err(Failure::new("workspace_refused", format!("{} {why}", real.display())).advise(
            "make a directory for this task without a dot in front of its name (settings of yours: ~/.dotfiles), copy or move in what the agent needs, and run it there",
        )),
        None => Ok(real),
    }
}

/// Each mount of a profile, with the directory behind it, as they are named.
#[must_use]
pub fn sources(profile: &Profile, workspace: &Path) -> Vec<(String, PathBuf)> {
    let from = |mount| match relative(mount) {
        all if all.as_os_str().is_empty() => workspace.to_owned(),
        part => workspace.join(part),
    };
    profile.mounts.iter().map(|mount| (mount.path.clone(), from(mount))).collect()
}

fn relative(mount: &profile::Mount) -> PathBuf {
    mount.from.clone().unwrap_or_else(|| PathBuf::from(prefix(mount)))
}

fn prefix(mount: &profile::Mount) -> &str {
    mount.path.strip_prefix("/workspace").unwrap_or_default().trim_start_matches('/')
}

/// Open the directory behind each mount of a profile, without following a link below the workspace.
///
/// # Errors
/// `mount_missing`, `mount_refused`.
pub fn mounts(profile: &Profile, workspace: &Path, session_dir: &Path) -> Result<Vec<LiveMount>, Failure> {
    let root =
        rustix::fs::open(workspace, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, FileMode::empty())
            .map_err(|e| Failure::new("workspace_missing", format!("{}: {e}", workspace.display())))?;
    let declared = if profile.mounts.is_empty() {
        return Err(Failure::new("no_mounts", format!("profile {} mounts nothing", profile.name)));
    } else {
        &profile.mounts
    };
    let mut live: Vec<LiveMount> = Vec::new();
    for (i, mount) in declared.iter().enumerate() {
        let prefix = prefix(mount).to_owned();
        if live.iter().any(|m| nested(&m.at, &mount.path)) {
            return Err(Failure::new(
                "mount_refused",
                format!("the mounts {} overlap another one of the profile", mount.path),
            ));
        }
        let relative = relative(mount);
        let fd = open_folder(&root, &relative, mount.actions.iter().any(|a| a == "write"))?;
        live.push(LiveMount {
            at: mount.path.clone(),
            prefix,
            source: workspace.join(&relative),
            root: Root::open(workspace.join(&relative), fd),
            mode: mount.mode,
            actions: mount.actions.clone(),
            hide_denied: mount.hide_denied,
            write_back: mount.write_back,
            stage_dir: session_dir.join(format!("mount-{i}")),
            programs: Vec::new(),
            umask: CAUTIOUS,
            spelled: None,
            installed: Mutex::default(),
            stage: Mutex::default(),
            overlay: None,
        });
    }
    if live.iter().any(|m| m.mode == Mode::Staged && !m.actions.iter().any(|a| a == "write")) {
        return Err(Failure::new(
            "mount_refused",
            "a staged mount without write makes no sense; use mode = \"read-only\"",
        ));
    }
    Ok(live)
}

fn nested(a: &str, b: &str) -> bool {
    let below = |x: &str, y: &str| x == y || x.strip_prefix(y).is_some_and(|r| r.starts_with('/'));
    below(a, b) || below(b, a)
}

fn open_folder(root: &OwnedFd, relative: &Path, writable: bool) -> Result<OwnedFd, Failure> {
    let at: &Path = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, at, flags, FileMode::empty(), beneath) {
        Err(rustix::io::Errno::NOENT) if writable => {
            // A directory that the profile writes to and that is not there yet: an empty one of the user's own.
            rustix::fs::mkdirat(root, at, FileMode::from_raw_mode(0o755))
                .and_then(|()| rustix::fs::openat2(root, at, flags, FileMode::empty(), beneath))
                .map_err(|e| missing(relative, e))
        }
        other => other.map_err(|e| missing(relative, e)),
    }
}

fn missing(relative: &Path, e: rustix::io::Errno) -> Failure {
    let shown = relative.display();
    match e {
        rustix::io::Errno::LOOP => Failure::new("mount_refused", format!("{shown} is or contains a link"))
            .advise("name the directory itself"),
        _ => Failure::new("mount_missing", format!("the workspace has no directory {shown}: {e}"))
            .advise(format!("make it, or use a profile that does not mount {shown}")),
    }
}

/// The identity of a directory, to notice that it was replaced.
///
/// # Errors
/// When it cannot be read.
pub fn identity(fd: &OwnedFd) -> std::io::Result<(u64, u64)> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A path without `.` and `..`, by its words alone: what is a link on the way is not asked.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_workspaces_are_refused_with_what_to_do_instead() {
        let tmp = tempfile::tempdir().unwrap();
        let home = tmp.path().join("home");
        for sub in ["docs", ".ssh", ".config/app", ".local/state/chaperone"] {
            std::fs::create_dir_all(home.join(sub)).unwrap();
        }
        let state = home.join(".local/state/chaperone");
        let places = Places::new(std::slice::from_ref(&home), &[&state]);
        let judge = |p: &Path| resolve(p, &places);
        assert!(judge(&home.join("docs")).is_ok());
        for bad in [
            PathBuf::from("/"),
            home.clone(),
            home.join(".ssh"),
            home.join(".config/app"),
            "/etc".into(),
            "/usr/share".into(),
            tmp.path().into(),
        ] {
            let refused = judge(&bad).unwrap_err();
            assert_eq!(refused.code, "workspace_refused", "{}", bad.display());
            assert!(refused.advice.is_some());
        }
    }

    #[test]
    fn a_home_or_state_that_is_named_by_a_link_is_refused_where_it_really_is() {
        let tmp = tempfile::tempdir().unwrap();
        let (real, link) = (tmp.path().join("disk/me"), tmp.path().join("home"));
        for sub in ["docs", ".ssh", "elsewhere/keys", "state/chaperone"] {
            std::fs::create_dir_all(real.join(sub)).unwrap();
        }
        std::os::unix::fs::symlink(&real, &link).unwrap();
        std::os::unix::fs::symlink("elsewhere/keys", real.join(".gnupg")).unwrap();
        let places = Places::new(std::slice::from_ref(&link), &[&link.join("state/chaperone")]);
        for bad in ["", ".ssh", "state", "state/chaperone", "elsewhere", "elsewhere/keys"] {
            for home in [&real, &link] {
                assert!(resolve(&home.join(bad), &places).is_err(), "{bad}");
            }
        }
        assert!(resolve(&link.join("docs"), &places).is_ok());
    }

    #[test]
    fn directories_with_a_dot_below_the_home_are_refused_but_for_those_of_projects() {
        let tmp = tempfile::tempdir().unwrap();
        let home = tmp.path().join("home");
        let places = Places::new(std::slice::from_ref(&home), &[]);
        let is_taken = |below: &str| {
            std::fs::create_dir_all(home.join(below)).unwrap();
            resolve(&home.join(below), &places).is_ok()
        };
        for bad in [
            ".oh-my-zsh/custom",
            ".vim",
            ".emacs.d/lisp",
            ".ipython",
            ".bashrc.d",
            ".nvm",
            ".pyenv/shims",
            ".vscode/extensions",
            ".cursor",
            ".cursor/extensions",
            ".var/app",
            ".made-up-tomorrow",
            ".local",
            ".local/bin",
            ".config",
        ] {
            assert!(!is_taken(bad), "{bad}");
        }
        for good in [".dotfiles", ".dotfiles/zsh", ".local/src/x", ".cursor/worktrees/a", "work/.vim", "work"]
        {
            assert!(is_taken(good), "{good}");
        }
        std::os::unix::fs::symlink(home.join(".dotfiles/zsh"), home.join(".zsh")).unwrap();
        assert!(is_taken(".dotfiles/zsh"), "what a link leads to is asked about file by file");
        std::os::unix::fs::symlink(home.join(".dotfiles/zsh"), home.join(".ssh")).unwrap();
        assert!(!is_taken(".dotfiles/zsh"), "what is private stays so where it really is");
    }

    #[test]
    fn a_link_to_a_dangerous_folder_is_that_folder() {
        let tmp = tempfile::tempdir().unwrap();
        let link = tmp.path().join("docs");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        assert_eq!(resolve(&link, &Places::new(&[], &[])).unwrap_err().code, "workspace_refused");
    }

    #[test]
    fn a_mount_whose_directory_is_a_link_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", tmp.path().join("reports")).unwrap();
        let profile =
            Profile::parse("name = \"x\"\n[[mount]]\npath = \"/workspace/reports\"\n", "x").unwrap();
        let refused = mounts(&profile, tmp.path(), tmp.path()).unwrap_err();
        assert_eq!(refused.code, "mount_refused");
    }
}

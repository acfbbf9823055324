//! What a repository of git has outside of the workspace: the directory that a linked work tree or a submodule is a part of, and
//! work trees beside it. Each has to point back at the workspace as git writes it, so that a file in the workspace, which an agent
//! may have written, chooses nothing.
//!
//! Source: gitrepository-layout(5), git-worktree(1).

use std::path::{Path, PathBuf};

use chaperone_protocol::session::Mode;
use chaperone_protocol::{Failure, Shown};
use rustix::fs::{Mode as FileMode, OFlags};

use crate::directories::{Places, overlap};
use crate::mount::LiveMount;

/// Bytes of a file that leads elsewhere.
const POINTER: u64 = 4096;
/// Bytes of a repository's settings.
const SETTINGS: u64 = 64 << 10;
/// Work trees beside a workspace that are shown.
const MOST_BESIDE: usize = 8;

/// What is shown beside the workspace, at its own place.
#[derive(Debug, Default)]
pub struct Repositories {
    /// What the workspace's own repository consists of: mounted like the workspace.
    pub common: Option<PathBuf>,
    /// Work trees of it: to be read.
    pub beside: Vec<PathBuf>,
    /// What cannot be shown, and why.
    pub notices: Vec<String>,
}

/// What the workspace's repository has elsewhere; `fits` says whether a directory can be shown at its own place.
#[must_use]
pub fn find(workspace: &Path, places: &Places, fits: &dyn Fn(&Path) -> bool) -> Repositories {
    let mut found = Repositories::default();
    let refuse = |at: &Path| {
        let taken = || (!fits(at)).then_some("is where the cell has something of its own");
        places
            .refuse(at)
            .or_else(taken)
            .or_else(|| overlap(at, workspace).then_some("overlaps the workspace"))
    };
    let git = workspace.join(".git");
    if let Some(directory) = pointed(&git) {
        let Some(common) = common_of(&directory, workspace) else { return found };
        if common.starts_with(workspace) {
            return found;
        }
        let is_named =
            common.components().any(|part| part.as_os_str() == ".git") && common.to_str().is_some();
        let why = if is_named { refuse(&common) } else { Some("is not called .git") };
        match why {
            None => found.common = Some(common),
            Some(why) => found.notices.push(format!(
                "git finds no repository in the cell: {} {why}; a clone in a directory of its own works",
                common.display()
            )),
        }
        return found;
    }
    let trees = std::fs::read_dir(git.join("worktrees")).into_iter().flatten().flatten();
    for tree in trees.map(|entry| entry.path()) {
        let Some(beside) = tree_of(&tree).filter(|at| !at.starts_with(workspace)) else { continue };
        let is_of_it = pointed(&beside.join(".git")).is_some_and(|back| back == tree);
        if is_of_it
            && beside.to_str().is_some()
            && refuse(&beside).is_none()
            && found.beside.len() < MOST_BESIDE
        {
            found.beside.push(beside);
        }
    }
    found.beside.sort();
    found
}

impl Repositories {
    /// What is listed of it before the start.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |at: &PathBuf, why: &str| Shown { path: at.clone(), why: why.to_owned() };
        let beside =
            self.beside.iter().map(|at| shown(at, "work tree of the workspace's repository, to be read"));
        self.common.iter().map(|at| shown(at, "the workspace's repository")).chain(beside).collect()
    }

    /// The mounts of it beside `own`, that of the workspace.
    ///
    /// # Errors
    /// `mount_missing`.
    pub fn mounts(&self, own: &LiveMount, session_dir: &Path) -> Result<Vec<LiveMount>, Failure> {
        let read = || vec!["read".to_owned(), "list".to_owned()];
        let common = self.common.iter().map(|at| (at, own.mode, own.actions.clone()));
        let beside = self.beside.iter().map(|at| (at, Mode::Mediated, read()));
        let made = common.chain(beside).enumerate().map(|(i, (at, mode, actions))| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let root = rustix::fs::open(at, flags, FileMode::empty())
                .map_err(|e| Failure::new("mount_missing", format!("{}: {e}", at.display())))?;
            let name = at.display().to_string();
            let record = chaperone_protocol::session::MountRecord {
                at: name.clone(),
                prefix: name,
                source: at.clone(),
                mode,
                actions,
                stage_dir: session_dir.join(format!("repository-{i}")),
                programs: Vec::new(),
            };
            let mut mount = LiveMount::closed(record, root);
            (mount.hide_denied, mount.write_back) = (own.hide_denied, own.write_back);
            Ok(mount)
        });
        made.collect()
    }
}

/// The directory that a `.git` file leads to.
fn pointed(git: &Path) -> Option<PathBuf> {
    let text = text(git, POINTER)?;
    let target = text.strip_prefix("gitdir:")?.trim();
    git.parent()?.join(target).canonicalize().ok().filter(|at| at.is_dir())
}

/// The work tree that a directory of `worktrees` is of.
fn tree_of(directory: &Path) -> Option<PathBuf> {
    let git = directory.join(text(&directory.join("gitdir"), POINTER)?.trim());
    (git.file_name()? == ".git").then(|| git.parent()?.canonicalize().ok()).flatten()
}

/// The repository that a linked work tree or a submodule is a part of, where it says so itself.
fn common_of(directory: &Path, workspace: &Path) -> Option<PathBuf> {
    if let Some(common) = text(&directory.join("commondir"), POINTER) {
        let common = directory.join(common.trim()).canonicalize().ok()?;
        let is_own = directory.parent()? == common.join("worktrees") && tree_of(directory)? == workspace;
        return is_own.then_some(common);
    }
    let settings = text(&directory.join("config"), SETTINGS)?;
    let tree = settings.lines().filter_map(|line| line.trim().strip_prefix("worktree")).find_map(|rest| {
        let value = rest.trim_start().strip_prefix('=')?.trim();
        directory.join(value.trim_matches('"')).canonicalize().ok()
    });
    (tree? == workspace).then(|| directory.to_owned())
}

fn text(path: &Path, most: u64) -> Option<String> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    if !meta.is_file() || meta.len() > most {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(at: &Path, text: &str) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
    }

    /// A repository `main` with a linked work tree `side` and a submodule `sub`, as git makes them.
    fn furnished() -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().canonicalize().unwrap();
        let main = root.join("main/.git");
        write(&main.join("HEAD"), "ref: refs/heads/main\n");
        write(&main.join("worktrees/side/commondir"), "../..\n");
        write(&main.join("worktrees/side/gitdir"), &format!("{}\n", root.join("side/.git").display()));
        write(&root.join("side/.git"), &format!("gitdir: {}\n", main.join("worktrees/side").display()));
        write(&main.join("modules/sub/config"), "[core]\n\tbare = false\n\tworktree = ../../../sub\n");
        write(&root.join("main/sub/.git"), "gitdir: ../.git/modules/sub\n");
        (tmp, root)
    }

    fn found(root: &Path, workspace: &str) -> Repositories {
        find(&root.join(workspace), &Places::new(&[root.join("home")], &[]), &|_| true)
    }

    #[test]
    fn a_work_tree_a_submodule_and_what_lies_beside_are_found() {
        let (_tmp, root) = furnished();
        assert_eq!(found(&root, "side").common, Some(root.join("main/.git")));
        assert_eq!(found(&root, "main/sub").common, Some(root.join("main/.git/modules/sub")));
        let main = found(&root, "main");
        assert_eq!((main.common, main.beside), (None, vec![root.join("side")]));
        let none = found(&root, "main/nothing");
        assert!(none.common.is_none() && none.beside.is_empty() && none.notices.is_empty());
    }

    #[test]
    fn what_does_not_point_back_is_not_shown() {
        let (_tmp, root) = furnished();
        let theirs = root.join("other/.git/worktrees/x");
        write(&theirs.join("commondir"), "../..\n");
        write(&theirs.join("gitdir"), &format!("{}\n", root.join("elsewhere/.git").display()));
        write(&root.join("work/.git"), &format!("gitdir: {}\n", theirs.display()));
        assert!(found(&root, "work").common.is_none(), "another work tree's");
        write(&root.join("work/.git"), &format!("gitdir: {}\n", root.join("main/.git").display()));
        assert!(found(&root, "work").common.is_none(), "a repository that is none of its");
        write(
            &root.join("work/.git"),
            &format!("gitdir: {}\n", root.join("main/.git/modules/sub").display()),
        );
        assert!(found(&root, "work").common.is_none(), "a submodule elsewhere");
        // A work tree that only the repository names.
        write(
            &root.join("main/.git/worktrees/y/gitdir"),
            &format!("{}\n", root.join("other/.git").display()),
        );
        assert_eq!(found(&root, "main").beside, [root.join("side")]);
    }

    #[test]
    fn what_lies_in_a_private_place_is_refused_with_the_reason() {
        let (_tmp, root) = furnished();
        let places = Places::new(&[root.join("home")], &[&root.join("main")]);
        let state = find(&root.join("side"), &places, &|_| true);
        assert!(state.common.is_none() && state.notices[0].contains("own state"), "{:?}", state.notices);
        let taken = find(&root.join("side"), &Places::new(&[], &[]), &|_| false);
        assert!(taken.common.is_none() && taken.notices.len() == 1);
        let private = Places::new(std::slice::from_ref(&root), &[]);
        std::fs::rename(root.join("main"), root.join(".config")).unwrap();
        let git = root.join(".config/.git");
        write(&root.join("side/.git"), &format!("gitdir: {}\n", git.join("worktrees/side").display()));
        let refused = find(&root.join("side"), &private, &|_| true);
        assert!(
            refused.common.is_none() && refused.notices[0].contains("credentials"),
            "{:?}",
            refused.notices
        );
    }
}

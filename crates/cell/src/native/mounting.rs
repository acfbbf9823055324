//! How things get into the root that is being built: trees, overlays, covers and directories below [`BASE`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chaperone_names::native;
use chaperone_sys::{ReadOnly, set_mount_attributes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use crate::plan::SetupError;

/// Where the new root is built before it becomes `/`.
pub(crate) const BASE: &str = "/tmp";
/// Files that nobody may read.
const COVERS: &str = "/run/chaperone/covers";
/// A directory with nothing in it.
pub(super) const EMPTY: &str = "/run/chaperone/empty";

/// What is a directory of the new root stays one while it is built: most places are beside others.
#[derive(Debug, Default)]
pub(super) struct Made(RefCell<HashSet<PathBuf>>);

impl Made {
    /// Make a directory of the new root. A link on the way is refused: it would be followed in the old root.
    pub fn directory(&self, path: &Path) -> Result<(), SetupError> {
        let mut at = PathBuf::from(BASE);
        for name in path.strip_prefix(BASE).unwrap_or(path).components() {
            at.push(name);
            if self.0.borrow().contains(&at) {
                continue;
            }
            match fs::create_dir(&at) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let there = fs::symlink_metadata(&at).map_err(io_failed("look at a directory"))?;
                    if there.is_symlink() {
                        return Err(SetupError::new(format!("{} leads through a link", path.display())));
                    }
                    if !there.is_dir() {
                        // Whoever needs a directory there says so.
                        continue;
                    }
                }
                Err(e) => return Err(io_failed(&format!("make {}", at.display()))(e)),
            }
            self.0.borrow_mut().insert(at.clone());
        }
        Ok(())
    }

    pub fn parent(&self, path: &Path) -> Result<(), SetupError> {
        path.parent().map_or(Ok(()), |parent| self.directory(parent))
    }
}

/// Show a directory of the host's read-only, at its own place, with what a directory of the cell adds. Not where something is
/// mounted within it, which the kernel takes no part of for an overlay.
pub(super) fn below(made: &Made, at: &Path, added: &Path, host: &OwnedFd) -> Result<bool, SetupError> {
    let lower = format!("{}:/proc/self/fd/{}", inside(added).display(), host.as_raw_fd());
    match read_only_overlay(made, at, &lower)? {
        Err(rustix::io::Errno::INVAL) => Ok(false),
        done => done.map(|()| true).map_err(failed(&format!("add to {}", at.display()))),
    }
}

/// Show a directory read-only. This is an overlay, since a socket in a bind mount can be connected to, read-only or not;
/// the inodes of an overlay are its own (`Documentation/filesystems/overlayfs.rst`).
pub(super) fn view(made: &Made, at: &Path, source: &OwnedFd) -> Result<(), SetupError> {
    let lower = format!("/proc/self/fd/{}:{}", source.as_raw_fd(), inside(Path::new(EMPTY)).display());
    read_only_overlay(made, at, &lower)?.map_err(|e| {
        SetupError::new(format!(
            "{} cannot be shown read-only ({e}); with mode = \"mediated\" and actions = [\"read\", \"list\"] it can",
            at.display()
        ))
    })
}

pub(super) fn overlay(
    made: &Made,
    at: &Path,
    lower: &OwnedFd,
    upper: &OwnedFd,
    work: &OwnedFd,
) -> Result<(), SetupError> {
    let target = inside(at);
    made.directory(&target)?;
    let fd = |d: &OwnedFd| format!("/proc/self/fd/{}", d.as_raw_fd());
    let options = format!("lowerdir={},upperdir={},workdir={},userxattr", fd(lower), fd(upper), fd(work));
    let options = CString::new(options).map_err(|_| SetupError::new("a NUL in an overlay's path"))?;
    mount("overlay", &target, "overlay", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))
        .map_err(failed(&format!("mount an overlay at {}", at.display())))
}

/// Show what stands at a place of the cell at another one, too, with all that lies over it.
pub(super) fn also(made: &Made, at: &Path, other: &Path) -> Result<(), SetupError> {
    let tree = clone_tree(&inside(at))?;
    made.directory(&inside(other))?;
    place(&tree, other)
}

fn read_only_overlay(made: &Made, at: &Path, lower: &str) -> Result<rustix::io::Result<()>, SetupError> {
    let target = inside(at);
    made.directory(&target)?;
    let options = CString::new(format!("lowerdir={lower},userxattr"))
        .map_err(|_| SetupError::new("a NUL in an overlay's path"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY;
    Ok(mount("overlay", &target, "overlay", flags, Some(options.as_c_str())))
}

/// Cover files, each by one that nobody may read, of its size and time: to git, which goes by these, it is unchanged. Its own root is
/// read-only by then, so the mode stays as it is.
pub(super) fn mask(at: &Path, masked: &[String]) -> Result<(), SetupError> {
    if masked.is_empty() {
        return Ok(());
    }
    let covers = inside(Path::new(COVERS));
    fs::create_dir_all(&covers).map_err(io_failed("make a place for covers"))?;
    let directory = open_dir(&inside(at))?;
    let before = fs::read_dir(&covers).map_err(io_failed("look at the covers"))?.count();
    for (number, path) in masked.iter().enumerate() {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let covered = match rustix::fs::openat2(&directory, &*native(path), flags, Mode::empty(), how) {
            // It went since it was looked at.
            Err(rustix::io::Errno::NOENT) => continue,
            opened => opened.map_err(failed("open what is to be covered"))?,
        };
        let cover = covers.join((before + number).to_string());
        make_cover(&cover, &covered).map_err(io_failed("make a cover"))?;
        let tree = clone_tree(&cover)?;
        set_mount_attributes(tree.as_fd(), ReadOnly::Yes, false, false).map_err(io_failed("cover a file"))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &covered, "", flags).map_err(failed("cover a file"))?;
    }
    Ok(())
}

/// A file without content, which takes no room.
fn make_cover(cover: &Path, covered: &OwnedFd) -> std::io::Result<()> {
    let about = rustix::fs::fstat(covered)?;
    let file = File::create(cover)?;
    file.set_len(u64::try_from(about.st_size).unwrap_or(0))?;
    let modified =
        Timespec { tv_sec: about.st_mtime, tv_nsec: i64::try_from(about.st_mtime_nsec).unwrap_or(0) };
    rustix::fs::futimens(&file, &Timestamps { last_access: modified, last_modification: modified })?;
    file.set_permissions(fs::Permissions::from_mode(0o000))
}

/// Put a cloned tree at its place, read-only.
pub(super) fn attach(made: &Made, tree: &OwnedFd, at: &Path, read_only: bool) -> Result<(), SetupError> {
    let target = inside(at);
    let is_dir =
        rustix::fs::fstat(tree).map_err(failed("look at a source"))?.st_mode & 0o170_000 == 0o040_000;
    if is_dir {
        made.directory(&target)?;
    } else {
        made.parent(&target)?;
        File::create(&target).map_err(io_failed(&format!("make the place of {}", at.display())))?;
    }
    let read_only = if read_only { ReadOnly::Yes } else { ReadOnly::No };
    set_mount_attributes(tree.as_fd(), read_only, false, true)
        .map_err(io_failed("make a source read-only"))?;
    place(tree, at)
}

pub(super) fn place(tree: &OwnedFd, at: &Path) -> Result<(), SetupError> {
    move_mount(tree, "", CWD, inside(at), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(failed(&format!("mount {}", at.display())))
}

pub(super) fn clone_tree(path: &Path) -> Result<OwnedFd, SetupError> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).map_err(failed(&format!("open {}", path.display())))
}

pub(super) fn open_dir(path: &Path) -> Result<OwnedFd, SetupError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed(&format!("open {}", path.display())))
}

pub(crate) fn tmpfs(at: &Path, options: &str) -> Result<(), SetupError> {
    let options = CString::new(options).map_err(|_| SetupError::new("a NUL in the mount options"))?;
    mount("cell", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))
        .map_err(failed(&format!("mount a tmpfs at {}", at.display())))
}

/// A cell path below the root that is being built.
pub(super) fn inside(path: &Path) -> PathBuf {
    Path::new(BASE).join(path.strip_prefix("/").unwrap_or(path))
}

pub(super) fn failed(what: &str) -> impl Fn(rustix::io::Errno) -> SetupError {
    let what = what.to_owned();
    move |e| SetupError::new(format!("{what}: {e}"))
}

pub(super) fn io_failed(what: &str) -> impl Fn(io::Error) -> SetupError {
    let what = what.to_owned();
    move |e| SetupError::new(format!("{what}: {e}"))
}

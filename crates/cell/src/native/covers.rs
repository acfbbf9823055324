//! What stands in a cell for what is there and is not to be seen.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use chaperone_sys::{ReadOnly, set_mount_attributes};
use rustix::mount::mount_bind;

use super::mounting::{EMPTY, clone_tree, failed, inside, io_failed, place, tmpfs};
use crate::plan::SetupError;

/// What stands for a file that says too much of the host.
const NOTHING: &str = "/run/chaperone/nothing";
const BOOT: &str = "/run/chaperone/boot-id";
const BOOT_ID: &str = "00000000-0000-4000-8000-000000000001\n";

/// What stands for what is not shown: an empty directory and files, read-only.
pub(super) fn stand_ins(stands: &BTreeMap<String, String>) -> Result<(), SetupError> {
    let own = [(NOTHING.to_owned(), ""), (BOOT.to_owned(), BOOT_ID)];
    let by_ending = stands.iter().map(|(ending, text)| (format!("{NOTHING}.{ending}"), text.as_str()));
    let files: Vec<(String, &str)> = own.into_iter().chain(by_ending).collect();
    for (at, text) in &files {
        fs::write(inside(Path::new(at)), text).map_err(io_failed("make an empty file"))?;
    }
    // Clones are as read-only as what they are clones of.
    for cover in files.iter().map(|(at, _)| at.as_str()).chain([EMPTY]).map(Path::new) {
        let tree = clone_tree(&inside(cover))?;
        set_mount_attributes(tree.as_fd(), ReadOnly::Yes, false, false)
            .map_err(io_failed("make an empty file read-only"))?;
        place(&tree, cover)?;
    }
    Ok(())
}

/// Cover what lies in something that is shown and is not to be seen. A directory is one in memory, so that a place of the cell's own
/// can be made in it.
pub(super) fn cover(covered: &[PathBuf], stands: &BTreeMap<String, String>) -> Result<(), SetupError> {
    for at in covered {
        let Ok(meta) = inside(at).symlink_metadata() else { continue };
        if meta.is_dir() {
            tmpfs(&inside(at), "mode=0555,size=4k,nr_inodes=2")?;
        } else if !meta.is_symlink() {
            // A tool that reads it gets what its format calls nothing.
            let ending = at.extension().and_then(|e| e.to_str()).filter(|e| stands.contains_key(*e));
            let by = ending.map_or_else(|| NOTHING.to_owned(), |ending| format!("{NOTHING}.{ending}"));
            place(&clone_tree(&inside(Path::new(&by)))?, at)?;
        }
    }
    Ok(())
}

/// Lay nothing over what the kernel says of the host in the cell's own `/proc`; not every kernel has all of it.
pub(super) fn hide(hidden: &[PathBuf]) -> Result<(), SetupError> {
    let covers = hidden.iter().map(|at| (at.as_path(), NOTHING));
    for (at, by) in covers.chain([(Path::new("/proc/sys/kernel/random/boot_id"), BOOT)]) {
        if let Some(meta) = inside(at).symlink_metadata().ok().filter(|meta| !meta.is_symlink()) {
            let by = inside(Path::new(if meta.is_dir() { EMPTY } else { by }));
            // One call, not three, since there are many of them at each start. Nothing runs yet that could put a link there.
            mount_bind(by, inside(at)).map_err(failed(&format!("cover {}", at.display())))?;
        }
    }
    Ok(())
}

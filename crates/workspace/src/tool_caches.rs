//! Tool caches: the user's own, read-only, below a layer that is the session's or is kept for the workspace.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use sha2::{Digest, Sha256};

use chaperone_pipeline::session::Session;
use chaperone_protocol::{Failure, PlanCache};

/// The caches of known tools, relative to the home.
static CACHES: LazyLock<BTreeMap<String, Vec<String>>> =
    LazyLock::new(|| chaperone_packs::table("packs/caches.toml"));
/// A layer nested deeper than this is left where it is.
const MAX_DEPTH: usize = 256;

/// Where the caches of the session's profile lie; the directories of their layers are made.
///
/// # Errors
/// An unknown tool, layers that cannot be made, or kept layers that another session has.
pub fn plan(session: &Session, kept: &Path, in_use: bool) -> Result<Vec<PlanCache>, Failure> {
    let wanted = &session.profile.cache;
    if wanted.tools.is_empty() {
        return Ok(Vec::new());
    }
    let layers = if wanted.keep {
        // Each agent that root starts has a uid of its own: what one leaves is not the next one's.
        if rustix::process::geteuid().is_root() {
            return Err(Failure::new("bad_profile", "cache.keep does not work for cells that root starts")
                .advise("run it as an ordinary user, or without cache.keep"));
        }
        if in_use {
            return Err(Failure::new(
                "cache_in_use",
                "another session of this profile and workspace has the kept caches",
            )
            .advise("stop that session, or use a profile without cache.keep"));
        }
        kept_layers(kept, session)
    } else {
        session_layers(session)
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut found = Vec::new();
    for tool in &wanted.tools {
        let Some(places) = CACHES.get(tool) else {
            let known: Vec<&str> = CACHES.keys().map(String::as_str).collect();
            return Err(Failure::new("bad_profile", format!("cache.tools: {tool:?} is not a known tool"))
                .advise(format!("known are: {}", known.join(", "))));
        };
        for (i, place) in places.iter().enumerate() {
            let layer = layers.join(format!("{tool}-{i}"));
            let (upper, work) = (layer.join("upper"), layer.join("work"));
            for folder in [&upper, &work] {
                fs::create_dir_all(folder)
                    .map_err(|e| Failure::new("state_unavailable", format!("{}: {e}", folder.display())))?;
            }
            let lower = home.as_ref().map(|h| h.join(place)).filter(|p| p.is_dir());
            found.push(PlanCache { at: place.clone(), lower, upper, work });
        }
    }
    Ok(found)
}

/// Let go of the session's own layers; what cannot be removed stays in its directory.
pub fn discard(session: &Session) {
    let layers = session_layers(session);
    if layers.is_dir() {
        remove(&layers).ok();
    }
}

fn session_layers(session: &Session) -> PathBuf {
    session.dir.join("caches")
}

fn kept_layers(kept: &Path, session: &Session) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let name = Sha256::digest(
        [session.profile.name.as_bytes(), b"\0", session.workspace.as_os_str().as_bytes()].concat(),
    );
    kept.join(hex::encode(name.get(..12).unwrap_or_default()))
}

/// Remove a directory that an agent furnished: without following links, in bounded memory, whatever its modes.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let parent = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = std::ffi::CString::new(name.as_encoded_bytes())?;
    // The directories from the outermost inwards, each with its name in the one before.
    let mut open = vec![(enter(&parent, &name)?, name)];
    while let Some((dir, _)) = open.last_mut() {
        let Some(entry) = dir.read() else {
            let Some((_, name)) = open.pop() else { break };
            match open.last() {
                Some((above, _)) => rustix::fs::unlinkat(above.fd()?, &name, AtFlags::REMOVEDIR)?,
                None => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?,
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let here = dir.fd()?;
        match rustix::fs::unlinkat(here, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::ISDIR) => {
                let inner = enter(&here, name)?;
                let name = name.to_owned();
                if open.len() >= MAX_DEPTH {
                    return Err(io::Error::other("nested too deeply"));
                }
                open.push((inner, name));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Open a directory by its name in another one, which may need a mode that lets us in.
fn enter(parent: &impl std::os::fd::AsFd, name: &CStr) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    let opened: OwnedFd = match open() {
        Err(rustix::io::Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        opened => opened?,
    };
    rustix::fs::fchmod(&opened, Mode::RWXU)?;
    Ok(Dir::new(opened)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_an_agent_left_is_removed_and_nothing_behind_its_links() {
        let place = tempfile::tempdir().unwrap();
        let layers = place.path().join("caches");
        fs::create_dir_all(layers.join("a/b/closed")).unwrap();
        fs::write(layers.join("a/b/file"), "x").unwrap();
        fs::write(place.path().join("precious"), "x").unwrap();
        std::os::unix::fs::symlink(place.path(), layers.join("a/out")).unwrap();
        fs::set_permissions(layers.join("a/b/closed"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(layers.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        remove(&layers).unwrap();
        assert!(!layers.exists() && place.path().join("precious").exists());
    }

    #[test]
    fn a_nest_too_deep_is_left_and_ends_nothing() {
        let place = tempfile::tempdir().unwrap();
        let layers = place.path().join("caches");
        fs::create_dir(&layers).unwrap();
        let mut at = rustix::fs::open(&layers, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        assert!(remove(&layers).is_err());
        assert!(layers.exists());
    }
}

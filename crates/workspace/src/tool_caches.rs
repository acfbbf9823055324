//! Tool caches: layers that are the session's or are kept for the workspace, and below parts of them what the user's tools got
//! from registries, read-only.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};

use chaperone_pipeline::session::Session;
use chaperone_protocol::{Failure, PlanCache};
use serde::Deserialize;

static CACHES: LazyLock<BTreeMap<String, Known>> =
    LazyLock::new(|| chaperone_packs::table("packs/caches.toml"));
/// Directories inside each other that are open at once.
const MAX_DEPTH: usize = 256;
/// Bytes of a block as the kernel counts them.
const BLOCK: u64 = 512;

/// The cache of a tool, relative to the home.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Where a cell writes.
    layers: Vec<String>,
    /// What of the user's is shown, each in one of the layers. A last name may end in `*`.
    shown: Vec<String>,
    /// What is not shown in those.
    #[serde(default)]
    hidden: Vec<String>,
}

/// One place in the agent's home, with what of the user's is shown there.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Relative to the home.
    pub at: String,
    pub lower: Option<PathBuf>,
    /// What of that is not there, relative to it.
    pub hidden: Vec<String>,
}

/// What the caches of these tools are in a cell: each place before those in it. Nothing is made.
///
/// # Errors
/// An unknown tool.
pub fn places(tools: &[String], home: Option<&Path>) -> Result<Vec<Place>, Failure> {
    let mut found = Vec::new();
    for tool in tools {
        let Some(known) = CACHES.get(tool) else {
            let known: Vec<&str> = CACHES.keys().map(String::as_str).collect();
            return Err(Failure::new("bad_profile", format!("cache.tools: {tool:?} is not a known tool"))
                .advise(format!("known are: {}", known.join(", "))));
        };
        let shown: Vec<Place> = home.into_iter().flat_map(|home| of_user(known, home)).collect();
        let whole = |layer: &String| shown.iter().any(|place| place.at == *layer);
        found.extend(known.layers.iter().filter(|l| !whole(l)).map(|at| Place {
            at: at.clone(),
            lower: None,
            hidden: Vec::new(),
        }));
        found.extend(shown);
    }
    Ok(found)
}

/// Directories of the user's: what is a link, and leads elsewhere, is none.
fn of_user(known: &Known, home: &Path) -> Vec<Place> {
    let mut found = Vec::new();
    for wanted in &known.shown {
        let (parent, last) = wanted.rsplit_once('/').unwrap_or(("", wanted));
        let Some(start) = last.strip_suffix('*') else {
            found.push(wanted.clone());
            continue;
        };
        let entries = fs::read_dir(home.join(parent)).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(start));
        let mut all: Vec<String> = names.map(|name| format!("{parent}/{name}")).collect();
        all.sort();
        found.extend(all);
    }
    let is_directory = |at: &String| home.join(at).symlink_metadata().is_ok_and(|m| m.is_dir());
    let hidden = |at: &str| {
        let below = known.hidden.iter().filter_map(|hidden| hidden.strip_prefix(at)?.strip_prefix('/'));
        below.map(str::to_owned).collect()
    };
    found
        .into_iter()
        .filter(is_directory)
        .map(|at| Place { lower: Some(home.join(&at)), hidden: hidden(&at), at })
        .collect()
}

/// Where the caches of the session's profile lie; the directories of their layers are made.
///
/// # Errors
/// Layers that cannot be made, or kept layers that another session has.
pub fn plan(
    session: &Session,
    caches: Vec<Place>,
    kept: &Path,
    in_use: bool,
) -> Result<Vec<PlanCache>, Failure> {
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
    let mut planned: Vec<PlanCache> = Vec::new();
    for Place { at, lower, hidden } in caches {
        let layer = layers.join(at.replace('/', "!"));
        let (upper, work) = (layer.join("upper"), layer.join("work"));
        let unusable =
            |at: &Path, e: io::Error| Failure::new("state_unavailable", format!("{}: {e}", at.display()));
        for folder in [&upper, &work] {
            fs::create_dir_all(folder).map_err(|e| unusable(folder, e))?;
        }
        for name in &hidden {
            whiteout(&upper.join(name)).map_err(|e| unusable(&upper, e))?;
        }
        let around =
            planned.iter().find_map(|p| Some((&p.upper, at.strip_prefix(&p.at)?.strip_prefix('/')?)));
        if let Some((around, rest)) = around {
            make_way(around, rest).map_err(|e| unusable(around, e))?;
        }
        planned.push(PlanCache { at, lower, upper, work });
    }
    Ok(planned)
}

/// Makes that what lies below at this place of a layer is not there. What an agent had made there is gone: it is of no use later.
fn whiteout(at: &Path) -> io::Result<()> {
    match at.symlink_metadata() {
        Ok(meta) if meta.is_dir() => remove(at)?,
        Ok(_) => fs::remove_file(at)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let device = rustix::fs::makedev(0, 0);
    Ok(rustix::fs::mknodat(rustix::fs::CWD, at, FileType::CharacterDevice, Mode::empty(), device)?)
}

/// The home whose caches these are.
#[must_use]
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

/// What an earlier session left where a place is to be, and is no directory, goes: it would lead elsewhere.
fn make_way(layer: &Path, place: &str) -> io::Result<()> {
    let mut at = layer.to_owned();
    for name in Path::new(place) {
        at.push(name);
        match at.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return fs::remove_file(&at),
            Err(_) => return Ok(()),
        }
    }
    Ok(())
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

/// Bytes that a directory takes of the disk, without following links; what an agent closed to everybody is not looked into.
#[must_use]
pub fn disk_use(dir: &Path) -> u64 {
    let (mut sum, mut open) = (0, vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            sum += meta.blocks() * BLOCK;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

/// Remove a directory that an agent furnished: without following links, in bounded memory, whatever its modes and however deep it is.
///
/// # Errors
/// What the kernel says.
pub fn remove(folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let parent = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = std::ffi::CString::new(name.as_encoded_bytes())?;
    let top = rustix::io::fcntl_dupfd_cloexec(enter(&parent, &name)?.fd()?, 3)?;
    let mut moved = 0u64;
    // What is nested too deeply is moved up here, and comes in the next round.
    loop {
        let before = moved;
        remove_in(&parent, &name, &top, &mut moved)?;
        match rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR) {
            Err(rustix::io::Errno::NOTEMPTY) if moved > before => {}
            done => return Ok(done?),
        }
    }
}

/// Remove what is in a directory, but for what stands deeper than is followed: that is moved to `top`, which is the directory itself.
fn remove_in(parent: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    // The directories from the outermost inwards, each with its name in the one before.
    let mut open = vec![(enter(parent, name)?, name.to_owned())];
    loop {
        let depth = open.len();
        let Some((dir, _)) = open.last_mut() else { return Ok(()) };
        let Some(entry) = dir.read() else {
            let Some((_, name)) = open.pop() else { return Ok(()) };
            if let Some((above, _)) = open.last() {
                rustix::fs::unlinkat(above.fd()?, &name, AtFlags::REMOVEDIR)?;
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
                if depth >= MAX_DEPTH {
                    move_up((here, name), top, moved)?;
                    continue;
                }
                let name = name.to_owned();
                open.push((inner, name));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Give a directory a name in `top` that nothing has there.
fn move_up((here, name): (BorrowedFd<'_>, &CStr), top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        *moved += 1;
        match rustix::fs::renameat(here, name, top, format!("{}-{moved}", std::process::id())) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            done => return Ok(done?),
        }
    }
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
    fn what_tools_got_from_registries_is_shown_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path();
        let registries = [
            ".cargo/registry/index/a",
            ".cargo/registry/cache/a",
            ".cargo/registry/src/a",
            "go/pkg/mod/cache/download/a",
            ".gradle/caches/modules-2/a",
            ".m2/repository/a",
            ".npm/_cacache/index-v5/a",
            ".cache/pip/http-v2/a",
            ".cache/uv/archive-v0/a",
            ".cache/uv/wheels-v5/a",
            ".cache/uv/simple-v16/a",
        ];
        let others = [
            ".npm/_logs/2026-01-01T00_00_00-debug-0.log",
            ".npm/_npx/a/package.json",
            ".npm/_update-notifier-last-checked",
            ".npm/_git-remotes/a",
            ".npm/_cacache/tmp/git-cloneAbCdEf/.git/config",
            ".cargo/credentials.toml",
            ".cargo/registry/credentials.toml",
            ".cargo/git/db/private/config",
            "go/pkg/mod/cache/vcs/a/config",
            "go/pkg/mod/private.example/a@v1/a.go",
            ".cache/go-build/00/a",
            ".gradle/gradle.properties",
            ".gradle/caches/build-cache-1/a",
            ".gradle/caches/journal-1/a",
            ".cache/pip/wheels/a",
            ".cache/pip/selfcheck/a",
            ".cache/uv/git-v0/db/a/config",
            ".cache/uv/sdists-v9/a",
            ".cache/uv/environments-v2/a",
            ".cache/uv/builds-v0/a",
            ".m2/settings.xml",
            ".m2/settings-security.xml",
        ];
        for file in registries.iter().chain(&others) {
            fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
            fs::write(home.join(file), "x").unwrap();
        }
        // A link where a cache would be leads elsewhere.
        std::os::unix::fs::symlink(home.join(".npm/_logs"), home.join(".cache/uv/wheels-v6")).unwrap();
        let tools: Vec<String> = CACHES.keys().cloned().collect();
        let found = places(&tools, Some(home)).unwrap();
        let is_shown = |file: &&str| {
            found.iter().any(|p| {
                let below = p
                    .lower
                    .as_ref()
                    .and_then(|lower| home.join(file).strip_prefix(lower).ok()?.to_str().map(str::to_owned));
                below
                    .is_some_and(|below| !p.hidden.iter().any(|hidden| Path::new(&below).starts_with(hidden)))
            })
        };
        assert!(registries.iter().all(is_shown), "{found:?}");
        assert_eq!(others.iter().copied().find(is_shown), None);
        assert!(!found.iter().any(|p| p.at.ends_with("wheels-v6")), "{found:?}");
        // Each lies in a layer that comes before it.
        for (i, place) in found.iter().enumerate() {
            let around = found.iter().position(|p| place.at.starts_with(&format!("{}/", p.at)));
            assert!(around.is_none_or(|at| at < i), "{}", place.at);
            assert!(
                around.is_some() || CACHES.values().any(|k| k.layers.contains(&place.at)),
                "{}",
                place.at
            );
        }
        let layers: usize = CACHES.values().map(|k| k.layers.len()).sum();
        assert_eq!(places(&tools, None).unwrap().len(), layers);
    }

    #[test]
    fn what_is_hidden_in_a_cache_is_whited_out_whatever_an_agent_left_there() {
        let layer = tempfile::tempdir().unwrap();
        let at = layer.path().join("tmp");
        let is_whiteout = || {
            let stat = rustix::fs::lstat(&at).unwrap();
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
        };
        whiteout(&at).unwrap();
        assert!(is_whiteout());
        whiteout(&at).unwrap();
        fs::remove_file(&at).unwrap();
        fs::create_dir_all(at.join("git-cloneX")).unwrap();
        whiteout(&at).unwrap();
        assert!(is_whiteout());
        fs::remove_file(&at).unwrap();
        std::os::unix::fs::symlink("/", &at).unwrap();
        whiteout(&at).unwrap();
        assert!(is_whiteout());
    }

    #[test]
    fn what_an_agent_left_in_a_place_leads_nowhere() {
        let layer = tempfile::tempdir().unwrap();
        fs::create_dir_all(layer.path().join("cache/real")).unwrap();
        std::os::unix::fs::symlink("/", layer.path().join("cache/link")).unwrap();
        for rest in ["cache/real", "cache/none/x", "cache/link/x", "cache/link"] {
            make_way(layer.path(), rest).unwrap();
        }
        assert!(layer.path().join("cache/real").is_dir());
        assert!(layer.path().join("cache/link").symlink_metadata().is_err());
    }

    #[test]
    fn what_an_agent_left_is_is_removed_and_nothing_behind_its_links() {
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
    fn however_deep_it_is_it_goes() {
        let place = tempfile::tempdir().unwrap();
        let layers = place.path().join("caches");
        fs::create_dir(&layers).unwrap();
        let mut at = rustix::fs::open(&layers, OFlags::PATH, Mode::empty()).unwrap();
        // Names that are taken already, and a directory that lets nobody in.
        for taken in ["1", "2"] {
            fs::create_dir_all(layers.join(format!("{}-{taken}/in", std::process::id()))).unwrap();
        }
        for level in 0..2000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            let inner = rustix::fs::openat(&at, "d", OFlags::RDONLY, Mode::empty()).unwrap();
            if level == 600 {
                rustix::fs::mkdirat(&inner, "e", Mode::RWXU).unwrap();
                rustix::fs::fchmod(&at, Mode::empty()).unwrap();
            }
            at = inner;
        }
        remove(&layers).unwrap();
        assert!(!layers.exists());
    }
}

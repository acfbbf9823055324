//! What a session would be made of, before anything is opened or made: its profile, its directories, and what of the host its
//! cell shows beside what every cell shows.

use std::path::{Path, PathBuf};

use chaperone_config::Profile;
use chaperone_protocol::reply::{MountShown, ProfileShown};
use chaperone_protocol::{Failure, OpenSession, Shown};
use chaperone_workspace::directories::{self, Places};
use chaperone_workspace::installation::{self, Installation};
use chaperone_workspace::{tool_caches, toolchains};

use crate::broker::Broker;

/// What was found for a session that is asked for.
pub struct Look {
    pub profile: Profile,
    pub places: Places,
    pub workspace: PathBuf,
    pub installation: Installation,
    pub caches: Vec<tool_caches::Place>,
    /// What of the host its cell shows read-only beside its mounts and what every cell shows: the one list that the user,
    /// the first record and `--verbose` have.
    pub visible: Vec<Shown>,
}

/// Look what a session would be made of.
///
/// # Errors
/// The reason it may not run.
pub fn look(broker: &Broker, asked: &OpenSession) -> Result<Look, Failure> {
    let profile =
        Profile::find(asked.profile.as_deref().unwrap_or("default"), &broker.dirs.config.join("profiles"))
            .map_err(|e| Failure::new("bad_profile", e.to_string()))?;
    let ours = [broker.dirs.state.as_path(), broker.dirs.config.as_path(), broker.dirs.run.as_path()];
    let places = Places::new(&homes(asked), &ours);
    let workspace = directories::resolve(&asked.workspace, &places)?;
    let sources = directories::sources(&profile, &workspace);
    let at: Vec<(&str, &Path)> = sources.iter().map(|(at, from)| (at.as_str(), from.as_path())).collect();
    let mut installation = asked
        .program
        .as_deref()
        .filter(|_| asked.in_cell)
        .map(|program| installation::find(program, &search_path(asked), &places, &workspace, &at))
        .transpose()?
        .unwrap_or_default();
    let caches = tool_caches::places(&profile.cache.tools, tool_caches::home().as_deref())?;
    if asked.in_cell {
        let found = toolchains::find(&search_path(asked), &places, &workspace);
        for shown in found.shown {
            let there = |known: &Shown| shown.path.starts_with(&known.path);
            if !installation.shown.iter().any(there) {
                installation.shown.retain(|known| !known.path.starts_with(&shown.path));
                installation.shown.push(shown);
            }
        }
        (installation.first, installation.environment) = (found.path, found.environment);
    }
    let mut visible = installation.shown.clone();
    if asked.in_cell {
        visible.extend(caches.iter().filter_map(|cache| {
            let why = format!("the profile's tool cache, at ~/{} in the cell", cache.at);
            Some(Shown { path: cache.lower.clone()?, why })
        }));
    }
    Ok(Look { profile, places, workspace, installation, caches, visible })
}

/// What a session would be shown.
///
/// # Errors
/// The reason it may not run.
pub fn shown(broker: &Broker, asked: &OpenSession) -> Result<ProfileShown, Failure> {
    let Look { profile, workspace, visible, .. } = look(broker, asked)?;
    let sources = directories::sources(&profile, &workspace);
    let mounts = sources.into_iter().zip(&profile.mounts).map(|((at, from), mount)| MountShown {
        at,
        from,
        mode: mount.mode,
    });
    Ok(ProfileShown { mounts: mounts.collect(), profile: profile.name, workspace, shown: visible })
}

/// The user's homes: as the caller, the broker and the user database name them.
fn homes(asked: &OpenSession) -> Vec<PathBuf> {
    let named =
        [asked.environment.get("HOME").map(PathBuf::from), std::env::var_os("HOME").map(PathBuf::from)];
    named
        .into_iter()
        .flatten()
        .chain(chaperone_config::dirs::home_of_user())
        .filter(|h| h.is_absolute())
        .collect()
}

/// Where the caller looks for programs.
fn search_path(asked: &OpenSession) -> Vec<PathBuf> {
    let path = asked.environment.get("PATH").map(String::as_str).unwrap_or_default();
    std::env::split_paths(path).filter(|p| p.is_absolute()).collect()
}

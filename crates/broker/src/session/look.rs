//! What a session would be made of, before anything is opened or made: its profile, its directories, and what of the host its
//! cell shows beside what every cell shows.

use std::path::{Path, PathBuf};

use chaperone_cell::NoBackend;
use chaperone_config::Profile;
use chaperone_protocol::reply::{MountShown, ProfileShown};
use chaperone_protocol::session::NO_CELL;
use chaperone_protocol::{Failure, OpenSession, Shown, for_display};
use chaperone_workspace::directories::{self, Places};
use chaperone_workspace::installation::{self, Installation};
use chaperone_workspace::repositories::{self, Repositories};
use chaperone_workspace::{tool_caches, toolchains};

use crate::broker::Broker;

/// What was found for a session that is asked for.
pub struct Look {
    pub profile: Profile,
    /// What makes its cell, or [`NO_CELL`]; and which stronger one cannot be used here, with the reason.
    pub backend: &'static str,
    pub passed_over: Option<String>,
    pub places: Places,
    pub workspace: PathBuf,
    pub installation: Installation,
    pub caches: Vec<tool_caches::Place>,
    /// What of the host its cell shows read-only beside its mounts and what every cell shows: the one list that the user,
    /// the first record and `--verbose` have.
    pub visible: Vec<Shown>,
    /// What its repository has outside of the workspace.
    pub repositories: Repositories,
    /// What is not shown, though the user's shell has it.
    pub left_out: Option<String>,
}

/// Look what a session would be made of.
///
/// # Errors
/// The reason it may not run.
pub fn look(broker: &Broker, asked: &OpenSession) -> Result<Look, Failure> {
    let profile =
        Profile::find(asked.profile.as_deref().unwrap_or("default"), &broker.dirs.config.join("profiles"))
            .map_err(|e| Failure::new("bad_profile", e.to_string()))?;
    let (backend, passed_over) =
        backend(asked.backend.as_deref().or(profile.backend.as_deref()), asked.in_cell)?;
    let ours = [broker.dirs.state.as_path(), broker.dirs.config.as_path(), broker.dirs.run.as_path()];
    let places = Places::new(&homes(asked), &ours);
    let workspace = directories::resolve(&asked.workspace, &places)?;
    let sources = directories::sources(&profile, &workspace);
    let at: Vec<(&str, &Path)> = sources.iter().map(|(at, from)| (at.as_str(), from.as_path())).collect();
    let mut installation = asked
        .program
        .as_deref()
        .filter(|_| asked.in_cell)
        .map(|program| installation::find(program, &asked.search_path(), &places, &workspace, &at))
        .transpose()?
        .unwrap_or_default();
    let caches = tool_caches::places(&profile.cache.tools, tool_caches::home().as_deref())?;
    let mut left_out = None;
    if asked.in_cell {
        let path = asked.search_path();
        let found = toolchains::find(&path, &profile.toolchains, &places, &workspace)?;
        let there = installation.shown.iter().chain(&found.shown).map(|shown| shown.path.as_path());
        let shown: Vec<&Path> =
            found.path.iter().chain(&installation.path).map(PathBuf::as_path).chain(there).collect();
        // What the profile takes away is missed by nobody.
        left_out =
            told_left_out(&toolchains::left_out(&path, &shown, &profile.toolchains, &places, &workspace));
        installation.covered.extend(found.covered);
        for shown in found.shown {
            let there = |known: &Shown| shown.path.starts_with(&known.path);
            if !installation.shown.iter().any(there) {
                installation.shown.retain(|known| !known.path.starts_with(&shown.path));
                installation.shown.push(shown);
            }
        }
        installation.scratch = found.scratch;
        (installation.first, installation.environment) = (found.path, found.environment);
    }
    let mut visible = installation.shown.clone();
    if asked.in_cell {
        visible.extend(caches.iter().filter_map(|cache| {
            let why = format!("the profile's tool cache, at ~/{} in the cell", cache.at);
            Some(Shown { path: cache.lower.clone()?, why })
        }));
    }
    let whole = sources.iter().any(|(at, from)| at == "/workspace" && *from == workspace);
    let repositories = if asked.in_cell && whole {
        repositories::find(&workspace, &places, &chaperone_cell::can_be_at_its_own_place)
    } else {
        Repositories::default()
    };
    visible.extend(repositories.shown());
    Ok(Look {
        profile,
        backend,
        passed_over,
        places,
        workspace,
        installation,
        caches,
        visible,
        repositories,
        left_out,
    })
}

fn told_left_out(directories: &[String]) -> Option<String> {
    let named: Vec<String> = directories.iter().take(3).map(|d| for_display(d, 60)).collect();
    let more = if directories.len() > named.len() { ", …" } else { "" };
    (!named.is_empty()).then(|| {
        let add = named.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        format!(
            "not in the cell: {}{more} (of your PATH); show it with [toolchains] add = [{add}] in a profile",
            named.join(", ")
        )
    })
}

/// What a session would be shown.
///
/// # Errors
/// The reason it may not run.
pub fn shown(broker: &Broker, asked: &OpenSession) -> Result<ProfileShown, Failure> {
    let Look { profile, backend, workspace, visible, .. } = look(broker, asked)?;
    let sources = directories::sources(&profile, &workspace);
    let mounts = sources.into_iter().zip(&profile.mounts).map(|((at, from), mount)| MountShown {
        at,
        from,
        mode: mount.mode,
    });
    Ok(ProfileShown {
        mounts: mounts.collect(),
        profile: profile.name,
        backend: backend.to_owned(),
        workspace,
        shown: visible,
    })
}

/// What makes the cell. One that there is not is refused for an agent outside of a cell as well: its profile is wrong.
fn backend(named: Option<&str>, in_cell: bool) -> Result<(&'static str, Option<String>), Failure> {
    match chaperone_cell::choose(named) {
        Err(refused) if in_cell || matches!(refused, NoBackend::Unknown(_)) => Err(refused.into()),
        Ok(choice) if in_cell => Ok((choice.backend.name(), choice.passed_over)),
        _ => Ok((NO_CELL, None)),
    }
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

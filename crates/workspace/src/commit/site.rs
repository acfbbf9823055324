//! Whose staged changes they are, and how they are reached.

use std::path::PathBuf;
use std::sync::Arc;

use chaperone_pipeline::Pipeline;
use chaperone_pipeline::session::Session;
use chaperone_protocol::Failure;
use chaperone_protocol::reply::{ChangeEntry, ChangeOp, ChangeState};
use chaperone_staging::{Change, Tree as Stage, Wanted};

use super::shown::shown_path;
use super::{checkout, dependencies, index};
use crate::mount::{LiveMount, Mounts};

/// Whose staged changes, and what decides on them.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub pipeline: &'a Pipeline,
    pub session: &'a Arc<Session>,
    pub mounts: &'a Mounts,
    /// Nothing of the session's cell runs any more.
    pub over: bool,
    /// Whether somebody still waits for it; without it, it is done whole.
    pub wanted: Option<&'a Wanted>,
}

/// What the agent did until now comes into the stage, however it did it. Returns what cannot come, by its mount.
///
/// # Errors
/// When it cannot be taken over; it stays where it is.
pub fn bring_up_to_date(mounts: &Mounts, over: bool) -> Result<Vec<(&LiveMount, String)>, Failure> {
    mounts.sync_mappings()?;
    let mut left_out = Vec::new();
    for mount in mounts.list() {
        let Some(tree) = mount.tree()? else { continue };
        let Some(overlay) = &mount.overlay else {
            left_out.extend(tree.not_committed().into_iter().map(|name| (mount, name)));
            continue;
        };
        let names = overlay.take_over(&tree, over).map_err(|e| {
            Failure::new("stage_unavailable", format!("what the agent wrote cannot be taken over: {e}"))
                .advise("free some room on the disk, and try again")
        })?;
        left_out.extend(names.into_iter().map(|name| (mount, name)));
    }
    Ok(left_out)
}

/// What is there in the cell and no commit can take.
pub(super) fn left_out(mount: &LiveMount, name: &str) -> ChangeEntry {
    ChangeEntry {
        path: shown_path(mount, name),
        op: ChangeOp::Create,
        from: None,
        size: 0,
        sha256: None,
        state: ChangeState::Refused,
        reasons: vec!["cannot_be_staged".to_owned()],
        staged: None,
        group: None,
        moved_to: None,
        diff: None,
        lines: None,
    }
}

/// What is staged there.
pub(super) fn staged(mount: &LiveMount) -> Result<Vec<Change>, Failure> {
    match mount.tree()? {
        Some(tree) => {
            let all = tree.changes().map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
            *mount.installed.lock() = dependencies::installed(mount, &all);
            Ok(all)
        }
        None => Ok(Vec::new()),
    }
}

/// Its stage, for commits.
pub(super) fn stage(mount: &LiveMount, wanted: Option<&Wanted>) -> Result<Stage, Failure> {
    let history: PathBuf = mount.stage_dir.join("history");
    let stage = Stage::new(
        mount
            .root
            .own()
            .map_err(|e| Failure::new("no_descriptor", format!("{}: {e}", mount.source.display())))?,
        history,
        mount.stage_dir.clone(),
    )
    .reading(index::says)
    .marking(checkout::is_mark);
    Ok(match wanted {
        Some(wanted) => stage.while_wanted(Arc::clone(wanted)),
        None => stage,
    })
}

/// What went wrong in a stage, as the user is told.
pub(super) fn failure(error: chaperone_staging::Error) -> Failure {
    let code = match error {
        chaperone_staging::Error::Cancelled => "cancelled",
        chaperone_staging::Error::NotRecorded => "audit_unavailable",
        _ => "stage_unavailable",
    };
    Failure::new(code, error.to_string())
}

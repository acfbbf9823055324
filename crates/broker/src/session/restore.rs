//! What survives the broker: written before a session starts and when it has ended, and read back by the next broker. In
//! between nothing of it changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chaperone_config::Profile;
use chaperone_gateway::Exit;
use chaperone_pipeline::session::SessionPlan;
use chaperone_pipeline::{Pipeline, Session};
use chaperone_protocol::session::{Record, State};
use chaperone_protocol::{AskMode, Failure};
use chaperone_quota::Quota;
use chaperone_workspace::mount::{LiveMount, Mounts};

use super::live::LiveSession;

/// Write what must survive the broker, atomically.
///
/// # Errors
/// `state_unavailable`.
pub fn save(live: &LiveSession) -> Result<(), Failure> {
    let dir = &live.session.dir;
    let failed = |e: std::io::Error| Failure::new("state_unavailable", format!("{}: {e}", dir.display()));
    let text = serde_json::to_vec_pretty(&live.record()).map_err(|e| failed(e.into()))?;
    let (new, at) = (dir.join("session.json.new"), dir.join("session.json"));
    std::fs::write(&new, text).map_err(failed)?;
    std::fs::rename(new, at).map_err(failed)
}

/// An ended session, from what was written of it: for its changes, commits and undo. It stands for `before`, of which nothing
/// else stays.
///
/// # Errors
/// `stage_unavailable` when its directory or stage is gone.
pub fn restore(
    pipeline: &Arc<Pipeline>,
    dir: &Path,
    before: Option<&mut LiveSession>,
) -> Result<LiveSession, Failure> {
    let failed = |e: String| Failure::new("stage_unavailable", format!("{}: {e}", dir.display()));
    let text = std::fs::read(dir.join("session.json")).map_err(|e| failed(e.to_string()))?;
    let record: Record = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
    let mut mounts: Vec<_> = record.mounts.iter().cloned().map(LiveMount::ended).collect();
    for (mount, was) in mounts.iter_mut().zip(before.iter().flat_map(|before| before.mounts.list())) {
        mount.stand_for(was);
    }
    let profile = Profile::parse(&format!("name = {:?}", record.profile), "session.json")
        .map_err(|e| failed(e.to_string()))?;
    let exit = Exit::new(&record.id, pipeline.outgoing.detectors().clone(), Vec::new(), &[], None, None)?;
    let plan = SessionPlan {
        id: record.id,
        name: record.name,
        profile,
        backend: record.backend,
        workspace: record.workspace,
        command: record.command,
        interactive: false,
        ask: AskMode::Deny,
        ask_timeout: Duration::from_secs(1),
        started: record.started,
        dir: dir.to_owned(),
        mounts: record.mounts,
        quota: Quota::unlimited(),
    };
    let session = Session::new(plan, State::Ended, record.init_pid);
    // A session that ran when its broker died was ended by that.
    let ending = (record.cause.unwrap_or_else(|| "broker".into()), record.exit.unwrap_or(137));
    let mut live = LiveSession::new(pipeline, Arc::new(session), exit, Mounts::new(mounts), Some(ending));
    if let Some(before) = before {
        live.session.stand_for(&before.session);
        live.visible = std::mem::take(&mut before.visible);
        live.shown = std::mem::take(&mut before.shown);
    }
    Ok(live)
}

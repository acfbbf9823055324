//! What is kept of sessions that are over, removed at the user's word: their state, and what undoes their commits. The log keeps
//! its records of them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chaperone_audit::Durability;
use chaperone_protocol::Failure;
use chaperone_protocol::reply::{Pruned, PrunedSession};
use chaperone_workspace::{commit, tool_caches};
use serde_json::json;

use crate::broker::Broker;
use crate::session::live::LiveSession;

/// Where what is being removed stands: no session is read back from there.
const REMOVING: &str = "removing";

/// Remove what is kept of every session that has ended and has nothing staged: of those that were last used longer ago than that; without
/// an age, of those that have no commit to undo. One that somebody is at stays.
///
/// # Errors
/// When it cannot be recorded or removed.
pub fn prune(broker: &Broker, older_than: Option<Duration>, dry_run: bool) -> Result<Pruned, Failure> {
    broker.read_back();
    let removing = broker.dirs.state.join(REMOVING);
    if !dry_run && removing.is_dir() {
        // What an earlier one could not finish.
        tool_caches::remove(&removing).map_err(|e| failed(&removing, &e))?;
    }
    let over: Vec<Arc<LiveSession>> =
        broker.sessions.read().values().filter(|live| live.has_ended() && live.is_over()).cloned().collect();
    let mut pruned = Pruned { sessions: Vec::new(), with_undo: 0 };
    for live in over {
        // What cannot be looked at may have something.
        if commit::count(&live.site(&broker.pipeline, None)).map_or(true, |staged| staged > 0) {
            continue;
        }
        let found = found(&live);
        match older_than {
            Some(age) if !is_older(&live, age) => continue,
            None if found.commits > 0 => {
                pruned.with_undo += 1;
                continue;
            }
            _ => {}
        }
        if dry_run || remove(broker, live, &found, &removing)? {
            pruned.sessions.push(found);
        }
    }
    pruned.sessions.sort_by(|a, b| a.started.cmp(&b.started));
    Ok(pruned)
}

fn found(live: &LiveSession) -> PrunedSession {
    PrunedSession {
        id: live.session.id.clone(),
        workspace: live.session.workspace.clone(),
        started: live.session.started.clone(),
        bytes: tool_caches::disk_use(&live.session.dir),
        commits: live.mounts.list().iter().map(|mount| commits(&mount.stage_dir.join("history"))).sum(),
    }
}

/// False where somebody is at it: then it stays.
fn remove(
    broker: &Broker,
    live: Arc<LiveSession>,
    found: &PrunedSession,
    removing: &Path,
) -> Result<bool, Failure> {
    let (session, dir) = (Arc::clone(&live.session), live.session.dir.clone());
    drop(live);
    let place = removing.join(&found.id);
    {
        let mut sessions = broker.sessions.write();
        // Who holds it acts on it, and nobody gets it from here on.
        if sessions.get_mut(&found.id).is_none_or(|live| Arc::get_mut(live).is_none()) {
            return Ok(false);
        }
        let payload = json!({ "bytes": found.bytes, "commits": found.commits });
        broker.pipeline.records.event(&session, "prune", &found.id, &payload, Durability::Synced)?;
        std::fs::create_dir_all(removing).map_err(|e| failed(removing, &e))?;
        std::fs::rename(&dir, &place).map_err(|e| failed(&dir, &e))?;
        sessions.remove(&found.id);
    }
    tool_caches::remove(&place).map_err(|e| failed(&place, &e))?;
    Ok(true)
}

/// Whether it was used last longer ago than that: it ended, or something was committed or undone.
fn is_older(live: &LiveSession, age: Duration) -> bool {
    let histories = live.mounts.list().iter().map(|mount| mount.stage_dir.join("history"));
    let used = histories.chain([live.session.dir.join("session.json")]);
    let used = used.filter_map(|path| path.metadata().ok()?.modified().ok());
    let Some(last) = used.max() else { return false };
    SystemTime::now().duration_since(last).is_ok_and(|since| since > age)
}

fn commits(history: &Path) -> u64 {
    // Each has a directory.
    let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    std::fs::read_dir(history).map_or(0, |entries| entries.flatten().filter(is_dir).count() as u64)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new("state_unavailable", format!("{}: {error}", path.display()))
}

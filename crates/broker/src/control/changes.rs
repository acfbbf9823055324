//! Staged changes: shown, committed, thrown away, taken back. Lists go out in parts, so that none is too long.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use chaperone_pipeline::ports::CellHandle;
use chaperone_protocol::Failure;
use chaperone_protocol::parts::Parts;
use chaperone_protocol::reply::{ChangeEntry, ChangeState, CommittedBefore};
use chaperone_workspace::commit::{self, CommitOrder, CommitOrigin, Detail, Review, Shown, ShownChanges};
use serde_json::Value;

use super::wire::{has_hung_up, internal, while_connected};
use crate::broker::Broker;
use crate::session::live::LiveSession;

/// What was sent of a session's changes. What the caller sent on to the user counts as shown, and nothing else.
pub struct Look {
    live: Arc<LiveSession>,
    /// Of each entry that was sent, what is remembered of it.
    entries: Vec<Option<Shown>>,
    /// What was asked for; all when empty.
    paths: Vec<String>,
}

impl Look {
    /// The first so many entries were shown.
    pub fn reached_the_user(self, count: usize) {
        let Self { live, entries, paths } = self;
        let whole = count >= entries.len();
        let looked: Vec<Shown> = entries.into_iter().take(count).flatten().collect();
        let mut shown = live.shown.lock();
        // Paths that are no changes are no look.
        if shown.is_some() || !looked.is_empty() || whole && paths.is_empty() {
            let covered = |shown: &Shown| whole && commit::covers(&live.mounts, &paths, shown);
            shown.get_or_insert_default().see(&paths, looked, &covered);
        }
    }
}

/// A session whose cell stands still until this is dropped.
pub struct FrozenSession(Option<Arc<LiveSession>>);

impl FrozenSession {
    pub fn of(live: Arc<LiveSession>) -> Self {
        let is_held = live.session.hold(|| live.cell.suspend());
        Self(is_held.then_some(live))
    }
}

impl Drop for FrozenSession {
    fn drop(&mut self) {
        if let Some(live) = &self.0 {
            live.session.release(|| live.cell.resume());
        }
    }
}

/// Each staged change, as it is read. It ends when nobody listens any more. Of numbers alone there is no look.
pub fn changes(
    broker: &Broker,
    stream: &UnixStream,
    session: &str,
    (diff, stat, paths): (bool, bool, Vec<String>),
) -> Result<(Option<Look>, Vec<Value>), Failure> {
    let detail = match (stat, diff) {
        (true, _) => Detail::Numbers,
        (false, true) => Detail::Differences,
        (false, false) => Detail::Names,
    };
    let live = broker.find(session)?;
    let mut parts = Parts::new(stream);
    let mut entries = Vec::new();
    let wanted = while_connected(stream)?;
    let look = commit::Look { paths: &paths, detail };
    commit::changes(&live.site(&broker.pipeline, Some(&wanted)), look, &mut |entry, shown| {
        if has_hung_up(stream) {
            return Err(Failure::new("cancelled", "nobody listens any more"));
        }
        parts.push(&entry).map_err(internal)?;
        entries.push(shown);
        Ok(())
    })?;
    let last = parts.last();
    Ok(((detail != Detail::Numbers).then_some(Look { live, entries, paths }), last))
}

pub fn commit(
    broker: &Broker,
    stream: &UnixStream,
    session: &str,
    (paths, choice, rehearsal): (&[String], Option<&str>, bool),
    (unseen, ask_first, (confirmed, accepted)): (bool, bool, (&[String], &[String])),
) -> Result<Vec<ChangeEntry>, Failure> {
    if paths.is_empty() && !accepted.is_empty() {
        return Err(Failure::new("bad_request", "a reason is accepted of named paths alone"));
    }
    let live = broker.find(session)?;
    let mut shown = live.shown.lock();
    if !shown.as_ref().is_some_and(ShownChanges::is_of_all) && ask_first && !unseen {
        return Err(Failure::new("look_first", "nobody looked at these changes yet"));
    }
    // Its last process may need a moment more than its session.
    let over = live.has_ended() || live.is_over();
    let review = match &*shown {
        _ if unseen => Review::Free,
        Some(shown) => Review::Against { shown, over },
        None if over => Review::Free,
        None => Review::Missing,
    };
    let order = CommitOrder { paths, choice, by: CommitOrigin::User, confirmed, accepted, review, rehearsal };
    let done = commit::commit(&live.site(&broker.pipeline, Some(&while_connected(stream)?)), &order)?;
    let committed = done.iter().filter(|entry| entry.state == ChangeState::Committed);
    if let Some(shown) = shown.as_mut() {
        shown.forget(committed.map(|entry| entry.path.as_str()));
    }
    Ok(done)
}

pub fn committed(broker: &Broker, session: &str, paths: &[String]) -> Result<Vec<CommittedBefore>, Failure> {
    commit::committed(&broker.find(session)?.site(&broker.pipeline, None), paths)
}

pub fn discard(broker: &Broker, session: &str, paths: &[String]) -> Result<Vec<ChangeEntry>, Failure> {
    let live = broker.find(session)?;
    let done = commit::discard(&live.site(&broker.pipeline, None), paths)?;
    forget(&live, &done);
    Ok(done)
}

pub fn undo(
    broker: &Broker,
    stream: &UnixStream,
    session: &str,
    commit: Option<u64>,
    paths: &[String],
    force: bool,
) -> Result<Vec<ChangeEntry>, Failure> {
    let live = broker.find(session)?;
    let wanted = while_connected(stream)?;
    let done = commit::undo(&live.site(&broker.pipeline, Some(&wanted)), commit, paths, force)?;
    forget(&live, &done);
    Ok(done)
}

fn forget(live: &LiveSession, done: &[ChangeEntry]) {
    if let Some(shown) = live.shown.lock().as_mut() {
        shown.forget(done.iter().map(|entry| entry.path.as_str()));
    }
}

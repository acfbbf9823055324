//! The end of a session's cell, and its pauses.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chaperone_audit::Durability;
use chaperone_cell::control::{self, InitOrder};
use chaperone_pipeline::ports::Syncing;
use chaperone_protocol::session::State;
use chaperone_protocol::{Failure, Happened};
use chaperone_workspace::{commit, tool_caches};
use serde_json::json;

use super::live::LiveSession;
use super::restore::save;
use crate::broker::Broker;

/// How long what only the cell needed waits for its last process.
const CLEAR_LIMIT_S: i64 = 10;

/// The cell is gone: close what is open, and write the session's record.
pub fn finish(broker: &Arc<Broker>, live: &Arc<LiveSession>) {
    let session = &live.session;
    {
        let mut state = session.state.write();
        if *state == State::Ended {
            return;
        }
        *state = State::Ended;
    }
    broker.pipeline.approvals.withdraw_session(&session.id);
    let (cause, code) = live.ending.lock().get_or_insert(("broker".to_owned(), 137)).clone();
    live.mounts.close();
    live.exit.close();
    live.tools.forget();
    session.forget();
    *live.cell.control.lock() = None;
    if let Some(channel) = live.cell.channel.lock().take() {
        // Whoever waits for conversations on it stops.
        rustix::net::shutdown(&channel, rustix::net::Shutdown::Both).ok();
    }
    let payload = json!({ "cause": cause, "code": code });
    let records = &broker.pipeline.records;
    session.folds.close();
    records.repeated(session).ok();
    // The session is over whether or not this can be written; a broken log denies whatever comes next.
    let written = records.event_then_sync(session, "end", &session.id, &payload).ok();
    save(live).ok();
    clear_away(broker, live, written);
    records.tell(session, || Happened::Ended { cause, code });
}

/// See that the last record is on disk, remove what only the cell needed, once its last process is gone, and let go of the rest;
/// nobody waits for it.
fn clear_away(broker: &Arc<Broker>, live: &Arc<LiveSession>, written: Option<Box<dyn Syncing>>) {
    let on_disk = move || written.map(|written| written.wait().ok());
    let Some(Ok(pidfd)) = live.cell.init_pidfd.lock().as_ref().map(OwnedFd::try_clone) else {
        on_disk();
        return;
    };
    let (broker, live) = (Arc::clone(broker), Arc::clone(live));
    let clear = move || {
        on_disk();
        let limit = rustix::event::Timespec { tv_sec: CLEAR_LIMIT_S, tv_nsec: 0 };
        // Whether it ended or hangs: what is in use is not removed.
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)],
            Some(&limit),
        )
        .ok();
        chaperone_cell::remove_groups(&live.cell.groups.lock());
        tool_caches::discard(&live.session);
        // What cannot be taken over now is when somebody asks for it.
        commit::bring_up_to_date(&live.mounts, live.is_over()).ok();
        let id = live.session.id.clone();
        drop(live);
        broker.let_go(&id);
    };
    // Without a thread they stay where they are, which harms nothing.
    std::thread::Builder::new().name("cell-end".into()).spawn(clear).ok();
}

/// End a session's cell and everything in it.
pub fn stop(live: &LiveSession) {
    live.cell.kill();
    live.ending.lock().get_or_insert(("signal".to_owned(), 137));
}

/// Let a suspended session go on.
///
/// # Errors
/// `not_suspended`, or when the resumption cannot be recorded.
pub fn resume(broker: &Broker, live: &LiveSession) -> Result<(), Failure> {
    let session = &live.session;
    let not_suspended = || Failure::new("not_suspended", format!("session {} is not suspended", session.id));
    if *session.state.read() != State::Suspended {
        return Err(not_suspended());
    }
    broker.pipeline.records.event(session, "resume", &session.id, &json!({}), Durability::Synced)?;
    session.forget_refusals();
    let control = live.cell.control.lock().clone();
    let thaw = || match &control {
        Some(control) => control::order(control, &InitOrder::Resume),
        None => Ok(()),
    };
    let gone_on = session.resume(thaw).ok_or_else(not_suspended)?;
    gone_on.map_err(|e| Failure::new("cell_gone", format!("the cell does not listen: {e}")))
}

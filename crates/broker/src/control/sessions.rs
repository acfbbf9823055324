//! Sessions: handing over a cell, its end, stopping, resuming, and what was refused.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaperone_audit::Durability;
use chaperone_protocol::reply::{Done, EndCounters, Ended, Stopped, WhyEntry};
use chaperone_protocol::{Failure, NetworkKind, for_display};
use chaperone_workspace::commit::{self, By};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::session::{attach, end};

/// Longest reason of an abandoned start that is recorded, in characters.
const SHOWN: usize = 300;

pub fn attach(
    broker: &Arc<Broker>,
    session: &str,
    (init_pid, network): (u32, Option<NetworkKind>),
    enforced: &Value,
    fds: Vec<OwnedFd>,
) -> Result<Done, Failure> {
    attach::attach(broker, &broker.find(session)?, (init_pid, network), enforced, fds)?;
    Ok(Done {})
}

pub fn attach_outside(broker: &Arc<Broker>, session: &str) -> Result<Done, Failure> {
    attach::attach_outside(broker, &broker.find(session)?)?;
    Ok(Done {})
}

/// The cell ended; what its profile commits at the end is committed.
pub fn ended(broker: &Arc<Broker>, session: &str, cause: String, code: i32) -> Result<Ended, Failure> {
    let live = broker.find(session)?;
    *live.ending.lock() = Some((cause, code));
    // The mappings of a cell that is gone were written back with it.
    let committed = if live.session.profile.commit.at_end {
        commit::commit(&live.site(&broker.pipeline), &[], None, By::Profile)?
    } else {
        Vec::new()
    };
    end::finish(broker, &live);
    let staged = commit::changes(&live.mounts, live.is_over(), false)?;
    let counters = &live.session.counters;
    let counters = EndCounters {
        reads: counters.reads.load(Ordering::Relaxed),
        denied: counters.denied.load(Ordering::Relaxed),
    };
    Ok(Ended { committed, staged, counters })
}

/// The cell could not be started.
pub fn abandon(broker: &Arc<Broker>, session: &str, reason: &str) -> Result<Done, Failure> {
    let live = broker.find(session)?;
    *live.ending.lock() = Some(("setup".into(), 125));
    let reason = for_display(reason, SHOWN);
    broker.pipeline.records.event(&live.session, "abandon", &reason, &json!({}), Durability::Logged)?;
    end::finish(broker, &live);
    Ok(Done {})
}

pub fn stop(broker: &Broker, session: Option<&str>) -> Result<Stopped, Failure> {
    let mut stopped: Vec<_> = match session {
        Some(id) => vec![broker.find(id)?],
        None => broker.sessions.read().values().cloned().collect(),
    };
    stopped.retain(|live| !live.has_ended());
    stopped.iter().for_each(|live| end::stop(live));
    Ok(Stopped { stopped: stopped.len() as u64 })
}

pub fn resume(broker: &Broker, session: &str) -> Result<Done, Failure> {
    end::resume(broker, &*broker.find(session)?)?;
    Ok(Done {})
}

/// The last refusals of a session, or of the one that started last.
pub fn why(broker: &Broker, session: Option<&str>) -> Result<Vec<WhyEntry>, Failure> {
    let live = match session {
        Some(id) => Some(broker.find(id)?),
        None => broker.sessions.read().values().max_by_key(|s| s.session.started.clone()).cloned(),
    };
    Ok(live.map_or_else(Vec::new, |live| live.session.why()))
}

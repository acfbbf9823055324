//! Sessions: handing over a cell, its end, stopping, resuming, and what was refused.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaperone_audit::Durability;
use chaperone_pipeline::Session;
use chaperone_protocol::reply::{
    ChangeState, Done, ENDED_LISTED, EndCounters, EndTotals, Ended, Stopped, WhyEntry,
};
use chaperone_protocol::{Enforced, Failure, NetworkKind, for_display};
use chaperone_workspace::commit::{self, CommitOrder, CommitOrigin, Look, Review};
use serde_json::json;

use super::wire::while_connected;
use crate::broker::Broker;
use crate::session::{attach, end};

/// Longest reason of an abandoned start that is recorded, in characters.
const SHOWN: usize = 300;

pub fn attach(
    broker: &Arc<Broker>,
    session: &str,
    (init_pid, network): (u32, Option<NetworkKind>),
    enforced: &Enforced,
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
pub fn ended(
    broker: &Arc<Broker>,
    stream: &UnixStream,
    session: &str,
    cause: (String, i32),
) -> Result<Ended, Failure> {
    let wanted = while_connected(stream)?;
    let live = broker.find(session)?;
    *live.ending.lock() = Some(cause);
    // The mappings of a cell that is gone were written back with it.
    let committed = if live.session.profile.commit.at_end {
        let order = CommitOrder {
            paths: &[],
            choice: None,
            by: CommitOrigin::Profile,
            confirmed: &[],
            accepted: &[],
            review: Review::Free,
            rehearsal: false,
        };
        commit::commit(&live.site(&broker.pipeline, Some(&wanted)), &order)?
    } else {
        Vec::new()
    };
    end::finish(broker, &live);
    let mut totals = EndTotals { committed: committed.len() as u64, staged: 0 };
    let mut staged = Vec::new();
    commit::changes(&live.site(&broker.pipeline, Some(&wanted)), Look::default(), &mut |entry, _| {
        totals.staged += 1;
        if staged.len() < ENDED_LISTED {
            staged.push(entry);
        }
        Ok(())
    })?;
    // What needs a look is listed before what went well.
    let (done, mut listed): (Vec<_>, Vec<_>) =
        committed.into_iter().partition(|c| c.state == ChangeState::Committed);
    listed.extend(done);
    listed.truncate(ENDED_LISTED);
    let committed = listed;
    let counters = &live.session.counters;
    let counters = EndCounters {
        reads: counters.reads.load(Ordering::Relaxed),
        denied: counters.denied.load(Ordering::Relaxed),
        likely: live.session.likely.kinds(),
        likely_in: live.session.likely.files(),
    };
    Ok(Ended { committed, staged, totals, counters })
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

/// The last refusals of a session, or of the one that started last, and what it came across that is likely and interrupted nothing.
pub fn why(broker: &Broker, session: Option<&str>) -> Result<Vec<WhyEntry>, Failure> {
    let live = match session {
        Some(id) => Some(broker.find(id)?),
        None => broker.sessions.read().values().max_by_key(|s| s.session.started.clone()).cloned(),
    };
    Ok(live
        .map_or_else(Vec::new, |live| live.session.why().into_iter().chain(likely(&live.session)).collect()))
}

/// What `why` says of likely findings: kinds and how many, never a value or a place.
fn likely(session: &Session) -> Option<WhyEntry> {
    let kinds = session.likely.kinds();
    let listed: Vec<_> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    (!listed.is_empty()).then(|| WhyEntry {
        time: session.started.clone(),
        action: "read".into(),
        resource: listed.join(", "),
        was: None,
        rule: "inspection.likely".into(),
        reasons: vec!["likely_remembered".into()],
        advice: Some("`chaperone inspect --explain FILE` says where and why".into()),
        count: 1,
    })
}

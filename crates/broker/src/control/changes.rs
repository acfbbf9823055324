//! Staged changes: shown, committed, thrown away, taken back.

use chaperone_protocol::Failure;
use chaperone_protocol::reply::ChangeEntry;
use chaperone_workspace::commit::{self, By};

use crate::broker::Broker;

pub fn changes(broker: &Broker, session: &str, diff: bool) -> Result<Vec<ChangeEntry>, Failure> {
    let live = broker.find(session)?;
    commit::changes(&live.mounts, live.is_over(), diff)
}

pub fn commit(
    broker: &Broker,
    session: &str,
    paths: &[String],
    choice: Option<&str>,
) -> Result<Vec<ChangeEntry>, Failure> {
    let live = broker.find(session)?;
    commit::commit(&live.site(&broker.pipeline), paths, choice, By::Person)
}

pub fn discard(broker: &Broker, session: &str, paths: &[String]) -> Result<Vec<ChangeEntry>, Failure> {
    let live = broker.find(session)?;
    commit::discard(&live.site(&broker.pipeline), paths)
}

pub fn undo(
    broker: &Broker,
    session: &str,
    commit: Option<u64>,
    paths: &[String],
    force: bool,
) -> Result<Vec<ChangeEntry>, Failure> {
    let live = broker.find(session)?;
    commit::undo(&live.site(&broker.pipeline), commit, paths, force)
}

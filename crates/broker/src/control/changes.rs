//! Staged changes: shown, committed, thrown away, taken back.

use chaperone_protocol::Failure;
use chaperone_workspace::commit::{self, By};
use serde_json::{Value, json};

use crate::broker::Broker;

pub fn changes(broker: &Broker, session: &str, diff: bool) -> Result<Value, Failure> {
    let live = broker.find(session)?;
    Ok(json!(commit::changes(&live.mounts, live.is_over(), diff)?))
}

pub fn commit(
    broker: &Broker,
    session: &str,
    paths: &[String],
    choice: Option<&str>,
) -> Result<Value, Failure> {
    let live = broker.find(session)?;
    Ok(json!(commit::commit(&live.site(&broker.pipeline), paths, choice, By::Person)?))
}

pub fn discard(broker: &Broker, session: &str, paths: &[String]) -> Result<Value, Failure> {
    let live = broker.find(session)?;
    Ok(json!(commit::discard(&live.site(&broker.pipeline), paths)?))
}

pub fn undo(
    broker: &Broker,
    session: &str,
    commit: Option<u64>,
    paths: &[String],
    force: bool,
) -> Result<Value, Failure> {
    let live = broker.find(session)?;
    Ok(json!(commit::undo(&live.site(&broker.pipeline), commit, paths, force)?))
}

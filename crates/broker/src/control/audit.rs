//! The state of the broker, and the audit log.

use chaperone_audit::{LogError, Reader};
use chaperone_pipeline::vault::failure;
use chaperone_protocol::Failure;
use serde_json::{Value, json};

use crate::broker::Broker;

pub fn status(broker: &Broker) -> Result<Value, Failure> {
    let client = broker.vault.client();
    let last = client.last_signed().map_err(failure)?;
    Ok(json!({
        "last_signed": last.map(|l| json!({ "size": l.size, "root": hex::encode(l.root) })),
        "broker": { "pid": std::process::id() }, "vault": { "pid": client.pid(), "alive": client.is_alive() },
        "policy": broker.policy.current().revision(), "records": broker.log.size(),
        "checkpoint_vkey": client.hello().checkpoint_vkey,
    }))
}

pub fn checkpoint(broker: &Broker) -> Result<Value, Failure> {
    let checkpoint = broker.log.checkpoint().map_err(unavailable)?;
    Ok(json!({ "size": checkpoint.size, "checkpoint": checkpoint.text }))
}

pub fn show(broker: &Broker, seq: u64) -> Result<Value, Failure> {
    let reader = Reader::open(&broker.dirs.audit()).map_err(unavailable)?;
    let (leaf, payload) = reader.show(seq, &*broker.vault).map_err(unavailable)?;
    Ok(json!({ "leaf": leaf, "payload": payload }))
}

fn unavailable(error: LogError) -> Failure {
    Failure::new("audit_unavailable", error.to_string())
}

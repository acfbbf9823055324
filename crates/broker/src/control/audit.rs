//! The state of the broker, and the audit log.

use chaperone_audit::{LogError, Reader};
use chaperone_pipeline::vault::failure;
use chaperone_protocol::Failure;
use chaperone_protocol::reply::{AuditShown, Checkpoint, Process, SignedTree, Status, VaultProcess};
use serde_json::json;

use crate::broker::Broker;

pub fn status(broker: &Broker) -> Result<Status, Failure> {
    let client = broker.vault.client();
    let last = client.last_signed().map_err(failure)?;
    Ok(Status {
        last_signed: last.map(|l| SignedTree { size: l.size, root: hex::encode(l.root) }),
        broker: Process { pid: std::process::id() },
        vault: VaultProcess { pid: client.pid(), alive: client.is_alive() },
        policy: broker.policy.current().revision().to_owned(),
        records: broker.log.size(),
        checkpoint_vkey: client.hello().checkpoint_vkey.clone(),
    })
}

pub fn checkpoint(broker: &Broker) -> Result<Checkpoint, Failure> {
    let checkpoint = broker.log.checkpoint().map_err(unavailable)?;
    Ok(Checkpoint { size: checkpoint.size, checkpoint: checkpoint.text })
}

pub fn show(broker: &Broker, seq: u64) -> Result<AuditShown, Failure> {
    let reader = Reader::open(&broker.dirs.audit()).map_err(unavailable)?;
    let (leaf, payload) = reader.show(seq, &*broker.vault).map_err(unavailable)?;
    Ok(AuditShown { leaf: json!(leaf), payload })
}

fn unavailable(error: LogError) -> Failure {
    Failure::new("audit_unavailable", error.to_string())
}

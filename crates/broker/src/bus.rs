//! Events for whoever watches: the terminal of `run`, `approvals --watch`. Never the record of anything: the
//! audit log is written first, and a slow watcher loses events, not the log.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use parking_lot::Mutex;
use serde_json::Value;

/// Events kept for a watcher that does not read. Protects memory; beyond it the watcher misses some.
const BACKLOG: usize = 1024;

#[derive(Debug, Default)]
pub struct Bus {
    watchers: Mutex<Vec<(Option<String>, SyncSender<Value>)>>,
}

impl Bus {
    /// Watch one session, or all.
    pub fn watch(&self, session: Option<String>) -> Receiver<Value> {
        let (sender, receiver) = sync_channel(BACKLOG);
        self.watchers.lock().push((session, sender));
        receiver
    }

    /// Tell the watchers of a session.
    pub fn tell(&self, session: &str, event: &Value) {
        self.watchers.lock().retain(|(of, sender)| {
            if of.as_ref().is_some_and(|s| s != session) {
                return true;
            }
            !matches!(sender.try_send(event.clone()), Err(TrySendError::Disconnected(_)))
        });
    }

    /// Whether anybody watches (building an event costs something).
    pub fn watched(&self) -> bool {
        !self.watchers.lock().is_empty()
    }
}

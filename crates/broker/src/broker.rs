//! What the broker holds while it runs: the parts that every command shares, and the sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaperone_audit::Log;
use chaperone_config::Dirs;
use chaperone_pipeline::Pipeline;
use chaperone_pipeline::events::Bus;
use chaperone_pipeline::vault::Vault;
use chaperone_policy::Store;
use chaperone_quota::Descriptors;
use parking_lot::RwLock;

use crate::session::live::LiveSession;

/// Everything the broker holds. No key is among it.
pub struct Broker {
    pub dirs: Dirs,
    pub pipeline: Arc<Pipeline>,
    pub policy: Arc<Store>,
    pub log: Arc<Log>,
    pub vault: Arc<Vault>,
    pub bus: Arc<Bus>,
    /// Shared out among the sessions.
    pub descriptors: Arc<Descriptors>,
    pub sessions: RwLock<BTreeMap<String, Arc<LiveSession>>>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("dirs", &self.dirs).finish_non_exhaustive()
    }
}

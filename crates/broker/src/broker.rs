//! What the broker holds while it runs: the parts that every command shares, and the sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaperone_audit::Log;
use chaperone_config::Dirs;
use chaperone_config::policy_files::CheckedPolicies;
use chaperone_pipeline::Pipeline;
use chaperone_pipeline::events::Bus;
use chaperone_pipeline::vault::Vault;
use chaperone_policy::Store;
use chaperone_quota::Descriptors;
use parking_lot::{Mutex, RwLock};

use crate::session::live::LiveSession;

/// Everything the broker holds. No key is among it.
pub struct Broker {
    pub dirs: Dirs,
    pub pipeline: Arc<Pipeline>,
    pub policy: Arc<Store>,
    pub checked_policies: CheckedPolicies,
    /// What was said last of the directories of PATH that no cell shows.
    pub said_of_path: Mutex<Option<String>>,
    pub log: Arc<Log>,
    pub vault: Arc<Vault>,
    pub bus: Arc<Bus>,
    /// Shared out among the sessions.
    pub descriptors: Arc<Descriptors>,
    pub sessions: RwLock<BTreeMap<String, Arc<LiveSession>>>,
    /// Which build of the program this is.
    pub build: String,
    /// One for each conversation with a command, and this one.
    pub conversations: Arc<()>,
}

impl Broker {
    /// Whether this about PATH was not said last: sessions one after the other say it once.
    pub fn is_new_of_path(&self, notice: &str) -> bool {
        let mut said = self.said_of_path.lock();
        let is_new = said.as_deref() != Some(notice);
        if is_new {
            *said = Some(notice.to_owned());
        }
        is_new
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("dirs", &self.dirs).finish_non_exhaustive()
    }
}

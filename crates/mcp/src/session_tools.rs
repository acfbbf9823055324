//! What the tools of one session act on.

use std::collections::HashMap;
use std::sync::Arc;

use chaperone_gateway::{Exit, SessionGateway};
use chaperone_pipeline::access::FileObject;
use chaperone_pipeline::pipeline::Pipeline;
use chaperone_pipeline::session::Session;
use chaperone_quota::HeldFile;
use chaperone_workspace::mount::Mounts;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// What the tools of one session act on.
#[derive(Debug)]
pub struct SessionTools {
    pub pipeline: Arc<Pipeline>,
    pub session: Arc<Session>,
    pub mounts: Arc<Mounts>,
    pub exit: Arc<Exit>,
    pub blobs: Blobs,
    pub tables: Tables,
    pub read_in_parts: ReadInParts,
}

/// The digest, in hex, of the staged file that is being read in parts.
#[derive(Debug, Default)]
pub struct ReadInParts(pub(crate) Mutex<Option<(FileObject, String)>>);

/// Staged blobs by content hash, for `save_workbook`.
#[derive(Debug, Default)]
pub struct Blobs(pub(crate) Mutex<HashMap<String, Arc<HeldFile>>>);

/// One table of a session is read at a time.
#[derive(Debug)]
pub struct Tables(pub(crate) Semaphore);

impl Default for Tables {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl SessionTools {
    /// The session is over: what was staged for its next call goes.
    pub fn forget(&self) {
        self.blobs.0.lock().clear();
    }

    /// The session's way out.
    #[must_use]
    pub fn way(&self) -> SessionGateway {
        SessionGateway {
            pipeline: Arc::clone(&self.pipeline),
            session: Arc::clone(&self.session),
            exit: Arc::clone(&self.exit),
        }
    }
}

//! What the threads of a mount share.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use chaperone_names::native;
use chaperone_quota::{Held, HeldFile};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::announcing::Announcing;
use crate::gate::{Cancel, Gate};
use crate::listing::Listing;
use crate::nodes::Nodes;
use crate::protocol::{self, Reply};
use crate::tree::Tree;

/// Openings of one mount that may wait for the user at once; beyond it: `EAGAIN`.
pub(crate) const MAX_WAITING: usize = 64;
/// Files of one mount that are open at once. Protects descriptors; beyond it: `EMFILE`.
pub(crate) const MAX_HANDLES: usize = 16_384;

/// How a mount is served.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The owner shown inside.
    pub uid: u32,
    pub gid: u32,
    /// Lets the kernel delay writes; then only fsync acknowledges them.
    pub write_back: bool,
}

/// Who reads.
#[derive(Default)]
pub(crate) struct Workers {
    /// Nobody reads: the next one that waits takes over.
    pub free: bool,
    pub waiting: usize,
    /// Threads altogether.
    pub alive: usize,
}

pub(crate) struct Shared {
    pub device: File,
    pub tree: Arc<Tree>,
    pub gate: Arc<dyn Gate>,
    pub options: Options,
    pub nodes: RwLock<Nodes>,
    pub handles: RwLock<HashMap<u64, Arc<Handle>>>,
    /// Open directories; without names where the kernel was told to keep what it has.
    pub folders: Mutex<HashMap<u64, Option<Arc<Listing>>>>,
    pub next_handle: AtomicU64,
    pub waiting: Mutex<HashMap<u64, Cancel>>,
    pub ended: AtomicBool,
    pub announcing: Announcing,
    /// The kernel is asked to forget names.
    pub forgets: AtomicBool,
    pub workers: Mutex<Workers>,
    pub workers_changed: Condvar,
}

impl Shared {
    /// Nothing is open yet; the thread that is started first reads.
    pub fn new(device: File, tree: Arc<Tree>, gate: Arc<dyn Gate>, options: Options) -> Self {
        Self {
            nodes: RwLock::new(Nodes::new(&tree.quota)),
            device,
            tree,
            gate,
            options,
            handles: RwLock::default(),
            folders: Mutex::default(),
            next_handle: AtomicU64::new(1),
            waiting: Mutex::default(),
            ended: AtomicBool::new(false),
            announcing: Announcing::default(),
            forgets: AtomicBool::new(false),
            workers: Mutex::new(Workers { free: true, waiting: 0, alive: 1 }),
            workers_changed: Condvar::new(),
        }
    }

    pub fn answer(&self, message: &[u8]) {
        // ENOENT: the caller was interrupted, or the kernel does not know the node any more.
        rustix::io::write(&self.device, message).ok();
    }

    /// The kernel forgets a name.
    pub fn invalidate_name(&self, parent: u64, name: &str) {
        let name = native(name);
        let mut notice = Reply::new();
        notice
            .u64(parent)
            .u32(u32::try_from(name.len()).unwrap_or(0))
            .u32(0)
            .bytes(name.as_bytes())
            .bytes(&[0]);
        self.answer(&notice.finish(0, protocol::NOTIFY_INVAL_ENTRY));
    }

    /// The kernel forgets what it knows of a path.
    pub fn forget(&self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (node, above) = {
            let nodes = self.nodes.read();
            (nodes.number_of(path), nodes.number_of(parent))
        };
        if let Some(node) = node {
            if let Some(node) = self.nodes.write().node(node) {
                node.version = None;
                node.shown = None;
            }
            // Pages that stay are of the version that their handles have; the next opening gets a node of its own.
            self.invalidate_node(node).ok();
        }
        if let Some(above) = above {
            self.invalidate_name(above, name);
        }
    }

    /// Drop the pages of a node, dirty ones after they were written.
    pub fn invalidate_node(&self, node: u64) -> rustix::io::Result<()> {
        let mut notice = Reply::new();
        notice.u64(node).u64(0).u64(0);
        match rustix::io::write(&self.device, &notice.finish(0, protocol::NOTIFY_INVAL_INODE)) {
            // The kernel does not know the node any more: it has no pages.
            Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// An open file.
pub(crate) struct Handle {
    pub node: u64,
    pub path: String,
    pub file: Arc<HeldFile>,
    /// The gate's name for the opening.
    pub opening: u64,
    /// The file of the stage that it may write.
    pub writes: Option<u64>,
    pub append: bool,
    /// Type and permission bits when it was opened.
    pub mode: u32,
    pub read: AtomicU64,
    pub written: AtomicU64,
    /// Memory of the handle itself.
    pub _held: Held,
}

impl Handle {
    /// Memory that a handle takes, in bytes, by far.
    pub const MEMORY: u64 = 512;
}

//! What the threads of a mount share.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use chaperone_names::native;
use chaperone_quota::{Held, HeldFile};
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::event::{PollFd, PollFlags, poll};

use crate::announcing::Announcing;
use crate::gate::{Cancel, Gate};
use crate::listing::Listing;
use crate::nodes::{Nodes, ROOT};
use crate::protocol::{self, Reply};
use crate::tree::Tree;

/// Openings of one mount that may wait for the user at once; beyond it: `EAGAIN`.
pub(crate) const MAX_WAITING: usize = 64;
/// Notices to a guest's kernel that wait to be taken, of some hundred bytes each.
const MAX_NOTICES: usize = 16_384;
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
    /// To whoever passes notices on where the device is a socket: that leads to a guest, whose kernel is not this machine's.
    notices: Option<SyncSender<Vec<u8>>>,
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
    /// See [`Shared::settle`].
    settled: (Mutex<u64>, Condvar),
    /// The kernel is asked to forget names.
    pub forgets: AtomicBool,
    pub workers: Mutex<Workers>,
    pub workers_changed: Condvar,
}

impl Shared {
    /// Nothing is open yet; the thread that is started first reads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(
        device: File,
        tree: Arc<Tree>,
        gate: Arc<dyn Gate>,
        options: Options,
    ) -> std::io::Result<Self> {
        Ok(Self {
            nodes: RwLock::new(Nodes::new(&tree.quota)),
            notices: rustix::net::sockopt::socket_type(&device)
                .is_ok()
                .then(|| pass_on(&device))
                .transpose()?,
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
            settled: Default::default(),
            forgets: AtomicBool::new(false),
            workers: Mutex::new(Workers { free: true, waiting: 0, alive: 1 }),
            workers_changed: Condvar::new(),
        })
    }

    pub fn answer(&self, message: &[u8]) {
        // ENOENT: the caller was interrupted, or the kernel does not know the node any more.
        write(&self.device, self.is_socket(), message).ok();
    }

    /// Tell the kernel something. A guest's may stand still, and nobody waits for it: what is more than it can be told then is not.
    fn notify(&self, notice: Vec<u8>) -> rustix::io::Result<()> {
        match &self.notices {
            Some(notices) => notices.try_send(notice).map_err(|_| rustix::io::Errno::NOBUFS),
            None => write(&self.device, false, &notice),
        }
    }

    fn is_socket(&self) -> bool {
        self.notices.is_some()
    }

    /// A device does what it is notified of at once. The kernel behind a socket is waited for, so long at most: one that stands still,
    /// or does not answer, has told all that is to be had of it.
    pub fn settle(&self, limit: Duration) {
        if !self.is_socket() || self.ended.load(Ordering::Acquire) {
            return;
        }
        let (count, changed) = &self.settled;
        let mut settled = count.lock();
        let asked = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let mut notice = Reply::new();
        // Nothing of the root: the answer is all that is wanted.
        notice.u64(asked).u64(ROOT).u64(0).u32(0).u32(0);
        if self.notify(notice.finish(0, protocol::NOTIFY_RETRIEVE)).is_ok() {
            let waits = |settled: &mut u64| *settled < asked && !self.ended.load(Ordering::Acquire);
            changed.wait_while_for(&mut settled, waits, limit);
        }
    }

    /// The answer to a notice of [`Self::settle`]; also the end of the mount is one.
    pub fn has_settled(&self, asked: u64) {
        let (count, changed) = &self.settled;
        let mut settled = count.lock();
        *settled = (*settled).max(asked);
        changed.notify_all();
    }

    /// Bytes of the largest read and write.
    pub fn max_io(&self) -> u32 {
        if self.is_socket() { protocol::MAX_IO_OF_SOCKETS } else { protocol::MAX_IO }
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
        self.notify(notice.finish(0, protocol::NOTIFY_INVAL_ENTRY)).ok();
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
        match self.notify(notice.finish(0, protocol::NOTIFY_INVAL_INODE)) {
            // The kernel does not know the node any more: it has no pages. Of a guest's it is not known.
            Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOBUFS) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// A device takes everything at once; a socket may have no room for a while.
fn write(device: &File, is_socket: bool, message: &[u8]) -> rustix::io::Result<()> {
    loop {
        match rustix::io::write(device, message) {
            Err(rustix::io::Errno::AGAIN) if is_socket => {
                poll(&mut [PollFd::new(device, PollFlags::OUT)], None)?;
            }
            other => return other.map(drop),
        }
    }
}

/// Notices, in their order, for as long as there is somebody who sends them.
fn pass_on(device: &File) -> std::io::Result<SyncSender<Vec<u8>>> {
    let (notices, noticed) = sync_channel::<Vec<u8>>(MAX_NOTICES);
    let device = device.try_clone()?;
    let pass =
        move || noticed.iter().take_while(|notice| write(&device, true, notice).is_ok()).for_each(drop);
    std::thread::Builder::new().name("notices".into()).spawn(pass)?;
    Ok(notices)
}

/// An open file.
pub(crate) struct Handle {
    pub node: u64,
    pub path: String,
    pub file: Arc<HeldFile>,
    /// The gate's name for the opening.
    pub opening: u64,
    /// It may be read from. This machine's kernel looks at that itself; a guest's is not to be relied on.
    pub reads: bool,
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

//! The server: threads that read requests from the mounted descriptor and answer them.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};

use crate::gate::{Cancel, Gate};
use crate::nodes::{Nodes, Version};
use crate::protocol::{self, Header, Reply, flag, op};
use crate::tree::Tree;

/// Threads that answer one mount. Requests that wait for a person have threads of their own.
const THREADS: usize = 2;
/// Openings of one mount that may wait for a person at once; beyond it: `EAGAIN`.
pub(crate) const MAX_WAITING: usize = 64;
/// Files of one mount that are open at once. Protects descriptors; beyond it: `EMFILE`.
pub(crate) const MAX_HANDLES: usize = 16_384;
/// How often the kernel is asked again to write back a page that was busy.
const WRITE_BACK_TRIES: u32 = 5;

/// How a mount is served.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The owner shown inside.
    pub uid: u32,
    pub gid: u32,
    /// Lets the kernel delay writes; then only fsync acknowledges them.
    pub write_back: bool,
}

/// A served mount. Dropping it does not stop it: the end of the mount does.
pub struct Server {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    pub device: File,
    pub tree: Arc<Tree>,
    pub gate: Arc<dyn Gate>,
    pub options: Options,
    pub nodes: RwLock<Nodes>,
    pub handles: RwLock<HashMap<u64, Arc<Handle>>>,
    pub folders: Mutex<HashMap<u64, Listing>>,
    pub next_handle: AtomicU64,
    pub waiting: Mutex<HashMap<u64, Cancel>>,
    pub ended: AtomicBool,
}

/// The entries of an open folder, as they were when it was opened.
pub(crate) type Listing = Arc<Vec<(String, crate::tree::Attributes)>>;

/// An open file.
pub(crate) struct Handle {
    pub node: u64,
    pub path: String,
    pub file: Arc<File>,
    /// The gate's name for the opening.
    pub opening: u64,
    /// The file of the stage that it may write.
    pub writes: Option<u64>,
    pub append: bool,
    /// Type and permission bits when it was opened.
    pub mode: u32,
    pub read: AtomicU64,
    pub written: AtomicU64,
}

/// Serve a mounted descriptor until the mount ends.
///
/// # Errors
/// When threads cannot be started.
pub fn serve(
    device: OwnedFd,
    tree: Arc<Tree>,
    gate: Arc<dyn Gate>,
    options: Options,
) -> std::io::Result<Server> {
    let shared = Arc::new(Shared {
        device: File::from(device),
        tree,
        gate,
        options,
        nodes: RwLock::default(),
        handles: RwLock::default(),
        folders: Mutex::default(),
        next_handle: AtomicU64::new(1),
        waiting: Mutex::default(),
        ended: AtomicBool::new(false),
    });
    let mut threads = Vec::new();
    for i in 0..THREADS {
        let shared = Arc::clone(&shared);
        threads.push(std::thread::Builder::new().name(format!("fs-{i}")).spawn(move || work(&shared))?);
    }
    Ok(Server { shared, threads })
}

impl Server {
    /// Force dirty pages of shared mappings back into the stage. To be called before a commit, never from a gate.
    ///
    /// # Errors
    /// When a page cannot be written back: what is staged would not be what the agent wrote.
    pub fn sync_mappings(&self) -> std::io::Result<()> {
        let staged: Vec<u64> = {
            let nodes = self.shared.nodes.read();
            nodes
                .all()
                .filter(|(_, n)| matches!(n.version, Some(Version::Staged(_))))
                .map(|(number, _)| number)
                .collect()
        };
        for node in staged {
            let mut tries = 0;
            loop {
                match self.shared.invalidate_node(node) {
                    Ok(()) => break,
                    Err(rustix::io::Errno::BUSY) if tries < WRITE_BACK_TRIES => tries += 1,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(())
    }

    /// The path changed by another way than this mount: the kernel forgets what it knows of it.
    pub fn invalidate(&self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (node, above) = {
            let nodes = self.shared.nodes.read();
            (nodes.number_of(path), nodes.number_of(parent))
        };
        if let Some(node) = node {
            if let Some(node) = self.shared.nodes.write().node(node) {
                node.version = None;
                node.shown = None;
            }
            // Pages that stay are of the version that their handles have; the next opening gets a node of its own.
            self.shared.invalidate_node(node).ok();
        }
        if let Some(above) = above {
            let mut notice = Reply::new();
            notice
                .u64(above)
                .u32(u32::try_from(name.len()).unwrap_or(0))
                .u32(0)
                .bytes(name.as_bytes())
                .bytes(&[0]);
            self.shared.answer(&notice.finish(0, protocol::NOTIFY_INVAL_ENTRY));
        }
    }

    /// Wait for the mount's end.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                self.shared.ended.store(true, Ordering::Release);
            }
        }
    }

    /// Whether the mount is gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}

impl Shared {
    pub fn answer(&self, message: &[u8]) {
        // ENOENT: the caller was interrupted, or the kernel does not know the node any more.
        rustix::io::write(&self.device, message).ok();
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

fn work(shared: &Arc<Shared>) {
    let mut buffer = vec![0u8; protocol::MAX_IO as usize + 8192];
    loop {
        match rustix::io::read(shared.device.as_fd(), &mut buffer[..]) {
            Ok(n) => {
                let request = buffer.get(..n).unwrap_or_default();
                let Ok((header, body)) = Header::parse(request) else { break };
                match header.opcode {
                    op::INIT => shared.answer(&init(shared, header, body)),
                    op::DESTROY => {
                        shared.answer(&Reply::new().finish(header.unique, 0));
                        break;
                    }
                    _ => {
                        if let Some(reply) = crate::requests::answer(shared, header, body) {
                            shared.answer(&reply);
                        }
                    }
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT | rustix::io::Errno::AGAIN) => {}
            // ENODEV: unmounted.
            Err(_) => break,
        }
    }
    shared.ended.store(true, Ordering::Release);
    for cancel in shared.waiting.lock().values() {
        cancel.cancel();
    }
}

fn init(shared: &Shared, header: Header, mut body: protocol::Reader<'_>) -> Vec<u8> {
    let (Ok(major), Ok(_minor), Ok(read_ahead), Ok(offered)) =
        (body.u32(), body.u32(), body.u32(), body.u32())
    else {
        return Reply::error(header.unique, libc_errno(rustix::io::Errno::PROTO));
    };
    if major != 7 {
        return Reply::error(header.unique, libc_errno(rustix::io::Errno::PROTO));
    }
    let mut wanted = flag::ASYNC_READ
        | flag::ATOMIC_O_TRUNC
        | flag::BIG_WRITES
        | flag::DO_READDIRPLUS
        | flag::READDIRPLUS_AUTO
        | flag::PARALLEL_DIROPS
        | flag::MAX_PAGES;
    if shared.options.write_back {
        wanted |= flag::WRITEBACK_CACHE;
    }
    let mut reply = Reply::new();
    reply
        .u32(7)
        .u32(31)
        .u32(read_ahead.max(1 << 17))
        .u32(wanted & offered)
        .u32(64 | 48 << 16) // max_background, congestion_threshold
        .u32(protocol::MAX_IO) // max_write
        .u32(1) // time granularity, ns
        .u32(protocol::MAX_IO / 4096) // max_pages, map_alignment
        .u32(0)
        .bytes(&[0; 28]);
    reply.finish(header.unique, 0)
}

pub(crate) fn libc_errno(errno: rustix::io::Errno) -> i32 {
    errno.raw_os_error()
}

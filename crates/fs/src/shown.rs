//! A tree of this machine, shown read-only over FUSE frames to the guest of a virtual machine.
//!
//! The guest is hostile: it may send anything, in any order. Whatever it sends, nothing outside of the tree is reached
//! ([`beneath`]), nothing is written, and what is held for it is bounded. Most of the tree does not change while it is shown, so the
//! guest may believe what it was told for a day; it asks for each name once, which is what makes an emulated guest bearable.

mod beneath;
mod listings;
mod nodes;
mod requests;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::SendFlags;

use self::beneath::Beneath;
use self::listings::Listings;
use self::nodes::Nodes;
use crate::protocol::{self, Header, Reader, Reply, flag, op};

/// Largest read, and largest part of a directory, of one request; a packet has to fit into the socket's buffer.
const MAX_DATA: u32 = protocol::MAX_IO_OF_SOCKETS;
/// A request is never larger than this: what it may write, as much again as names take, and its header.
const MAX_REQUEST: usize = (132 << 10) + (8 << 10);
/// Files that a guest has open.
const MAX_HANDLES: usize = 1 << 14;

/// Serve the tree below `root`, read-only, until the other end hangs up or the guest unmounts.
///
/// `device` is a connected `AF_UNIX` socket of the kind `SOCK_SEQPACKET`, by which the frames of the guest's `/dev/fuse` come and
/// go, one a packet. The tree is shown as this process sees it, with mounts, and what this process may not read answers the same
/// error to the guest. Symbolic links are shown and never followed. A regular file that the guest opens is opened here each time,
/// and by nothing else, so that whoever watches for its opening sees the guest's. The calling thread is taken until the end.
/// What is in the directories `changing`, below `root`, may change meanwhile: the guest asks for it each time.
///
/// # Errors
/// When `root` is no directory that can be opened, when the socket fails, or when a packet holds no whole header.
pub fn show(device: OwnedFd, root: &Path, changing: &[PathBuf]) -> std::io::Result<()> {
    let below = changing.iter().filter_map(|at| at.strip_prefix(root).ok().map(Path::to_owned));
    let mut shown = Shown::new(Beneath::open(root)?, below.collect());
    rustix::io::ioctl_fionbio(&device, false)?;
    // The usual buffer holds an answer; this is for where less is usual, and the most that is granted has to do.
    rustix::net::sockopt::set_socket_send_buffer_size(&device, 4 * MAX_DATA as usize).ok();
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let length = match rustix::io::retry_on_intr(|| rustix::io::read(&device, &mut buffer[..])) {
            Ok(0) | Err(Errno::CONNRESET) => return Ok(()),
            length => length?,
        };
        let request = buffer.get(..length).unwrap_or_default();
        let (header, body) = Header::parse(request).map_err(Errno::from)?;
        if let Some(reply) = shown.answer(header, body) {
            match rustix::io::retry_on_intr(|| rustix::net::send(&device, &reply, SendFlags::NOSIGNAL)) {
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                sent => sent?,
            };
        }
        if header.opcode == op::DESTROY {
            return Ok(());
        }
    }
}

/// The tree, and what is held for the guest.
struct Shown {
    tree: Beneath,
    nodes: Nodes,
    listings: Listings,
    files: HashMap<u64, File>,
    last_file: u64,
    most_files: usize,
    /// Relative to the root.
    changing: Vec<PathBuf>,
    /// The guest was told that directories need not be opened.
    without_opendir: bool,
}

impl Shown {
    fn new(tree: Beneath, changing: Vec<PathBuf>) -> Self {
        Self {
            tree,
            nodes: Nodes::default(),
            listings: Listings::default(),
            files: HashMap::new(),
            last_file: 0,
            most_files: MAX_HANDLES,
            changing,
            without_opendir: false,
        }
    }

    /// Answer one request; `None` when no answer is due.
    fn answer(&mut self, header: Header, body: Reader<'_>) -> Option<Vec<u8>> {
        let done = match header.opcode {
            op::FORGET | op::BATCH_FORGET => {
                // A short one forgets nothing more: the nodes live a little longer.
                self.forget(header, body).ok();
                return None;
            }
            // What it would interrupt was answered before it was read.
            op::INTERRUPT => return None,
            op::INIT => self.init(body),
            op::DESTROY => Ok(Reply::new()),
            op::LOOKUP => self.lookup(header, body),
            op::GETATTR => self.getattr(header, body),
            op::READLINK => self.readlink(header),
            op::OPEN => self.open(header, body),
            op::READ => self.read(body),
            op::RELEASE => self.release(body),
            op::OPENDIR => self.opendir(body),
            op::READDIR => self.readdir(header, body, false),
            op::READDIRPLUS => self.readdir(header, body, true),
            op::RELEASEDIR => releasedir(body),
            op::STATFS => self.statfs(header),
            op::SETATTR | op::WRITE | op::FALLOCATE | op::SETXATTR | op::REMOVEXATTR => Err(Errno::ROFS),
            op::CREATE | op::MKNOD | op::MKDIR | op::SYMLINK | op::LINK | op::TMPFILE => Err(Errno::ROFS),
            op::UNLINK | op::RMDIR | op::RENAME | op::RENAME2 => Err(Errno::ROFS),
            // The guest's kernel does by itself what it was told once that there is not, and asks no more.
            op::FLUSH | op::FSYNC | op::FSYNCDIR | op::GETXATTR | op::LISTXATTR => Err(Errno::NOSYS),
            op::ACCESS | op::LSEEK | op::STATX => Err(Errno::NOSYS),
            _ => Err(Errno::NOSYS),
        };
        Some(match done {
            Ok(reply) => reply.finish(header.unique, 0),
            Err(errno) => Reply::error(header.unique, errno.raw_os_error()),
        })
    }

    fn init(&mut self, mut body: Reader<'_>) -> Result<Reply, Errno> {
        let (major, _minor, read_ahead, offered) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        if major != 7 {
            return Err(Errno::PROTO);
        }
        let wanted = flag::ASYNC_READ
            | flag::AUTO_INVAL_DATA
            | flag::DO_READDIRPLUS
            | flag::READDIRPLUS_AUTO
            | flag::PARALLEL_DIROPS
            | flag::MAX_PAGES
            | flag::CACHE_SYMLINKS
            | flag::NO_OPENDIR_SUPPORT;
        let agreed = wanted & offered;
        self.without_opendir = agreed & flag::NO_OPENDIR_SUPPORT != 0;
        Ok(protocol::init_out(agreed, read_ahead.min(MAX_DATA), MAX_DATA))
    }

    fn forget(&mut self, header: Header, mut body: Reader<'_>) -> Result<(), Errno> {
        if header.opcode == op::FORGET {
            let times = body.u64()?;
            self.forget_node(header.node, times);
            return Ok(());
        }
        let (count, _padding) = (body.u32()?, body.u32()?);
        for _ in 0..count {
            let (node, times) = (body.u64()?, body.u64()?);
            self.forget_node(node, times);
        }
        Ok(())
    }

    fn forget_node(&mut self, node: u64, times: u64) {
        if self.nodes.forget(node, times) {
            self.listings.drop_of(node);
        }
    }
}

/// Nothing is held for an open directory.
fn releasedir(mut body: Reader<'_>) -> Result<Reply, Errno> {
    let (_fh, _flags, _release_flags, _owner) = (body.u64()?, body.u32()?, body.u32()?, body.u64()?);
    Ok(Reply::new())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

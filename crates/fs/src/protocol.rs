//! The FUSE wire format (kernel `include/uapi/linux/fuse.h`, 7.31 and later), read and written field by field.

/// Operation codes that are answered; the rest get `ENOSYS`.
pub mod op {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const ACCESS: u32 = 34;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const NOTIFY_REPLY: u32 = 41;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const TMPFILE: u32 = 51;
    pub const STATX: u32 = 52;
}

/// Negotiated in INIT.
pub mod flag {
    pub const ASYNC_READ: u32 = 1;
    pub const ATOMIC_O_TRUNC: u32 = 1 << 3;
    pub const BIG_WRITES: u32 = 1 << 5;
    pub const AUTO_INVAL_DATA: u32 = 1 << 12;
    pub const DO_READDIRPLUS: u32 = 1 << 13;
    pub const READDIRPLUS_AUTO: u32 = 1 << 14;
    pub const PARALLEL_DIROPS: u32 = 1 << 18;
    pub const MAX_PAGES: u32 = 1 << 22;
    pub const WRITEBACK_CACHE: u32 = 1 << 16;
    pub const CACHE_SYMLINKS: u32 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u32 = 1 << 24;
}

/// Answered with an OPEN.
pub mod open {
    pub const KEEP_CACHE: u32 = 1 << 1;
    pub const CACHE_DIR: u32 = 1 << 3;
    pub const NOFLUSH: u32 = 1 << 5;
}

/// Notifications to the kernel carry these codes where a reply has an error.
pub const NOTIFY_INVAL_INODE: i32 = 2;
pub const NOTIFY_INVAL_ENTRY: i32 = 3;
/// Answered with [`op::NOTIFY_REPLY`], once what was notified before is done.
pub const NOTIFY_RETRIEVE: i32 = 5;
/// Largest read and write of one request.
pub const MAX_IO: u32 = 1 << 20;
/// The same where requests come as packets of a socket, each of which has to fit into what a socket holds (net.core.wmem_default).
pub const MAX_IO_OF_SOCKETS: u32 = 128 << 10;

/// Of a `fuse_dirent`, what stands before its name.
const DIRENT: usize = 24;

/// What a name takes in an answer to READDIR.
pub fn dirent_length(name: &[u8]) -> usize {
    (DIRENT + name.len()).next_multiple_of(8)
}

/// A request's header.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub opcode: u32,
    pub unique: u64,
    pub node: u64,
    pub pid: u32,
}

/// Reads fields of a request in order; what is missing reads as an error.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

/// The request is shorter than its kind demands.
#[derive(Debug, Clone, Copy)]
pub struct Short;

impl From<Short> for rustix::io::Errno {
    fn from(_: Short) -> Self {
        Self::INVAL
    }
}

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub fn u32(&mut self) -> Result<u32, Short> {
        self.bytes(4)?.try_into().map(u32::from_ne_bytes).map_err(|_| Short)
    }

    pub fn u64(&mut self) -> Result<u64, Short> {
        self.bytes(8)?.try_into().map(u64::from_ne_bytes).map_err(|_| Short)
    }

    /// A NUL-terminated string.
    pub fn name(&mut self) -> Result<&'a [u8], Short> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Short)?;
        let name = self.0.get(..end).ok_or(Short)?;
        self.0 = self.0.get(end + 1..).ok_or(Short)?;
        Ok(name)
    }
}

impl Header {
    pub fn parse(request: &[u8]) -> Result<(Self, Reader<'_>), Short> {
        let mut r = Reader(request);
        let _length = r.u32()?;
        let opcode = r.u32()?;
        let (unique, node) = (r.u64()?, r.u64()?);
        let (_uid, _gid, pid, _padding) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        Ok((Self { opcode, unique, node, pid }, r))
    }
}

/// Builds a reply; the header is filled in by [`Reply::finish`].
#[derive(Debug)]
pub struct Reply(Vec<u8>);

impl Reply {
    pub fn new() -> Self {
        Self(vec![0; 16])
    }

    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend_from_slice(&v.to_ne_bytes());
        self
    }

    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend_from_slice(&v.to_ne_bytes());
        self
    }

    pub fn bytes(&mut self, b: &[u8]) -> &mut Self {
        self.0.extend_from_slice(b);
        self
    }

    /// `fuse_dirent`: a name of a directory, and the offset of the one after it.
    pub fn dirent(&mut self, ino: u64, next: u64, kind: u32, name: &[u8]) -> &mut Self {
        let padding = dirent_length(name) - DIRENT - name.len();
        self.u64(ino).u64(next).u32(u32::try_from(name.len()).unwrap_or(0)).u32(kind).bytes(name);
        self.0.resize(self.0.len() + padding, 0);
        self
    }

    /// `fuse_statfs_out`.
    pub fn statfs(&mut self, stat: &rustix::fs::StatVfs) -> &mut Self {
        self.u64(stat.f_blocks).u64(stat.f_bfree).u64(stat.f_bavail).u64(stat.f_files).u64(stat.f_ffree);
        self.u32(u32::try_from(stat.f_bsize).unwrap_or(4096)).u32(255);
        self.u32(u32::try_from(stat.f_frsize).unwrap_or(4096)).u32(0).bytes(&[0; 24])
    }

    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(16 + len);
    }

    /// What was put in so far.
    pub fn body(&self) -> &[u8] {
        self.0.get(16..).unwrap_or_default()
    }

    pub fn body_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// With its header: a reply to `unique`, or a notification when `unique` is 0 (`error` is then its code).
    pub fn finish(mut self, unique: u64, error: i32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mut head = Vec::with_capacity(16);
        head.extend_from_slice(&length.to_ne_bytes());
        head.extend_from_slice(&error.to_ne_bytes());
        head.extend_from_slice(&unique.to_ne_bytes());
        if let Some(place) = self.0.get_mut(..16) {
            place.copy_from_slice(&head);
        }
        self.0
    }

    pub fn error(unique: u64, errno: i32) -> Vec<u8> {
        Self::new().finish(unique, -errno)
    }
}

/// The answer to INIT.
pub fn init_out(flags: u32, read_ahead: u32, most: u32) -> Reply {
    let mut reply = Reply::new();
    reply
        .u32(7)
        .u32(31)
        .u32(read_ahead)
        .u32(flags)
        .u32(64 | 48 << 16) // max_background, congestion_threshold
        .u32(most) // max_write
        .u32(1) // time granularity, ns
        .u32(most / 4096) // max_pages, map_alignment
        .u32(0)
        .bytes(&[0; 28]);
    reply
}

//! What the kernel does with the server: system calls become requests, and `ESTALE` is tried once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::protocol::{Header, Reader, op};
use crate::requests::answer;
use crate::shared::Shared;

pub const ESTALE: i32 = 116;
pub const O_WRONLY: u32 = 1;
pub const O_RDWR: u32 = 2;
pub const O_TRUNC: u32 = 0o1000;
pub const O_APPEND: u32 = 0o2000;

pub type Done<T> = Result<T, i32>;

/// The mount as programs see it.
pub struct Kernel {
    pub shared: Arc<Shared>,
    next: AtomicU64,
    /// What commits let through to the user's directory: paths and contents.
    pub let_through: Mutex<Vec<(String, Vec<u8>)>>,
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub struct Fd {
    handle: u64,
    node: u64,
}

impl Kernel {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next: AtomicU64::new(1), let_through: Mutex::default() }
    }

    pub fn open(&self, path: &str, flags: u32) -> Done<Fd> {
        self.again(|| {
            let node = self.node(path)?;
            let reply = self.call(op::OPEN, node, &[u32s(&[flags, 0])])?;
            Ok(Fd { handle: u64_at(&reply, 0), node })
        })
    }

    pub fn create(&self, path: &str) -> Done<Fd> {
        self.again(|| {
            if self.node(path).is_ok() {
                return self.open(path, O_RDWR);
            }
            let (parent, name) = self.parent(path)?;
            let reply = self.call(op::CREATE, parent, &[u32s(&[O_RDWR, 0o644, 0, 0]), name])?;
            Ok(Fd { handle: u64_at(&reply, 128), node: u64_at(&reply, 0) })
        })
    }

    pub fn read(&self, fd: Fd) -> Done<Vec<u8>> {
        self.call(op::READ, fd.node, &[u64s(&[fd.handle, 0]), u32s(&[4096, 0])])
    }

    pub fn write(&self, fd: Fd, at: u64, bytes: &[u8]) -> Done<()> {
        let length = u32::try_from(bytes.len()).unwrap();
        let fixed = [u64s(&[fd.handle, at]), u32s(&[length, 0]), u64s(&[0]), u32s(&[0, 0])];
        self.call(op::WRITE, fd.node, &[fixed.concat(), bytes.to_vec()]).map(drop)
    }

    pub fn open_dir(&self, path: &str) -> Done<Fd> {
        let node = self.node(path)?;
        let reply = self.call(op::OPENDIR, node, &[u32s(&[0, 0])])?;
        Ok(Fd { handle: u64_at(&reply, 0), node })
    }

    /// The names in an open directory, those of itself and of the one above it among them.
    pub fn read_dir(&self, fd: Fd) -> Done<Vec<Vec<u8>>> {
        let body = [u64s(&[fd.handle, 0]), u32s(&[4096, 0]), u64s(&[0]), u32s(&[0, 0])];
        let reply = self.call(op::READDIR, fd.node, &[body.concat()])?;
        let (mut rest, mut names) = (&reply[..], Vec::new());
        while !rest.is_empty() {
            let length = u32::from_ne_bytes(rest[16..20].try_into().unwrap()) as usize;
            names.push(rest[24..24 + length].to_vec());
            rest = &rest[(24 + length).next_multiple_of(8)..];
        }
        Ok(names)
    }

    pub fn close_dir(&self, fd: Fd) {
        self.call(op::RELEASEDIR, fd.node, &[u64s(&[fd.handle]), u32s(&[0, 0]), u64s(&[0])]).unwrap();
    }

    pub fn close(&self, fd: Fd) {
        self.call(op::RELEASE, fd.node, &[u64s(&[fd.handle]), u32s(&[0, 0])]).unwrap();
    }

    pub fn truncate(&self, path: &str, size: u64) -> Done<()> {
        self.set(path, 8, size, 0)
    }

    pub fn chmod(&self, path: &str, mode: u32) -> Done<()> {
        self.set(path, 1, 0, mode)
    }

    pub fn unlink(&self, path: &str) -> Done<()> {
        self.again(|| {
            let (parent, name) = self.parent(path)?;
            self.call(op::UNLINK, parent, &[name]).map(drop)
        })
    }

    pub fn symlink(&self, target: &str, path: &str) -> Done<()> {
        self.again(|| {
            let (parent, name) = self.parent(path)?;
            self.call(op::SYMLINK, parent, &[name, [target.as_bytes(), &[0]].concat()]).map(drop)
        })
    }

    pub fn rename(&self, from: &str, to: &str) -> Done<()> {
        self.again(|| {
            let ((parent, name), (target, new)) = (self.parent(from)?, self.parent(to)?);
            self.call(op::RENAME, parent, &[u64s(&[target]), name, new]).map(drop)
        })
    }

    pub fn exchange(&self, one: &str, other: &str) -> Done<()> {
        const EXCHANGE: u32 = 2;
        self.again(|| {
            let ((parent, name), (target, new)) = (self.parent(one)?, self.parent(other)?);
            let fixed = [u64s(&[target]), u32s(&[EXCHANGE, 0])].concat();
            self.call(op::RENAME2, parent, &[fixed, name, new]).map(drop)
        })
    }

    pub fn link(&self, from: &str, to: &str) -> Done<()> {
        self.again(|| {
            let (node, (parent, name)) = (self.node(from)?, self.parent(to)?);
            self.call(op::LINK, parent, &[u64s(&[node]), name]).map(drop)
        })
    }

    /// What the user moves behind the server's back.
    pub fn outside(&self, from: &str, to: &str) {
        let docs = self.shared.tree.dir.parent().unwrap().join("docs");
        std::fs::rename(docs.join(from), docs.join(to)).unwrap();
        for entry in std::fs::read_dir(docs.join(to)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{to}/{}", entry.file_name().to_str().unwrap());
            self.let_through.lock().push((path, std::fs::read(entry.path()).unwrap()));
        }
    }

    fn set(&self, path: &str, valid: u32, size: u64, mode: u32) -> Done<()> {
        self.again(|| {
            let node = self.node(path)?;
            let fixed = [u32s(&[valid, 0]), u64s(&[0, size, 0, 0, 0, 0]), u32s(&[0, 0, 0, mode, 0, 0, 0, 0])];
            self.call(op::SETATTR, node, &[fixed.concat()]).map(drop)
        })
    }

    /// `ESTALE` makes the kernel resolve the path once more.
    fn again<T>(&self, call: impl Fn() -> Done<T>) -> Done<T> {
        match call() {
            Err(ESTALE) => call(),
            done => done,
        }
    }

    fn parent(&self, path: &str) -> Done<(u64, Vec<u8>)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.node(parent)?, [name.as_bytes(), &[0]].concat()))
    }

    fn node(&self, path: &str) -> Done<u64> {
        let mut node = 1;
        for name in path.split('/').filter(|n| !n.is_empty()) {
            let reply = self.call(op::LOOKUP, node, &[[name.as_bytes(), &[0]].concat()])?;
            node = u64_at(&reply, 0);
            if node == 0 {
                return Err(2);
            }
        }
        Ok(node)
    }

    fn call(&self, opcode: u32, node: u64, body: &[Vec<u8>]) -> Done<Vec<u8>> {
        let unique = self.next.fetch_add(1, Ordering::Relaxed);
        let header = Header { opcode, unique, node, pid: 1 };
        let reply = answer(&self.shared, header, Reader(&body.concat()), &|| ()).unwrap();
        match i32::from_ne_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply[16..].to_vec()),
            errno => Err(-errno),
        }
    }
}

fn u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

fn u64s(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

fn u64_at(reply: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(reply[at..at + 8].try_into().unwrap())
}

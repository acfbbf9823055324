//! A kernel at the other end of a socket: requests of several programs at once, as FUSE carries them.
#![allow(dead_code)]

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use chaperone_fs::{Gate, Options, Server, Tree, serve};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub const O_RDWR: u32 = 2;
pub const O_TRUNC: u32 = 0o1000;
pub const O_APPEND: u32 = 0o2000;
pub const ESTALE: i32 = 116;
const PATIENCE: Duration = Duration::from_secs(20);

const LOOKUP: u32 = 1;
const SETATTR: u32 = 4;
const UNLINK: u32 = 10;
const RENAME: u32 = 12;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;

pub type Done<T> = Result<T, i32>;

/// What most gates of these tests say of names: each is seen.
#[allow(unused_macros)]
macro_rules! shows_every_name {
    () => {
        fn hides_names(&self) -> bool {
            false
        }

        fn visible(&self, _: &str) -> bool {
            true
        }
    };
}
#[allow(unused_imports)]
pub(crate) use shows_every_name;

/// By the number of the request.
type Answers = HashMap<u64, Vec<u8>>;

/// A served mount; its end is that of the socket.
pub struct Mount {
    socket: Arc<OwnedFd>,
    next: AtomicU64,
    answers: Arc<(Mutex<Answers>, Condvar)>,
    pub server: Server,
}

#[derive(Debug, Clone, Copy)]
pub struct Fd {
    handle: u64,
    node: u64,
}

impl Mount {
    pub fn new(tree: Arc<Tree>, gate: Arc<dyn Gate>) -> Self {
        let (device, socket) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let server = serve(device, tree, gate, Options { uid: 0, gid: 0, write_back: false }).unwrap();
        let socket = Arc::new(socket);
        let answers = Arc::new((Mutex::new(Answers::new()), Condvar::new()));
        let (reader, told) = (Arc::clone(&socket), Arc::clone(&answers));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 16..) = rustix::io::read(&reader, &mut buffer) {
                let unique = u64::from_ne_bytes(buffer[8..16].try_into().unwrap());
                told.0.lock().unwrap().insert(unique, buffer[..n].to_vec());
                told.1.notify_all();
            }
        });
        Self { socket, next: AtomicU64::new(1), answers, server }
    }

    pub fn open(&self, path: &str, flags: u32) -> Done<Fd> {
        self.again(|| {
            let node = self.node(path)?;
            let reply = self.call(OPEN, node, &u32s(&[flags, 0]))?;
            Ok(Fd { handle: u64_at(&reply, 0), node })
        })
    }

    pub fn read(&self, fd: Fd) -> Done<Vec<u8>> {
        self.call(READ, fd.node, &[u64s(&[fd.handle, 0]), u32s(&[4096, 0])].concat())
    }

    /// `how`: 1 for pages that a mapping changed.
    pub fn write(&self, fd: Fd, offset: u64, data: &[u8], how: u32) -> Done<()> {
        let size = u32::try_from(data.len()).unwrap();
        let fixed = [u64s(&[fd.handle, offset]), u32s(&[size, how]), u64s(&[0]), u32s(&[0, 0])];
        self.call(WRITE, fd.node, &[fixed.concat(), data.to_vec()].concat()).map(drop)
    }

    pub fn close(&self, fd: Fd) {
        self.call(RELEASE, fd.node, &[u64s(&[fd.handle]), u32s(&[0, 0])].concat()).unwrap();
    }

    pub fn chmod(&self, path: &str, mode: u32) -> Done<()> {
        self.again(|| {
            let fixed = [u32s(&[1, 0]), u64s(&[0; 6]), u32s(&[0, 0, 0, mode, 0, 0, 0, 0])];
            self.call(SETATTR, self.node(path)?, &fixed.concat()).map(drop)
        })
    }

    pub fn truncate(&self, path: &str, size: u64) -> Done<()> {
        self.again(|| {
            const SIZE: u64 = 8;
            let fixed = [u64s(&[SIZE, 0, size, 0, 0, 0, 0]), vec![0; 32]];
            self.call(SETATTR, self.node(path)?, &fixed.concat()).map(drop)
        })
    }

    pub fn unlink(&self, name: &str) -> Done<()> {
        self.again(|| self.call(UNLINK, 1, &text(name)).map(drop))
    }

    pub fn rename(&self, from: &str, to: &str) -> Done<()> {
        self.again(|| self.call(RENAME, 1, &[u64s(&[1]), text(from), text(to)].concat()).map(drop))
    }

    /// As when the last program of a cell is gone: what it had open is not closed one by one.
    pub fn end(&self) {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both).unwrap();
    }

    /// As the kernel does: `ESTALE` makes it resolve the path once more.
    fn again<T>(&self, call: impl Fn() -> Done<T>) -> Done<T> {
        match call() {
            Err(ESTALE) => call(),
            done => done,
        }
    }

    pub fn node(&self, name: &str) -> Done<u64> {
        match u64_at(&self.call(LOOKUP, 1, &text(name))?, 0) {
            0 => Err(2),
            node => Ok(node),
        }
    }

    fn call(&self, opcode: u32, node: u64, body: &[u8]) -> Done<Vec<u8>> {
        self.call_by(1, opcode, node, body)
    }

    /// A request of another process.
    pub fn call_by(&self, pid: u32, opcode: u32, node: u64, body: &[u8]) -> Done<Vec<u8>> {
        let unique = self.next.fetch_add(1, Ordering::Relaxed);
        let length = u32::try_from(40 + body.len()).unwrap();
        let head = [u32s(&[length, opcode]), u64s(&[unique, node]), u32s(&[0, 0, pid, 0])].concat();
        rustix::io::write(&self.socket, &[&head, body].concat()).unwrap();
        let answers = self.answers.0.lock().unwrap();
        let (mut answers, waited) = self
            .answers
            .1
            .wait_timeout_while(answers, PATIENCE, |answers| !answers.contains_key(&unique))
            .unwrap();
        assert!(!waited.timed_out(), "request {opcode} is never answered");
        let reply = answers.remove(&unique).unwrap();
        match i32::from_ne_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply[16..].to_vec()),
            errno => Err(-errno),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

pub fn u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

pub fn u64s(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

pub fn u64_at(reply: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(reply[at..at + 8].try_into().unwrap())
}

//! A policy over contents: each file is of one letter, and the letter says what is allowed.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chaperone_quota::HeldFile;
use parking_lot::Mutex;

use super::schedule::point;
use crate::gate::{ChangeKind, ChangeRequest, Closed, Decides, Gate, OpenRequest, Opened, Opening, Refused};
use crate::object::Object;

/// Anything goes.
pub const HARMLESS: &[u8] = &[b'H'; 10];
/// May be moved, but neither read, written, deleted nor given another mode.
pub const SECRET: &[u8] = &[b'S'; 20];
/// Read as [`REDACTED`] alone.
pub const FORM: &[u8] = &[b'F'; 30];
pub const REDACTED: &[u8] = &[b'*'; 30];

/// Its name is seen by nobody: the directory may not be listed.
pub const HIDDEN: &str = "hidden/Secret";

const EACCES: i32 = 13;

pub struct Policy {
    /// Harmless content is served as the bytes that were looked at, not as the object itself.
    exact: bool,
    /// The inode number of the directory that may not be listed.
    pub unlisted: AtomicU64,
    state: Mutex<Decisions>,
}

#[derive(Default)]
struct Decisions {
    last: u64,
    /// Granted, and their ends not reported.
    granted: BTreeSet<u64>,
}

impl Policy {
    pub fn new(exact: bool) -> Self {
        Self { exact, unlisted: AtomicU64::new(0), state: Mutex::default() }
    }

    pub fn open_decisions(&self) -> usize {
        self.state.lock().granted.len()
    }

    fn grant(&self) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        let handle = state.last;
        state.granted.insert(handle);
        handle
    }

    fn ended(&self, handle: u64) {
        assert!(self.state.lock().granted.remove(&handle), "it was granted, and ends once");
    }

    fn decide(&self, request: &OpenRequest) -> Result<Opened, Refused> {
        let content = content(&request.file);
        let write_alone = request.truncate || (!request.read && request.object.staged);
        let bytes = match content.first() {
            Some(b'S') if write_alone || !request.object.staged => return Err(Refused(EACCES)),
            _ if write_alone || request.object.staged => None,
            Some(b'F') if request.write => return Err(Refused(EACCES)),
            Some(b'F') => Some(released(REDACTED)),
            _ => self.exact.then(|| released(&content)),
        };
        Ok(Opened { handle: self.grant(), bytes })
    }
}

impl Decides for Policy {
    fn change(&self, change: &ChangeRequest<'_>) -> Result<u64, Refused> {
        point();
        let moves = matches!(change.kind, ChangeKind::Rename | ChangeKind::Link);
        let changed = if moves { change.replaces } else { change.object };
        let denied = match change.kind {
            ChangeKind::List => {
                changed.is_some_and(|object| object.ino == self.unlisted.load(Ordering::Relaxed))
            }
            _ => changed.is_some_and(|object| is_secret(&object)),
        };
        let verdict = if denied { Err(Refused(EACCES)) } else { Ok(self.grant()) };
        point();
        verdict
    }
}

impl Gate for Policy {
    fn open(&self, request: OpenRequest) -> Opening {
        point();
        let verdict = self.decide(&request);
        Opening::Later(Box::new(move |_| {
            point();
            verdict
        }))
    }

    fn changed(&self, _: &ChangeRequest<'_>, handle: u64, _: bool) {
        self.ended(handle);
    }

    fn hides_names(&self) -> bool {
        false
    }

    fn visible(&self, _: &str) -> bool {
        true
    }

    fn closed(&self, handle: u64, _: &Closed<'_>) {
        self.ended(handle);
    }
}

/// No other content ever has this size.
fn is_secret(object: &Object) -> bool {
    object.size == SECRET.len() as u64 && object.kind == crate::object::ObjectKind::File
}

pub fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let n = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(n);
    bytes
}

fn released(bytes: &[u8]) -> (Arc<HeldFile>, [u8; 32], u64) {
    let fd = rustix::fs::memfd_create("released", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(fd);
    file.write_all_at(bytes, 0).unwrap();
    let mut version = [0; 32];
    version[0] = bytes.first().copied().unwrap_or(0);
    version[1] = u8::try_from(bytes.len()).unwrap();
    (Arc::new(HeldFile::uncounted(file)), version, bytes.len() as u64)
}

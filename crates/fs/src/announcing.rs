//! What the user did, on its way to the programs of the cell that watch for it; see [`crate::outside`].

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::object::ObjectKind;

/// Paths that are announced together. Protects the cell from a change of everything; further ones are seen, and not announced.
pub(crate) const MOST_TOGETHER: usize = 512;
/// How long cell-init may take to repeat one.
const EXPECTED: Duration = Duration::from_secs(10);

/// What the user did to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// It has another content.
    Written,
    /// The same, and whoever wrote is done.
    Finished,
    Attributes,
    Made(ObjectKind),
    Removed {
        directory: bool,
    },
}

/// One edit to be repeated in the cell, after a look at the name `token` in the mount's root: by that the server knows who repeats it.
#[derive(Debug, Clone)]
pub struct Outside {
    pub token: String,
    /// Relative to the mount.
    pub path: String,
    pub edit: Edit,
}

/// Has an edit repeated; whether it will be.
pub type Repeat = Box<dyn Fn(Outside) -> bool + Send>;

/// What is announced of one mount.
#[derive(Default)]
pub(crate) struct Announcing {
    /// A name in the root that nobody but cell-init is told.
    pub token: OnceLock<String>,
    /// Whoever looked at that name: a thread of cell-init, which lives as long as the cell.
    by: AtomicU32,
    /// What it is going to repeat.
    expected: Mutex<HashMap<String, (Edit, Instant)>>,
    pub wake: OnceLock<OwnedFd>,
    /// The watching thread was woken, and has not looked yet.
    pub woken: AtomicBool,
}

impl Announcing {
    /// Whether this process repeats what the user did. None has the number 0.
    pub fn is_by(&self, pid: u32) -> bool {
        pid != 0 && self.by.load(Ordering::Acquire) == pid
    }

    /// Whether a name in the root is the token; then this process repeats from now on.
    pub fn is_token(&self, name: &[u8], pid: u32) -> bool {
        let is_token = self.token.get().is_some_and(|token| token.as_bytes() == name);
        if is_token {
            self.by.store(pid, Ordering::Release);
        }
        is_token
    }

    /// What is going to be repeated at a path.
    pub fn expected(&self, path: &str) -> Option<Edit> {
        self.expected.lock().get(path).filter(|(_, since)| since.elapsed() < EXPECTED).map(|(edit, _)| *edit)
    }

    /// It was repeated.
    pub fn repeated(&self, path: &str) {
        self.expected.lock().remove(path);
    }

    /// The kernel was told of a directory, or the mount ended.
    pub fn wake(&self) {
        if let Some(wake) = self.wake.get()
            && !self.woken.swap(true, Ordering::AcqRel)
        {
            rustix::io::write(wake, &1u64.to_ne_bytes()).ok();
        }
    }

    /// It is going to be repeated.
    pub fn expect(&self, path: &str, edit: Edit) {
        let mut expected = self.expected.lock();
        if expected.len() >= MOST_TOGETHER {
            expected.retain(|_, (_, since)| since.elapsed() < EXPECTED);
        }
        expected.insert(path.to_owned(), (edit, Instant::now()));
    }
}

//! What a session must not give away: what it has read, and registered values.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use chaperone_inspect::outgoing::{Fingerprints, KeyedSecrets};
use chaperone_protocol::Failure;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

/// Bytes of what was read that wait to be remembered. Protects memory: beyond it they are remembered at once.
const WAITING: u64 = 16 << 20;
/// Bytes of one file that are remembered.
const MOST_OF_A_FILE: u64 = 32 << 20;

/// What a session must not give away.
pub(crate) struct Secrets {
    key: [u8; 32],
    /// Made when the first look needs it: most sessions send nothing.
    known: OnceLock<Arc<RwLock<KnownHere>>>,
    waiting: Mutex<Waiting>,
}

pub(super) struct KnownHere {
    pub(super) read: Fingerprints,
    pub(super) registered: KeyedSecrets,
    /// Names of sources, by their number.
    pub(super) sources: Vec<String>,
    /// SHA-256 of the keys that the profile gives the agent.
    pub(super) own: HashSet<[u8; 32]>,
}

#[derive(Default)]
struct Waiting {
    files: Vec<(String, Arc<File>, u64)>,
    bytes: u64,
    seen: HashSet<[u8; 32]>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, Failure> {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
        Ok(Self { key, known: OnceLock::new(), waiting: Mutex::default() })
    }

    pub(super) fn known(&self) -> &Arc<RwLock<KnownHere>> {
        self.known.get_or_init(|| {
            Arc::new(RwLock::new(KnownHere {
                read: Fingerprints::new(&self.key),
                registered: KeyedSecrets::new(&self.key),
                sources: Vec::new(),
                own: HashSet::new(),
            }))
        })
    }

    /// A value that must not stand anywhere but in a credential's place.
    pub fn register(&self, value: &str) {
        let mut known = self.known().write();
        let id = u32::try_from(known.sources.len()).unwrap_or(u32::MAX);
        known.sources.push("a key that the profile passes to the agent".to_owned());
        // Shorter ones would be found everywhere by chance, longer ones are no keys.
        known.registered.register(id, value.as_bytes()).ok();
        known.own.insert(Sha256::digest(value.as_bytes()).into());
    }

    /// The agent reads this content now.
    pub fn remember(&self, path: &str, content: &Arc<File>, (version, len): ([u8; 32], u64)) {
        let mut waiting = self.waiting.lock();
        if !waiting.seen.insert(version) {
            return;
        }
        waiting.files.push((path.to_owned(), Arc::clone(content), len.min(MOST_OF_A_FILE)));
        waiting.bytes += len.min(MOST_OF_A_FILE);
        if waiting.bytes > WAITING {
            let files = std::mem::take(&mut waiting.files);
            waiting.bytes = 0;
            let (begun, has_begun) = std::sync::mpsc::sync_channel(0);
            let (known, taken) = (Arc::clone(self.known()), files.clone());
            let work = move || {
                let mut known = known.write();
                begun.send(()).ok();
                take_in(&mut known, taken);
            };
            // The agent's reading does not wait for it; whoever looks, or remembers as much again, waits for the lock.
            match std::thread::Builder::new().name("remember".into()).spawn(work) {
                Ok(_) => drop(has_begun.recv()),
                Err(_) => take_in(&mut self.known().write(), files),
            }
        }
    }

    pub(super) fn settle(&self) {
        let mut waiting = self.waiting.lock();
        let files = std::mem::take(&mut waiting.files);
        waiting.bytes = 0;
        if !files.is_empty() {
            let mut known = self.known().write();
            drop(waiting);
            take_in(&mut known, files);
        }
    }
}

fn take_in(known: &mut KnownHere, files: Vec<(String, Arc<File>, u64)>) {
    for (path, file, len) in files {
        let id = u32::try_from(known.sources.len()).unwrap_or(u32::MAX);
        known.sources.push(path);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        // A snapshot is sealed: what cannot be read of it was not read by the agent either.
        if file.read_exact_at(&mut bytes, 0).is_ok() {
            known.read.add(id, &bytes);
        }
    }
}

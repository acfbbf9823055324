//! What a session must not give away: what it has read, and registered values.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock, OnceLock};

use chaperone_inspect::outgoing::{Fingerprints, InOrder, KeyedSecrets, Scattered, also_says, labelled};
use chaperone_inspect::{Detectors, needs_a_parser};
use chaperone_pipeline::ports::Inspect;
use chaperone_protocol::Failure;
use chaperone_quota::HeldFile;
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::open_directories::{LeftOut, MOST_OF_A_FILE, OpenDirectory};

/// Bytes of a file of an open directory that must be there for a passage: nobody knows that the agent read it, and what a directory
/// of scripts and lock files shares with ordinary requests are their addresses and names.
const LEAST_OF_OPEN: u64 = 200;
/// The same of a file of what a package manager installed: others wrote it, and a program that is read to be run, sends what stands in
/// it.
const LEAST_OF_INSTALLED: u64 = LEAST_OF_OPEN;
/// Documents of open directories that are looked into. Protects the time of the first look.
const MOST_DOCUMENTS: usize = 64;
/// Bytes by which a document is known.
const HEAD: usize = 4096;
/// Bytes of what was read that wait to be remembered. Protects memory: beyond it they are remembered at once.
const WAITING: u64 = 16 << 20;
/// Passwords and keys of what was read that are told apart. Protects the time of a look: beyond it they are passages alone.
const MOST_VALUES: usize = 1024;
/// What a small file that waits counts for, in bytes: its descriptor waits, too.
const SMALL: u64 = WAITING / 256;

/// The names of directories that hold what a package manager installs, and nothing beside it.
static INSTALLED: LazyLock<Vec<String>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pack {
        names: Vec<String>,
    }
    chaperone_packs::table::<Pack>("packs/installed-code.toml").names
});

/// What a session must not give away.
pub(crate) struct Secrets {
    key: [u8; 32],
    /// What tells passwords and keys of what was read.
    detectors: Detectors,
    /// What reads documents, where it was given.
    documents: OnceLock<Arc<dyn Inspect>>,
    /// Made when the first look needs it: most sessions send nothing.
    known: OnceLock<Arc<RwLock<KnownHere>>>,
    waiting: Mutex<Waiting>,
    /// Read at the first look.
    directories: Mutex<Vec<OpenDirectory>>,
    /// Of which not everything could be remembered, until somebody tells it.
    left_out: Mutex<Vec<(String, LeftOut)>>,
}

pub(super) struct KnownHere {
    pub(super) read: Fingerprints,
    /// The same by the order of its pieces.
    pub(super) in_order: InOrder,
    pub(super) registered: KeyedSecrets,
    /// Passwords and keys of what was read, by the number of their source.
    pub(super) values: KeyedSecrets,
    /// The same two by their pieces: of those that are registered, and of those that were read.
    pub(super) registered_in_pieces: Scattered,
    pub(super) values_in_pieces: Scattered,
    /// SHA-256 of them.
    told: HashSet<[u8; 32]>,
    /// Names of sources, by their number.
    pub(super) sources: Vec<String>,
    /// SHA-256 of the keys that the profile gives the agent.
    pub(super) own: HashSet<[u8; 32]>,
}

#[derive(Default)]
struct Waiting {
    files: Vec<(String, Arc<HeldFile>, u64)>,
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
    pub fn new(detectors: Detectors) -> Result<Self, Failure> {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
        Ok(Self {
            key,
            detectors,
            documents: OnceLock::new(),
            known: OnceLock::new(),
            waiting: Mutex::default(),
            directories: Mutex::default(),
            left_out: Mutex::default(),
        })
    }

    pub(super) fn known(&self) -> &Arc<RwLock<KnownHere>> {
        self.known.get_or_init(|| {
            Arc::new(RwLock::new(KnownHere {
                read: Fingerprints::new(&self.key),
                in_order: InOrder::default(),
                registered: KeyedSecrets::new(&self.key),
                values: KeyedSecrets::new(&self.key),
                registered_in_pieces: Scattered::default(),
                values_in_pieces: Scattered::default(),
                told: HashSet::new(),
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
        known.registered_in_pieces.register(id, value.as_bytes());
        known.own.insert(Sha256::digest(value.as_bytes()).into());
    }

    /// Read documents with this.
    pub fn read_documents_with(&self, documents: Arc<dyn Inspect>) {
        self.documents.set(documents).ok();
    }

    /// Whether no value is known by its pieces.
    pub(super) fn has_none_in_pieces(&self) -> bool {
        let known = self.known().read();
        known.registered_in_pieces.is_empty() && known.values_in_pieces.is_empty()
    }

    /// The agent reads this content now.
    pub fn remember(&self, path: &str, content: &Arc<HeldFile>, (version, len): ([u8; 32], u64)) {
        let mut waiting = self.waiting.lock();
        if !waiting.seen.insert(version) {
            return;
        }
        waiting.files.push((path.to_owned(), Arc::clone(content), len.min(MOST_OF_A_FILE)));
        waiting.bytes += len.clamp(SMALL, MOST_OF_A_FILE);
        if waiting.bytes > WAITING {
            let files = std::mem::take(&mut waiting.files);
            waiting.bytes = 0;
            let (begun, has_begun) = std::sync::mpsc::sync_channel(0);
            let (known, taken, with) = (Arc::clone(self.known()), files.clone(), self.reader());
            let work = move || {
                let mut known = known.write();
                begun.send(()).ok();
                take_in(&mut known, &with, taken);
            };
            // The agent's reading does not wait for it; whoever looks, or remembers as much again, waits for the lock.
            match std::thread::Builder::new().name("remember".into()).spawn(work) {
                Ok(_) => drop(has_begun.recv()),
                Err(_) => take_in(&mut self.known().write(), &self.reader(), files),
            }
        }
    }

    /// The agent may read everything in this directory, without asking for it.
    pub fn remember_directory(&self, at: &str, root: OwnedFd) {
        self.directories.lock().push(OpenDirectory { at: at.to_owned(), root });
    }

    /// What a limit kept from being remembered: each is told once.
    pub fn left_out(&self) -> Vec<(String, LeftOut)> {
        std::mem::take(&mut *self.left_out.lock())
    }

    pub(super) fn settle(&self) {
        // Whoever else looks meanwhile waits: what it sends is not looked at with half of what there is to know.
        let mut directories = self.directories.lock();
        let mut reader = self.reader();
        let mut documents = MOST_DOCUMENTS;
        for directory in std::mem::take(&mut *directories) {
            let mut known = self.known().write();
            let left_out = directory.files(|path, file, len| {
                let is_document = take_in_one(&mut known, &reader, path, (&file, len), LEAST_OF_OPEN);
                documents -= usize::from(is_document);
                if documents == 0 {
                    reader.documents = None;
                }
            });
            if left_out.is_something() {
                self.left_out.lock().push((directory.at, left_out));
            }
        }
        drop(directories);
        let mut waiting = self.waiting.lock();
        let files = std::mem::take(&mut waiting.files);
        waiting.bytes = 0;
        if !files.is_empty() {
            let mut known = self.known().write();
            drop(waiting);
            take_in(&mut known, &self.reader(), files);
        }
        if self.known().read().in_order.is_behind() {
            self.known().write().in_order.index();
        }
    }
}

/// What takes in what was read.
#[derive(Clone)]
struct Reader {
    detectors: Detectors,
    documents: Option<Arc<dyn Inspect>>,
}

impl Secrets {
    fn reader(&self) -> Reader {
        Reader { detectors: self.detectors.clone(), documents: self.documents.get().cloned() }
    }
}

fn take_in(known: &mut KnownHere, with: &Reader, files: Vec<(String, Arc<HeldFile>, u64)>) {
    // What is packed in what was installed is the code of others, too.
    let of_installed = Reader { documents: None, ..with.clone() };
    for (path, file, len) in files {
        let (with, least) = match is_installed(&path) {
            true => (&of_installed, LEAST_OF_INSTALLED),
            false => (with, 0),
        };
        take_in_one(known, with, path, (&file, len), least);
    }
}

/// `least` as in [`Fingerprints::add_from`]. Whether it was looked into as a document.
fn take_in_one(
    known: &mut KnownHere,
    with: &Reader,
    path: String,
    (file, len): (&File, u64),
    least: u64,
) -> bool {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    // A snapshot is sealed, and a file that became shorter meanwhile is not what the agent has read.
    if file.read_exact_at(&mut bytes, 0).is_err() || is_program(&bytes) {
        return false;
    }
    let id = u32::try_from(known.sources.len()).unwrap_or(u32::MAX);
    let text = with
        .documents
        .as_ref()
        .filter(|_| needs_a_parser(bytes.get(..HEAD).unwrap_or(&bytes), &path))
        .map(|documents| documents.text(file, &path));
    let is_document = text.is_some();
    known.sources.push(path);
    for (bytes, is_packed) in [(Some(bytes), is_document), (text, false)] {
        let Some(bytes) = bytes else { continue };
        known.read.add_from(id, &bytes, least);
        if !is_packed {
            also_says(&bytes).iter().for_each(|text| known.read.add_from(id, text, least));
        }
        // What nobody knows to be read does not push out what was, nor does what nobody reads as it is.
        if !is_packed && (least == 0 || known.in_order.has_room(bytes.len())) {
            known.in_order.add(id, &bytes, least);
        }
        for value in labelled(&with.detectors, &bytes) {
            let digest = Sha256::digest(value).into();
            // A key that the profile gives the agent is its own wherever else it stands.
            if known.told.len() < MOST_VALUES && !known.own.contains(&digest) && known.told.insert(digest) {
                // Shorter ones would be found everywhere by chance.
                known.values.register(id, value).ok();
                known.values_in_pieces.register(id, value);
            }
        }
    }
    is_document
}

/// Whether a path is of what a package manager installs.
fn is_installed(path: &str) -> bool {
    path.split('/').any(|name| INSTALLED.iter().any(|installed| installed == name))
}

/// Whether these are the bytes of a compiled program or library: the words in it are those of protocols and messages, which other
/// programs send too, and nobody's text.
fn is_program(bytes: &[u8]) -> bool {
    const MARKS: [&[u8]; 8] = [
        b"\x7fELF",
        b"MZ",
        b"\0asm",
        b"!<arch>\n",
        b"\xca\xfe\xba\xbe",
        b"\xcf\xfa\xed\xfe",
        b"\xce\xfa\xed\xfe",
        b"\xfe\xed\xfa\xcf",
    ];
    MARKS.iter().any(|mark| bytes.starts_with(mark)) && bytes.iter().take(512).any(|b| *b == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;

    use super::is_program;

    #[test]
    fn programs_are_told_from_documents() {
        let mut own = [0; 4096];
        std::fs::File::open("/proc/self/exe").unwrap().read_exact(&mut own).unwrap();
        assert!(is_program(&own));
        for document in
            [&b"MZ is how it begins"[..], b"PK\x03\x04\0\0", b"SQLite format 3\0", b"%PDF-1.7\0", b"notes\0"]
        {
            assert!(!is_program(document));
        }
    }
}

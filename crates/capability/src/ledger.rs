//! Revocations and use counts: append-only files, synced to disk before an answer is given.
//!
//! Each line carries a checksum. A line that a crash cut off was never acknowledged and is dropped; any other damage
//! makes the file unreadable, and an unreadable ledger denies everything. One process at a time holds the file (a lock).

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use sha2::{Digest, Sha256};

use crate::claims::is_token_id;
use crate::error::Rejection;
use crate::verify::Verified;

/// Why a ledger could not be opened or written. Until it can, everything that needs it is denied.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is damaged at line {line}; restore it, or remove it and end every session, then start again"
    )]
    Damaged { path: PathBuf, line: usize },
    #[error("{path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("{0:?} is no token id")]
    NotAnId(String),
    #[error("an earlier write to {path} failed; restart to read what the disk has")]
    Broken { path: PathBuf },
}

/// The ids that were revoked. Revoking one revokes everything made from it, as verification asks for each parent.
pub struct Revocations {
    ledger: Mutex<Ledger>,
    /// `None` once a write failed: everything counts as revoked.
    ids: RwLock<Option<HashSet<String>>>,
}

impl Revocations {
    const HEADER: &str = "chaperone-revocations-v1";

    /// Makes an empty file; it must not exist. Only for a new installation: a missing file is not an empty one.
    pub fn create(path: &Path) -> Result<Self, LedgerError> {
        let ledger = Ledger::create(path, Self::HEADER)?;
        Ok(Self { ledger: Mutex::new(ledger), ids: RwLock::new(Some(HashSet::new())) })
    }

    /// Reads an existing file; entries older than [`RETENTION`] at `now` (seconds since 1970) are let go.
    pub fn open(path: &Path, now: u64) -> Result<Self, LedgerError> {
        let mut ids = HashSet::new();
        let ledger = Ledger::open(path, Self::HEADER, now, |entry| {
            is_token_id(entry) && {
                ids.insert(entry.to_owned());
                true
            }
        })?;
        Ok(Self { ledger: Mutex::new(ledger), ids: RwLock::new(Some(ids)) })
    }

    /// Revokes at once, and returns when it is on disk. When it cannot be written, everything is revoked from then on.
    pub fn revoke(&self, jti: &str, now: u64) -> Result<(), LedgerError> {
        if !is_token_id(jti) {
            return Err(LedgerError::NotAnId(jti.chars().take(80).collect()));
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut ids = self.ids.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if ids.as_ref().is_some_and(|ids| ids.contains(jti)) {
            return Ok(());
        }
        if let Some(ids) = ids.as_mut() {
            ids.insert(jti.to_owned());
        }
        drop(ids);
        let written = ledger.append(now, jti);
        if written.is_err() {
            *self.ids.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
        }
        written
    }

    /// Whether this id is revoked; after a failed write, every id is.
    pub fn is_revoked(&self, jti: &str) -> bool {
        match self.ids.read() {
            Ok(ids) => ids.as_ref().is_none_or(|ids| ids.contains(jti)),
            Err(_) => true,
        }
    }
}

/// How often each token with `uses` was used. A use is on disk before it is granted: a crash gives none back.
pub struct Uses(Mutex<(Ledger, HashMap<String, u32>)>);

impl Uses {
    const HEADER: &str = "chaperone-uses-v1";

    /// Makes an empty file; it must not exist. Only for a new installation: a missing file is not an empty one.
    pub fn create(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self(Mutex::new((Ledger::create(path, Self::HEADER)?, HashMap::new()))))
    }

    /// Reads an existing file; entries older than [`RETENTION`] at `now` are let go (their tokens have expired).
    pub fn open(path: &Path, now: u64) -> Result<Self, LedgerError> {
        let mut counts = HashMap::new();
        let ledger = Ledger::open(path, Self::HEADER, now, |entry| {
            for key in entry.split(' ') {
                *counts.entry(key.to_owned()).or_insert(0u32) += 1;
            }
            true
        })?;
        Ok(Self(Mutex::new((ledger, counts))))
    }

    /// Takes one use of the token and of each parent that counts uses: all of them or none. Free when none counts.
    pub fn take(&self, verified: &Verified, now: u64) -> Result<(), Rejection> {
        let counted = counters(verified);
        if counted.is_empty() {
            return Ok(());
        }
        let mut guard = self.0.lock().map_err(|_| Rejection::LedgerUnavailable)?;
        let (ledger, counts) = &mut *guard;
        for counter in &counted {
            if counts.get(&counter.key).copied().unwrap_or(0) >= counter.limit {
                return Err(Rejection::UsedUp { jti: counter.jti.clone() });
            }
        }
        let entry = counted.iter().map(|counter| counter.key.as_str()).collect::<Vec<_>>().join(" ");
        ledger.append(now, &entry).map_err(|_| Rejection::LedgerUnavailable)?;
        for counter in counted {
            *counts.entry(counter.key).or_insert(0) += 1;
        }
        Ok(())
    }

    /// Uses that are left to the token and its parents together; `None` when nothing counts.
    pub fn left(&self, verified: &Verified) -> Result<Option<u32>, Rejection> {
        let guard = self.0.lock().map_err(|_| Rejection::LedgerUnavailable)?;
        Ok(counters(verified)
            .iter()
            .map(|counter| counter.limit.saturating_sub(guard.1.get(&counter.key).copied().unwrap_or(0)))
            .min())
    }
}

struct Counter {
    /// The ids from the root down: a holder chooses the id of a link, and must not reach another token's count by it.
    key: String,
    jti: String,
    limit: u32,
}

fn counters(verified: &Verified) -> Vec<Counter> {
    let mut path = String::new();
    let mut counters = Vec::new();
    for claims in verified.chain() {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&claims.jti);
        if let Some(limit) = claims.uses {
            counters.push(Counter { key: path.clone(), jti: claims.jti.clone(), limit });
        }
    }
    counters
}

/// Seconds an entry is kept: 30 days. Tokens live 12 hours; the rest is for clocks that jump.
pub const RETENTION: u64 = 30 * 24 * 3600;
/// Bytes of a ledger: bounds memory at start; a year of heavy use stays far below it, and beyond it nothing opens.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Entries past their retention that are worth a rewrite of the file.
const COMPACT_AFTER: usize = 1024;

struct Ledger {
    path: PathBuf,
    file: File,
    broken: bool,
}

impl Ledger {
    fn create(path: &Path, header: &str) -> Result<Self, LedgerError> {
        let (file, new) = write_new(path, header, &[])?;
        // A link, unlike a rename, never replaces a file that is there.
        let linked = std::fs::hard_link(&new, path).map_err(io("create", path));
        std::fs::remove_file(&new).map_err(io("remove", &new))?;
        linked?;
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), file, broken: false })
    }

    fn open(
        path: &Path,
        header: &str,
        now: u64,
        mut load: impl FnMut(&str) -> bool,
    ) -> Result<Self, LedgerError> {
        let mut file = OpenOptions::new().read(true).append(true).open(path).map_err(io("open", path))?;
        lock(&file, path)?;
        let mut text = Vec::new();
        (&file).take(MAX_BYTES + 1).read_to_end(&mut text).map_err(io("read", path))?;
        let damaged = |line| LedgerError::Damaged { path: path.to_owned(), line };
        if text.len() as u64 > MAX_BYTES {
            return Err(damaged(0));
        }
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let kept =
            text.get(..whole).and_then(|kept| std::str::from_utf8(kept).ok()).ok_or_else(|| damaged(1))?;
        let mut lines = kept.lines();
        if lines.next() != Some(header) {
            return Err(damaged(1));
        }
        let mut current = Vec::new();
        let mut old = 0;
        for (index, line) in lines.enumerate() {
            let (time, entry) = parse_line(line).ok_or_else(|| damaged(index + 2))?;
            if now > time.saturating_add(RETENTION) {
                old += 1;
                continue;
            }
            if !load(entry) {
                return Err(damaged(index + 2));
            }
            current.push(line);
        }
        if old > COMPACT_AFTER {
            file = rewrite(path, header, &current)?;
        } else if whole < text.len() {
            file.set_len(whole as u64).map_err(io("cut the torn end of", path))?;
            file.sync_all().map_err(io("sync", path))?;
        }
        Ok(Self { path: path.to_owned(), file, broken: false })
    }

    fn append(&mut self, now: u64, entry: &str) -> Result<(), LedgerError> {
        if self.broken {
            return Err(LedgerError::Broken { path: self.path.clone() });
        }
        let written = self
            .file
            .write_all(format!("{}\n", line(now, entry)).as_bytes())
            .map_err(io("write", &self.path))
            .and_then(|()| self.file.sync_data().map_err(io("sync", &self.path)));
        self.broken = written.is_err();
        written
    }
}

/// `<checksum> <seconds> <entry>`
fn line(now: u64, entry: &str) -> String {
    let body = format!("{now} {entry}");
    format!("{} {body}", checksum(&body))
}

fn parse_line(line: &str) -> Option<(u64, &str)> {
    let (sum, body) = line.split_once(' ')?;
    if sum != checksum(body) {
        return None;
    }
    let (time, entry) = body.split_once(' ')?;
    Some((time.parse().ok()?, entry))
}

fn checksum(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn rewrite(path: &Path, header: &str, lines: &[&str]) -> Result<File, LedgerError> {
    let (file, new) = write_new(path, header, lines)?;
    std::fs::rename(&new, path).map_err(io("replace", path))?;
    sync_folder(path)?;
    Ok(file)
}

/// A whole, synced and locked file beside `path`.
fn write_new(path: &Path, header: &str, lines: &[&str]) -> Result<(File, PathBuf), LedgerError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &new)(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(io("create", &new))?;
    lock(&file, &new)?;
    let mut text = format!("{header}\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    file.write_all(text.as_bytes()).map_err(io("write", &new))?;
    file.sync_all().map_err(io("sync", &new))?;
    Ok((file, new))
}

fn lock(file: &File, path: &Path) -> Result<(), LedgerError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::InUse { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(io("lock", path)(source)),
    }
}

fn sync_folder(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync the directory of", path))
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { what, path, source }
}

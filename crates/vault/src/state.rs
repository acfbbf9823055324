//! The files of a vault and what changes in them: the last signed tree, the PIN and its failures.
//!
//! Everything that changes is one sealed record with an epoch, written before an answer is released. A second copy, the
//! anchor, stands beside the directory (`<directory>.anchor`), so that restoring the directory alone is noticed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::pin::PinRecord;
use crate::sealed::{Sealer, io, random, read, replace, sync_folder};
use crate::wire::LastSigned;

/// What changes over a vault's life.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) epoch: u64,
    pub(crate) last_signed: Option<LastSigned>,
    pub(crate) pin: Option<PinRecord>,
}

/// The directory of an open vault, locked for this process.
pub(crate) struct Folder {
    path: PathBuf,
    anchor: PathBuf,
    sealer: Sealer,
    pub(crate) vault_id: [u8; 16],
    _lock: File,
}

impl Folder {
    /// Opens the vault in `path`, or makes a new one when there was none. Returns the state and whether it is new.
    pub(crate) fn open(path: &Path) -> Result<(Self, State, bool), VaultError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create", path))?;
        let path = path.canonicalize().map_err(io("resolve", path))?;
        let meta = std::fs::symlink_metadata(&path).map_err(io("stat", &path))?;
        if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
            return Err(VaultError::OpenToOthers { path });
        }
        let lock = lock(&path)?;
        let mut anchor = path.clone().into_os_string();
        anchor.push(".anchor");
        let anchor = PathBuf::from(anchor);
        let state_path = path.join("state.sealed");
        let (sealed_state, sealed_anchor) = (read(&state_path)?, read(&anchor)?);
        let new = sealed_state.is_none() && sealed_anchor.is_none();
        let root_key = root_key(&path, new)?;
        let vault_id = vault_id(&path, new)?;
        let folder = Self { sealer: Sealer::new(&root_key, vault_id), path, anchor, vault_id, _lock: lock };
        if new {
            return Ok((folder, State::default(), true));
        }
        let sealed_state = sealed_state.ok_or(VaultError::Missing { path: state_path })?;
        let state = folder.open_state("state", &sealed_state)?;
        match sealed_anchor {
            // Between the two writes of the first save, the only time when there may be none.
            None if state.epoch == 1 => folder.write_anchor(&state)?,
            None => return Err(VaultError::Missing { path: folder.anchor.clone() }),
            Some(sealed) => {
                let anchor = folder.open_state("anchor", &sealed)?.epoch;
                if state.epoch == anchor + 1 {
                    folder.write_anchor(&state)?;
                } else if state.epoch != anchor {
                    return Err(VaultError::RolledBack { found: state.epoch, anchor });
                }
            }
        }
        Ok((folder, state, false))
    }

    /// Makes `next` the state, one epoch on. On return it is on disk, twice; only then may an answer that depends on it
    /// be released.
    pub(crate) fn save(&self, state: &mut State, next: State) -> Result<(), VaultError> {
        let next = State { epoch: state.epoch + 1, ..next };
        let json = to_json(&next)?;
        replace(&self.path.join("state.sealed"), &self.sealer.seal("state", next.epoch, &json)?)?;
        self.write_anchor(&next)?;
        *state = next;
        Ok(())
    }

    fn write_anchor(&self, state: &State) -> Result<(), VaultError> {
        replace(&self.anchor, &self.sealer.seal("anchor", state.epoch, &to_json(state)?)?)
    }

    fn open_state(&self, record: &str, sealed: &[u8]) -> Result<State, VaultError> {
        let (version, json) = self.sealer.open(record, sealed)?;
        let bad = || VaultError::Unsealable { record: record.to_owned() };
        let state: State = serde_json::from_slice(&json).map_err(|_| bad())?;
        if state.epoch == version { Ok(state) } else { Err(bad()) }
    }

    /// A secret of 32 bytes, made when the vault is new.
    pub(crate) fn key(&self, record: &str, new: bool) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let path = self.record_path(record);
        if new {
            let key = Zeroizing::new(random::<32>()?);
            replace(&path, &self.sealer.seal(record, 1, key.as_slice())?)?;
            return Ok(key);
        }
        self.stored_key(record)?.ok_or(VaultError::Missing { path })
    }

    pub(crate) fn stored_key(&self, record: &str) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
        let Some(sealed) = read(&self.record_path(record))? else { return Ok(None) };
        let (_, plain) = self.sealer.open(record, &sealed)?;
        let key =
            plain.as_slice().try_into().map_err(|_| VaultError::Unsealable { record: record.to_owned() })?;
        Ok(Some(Zeroizing::new(key)))
    }

    /// Removes a record's file for good; false when there was none.
    pub(crate) fn erase(&self, record: &str) -> Result<bool, VaultError> {
        let path = self.record_path(record);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_folder(&path).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io("remove", &path)(error)),
        }
    }

    /// A sealer for data keys under a wrapping key of their own.
    pub(crate) fn sealer_with(&self, key: &[u8; 32]) -> Sealer {
        Sealer::new(key, self.vault_id)
    }

    pub(crate) fn record_path(&self, record: &str) -> PathBuf {
        self.path.join(format!("{record}.sealed"))
    }
}

/// Seconds to wait for a predecessor that is going away (its broker was just restarted).
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// One process a directory: two could sign two trees of one size.
fn lock(folder: &Path) -> Result<File, VaultError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("open", &path))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(VaultError::InUse { path: folder.to_owned() });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        }
    }
}

/// The software root key: a file of its own, 0600. It protects copies of the other files, and nothing more.
fn root_key(folder: &Path, new: bool) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let path = folder.join("root.key");
    if let Some(bytes) = read(&path)? {
        let mut key = Zeroizing::new([0; 32]);
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        hex::decode_to_slice(text, key.as_mut_slice())
            .map_err(|_| VaultError::Unsealable { record: "root.key".to_owned() })?;
        return Ok(key);
    }
    if !new {
        return Err(VaultError::Missing { path });
    }
    let key = Zeroizing::new(random::<32>()?);
    replace(&path, Zeroizing::new(format!("{}\n", hex::encode(key.as_slice()))).as_bytes())?;
    Ok(key)
}

fn vault_id(folder: &Path, new: bool) -> Result<[u8; 16], VaultError> {
    let path = folder.join("vault.id");
    if let Some(bytes) = read(&path)? {
        let mut id = [0; 16];
        hex::decode_to_slice(bytes.strip_suffix(b"\n").unwrap_or(&bytes), &mut id)
            .map_err(|_| VaultError::Unsealable { record: "vault.id".to_owned() })?;
        return Ok(id);
    }
    if !new {
        return Err(VaultError::Missing { path });
    }
    let id = random()?;
    replace(&path, format!("{}\n", hex::encode(id)).as_bytes())?;
    Ok(id)
}

fn to_json(state: &State) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    serde_json::to_vec(state)
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Unsealable { record: "state".to_owned() })
}

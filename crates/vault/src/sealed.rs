//! Files of the vault: replaced whole and synced, sealed with XChaCha20-Poly1305 under the root key.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::error::VaultError;

/// Bytes of any file of the vault: bounds memory against a planted one.
const MAX_FILE: u64 = 1024 * 1024;
const MAGIC: &[u8; 8] = b"chvault1";
/// The one algorithm for now: XChaCha20-Poly1305.
const ALGORITHM: u8 = 1;

/// Seals and opens records of one vault.
pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    vault_id: [u8; 16],
}

impl Sealer {
    pub(crate) fn new(root_key: &[u8; 32], vault_id: [u8; 16]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(root_key.into()), vault_id }
    }

    /// `magic ‖ algorithm ‖ version ‖ nonce ‖ ciphertext`
    pub(crate) fn seal(&self, record: &str, version: u64, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce: [u8; 24] = random()?;
        let aad = self.associated_data(record, version);
        let cipher = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: &aad })
            .map_err(|_| VaultError::Unsealable { record: record.to_owned() })?;
        Ok([MAGIC.as_slice(), &[ALGORITHM], &version.to_be_bytes(), &nonce, &cipher].concat())
    }

    /// The version and text of a record, if it was sealed under this name in this vault.
    pub(crate) fn open(&self, record: &str, sealed: &[u8]) -> Result<(u64, Zeroizing<Vec<u8>>), VaultError> {
        let bad = || VaultError::Unsealable { record: record.to_owned() };
        let rest =
            sealed.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&[ALGORITHM])).ok_or_else(bad)?;
        let (version, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let (nonce, cipher) = rest.split_first_chunk::<24>().ok_or_else(bad)?;
        let version = u64::from_be_bytes(*version);
        let aad = self.associated_data(record, version);
        let plain = self
            .cipher
            .decrypt(XNonce::from_slice(nonce), Payload { msg: cipher, aad: &aad })
            .map_err(|_| bad())?;
        Ok((version, Zeroizing::new(plain)))
    }

    /// Binds a record to its vault, name, version and algorithm, so that none takes another's place.
    fn associated_data(&self, record: &str, version: u64) -> Vec<u8> {
        [
            b"chaperone-vault-v1\0",
            self.vault_id.as_slice(),
            &version.to_be_bytes(),
            &[ALGORITHM],
            record.as_bytes(),
        ]
        .concat()
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::Randomness)?;
    Ok(bytes)
}

/// Replaces a file whole: after a crash it is the old one or the new one. On return it is on disk.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &new)(error)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io("create", &new))?;
    file.write_all(bytes).map_err(io("write", &new))?;
    file.sync_all().map_err(io("sync", &new))?;
    std::fs::rename(&new, path).map_err(io("replace", path))?;
    sync_folder(path)
}

/// The bytes of a file of this user; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(nofollow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", path)(error)),
    };
    let meta = file.metadata().map_err(io("stat", path))?;
    if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(VaultError::OpenToOthers { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len().min(MAX_FILE) as usize + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(VaultError::Unsealable { record: path.display().to_string() });
    }
    Ok(Some(bytes))
}

pub(crate) fn sync_folder(path: &Path) -> Result<(), VaultError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync the directory of", path))
}

pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { what, path, source }
}

//! The vault as the broker uses it: nothing here holds a key.

use std::num::NonZeroUsize;
use std::path::Path;

use chaperone_audit::{KeyError, Keys};
use chaperone_capability::{SignError, Signer, VerifyingKey};
use chaperone_vault::{ApprovalRecord, CapabilitySigner, SignedApproval, VaultClient, VaultError};
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::authority::Issuer;
use crate::ports;
use chaperone_protocol::Failure;

/// Fingerprints that are remembered. Asking the vault for one costs two changes of process.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// A running vault.
pub struct Vault {
    client: VaultClient,
    /// This installation's name as an issuer.
    issuer: String,
    fingerprints: Mutex<LruCache<[u8; 32], [u8; 32]>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("pid", &self.client.pid()).finish_non_exhaustive()
    }
}

impl Vault {
    /// Start the vault's process.
    ///
    /// # Errors
    /// The vault's own reason code.
    pub fn start(exe: &Path, dir: &Path) -> Result<Self, Failure> {
        VaultClient::spawn(exe, &["__vault"], dir)
            .map(|client| Self {
                issuer: format!("chaperone:{}", client.hello().install_id),
                client,
                fingerprints: Mutex::new(LruCache::new(REMEMBERED)),
            })
            .map_err(failure)
    }

    #[must_use]
    pub fn client(&self) -> &VaultClient {
        &self.client
    }

    /// This installation's issuer.
    ///
    /// # Errors
    /// `vault_key` when the vault's public key is not one.
    pub fn issuer(&self) -> Result<Issuer, Failure> {
        let hello = self.client.hello();
        let wrong = || Failure::new("vault_key", "the vault's public key is malformed");
        let bytes: [u8; 32] =
            hex::decode(&hello.issuer_key).ok().and_then(|b| b.try_into().ok()).ok_or_else(wrong)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong())?;
        Ok(Issuer { name: self.issuer.clone(), key })
    }

    /// A secret that the broker alone has, about this: the fingerprint of a fingerprint. Nothing that an agent brings about
    /// has one as its digest, so no record shows it.
    ///
    /// # Errors
    /// When the vault is gone.
    pub fn own_secret(&self, about: &[u8]) -> Result<[u8; 32], Failure> {
        let mut digest = Sha256::digest(about).into();
        for _ in 0..2 {
            let made = self.client.fingerprint(&[digest]).map_err(failure)?;
            digest =
                *made.first().ok_or_else(|| Failure::new("vault_dead", "the vault gave no fingerprint"))?;
        }
        Ok(digest)
    }

    /// Check the PIN for one action; the proof goes with the approval.
    ///
    /// # Errors
    /// `wrong_pin`, or that one must wait.
    pub fn prove_pin(&self, pin: &str, digest: &str) -> Result<[u8; 16], Failure> {
        let digest: Option<[u8; 32]> =
            digest.strip_prefix("sha256:").and_then(|d| hex::decode(d).ok()).and_then(|d| d.try_into().ok());
        let digest = digest.ok_or_else(|| Failure::new("bad_digest", "the request's digest is malformed"))?;
        self.client.pin_verify(pin, digest).map_err(failure)
    }
}

impl ports::Vault for Vault {
    fn fingerprint(&self, sha256: &[u8; 32]) -> Result<String, Failure> {
        let known = self.fingerprints.lock().get(sha256).copied();
        let made = match known {
            Some(known) => known,
            None => {
                let made = self.client.fingerprint(std::slice::from_ref(sha256)).map_err(failure)?;
                let first = *made
                    .first()
                    .ok_or_else(|| Failure::new("vault_dead", "the vault gave no fingerprint"))?;
                self.fingerprints.lock().put(*sha256, first);
                first
            }
        };
        Ok(format!("hmac:{}", hex::encode(made)))
    }

    fn second_factor(&self) -> Result<bool, Failure> {
        self.client.pin_is_set().map_err(failure)
    }

    fn sign_approval(
        &self,
        record: &ApprovalRecord,
        pin: Option<[u8; 16]>,
    ) -> Result<SignedApproval, Failure> {
        self.client.sign_approval(record, pin).map_err(failure)
    }
}

impl Signer for Vault {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn sign_claims(&self, claims: &[u8]) -> Result<String, SignError> {
        CapabilitySigner(&self.client).sign_claims(claims)
    }
}

impl Keys for Vault {
    fn origin(&self) -> String {
        self.client.hello().origin.clone()
    }

    fn verifier(&self) -> String {
        self.client.hello().checkpoint_vkey.clone()
    }

    fn sign_checkpoint(
        &self,
        size: u64,
        root: [u8; 32],
        consistency: &[[u8; 32]],
    ) -> Result<String, KeyError> {
        self.client.sign_checkpoint(size, root, consistency).map_err(key_error)
    }

    fn last_signed(&self) -> Result<Option<(u64, [u8; 32])>, KeyError> {
        last_signed(&self.client).map_err(key_error)
    }

    fn data_key(&self, key_id: Option<&str>) -> Result<(String, [u8; 32]), KeyError> {
        self.client.data_key(key_id).map(|(id, key)| (id, *key)).map_err(key_error)
    }
}

fn last_signed(client: &VaultClient) -> Result<Option<(u64, [u8; 32])>, VaultError> {
    Ok(client.last_signed()?.map(|l| (l.size, l.root)))
}

/// The vault's error with its reason code.
#[must_use]
pub fn failure(error: VaultError) -> Failure {
    Failure::new(error.code(), error.to_string())
}

fn key_error(error: VaultError) -> KeyError {
    KeyError(error.to_string())
}

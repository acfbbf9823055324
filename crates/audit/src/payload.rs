use chacha20poly1305::aead::{Aead, KeyInit, Payload as Msg};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::{Leaf, LogError};

/// Largest payload in bytes of JSON: bounds memory while 256 records wait for their tile.
pub const MAX_PAYLOAD: usize = 1 << 20;

const SALT: usize = 32;
const NONCE: usize = 24;

pub(crate) struct Sealed {
    pub commitment: String,
    pub digest: String,
    pub bytes: Vec<u8>,
}

pub(crate) fn commitment(salt: &[u8], payload: &[u8]) -> Option<String> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(salt).ok()?;
    mac.update(payload);
    Some(hex::encode(mac.finalize().into_bytes()))
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Random bytes of the kernel's, fetched many at a time: one system call for each record is a third of its cost.
pub(crate) struct Randomness {
    bytes: Box<[u8; (SALT + NONCE) * 64]>,
    used: usize,
}

impl Randomness {
    pub(crate) fn new() -> Self {
        let bytes = Box::new([0; (SALT + NONCE) * 64]);
        Self { used: bytes.len(), bytes }
    }

    /// The next ones; they are forgotten here.
    fn next(&mut self) -> Option<[u8; SALT + NONCE]> {
        if self.used == self.bytes.len() {
            getrandom::fill(&mut self.bytes[..]).ok()?;
            self.used = 0;
        }
        let next = self.bytes.get_mut(self.used..self.used + SALT + NONCE)?;
        let taken = <[u8; SALT + NONCE]>::try_from(&*next).ok()?;
        next.fill(0);
        self.used += SALT + NONCE;
        Some(taken)
    }
}

/// `nonce ‖ AEAD(salt ‖ json)`, bound to `seq`.
pub(crate) fn seal(
    key: &[u8; 32],
    seq: u64,
    json: &[u8],
    randomness: &mut Randomness,
) -> Result<Sealed, LogError> {
    let fail = || LogError::Stopped("no randomness or cipher for a payload".into());
    let random = randomness.next().ok_or_else(fail)?;
    let (salt, nonce) = random.split_at(SALT);
    let plain = [salt, json].concat();
    let cipher = XChaCha20Poly1305::new(key.into());
    let sealed = cipher
        .encrypt(XNonce::from_slice(nonce), Msg { msg: &plain, aad: &seq.to_be_bytes() })
        .map_err(|_| fail())?;
    let bytes = [nonce, &sealed].concat();
    Ok(Sealed { commitment: commitment(salt, json).ok_or_else(fail)?, digest: digest(&bytes), bytes })
}

pub(crate) fn open(key: &[u8; 32], leaf: &Leaf, bytes: &[u8]) -> Option<serde_json::Value> {
    let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let msg = Msg { msg: sealed, aad: &leaf.seq.to_be_bytes() };
    let plain = cipher.decrypt(XNonce::from_slice(nonce), msg).ok()?;
    let (salt, json) = plain.split_at_checked(SALT)?;
    (commitment(salt, json) == leaf.commitment).then(|| serde_json::from_slice(json).ok())?
}

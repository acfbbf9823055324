use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::checkpoint::Checkpoint as Body;

use crate::error::{KeyError, LogError};

/// What the log needs of the vault.
pub trait Keys: Send + Sync {
    /// The origin line of checkpoints, also the key name.
    fn origin(&self) -> String;
    /// The verifier key in signed-note form.
    fn verifier(&self) -> String;
    /// Signs a checkpoint; `consistency` proves that it extends the last signed tree (empty for the first).
    fn sign_checkpoint(
        &self,
        size: u64,
        root: [u8; 32],
        consistency: &[[u8; 32]],
    ) -> Result<String, KeyError>;
    /// The largest tree ever signed.
    fn last_signed(&self) -> Result<Option<(u64, [u8; 32])>, KeyError>;
    /// The data key with this id, or the current one.
    fn data_key(&self, key_id: Option<&str>) -> Result<(String, [u8; 32]), KeyError>;
}

/// A checkpoint whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub size: u64,
    pub root: [u8; 32],
    /// The whole signed note.
    pub text: String,
}

impl Checkpoint {
    /// Parses a signed note and verifies it with `vkey`; the origin must be the key's name.
    pub fn open(text: &[u8], vkey: &str) -> Result<Self, LogError> {
        let bad = |what: &str| LogError::Proof(what.to_owned());
        let verifier = StandardVerifier::new(vkey).map_err(|_| bad("malformed verifier key"))?;
        let name = signed_note::Verifier::name(&verifier).to_owned();
        let note = Note::from_bytes(text).map_err(|_| bad("malformed signed note"))?;
        if note.to_bytes() != text {
            return Err(bad("signed note is not in its one form"));
        }
        let (_, unverified) = note
            .verify(&VerifierList::new(vec![Box::new(verifier)]))
            .map_err(|_| bad("no signature by the log's key"))?;
        if !unverified.is_empty() {
            return Err(bad("a signature by an unknown key"));
        }
        let body = Body::from_bytes(note.text()).map_err(|_| bad("malformed checkpoint"))?;
        if body.origin() != name {
            return Err(bad("checkpoint of another log"));
        }
        let text = String::from_utf8(text.to_vec()).map_err(|_| bad("not UTF-8"))?;
        Ok(Self { size: body.size(), root: body.hash().0, text })
    }
}

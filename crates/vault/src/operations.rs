//! The operations, one method each. Signing keys never leave; what is stored is stored before an answer is released.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chaperone_capability::{Claims, compact, limits, signing_input};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use signed_note::{Note, Signature as NoteSignature};
use tlog_tiles::{Checkpoint, Hash, check_tree};
use zeroize::Zeroizing;

use crate::approval::{self, Answer, ApprovalRecord, Effect, SignedApproval};
use crate::error::VaultError;
use crate::pin::PinRecord;
use crate::sealed::{Sealer, random, read, replace};
use crate::state::{Folder, State};
use crate::wire::{Hello, Hex, LastSigned, MAX_FINGERPRINTS, Request, Response};

/// Seconds for which a PIN stands for one action.
const PIN_FRESH: Duration = Duration::from_secs(60);
/// PIN proofs waiting to be used: more than the user types in a minute.
const MAX_PIN_PROOFS: usize = 32;
/// Entries of a tree: far beyond any log, and it keeps the proof's arithmetic in range.
const MAX_TREE: u64 = 1 << 60;
/// A consistency proof has at most two hashes a level.
const MAX_PROOF: usize = 128;

/// An open vault. Fast operations take no lock, so none of them waits for a disk or a PIN.
pub(crate) struct Vault {
    hello: Hello,
    issuer: SigningKey,
    checkpoint: SigningKey,
    checkpoint_key_id: u32,
    approval: SigningKey,
    fingerprint: Hmac<Sha256>,
    wrapping: Sealer,
    folder: Folder,
    state: Mutex<State>,
    /// One PIN at a time: the count of failures is read, written and checked as one.
    pin_turn: Mutex<()>,
    pin_proofs: Mutex<BTreeMap<[u8; 16], PinProof>>,
}

struct PinProof {
    action_digest: [u8; 32],
    until: Instant,
}

impl Vault {
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, VaultError> {
        let (folder, mut state, new) = Folder::open(path)?;
        let signing = |record| folder.key(record, new).map(|seed| SigningKey::from_bytes(&seed));
        let (issuer, checkpoint, approval) =
            (signing("issuer")?, signing("checkpoint")?, signing("approval")?);
        let fingerprint = folder.key("fingerprint", new)?;
        let fingerprint = <Hmac<Sha256> as Mac>::new_from_slice(fingerprint.as_slice())
            .map_err(|_| VaultError::Unsealable { record: "fingerprint".to_owned() })?;
        let wrapping = folder.sealer_with(&*folder.key("wrapping", new)?);
        if new {
            // Last, so that a vault with a state has all its keys.
            folder.save(&mut state, State::default())?;
        }
        let install_id = hex::encode(folder.vault_id);
        let origin = format!("chaperone.local/{install_id}");
        let checkpoint_vkey = signed_note::new_ed25519_verifier_key(&origin, &checkpoint.verifying_key());
        let checkpoint_key_id =
            signed_note::key_id(&origin, &[&[1], checkpoint.verifying_key().as_bytes().as_slice()].concat());
        let hello = Hello {
            install_id,
            issuer_key: hex::encode(issuer.verifying_key().as_bytes()),
            checkpoint_vkey,
            origin,
            approval_key: hex::encode(approval.verifying_key().as_bytes()),
            pin_is_set: false,
        };
        Ok(Arc::new(Self {
            hello,
            issuer,
            checkpoint,
            checkpoint_key_id,
            approval,
            fingerprint,
            wrapping,
            folder,
            state: Mutex::new(state),
            pin_turn: Mutex::new(()),
            pin_proofs: Mutex::new(BTreeMap::new()),
        }))
    }

    pub(crate) fn answer(&self, request: Request) -> Result<Response, VaultError> {
        match request {
            Request::Hello {} => Ok(Response::Hello(self.hello())),
            Request::SignCapability { claims } => {
                self.sign_capability(&claims).map(|token| Response::Token { token })
            }
            Request::SignCheckpoint { size, root, proof } => {
                self.sign_checkpoint(size, root.0, &proof).map(|note| Response::Checkpoint { note })
            }
            Request::LastSigned {} => Ok(Response::LastSigned { last: self.state.lock().last_signed }),
            Request::CloseLog { last } => self.close_log(last).map(|()| Response::Done {}),
            Request::SignApproval { record, pin_proof } => {
                self.sign_approval(&record, pin_proof.map(|proof| proof.0)).map(Response::Approval)
            }
            Request::Fingerprint { hashes } => {
                self.fingerprint(&hashes).map(|fingerprints| Response::Fingerprints { fingerprints })
            }
            Request::DataKey { id } => {
                let (id, key) = match id {
                    None => self.new_data_key()?,
                    Some(id) => self.data_key(id)?,
                };
                Ok(Response::DataKey { id, key: Hex(*key) })
            }
            Request::EraseDataKey { id } => self.erase_data_key(id).map(|()| Response::Done {}),
            Request::PinSet { old, new } => {
                let (old, new) = (old.map(Zeroizing::new), Zeroizing::new(new));
                self.pin_set(old.as_ref().map(|old| old.as_str()), &new).map(|()| Response::Done {})
            }
            Request::PinVerify { pin, action_digest } => {
                let pin = Zeroizing::new(pin);
                self.pin_verify(&pin, action_digest.0).map(|proof| Response::PinProof { proof: Hex(proof) })
            }
        }
    }

    fn hello(&self) -> Hello {
        Hello { pin_is_set: self.state.lock().pin.is_some(), ..self.hello.clone() }
    }

    /// Signs the claims of a capability: strictly read, of this installation, no longer than 12 hours from now.
    fn sign_capability(&self, json: &str) -> Result<String, VaultError> {
        let claims = Claims::parse(json.as_bytes()).map_err(|error| VaultError::Claims(error.to_string()))?;
        let refused = |why: &str| Err(VaultError::Claims(why.to_owned()));
        if claims.iss.strip_prefix("chaperone:") != Some(self.hello.install_id.as_str()) {
            return refused("iss is not this installation");
        }
        let now = now();
        if claims.exp <= now || claims.exp - now > limits::MAX_TTL {
            return refused("exp is in the past or more than 12 hours from now");
        }
        let input = signing_input(json.as_bytes(), None);
        Ok(compact(&input, &self.issuer.sign(input.as_bytes()).to_bytes()))
    }

    /// Signs a tree that extends the last one signed. The new one is on disk before its signature is released.
    fn sign_checkpoint(&self, size: u64, root: [u8; 32], proof: &[Hex<32>]) -> Result<String, VaultError> {
        let mut state = self.state.lock();
        if size > MAX_TREE || proof.len() > MAX_PROOF {
            return Err(VaultError::Protocol("the tree or its proof is too large"));
        }
        let signed = state.last_signed;
        let extends = match signed {
            None => proof.is_empty(),
            Some(last) if last.size == size => last.root == root && proof.is_empty(),
            Some(last) if last.size == 0 => proof.is_empty(),
            Some(last) => {
                let hashes = proof.iter().map(|hash| Hash(hash.0)).collect();
                size > last.size && check_tree(&hashes, size, Hash(root), last.size, Hash(last.root)).is_ok()
            }
        };
        if !extends {
            return Err(VaultError::Forked { size, signed: signed.map_or(0, |last| last.size) });
        }
        let last_signed = Some(LastSigned { size, root });
        if signed != last_signed {
            let next = State { last_signed, ..state.clone() };
            self.folder.save(&mut state, next)?;
        }
        self.checkpoint_note(size, root)
    }

    /// Forgets the last signed tree, which whoever closes the log has to know and writes into the new one.
    fn close_log(&self, last: Option<LastSigned>) -> Result<(), VaultError> {
        let mut state = self.state.lock();
        if state.last_signed != last {
            return Err(VaultError::Protocol("another tree was signed last"));
        }
        let next = State { last_signed: None, ..state.clone() };
        self.folder.save(&mut state, next)
    }

    fn checkpoint_note(&self, size: u64, root: [u8; 32]) -> Result<String, VaultError> {
        let malformed = VaultError::Protocol("the checkpoint has no text form");
        let Ok(checkpoint) = Checkpoint::new(&self.hello.origin, size, Hash(root), "") else {
            return Err(malformed);
        };
        let text = checkpoint.to_bytes();
        let signature = self.checkpoint.sign(&text).to_bytes().to_vec();
        let Ok(signature) = NoteSignature::new(self.hello.origin.clone(), self.checkpoint_key_id, signature)
        else {
            return Err(malformed);
        };
        let Ok(note) = Note::new(&text, &[signature]) else { return Err(malformed) };
        String::from_utf8(note.to_bytes()).map_err(|_| malformed)
    }

    /// Signs the user's answer. An approval of a step-up needs a PIN given for this action in the last minute.
    fn sign_approval(
        &self,
        record: &ApprovalRecord,
        proof: Option<[u8; 16]>,
    ) -> Result<SignedApproval, VaultError> {
        let digest = approval::check(record, now())?;
        let pin = match proof {
            None => false,
            Some(proof) => {
                let used = self.pin_proofs.lock().remove(&proof);
                if !used.is_some_and(|used| used.action_digest == digest && Instant::now() < used.until) {
                    return Err(VaultError::PinRequired);
                }
                true
            }
        };
        if record.effect == Effect::StepUp && record.answer == Answer::Approve && !pin {
            let set = self.state.lock().pin.is_some();
            return Err(if set { VaultError::PinRequired } else { VaultError::NoPin });
        }
        approval::sign(&self.approval, record, pin)
    }

    /// HMAC-SHA-256 over SHA-256 digests: equal content is seen as equal, and guessing it needs the key.
    fn fingerprint(&self, hashes: &[Hex<32>]) -> Result<Vec<Hex<32>>, VaultError> {
        if hashes.len() > MAX_FINGERPRINTS {
            return Err(VaultError::Protocol("more than 8,192 fingerprints in one call"));
        }
        let one = |hash: &Hex<32>| {
            Hex(self.fingerprint.clone().chain_update(hash.0).finalize().into_bytes().into())
        };
        Ok(hashes.iter().map(one).collect())
    }

    fn new_data_key(&self) -> Result<(String, Zeroizing<[u8; 32]>), VaultError> {
        let id = hex::encode(random::<16>()?);
        let key = Zeroizing::new(random::<32>()?);
        let record = data_record(&id)?;
        replace(&self.folder.record_path(&record), &self.wrapping.seal(&record, 1, key.as_slice())?)?;
        Ok((id, key))
    }

    fn data_key(&self, id: String) -> Result<(String, Zeroizing<[u8; 32]>), VaultError> {
        let record = data_record(&id)?;
        let Some(sealed) = read(&self.folder.record_path(&record))? else {
            return Err(VaultError::NoDataKey(id));
        };
        let (_, plain) = self.wrapping.open(&record, &sealed)?;
        let key = plain.as_slice().try_into().map_err(|_| VaultError::Unsealable { record })?;
        Ok((id, Zeroizing::new(key)))
    }

    fn erase_data_key(&self, id: String) -> Result<(), VaultError> {
        if self.folder.erase(&data_record(&id)?)? { Ok(()) } else { Err(VaultError::NoDataKey(id)) }
    }

    fn pin_set(&self, old: Option<&str>, new: &str) -> Result<(), VaultError> {
        let _turn = self.pin_turn.lock();
        let record = PinRecord::new(new)?;
        if self.state.lock().pin.is_some() {
            self.try_pin(old.ok_or(VaultError::PinRequired)?)?;
        }
        self.pin_proofs.lock().clear();
        self.save_pin(record)
    }

    /// A proof that the PIN was given for this action: for one approval, within a minute.
    fn pin_verify(&self, pin: &str, action_digest: [u8; 32]) -> Result<[u8; 16], VaultError> {
        let _turn = self.pin_turn.lock();
        self.try_pin(pin)?;
        let proof = random()?;
        let now = Instant::now();
        let mut proofs = self.pin_proofs.lock();
        proofs.retain(|_, waiting| now < waiting.until);
        if proofs.len() >= MAX_PIN_PROOFS {
            return Err(VaultError::Protocol("too many PIN proofs wait to be used"));
        }
        proofs.insert(proof, PinProof { action_digest, until: now + PIN_FRESH });
        Ok(proof)
    }

    /// The failure is on disk before the PIN is looked at: killing the vault gives no try back.
    fn try_pin(&self, pin: &str) -> Result<(), VaultError> {
        let begun = self.state.lock().pin.as_ref().ok_or(VaultError::NoPin)?.begin_try(now())?;
        self.save_pin(begun.clone())?;
        if !begun.matches(pin)? {
            return Err(VaultError::WrongPin);
        }
        self.save_pin(begun.after_success())
    }

    fn save_pin(&self, pin: PinRecord) -> Result<(), VaultError> {
        let mut state = self.state.lock();
        let next = State { pin: Some(pin), ..state.clone() };
        self.folder.save(&mut state, next)
    }
}

fn data_record(id: &str) -> Result<String, VaultError> {
    let well_formed = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if well_formed {
        Ok(format!("data-{id}"))
    } else {
        Err(VaultError::Protocol("a data key's id is 32 hex digits"))
    }
}

/// Seconds since 1970; a clock before that is as good as none, and everything has expired.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

//! The user's answer, signed over the digest of the exact action.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::error::VaultError;

/// What policy said before the user was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Ask,
    StepUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Approve,
    Deny,
}

/// What is signed. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRecord {
    pub id: String,
    pub session: String,
    /// H(action, resolved object, content hash, policy revision, capability id, nonce, expiry): 64 hex digits.
    pub action_digest: String,
    pub effect: Effect,
    pub answer: Answer,
    /// `once`, `session` or `until`.
    pub scope: String,
    /// The obligations that the user added, such as `redact`.
    pub obligations: Vec<String>,
    pub time: u64,
    pub expires: u64,
}

/// A record with its signature; `record` is the exact text that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedApproval {
    pub record: String,
    /// Ed25519 over `"chaperone-approval-v1\0"`, `"pin\0"` or `"\0"`, and the record; base64url.
    pub signature: String,
    /// Whether the vault itself saw the PIN for this action.
    pub pin: bool,
}

/// Why a signed approval was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    #[error("the approval's signature does not verify")]
    BadSignature,
    #[error("the approval's record is malformed")]
    Malformed,
    #[error("the approval expired")]
    Expired,
    #[error("the approval is for another action")]
    OtherAction,
}

/// Checks a signed approval against the action at hand; the answer in the record may still be `deny`.
pub fn verify_approval(
    key: &[u8; 32],
    signed: &SignedApproval,
    action_digest: &[u8; 32],
    now: u64,
) -> Result<ApprovalRecord, ApprovalError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| ApprovalError::BadSignature)?;
    let signature: [u8; 64] = URL_SAFE_NO_PAD
        .decode(&signed.signature)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(ApprovalError::BadSignature)?;
    key.verify_strict(&message(&signed.record, signed.pin), &Signature::from_bytes(&signature))
        .map_err(|_| ApprovalError::BadSignature)?;
    let record: ApprovalRecord =
        serde_json::from_str(&signed.record).map_err(|_| ApprovalError::Malformed)?;
    if now >= record.expires {
        return Err(ApprovalError::Expired);
    }
    if record.action_digest != hex::encode(action_digest) {
        return Err(ApprovalError::OtherAction);
    }
    Ok(record)
}

/// Signs a record that has been checked ([`check`]); `pin` says whether the PIN was given for it.
pub(crate) fn sign(
    key: &SigningKey,
    record: &ApprovalRecord,
    pin: bool,
) -> Result<SignedApproval, VaultError> {
    let text = serde_json::to_string(record).map_err(|_| VaultError::Approval("it has no JSON form"))?;
    let signature = key.sign(&message(&text, pin));
    Ok(SignedApproval { record: text, signature: URL_SAFE_NO_PAD.encode(signature.to_bytes()), pin })
}

pub(crate) fn check(record: &ApprovalRecord, now: u64) -> Result<[u8; 32], VaultError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(&record.action_digest, &mut digest)
        .map_err(|_| VaultError::Approval("the action digest is not 64 hex digits"))?;
    if !matches!(record.scope.as_str(), "once" | "session" | "until") {
        return Err(VaultError::Approval("the scope is not once, session or until"));
    }
    if record.expires <= now || record.expires - now > MAX_LIFE {
        return Err(VaultError::Approval("it expires in the past or more than 12 hours from now"));
    }
    if record.time.abs_diff(now) > MAX_SKEW {
        return Err(VaultError::Approval("its time is not now"));
    }
    Ok(digest)
}

/// Seconds an answer may hold: as long as a capability.
const MAX_LIFE: u64 = 12 * 3600;
/// Seconds between the record's time and the vault's clock: both are on one machine.
const MAX_SKEW: u64 = 300;

fn message(record: &str, pin: bool) -> Vec<u8> {
    let mut message = b"chaperone-approval-v1\0".to_vec();
    message.extend_from_slice(if pin { b"pin\0" } else { b"\0" });
    message.extend_from_slice(record.as_bytes());
    message
}

//! Proof of possession: who speaks on a channel holds the key that the capability names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::error::Rejection;

/// The message that the holder signs with its Ed25519 key: `"chaperone-cnf-v1\0" session "\0" nonce`. The nonce is the
/// broker's, 32 random bytes, used once.
pub fn pop_challenge(nonce: &[u8; 32], session: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(PREFIX.len() + session.len() + 33);
    message.extend_from_slice(PREFIX);
    message.extend_from_slice(session.as_bytes());
    message.push(0);
    message.extend_from_slice(nonce);
    message
}

/// Checks that `public_key` is the one that `jkt` names and that it signed the challenge.
pub fn verify_pop(
    jkt: &str,
    public_key: &[u8; 32],
    nonce: &[u8; 32],
    session: &str,
    signature: &[u8; 64],
) -> Result<(), Rejection> {
    if thumbprint(public_key) != jkt || session.contains('\0') {
        return Err(Rejection::NoProof);
    }
    let key = VerifyingKey::from_bytes(public_key).map_err(|_| Rejection::NoProof)?;
    key.verify_strict(&pop_challenge(nonce, session), &Signature::from_bytes(signature))
        .map_err(|_| Rejection::NoProof)
}

/// RFC 7638 thumbprint of an Ed25519 public key, base64url: the `jkt` of `cnf`.
pub fn thumbprint(public_key: &[u8; 32]) -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public_key));
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

const PREFIX: &[u8] = b"chaperone-cnf-v1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    /// RFC 8037, appendix A.3.
    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(thumbprint(&x.try_into().unwrap()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_proof_holds_for_its_key_session_and_nonce_alone() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = *key.verifying_key().as_bytes();
        let jkt = thumbprint(&public);
        let signature = key.sign(&pop_challenge(&[1; 32], "s1")).to_bytes();
        assert_eq!(verify_pop(&jkt, &public, &[1; 32], "s1", &signature), Ok(()));
        assert_eq!(verify_pop(&jkt, &public, &[2; 32], "s1", &signature), Err(Rejection::NoProof));
        assert_eq!(verify_pop(&jkt, &public, &[1; 32], "s2", &signature), Err(Rejection::NoProof));
        let other = *SigningKey::from_bytes(&[8; 32]).verifying_key().as_bytes();
        assert_eq!(verify_pop(&jkt, &other, &[1; 32], "s1", &signature), Err(Rejection::NoProof));
        assert_eq!(
            verify_pop(&thumbprint(&other), &public, &[1; 32], "s1", &signature),
            Err(Rejection::NoProof)
        );
    }
}

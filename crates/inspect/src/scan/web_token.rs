//! JSON web tokens (RFC 7515, 7516, 7519): whether the parts of what looks like one are those of a token.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// Bits that a last character has over do not matter to whoever reads a token.
const PART: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);
/// Bytes of the shortest signature of an algorithm that is not known here, or whose keys have several lengths.
const LEAST_SIGNATURE: usize = 32;
const LEAST_RSA: usize = 128;
/// Parts of a token that is encrypted.
const ENCRYPTED: usize = 5;

/// What a value is that looks like a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WebToken {
    /// It is signed or encrypted as its header says.
    Whole,
    /// It is, and its payload is one that documents show.
    Sample,
    /// Its parts say nothing, or not what they should.
    Unread,
}

/// `samples` are members of payloads that documents show, as they are written in JSON.
pub(super) fn read(value: &[u8], samples: &[String]) -> WebToken {
    let parts: Vec<&[u8]> = value.split(|b| *b == b'.').collect();
    let Some(header) = parts.first().and_then(|part| object(part)) else { return WebToken::Unread };
    let Some(algorithm) = header.get("alg").and_then(Value::as_str) else { return WebToken::Unread };
    if header.contains_key("enc") && parts.len() == ENCRYPTED {
        return WebToken::Whole;
    }
    let payload = parts.get(1).and_then(|part| object(part));
    let (Some(payload), Some(signature)) = (payload, parts.get(2)) else { return WebToken::Unread };
    // What stands around it may go on behind it.
    let end = signature.iter().position(|b| !is_sign(*b)).unwrap_or(signature.len());
    if !fits(algorithm, end * 3 / 4) {
        return WebToken::Unread;
    }
    let shown = |(name, value): (&String, &Value)| {
        let member = format!("{}:{value}", Value::String(name.clone()));
        samples.contains(&member)
    };
    if payload.iter().any(shown) { WebToken::Sample } else { WebToken::Whole }
}

/// Whether a signature of so many bytes is one of the algorithm's (RFC 7518, 8037, 8812).
fn fits(algorithm: &str, length: usize) -> bool {
    match algorithm {
        "HS256" => length == 32,
        "HS384" => length == 48,
        "HS512" | "ES256" | "ES256K" | "EdDSA" | "Ed25519" => length == 64,
        "ES384" => length == 96,
        "ES512" => length == 132,
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => length >= LEAST_RSA,
        "none" => false,
        _ => length >= LEAST_SIGNATURE,
    }
}

fn is_sign(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}

/// The JSON object that a part says in base64url.
fn object(part: &[u8]) -> Option<Map<String, Value>> {
    let bytes = PART.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> WebToken {
        read(value.as_bytes(), &[r#""sub":"1234567890""#.to_owned(), r#""name":"John Doe""#.to_owned()])
    }

    #[test]
    fn a_token_is_whole_when_its_header_its_payload_and_its_signature_fit() {
        let (header, payload) =
            ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJzdWIiOiJ1c2VyLTQ4MTIiLCJyb2xlIjoiYWRtaW4ifQ");
        let signed = |signature: &str| of(&format!("{header}.{payload}.{signature}"));
        assert_eq!(signed("dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"), WebToken::Whole);
        assert_eq!(signed("dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U/next"), WebToken::Whole);
        assert_eq!(signed("dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THs"), WebToken::Unread, "it is too short");
        assert_eq!(of(&format!("{header}.{payload}")), WebToken::Unread, "nothing signs it");
        // Of itsdangerous, whose first part is no header.
        assert_eq!(
            of("eyJpZCI6NSwibmFtZSI6Iml0c2Rhbmdlcm91cyJ9.6YP6T0BaO67XP--9UzTrmurXSmg"),
            WebToken::Unread
        );
        assert_eq!(of("eyJ-taken-out.eyJ-taken-out.taken-out-too"), WebToken::Unread);
        let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0.Zm9vYmFyYmF6.AbCdEfGhIjKlMnOp.Zm9vYmFyYmF6Zm9v.AbCdEfGhIjKlMnOp";
        assert_eq!(of(encrypted), WebToken::Whole);
    }

    #[test]
    fn a_token_of_documents_is_a_sample() {
        let payload = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ";
        let signature = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        let token = format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{payload}.{signature}");
        assert_eq!(of(&token), WebToken::Sample);
        assert_eq!(read(token.as_bytes(), &[]), WebToken::Whole);
    }
}

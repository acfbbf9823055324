//! The claims of a token, and what the user or program asks to have minted.

use serde::{Deserialize, Serialize};

use crate::error::Rejection;
use crate::limits;
use crate::permission::PermissionClaim;

/// The payload of a token. Unknown, repeated and missing members are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// `chaperone:<install id>`, or `jkt:<thumbprint>` of the holder that signed a link.
    pub iss: String,
    /// The agent that the token is for.
    pub sub: String,
    /// `session:<id>`.
    pub aud: String,
    /// Unique; what revocation and use counts name.
    pub jti: String,
    /// Seconds since 1970, as are `nbf` and `exp`.
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The `jti` that this link narrows; a root has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How often the token, and everything made from it together, may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    pub permissions: Vec<PermissionClaim>,
}

/// The key that the holder must prove to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// RFC 7638 thumbprint of the Ed25519 key, base64url.
    pub jkt: String,
}

impl Claims {
    /// Parses strictly and checks everything that one token shows by itself.
    pub fn parse(json: &[u8]) -> Result<Self, Rejection> {
        let claims: Self = parse_strict(json, "the claims")?;
        claims.check_shape()?;
        Ok(claims)
    }

    pub(crate) fn check_shape(&self) -> Result<(), Rejection> {
        let names = [&self.iss, &self.sub, &self.aud];
        if names.into_iter().any(|name| !is_name(name)) {
            return Err(Rejection::Malformed("iss, sub or aud is empty, too long or has control characters"));
        }
        if !is_token_id(&self.jti) || self.parent.as_deref().is_some_and(|parent| !is_token_id(parent)) {
            return Err(Rejection::Malformed("jti and parent are 1 to 64 letters, digits, - or _"));
        }
        if !self.aud.starts_with("session:") {
            return Err(Rejection::Malformed("aud is session:<id>"));
        }
        if self.nbf >= self.exp || self.iat >= self.exp {
            return Err(Rejection::Malformed("exp is not after iat and nbf"));
        }
        if self.exp - self.iat > limits::MAX_TTL {
            return Err(Rejection::Malformed("exp is more than 12 hours after iat"));
        }
        if self.uses == Some(0) {
            return Err(Rejection::Malformed("uses is at least 1"));
        }
        if self.permissions.len() > limits::MAX_PERMISSIONS {
            return Err(Rejection::Malformed("more than 128 permissions"));
        }
        if self.cnf.as_ref().is_some_and(|cnf| crate::jws::decode_32(&cnf.jkt).is_none()) {
            return Err(Rejection::Malformed("cnf.jkt is a SHA-256 thumbprint in base64url"));
        }
        Ok(())
    }
}

/// What is asked for: the published example (`sub`, `permissions`, `exp`) is one. The rest is filled in by
/// [`crate::mint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub sub: String,
    pub permissions: Vec<PermissionClaim>,
    /// Seconds since 1970; without it the token lives [`limits::DEFAULT_TTL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// If given, it must be the audience that the token is minted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

impl Request {
    pub fn parse(json: &[u8]) -> Result<Self, Rejection> {
        parse_strict(json, "the request")
    }
}

/// JSON into a struct: duplicate and unknown members are refused by the derived visitors, arrays in the place of
/// objects here (the derived visitors would take them).
fn parse_strict<T: for<'de> Deserialize<'de>>(json: &[u8], what: &'static str) -> Result<T, Rejection> {
    let malformed = |_| match what {
        "the claims" => Rejection::Malformed("the claims are not the JSON object that a capability has"),
        _ => Rejection::Malformed("the request is not the JSON object that a capability request is"),
    };
    if json.len() > limits::MAX_TOKEN_BYTES {
        return Err(Rejection::Malformed("larger than 16 KiB"));
    }
    let value: T = serde_json::from_slice(json).map_err(malformed)?;
    let shape: serde_json::Value = serde_json::from_slice(json).map_err(malformed)?;
    let objects = shape.is_object()
        && shape.get("cnf").is_none_or(|cnf| cnf.is_object() || cnf.is_null())
        && shape
            .get("permissions")
            .and_then(|list| list.as_array())
            .is_some_and(|list| list.iter().all(|one| one.is_object()));
    if objects { Ok(value) } else { Err(Rejection::Malformed("an array stands where an object belongs")) }
}

pub(crate) fn is_token_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_name(text: &str) -> bool {
    (1..=limits::MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_mission_is_a_request() {
        let request = Request::parse(
            br#"{ "sub": "agent-1234", "permissions": [ {"action": "read", "path": "/workspace/reports/*"} ], "exp": 1716200000 }"#,
        )
        .unwrap();
        assert_eq!(request.sub, "agent-1234");
        assert_eq!(request.exp, Some(1_716_200_000));
    }

    #[test]
    fn repeated_unknown_and_positional_members_are_refused() {
        for json in [
            r#"{"sub":"a","sub":"b","permissions":[]}"#,
            r#"{"sub":"a","permissions":[],"admin":true}"#,
            r#"{"sub":"a","permissions":[["read","/a"]]}"#,
            r#"["a",[]]"#,
            r#"{"sub":"a","permissions":[{"action":"read","path":"/a","path":"/b"}]}"#,
            r#"{"sub":"a","permissions":[{"action":"READ","path":"/a"}]}"#,
            r#"{"sub":"a","permissions":[],"exp":1.5}"#,
            r#"{"sub":"a","permissions":[]} x"#,
        ] {
            assert_eq!(
                Request::parse(json.as_bytes()).map_err(|error| error.code()),
                Err("malformed"),
                "{json}"
            );
        }
    }
}

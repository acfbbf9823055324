//! JWS compact serialisation with one algorithm (EdDSA over Ed25519) and one type, read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::error::{Rejection, SignError};
use crate::possession::thumbprint;

/// Something that signs claims: the vault over its socket, or a key at hand.
pub trait Signer {
    /// The `iss` that this signer may write: `chaperone:<install id>` or `jkt:<thumbprint>`.
    fn issuer(&self) -> &str;
    /// Signs the claims (JSON) and returns the compact JWS over exactly these bytes.
    fn sign_claims(&self, claims: &[u8]) -> Result<String, SignError>;
}

/// An issuer's key at hand; the product keeps it in the vault, tests and tools use this.
pub struct LocalIssuer {
    issuer: String,
    key: SigningKey,
}

impl LocalIssuer {
    pub fn new(install_id: &str, key: SigningKey) -> Self {
        Self { issuer: format!("chaperone:{install_id}"), key }
    }
}

impl Signer for LocalIssuer {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn sign_claims(&self, claims: &[u8]) -> Result<String, SignError> {
        let input = signing_input(claims, None);
        let signature = self.key.sign(input.as_bytes());
        Ok(compact(&input, &signature.to_bytes()))
    }
}

/// A holder's key (`cnf`): signs links that narrow the holder's own capability, without the issuer.
pub struct HolderKey {
    issuer: String,
    key: SigningKey,
}

impl HolderKey {
    pub fn new(key: SigningKey) -> Self {
        Self { issuer: format!("jkt:{}", thumbprint(key.verifying_key().as_bytes())), key }
    }
}

impl Signer for HolderKey {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn sign_claims(&self, claims: &[u8]) -> Result<String, SignError> {
        let input = signing_input(claims, Some(self.key.verifying_key().as_bytes()));
        let signature = self.key.sign(input.as_bytes());
        Ok(compact(&input, &signature.to_bytes()))
    }
}

/// What is signed: `base64url(header).base64url(claims)`. A link signed by its holder carries the holder's public key.
pub fn signing_input(claims: &[u8], holder: Option<&[u8; 32]>) -> String {
    let header = match holder {
        None => format!(r#"{{"alg":"{ALGORITHM}","typ":"{TYPE}"}}"#),
        Some(key) => format!(
            r#"{{"alg":"{ALGORITHM}","typ":"{TYPE}","jwk":{{"crv":"Ed25519","kty":"OKP","x":"{}"}}}}"#,
            URL_SAFE_NO_PAD.encode(key)
        ),
    };
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// The compact JWS of a signing input and its signature.
pub fn compact(signing_input: &str, signature: &[u8; 64]) -> String {
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// One JWS, decoded; its signature not yet checked.
pub(crate) struct Jws<'a> {
    signing_input: &'a str,
    signature: Signature,
    /// The holder's key in the header of a link.
    pub(crate) holder: Option<[u8; 32]>,
    pub(crate) claims: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(crate) fn decode(text: &'a str) -> Result<Self, Rejection> {
        let (signing_input, signature) =
            text.rsplit_once('.').ok_or(Rejection::Malformed("a JWS has three parts"))?;
        let (header, claims) =
            signing_input.split_once('.').ok_or(Rejection::Malformed("a JWS has three parts"))?;
        if claims.contains('.') {
            return Err(Rejection::Malformed("a JWS has three parts"));
        }
        let signature: [u8; 64] = decode(signature)?
            .try_into()
            .map_err(|_| Rejection::Malformed("an EdDSA signature has 64 bytes"))?;
        Ok(Self {
            signing_input,
            signature: Signature::from_bytes(&signature),
            holder: Header::decode(&decode(header)?)?,
            claims: decode(claims)?,
        })
    }

    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<(), Rejection> {
        key.verify_strict(self.signing_input.as_bytes(), &self.signature).map_err(|_| Rejection::BadSignature)
    }
}

const ALGORITHM: &str = "EdDSA";
/// Keeps our tokens apart from any other JWS that the same key might ever sign.
const TYPE: &str = "chaperone-cap";

/// Everything that a header may say; `crit`, `jku`, `x5u`, `kid` and the like are unknown members, so errors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    #[serde(default)]
    jwk: Option<Jwk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    crv: String,
    kty: String,
    x: String,
}

impl Header {
    fn decode(json: &[u8]) -> Result<Option<[u8; 32]>, Rejection> {
        if json.first() != Some(&b'{') {
            return Err(Rejection::Malformed("the header is not an object"));
        }
        let header: Self = serde_json::from_slice(json)
            .map_err(|_| Rejection::Malformed("the header has members other than alg, typ, jwk"))?;
        if header.alg != ALGORITHM {
            return Err(Rejection::Malformed("the algorithm is not EdDSA"));
        }
        if header.typ != TYPE {
            return Err(Rejection::Malformed("the type is not chaperone-cap"));
        }
        let Some(jwk) = header.jwk else { return Ok(None) };
        if jwk.crv != "Ed25519" || jwk.kty != "OKP" {
            return Err(Rejection::Malformed("the holder's key is not Ed25519"));
        }
        decode_32(&jwk.x)
            .map(Some)
            .ok_or(Rejection::Malformed("the holder's key is not 32 bytes of base64url"))
    }
}

pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    decode(text).ok()?.try_into().ok()
}

/// Canonical base64url without padding: any other spelling of the same bytes is an error.
fn decode(text: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Rejection::Malformed("not canonical base64url"))
}

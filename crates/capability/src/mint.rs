//! Making tokens: by the issuer from a request, and narrower ones from a token, by its holder or the issuer.

use crate::claims::{Claims, Confirmation, Request};
use crate::error::{MintError, Rejection};
use crate::jws::Signer;
use crate::limits;
use crate::permission::PermissionClaim;
use crate::verify::{Level, inspect};

/// A token in its compact form. It is bound to a key, yet not for logs: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// What the issuer adds to a request.
#[derive(Debug, Clone, Copy)]
pub struct Issue<'a> {
    /// The session that the token is for, without the `session:` of `aud`.
    pub session: &'a str,
    /// Unique and unguessable: 16 random bytes in hex, for instance.
    pub jti: &'a str,
    /// Seconds since 1970.
    pub now: u64,
    /// Thumbprint of the key that will use it. Without one the token serves no channel.
    pub jkt: Option<&'a str>,
}

/// Mints a root token. Nothing is minted that verification would refuse.
pub fn mint(request: &Request, issue: &Issue<'_>, signer: &dyn Signer) -> Result<Token, MintError> {
    let aud = format!("session:{}", issue.session);
    if request.aud.as_ref().is_some_and(|wanted| *wanted != aud) {
        return Err(Rejection::WrongAudience.into());
    }
    let exp = request.exp.unwrap_or(issue.now.saturating_add(limits::DEFAULT_TTL));
    if exp <= issue.now {
        return Err(Rejection::Expired { exp }.into());
    }
    let claims = Claims {
        iss: signer.issuer().to_owned(),
        sub: request.sub.clone(),
        aud,
        jti: issue.jti.to_owned(),
        iat: issue.now,
        nbf: request.nbf.unwrap_or(issue.now),
        exp,
        cnf: issue.jkt.map(|jkt| Confirmation { jkt: jkt.to_owned() }),
        parent: None,
        uses: request.uses,
        permissions: request.permissions.clone(),
    };
    sign(Level::compile(claims)?, "", signer)
}

/// What a link keeps of its parent; what is not given stays as the parent has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowing {
    pub sub: Option<String>,
    pub permissions: Vec<PermissionClaim>,
    pub exp: Option<u64>,
    pub uses: Option<u32>,
}

/// Who will hold a link, and when it is made.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    pub jti: &'a str,
    /// Seconds since 1970.
    pub now: u64,
    /// Thumbprint of the key that will use the link; without one, the parent's own.
    pub jkt: Option<&'a str>,
}

/// Makes a narrower token from `parent` (a token as text). It works without the issuer: `signer` is the key that the
/// parent names in `cnf`, or the issuer.
pub fn attenuate(
    parent: &str,
    narrowing: &Narrowing,
    holder: &Holder<'_>,
    signer: &dyn Signer,
) -> Result<Token, MintError> {
    let chain = inspect(parent)?;
    if chain.len() > limits::MAX_LINKS {
        return Err(Rejection::TooDeep.into());
    }
    let (Some(root), Some(last)) = (chain.first(), chain.last()) else {
        return Err(Rejection::Malformed("a token has a root").into());
    };
    let holds =
        last.cnf.as_ref().is_some_and(|cnf| signer.issuer().strip_prefix("jkt:") == Some(cnf.jkt.as_str()));
    if !holds && signer.issuer() != root.iss {
        return Err(MintError::NotTheHolder);
    }
    let claims = Claims {
        iss: signer.issuer().to_owned(),
        sub: narrowing.sub.clone().unwrap_or_else(|| last.sub.clone()),
        aud: last.aud.clone(),
        jti: holder.jti.to_owned(),
        iat: holder.now.clamp(last.iat, last.exp.saturating_sub(1)),
        nbf: last.nbf,
        exp: narrowing.exp.unwrap_or(last.exp),
        cnf: holder.jkt.map(|jkt| Confirmation { jkt: jkt.to_owned() }).or_else(|| last.cnf.clone()),
        parent: Some(last.jti.clone()),
        uses: narrowing.uses.or(last.uses),
        permissions: narrowing.permissions.clone(),
    };
    if holder.now >= claims.exp {
        return Err(Rejection::Expired { exp: claims.exp }.into());
    }
    let level = Level::compile(claims)?;
    level.check_narrows(&Level::compile(last.clone())?, chain.len())?;
    sign(level, parent, signer)
}

fn sign(level: Level, parent: &str, signer: &dyn Signer) -> Result<Token, MintError> {
    level.claims.check_shape()?;
    let json = serde_json::to_vec(&level.claims)
        .map_err(|_| Rejection::Malformed("the claims have no JSON form"))?;
    let jws = signer.sign_claims(&json)?;
    let token = if parent.is_empty() { jws } else { format!("{parent}~{jws}") };
    if token.len() > limits::MAX_TOKEN_BYTES {
        return Err(Rejection::Malformed("larger than 16 KiB").into());
    }
    Ok(Token(token))
}

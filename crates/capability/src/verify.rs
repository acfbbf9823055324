//! Verification of a token or chain, and the question asked a thousand times after it: does it permit this?

use ed25519_dalek::VerifyingKey;

use crate::claims::Claims;
use crate::error::Rejection;
use crate::jws::Jws;
use crate::limits;
use crate::permission::{Action, Permission, Target};
use crate::possession::thumbprint;

/// What a token is verified against. Everything is passed in: the crate has no clock and no files here.
pub struct Context<'a> {
    /// `chaperone:<install id>` of this installation.
    pub issuer: &'a str,
    pub issuer_key: &'a VerifyingKey,
    /// Seconds since 1970.
    pub now: u64,
    /// The session on whose channel the token came, without the `session:` of `aud`.
    pub session: &'a str,
    pub possession: Possession<'a>,
    pub is_revoked: &'a dyn Fn(&str) -> bool,
}

/// What the channel has proved about the key in `cnf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Possession<'a> {
    /// The channel signed a fresh challenge with the key of this thumbprint ([`crate::verify_pop`]).
    Proven(&'a str),
    /// Nothing was proved, and nothing will be performed: `capability show`, minting.
    NotUsed,
}

/// Checks a token whole: form, every signature, issuer, narrowing of every link, audience, time, revocation of it and
/// all its parents, possession of its key. About 50 µs a signature: keep the result and ask [`Verified::recheck`].
pub fn verify(token: &str, context: &Context<'_>) -> Result<Verified, Rejection> {
    let mut ancestors = walk(token, Some((context.issuer, context.issuer_key)))?;
    let leaf = ancestors.pop().ok_or(Rejection::Malformed("a token has a root"))?;
    let verified = Verified { ancestors, leaf };
    let leaf = verified.claims();
    if leaf.aud.strip_prefix("session:") != Some(context.session) {
        return Err(Rejection::WrongAudience);
    }
    verified.recheck(context.now, context.is_revoked)?;
    match (context.possession, &leaf.cnf) {
        (Possession::NotUsed, _) => {}
        (Possession::Proven(jkt), Some(cnf)) if cnf.jkt == jkt => {}
        (Possession::Proven(_), _) => return Err(Rejection::NoProof),
    }
    Ok(verified)
}

/// The claims of a token, root first, for showing and for attenuating offline: form, narrowing and the holders'
/// signatures are checked, those of the issuer are not (its key is not at hand), nor time, nor revocation.
pub fn inspect(token: &str) -> Result<Vec<Claims>, Rejection> {
    Ok(walk(token, None)?.into_iter().map(|level| level.claims).collect())
}

/// A token that verified. Time goes on and revocations happen: [`Verified::recheck`] before each use.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Root first.
    ancestors: Vec<Level>,
    leaf: Level,
}

#[derive(Debug, Clone)]
pub(crate) struct Level {
    pub(crate) claims: Claims,
    permissions: Vec<Permission>,
}

impl Verified {
    /// The claims of the last link: those of whoever presents the token.
    pub fn claims(&self) -> &Claims {
        &self.leaf.claims
    }

    /// The ids of the token and all its parents, root first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.chain().map(|claims| claims.jti.as_str())
    }

    pub(crate) fn chain(&self) -> impl Iterator<Item = &Claims> {
        self.ancestors.iter().chain([&self.leaf]).map(|level| &level.claims)
    }

    /// Whether the token still holds: not expired, not revoked, nor any parent.
    pub fn recheck(&self, now: u64, is_revoked: &dyn Fn(&str) -> bool) -> Result<(), Rejection> {
        for claims in self.chain() {
            if now >= claims.exp {
                return Err(Rejection::Expired { exp: claims.exp });
            }
            if now < claims.nbf {
                return Err(Rejection::NotYetValid { nbf: claims.nbf });
            }
            if is_revoked(&claims.jti) {
                return Err(Rejection::Revoked { jti: claims.jti.clone() });
            }
        }
        Ok(())
    }

    /// The permission that allows `action` on `target`. Every level of the chain must allow it, not the last alone.
    pub fn permits(&self, action: Action, target: &Target<'_>) -> Result<&Permission, Rejection> {
        if !target.is_canonical() {
            return Err(Rejection::NotNormalised);
        }
        let refused = || Rejection::NotPermitted { action: action.as_str() };
        if self.ancestors.iter().any(|level| level.find(action, target).is_none()) {
            return Err(refused());
        }
        self.leaf.find(action, target).ok_or_else(refused)
    }
}

/// Decodes a chain and checks each link against its parent. With the issuer's name and key it checks every signature.
fn walk(token: &str, issuer: Option<(&str, &VerifyingKey)>) -> Result<Vec<Level>, Rejection> {
    if token.len() > limits::MAX_TOKEN_BYTES {
        return Err(Rejection::Malformed("larger than 16 KiB"));
    }
    let mut levels: Vec<Level> = Vec::new();
    for (index, text) in token.split('~').enumerate() {
        if index > limits::MAX_LINKS {
            return Err(Rejection::TooDeep);
        }
        let jws = Jws::decode(text)?;
        let claims = Claims::parse(&jws.claims)?;
        check_signature(&jws, &claims, levels.first(), levels.last(), issuer)?;
        let level = Level::compile(claims)?;
        if let Some(parent) = levels.last() {
            level.check_narrows(parent, index)?;
        }
        levels.push(level);
    }
    Ok(levels)
}

/// A root is the issuer's. A link is the issuer's too, or that of the holder whom its parent names.
fn check_signature(
    jws: &Jws<'_>,
    claims: &Claims,
    root: Option<&Level>,
    parent: Option<&Level>,
    issuer: Option<(&str, &VerifyingKey)>,
) -> Result<(), Rejection> {
    let issued_by = |name: &str| claims.iss == name && jws.holder.is_none();
    let Some(parent) = parent else {
        if claims.parent.is_some() {
            return Err(Rejection::Malformed("a link stands without its parent"));
        }
        return match issuer {
            Some((name, key)) if issued_by(name) => jws.verify(key),
            Some(_) => Err(Rejection::WrongIssuer),
            None if claims.iss.starts_with("chaperone:") && jws.holder.is_none() => Ok(()),
            None => Err(Rejection::WrongIssuer),
        };
    };
    if let Some(holder) = &jws.holder {
        let jkt = thumbprint(holder);
        let named = parent.claims.cnf.as_ref().is_some_and(|cnf| cnf.jkt == jkt);
        if !named || claims.iss.strip_prefix("jkt:") != Some(jkt.as_str()) {
            return Err(Rejection::BadSignature);
        }
        let key = VerifyingKey::from_bytes(holder).map_err(|_| Rejection::BadSignature)?;
        return jws.verify(&key);
    }
    match issuer {
        Some((name, key)) if issued_by(name) => jws.verify(key),
        None if root.is_some_and(|root| issued_by(&root.claims.iss)) => Ok(()),
        _ => Err(Rejection::WrongIssuer),
    }
}

impl Level {
    pub(crate) fn compile(claims: Claims) -> Result<Self, Rejection> {
        let permissions = claims.permissions.iter().map(Permission::compile).collect::<Result<_, _>>()?;
        Ok(Self { claims, permissions })
    }

    fn find(&self, action: Action, target: &Target<'_>) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.permits(action, target))
    }

    /// The rule of attenuation: nothing of a link goes beyond its parent.
    pub(crate) fn check_narrows(&self, parent: &Self, link: usize) -> Result<(), Rejection> {
        let (child, over) = (&self.claims, &parent.claims);
        let widened = |what| Err(Rejection::Widened { link, what });
        if child.parent.as_deref() != Some(over.jti.as_str()) || child.jti == over.jti {
            return Err(Rejection::Malformed("a link does not name its parent"));
        }
        if child.aud != over.aud {
            return widened("audience");
        }
        if child.exp > over.exp || child.nbf < over.nbf {
            return widened("time");
        }
        if let Some(limit) = over.uses
            && child.uses.is_none_or(|uses| uses > limit)
        {
            return widened("uses");
        }
        if over.cnf.is_some() && child.cnf.is_none() {
            return widened("possession");
        }
        let covered = |permission: &Permission| parent.permissions.iter().any(|wide| wide.covers(permission));
        if !self.permissions.iter().all(covered) {
            return widened("permissions");
        }
        Ok(())
    }
}

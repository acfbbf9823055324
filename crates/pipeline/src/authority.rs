//! What a session holds: its capability, elevations on top of it, and the ledgers that outlive the broker.

use std::path::Path;
use std::sync::Arc;

use chaperone_capability::{
    Action, Context, Issue, PermissionClaim, Possession, Rejection, Request, Revocations, Signer, Target,
    Uses, Verified, VerifyingKey, escape_path, limits, mint, verify,
};

use crate::access::{AccessRequest, ElevationResource, NetworkResource};
use crate::granting::Authorized;
use crate::session::{ActiveCapability, Session};
use chaperone_protocol::Failure;
use chaperone_protocol::reason::HOST_ADVICE;

/// Longest elevation, in seconds.
pub const MAX_ELEVATION: u64 = 3_600;
/// Narrower capabilities of one session that hold at once. Whoever gives one to each of its helpers stays far below it; beyond it they
/// are nobody's any more.
pub const MAX_ATTENUATIONS: usize = 1_024;

/// Revocations and use counts; both survive a restart, and when they cannot be read everything is denied.
pub struct Ledgers {
    pub revocations: Revocations,
    pub uses: Uses,
}

impl std::fmt::Debug for Ledgers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledgers").finish_non_exhaustive()
    }
}

/// Who issues: this installation's name and public key.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub name: String,
    pub key: VerifyingKey,
}

impl Ledgers {
    /// Open the ledgers below `dir`, making them on a new installation only.
    ///
    /// # Errors
    /// `ledger_unavailable` when one is missing, damaged or unreadable.
    pub fn open(dir: &Path, now: i64) -> Result<Self, Failure> {
        let now = seconds(now);
        let failed = |e: chaperone_capability::LedgerError| Failure::new("ledger_unavailable", e.to_string());
        let (revoked, used) = (dir.join("revoked"), dir.join("used"));
        let fresh = !dir.join("ledgers").exists();
        if fresh {
            // A first start that was cut short may have made one of them; both are still empty then.
            if !revoked.exists() {
                Revocations::create(&revoked).map_err(failed)?;
            }
            if !used.exists() {
                Uses::create(&used).map_err(failed)?;
            }
            std::fs::write(dir.join("ledgers"), b"1\n")
                .map_err(|e| Failure::new("ledger_unavailable", e.to_string()))?;
        }
        Ok(Self {
            revocations: Revocations::open(&revoked, now).map_err(failed)?,
            uses: Uses::open(&used, now).map_err(failed)?,
        })
    }
}

/// Whether the session's capability, or an elevation, permits the request (step 4).
///
/// # Errors
/// The capability's own reason code: `expired`, `revoked`, `not_permitted`…
pub fn permit(
    session: &Session,
    ledgers: &Ledgers,
    request: &AccessRequest,
    now: i64,
) -> Result<(), Failure> {
    permitted(session, ledgers, request, now, Uses::take)
}

/// Whether what was permitted once is still, without using anything up.
///
/// # Errors
/// As [`permit`].
pub fn still_permits(
    session: &Session,
    ledgers: &Ledgers,
    request: &AccessRequest,
    now: i64,
) -> Result<(), Failure> {
    permitted(session, ledgers, request, now, |_, _, _| Ok(()))
}

/// Counts a use.
type Take = fn(&Uses, &Verified, u64) -> Result<(), Rejection>;

fn permitted(
    session: &Session,
    ledgers: &Ledgers,
    request: &AccessRequest,
    now: i64,
    take: Take,
) -> Result<(), Failure> {
    let action = request.action;
    let targets = request.resource.targets(action)?;
    if targets.is_empty() {
        // What names nothing would be permitted by anything.
        return Err(Failure::new("not_permitted", "the request names nothing that could be permitted"));
    }
    let held = |target| held_by(session, ledgers, (action, target), now, take);
    targets.iter().try_for_each(held).map_err(|refused| match (request.as_file(), request.as_network()) {
        (Some(_), _) => refused.advise(advice(session, action)),
        (_, Some(network)) => not_reached(network, refused),
        (None, None) => refused,
    })
}

fn not_reached(NetworkResource { host, port, .. }: &NetworkResource, refused: Failure) -> Failure {
    let refused = if refused.code == "not_permitted" {
        let shown = if *port == 0 { host.clone() } else { format!("{host} port {port}") };
        Failure::new("host_not_allowed", format!("this session may not reach {shown}"))
    } else {
        refused
    };
    refused.advise(HOST_ADVICE)
}

/// Whether an elevation that still holds permits the action on the path.
#[must_use]
pub fn is_elevated(session: &Session, ledgers: &Ledgers, request: &AccessRequest, now: i64) -> bool {
    let target = Target::Path(request.subject());
    let is_revoked = |jti: &str| ledgers.revocations.is_revoked(jti);
    session.grants.read().iter().any(|held| {
        held.verified.permits(request.action, &target).is_ok()
            && held.verified.recheck(seconds(now), &is_revoked).is_ok()
    })
}

fn held_by(
    session: &Session,
    ledgers: &Ledgers,
    of: (Action, &Target<'_>),
    now: i64,
    take: Take,
) -> Result<(), Failure> {
    let held = session.capability.read().clone();
    let held = held.ok_or_else(|| Failure::new("no_capability", "the session holds no capability yet"))?;
    let first = check(&held, ledgers, of, now, take);
    let Err(refused) = first else { return Ok(()) };
    let grants = session.grants.read().clone();
    if grants.iter().any(|g| check(g, ledgers, of, now, take).is_ok()) {
        return Ok(());
    }
    Err(refused)
}

fn check(
    held: &ActiveCapability,
    ledgers: &Ledgers,
    (action, target): (Action, &Target<'_>),
    now: i64,
    take: Take,
) -> Result<(), Failure> {
    let is_revoked = |jti: &str| ledgers.revocations.is_revoked(jti);
    held.verified.recheck(seconds(now), &is_revoked).map_err(failure)?;
    held.verified.permits(action, target).map_err(failure)?;
    take(&ledgers.uses, &held.verified, seconds(now)).map_err(failure)
}

/// Mint the session's capability from its mounts, bound to the key that its cell-init proved to hold. It lives as long as
/// the profile lets the session live, and at most twelve hours.
///
/// # Errors
/// When the vault does not sign, or the profile's limit cannot be read.
pub fn for_session(
    session: &Session,
    signer: &dyn Signer,
    issuer: &Issuer,
    jkt: &str,
    network: Vec<PermissionClaim>,
    now: i64,
) -> Result<Arc<ActiveCapability>, Failure> {
    let mut permissions = Vec::new();
    for mount in &session.mounts {
        for action in &mount.actions {
            let action: Action = action.parse().map_err(failure)?;
            permissions.push(PermissionClaim::path(action, escape_path(&mount.at)));
            permissions.push(PermissionClaim::path(action, format!("{}/**", escape_path(&mount.at))));
        }
    }
    // To ask for more is everybody's right; the answer is the user's. So is to use the session's own tools.
    permissions.push(PermissionClaim::elevate());
    permissions.push(PermissionClaim::tool("*"));
    permissions.extend(network);
    let limit = session.profile.limits.seconds().map_err(|m| Failure::new("bad_profile", m))?;
    let life = limit.unwrap_or(limits::MAX_TTL).min(limits::MAX_TTL);
    let now = seconds(now);
    issue(session, signer, issuer, jkt, permissions, (now, now + life))
}

/// Mint a short, narrow capability: what the user was shown and granted, and nothing that the caller says.
///
/// # Errors
/// When the vault does not sign, or the permission is not a valid one.
pub fn elevation(
    session: &Session,
    signer: &dyn Signer,
    issuer: &Issuer,
    granted: &Authorized,
    now: i64,
) -> Result<Arc<ActiveCapability>, Failure> {
    let Some(ElevationResource { permissions, seconds: wanted, .. }) = granted.request().as_elevation()
    else {
        return Err(Failure::new("not_permitted", "no elevation was granted"));
    };
    let jkt = session
        .capability
        .read()
        .as_ref()
        .and_then(|h| h.verified.claims().cnf.as_ref().map(|c| c.jkt.clone()));
    let jkt = jkt.ok_or_else(|| Failure::new("no_capability", "the session holds no capability yet"))?;
    let now = seconds(now);
    let until = now + (*wanted).min(MAX_ELEVATION);
    let held = issue(session, signer, issuer, &jkt, permissions.clone(), (now, until))?;
    session.grants.write().push(Arc::clone(&held));
    session.decided.lock().clear();
    Ok(held)
}

fn issue(
    session: &Session,
    signer: &dyn Signer,
    issuer: &Issuer,
    jkt: &str,
    permissions: Vec<PermissionClaim>,
    (now, exp): (u64, u64),
) -> Result<Arc<ActiveCapability>, Failure> {
    let jti = random_id()?;
    let request =
        Request { sub: session.name.clone(), permissions, exp: Some(exp), nbf: None, uses: None, aud: None };
    let issue = Issue { session: &session.id, jti: &jti, now, jkt: Some(jkt) };
    let token = mint(&request, &issue, signer).map_err(|e| Failure::new(e.code(), e.to_string()))?;
    let never = |_: &str| false;
    let context = Context {
        issuer: &issuer.name,
        issuer_key: &issuer.key,
        now,
        session: &session.id,
        possession: Possession::Proven(jkt),
        is_revoked: &never,
    };
    let verified = verify(token.as_str(), &context).map_err(failure)?;
    Ok(Arc::new(ActiveCapability { token: token.into_string(), verified }))
}

/// What the agent may do instead, by what its mounts allow.
fn advice(session: &Session, action: Action) -> String {
    let allowed: Vec<&str> = session
        .mounts
        .iter()
        .filter(|m| m.actions.iter().any(|a| a == action.as_str()))
        .map(|m| m.at.as_str())
        .collect();
    if allowed.is_empty() {
        format!(
            "nothing may be done with {action:?} in this session; ask for it with request_elevation",
            action = action.as_str()
        )
    } else {
        format!(
            "{} is allowed below {}; for elsewhere use request_elevation",
            action.as_str(),
            allowed.join(", ")
        )
    }
}

/// 16 random bytes in hex.
///
/// # Errors
/// When the system has no randomness.
pub fn random_id() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new("no_randomness", e.to_string()))?;
    Ok(hex::encode(bytes))
}

/// A rejection with its reason code.
#[must_use]
pub fn failure(rejection: chaperone_capability::Rejection) -> Failure {
    Failure::new(rejection.code(), rejection.to_string())
}

fn seconds(unix: i64) -> u64 {
    u64::try_from(unix).unwrap_or(0)
}

/// A narrower token from the session's own, for a sub-agent.
///
/// # Errors
/// `widened` when it would give more than the session has, `too_many_attenuations` where as many hold as may.
pub fn attenuated(
    session: &Session,
    signer: &dyn Signer,
    narrowing: &chaperone_capability::Narrowing,
    holder: Option<&str>,
    now: i64,
) -> Result<(String, String), Failure> {
    let held = session.capability.read().clone();
    let held = held.ok_or_else(|| Failure::new("no_capability", "the session holds no capability yet"))?;
    let now = seconds(now);
    let expires = narrowing.exp.unwrap_or(held.verified.claims().exp);
    // Taken before it is signed, so that two at once do not both get the last place.
    take_place(&mut session.attenuations.lock(), now, expires)?;
    let made = random_id().and_then(|jti| {
        let holder = chaperone_capability::Holder { jti: &jti, now, jkt: holder };
        let token = chaperone_capability::attenuate(&held.token, narrowing, &holder, signer)
            .map_err(|e| Failure::new(e.code(), e.to_string()))?;
        Ok((token.into_string(), jti))
    });
    if made.is_err() {
        let mut places = session.attenuations.lock();
        if let Some(at) = places.iter().position(|until| *until == expires) {
            places.swap_remove(at);
        }
    }
    made
}

/// A place for one more that holds until it expires.
fn take_place(places: &mut Vec<u64>, now: u64, expires: u64) -> Result<(), Failure> {
    if places.len() >= MAX_ATTENUATIONS {
        places.retain(|until| *until > now);
    }
    if places.len() >= MAX_ATTENUATIONS {
        let first = places.iter().min().map_or(0, |until| until - now);
        let shown = format!("{MAX_ATTENUATIONS} narrower capabilities of this session hold already");
        let advice = format!(
            "use one that there is, make them with fewer seconds, or wait {first} s for the first to expire"
        );
        return Err(Failure::new("too_many_attenuations", shown).advise(advice));
    }
    places.push(expires);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn as_many_hold_as_may_and_the_next_one_when_one_expires() {
        let mut places = Vec::new();
        for n in 0..MAX_ATTENUATIONS as u64 {
            take_place(&mut places, 1_000, 1_010 + n).unwrap();
        }
        let refused = take_place(&mut places, 1_000, 9_000).unwrap_err();
        assert_eq!(refused.code, "too_many_attenuations");
        assert!(refused.advice.unwrap().contains("wait 10 s"));
        take_place(&mut places, 1_010, 9_000).unwrap();
        assert_eq!(take_place(&mut places, 1_010, 9_000).unwrap_err().code, "too_many_attenuations");
        assert_eq!(places.len(), MAX_ATTENUATIONS);
    }
}

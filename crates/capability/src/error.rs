//! Every way in which a token can be refused, with a stable reason code.

/// Why a token, or one action under it, was refused. [`Rejection::code`] is stable and listed in `docs/capabilities.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the capability expired at {exp}; ask the broker for a new one")]
    Expired { exp: u64 },
    #[error("the capability is not valid before {nbf}")]
    NotYetValid { nbf: u64 },
    #[error("the capability was issued for another session")]
    WrongAudience,
    #[error("the capability was issued by another installation")]
    WrongIssuer,
    #[error("a signature of the capability does not verify")]
    BadSignature,
    #[error("the capability {jti}, or one that it was made from, was revoked")]
    Revoked { jti: String },
    #[error("link {link} gives more than its parent: {what}")]
    Widened { link: usize, what: &'static str },
    #[error("the capability has more than {} links", crate::limits::MAX_LINKS)]
    TooDeep,
    #[error("the capability is malformed: {0}")]
    Malformed(&'static str),
    #[error("the channel has not proved that it holds the capability's key")]
    NoProof,
    #[error("the capability {jti} has no uses left")]
    UsedUp { jti: String },
    #[error("the capability does not permit {action}")]
    NotPermitted { action: &'static str },
    #[error("the object's name is not absolute and normalised, so no permission is matched against it")]
    NotNormalised,
    #[error("the ledger of uses or revocations cannot be read or written; everything is denied until it can")]
    LedgerUnavailable,
}

impl Rejection {
    /// The stable, snake_case reason code that logs and agents see.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::BadSignature => "bad_signature",
            Self::Revoked { .. } => "revoked",
            Self::Widened { .. } => "widened",
            Self::TooDeep => "too_deep",
            Self::Malformed(_) => "malformed",
            Self::NoProof => "no_proof",
            Self::UsedUp { .. } => "used_up",
            Self::NotPermitted { .. } => "not_permitted",
            Self::NotNormalised => "not_normalised",
            Self::LedgerUnavailable => "ledger_unavailable",
        }
    }
}

/// The key could not sign: the vault is gone, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signing key could not be used: {0}")]
pub struct SignError(pub String);

/// Why a token was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// What was asked for breaks a rule that verification would enforce too.
    #[error(transparent)]
    Refused(#[from] Rejection),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the signer does not hold the key that the parent capability names")]
    NotTheHolder,
}

impl MintError {
    /// The stable reason code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(rejection) => rejection.code(),
            Self::Sign(_) => "sign_failed",
            Self::NotTheHolder => "not_the_holder",
        }
    }
}

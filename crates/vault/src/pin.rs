//! The PIN: the first second factor. Argon2id, and a wait that doubles with each wrong try and survives restarts.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use crate::error::VaultError;
use crate::sealed::random;

/// Bytes of a PIN: six digits withstand the rate limit for years; the upper bound keeps frames small.
const LENGTH: std::ops::RangeInclusive<usize> = 6..=128;
/// Argon2id: 64 MiB, three passes, about 0.3 s: what a stolen state file costs to try.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// Wrong tries before the first wait: people mistype.
const FREE_TRIES: u32 = 3;
/// Seconds of the first wait, and of the longest.
const FIRST_WAIT: u64 = 2;
const LONGEST_WAIT: u64 = 3600;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinRecord {
    hash: String,
    failures: u32,
    last_try: u64,
}

impl PinRecord {
    pub(crate) fn new(pin: &str) -> Result<Self, VaultError> {
        if !LENGTH.contains(&pin.len()) {
            return Err(VaultError::PinLength);
        }
        let salt = SaltString::encode_b64(&random::<16>()?).map_err(|_| VaultError::Randomness)?;
        let hash = argon2()?.hash_password(pin.as_bytes(), &salt).map_err(|_| VaultError::PinLength)?;
        Ok(Self { hash: hash.to_string(), failures: 0, last_try: 0 })
    }

    /// The record with one more failure, to be stored before the PIN is looked at; an error while the wait lasts.
    pub(crate) fn begin_try(&self, now: u64) -> Result<Self, VaultError> {
        let wait = match self.failures.checked_sub(FREE_TRIES) {
            None => 0,
            Some(over) => FIRST_WAIT.saturating_mul(2u64.saturating_pow(over)).min(LONGEST_WAIT),
        };
        // A clock that went backwards must not shorten the wait, nor lengthen it beyond once over.
        let since = now.checked_sub(self.last_try);
        if wait > 0 && since.is_none_or(|since| since < wait) {
            return Err(VaultError::PinLocked { seconds: wait - since.unwrap_or(0) });
        }
        Ok(Self { failures: self.failures.saturating_add(1), last_try: now, ..self.clone() })
    }

    pub(crate) fn matches(&self, pin: &str) -> Result<bool, VaultError> {
        let hash = PasswordHash::new(&self.hash)
            .map_err(|_| VaultError::Unsealable { record: "the PIN".to_owned() })?;
        Ok(pin.len() <= *LENGTH.end() && argon2()?.verify_password(pin.as_bytes(), &hash).is_ok())
    }

    pub(crate) fn after_success(&self) -> Self {
        Self { failures: 0, ..self.clone() }
    }
}

fn argon2() -> Result<Argon2<'static>, VaultError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| VaultError::Protocol("Argon2 parameters"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(failures: u32, last_try: u64) -> PinRecord {
        PinRecord { hash: String::new(), failures, last_try }
    }

    #[test]
    fn the_wait_doubles_with_each_wrong_try_up_to_an_hour() {
        for (failures, wait) in [
            (0, 0),
            (2, 0),
            (3, 2),
            (4, 4),
            (5, 8),
            (10, 256),
            (14, 3600),
            (40, 3600),
            (70, 3600),
            (u32::MAX, 3600),
        ] {
            let at = record(failures, 1000);
            assert!(at.begin_try(1000 + wait).is_ok(), "{failures}");
            if wait > 0 {
                assert!(
                    matches!(at.begin_try(1000 + wait - 1), Err(VaultError::PinLocked { seconds: 1 })),
                    "{failures} failures wait {wait} s"
                );
            }
        }
    }

    #[test]
    fn a_clock_set_back_does_not_end_the_wait() {
        assert!(matches!(record(5, 1000).begin_try(10), Err(VaultError::PinLocked { seconds: 8 })));
    }
}

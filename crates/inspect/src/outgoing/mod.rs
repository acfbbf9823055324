//! What leaves a cell: bodies, addresses, headers, names, messages. Pure functions over bytes that an attacker chose.
//!
//! Everything is read as it is and as each encoding that it may be in, to a depth of five, within
//! a budget of work. What is not read because a limit was reached is said in [`Seen::unread`], never passed in silence.

mod covert;
mod decode;
mod escape;
mod fingerprint;
mod fold;
mod keyed;
mod lists;
mod look;
mod mirror;
mod packed;
mod runs;
mod seen;
mod stream;
mod values;
mod winnow;

pub use fingerprint::{Fingerprints, Hit};
pub use keyed::{KeyedSecrets, RegisterError, SecretHit};
pub use seen::{Known, Part, Passage, Place, Registered, Seen, Unread};
pub use stream::{StreamLook, WHOLE};

use crate::Detectors;

/// Looks at what leaves.
#[derive(Debug, Clone)]
pub struct Outgoing {
    detectors: Detectors,
}

impl Outgoing {
    #[must_use]
    pub fn new(detectors: Detectors) -> Outgoing {
        Outgoing { detectors }
    }

    /// What it looks with.
    #[must_use]
    pub fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    /// Looks at the parts of one request, or at some messages. Each part is held in memory by the caller; those over [`WHOLE`]
    /// bytes belong in a [`StreamLook`].
    #[must_use]
    pub fn look(&self, parts: &[Part<'_>], known: &Known<'_>) -> Seen {
        let mut look = look::Look::new(&self.detectors, *known);
        parts.iter().for_each(|p| look.part(p));
        look.together(parts);
        look.finish()
    }
}

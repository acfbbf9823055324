//! What leaves a cell: bodies, addresses, headers, names, messages. Pure functions over bytes that an attacker chose.
//!
//! Everything is read as it is and as each encoding that it may be in, to a depth of five, within
//! a budget of work. What is not read because a limit was reached is said in [`Seen::unread`], never passed in silence.

mod also;
mod columns;
mod covert;
mod decode;
mod fingerprint;
mod framed;
mod glued;
mod in_order;
mod keyed;
mod labelled;
mod look;
mod mirror;
mod packed;
mod pieces;
mod said;
mod scattered;
mod seen;
mod stream;
mod values;
mod winnow;
mod zip_span;

pub use also::also_says;
pub use columns::{Column, columns, text_of_number};
pub use fingerprint::{Fingerprints, Hit};
pub use in_order::{InOrder, Progress};
pub use keyed::{KeyedSecrets, RegisterError, SecretHit};
pub use labelled::labelled;
pub use said::said;
pub use scattered::{Covered, Scattered};
pub use seen::{Known, Part, Passage, Registered, Seen, Unread};
pub use stream::{StreamLook, WHOLE};

use crate::{Detectors, Spot};

/// Looks at what leaves.
#[derive(Debug, Clone)]
pub struct Outgoing {
    detectors: Detectors,
    /// The same without what a place excuses.
    leaving: Detectors,
}

impl Outgoing {
    #[must_use]
    pub fn new(detectors: Detectors) -> Outgoing {
        Outgoing { leaving: detectors.leaving(), detectors }
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
        let mut look = look::Look::new(&self.leaving, *known);
        parts.iter().for_each(|p| look.part(p));
        look.together(parts);
        let pieces = pieces::of_request(&look, parts);
        if pieces.len() > 1 {
            look.pieces(&pieces, Spot::Request);
        }
        look.finish()
    }

    /// Looks at messages, and at all of them as if they were one; those before the newest were looked at when they came.
    #[must_use]
    pub fn look_at_messages(&self, before: &[&[u8]], newest: &[&[u8]], known: &Known<'_>) -> Seen {
        let part = |bytes| Part { spot: Spot::Message, bytes, content_type: None };
        let mut look = look::Look::new(&self.leaving, *known);
        newest.iter().for_each(|m| look.part(&part(m)));
        let all: Vec<Part<'_>> = before.iter().chain(newest).map(|m| part(m)).collect();
        look.together(&all);
        look.finish()
    }

    /// Looks at values that were sent one after the other, as if they were one. Each was looked at by itself before.
    #[must_use]
    pub fn look_at_pieces(&self, pieces: &[&[u8]], known: &Known<'_>) -> Seen {
        let mut look = look::Look::new(&self.leaving, *known);
        look.pieces(pieces, Spot::Requests);
        look.finish()
    }

    /// Whether these bytes, as they are, hold a key, or a value that is known.
    #[must_use]
    pub fn holds_secret(&self, bytes: &[u8], known: &Known<'_>) -> bool {
        look::Look::new(&self.leaving, *known).holds_secret(bytes)
    }
}

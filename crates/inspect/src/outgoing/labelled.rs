//! Passwords and keys of what was read: where they leave without the label that stood before them, nothing else tells them from words.

use crate::report::alone;
use crate::{Certainty, Detectors, scan};

/// So long is no word, whatever letters it has.
const LONG: usize = 16;

/// The secrets of a text that are more likely one than not.
#[must_use]
pub fn labelled<'a>(detectors: &Detectors, text: &'a [u8]) -> Vec<&'a [u8]> {
    let secrets = scan(detectors, text).into_iter().filter(|found| {
        let info = detectors.info(found.detector);
        let worth = found.worth();
        info.category == "secret"
            && !worth.filters.spares()
            && alone(info.certainty, worth) >= Certainty::Likely
    });
    let value = |start: u64, end: u64| text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
    secrets.filter_map(|found| value(found.start, found.end)).filter(|value| is_telling(value)).collect()
}

/// Whether it is not a word or a number, which stand everywhere.
fn is_telling(value: &[u8]) -> bool {
    let classes: [fn(&u8) -> bool; 4] =
        [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit, |b| !b.is_ascii_alphanumeric()];
    value.len() >= LONG || classes.iter().filter(|class| value.iter().any(class)).count() > 1
}

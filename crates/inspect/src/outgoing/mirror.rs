//! Text that was turned: reversed, or in rot13. Only secrets are looked for in it: in personal data the turned form of a number is a
//! number as well.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::packed::Searcher;
use serde::Deserialize;

use crate::encodings::readable::APART;
use crate::encodings::rot13;
use crate::place::Step;

/// Bytes on either side of a sign of turned text that are looked at; the longest common tokens fit.
const AROUND: usize = 384;
const PACK: &str = "packs/inspection/beginnings.toml";

/// How secrets begin, or what names them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beginnings {
    tokens: Vec<String>,
    names: Vec<String>,
}

static SIGNS: LazyLock<Beginnings> = LazyLock::new(|| chaperone_packs::table(PACK));

/// Characters behind the start of a token that make it one, though its end is missing.
const LEAST_FRAGMENT: usize = 12;

/// The neighbourhoods of turned signs, turned back: reversed ones, then those in rot13.
pub(super) fn decode(text: &[u8]) -> [(Step, Vec<u8>); 2] {
    static TURNED: OnceLock<Option<Searcher>> = OnceLock::new();
    let turned = |s: &String| [s.bytes().rev().collect::<Vec<u8>>(), s.bytes().map(rot13).collect()];
    let search =
        TURNED.get_or_init(|| Searcher::new(SIGNS.tokens.iter().chain(&SIGNS.names).flat_map(turned)));
    let mut out = [(Step::Reversed, Vec::new()), (Step::Rot13, Vec::new())];
    let mut done = [0; 2];
    for found in search.iter().flat_map(|s| s.find_iter(text)) {
        let which = found.pattern().as_usize() % 2;
        let (Some((_, out)), Some(done)) = (out.get_mut(which), done.get_mut(which)) else { continue };
        if found.start() < *done {
            continue;
        }
        let from = found.start().saturating_sub(AROUND);
        let to = (found.end() + AROUND).min(text.len());
        let near = text.get(from..to).unwrap_or_default();
        if which == 0 {
            out.extend(near.iter().rev());
        } else {
            out.extend(near.iter().map(|b| rot13(*b)));
        }
        out.extend_from_slice(APART);
        *done = to;
    }
    out
}

/// The places in `text` where a token begins, wherever in a word; for text that was put together from pieces.
pub(super) fn tokens(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for found in starts().into_iter().flat_map(|s| s.find_iter(text)) {
        let to = (found.start() + AROUND).min(text.len());
        out.extend_from_slice(text.get(found.start()..to).unwrap_or_default());
        out.extend_from_slice(APART);
    }
    out
}

/// Where the first piece of a token lies of which the rest is missing or elsewhere: its start, and enough behind it that no word
/// explains. Samples of documentation count, which detectors leave alone in what is read: nobody needs to send them.
pub(super) fn fragment(text: &[u8]) -> Option<(usize, usize)> {
    let word = |b: &&u8| b.is_ascii_alphanumeric();
    starts()?.find_iter(text).find_map(|found| {
        let before = found.start().checked_sub(1).and_then(|i| text.get(i));
        let rest = text.get(found.end()..).unwrap_or_default();
        let length = rest.iter().take(256).take_while(word).count();
        let value = rest.get(..length).unwrap_or_default();
        // `AKIA` and the like are of capitals and digits alone; the others go on in any case.
        let capitals =
            text.get(found.start()).is_some_and(u8::is_ascii_uppercase) && found.end() - found.start() == 4;
        let fits = !capitals || value.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let different = value.iter().fold(0u128, |s, b| s | 1 << (b & 127)).count_ones() as usize;
        (before.is_none_or(|b| !b.is_ascii_alphanumeric())
            && length >= LEAST_FRAGMENT
            && fits
            && different * 2 > LEAST_FRAGMENT
            && !value.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"your"))
            && (value.iter().any(u8::is_ascii_digit) || value.iter().any(u8::is_ascii_uppercase)))
        .then_some((found.start(), found.end() + length))
    })
}

fn starts() -> Option<&'static Searcher> {
    static STARTS: OnceLock<Option<Searcher>> = OnceLock::new();
    STARTS.get_or_init(|| Searcher::new(&SIGNS.tokens)).as_ref()
}

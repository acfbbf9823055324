//! What text says when it is read otherwise than it is written: with typographic dashes and blanks, entities, base64, hex.
//!
//! Generic secrets are left out: a reading is one more chance for noise to look random, and keys that are known by their form
//! are found all the same.

use crate::encodings::{reading, runs};
use crate::place::Step;
use crate::{DetectorId, Detectors, Match, scan};

/// Packed parts in base64 kept of one item, in bytes together; protects memory. More is an error of the item.
const MOST_PACKED: usize = 16 << 20;
/// Work for each byte that decoding runs may cost.
const WORK_PER_BYTE: u64 = 8;

/// What `text` says beyond its own bytes where it is written otherwise than it is read; in order of start.
pub(super) fn read_otherwise(detectors: &Detectors, text: &[u8]) -> Vec<Match> {
    let Some(reading) = reading::read(text) else { return Vec::new() };
    let back = |m: Match| {
        let origin = reading.origin(m.start as usize..m.end as usize)?;
        (counts(detectors, m.detector) && !m.filters.spares()).then_some(Match {
            start: origin.start as u64,
            end: origin.end as u64,
            ..m
        })
    };
    let mut found: Vec<Match> = scan(detectors, &reading.text).into_iter().filter_map(back).collect();
    found.sort_by_key(|m| (m.start, m.end));
    found
}

/// All that `text` holds, as it is written and where it is written otherwise; those of the latter behind the others.
pub(super) fn matches(detectors: &Detectors, text: &[u8]) -> Vec<Match> {
    let mut all = scan(detectors, text);
    let otherwise: Vec<Match> = beyond(&all, read_otherwise(detectors, text)).collect();
    all.extend(otherwise);
    all
}

/// Matches that `plain` does not hold already, in any part.
pub(super) fn beyond(plain: &[Match], otherwise: Vec<Match>) -> impl Iterator<Item = Match> {
    otherwise.into_iter().filter(|o| {
        let near = plain.partition_point(|p| p.end <= o.start);
        let rest = plain.get(near..).unwrap_or_default();
        rest.iter().find(|p| !p.filters.spares()).is_none_or(|p| p.start >= o.end)
    })
}

/// What runs of base64, base32 and hex say.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) found: Vec<(Step, Match, Vec<u8>)>,
    /// Something packed, decoded.
    pub(super) packed: Vec<Vec<u8>>,
    /// More was packed than is kept.
    pub(super) over: bool,
}

pub(super) fn decode(detectors: &Detectors, text: &[u8]) -> Encoded {
    let mut decoded = runs::decode_as_written(text, text.len() as u64 * WORK_PER_BYTE);
    // Base64 in base64: what Kubernetes makes of a value that was encoded already.
    let again = runs::decode_as_written(&decoded.base64, decoded.base64.len() as u64 * WORK_PER_BYTE);
    decoded.base64.extend_from_slice(&again.base64);
    decoded.packed.extend(again.packed);
    let mut out = Encoded::default();
    for (how, bytes) in
        [(Step::Base64, &decoded.base64), (Step::Base32, &decoded.base32), (Step::Hex, &decoded.hex)]
    {
        let found = if bytes.is_empty() { Vec::new() } else { scan(detectors, bytes) };
        for m in found {
            if counts(detectors, m.detector) && !m.filters.spares() {
                let value = bytes.get(m.start as usize..m.end as usize).unwrap_or_default();
                out.found.push((how, m, value.to_vec()));
            }
        }
    }
    let mut held = 0;
    for packed in decoded.packed {
        held += packed.len();
        if held > MOST_PACKED {
            out.over = true;
            break;
        }
        out.packed.push(packed);
    }
    out
}

fn counts(detectors: &Detectors, id: DetectorId) -> bool {
    !detectors.info(id).name.starts_with("generic_")
}

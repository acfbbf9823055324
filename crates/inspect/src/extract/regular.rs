//! Tables whose columns are places: each line, or each record of a fixed length, has a number of the same kind at the same place,
//! whatever it touches there. One line says little (one in ten numbers passes a checksum); nearly all of them say it for certain.

use std::collections::{HashMap, HashSet};

use crate::encodings::long_stretches;
use crate::scan::Filter;
use crate::validate::by_name;
use crate::{DetectorId, Detectors, Filters, Match};

/// Different values from which a place holds them.
const LEAST: usize = 5;
/// Lengths of records without line ends that are tried, and how many.
const RECORDS: std::ops::Range<usize> = 17..4096;
const MOST_RECORDS: usize = 4;
/// Lines longer than this on the average are none.
const LONGEST_LINE: usize = 4096;
/// Places looked at in one stretch, those with most hits first; protects time.
const MOST_PLACES: usize = 64;
/// Digits in a row that are taken apart; longer ones are no table.
const LONGEST_RUN: usize = 512;

/// A kind of number of a fixed length.
struct Kind {
    id: DetectorId,
    length: usize,
    fits: fn(&[u8]) -> bool,
    /// Whether bytes have the form alone.
    shaped: fn(&[u8]) -> bool,
}

/// Where numbers stand at the same place of nearly all records of a text; in order of start.
pub(super) fn find(detectors: &Detectors, text: &[u8]) -> Vec<Match> {
    let kinds = kinds(detectors);
    let hits = hits(&kinds, text);
    if hits.len() < LEAST {
        return Vec::new();
    }
    let lines: Vec<usize> =
        std::iter::once(0).chain(memchr::memchr_iter(b'\n', text).map(|n| n + 1)).collect();
    let mut found = Vec::new();
    if lines.len() >= LEAST && text.len() / lines.len() <= LONGEST_LINE {
        found = at_places(&kinds, text, &hits, &lines);
    } else {
        for length in lengths(&hits) {
            let records: Vec<usize> = (0..text.len()).step_by(length).collect();
            found.extend(at_places(&kinds, text, &hits, &records));
        }
    }
    found.sort_by_key(|m| (m.start, std::cmp::Reverse(m.end)));
    found.dedup_by_key(|m| m.start);
    found
}

fn kinds(detectors: &Detectors) -> Vec<Kind> {
    let digits: fn(&[u8]) -> bool = |b| b.iter().all(u8::is_ascii_digit);
    let dashed: fn(&[u8]) -> bool = |b| {
        b.iter().enumerate().all(|(i, b)| if matches!(i, 3 | 6) { *b == b'-' } else { b.is_ascii_digit() })
    };
    let card: fn(&[u8]) -> bool = |b| by_name("card").is_some_and(|check| check(b));
    let person: fn(&[u8]) -> bool = |b| {
        let plain: Vec<u8> = b.iter().copied().filter(u8::is_ascii_digit).collect();
        by_name("us_ssn").is_some_and(|check| check(&plain))
    };
    [("credit_card", 16, card, digits), ("credit_card", 15, card, digits), ("us_ssn", 11, person, dashed)]
        .into_iter()
        .filter_map(|(name, length, fits, shaped)| {
            Some(Kind { id: detectors.0.named(name)?, length, fits, shaped })
        })
        .collect()
}

/// Records that begin alike, and the hits with the record that each stands in.
type Alike = (Vec<usize>, Vec<(usize, Hit)>);

/// A number of a kind, and where it begins.
type Hit = (usize, usize);

/// Every place where a number of one of the kinds could begin, in whatever it stands.
fn hits(kinds: &[Kind], text: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let Some(shortest) = kinds.iter().map(|k| k.length).min() else { return hits };
    for run in long_stretches(text, shortest, |b| b.is_ascii_digit() || b == b'-') {
        let dashes = text.get(run.clone()).unwrap_or_default().iter().take_while(|b| **b == b'-').count();
        let (start, end) = (run.start + dashes, run.end);
        if end - start > LONGEST_RUN {
            continue;
        }
        for from in start..end {
            for (kind, k) in kinds.iter().enumerate() {
                if from + k.length <= end
                    && let Some(window) = text.get(from..from + k.length)
                    && (k.shaped)(window)
                    && (k.fits)(window)
                {
                    hits.push((from, kind));
                }
            }
        }
    }
    hits
}

/// The distances at which hits follow each other most often.
fn lengths(hits: &[Hit]) -> Vec<usize> {
    let mut distances: HashMap<usize, usize> = HashMap::new();
    for (i, (at, kind)) in hits.iter().enumerate() {
        for (next, _) in hits.iter().skip(i + 1).take(4).filter(|(_, k)| k == kind) {
            *distances.entry(next - at).or_default() += 1;
        }
    }
    let mut lengths: Vec<(usize, usize)> =
        distances.into_iter().filter(|(d, _)| RECORDS.contains(d)).collect();
    lengths.sort_unstable_by_key(|(d, n)| (std::cmp::Reverse(*n), *d));
    lengths.into_iter().take(MOST_RECORDS).map(|(d, _)| d).collect()
}

/// The hits at places where nearly all records that have a number there have one of the kind: of all records, or of those that begin
/// alike, as records of one type do.
fn at_places(kinds: &[Kind], text: &[u8], hits: &[Hit], records: &[usize]) -> Vec<Match> {
    let record_of =
        |at: usize| records.partition_point(|r| *r <= at).checked_sub(1).and_then(|r| records.get(r));
    let placed: Vec<(usize, Hit)> =
        hits.iter().filter_map(|(at, kind)| record_of(*at).map(|r| (*r, (*at, *kind)))).collect();
    let mut found = agreeing(kinds, text, &placed, records);
    let mut types: HashMap<Option<&u8>, Alike> = HashMap::new();
    for record in records {
        types.entry(text.get(*record)).or_default().0.push(*record);
    }
    for hit in placed {
        types.entry(text.get(hit.0)).or_default().1.push(hit);
    }
    for (records, placed) in
        types.values().filter(|(records, placed)| records.len().min(placed.len()) >= LEAST)
    {
        found.extend(agreeing(kinds, text, placed, records));
    }
    found
}

fn agreeing(kinds: &[Kind], text: &[u8], placed: &[(usize, Hit)], records: &[usize]) -> Vec<Match> {
    let mut places: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
    for (record, (at, kind)) in placed {
        places.entry((at - record, *kind)).or_default().push(*at);
    }
    let mut places: Vec<((usize, usize), Vec<usize>)> =
        places.into_iter().filter(|(_, hits)| hits.len() >= LEAST).collect();
    places.sort_unstable_by_key(|(place, hits)| (std::cmp::Reverse(hits.len()), *place));
    let mut found = Vec::new();
    for ((place, kind), hits) in places.into_iter().take(MOST_PLACES) {
        let Some(kind) = kinds.get(kind) else { continue };
        let window = |at: usize| text.get(at..at + kind.length);
        let different: HashSet<&[u8]> = hits.iter().filter_map(|at| window(*at)).collect();
        let shaped = records.iter().filter(|r| window(**r + place).is_some_and(kind.shaped)).count();
        if different.len() >= LEAST && hits.len() * 10 >= shaped * 8 && hits.len() * 10 >= records.len() * 3 {
            found.extend(hits.iter().map(|at| Match {
                detector: kind.id,
                start: *at as u64,
                end: (at + kind.length) as u64,
                confidence: 0.97,
                filters: Filters::of(Filter::List),
            }));
        }
    }
    found
}

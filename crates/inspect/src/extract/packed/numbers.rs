//! Cards in binary without a form: whole numbers and floats of eight bytes, of either order, at the same distance from each other. One in
//! ten numbers of sixteen digits passes the checksum; where nearly all that stand at that distance do, they are what they look like.

use std::collections::{HashMap, HashSet};

use super::super::batch::Sink;
use crate::Filters;
use crate::place::FileSpot;
use crate::report::NO_COLUMN;
use crate::scan::{Filter, Worth};
use crate::validate::by_name;

/// Different cards from which they are no chance.
const LEAST: usize = 5;
/// Distances that are tried, and how many of them.
const DISTANCES: std::ops::RangeInclusive<usize> = 8..=4096;
const MOST_DISTANCES: usize = 3;
/// Numbers of a counter from one that passes the checksum to the next.
const MOST_BETWEEN: usize = 20;
/// Numbers of a stretch that are compared; protects memory.
const MOST: usize = 1 << 18;

/// A number as long as a card, and where it stands.
#[derive(Clone, Copy)]
struct Candidate {
    at: usize,
    number: u64,
    /// It passes the checksum.
    is_card: bool,
}

/// Bytes that are looked at together.
const STRETCH: usize = 1 << 20;
/// Cards that are counted of one stream; protects memory.
const MOST_FOUND: usize = 1 << 20;

/// Looks for them in a stream.
#[derive(Default)]
pub(super) struct Numbers {
    held: Vec<u8>,
    found: Vec<u64>,
}

impl Numbers {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= STRETCH {
            self.look();
        }
    }

    fn look(&mut self) {
        let left = MOST_FOUND.saturating_sub(self.found.len());
        self.found.extend(find(&self.held).into_iter().take(left));
        self.held.clear();
    }

    /// Counts what was found.
    pub(super) fn finish(mut self, sink: &mut Sink<'_>) {
        self.look();
        give(self.found, sink);
    }
}

/// Counts the cards that stand in `bytes`.
pub(super) fn count(bytes: &[u8], sink: &mut Sink<'_>) {
    give(find(bytes), sink);
}

fn give(cards: Vec<u64>, sink: &mut Sink<'_>) {
    let Some(id) = sink.detectors.ids().find(|id| sink.detectors.info(*id).name == "credit_card") else {
        return;
    };
    for card in cards {
        let worth = Worth { confidence: 0.97, filters: Filters::of(Filter::List) };
        let place = |_| FileSpot::PackedNumbers.into();
        sink.tally.add(sink.detectors, (NO_COLUMN, id), worth, card.to_string().as_bytes(), None, place);
    }
}

fn find(bytes: &[u8]) -> Vec<u64> {
    let mut forms: [Vec<Candidate>; 4] = Default::default();
    let mut at = 0;
    while let Some(whole) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let here = at;
        at += 1;
        if *whole == [0; 8] {
            // No number begins before the last seven zeros.
            let rest = bytes.get(here + 8..).unwrap_or_default();
            let Some(zeros) = rest.iter().position(|b| *b != 0) else { break };
            at = here + 1 + zeros;
            continue;
        }
        // The top bytes of a number of 15 or 16 digits, and of a float of that size.
        let [low, second, .., before, high] = *whole;
        let may_be = |top: u8, next: u8| matches!((top, next), (0, 1..=0x23) | (0x42 | 0x43, _));
        if !may_be(high, before) && !may_be(low, second) {
            continue;
        }
        let (little, big) = (u64::from_le_bytes(*whole), u64::from_be_bytes(*whole));
        let real =
            |bits: u64| Some(f64::from_bits(bits)).filter(|r| r.fract() == 0.0 && *r > 0.0).map(|r| r as u64);
        let forms_of = [
            (high == 0).then_some(little),
            (low == 0).then_some(big),
            if high == 0x43 || high == 0x42 { real(little) } else { None },
            if low == 0x43 || low == 0x42 { real(big) } else { None },
        ];
        for (form, number) in forms.iter_mut().zip(forms_of) {
            if let Some(number) = number.filter(|n| (100_000_000_000_000..10_000_000_000_000_000).contains(n))
                && form.len() < MOST
            {
                form.push(Candidate { at: here, number, is_card: is_card(number) });
            }
        }
    }
    forms.iter().flat_map(|form| of_form(form)).collect()
}

/// Cards that begin with 1 are as long as the addresses of memory, and nobody has one.
fn is_card(number: u64) -> bool {
    let digits = number.to_string();
    !digits.starts_with('1') && by_name("card").is_some_and(|check| check(digits.as_bytes()))
}

fn of_form(candidates: &[Candidate]) -> Vec<u64> {
    let cards: Vec<Candidate> = candidates.iter().copied().filter(|c| c.is_card).collect();
    if cards.len() < LEAST {
        return Vec::new();
    }
    let mut distances: HashMap<usize, usize> = HashMap::new();
    for (i, card) in cards.iter().enumerate() {
        for next in cards.iter().skip(i + 1).take(3) {
            *distances.entry(next.at - card.at).or_default() += 1;
        }
    }
    let mut distances: Vec<(usize, usize)> =
        distances.into_iter().filter(|(d, _)| DISTANCES.contains(d)).collect();
    distances.sort_unstable_by_key(|(d, n)| (std::cmp::Reverse(*n), *d));
    for (distance, _) in distances.into_iter().take(MOST_DISTANCES) {
        let mut phases: HashMap<usize, (usize, Vec<Candidate>)> = HashMap::new();
        for candidate in candidates {
            let (all, cards) = phases.entry(candidate.at % distance).or_default();
            *all += 1;
            cards.extend(candidate.is_card.then_some(*candidate));
        }
        let found: Vec<u64> = phases
            .into_values()
            .filter(|(all, cards)| {
                let different: HashSet<u64> = cards.iter().map(|c| c.number).collect();
                cards.len() * 10 >= all * 8
                    && different.len() >= LEAST
                    && is_filled(cards, distance)
                    && end_differently(&different)
                    && !is_counted(candidates, cards, distance)
            })
            .flat_map(|(_, cards)| cards.into_iter().map(|c| c.number))
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Whether most records from the first card to the last have one: cards that only happen to stand a multiple of a distance apart are
/// few among many places.
fn is_filled(cards: &[Candidate], distance: usize) -> bool {
    let (Some(first), Some(last)) = (cards.first(), cards.last()) else { return false };
    cards.len() * 10 >= ((last.at - first.at) / distance + 1) * 7
}

/// Whether their last bytes differ, as those of numbers do: where two fields beside each other are read as one, one of them is often the
/// same, or zero.
fn end_differently(cards: &HashSet<u64>) -> bool {
    let last: HashSet<u8> = cards.iter().map(|number| number.to_le_bytes()[0]).collect();
    last.len() * 2 > cards.len().min(128)
}

/// Whether the numbers are of a counter: of each ten in a row one passes the checksum, and the others stand between those that do.
fn is_counted(candidates: &[Candidate], cards: &[Candidate], distance: usize) -> bool {
    let at = |at: usize| candidates.binary_search_by_key(&at, |c| c.at).ok().and_then(|i| candidates.get(i));
    let is_between = |pair: &[Candidate], step: usize| {
        let [from, to] = pair else { return false };
        let next = at(from.at + step);
        to.at - from.at == distance
            && next.is_some_and(|n| {
                (from.number < n.number && n.number < to.number)
                    || (from.number > n.number && n.number > to.number)
            })
    };
    let pairs = cards.len().saturating_sub(1);
    (2..=MOST_BETWEEN).filter(|parts| distance.is_multiple_of(*parts)).any(|parts| {
        let step = distance / parts;
        cards.windows(2).filter(|pair| is_between(pair, step)).count() * 2 > pairs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of so many bytes with these numbers at their beginning.
    fn records(size: usize, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let record = |number: u64| {
            let mut bytes = number.to_le_bytes().to_vec();
            bytes.resize(size, 0xff);
            bytes
        };
        numbers.into_iter().flat_map(record).collect()
    }

    #[test]
    fn fields_beside_each_other_are_no_cards() {
        // A table of a database: a number of an object, shifted, behind a length.
        let first = 575_147_661_003_776;
        let fields: Vec<u64> = (0..4000).map(|n| first + n * 256).filter(|n| is_card(*n)).take(40).collect();
        assert_eq!(find(&records(88, fields)), Vec::<u64>::new());
        // Cards by chance, far from each other.
        let card = |n: u64| (4_000_000_000_000_000 + n * 7_919..).find(|n| is_card(*n)).unwrap();
        let mut bytes = vec![0xff; 4000];
        for (n, at) in [0, 400, 960, 1_600, 2_800, 3_600].into_iter().enumerate() {
            bytes[at..at + 8].copy_from_slice(&card(n as u64).to_le_bytes());
        }
        assert_eq!(find(&bytes), Vec::<u64>::new());
        assert_eq!(find(&records(40, (0..6).map(card))).len(), 6);
    }

    #[test]
    fn cards_are_told_from_a_counter() {
        let first = 6_767_502_659_223_585;
        let cards: Vec<u64> = (first..first + 400).filter(|n| is_card(*n)).collect();
        assert!(cards.len() > 30);
        // One after the other as a bank gives them out, alone or each beside a time.
        assert_eq!(find(&records(88, cards.clone())).len(), cards.len());
        let beside = cards.iter().enumerate().flat_map(|(n, card)| [*card, 1_700_000_000_000_000 + n as u64]);
        assert_eq!(find(&records(44, beside)).len(), cards.len());
        // A page of a database whose rows are numbered.
        assert_eq!(find(&records(88, first..first + 400)), Vec::<u64>::new());
        assert_eq!(find(&records(88, (first..first + 400).rev())), Vec::<u64>::new());
    }
}

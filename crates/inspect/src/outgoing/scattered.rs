//! Exact values whose pieces are scattered over what is sent: recognised by how much of each was there lately, in whatever order the
//! pieces came and whatever stood between them. Holds no value, only keyed hashes of three letters or digits each.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Letters and digits of a value that is known by its pieces; a shorter one is soon there by chance.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=512;
/// Different ones among them: fewer are a word.
const LEAST_DIFFERENT: usize = 8;
/// Of so many it changes once between small letters, large ones and digits, or is made of words.
const LONGEST_ALIKE: usize = 5;
/// Letters and digits that are hashed together.
const GRAM: usize = 3;
/// A piece stands there by chance once in so many.
const CHANCE: usize = 200_000;
/// A piece with something else beside it, without a sign between them, is longer by so many.
const MORE_IN_A_RUN: usize = 2;
/// Digits alone count: fewer of them say nothing.
const LEAST_DIGITS: usize = 6;
/// A longer run of letters and digits is data, encoded or compressed.
const LONGEST_RUN: usize = 64;
/// Runs that are looked at in one look. Protects its time.
const MOST_RUNS: usize = 8_192;
/// Looks for which a piece is remembered.
const LATELY: u64 = 512;
/// Of a hundred letters and digits of a value, so many are the value; and never fewer than this.
const ENOUGH: usize = 60;
const LEAST_ENOUGH: usize = 12;

/// Values that are known by their pieces.
#[derive(Default)]
pub struct Scattered {
    hasher: RandomState,
    values: Vec<Value>,
    /// Where in a value three letters or digits stand, as they are and from its end.
    grams: HashMap<u64, Vec<At>>,
}

#[derive(Debug)]
struct Value {
    id: u32,
    length: usize,
    /// Letters and digits of a piece that is none by chance.
    least: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    value: u32,
    place: u16,
    reversed: bool,
}

/// What of each value was there lately.
#[derive(Debug, Default)]
pub struct Covered {
    looks: u64,
    /// By the value: the look in which each letter or digit of it was there last.
    marks: HashMap<u32, Vec<u64>>,
}

impl std::fmt::Debug for Scattered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scattered").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

impl Scattered {
    /// Know this value; one that has no form of its own, or is too short or too long, is not known by its pieces.
    pub fn register(&mut self, id: u32, value: &[u8]) {
        let signs = alone(value);
        let mut different = signs.clone();
        different.sort_unstable();
        different.dedup();
        let kind = |b: &u8| (b.is_ascii_digit(), b.is_ascii_uppercase());
        let changes =
            signs.iter().zip(signs.iter().skip(1)).filter(|(one, next)| kind(one) != kind(next)).count();
        let is_mixed = changes * LONGEST_ALIKE >= signs.len();
        if !LENGTHS.contains(&signs.len()) || different.len() < LEAST_DIFFERENT || !is_mixed {
            return;
        }
        let value = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(Value { id, length: signs.len(), least: least(&different) });
        let mirrored: Vec<u8> = signs.iter().rev().copied().collect();
        for (signs, reversed) in [(&signs, false), (&mirrored, true)] {
            for (place, gram) in signs.windows(GRAM).enumerate() {
                let place = u16::try_from(place).unwrap_or(u16::MAX);
                self.grams.entry(self.hasher.hash_one(gram)).or_default().push(At { value, place, reversed });
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values of which, with these texts, enough was there lately. Those texts are not remembered: they are not to be sent.
    pub fn look<'t>(&self, texts: impl Iterator<Item = &'t [u8]>, covered: &mut Covered) -> Vec<u32> {
        covered.looks += 1;
        let now = covered.looks;
        let mut fresh: HashMap<u32, Vec<u64>> = HashMap::new();
        let runs = texts.flat_map(|text| text.split(|b| !b.is_ascii_alphanumeric()));
        let runs = runs.filter(|run| (GRAM..=LONGEST_RUN).contains(&run.len())).take(MOST_RUNS);
        for run in runs {
            self.pieces_of(run, &mut |value, places| {
                let length = self.values.get(value as usize).map_or(0, |value| value.length);
                let marks = fresh
                    .entry(value)
                    .or_insert_with(|| covered.marks.get(&value).cloned().unwrap_or_else(|| vec![0; length]));
                marks.get_mut(places).into_iter().flatten().for_each(|mark| *mark = now);
            });
        }
        let is_there = |mark: &&u64| **mark > 0 && **mark + LATELY > now;
        let is_enough = |length: usize, there: usize| there >= LEAST_ENOUGH && there * 100 >= length * ENOUGH;
        let enough =
            fresh.iter().filter(|(_, marks)| is_enough(marks.len(), marks.iter().filter(is_there).count()));
        let found: Vec<u32> =
            enough.filter_map(|(value, _)| self.values.get(*value as usize)).map(|value| value.id).collect();
        if found.is_empty() {
            covered.marks.extend(fresh);
        }
        found
    }

    /// The pieces of values that this run is, or that stand in it.
    fn pieces_of(&self, run: &[u8], piece: &mut dyn FnMut(u32, std::ops::Range<usize>)) {
        let digits = run.iter().all(u8::is_ascii_digit);
        let mut from = 0;
        while from + GRAM <= run.len() {
            let mut longest = 0;
            for at in self.at(run, from) {
                let Some(value) = self.values.get(at.value as usize) else { continue };
                let mut length = GRAM;
                while self.goes_on(run, from + length + 1 - GRAM, at, length + 1 - GRAM) {
                    length += 1;
                }
                let needed = if length == run.len() { value.least } else { value.least + MORE_IN_A_RUN };
                if length < needed || digits && length < LEAST_DIGITS {
                    continue;
                }
                longest = longest.max(length);
                let place = usize::from(at.place);
                let places = place..place + length;
                let mirrored = value.length - places.end..value.length - places.start;
                piece(at.value, if at.reversed { mirrored } else { places });
            }
            from += longest.max(1);
        }
    }

    fn at(&self, run: &[u8], from: usize) -> &[At] {
        let gram = run.get(from..from + GRAM);
        gram.and_then(|gram| self.grams.get(&self.hasher.hash_one(gram))).map_or(&[], Vec::as_slice)
    }

    fn goes_on(&self, run: &[u8], from: usize, at: &At, further: usize) -> bool {
        let next = At { place: at.place.saturating_add(u16::try_from(further).unwrap_or(u16::MAX)), ..*at };
        self.at(run, from).contains(&next)
    }
}

/// Letters and digits.
fn alone(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(u8::is_ascii_alphanumeric).collect()
}

/// How many of them are there by chance too rarely to count.
fn least(different: &[u8]) -> usize {
    let has = |kind: fn(&u8) -> bool| different.iter().any(kind);
    let is_hex = different.iter().all(u8::is_ascii_hexdigit)
        && !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase));
    let kinds = if is_hex {
        16
    } else {
        26 * usize::from(has(u8::is_ascii_lowercase))
            + 26 * usize::from(has(u8::is_ascii_uppercase))
            + 10 * usize::from(has(u8::is_ascii_digit))
    };
    let mut length = 1;
    let mut all = kinds;
    while all < CHANCE {
        all *= kinds.max(2);
        length += 1;
    }
    length.max(GRAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "qT7v|Xz93|mK4w+Rb8e=nP2s/Lh6d~Yc";

    /// How many of these texts pass, one after the other.
    fn passing(value: &str, texts: impl IntoIterator<Item = String>) -> usize {
        let mut scattered = Scattered::default();
        scattered.register(7, value.as_bytes());
        let mut covered = Covered::default();
        let mut passes =
            |text: &String| scattered.look([text.as_bytes()].into_iter(), &mut covered).is_empty();
        texts.into_iter().filter(|text| passes(text)).count()
    }

    fn pieces(length: usize, step: usize) -> Vec<String> {
        let signs = String::from_utf8(alone(VALUE.as_bytes())).unwrap_or_default();
        (0..signs.len())
            .step_by(step)
            .filter_map(|at| Some(signs.get(at..(at + length).min(signs.len()))?.to_owned()))
            .collect()
    }

    #[test]
    fn a_value_is_known_by_its_pieces_in_any_order_and_whatever_stands_between() {
        let all = pieces(4, 4);
        let reversed = |piece: &String| piece.chars().rev().collect::<String>();
        let orders: [Vec<String>; 6] = [
            all.clone(),
            all.iter().rev().cloned().collect(),
            pieces(6, 4),
            all.iter().map(reversed).collect(),
            all.iter().enumerate().map(|(n, p)| if n % 2 == 0 { p.clone() } else { reversed(p) }).collect(),
            all.iter()
                .enumerate()
                .map(|(n, p)| format!("<td>{n}</td><td>{p}</td> {:x}", n * 7_919))
                .collect(),
        ];
        for pieces in orders {
            let passed = passing(VALUE, pieces.clone());
            assert!(passed * 10 <= pieces.len() * 7, "{passed} of {pieces:?}");
        }
        let one = all.join("\", \"");
        assert_eq!(passing(VALUE, [one]), 0, "all of them in one");
    }

    #[test]
    fn ordinary_texts_are_no_pieces() {
        let hex = "5f4dcc3b5aa765d61d8327deb882cf99";
        let text = |n: u32| {
            let noise = n.wrapping_mul(2_654_435_761);
            format!(
                "GET /api/v1/items/{n}?page={} id={noise:08x}-{:04x} total {} the quick brown fox",
                n % 97,
                noise >> 9,
                n * 31
            )
        };
        for value in [VALUE, hex, "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo"] {
            assert_eq!(passing(value, (0..5_000).map(text)), 5_000, "{value}");
        }
        // A word, or what is short, is not known by its pieces.
        for value in ["correct horse battery staple", "hunter2hunter2", "Kq7-unusual-value-of-theirs"] {
            assert_eq!(passing(value, [value.to_owned()]), 1);
        }
    }

    #[test]
    fn what_was_there_long_ago_does_not_count() {
        let all = pieces(4, 4);
        let (first, second) = all.split_at(3);
        let between = (0..LATELY + 1).map(|n| format!("nothing {n}"));
        let texts: Vec<String> =
            first.iter().cloned().chain(between).chain(second.iter().take(2).cloned()).collect();
        assert_eq!(passing(VALUE, texts.clone()), texts.len());
    }
}

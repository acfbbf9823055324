//! What varies of a value that is sent again and again. Beside a piece of something longer there stand signs, names and counters,
//! which stay, or say nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// Forms of one place that are told apart: whoever sends may take turns.
const MOST_FORMS: usize = 4;
/// Comparing two texts of which nothing is the same ends after this time, with what was found by then. Ordinary ones take
/// microseconds.
const LONGEST: Duration = Duration::from_millis(20);

/// The forms in which values were sent in one place, the one that was used last first.
#[derive(Debug, Default)]
pub(super) struct Forms(Vec<Form>);

/// What was the same in all values of one form.
#[derive(Debug)]
struct Form {
    /// Its tokens, as numbers.
    constant: Vec<u64>,
    /// The first value, until there is another one to compare it with.
    first: Option<Vec<u8>>,
}

/// The parts of a value that are not the same each time, in their order.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Varying {
    pub parts: Vec<Vec<u8>>,
}

impl Varying {
    /// All of them but counters and times that stand beside others.
    pub fn text(&self) -> Vec<u8> {
        if let [only] = self.parts.as_slice() {
            return only.clone();
        }
        self.parts.iter().filter(|part| !is_counter(part)).flatten().copied().collect()
    }
}

impl Forms {
    /// What varies of this value; when it is the second of its form, also what does of the first. Nothing of one that is the first
    /// of its form.
    pub fn push(&mut self, value: &[u8]) -> (Option<Varying>, Option<Varying>) {
        let tokens = tokens(value);
        let numbers = numbers(value, &tokens);
        let until = Instant::now() + LONGEST;
        for at in 0..self.0.len() {
            let Some(form) = self.0.get(at) else { break };
            let same = same(&form.constant, &numbers, until);
            let kept: usize = same.iter().map(Range::len).sum();
            // Of the first value what varies is counted, too.
            let least = match form.first {
                Some(_) => form.constant.len().min(numbers.len()).div_ceil(4),
                None => form.constant.len().div_ceil(2),
            };
            if kept < least.max(1) {
                continue;
            }
            let mut form = self.0.remove(at);
            form.constant = same.iter().filter_map(|at| numbers.get(at.clone())).flatten().copied().collect();
            let first = form.first.take().map(|first| varying(&first, &form.constant, until));
            let now = between(value, &tokens, &same);
            self.0.insert(0, form);
            return (first, Some(now));
        }
        self.0.truncate(MOST_FORMS - 1);
        self.0.insert(0, Form { constant: numbers, first: Some(value.to_vec()) });
        (None, None)
    }
}

/// What of a value is not among what stays.
fn varying(value: &[u8], constant: &[u64], until: Instant) -> Varying {
    let tokens = tokens(value);
    let numbers = numbers(value, &tokens);
    between(value, &tokens, &same(constant, &numbers, until))
}

/// Runs of letters and digits, and each other byte by itself.
fn tokens(value: &[u8]) -> Vec<Range<usize>> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80;
    let mut out: Vec<Range<usize>> = Vec::new();
    for (at, byte) in value.iter().enumerate() {
        match out.last_mut() {
            Some(last)
                if last.end == at && is_word(*byte) && value.get(last.start).is_some_and(|b| is_word(*b)) =>
            {
                last.end = at + 1;
            }
            _ => out.push(at..at + 1),
        }
    }
    out
}

fn numbers(value: &[u8], tokens: &[Range<usize>]) -> Vec<u64> {
    tokens.iter().map(|at| number(value.get(at.clone()).unwrap_or_default())).collect()
}

/// Which of the new tokens stand in the old ones, in the same order.
fn same(old: &[u64], new: &[u64], until: Instant) -> Vec<Range<usize>> {
    let steps = capture_diff_slices_deadline(Algorithm::Myers, old, new, Some(until));
    let equal = steps.into_iter().filter_map(|step| match step {
        DiffOp::Equal { new_index, len, .. } => Some(new_index..new_index + len),
        _ => None,
    });
    equal.collect()
}

/// What stands between the tokens that are the same. Parts are one where only what texts and codes are made of stands between
/// them, unless one of them counts.
fn between(value: &[u8], tokens: &[Range<usize>], same: &[Range<usize>]) -> Varying {
    let start = |token: usize| tokens.get(token).map_or(value.len(), |at| at.start);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    for (to, next) in same.iter().map(|at| (at.start, at.end)).chain([(tokens.len(), tokens.len())]) {
        let part = start(from)..start(to);
        from = next;
        if part.is_empty() {
            continue;
        }
        let bytes = |at: &Range<usize>| value.get(at.clone()).unwrap_or_default();
        match ranges.last_mut() {
            Some(last)
                if bytes(&(last.end..part.start)).iter().all(|b| b" \t+/_-%.=~".contains(b))
                    && !is_counter(bytes(last))
                    && !is_counter(bytes(&part)) =>
            {
                last.end = part.end;
            }
            _ => ranges.push(part),
        }
    }
    Varying { parts: ranges.into_iter().filter_map(|at| value.get(at).map(<[u8]>::to_vec)).collect() }
}

/// A number, or a time: digits, with hardly a letter.
fn is_counter(part: &[u8]) -> bool {
    let digits = part.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = part.iter().filter(|b| b.is_ascii_alphabetic() || **b >= 0x80).count();
    digits > 0 && digits >= 2 * letters
}

/// What tells one text from another.
pub(super) fn number(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(values: &[&str]) -> Vec<Vec<String>> {
        let mut forms = Forms::default();
        let mut out = Vec::new();
        for value in values {
            let (first, now) = forms.push(value.as_bytes());
            for varying in first.into_iter().chain(now) {
                out.push(varying.parts.into_iter().map(|p| String::from_utf8(p).unwrap()).collect());
            }
        }
        out
    }

    #[test]
    fn what_stays_and_what_counts_is_told_from_what_is_said() {
        let cases = [
            (["[\"log\",\"The me\"]", "[\"log\",\"rger b\"]", "[\"log\",\"etween\"]"], 0),
            (["3,The me", "4,rger b", "5,etween"], 1),
            (
                [
                    "{\"q\":\"add(n: 1, v: \\\"The me\\\")\"}",
                    "{\"q\":\"add(n: 2, v: \\\"rger b\\\")\"}",
                    "{\"q\":\"add(n: 3, v: \\\"etween\\\")\"}",
                ],
                1,
            ),
            (["app/1.3 (The me)", "app/1.4 (rger b)", "app/1.5 (etween)"], 1),
            (["\"3-The me\"", "\"4-rger b\"", "\"5-etween\""], 1),
        ];
        for (values, at) in cases {
            let said: Vec<String> =
                parts_of(&values).into_iter().filter_map(|parts| parts.into_iter().nth(at)).collect();
            assert_eq!(said, ["The me", "rger b", "etween"], "{values:?}");
        }
        let text = |values: &[&str]| -> Vec<u8> {
            let mut forms = Forms::default();
            values
                .iter()
                .flat_map(|v| <[_; 2]>::from(forms.push(v.as_bytes())))
                .flatten()
                .flat_map(|v| v.text())
                .collect()
        };
        let log = [
            "2026-11-28T08:01:00Z INFO The me",
            "2026-11-28T09:02:07Z INFO rger b",
            "2026-11-29T09:12:17Z INFO etween",
        ];
        assert_eq!(text(&log), b"The merger between");
    }

    #[test]
    fn forms_that_take_turns_are_told_apart() {
        let values = ["{\"v\":\"one\"}", "<v>two</v>", "{\"v\":\"three\"}", "<v>four</v>"];
        assert_eq!(parts_of(&values).concat(), ["one", "three", "two", "four"]);
    }

    #[test]
    fn what_has_nothing_in_common_varies_as_a_whole() {
        assert!(parts_of(&["The", "me", "rger"]).is_empty());
        let (long, other) = ("a b ".repeat(4_000), "c;d;".repeat(4_000));
        assert!(parts_of(&[&long, &other]).is_empty());
        assert_eq!(parts_of(&["same", "same"]), [Vec::<String>::new(), Vec::new()]);
    }
}

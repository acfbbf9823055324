//! Numbers with a checksum that stand beside anything. In a file a letter, a dash or a dot beside a number says that it is part of
//! something else; who sends a number chooses what stands beside it, and what divides its digits.
//!
//! What is found is written out as a text in which each number stands by itself, and that is looked at as any reading is. What
//! comes about by chance (one in ten numbers has a right sum, one in twenty begins as a card) is told by how many there are.

use crate::validate::{card, iban};

/// Lengths of the numbers of cards, in digits.
const SHORTEST: usize = 13;
const LONGEST: usize = 19;
/// So many tries, and less than one hit of chance: of numbers of the length of a card one in fifty is one.
const OF_CHANCE: usize = 5;
/// Groups in a row and bytes between two of them.
const GROUPS: usize = 64;
const BETWEEN: usize = 12;
/// Cards that run into one another, in digits.
const RUN_TOGETHER: usize = 400;
/// Digits of other numbers that authorities give out, and of the words that they stand in.
const OTHERS: std::ops::RangeInclusive<usize> = 8..=12;
const WORD: usize = 64;
/// Letters and digits of an IBAN.
const IBAN: std::ops::RangeInclusive<usize> = 15..=34;
/// Different ones among them.
const IBAN_DIFFERENT: u32 = 6;
/// Characters between two groups of one.
const IBAN_GAP: usize = 3;

/// The numbers of `bytes` that stand beside something, one a line.
pub(super) fn numbers(bytes: &[u8]) -> Vec<u8> {
    let mut found = Found::default();
    let mut at = 0;
    while let Some(start) = next_digit(bytes, at) {
        if let Some(next) = short(bytes, start) {
            at = next;
            continue;
        }
        let row = Row::read(bytes, start);
        if bytes.get(start) == Some(&b'0') && matches!(bytes.get(start + 1), Some(b'x' | b'X')) {
            found.hex(bytes, start + 2);
        }
        found.row(bytes, &row);
        at = row.next;
    }
    found.finish()
}

fn next_digit(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.iter().position(u8::is_ascii_digit).map(|i| at + i)
}

fn digits_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Where it goes on behind digits that are too few for any number and the first of none: nearly all are.
fn short(bytes: &[u8], start: usize) -> Option<usize> {
    let end = start + digits_at(bytes, start);
    let goes_on =
        || gap(bytes.get(end..).unwrap_or_default()).is_some_and(|gap| digits_at(bytes, end + gap) > 0);
    let begins = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
    let may_begin = end - start > 1 && start > 1 && begins(start - 1) && begins(start - 2);
    let is_hex = matches!(bytes.get(start..start + 2), Some(b"0x" | b"0X"));
    (end - start < *OTHERS.start() && !may_begin && !is_hex && !goes_on()).then_some(end)
}

/// Groups of digits with the same between each two.
struct Row {
    start: usize,
    end: usize,
    lengths: Vec<usize>,
    digits: Vec<u8>,
    /// What divides them.
    between: Vec<u8>,
    /// Where the next row may begin.
    next: usize,
}

impl Row {
    fn read(bytes: &[u8], start: usize) -> Row {
        let first = digits_at(bytes, start);
        let mut row = Row {
            start,
            end: start + first,
            lengths: Vec::new(),
            digits: Vec::new(),
            between: Vec::new(),
            next: start + first,
        };
        // A longer one is a row by itself.
        if first > LONGEST {
            row.lengths.push(first);
            return row;
        }
        let (mut group, mut length) = (start, first);
        loop {
            row.digits.extend_from_slice(bytes.get(group..group + length).unwrap_or_default());
            row.lengths.push(length);
            row.end = group + length;
            let between = match row.between.len() {
                0 => gap(bytes.get(row.end..).unwrap_or_default()),
                _ => bytes
                    .get(row.end..)
                    .is_some_and(|r| r.starts_with(&row.between))
                    .then_some(row.between.len()),
            };
            let Some(between) = between else { break };
            let next = row.end + between;
            let length_of_next = digits_at(bytes, next);
            if length_of_next == 0 || row.lengths.len() == GROUPS || length_of_next > LONGEST {
                break;
            }
            if row.between.is_empty() {
                row.between = bytes.get(row.end..next).unwrap_or_default().to_vec();
            }
            (group, length) = (next, length_of_next);
        }
        row.next = match row.lengths.len() {
            1 => row.end,
            // The last group may be the first of another row.
            _ => row.end - row.lengths.last().copied().unwrap_or(0),
        };
        if row.next <= start {
            row.next = row.end;
        }
        row
    }

    /// Whether its groups are those of a card, or all alike.
    fn is_shaped(&self) -> bool {
        let known: [&[usize]; 6] =
            [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3], &[4, 4, 4, 1], &[6, 13]];
        let first = self.lengths.first().copied().unwrap_or(0);
        known.contains(&self.lengths.as_slice())
            || matches!(first, 1 | 2 | 8) && self.lengths.iter().all(|length| *length == first)
    }
}

/// Bytes between two digits that no letter is among.
fn gap(rest: &[u8]) -> Option<usize> {
    let length = rest
        .iter()
        .take(BETWEEN + 1)
        .take_while(|b| b.is_ascii_punctuation() || b.is_ascii_whitespace())
        .count();
    (1..=BETWEEN).contains(&length).then_some(length)
}

/// What was found, and how much of it may be chance.
#[derive(Default)]
struct Found {
    out: Vec<u8>,
    /// Words of hex digits.
    digests: Doubtful,
    fractions: Doubtful,
    /// Rows of small numbers, and hex that is marked as such.
    rows: Doubtful,
}

/// Hits that come about by chance where there are many tries.
#[derive(Default)]
struct Doubtful {
    tries: usize,
    hits: Vec<u8>,
    count: usize,
}

impl Doubtful {
    fn hit(&mut self, digits: &[u8]) {
        self.count += 1;
        line(digits, &mut self.hits);
    }
}

fn line(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    out.push(b'\n');
}

impl Found {
    fn row(&mut self, bytes: &[u8], row: &Row) {
        let before = row.start.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        let after = bytes.get(row.end).copied().unwrap_or(b' ');
        if bytes
            .get(row.start.saturating_sub(2)..row.start)
            .is_some_and(|b| b.len() == 2 && b.iter().all(u8::is_ascii_alphabetic))
        {
            self.iban(bytes, row.start - 2);
        }
        match *row.lengths.as_slice() {
            [length] if length > LONGEST => {
                self.run_together(bytes.get(row.start..row.end).unwrap_or_default())
            }
            [length] if is_glue(before) || is_glue(after) => {
                if (SHORTEST..=LONGEST).contains(&length) {
                    self.glued(bytes, row, before);
                } else if OTHERS.contains(&length) {
                    self.other(bytes, row);
                }
            }
            [_] => {}
            _ => self.groups(row, is_glue(before) || is_glue(after)),
        }
    }

    /// One number beside which something stands.
    fn glued(&mut self, bytes: &[u8], row: &Row, before: u8) {
        let earlier = row.start.checked_sub(2).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        let is_hit = is_card(&row.digits);
        let doubtful = match before {
            b'.' if earlier.is_ascii_digit() => Some(&mut self.fractions),
            // A sign.
            b'-' | b'+' if !earlier.is_ascii_alphanumeric() => Some(&mut self.fractions),
            _ if is_digest(bytes, row) => Some(&mut self.digests),
            _ => None,
        };
        match doubtful {
            Some(doubtful) => {
                doubtful.tries += 1;
                if is_hit {
                    doubtful.hit(&row.digits);
                }
            }
            None if is_hit => line(&row.digits, &mut self.out),
            None => {}
        }
    }

    /// Digits with something between them.
    fn groups(&mut self, row: &Row, is_glued: bool) {
        // Those that a detector reads by itself.
        let is_plain = !is_glued && matches!(row.between.as_slice(), b" " | b"-") && row.lengths.len() <= 5;
        if is_plain || !row.is_shaped() {
            return;
        }
        if row.digits.len() > LONGEST && row.lengths.first() == Some(&1) {
            self.run_together(&row.digits);
        } else if (SHORTEST..=LONGEST).contains(&row.digits.len()) {
            self.rows.tries += 1;
            if is_card(&row.digits) {
                self.rows.hit(&row.digits);
            }
        }
    }

    /// Cards with nothing between them, and nothing beside.
    fn run_together(&mut self, digits: &[u8]) {
        if digits.len() > RUN_TOGETHER {
            return;
        }
        // Where each card ends that goes on from the start.
        let mut reached = vec![0_usize; digits.len() + 1];
        for start in 0..digits.len() {
            if start > 0 && reached.get(start) == Some(&0) {
                continue;
            }
            for length in [16, 15, 19, 14, 13] {
                let is_hit = digits.get(start..start + length).is_some_and(is_card);
                if let Some(slot) = reached.get_mut(start + length).filter(|slot| is_hit && **slot == 0) {
                    *slot = length;
                }
            }
        }
        let mut end = digits.len();
        while let Some(length) = reached.get(end).copied().filter(|length| *length > 0) {
            line(digits.get(end - length..end).unwrap_or_default(), &mut self.out);
            end -= length;
        }
    }

    /// A number that an authority gives out, in a word of letters and digits: its letters may be its label.
    fn other(&mut self, bytes: &[u8], row: &Row) {
        if is_digest(bytes, row) {
            return;
        }
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let before = bytes
            .get(..row.start)
            .unwrap_or_default()
            .iter()
            .rev()
            .take(WORD)
            .take_while(|b| is_word(b))
            .count();
        let after =
            bytes.get(row.end..).unwrap_or_default().iter().take(WORD).take_while(|b| is_word(b)).count();
        let word = bytes.get(row.start - before..row.end + after).unwrap_or_default();
        // Digits in several places are those of a number in hex, an identifier, a version.
        let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
        if word.len() > WORD || digits > row.digits.len() {
            return;
        }
        // Something stands before it: a number that is all there is counts without a label.
        self.out.extend_from_slice(b"~ ");
        let mut last = b' ';
        for b in word {
            let divides = matches!(b, b'_') || matches!(b, b'-' | b'.') && !last.is_ascii_digit();
            if divides
                || b.is_ascii_digit() && last.is_ascii_alphabetic()
                || b.is_ascii_alphabetic() && last.is_ascii_digit()
            {
                self.out.push(b' ');
            }
            if !divides {
                self.out.push(*b);
            }
            last = *b;
        }
        self.out.push(b'\n');
    }

    /// A number that is written in hex, behind `0x`.
    fn hex(&mut self, bytes: &[u8], start: usize) {
        let digits =
            bytes.get(start..).unwrap_or_default().iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let text = bytes.get(start..start + digits).filter(|t| (10..=16).contains(&t.len()));
        let number = text.and_then(|t| u64::from_str_radix(std::str::from_utf8(t).ok()?, 16).ok());
        if let Some(decimal) = number.map(|n| n.to_string()) {
            self.rows.tries += 1;
            if is_card(decimal.as_bytes()) {
                self.rows.hit(decimal.as_bytes());
            }
        }
    }

    /// An account number that begins at two letters, beside something or divided otherwise than by single blanks.
    fn iban(&mut self, bytes: &[u8], start: usize) {
        let before = start.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        let (mut value, mut is_odd, mut gap) = (Vec::with_capacity(34), is_glue(before), 0);
        for b in bytes.get(start..).unwrap_or_default() {
            match b {
                b if b.is_ascii_alphanumeric() => {
                    let is_whole = IBAN.contains(&value.len()) && gap == 0 && iban(&value);
                    if is_whole || value.len() == *IBAN.end() {
                        is_odd |= is_whole;
                        break;
                    }
                    is_odd |= gap > 1;
                    // Accounts are written in groups of four.
                    if gap > 0 && value.len() % 4 != 0 {
                        break;
                    }
                    value.push(b.to_ascii_uppercase());
                    gap = 0;
                }
                b' ' if gap < IBAN_GAP => gap += 1,
                b'_' | b'-' | b'.' | b'/' | b',' | b':' | b'\t' if gap < IBAN_GAP => {
                    is_odd |= value.len() < *IBAN.end() && !iban(&value);
                    gap += 1;
                }
                b => {
                    is_odd |= is_glue(*b);
                    break;
                }
            }
            // Digits with letters among them are a digest or noise.
            let rest = value.get(4..).unwrap_or_default();
            let letters = rest.iter().filter(|b| b.is_ascii_alphabetic()).count();
            if letters > 8 {
                return;
            }
        }
        while !IBAN.contains(&value.len()) || !iban(&value) {
            if value.len() <= *IBAN.start() {
                return;
            }
            value.pop();
            is_odd = true;
        }
        // The sum is of two digits from 02 to 98, and an account has several digits.
        let sum = value.get(2..4).and_then(crate::validate::number).unwrap_or(0);
        let different = value.iter().fold(0_u128, |seen, b| seen | 1 << (b & 127)).count_ones();
        if !(2..=98).contains(&sum) || different < IBAN_DIFFERENT {
            return;
        }
        let written = bytes.get(start..start + 2).unwrap_or_default();
        let rest = value.get(4..).unwrap_or_default();
        let letters = rest.iter().filter(|b| b.is_ascii_alphabetic()).count();
        let is_upper = written.iter().all(u8::is_ascii_uppercase);
        let is_lower = letters == 0 && !before.is_ascii_alphabetic();
        if is_odd && (is_lower || is_upper && letters * 10 <= rest.len() * 3) {
            line(&value, &mut self.out);
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut out = self.out;
        let meant = [
            // A float of 16 digits is a card of one in fifty.
            (
                self.fractions.count > 1 && self.fractions.count * 2 >= self.fractions.tries,
                self.fractions.hits,
            ),
            (self.digests.count * OF_CHANCE >= self.digests.tries, self.digests.hits),
            (self.rows.count * OF_CHANCE >= self.rows.tries, self.rows.hits),
        ];
        meant.into_iter().filter(|(is_meant, _)| *is_meant).for_each(|(_, hits)| out.extend(hits));
        out
    }
}

/// What a detector takes for a sign that a number goes on.
fn is_glue(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$' | b'%' | b'+') || b >= 0x80
}

/// A card of one of the networks that give out many: of those with few rules only the common lengths.
fn is_card(digits: &[u8]) -> bool {
    let lengths = SHORTEST..=LONGEST;
    let is_common = match digits.first() {
        Some(b'2'..=b'4') => true,
        Some(b'5' | b'6') => matches!(digits.len(), 16 | 18 | 19),
        _ => false,
    };
    lengths.contains(&digits.len()) && is_common && card(digits)
}

/// Whether the word around digits is one of hex, as long as a digest is.
fn is_digest(bytes: &[u8], row: &Row) -> bool {
    let is_hex = |b: &&u8| b.is_ascii_hexdigit() || **b == b'-';
    let before = bytes.get(..row.start).unwrap_or_default().iter().rev().take(128).take_while(is_hex).count();
    let after = bytes.get(row.end..).unwrap_or_default().iter().take(128).take_while(is_hex).count();
    let word = bytes.get(row.start - before..row.end + after).unwrap_or_default();
    word.len() >= 32 && word.iter().any(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "4539148803436467";

    fn found(text: &str) -> String {
        String::from_utf8(numbers(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_card_is_found_beside_anything() {
        let grouped = |by: &str| {
            CARD.as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap()).collect::<Vec<_>>().join(by)
        };
        let single = |by: &str| CARD.chars().map(String::from).collect::<Vec<_>>().join(by);
        for text in [
            format!("card-{CARD}"),
            format!("card_{CARD}"),
            format!("card.{CARD}"),
            format!("card{CARD}"),
            format!("{CARD}.pdf"),
            format!("T{CARD}Z"),
            format!("[{}]", single(",")),
            format!("[{}]", single(", ")),
            format!("[\n  {}\n]", single(",\n  ")),
            single(" "),
            single("."),
            grouped("_"),
            grouped("/"),
            grouped("  "),
            grouped(","),
            grouped("."),
            format!("x{}", grouped("-")),
            format!("0x{:x}", CARD.parse::<u64>().unwrap()),
            format!("ü{CARD}"),
        ] {
            assert_eq!(found(&text), format!("{CARD}\n"), "{text}");
        }
        assert_eq!(found(&format!("{CARD}{CARD}")), format!("{CARD}\n{CARD}\n"));
        assert_eq!(found(&single(",").repeat(2).replace("74", "7,4")), format!("{CARD}\n{CARD}\n"));
    }

    #[test]
    fn what_a_detector_reads_by_itself_is_left_to_it() {
        for text in [
            CARD.to_owned(),
            format!("card {CARD}, x"),
            "4539 1488 0343 6467".to_owned(),
            "4539-1488-0343-6467".to_owned(),
        ] {
            assert_eq!(found(&text), "", "{text}");
        }
    }

    #[test]
    fn an_account_is_found_beside_anything() {
        let account = "DE89370400440532013000";
        for text in [
            format!("x{account}"),
            format!("iban_{account}"),
            format!("{account}x"),
            "DE89_3704_0044_0532_0130_00".to_owned(),
            "DE89  3704  0044  0532  0130  00".to_owned(),
            "de89/3704/0044/0532/0130/00".to_owned(),
        ] {
            assert_eq!(found(&text).lines().next(), Some(account), "{text}");
        }
        assert_eq!(found(&format!("to {account}")), "");
    }

    #[test]
    fn another_number_stands_by_itself_with_what_may_be_its_label() {
        assert_eq!(found("ssn_237822033"), "~ ssn 237822033\n");
        assert_eq!(found("T237822033Z"), "~ T 237822033 Z\n");
    }

    #[test]
    fn chance_is_no_card() {
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed ^ seed >> 29
        };
        let floats: Vec<String> =
            (0..4_000).map(|_| format!("0.{:016}", random() % 10_000_000_000_000_000)).collect();
        assert_eq!(found(&floats.join(",")), "");
        let digests: Vec<String> = (0..2_000)
            .map(|_| format!("{:016x}{:016x}{:016x}{:016x}", random(), random(), random(), random()))
            .collect();
        assert_eq!(found(&digests.join("\n")), "");
        let boxes: Vec<String> = (0..500)
            .map(|_| {
                format!(
                    "[{},{},{},{}]",
                    1000 + random() % 9000,
                    1000 + random() % 9000,
                    1000 + random() % 9000,
                    1000 + random() % 9000
                )
            })
            .collect();
        assert_eq!(found(&boxes.join(",")), "");
        let pointers: Vec<String> = (0..500).map(|_| format!("0x{:x}", random() >> 16)).collect();
        assert_eq!(found(&pointers.join(" ")), "");
        let digits: String = (0..400).map(|_| (random() % 10).to_string()).collect();
        assert_eq!(found(&digits), "");
        let times: Vec<String> =
            (0..500).map(|n| format!("at-{}", 1_790_000_000_000_u64 + n * 977)).collect();
        assert_eq!(found(&times.join(" ")), "");
    }
}

//! One number as texts have it: with a sign, with zeros behind a point, with an exponent, with a unit.

use super::row::width_of;

/// Digits of a number that is a word.
const MOST_DIGITS: usize = 20;
/// Characters of a number with a fraction and an exponent.
const LONGEST: usize = 40;
/// Letters that say a type or a unit.
const UNIT: usize = 3;

/// What stands at a word.
pub(super) enum Token {
    /// No number.
    None,
    /// One, how many bytes it takes, and where it ends.
    One { value: u64, width: usize, end: usize },
    /// A letter stands between two.
    Two((u64, usize), (u64, usize)),
    /// A number that is no word, and where it ends.
    Broken { end: usize },
}

/// The number in decimal digits that the word at `start` is.
pub(super) fn decimal(text: &[u8], start: usize, word: &[u8]) -> Token {
    // In drawings a letter says what the number behind it is for.
    let from = usize::from(!word.first().is_some_and(u8::is_ascii_digit));
    let digits = digits_at(word, from);
    let end = from + digits;
    let rest = word.get(end..).unwrap_or_default();
    if digits == 0 || from == 1 && !rest.is_empty() {
        return Token::None;
    }
    let first = word.get(from..end).and_then(number);
    if let [letter, second @ ..] = rest
        && letter.is_ascii_alphabetic()
        && !second.is_empty()
        && second.iter().all(u8::is_ascii_digit)
        && !letter.eq_ignore_ascii_case(&b'e')
        && !letter.eq_ignore_ascii_case(&b'u')
        && let (Some(first), Some(second)) = (first, number(second))
    {
        return Token::Two((first, width_of(first)), (second, width_of(second)));
    }
    if rest.len() > UNIT {
        return Token::None;
    }
    let end = start + end;
    let begin = start + from;
    let before = |n: usize| begin.checked_sub(n).and_then(|at| text.get(at));
    let is_negative = before(1) == Some(&b'-') && !before(2).is_some_and(u8::is_ascii_alphanumeric);
    if text.get(end) == Some(&b'.')
        && before(1) != Some(&b'.')
        && let Some((value, end)) = with_fraction(text, begin, end)
    {
        return value.map_or(Token::Broken { end }, |value| one(value, is_negative, end));
    }
    first.map_or(Token::Broken { end }, |value| one(value, is_negative, end))
}

fn one(value: u64, is_negative: bool, end: usize) -> Token {
    if !is_negative {
        return Token::One { value, width: width_of(value), end };
    }
    // As the word that the negative number is.
    let width = width_of(value.saturating_mul(2).saturating_sub(1));
    Token::One { value: value.wrapping_neg() & u64::MAX >> (64 - 8 * width as u32), width, end }
}

/// A number with a point at `point`: what it is where that is a whole one, and where it ends. Nothing when more points follow, as in
/// addresses and versions.
fn with_fraction(text: &[u8], start: usize, point: usize) -> Option<(Option<u64>, usize)> {
    let digits = digits_at(text, point + 1);
    let mut end = point + 1 + digits;
    if digits == 0 || text.get(end) == Some(&b'.') && text.get(end + 1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let fraction = text.get(point + 1..end)?;
    let exponent = match text.get(end..end + 2) {
        Some([b'e' | b'E', b'+' | b'-']) => digits_at(text, end + 2),
        _ => 0,
    };
    if exponent == 0 {
        let is_whole = fraction.iter().all(|b| *b == b'0');
        return Some((text.get(start..point).and_then(number).filter(|_| is_whole), end));
    }
    end += 2 + exponent;
    let text = text.get(start..end).filter(|text| text.len() <= LONGEST);
    let value = text.and_then(|text| std::str::from_utf8(text).ok()?.parse::<f64>().ok());
    // Beyond this not every whole number is one.
    let whole = value.filter(|v| v.fract() == 0.0 && (0.0..9e15).contains(v));
    Some((whole.map(|v| v as u64), end))
}

fn digits_at(text: &[u8], at: usize) -> usize {
    text.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count()
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.len() > MOST_DIGITS {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b & 15)))
}

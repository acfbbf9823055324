//! Digits as numbers and sums: what several checks are made of.

/// A check of one normalised value.
pub(crate) type Check = fn(&[u8]) -> bool;

pub(crate) fn digit(b: u8) -> Option<u32> {
    b.is_ascii_digit().then(|| u32::from(b - b'0'))
}

pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(digit(*b)?)))
}

/// The sum of digits times weights, or nothing when a byte is not a digit or the lengths differ.
pub(crate) fn weighted(bytes: &[u8], weights: &[u32]) -> Option<u32> {
    if bytes.len() != weights.len() {
        return None;
    }
    bytes.iter().zip(weights).try_fold(0, |sum, (b, w)| Some(sum + digit(*b)? * w))
}

/// The Luhn sum (ISO/IEC 7812-1 annex B), check digit last.
pub(crate) fn luhn(v: &[u8]) -> bool {
    let mut sum = 0;
    for (i, b) in v.iter().rev().enumerate() {
        let Some(d) = digit(*b) else { return false };
        sum += match (i % 2, d) {
            (0, d) => d,
            (_, d) if d > 4 => d * 2 - 9,
            (_, d) => d * 2,
        };
    }
    v.len() > 1 && sum.is_multiple_of(10)
}

/// Whether `ymd` (two or four digits of year) is a day that exists.
pub(crate) fn calendar(year: u64, month: u64, day: u64) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}

//! Checksums and allocation rules of the numbers that detectors look for.

/// The Luhn sum (ISO/IEC 7812-1 annex B) over decimal digits, check digit last.
pub fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0u32;
    for (i, d) in digits.iter().rev().enumerate() {
        let mut v = u32::from(*d);
        if i % 2 == 1 {
            v *= 2;
            if v > 9 {
                v -= 9;
            }
        }
        sum += v;
    }
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Whether nine digits can be a US social security number (area, group and serial rules of the SSA).
pub fn us_ssn(d: &[u8]) -> bool {
    let [a, b, c, e, f, rest @ ..] = d else { return false };
    let area = u32::from(*a) * 100 + u32::from(*b) * 10 + u32::from(*c);
    rest.len() == 4 && area != 0 && area != 666 && area < 900 && (*e, *f) != (0, 0) && rest.iter().any(|x| *x != 0)
}

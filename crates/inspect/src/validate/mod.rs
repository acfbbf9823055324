//! Checksums and allocation rules of the numbers that detectors look for.
//!
//! Every check takes the value without separators, letters in upper case, and returns whether its issuer could have
//! given it out. A pack names a check by its key in [`by_name`].

mod digits;
mod national;

pub(crate) use digits::{Check, number};
use digits::{digit, luhn, weighted};

/// The check that a pack names.
pub(crate) fn by_name(name: &str) -> Option<Check> {
    Some(match name {
        "luhn" => luhn,
        "card" => card,
        "iban" => iban,
        "us_ssn" => us_ssn,
        "us_itin" => us_itin,
        "us_npi" => us_npi,
        "us_mbi" => us_mbi,
        "aba" => aba,
        "dea" => dea,
        "date" => any_date,
        "crypto_address" => crypto_address,
        "wif" => wif,
        "extended_key" => extended_key,
        "mac" => mac,
        _ => return national::by_name(name),
    })
}

/// The names that [`by_name`] knows, for suggestions.
pub(crate) const NAMES: &[&str] = &[
    "luhn",
    "card",
    "iban",
    "us_ssn",
    "us_itin",
    "us_npi",
    "us_mbi",
    "aba",
    "dea",
    "date",
    "crypto_address",
    "wif",
    "extended_key",
    "mac",
];

/// Whether a check takes the value as it is written: in base 58 an upper-case letter is another digit.
pub(crate) fn is_exact(name: &str) -> bool {
    matches!(name, "crypto_address" | "wif" | "extended_key")
}

/// A payment card: an issuer's range with its lengths, and Luhn (ISO/IEC 7812 register, networks' own rules).
pub(crate) fn card(v: &[u8]) -> bool {
    let Some(prefix) = v.get(..6).and_then(number) else { return false };
    let (p1, p2, p3, p4) = (prefix / 100_000, prefix / 10_000, prefix / 1_000, prefix / 100);
    let n = v.len();
    let range = match () {
        () if p1 == 4 => matches!(n, 13 | 16 | 19),
        () if (51..=55).contains(&p2) || (2221..=2720).contains(&p4) => n == 16,
        () if p2 == 34 || p2 == 37 => n == 15,
        () if (300..=305).contains(&p3) || p2 == 36 || p2 == 38 || p2 == 39 => (14..=19).contains(&n),
        () if p4 == 2131 || p4 == 1800 => n == 15,
        // 3528 to 3589 is given out; what makes up numbers for JCB uses all of 35.
        () if p2 == 35 => (16..=19).contains(&n),
        () if p4 == 6011 || p2 == 65 || (644..=649).contains(&p3) || p2 == 62 || p2 == 81 => {
            (16..=19).contains(&n)
        }
        () if (2200..=2204).contains(&p4) => (16..=19).contains(&n),
        () if p2 == 50 || (56..=58).contains(&p2) || p2 == 60 || p2 == 63 || p2 == 67 || p2 == 61 => {
            (12..=19).contains(&n)
        }
        () if p1 == 1 => n == 15,
        () => false,
    };
    range && !same_digit(v) && luhn(v)
}

fn same_digit(v: &[u8]) -> bool {
    v.iter().all(|b| Some(b) == v.first())
}

/// Length by country (SWIFT IBAN registry) and the ISO 7064 mod 97 sum.
pub(crate) fn iban(v: &[u8]) -> bool {
    const LENGTHS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";
    let (Some(country), Some(rest)) = (v.get(..2), v.get(4..)) else { return false };
    let known = LENGTHS
        .chunks_exact(4)
        .any(|c| c.get(..2) == Some(country) && c.get(2..).and_then(number) == Some(v.len() as u64));
    if !known || !v.get(2..4).is_some_and(|c| c.iter().all(u8::is_ascii_digit)) {
        return false;
    }
    let mut rem = 0u32;
    for b in rest.iter().chain(v.get(..4).unwrap_or_default()) {
        rem = match b {
            b'0'..=b'9' => rem * 10 + u32::from(b - b'0'),
            b'A'..=b'Z' => rem * 100 + u32::from(b - b'A') + 10,
            _ => return false,
        } % 97;
    }
    rem == 1
}

/// Whether each group of a social security number repeats a digit or counts up (`111-22-3333`, `123-12-1234`): documents make
/// their examples up so, and of numbers that were given out one in 10,000 is like that.
pub(crate) fn is_made_up(v: &[u8]) -> bool {
    let group = |range: std::ops::Range<usize>| {
        let digits = v.get(range).unwrap_or_default();
        let step =
            |by: u8| digits.windows(2).all(|w| matches!(w, [a, b] if (a - b'0' + by) % 10 == b - b'0'));
        step(0) || step(1)
    };
    v.len() == 9 && v.iter().all(u8::is_ascii_digit) && group(0..3) && group(3..5) && group(5..9)
}

/// A US social security number: the area, group and serial rules of the SSA, and not the ones it burnt in advertisements.
pub(crate) fn us_ssn(v: &[u8]) -> bool {
    let (Some(area), Some(group), Some(serial)) =
        (v.get(..3).and_then(number), v.get(3..5).and_then(number), v.get(5..).and_then(number))
    else {
        return false;
    };
    v.len() == 9
        && area != 0
        && area != 666
        && area < 900
        && group != 0
        && serial != 0
        && !matches!(v, b"078051120" | b"219099999" | b"123456789")
        && !same_digit(v)
}

/// A US individual taxpayer number: 9xx with the middle groups that the IRS gives out.
pub(crate) fn us_itin(v: &[u8]) -> bool {
    let group = v.get(3..5).and_then(number).unwrap_or(0);
    v.len() == 9 && v.first() == Some(&b'9') && (matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99))
}

/// A US national provider identifier: Luhn behind the prefix 80840.
pub(crate) fn us_npi(v: &[u8]) -> bool {
    let mut full = b"80840".to_vec();
    full.extend_from_slice(v);
    v.len() == 10 && matches!(v.first(), Some(b'1' | b'2')) && !same_digit(v) && luhn(&full)
}

/// A US Medicare beneficiary identifier: a type for each position, without S, L, O, I, B, Z.
pub(crate) fn us_mbi(v: &[u8]) -> bool {
    let letter = |b: u8| b.is_ascii_uppercase() && !b"SLOIBZ".contains(&b);
    v.len() == 11
        && v.iter().zip(b"1AXNAXNAANN").all(|(b, kind)| match kind {
            b'1' => (b'1'..=b'9').contains(b),
            b'A' => letter(*b),
            b'X' => letter(*b) || b.is_ascii_digit(),
            _ => b.is_ascii_digit(),
        })
}

/// An American Bankers Association routing number: 3-7-1 weights, a Federal Reserve prefix.
pub(crate) fn aba(v: &[u8]) -> bool {
    let prefix = v.get(..2).and_then(number).unwrap_or(99);
    matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80)
        && weighted(v, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_some_and(|s| s.is_multiple_of(10))
}

/// A DEA registration number of a US prescriber.
pub(crate) fn dea(v: &[u8]) -> bool {
    let Some(d) = v.get(2..9) else { return false };
    v.len() == 9
        && matches!(v.first(), Some(b'A'..=b'H' | b'J'..=b'M' | b'P'..=b'U' | b'X'))
        && weighted(d, &[1, 2, 1, 2, 1, 2, 0])
            .zip(d.last().and_then(|b| digit(*b)))
            .is_some_and(|(s, c)| s % 10 == c)
}

/// A calendar date of eight digits in either order of its fields.
pub(crate) fn any_date(v: &[u8]) -> bool {
    let part = |a, b| v.get(a..b).and_then(number).unwrap_or(0);
    let year = |y| (1900..=2099).contains(&y);
    let day = |m, d| (1..=12).contains(&m) && (1..=31).contains(&d);
    v.len() == 8
        && (year(part(0, 4)) && day(part(4, 6), part(6, 8))
            || year(part(4, 8)) && (day(part(0, 2), part(2, 4)) || day(part(2, 4), part(0, 2))))
}

/// A Base58Check address of Bitcoin; the shape alone here, the detector's alphabet and length do the rest.
pub(crate) fn crypto_address(v: &[u8]) -> bool {
    base58check::<25>(v).is_some()
}

/// A private key in wallet import format: main or test network, with or without the mark of a compressed public key.
pub(crate) fn wif(v: &[u8]) -> bool {
    let network = |first: Option<&u8>| matches!(first, Some(0x80 | 0xef));
    base58check::<37>(v).is_some_and(|k| network(k.first()))
        || base58check::<38>(v).is_some_and(|k| network(k.first()) && k.get(33) == Some(&1))
}

/// An extended private key (BIP 32), of which every key of a wallet can be derived.
pub(crate) fn extended_key(v: &[u8]) -> bool {
    base58check::<82>(v).is_some_and(|k| k.get(45) == Some(&0))
}

/// The bytes of a number in base 58 of exactly `N` bytes, when its last four are the double SHA-256 of the others.
fn base58check<const N: usize>(v: &[u8]) -> Option<[u8; N]> {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut out = [0u8; N];
    for b in v {
        let mut carry = ALPHABET.iter().position(|a| a == b)? as u32;
        for byte in out.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return None;
        }
    }
    let (payload, sum) = out.split_at(N - 4);
    (Sha256::digest(Sha256::digest(payload)).get(..4) == Some(sum)).then_some(out)
}

/// A hardware address that is neither all zeros nor broadcast.
pub(crate) fn mac(v: &[u8]) -> bool {
    v.len() == 12
        && v.iter().all(u8::is_ascii_hexdigit)
        && !v.iter().all(|b| *b == b'0')
        && !v.iter().all(|b| *b == b'F')
}

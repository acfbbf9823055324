//! Checksums of national identity, tax and health numbers, by country.

use super::digits::{Check, calendar, digit, luhn, number, weighted};

pub(crate) fn by_name(name: &str) -> Option<Check> {
    Some(match name {
        "au_abn" => au_abn,
        "au_acn" => au_acn,
        "au_medicare" => au_medicare,
        "au_tfn" => au_tfn,
        "br_cpf" => br_cpf,
        "ca_sin" => ca_sin,
        "cn_id" => cn_id,
        "de_health" => de_health,
        "de_id_card" => de_id_card,
        "de_tax_id" => de_tax_id,
        "de_vat" => de_vat,
        "de_social_security" => de_social_security,
        "es_nif" => es_nif,
        "fi_hetu" => fi_hetu,
        "fr_nir" => fr_nir,
        "in_aadhaar" => verhoeff,
        "in_gstin" => in_gstin,
        "it_fiscal" => it_fiscal,
        "it_vat" => it_vat,
        "kr_brn" => kr_brn,
        "kr_frn" => kr_frn,
        "kr_rrn" => kr_rrn,
        "nl_bsn" => nl_bsn,
        "no_fnr" => no_fnr,
        "pl_pesel" => pl_pesel,
        "se_personnummer" => se_personnummer,
        "sg_fin" => sg_fin,
        "uk_nhs" => uk_nhs,
        "uk_nino" => uk_nino,
        "za_id" => za_id,
        _ => return None,
    })
}

fn part(v: &[u8], from: usize, to: usize) -> u64 {
    v.get(from..to).and_then(number).unwrap_or(u64::MAX)
}

fn last_digit(v: &[u8]) -> Option<u32> {
    v.last().and_then(|b| digit(*b))
}

fn uniform(v: &[u8]) -> bool {
    v.windows(2).all(|w| w.first() == w.last())
}

/// A day of a two-digit year, whatever the century.
fn short_date(y: u64, m: u64, d: u64) -> bool {
    y < 100 && (calendar(1900 + y, m, d) || calendar(2000 + y, m, d))
}

fn au_abn(v: &[u8]) -> bool {
    let w = [10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19];
    v.first() != Some(&b'0') && weighted(v, &w).is_some_and(|s| s >= 10 && (s - 10).is_multiple_of(89))
}

fn au_acn(v: &[u8]) -> bool {
    let body = v.get(..8).and_then(|b| weighted(b, &[8, 7, 6, 5, 4, 3, 2, 1]));
    v.len() == 9 && !uniform(v) && body.zip(last_digit(v)).is_some_and(|(s, c)| (10 - s % 10) % 10 == c)
}

fn au_medicare(v: &[u8]) -> bool {
    let body = v.get(..8).and_then(|b| weighted(b, &[1, 3, 7, 9, 1, 3, 7, 9]));
    v.len() == 10
        && matches!(v.first(), Some(b'2'..=b'6'))
        && body.zip(v.get(8).and_then(|b| digit(*b))).is_some_and(|(s, c)| s % 10 == c)
}

fn au_tfn(v: &[u8]) -> bool {
    !uniform(v) && weighted(v, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_some_and(|s| s.is_multiple_of(11))
}

fn br_cpf(v: &[u8]) -> bool {
    let check = |n: usize| {
        let sum: u32 = v
            .iter()
            .take(n)
            .enumerate()
            .filter_map(|(i, b)| Some(digit(*b)? * (n as u32 + 1 - i as u32)))
            .sum();
        let c = sum * 10 % 11 % 10;
        v.get(n).and_then(|b| digit(*b)) == Some(c)
    };
    v.len() == 11 && !uniform(v) && check(9) && check(10)
}

fn ca_sin(v: &[u8]) -> bool {
    v.len() == 9 && !matches!(v.first(), Some(b'0' | b'8')) && !uniform(v) && luhn(v)
}

fn cn_id(v: &[u8]) -> bool {
    let Some(sum) =
        v.get(..17).and_then(|b| weighted(b, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]))
    else {
        return false;
    };
    v.len() == 18
        && (1900..=2099).contains(&part(v, 6, 10))
        && calendar(part(v, 6, 10), part(v, 10, 12), part(v, 12, 14))
        && v.last() == b"10X98765432".get(sum as usize % 11)
}

/// Krankenversichertennummer: the letter as two digits, alternating weights, digit sums.
fn de_health(v: &[u8]) -> bool {
    let (Some(letter), Some(rest)) = (v.first().filter(|b| b.is_ascii_uppercase()), v.get(1..9)) else {
        return false;
    };
    let n = u32::from(letter - b'A') + 1;
    let digits = [n / 10, n % 10].into_iter().chain(rest.iter().filter_map(|b| digit(*b)));
    let sum: u32 = digits.zip([1, 2].into_iter().cycle()).map(|(d, w)| d * w / 10 + d * w % 10).sum();
    v.len() == 10 && last_digit(v) == Some(sum % 10)
}

/// Identity card and passport of Germany: weights 7-3-1 with letters as 10 to 35.
fn de_id_card(v: &[u8]) -> bool {
    let value = |b: &u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'Z' => u32::from(b - b'A') + 10,
        _ => 0,
    };
    let body_ok = v.iter().take(9).all(|b| b"0123456789CFGHJKLMNPRTVWXYZ".contains(b))
        && v.first().is_some_and(|b| b"CFGHJKLMNPRTVWXYZ".contains(b));
    let sum: u32 = v.iter().take(9).zip([7, 3, 1].into_iter().cycle()).map(|(b, w)| value(b) * w).sum();
    body_ok && (v.len() == 9 || v.len() == 10 && last_digit(v) == Some(sum % 10))
}

/// ISO 7064 mod 11,10 over all digits but the last.
fn mod_11_10(v: &[u8]) -> bool {
    let Some((last, body)) = v.split_last() else { return false };
    let mut product = 10;
    for b in body {
        let Some(d) = digit(*b) else { return false };
        let sum = match (d + product) % 10 {
            0 => 10,
            s => s,
        };
        product = sum * 2 % 11;
    }
    digit(*last) == Some((11 - product) % 10)
}

fn de_tax_id(v: &[u8]) -> bool {
    let mut counts = [0u8; 10];
    for d in v.iter().take(10).filter_map(|b| digit(*b)) {
        if let Some(c) = counts.get_mut(d as usize) {
            *c += 1;
        }
    }
    let repeated = counts.iter().filter(|c| **c > 1).count();
    v.len() == 11
        && v.first() != Some(&b'0')
        && repeated <= 1
        && counts.iter().all(|c| *c <= 3)
        && mod_11_10(v)
}

fn de_vat(v: &[u8]) -> bool {
    v.strip_prefix(b"DE").is_some_and(|d| d.len() == 9 && mod_11_10(d))
}

fn de_social_security(v: &[u8]) -> bool {
    let (Some(head), Some(letter), Some(tail)) =
        (v.get(..8), v.get(8).filter(|b| b.is_ascii_uppercase()), v.get(9..11))
    else {
        return false;
    };
    let n = u32::from(letter - b'A') + 1;
    let digits = head
        .iter()
        .filter_map(|b| digit(*b))
        .chain([n / 10, n % 10])
        .chain(tail.iter().filter_map(|b| digit(*b)));
    let sum: u32 =
        digits.zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]).map(|(d, w)| d * w / 10 + d * w % 10).sum();
    v.len() == 12 && last_digit(v) == Some(sum % 10)
}

/// DNI, NIE and the letter NIFs: the letter table of the Spanish interior ministry (mod 23).
fn es_nif(v: &[u8]) -> bool {
    let Some((letter, body)) = v.split_last() else { return false };
    let lead = match body.first() {
        Some(b'X') => Some(0),
        Some(b'Y') => Some(1),
        Some(b'Z') => Some(2),
        _ => None,
    };
    let n = match lead {
        Some(l) if body.len() == 8 => part(body, 1, 8).saturating_add(l * 10_000_000),
        None if (7..=8).contains(&body.len()) => part(body, 0, body.len()),
        _ => return false,
    };
    n != u64::MAX && b"TRWAGMYFPDXBNJZSQVHLCKE".get((n % 23) as usize) == Some(letter)
}

fn fi_hetu(v: &[u8]) -> bool {
    let (Some(serial), Some(date)) =
        (v.get(v.len().saturating_sub(4)..v.len().saturating_sub(1)), v.get(..6))
    else {
        return false;
    };
    let n = part(date, 0, 6).checked_mul(1000).and_then(|d| d.checked_add(number(serial)?));
    let (day, month, year) = (part(date, 0, 2), part(date, 2, 4), part(date, 4, 6));
    short_date(year, month, day)
        && number(serial).is_some_and(|s| s >= 2)
        && n.and_then(|n| b"0123456789ABCDEFHJKLMNPRSTUVWXY".get((n % 31) as usize)) == v.last()
}

/// French social security number: 97 minus the number mod 97; Corsican departments as 19 and 18.
fn fr_nir(v: &[u8]) -> bool {
    let (Some(body), key) = (v.get(..13), part(v, 13, 15)) else { return false };
    let (dept, minus) = match body.get(5..7) {
        Some(b"2A") => (true, 1_000_000),
        Some(b"2B") => (true, 2_000_000),
        _ => (false, 0),
    };
    let digits: Vec<u8> =
        body.iter().enumerate().map(|(i, b)| if dept && i == 6 { b'0' } else { *b }).collect();
    let n = part(&digits, 0, 13);
    let month = part(v, 3, 5);
    n != u64::MAX
        && v.len() == 15
        && matches!(v.first(), Some(b'1'..=b'4' | b'7' | b'8'))
        && (matches!(month, 1..=12 | 20..=42 | 50..=99))
        && 97 - (n - minus) % 97 == key
}

/// The Verhoeff sum of Aadhaar; a palindrome or a first digit of 0 or 1 was never given out.
fn verhoeff(v: &[u8]) -> bool {
    const D: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const P: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let mut c = 0u8;
    for (i, b) in v.iter().rev().enumerate() {
        let p = P.get(i % 8).zip(digit(*b)).and_then(|(row, d)| row.get(d as usize));
        let Some(next) = p.and_then(|p| D.get(usize::from(c))?.get(usize::from(*p))) else { return false };
        c = *next;
    }
    v.len() == 12 && !matches!(v.first(), Some(b'0' | b'1')) && !v.iter().eq(v.iter().rev()) && c == 0
}

fn in_gstin(v: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let value = |b: &u8| ALPHABET.iter().position(|a| a == b);
    let Some((check, body)) = v.split_last() else { return false };
    let mut sum = 0;
    for (i, b) in body.iter().enumerate() {
        let Some(n) = value(b) else { return false };
        let product = n * (1 + i % 2);
        sum += product / 36 + product % 36;
    }
    v.len() == 15 && (1..=38).contains(&part(v, 0, 2)) && value(check) == Some((36 - sum % 36) % 36)
}

fn it_fiscal(v: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some((check, body)) = v.split_last() else { return false };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let n =
                if b.is_ascii_digit() { usize::from(b - b'0') } else { usize::from(b.saturating_sub(b'A')) };
            if i % 2 == 0 { ODD.get(n).copied().unwrap_or(0) } else { n as u32 }
        })
        .sum();
    v.len() == 16 && u32::from(check.saturating_sub(b'A')) == sum % 26
}

fn it_vat(v: &[u8]) -> bool {
    v.len() == 11 && !uniform(v) && luhn(v)
}

fn kr_brn(v: &[u8]) -> bool {
    let body = v.get(..9).and_then(|b| weighted(b, &[1, 3, 7, 1, 3, 7, 1, 3, 5]));
    let carry = v.get(8).and_then(|b| digit(*b)).map_or(0, |d| d * 5 / 10);
    v.len() == 10 && body.zip(last_digit(v)).is_some_and(|(s, c)| (10 - (s + carry) % 10) % 10 == c)
}

fn kr_date(v: &[u8]) -> bool {
    v.len() == 13 && short_date(part(v, 0, 2), part(v, 2, 4), part(v, 4, 6))
}

/// Resident number: numbers given out since October 2020 carry no check digit, so the date and the sex digit decide.
fn kr_rrn(v: &[u8]) -> bool {
    kr_date(v) && matches!(v.get(6), Some(b'1'..=b'4' | b'9' | b'0'))
}

fn kr_frn(v: &[u8]) -> bool {
    kr_date(v) && matches!(v.get(6), Some(b'5'..=b'8'))
}

fn nl_bsn(v: &[u8]) -> bool {
    let body = v.get(..8).and_then(|b| weighted(b, &[9, 8, 7, 6, 5, 4, 3, 2]));
    v.len() == 9
        && !uniform(v)
        && body.zip(last_digit(v)).is_some_and(|(s, c)| (s + 11 - c).is_multiple_of(11))
}

fn no_fnr(v: &[u8]) -> bool {
    let day = part(v, 0, 2);
    let month = part(v, 2, 4);
    let day = if day > 40 { day - 40 } else { day };
    let month = if month > 40 { month - 40 } else { month };
    v.len() == 11
        && short_date(part(v, 4, 6), month, day)
        && v.get(..10)
            .and_then(|b| weighted(b, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]))
            .is_some_and(|s| s.is_multiple_of(11))
        && weighted(v, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_some_and(|s| s.is_multiple_of(11))
}

fn pl_pesel(v: &[u8]) -> bool {
    v.len() == 11
        && short_date(part(v, 0, 2), part(v, 2, 4) % 20, part(v, 4, 6))
        && weighted(v, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_some_and(|s| s.is_multiple_of(10))
}

fn se_personnummer(v: &[u8]) -> bool {
    let Some(short) = v.get(v.len().saturating_sub(10)..) else { return false };
    let day = part(short, 4, 6);
    let day = if day > 60 { day - 60 } else { day };
    matches!(v.len(), 10 | 12) && short_date(part(short, 0, 2), part(short, 2, 4), day) && luhn(short)
}

fn sg_fin(v: &[u8]) -> bool {
    let (Some(kind), Some(body)) = (v.first(), v.get(1..8)) else { return false };
    let Some(sum) = weighted(body, &[2, 7, 6, 5, 4, 3, 2]) else { return false };
    let (offset, table) = match kind {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"KLJNPQRTUWX"),
        _ => return false,
    };
    let index = (sum + offset) as usize % 11;
    let index = if *kind == b'M' { 10 - index } else { index };
    v.len() == 9 && table.get(index) == v.last()
}

fn uk_nhs(v: &[u8]) -> bool {
    !uniform(v) && weighted(v, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_some_and(|s| s.is_multiple_of(11))
}

/// National insurance number: the prefixes that HMRC never gives out are refused.
fn uk_nino(v: &[u8]) -> bool {
    let (Some(prefix), Some(digits)) = (v.get(..2), v.get(2..8)) else { return false };
    v.len() == 9
        && digits.iter().all(u8::is_ascii_digit)
        && prefix.first().is_some_and(|b| b.is_ascii_uppercase() && !b"DFIQUV".contains(b))
        && prefix.get(1).is_some_and(|b| b.is_ascii_uppercase() && !b"DFIOQUV".contains(b))
        && !matches!(prefix, b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ")
        && matches!(v.last(), Some(b'A'..=b'D'))
}

fn za_id(v: &[u8]) -> bool {
    v.len() == 13
        && short_date(part(v, 0, 2), part(v, 2, 4), part(v, 4, 6))
        && matches!(v.get(10), Some(b'0' | b'1'))
        && luhn(v)
}

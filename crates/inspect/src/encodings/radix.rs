//! Text written as numbers: bits, octal dumps, bytes that are marked as such, rows of numbers; and as one number in base 58 or in the
//! digits of base32hex. Numbers are ordinary, so that what is read here counts for a secret alone.

use super::numbers::{self, Numbers};
use super::readable::{LEAST_TEXT, nibble, readable};
use super::runs;

/// Digits that are a row of bits, and not a number of ones and zeros.
const LEAST_BITS: usize = 8 * LEAST_TEXT;
/// Characters of a number in base 58: a shorter one says too little, and a longer one costs the square of its length.
const BASE58: std::ops::RangeInclusive<usize> = 24..=256;
const BASE58_DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Characters of base32hex.
const LEAST_BASE32: usize = 24;

/// What the numbers of a text say.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Each reading on its own.
    pub(crate) text: Vec<u8>,
    pub(crate) numbers: numbers::Read,
    pub(crate) work: u64,
}

/// Reads the numbers of a text, spending about `most` bytes.
pub(crate) fn decode(text: &[u8], most: u64) -> Read {
    let (mut read, mut numbers) = (Rows::default(), Numbers::default());
    let mut work = text.len() as u64 / 8;
    let mut next = 0;
    for word in text.split(|b| !b.is_ascii_alphanumeric()) {
        let start = next;
        next += word.len() + 1;
        if word.is_empty() {
            continue;
        }
        if work + numbers.written() > most {
            break;
        }
        read.word(word);
        numbers.word(text, start, word);
        // Base64 is mostly neither, which its first letters show.
        if BASE58.contains(&word.len())
            && is_mixed(word)
            && let Some(bytes) = base58(word)
        {
            work += (word.len() * word.len() / 16) as u64;
            readable(&bytes, &mut read.out);
        }
        if word.len() >= LEAST_BASE32
            && let Some(bytes) = base32hex(word)
        {
            work += word.len() as u64;
            readable(&bytes, &mut read.out);
        }
    }
    read.end();
    let numbers = numbers.finish();
    work += numbers.rows.len() as u64;
    Read { text: read.out, numbers, work }
}

/// Rows of numbers, as far as they go.
#[derive(Default)]
struct Rows {
    bits: Vec<u8>,
    octal: Vec<u8>,
    marked: Vec<u8>,
    out: Vec<u8>,
}

impl Rows {
    fn word(&mut self, word: &[u8]) {
        let is_number = word.first().is_some_and(u8::is_ascii_digit);
        // A dump says at the beginning of a line where it is.
        let is_place = is_number && matches!(word.len(), 7 | 8) && word.starts_with(b"00") && !is_bits(word);
        if !is_place {
            self.bits(word);
            self.octal(word);
        }
        match marked(word) {
            Some(byte) => self.marked.push(byte),
            None if !self.marked.is_empty() => readable(&std::mem::take(&mut self.marked), &mut self.out),
            None => {}
        }
    }

    fn bits(&mut self, word: &[u8]) {
        if is_bits(word) && (word.len() == 8 || word.len() >= LEAST_BITS) {
            let bytes = word.as_chunks::<8>().0.iter();
            self.bits.extend(bytes.map(|eight| eight.iter().fold(0, |byte, b| byte << 1 | (b & 1))));
        } else if !self.bits.is_empty() {
            readable(&std::mem::take(&mut self.bits), &mut self.out);
        }
    }

    fn octal(&mut self, word: &[u8]) {
        match word {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
                self.octal.push((a & 3) << 6 | (b & 7) << 3 | (c & 7));
            }
            _ if !self.octal.is_empty() => readable(&std::mem::take(&mut self.octal), &mut self.out),
            _ => {}
        }
    }

    fn end(&mut self) {
        for row in [&mut self.marked, &mut self.bits, &mut self.octal] {
            readable(&std::mem::take(row), &mut self.out);
        }
    }
}

/// A byte that says in front or behind in which digits it is written: `0b1100111`, `0o147`, `0x67`, `67h`; or two digits of hex.
#[inline]
fn marked(word: &[u8]) -> Option<u8> {
    let byte =
        |a: u8, b: u8| (a.is_ascii_hexdigit() && b.is_ascii_hexdigit()).then(|| nibble(a) << 4 | nibble(b));
    match word {
        [a, b] => byte(*a, *b),
        [a, b, b'h' | b'H'] => byte(*a, *b),
        // Most words begin otherwise.
        [b'0', mark, digits @ ..] => {
            let radix = match mark | 0x20 {
                b'b' => 2,
                b'o' => 8,
                b'x' => 16,
                _ => return None,
            };
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
        }
        _ => None,
    }
}

fn is_bits(word: &[u8]) -> bool {
    word.iter().all(|b| matches!(b, b'0' | b'1')) && word.len().is_multiple_of(8)
}

/// Letters of both cases and digits.
fn is_mixed(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_digit)
        && word.iter().any(u8::is_ascii_lowercase)
        && word.iter().any(u8::is_ascii_uppercase)
}

/// The bytes of a number in base 58, the highest first.
fn base58(word: &[u8]) -> Option<Vec<u8>> {
    // Its alphabet leaves out what looks alike.
    if word.iter().any(|b| matches!(b, b'0' | b'O' | b'I' | b'l')) {
        return None;
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(word.len());
    for digit in word {
        let mut carry = BASE58_DIGITS.iter().position(|b| b == digit)?;
        for byte in &mut bytes {
            carry += usize::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    bytes.reverse();
    Some(bytes)
}

fn base32hex(word: &[u8]) -> Option<Vec<u8>> {
    let is_upper = word.iter().any(u8::is_ascii_uppercase);
    let five = |b: &u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'V' if is_upper => Some(b - b'A' + 10),
        b'a'..=b'v' if !is_upper => Some(b - b'a' + 10),
        _ => None,
    };
    let digits = word.iter().map(five).collect::<Option<Vec<u8>>>()?;
    let mut bytes = Vec::with_capacity(word.len() * 5 / 8);
    runs::from_fives(digits.into_iter(), &mut bytes);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encodings::noise;

    const TEXT: &[u8] = b"key ghp_abcdefghijklmnopqrstuvwxyz0123456789";

    fn reads(text: &str) -> bool {
        let read = decode(text.as_bytes(), u64::MAX);
        let out = [read.text, read.numbers.text].concat();
        memchr::memmem::find(&out, b"ghp_abcdefghijklmnopqrstuvwxyz0123456789").is_some()
    }

    fn each(between: &str, of: impl Fn(u8) -> String) -> String {
        TEXT.iter().map(|b| of(*b)).collect::<Vec<_>>().join(between)
    }

    #[test]
    fn text_that_is_written_as_numbers_is_read() {
        let pairs = |order: fn([u8; 2]) -> u16, form: fn(u16) -> String| {
            let words: Vec<String> = TEXT.as_chunks::<2>().0.iter().map(|two| form(order(*two))).collect();
            words.join(" ")
        };
        let dump = |line: &[u8]| line.iter().map(|b| format!(" {b:03o}")).collect::<String>();
        let lines = TEXT.chunks(16).enumerate().map(|(n, line)| format!("{:07o}{}\n", n * 16, dump(line)));
        for text in [
            each(" ", |b| format!("{b:08b}")),
            each("", |b| format!("{b:08b}")),
            each(" ", |b| format!("{b:03o}")),
            lines.collect(),
            each("+", |b| format!("chr({b})")),
            each(" . ", |b| format!("Chr({b})")),
            format!("String.fromCharCode({})", each(", ", |b| b.to_string())),
            each("||", |b| format!("CHAR({b})")),
            pairs(u16::from_be_bytes, |word| format!("0x{word:04x},")),
            pairs(u16::from_le_bytes, |word| format!("{word:04x}")),
            each(", ", |b| format!("0x00{b:02x}")),
        ] {
            assert!(reads(&text), "{text}");
        }
    }

    #[test]
    fn a_number_in_base_58_and_base_32_is_read() {
        let mut number: Vec<u8> = Vec::new();
        for byte in TEXT {
            let mut carry = usize::from(*byte);
            for digit in &mut number {
                carry += usize::from(*digit) << 8;
                *digit = (carry % 58) as u8;
                carry /= 58;
            }
            while carry > 0 {
                number.push((carry % 58) as u8);
                carry /= 58;
            }
        }
        let text: String = number.iter().rev().map(|d| char::from(BASE58_DIGITS[usize::from(*d)])).collect();
        assert!(reads(&text), "{text}");
        let (mut held, mut bits, mut hex) = (0u32, 0, String::new());
        for byte in TEXT.iter().chain(&[0; 4]) {
            held = held << 8 | u32::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                let five = (held >> bits & 31) as u8;
                hex.push(char::from(if five < 10 { b'0' + five } else { b'A' + five - 10 }));
            }
        }
        assert!(reads(&hex) && reads(&hex.to_lowercase()), "{hex}");
    }

    #[test]
    fn ordinary_numbers_say_nothing() {
        let (mut seed, mut text) = (3, String::new());
        for n in 0..4_000u32 {
            let (a, b) = (noise(&mut seed), noise(&mut seed));
            text.push_str(&format!("{n},{a},0.{b:03},{a:03} 0x{a:02x}{b:02x} M{a} {b}L{b} {a:08b}\n"));
            text.push_str(
                "integrity sha512-9yZbHJVTzTgkJSAvSLb8zKxQNEbGvnFZVBUnKPLeZvJqeUTkLrPNsb1yLzvYKcBZ\n",
            );
            text.push_str("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 ACGTACGTTAGCACGTACGTTAGC\n");
        }
        let read = decode(text.as_bytes(), u64::MAX);
        let out = [read.text, read.numbers.text].concat();
        assert!(out.len() < 2_000, "{}", String::from_utf8_lossy(&out));
        assert!(read.work < text.len() as u64 * 16);
        // The budget ends it.
        let (most, first) = (1_000, text.len() as u64 / 8);
        assert!(decode(text.as_bytes(), first + most).work < first + 2 * most);
    }
}

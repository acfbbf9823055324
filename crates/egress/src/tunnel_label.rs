//! Whether one label of a name looks written by a program that puts data into it.
//!
//! Names that people and clouds give out are words, numbers, or one identifier of a usual length. Encoded data is long, of one
//! alphabet, without words; and often it decodes to text.

/// What is odd about a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// It decodes (hex, base32) to text.
    HidesText,
    /// It is longer than any identifier, and random.
    Encoded,
    /// An identifier: one is usual, many are a stream of data.
    Identifier,
}

/// Eight bytes of text in hex, ten in base32. A random identifier in hex decodes to as much text once in 2,500; one of 16
/// characters that are all of base32's alphabet does so once in a hundred, which is rare enough since few are.
const MIN_HIDDEN_TEXT: usize = 16;
/// Digits of UUIDs and MD5, and of SHA-1. Hex of another length, from [`MIN_ENCODED`] on, is data.
const HEX_IDENTIFIERS: [usize; 2] = [32, 40];
/// From here on an identifier in base32 or base64 is longer than those that clouds put below a name of theirs that is not in the
/// public suffix list: 20 to 26 (KSUID, ULID, search domains). So is hex, but for the lengths above.
const MIN_ENCODED: usize = 28;
/// Shorter labels carry so little that only their number tells.
const MIN_IDENTIFIER: usize = 10;
/// Bits a character. English text in labels has 3 to 3.6 at these lengths but no digits in between; random base32 of 28
/// characters has 4.1 on average and 3.7 in the worst of a thousand.
const MIN_ENTROPY: f64 = 3.6;

/// What is odd about this label of lower-case letters, digits, hyphens and underscores.
pub(crate) fn oddity(label: &str) -> Option<Oddity> {
    let label = label.as_bytes();
    if hides_text(label) {
        return Some(Oddity::HidesText);
    }
    if is_uuid(label) {
        return Some(Oddity::Identifier);
    }
    let words = || label.split(|b| matches!(b, b'-' | b'_'));
    // Base64 for URLs has hyphens and underscores of its own: then nearly all pieces are random, and no word is among them.
    let random: usize = words().filter(|w| is_mixed(w) && !is_hex_identifier(w)).map(<[u8]>::len).sum();
    let base64 = random >= MIN_ENCODED && random * 10 >= label.len() * 9 && entropy(label) >= MIN_ENTROPY;
    if base64 || words().any(|w| word(w) == Some(Oddity::Encoded)) {
        return Some(Oddity::Encoded);
    }
    words().find_map(word)
}

fn word(word: &[u8]) -> Option<Oddity> {
    if is_hex_identifier(word) {
        return Some(Oddity::Identifier);
    }
    if word.len() >= MIN_ENCODED && word.iter().all(u8::is_ascii_hexdigit) {
        return Some(Oddity::Encoded);
    }
    if !is_mixed(word) && !is_unspeakable(word) {
        return None;
    }
    if word.len() >= MIN_ENCODED && entropy(word) >= MIN_ENTROPY {
        return Some(Oddity::Encoded);
    }
    (word.len() >= MIN_IDENTIFIER).then_some(Oddity::Identifier)
}

fn is_hex_identifier(word: &[u8]) -> bool {
    HEX_IDENTIFIERS.contains(&word.len()) && word.iter().all(u8::is_ascii_hexdigit)
}

fn is_uuid(label: &[u8]) -> bool {
    let groups = label.split(|b| *b == b'-').map(<[u8]>::len);
    label.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-') && groups.eq([8, 4, 4, 4, 12])
}

/// Digits in between the letters more than once: `v2`, `east1` and `ipv4only` are words, `k3z9x` is not.
fn is_mixed(word: &[u8]) -> bool {
    let changes = word.windows(2).filter(|pair| match pair {
        [a, b] => a.is_ascii_digit() != b.is_ascii_digit(),
        _ => false,
    });
    changes.count() >= 3
}

/// Letters alone that nobody can say: hardly a vowel, or consonants without end. Long words of any language have vowels in at
/// least a fifth of their letters.
fn is_unspeakable(word: &[u8]) -> bool {
    let vowel = |b: &u8| matches!(b, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let letters = word.iter().filter(|b| b.is_ascii_lowercase()).count();
    let vowels = word.iter().filter(|b| vowel(b)).count();
    let longest = word.split(vowel).map(<[u8]>::len).max().unwrap_or(0);
    letters >= MIN_HIDDEN_TEXT && (vowels * 6 < letters || longest >= 8)
}

/// Shannon entropy in bits a character.
fn entropy(label: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in label {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let len = label.len() as f64;
    counts.iter().filter(|c| **c > 0).map(|c| f64::from(*c) / len).map(|p| -p * p.log2()).sum()
}

fn hides_text(label: &[u8]) -> bool {
    if label.len() < MIN_HIDDEN_TEXT || !label.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let hex = unpack(label, 4, |b| char::from(b).to_digit(16));
    // All of it in hex; identifiers have more than eight bytes, so chance has less of one.
    if hex.is_some_and(|bytes| bytes.iter().all(|b| is_text(*b))) {
        return true;
    }
    // In base32 half of it is enough: what is hidden may be a key with a readable prefix.
    let base32 = unpack(label, 5, |b| match b {
        b'a'..=b'z' => Some(u32::from(b - b'a')),
        b'2'..=b'7' => Some(u32::from(b - b'2') + 26),
        _ => None,
    });
    base32.is_some_and(|bytes| {
        let run = bytes.split(|b| !is_text(*b)).map(<[u8]>::len).max().unwrap_or(0);
        run >= 6 && run * 2 >= bytes.len()
    })
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t')
}

/// The whole bytes of digits of so many bits each, or nothing when one is no digit.
fn unpack(label: &[u8], bits: u32, digit: impl Fn(u8) -> Option<u32>) -> Option<Vec<u8>> {
    let (mut window, mut filled) = (0u32, 0u32);
    let mut out = Vec::with_capacity(label.len());
    for byte in label {
        window = window << bits | digit(*byte)?;
        filled += bits;
        if filled >= 8 {
            filled -= 8;
            out.push((window >> filled & 0xff) as u8);
            window &= (1 << filled) - 1;
        }
    }
    Some(out)
}

//! What a value looks like by itself: drawn at random, code, a name, or a stand-in for a value.

use std::sync::LazyLock;

use serde::Deserialize;

/// The longest value.
pub(super) const VALUE: usize = 1024;

const PACK: &str = "packs/inspection/passwords.toml";

/// Words in place of passwords.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    /// What people write where a password or key stands, and what names one.
    stand_ins: Vec<String>,
    /// Those that everybody knows.
    well_known: Vec<String>,
}

static PASSWORDS: LazyLock<Passwords> = LazyLock::new(|| chaperone_packs::table(PACK));

fn stand_ins() -> impl Iterator<Item = &'static [u8]> {
    PASSWORDS.stand_ins.iter().map(String::as_bytes)
}
/// Shorter ones are parts of too many words.
const WITHIN_WORDS: usize = 3;
const BESIDE_WORDS: usize = 4;

/// Names of digests as lock files and addresses of content have them, and the length of each in base64.
///
/// Source: W3C Subresource Integrity.
pub(super) const DIGESTS: [(&[u8], usize); 4] =
    [(b"sha1-", 28), (b"sha256-", 44), (b"sha384-", 64), (b"sha512-", 88)];

/// Whether a value is a word that stands in for a password.
pub(super) fn is_stand_in(v: &[u8]) -> bool {
    stand_ins().any(|word| v.eq_ignore_ascii_case(word))
}

/// Whether such a word is a part of it.
pub(super) fn holds_stand_in(v: &[u8]) -> bool {
    let lower = v.to_ascii_lowercase();
    let mut words = stand_ins().filter(|word| word.len() >= WITHIN_WORDS);
    words.any(|word| memchr::memmem::find(&lower, word).is_some())
}

/// Whether such a word is one of its words.
pub(super) fn says_stand_in(v: &[u8]) -> bool {
    let lower = v.to_ascii_lowercase();
    stand_ins().filter(|word| word.len() >= BESIDE_WORDS).any(|word| {
        lower == *word
            || lower.windows(word.len() + 1).any(|x| {
                x.ends_with(word) && !x.starts_with(b"s") && !x.first().is_some_and(u8::is_ascii_alphanumeric)
                    || x.starts_with(word) && !x.last().is_some_and(u8::is_ascii_alphanumeric)
            })
    })
}

/// Shannon entropy in bits a byte.
pub(crate) fn entropy(value: &[u8]) -> f32 {
    let mut counts = [0u32; 256];
    for b in value {
        if let Some(c) = counts.get_mut(usize::from(*b)) {
            *c += 1;
        }
    }
    let n = value.len() as f32;
    counts.iter().filter(|c| **c > 0).map(|c| *c as f32 / n).map(|p| -p * p.log2()).sum()
}

pub(crate) fn is_uuid(v: &[u8]) -> bool {
    v.len() == 36
        && v.iter()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Stands in for a value: a variable, a template, a row of one character, an example, a password that is none.
pub(crate) fn is_placeholder(v: &[u8]) -> bool {
    let lower = v.to_ascii_lowercase();
    let has = |w: &[u8]| memchr::memmem::find(&lower, w).is_some();
    let variable = |r: &[u8]| {
        !r.is_empty()
            && r.iter().all(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-' | b'>' | b'/' | b'#')
            })
    };
    let template = matches!(v, [b'<', .., b'>'] | [b'[', .., b']'] | [b'%', .., b'%'] | [b'{', .., b'}'])
        || [b"${".as_slice(), b"{{", b"$(", b"%(", b"#{", b"<%", b"<your", b"%s", b"{0}", b"{1}"]
            .iter()
            .any(|t| has(t))
        || v.strip_prefix(b"$").is_some_and(|r| {
            r.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
                && variable(r)
                && !r.iter().any(u8::is_ascii_digit)
        })
        || v.first() == Some(&b'@') && v.last() == Some(&b'@');
    let longest_run = v.chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or(0);
    let stars = v.iter().filter(|b| matches!(b, b'*' | b'x' | b'X' | b'.' | b'0')).count();
    let words = [
        b"example".as_slice(),
        b"placeholder",
        b"changeme",
        b"change_me",
        b"change-me",
        b"redacted",
        b"your_",
        b"your-",
        b"yourpass",
        b"insert_",
        b"notreal",
        b"dummy",
    ];
    let nothing = [
        b"none".as_slice(),
        b"null",
        b"nil",
        b"true",
        b"false",
        b"undefined",
        b"todo",
        b"tbd",
        b"string",
        b"empty",
        b"required",
        b"optional",
        b"default",
    ];
    v.is_empty()
        || template
        || longest_run * 2 > v.len() && v.len() >= 4
        || longest_run >= 8 && stars * 2 > v.len()
        || stars * 10 > v.len() * 7 && v.len() >= 6
        || words.iter().any(|w| has(w))
        || nothing.iter().any(|w| lower == *w)
        || PASSWORDS.well_known.iter().any(|w| lower == w.as_bytes())
        || has(b"-----begin")
}

/// An upper-case name of a constant or a dotted name.
pub(super) fn is_constant(v: &[u8]) -> bool {
    v.iter().all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'.'))
        || v.contains(&b'.')
        || v.contains(&b'/')
}

/// Twenty letters or more that are not words.
pub(super) fn letters_only(v: &[u8]) -> bool {
    (20..=256).contains(&v.len())
        && v.iter().all(u8::is_ascii_alphabetic)
        && entropy(v) > 3.5
        && !identifier(v)
}

/// Code, a path, an address, a name: nothing that was drawn at random.
pub(super) fn looks_like_code(v: &[u8]) -> bool {
    let dotted = v.split(|b| *b == b'.').count() > 1
        && v.split(|b| *b == b'.').all(|p| {
            !p.is_empty() && p.len() <= 24 && p.iter().all(|b| b.is_ascii_alphabetic() || *b == b'_')
        });
    v.starts_with(b"http://")
        || v.starts_with(b"https://")
        || v.starts_with(b"/") && v.iter().filter(|b| **b == b'/').count() > 1
        || v.starts_with(b"./")
        || v.starts_with(b"../")
        || v.starts_with(b"$")
            && v.get(1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
            && v.iter().skip(1).all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        || v.starts_with(b"#") && v.iter().skip(1).all(|b| b.is_ascii_alphabetic() || *b == b'-')
        || v.windows(2).any(|w| {
            w == b"()" || w == b"->" || w == b"::" || w == b"[\"" || w == b"['" || w == b"(\"" || w == b"('"
        })
        || DIGESTS.iter().any(|(name, _)| v.starts_with(name))
        || v.starts_with(b"sha256:")
        || v.starts_with(b"data:")
        || is_call(v)
        || dotted
}

/// Parts that are all words or short numbers, as names of things are made.
pub(crate) fn identifier(v: &[u8]) -> bool {
    if v.iter().filter(|b| b.is_ascii_digit()).count() >= 10
        && v.iter().filter(|b| b.is_ascii_alphabetic()).count() >= 8
    {
        return false;
    }
    let mut parts =
        v.split(|b| matches!(b, b'_' | b'-' | b'.' | b'/' | b':' | b' ' | b'+' | b'@' | b',' | b'='));
    parts.all(|p| p.is_empty() || word(p) || humps(p)) || expression(v)
}

/// Words and a number that counts something (`issuecomment-412603285`, `discussion_r1875771953`).
pub(super) fn is_numbered(v: &[u8]) -> bool {
    let number = |p: &[u8]| {
        let letters = p.iter().take_while(|b| b.is_ascii_lowercase()).count();
        letters <= 1 && p.iter().skip(letters).all(u8::is_ascii_digit)
    };
    let digits = |p: &[u8]| p.iter().filter(|b| b.is_ascii_digit()).count();
    digits(v) <= LONGEST_NUMBER
        && v.split(|b| matches!(b, b'-' | b'_' | b'.')).all(|p| p.is_empty() || number(p) || word(p))
}

/// Digits that tell nobody much: so many are soon tried.
const LONGEST_NUMBER: usize = 12;

fn word(p: &[u8]) -> bool {
    let letters = p.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let digits = p.len() - letters;
    let flips = p
        .windows(2)
        .filter(|w| matches!(w, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()))
        .count();
    p.iter().skip(letters).all(u8::is_ascii_digit)
        && digits <= 4
        && is_spelled(p, letters)
        && letters <= LONGEST_WORD
        && flips * 4 <= letters
        || p.len() <= 4 && letters == 0
}

/// Letters of one word, as the longest are.
const LONGEST_WORD: usize = 20;

/// A vowel for every five letters, as in words; short ones are abbreviations.
fn is_spelled(word: &[u8], letters: usize) -> bool {
    letters <= 4 || word.iter().filter(|b| b"aeiouyAEIOUY".contains(b)).count() * 5 >= letters
}

/// Words of five letters and more on average that each begin with a capital, with a number or two between them
/// (`Http2Connection`): of what is drawn at random every second letter is a capital, and every sixth character a digit.
fn humps(p: &[u8]) -> bool {
    if !p.iter().all(u8::is_ascii_alphanumeric) || !p.iter().any(u8::is_ascii_lowercase) {
        return false;
    }
    let same = |a: &u8, b: &u8| {
        a.is_ascii_digit() == b.is_ascii_digit() && !(a.is_ascii_lowercase() && b.is_ascii_uppercase())
    };
    let (mut letters, mut words, mut digits, mut numbers, mut acronyms) = (0, 0, 0, 0, 0);
    for hump in p.chunk_by(same) {
        if hump.first().is_some_and(u8::is_ascii_digit) {
            digits += hump.len();
            numbers += 1;
            continue;
        }
        if hump.len() > LONGEST_WORD || !is_spelled(hump, hump.len()) {
            return false;
        }
        letters += hump.len();
        words += 1;
        acronyms += usize::from(hump.get(1).is_some_and(u8::is_ascii_uppercase));
    }
    let numbered =
        numbers == 0 || numbers <= 2 && digits * 3 <= letters && p.iter().any(u8::is_ascii_uppercase);
    words * 5 <= letters && acronyms <= 1 && numbered
}

/// Names of a program with the signs that languages put before and between them (`&watched_keys`, `Session|null`), each of
/// them long enough to be a word.
fn expression(v: &[u8]) -> bool {
    let parts = || v.split(|b| !b.is_ascii_alphanumeric()).filter(|p| !p.is_empty());
    let letters = v.iter().filter(|b| b.is_ascii_alphabetic()).count();
    letters * 4 >= v.len() * 3
        && parts().count() * 5 <= letters
        && v.iter().all(|b| b.is_ascii_alphanumeric() || b"&$*|\\:?;._<>',".contains(b))
        && parts().all(|p| word(p) || humps(p))
}

/// A call or an element of a list: a name, and names and numbers in brackets.
fn is_call(v: &[u8]) -> bool {
    let name = v.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$')).count();
    let closes = match v.get(name) {
        Some(b'(') => b')',
        Some(b'[') => b']',
        _ => return false,
    };
    name >= 3
        && !v.iter().take(name).any(u8::is_ascii_digit)
        && v.last() == Some(&closes)
        && v.iter().skip(name).all(|b| b.is_ascii_alphanumeric() || b"_.,$()[]->&*:\"'".contains(b))
}

/// Whether a value of at least `least` bytes looks drawn at random.
pub(super) fn random(v: &[u8], least: usize) -> bool {
    // A package and its address (`js-tokens@https://…`): each is what it is alone.
    if let Some(at) = v.iter().position(|b| *b == b'@')
        && let Some((package, address)) = v.split_at_checked(at)
        && [&b"@https://"[..], b"@http://"].iter().any(|scheme| address.starts_with(scheme))
    {
        return [package, address.get(1..).unwrap_or_default()].iter().any(|part| is_random(part, least));
    }
    is_random(v, least)
}

fn is_random(v: &[u8], least: usize) -> bool {
    v.len() >= least
        && v.len() <= VALUE
        && is_spread(v, least)
        && !v.iter().any(|b| b" ()[]{}<>\"'\\".contains(b))
        && !looks_like_code(v)
        && !identifier(v)
        && !is_dated(v)
}

/// A name with a date or a time in it, as logs and copies have one (`2026-11-28T15_15_12_198Z-debug-0.log`).
fn is_dated(v: &[u8]) -> bool {
    let starts =
        (0..v.len()).filter(|at| !at.checked_sub(1).and_then(|b| v.get(b)).is_some_and(u8::is_ascii_digit));
    let time = starts.filter_map(|at| Some((at, time_length(v.get(at..)?)?))).next();
    time.is_some_and(|(at, length)| {
        let rest = [v.get(..at).unwrap_or_default(), v.get(at + length..).unwrap_or_default()];
        rest.iter().all(|part| is_numbered(part) || identifier(part))
            && rest.iter().flat_map(|part| part.iter()).filter(|b| b.is_ascii_digit()).count()
                <= LONGEST_NUMBER / 2
    })
}

/// How long the date that this begins with is, and the time that belongs to it.
///
/// Source: ISO 8601, and with the signs that names of files may have.
fn time_length(v: &[u8]) -> Option<usize> {
    let between = |at: usize| usize::from(v.get(at).is_some_and(|b| b"-_./:".contains(b)));
    let number = |at: usize, most: u32| {
        let two = std::str::from_utf8(v.get(at..at + 2)?).ok()?;
        (two.bytes().all(|b| b.is_ascii_digit()) && two.parse::<u32>().ok()? <= most).then_some(at + 2)
    };
    let year = v.starts_with(b"19") || v.starts_with(b"20");
    let mut at = number(2, 99).filter(|_| year)?;
    for most in [12, 31] {
        at = number(at + between(at), most)?;
    }
    let date = at;
    let mut read = || {
        at += usize::from(v.get(at).is_some_and(|b| b"Tt_-. ".contains(b)));
        for most in [23, 59] {
            at = number(at + between(at), most)?;
        }
        let minute = at;
        at = number(at + between(at), 60).unwrap_or(minute);
        let part = v.get(at + 1..)?.iter().take_while(|b| b.is_ascii_digit()).count();
        at += if at > minute && between(at) == 1 && (1..=9).contains(&part) { 1 + part } else { 0 };
        Some(at + usize::from(matches!(v.get(at), Some(b'Z' | b'z'))))
    };
    let length = read().unwrap_or(date);
    (!v.get(length).is_some_and(u8::is_ascii_alphanumeric)).then_some(length)
}

/// Whether its letters and digits change as those that were drawn at random do.
fn is_spread(v: &[u8], least: usize) -> bool {
    let digits = v.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = v.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let other = v.len() - digits - letters;
    if other * 3 > v.len() || v.iter().any(|b| *b >= 0x80 || b.is_ascii_control()) {
        return false;
    }
    let hex = v.iter().all(u8::is_ascii_hexdigit);
    let h = entropy(v);
    // Entropy grows with the logarithm of the length until the alphabet is used up.
    let ceiling = (v.len() as f32).log2().min(if hex { 4.0 } else { 5.2 });
    let flips = v.windows(2).filter(|w| matches!(w, [a, b] if a.is_ascii_digit() != b.is_ascii_digit() || a.is_ascii_lowercase() != b.is_ascii_lowercase())).count();
    match () {
        () if letters == 0 => digits >= 20 && h > 2.5 && other == 0,
        () if digits == 0 => flips >= 6 && v.len() >= 16 && h / ceiling > 0.75,
        () if hex => v.len() >= least.max(16) && h > 2.4,
        () => {
            h / ceiling > 0.68 && flips >= 3
                || v.len() >= 12 && digits >= 4 && letters >= 4 && other * 10 <= v.len() && h / ceiling > 0.84
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_date_is_a_name_and_a_key_beside_one_is_a_key() {
        for name in [
            "2026-11-28T15_15_12_198Z-debug-0.log",
            "backup_20261128T151512Z.tar.gz",
            "2026-11-28_15-15-12-server-access.log",
            "IMG_20231104_153012_HDR",
            "report-2026.11.28",
        ] {
            assert!(is_dated(name.as_bytes()), "{name}");
            assert!(!random(name.as_bytes(), 15), "{name}");
        }
        for key in [
            "q7Gd81bK20sXz4PmN3vR",
            "q7Gd81bK-2026-11-28-20sXz4PmN3vR",
            "2026-11-28-q7Gd81bK20sXz4PmN3vR",
            "20261128q7Gd81bK20sXz4PmN3vR",
            "2026-11-28T15_15_12_198Z-48213907738162",
        ] {
            assert!(!is_dated(key.as_bytes()), "{key}");
        }
    }
}

//! Characters written as escapes: percent, entities of markup, `\u` and `\x`, quoted-printable. Only the neighbourhood of an
//! escape is looked at again, so that text with few of them costs little.

use std::ops::Range;

use super::readable::APART;
use crate::place::Step;

/// Bytes on either side of an escape that may belong to the same value or be its label.
const AROUND: usize = 96;
/// A neighbourhood ends at a blank, or here.
const FARTHEST: usize = 512;

/// One escape at the start of some bytes: how many it takes, and what it stands for.
type One = fn(&[u8]) -> Option<(usize, [u8; 4], usize)>;

/// Each kind of escape with the byte that begins it.
pub(crate) const KINDS: [(Step, u8, One); 4] = [
    (Step::Percent, b'%', percent),
    (Step::Entities, b'&', entity),
    (Step::Escapes, b'\\', backslash),
    (Step::QuotedPrintable, b'=', quoted_printable),
];

/// Others, in which whoever wants to get something out may write it.
pub(crate) const KINDS_THAT_LEAVE: [(Step, u8, One); 6] = [
    (Step::Escapes, b'\\', rare_backslash),
    (Step::Escapes, b'U', code_point),
    (Step::Escapes, b'^', carets),
    (Step::Escapes, b'u', bare),
    (Step::Escapes, b'_', workbook),
    (Step::Percent, b'%', overlong),
];

/// What `text` says where `first` begins an escape; nothing when it never does.
pub(crate) fn decode(text: &[u8], first: u8, one: One) -> Option<Vec<u8>> {
    let mut out = Pieces::default();
    for at in memchr::memchr_iter(first, text) {
        if at >= out.done
            && let Some((length, value, n)) = text.get(at..).and_then(one)
        {
            out.replace(text, at, at + length, value.get(..n).unwrap_or_default());
        }
    }
    out.finish(text)
}

/// The neighbourhoods of replaced stretches of a text.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    out: Vec<u8>,
    /// Up to here the text was copied or replaced.
    pub(crate) done: usize,
    pub(crate) replaced: u64,
    stretches: Vec<Stretch>,
}

/// Where a stretch of what is read stands in the text.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Its start in what is read.
    read: usize,
    /// Its start and end in the text.
    from: usize,
    to: usize,
    replaced: bool,
}

impl Pieces {
    /// Puts `value` in the place of `from..to`.
    pub(crate) fn replace(&mut self, text: &[u8], from: usize, to: usize, value: &[u8]) {
        if self.replaced == 0 || from > self.done + 2 * AROUND {
            self.end(text);
            let near = from.saturating_sub(AROUND).max(self.done);
            let before = text.get(near.saturating_sub(FARTHEST).max(self.done)..near).unwrap_or_default();
            let word = before.iter().rev().take_while(|b| !b.is_ascii_whitespace()).count();
            self.copy(text, near - word, from);
        } else {
            self.copy(text, self.done, from);
        }
        self.stretches.push(Stretch { read: self.out.len(), from, to, replaced: true });
        self.out.extend_from_slice(value);
        self.done = to;
        self.replaced += 1;
    }

    fn copy(&mut self, text: &[u8], from: usize, to: usize) {
        self.stretches.push(Stretch { read: self.out.len(), from, to, replaced: false });
        self.out.extend_from_slice(text.get(from..to).unwrap_or_default());
    }

    fn end(&mut self, text: &[u8]) {
        if self.replaced == 0 {
            return;
        }
        let near = (self.done + AROUND).min(text.len());
        let rest = text.get(near..).unwrap_or_default();
        let word = rest.iter().take(FARTHEST).take_while(|b| !b.is_ascii_whitespace()).count();
        self.copy(text, self.done, near + word);
        self.out.extend_from_slice(APART);
        self.done = near + word;
    }

    pub(crate) fn finish(self, text: &[u8]) -> Option<Vec<u8>> {
        self.finish_reading(text).map(|reading| reading.text)
    }

    /// The same, with the way back into `text`.
    pub(crate) fn finish_reading(mut self, text: &[u8]) -> Option<Reading> {
        self.end(text);
        (self.replaced > 0).then_some(Reading { text: self.out, stretches: self.stretches })
    }
}

/// Text as it is read, and where each byte of it stands as it is written.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) text: Vec<u8>,
    stretches: Vec<Stretch>,
}

impl Reading {
    /// Where `range` of what is read stands in the text that it was read from; `None` when nothing in it, nor right beside
    /// it, is written otherwise: then the text itself says as much.
    pub(crate) fn origin(&self, range: Range<usize>) -> Option<Range<usize>> {
        let first = self.stretches.partition_point(|s| s.read <= range.start).checked_sub(1)?;
        let after = self.stretches.partition_point(|s| s.read < range.end);
        let within = self.stretches.get(first..after)?;
        let (a, b) = (within.first()?, within.last()?);
        let start = if a.replaced { a.from } else { (a.from + (range.start - a.read)).min(a.to) };
        let end = if b.replaced { b.to } else { (b.from + (range.end - b.read)).min(b.to) };
        let beside = self.stretches.get(first.saturating_sub(1)..(after + 1).min(self.stretches.len()))?;
        let touches = |s: &Stretch| s.replaced && s.to >= start && s.from <= end;
        (start < end && beside.iter().any(touches)).then_some(start..end)
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(text, 16).ok()
}

fn character(code: u32) -> Option<([u8; 4], usize)> {
    let mut value = [0; 4];
    let n = char::from_u32(code)?.encode_utf8(&mut value).len();
    Some((value, n))
}

fn percent(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    // `%u0041`, as old scripts write it, too.
    if at.get(1) == Some(&b'u') {
        let (value, n) = character(hex(at.get(2..6)?)?)?;
        return Some((6, value, n));
    }
    let byte = hex(at.get(1..3)?)? as u8;
    Some((3, [byte, 0, 0, 0], 1))
}

fn quoted_printable(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    match at.get(1..3)? {
        b"\r\n" => Some((3, [0; 4], 0)),
        [b'\n', _] => Some((2, [0; 4], 0)),
        // Lower-case digits are not allowed in it, and common behind `=` elsewhere.
        d if !d.iter().any(u8::is_ascii_lowercase) => Some((3, [hex(d)? as u8, 0, 0, 0], 1)),
        _ => None,
    }
}

fn backslash(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    // Text that was quoted more than once has more than one.
    let slashes = at.iter().take(16).take_while(|b| **b == b'\\').count();
    let rest = at.get(slashes..)?;
    match rest.first()? {
        b'u' if rest.get(1) == Some(&b'{') => {
            let digits = rest.get(2..)?.iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
            let (value, n) = character(hex(rest.get(2..2 + digits)?)?)?;
            (rest.get(2 + digits) == Some(&b'}')).then_some((slashes + digits + 3, value, n))
        }
        b'u' => {
            let high = hex(rest.get(1..5)?)?;
            let low = rest.get(5..7).filter(|s| *s == b"\\u").and_then(|_| hex(rest.get(7..11)?));
            if let (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) = (high, low) {
                let (value, n) = character(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
                return Some((slashes + 11, value, n));
            }
            let (value, n) = character(high)?;
            Some((slashes + 5, value, n))
        }
        b'x' => Some((slashes + 3, [hex(rest.get(1..3)?)? as u8, 0, 0, 0], 1)),
        // Octal, as shells and C write it.
        b'0'..=b'3' => {
            let digits = rest.get(..3)?;
            let octal = digits.iter().all(|b| (b'0'..=b'7').contains(b));
            let value = digits.iter().fold(0u32, |n, b| n * 8 + u32::from(b & 7));
            (octal && value <= 255).then_some((slashes + 3, [value as u8, 0, 0, 0], 1))
        }
        b'/' => Some((slashes + 1, [b'/', 0, 0, 0], 1)),
        _ => None,
    }
}

/// As Python and C write what is beyond 16 bits, Perl, RTF, and style sheets.
fn rare_backslash(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let rest = at.get(1..)?;
    let hex_digits =
        |text: &[u8], most: usize| text.iter().take(most).take_while(|b| b.is_ascii_hexdigit()).count();
    let closed = |from: usize, most: usize| {
        let digits = hex_digits(rest.get(from..)?, most);
        let (value, n) = character(hex(rest.get(from..from + digits).filter(|d| !d.is_empty())?)?)?;
        (rest.get(from + digits) == Some(&b'}')).then_some((from + digits + 2, value, n))
    };
    match rest.first()? {
        b'U' => {
            let (value, n) = character(hex(rest.get(1..9)?)?)?;
            Some((10, value, n))
        }
        b'x' if rest.get(1) == Some(&b'{') => closed(2, 6),
        b'N' if rest.starts_with(b"N{U+") => closed(4, 6),
        b'u' => {
            let digits = rest.get(1..)?.iter().take(5).take_while(|b| b.is_ascii_digit()).count();
            let text = std::str::from_utf8(rest.get(1..1 + digits)?).ok()?;
            let (value, n) = character(text.parse().ok()?)?;
            (rest.get(1 + digits) == Some(&b'?')).then_some((digits + 3, value, n))
        }
        b'0' => {
            let digits = hex_digits(rest, 6);
            let (value, n) = character(hex(rest.get(..digits)?)?).filter(|_| digits >= 4)?;
            let blank = usize::from(rest.get(digits) == Some(&b' '));
            Some((1 + digits + blank, value, n))
        }
        _ => None,
    }
}

/// `U+0041`, and what stands between two of them.
fn code_point(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let digits = at.strip_prefix(b"U+")?.iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
    let (value, n) = character(hex(at.get(2..2 + digits)?)?).filter(|_| digits >= 4)?;
    let rest = at.get(2 + digits..)?;
    let between =
        rest.iter().take(4).take_while(|b| matches!(b, b' ' | b',' | b';' | b'<' | b'>' | b'-')).count();
    let goes_on = rest.get(between..).is_some_and(|rest| rest.starts_with(b"U+"));
    Some((2 + digits + if goes_on { between } else { 0 }, value, n))
}

/// As TeX writes a byte.
fn carets(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let digits = at.strip_prefix(b"^^")?.get(..2)?;
    Some((4, [hex(digits)? as u8, 0, 0, 0], 1))
}

/// `u0041u0042`: by itself it is a part of a word.
fn bare(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let one = |at: &[u8]| at.strip_prefix(b"u").and_then(|rest| hex(rest.get(..4)?));
    let (value, n) = character(one(at)?)?;
    let is_row = one(at.get(5..)?).is_some() || at.get(5).is_none_or(|b| !b.is_ascii_alphanumeric());
    is_row.then_some((5, value, n))
}

/// `_x0041_`, as workbooks write what XML has no sign for.
fn workbook(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let (value, n) = character(hex(at.strip_prefix(b"_x")?.get(..4)?)?)?;
    (at.get(6) == Some(&b'_')).then_some((7, value, n))
}

/// Two bytes for what is one in UTF-8; strict readers refuse it.
fn overlong(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    let (first, second) = (hex(at.get(1..3)?)?, at.get(3..6)?);
    let second = hex(second.strip_prefix(b"%")?).filter(|b| (0x80..0xc0).contains(b))?;
    matches!(first, 0xc0 | 0xc1).then_some((6, [((first & 1) << 6 | second & 0x3f) as u8, 0, 0, 0], 1))
}

pub(super) fn entity(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    const NAMED: [(&[u8], u8); 14] = [
        (b"&lowbar;", b'_'),
        (b"&hyphen;", b'-'),
        (b"&dash;", b'-'),
        (b"&period;", b'.'),
        (b"&colon;", b':'),
        (b"&equals;", b'='),
        (b"&plus;", b'+'),
        (b"&sol;", b'/'),
        (b"&commat;", b'@'),
        (b"&num;", b'#'),
        (b"&dollar;", b'$'),
        (b"&percnt;", b'%'),
        (b"&bsol;", b'\\'),
        (b"&amp;#", b'&'),
    ];
    if at.get(1) == Some(&b'#') {
        let (from, radix) = if matches!(at.get(2), Some(b'x' | b'X')) { (3, 16) } else { (2, 10) };
        let digits = at.get(from..)?.iter().take(8).take_while(|b| b.is_ascii_hexdigit()).count();
        let text = std::str::from_utf8(at.get(from..from + digits)?).ok()?;
        let (value, n) = character(u32::from_str_radix(text, radix).ok()?)?;
        let end = usize::from(at.get(from + digits) == Some(&b';'));
        return Some((from + digits + end, value, n));
    }
    let (name, value) = NAMED.iter().find(|(name, _)| at.starts_with(name))?;
    let length = name.len() - usize::from(name.ends_with(b"#"));
    Some((length, [*value, 0, 0, 0], 1))
}

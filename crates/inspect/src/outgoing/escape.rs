//! Characters written as escapes: percent, entities of markup, `\u` and `\x`, quoted-printable. Only the neighbourhood of an
//! escape is looked at again, so that text with few of them costs little.

use super::runs::APART;

/// Bytes on either side of an escape that may belong to the same value or be its label.
const AROUND: usize = 96;
/// A neighbourhood ends at a blank, or here.
const FARTHEST: usize = 512;

/// One escape at the start of some bytes: how many it takes, and what it stands for.
type One = fn(&[u8]) -> Option<(usize, [u8; 4], usize)>;

/// Each kind of escape with the byte that begins it.
pub(super) const KINDS: [(&str, u8, One); 4] = [
    ("percent", b'%', percent),
    ("entities", b'&', entity),
    ("escapes", b'\\', backslash),
    ("quoted-printable", b'=', quoted_printable),
];

/// What `text` says where `first` begins an escape; nothing when it never does.
pub(super) fn decode(text: &[u8], first: u8, one: One) -> Option<Vec<u8>> {
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
pub(super) struct Pieces {
    out: Vec<u8>,
    /// Up to here the text was copied or replaced.
    pub(super) done: usize,
    pub(super) replaced: u64,
}

impl Pieces {
    /// Puts `value` in the place of `from..to`.
    pub(super) fn replace(&mut self, text: &[u8], from: usize, to: usize, value: &[u8]) {
        if self.replaced == 0 || from > self.done + 2 * AROUND {
            self.end(text);
            let near = from.saturating_sub(AROUND).max(self.done);
            let before = text.get(near.saturating_sub(FARTHEST).max(self.done)..near).unwrap_or_default();
            let word = before.iter().rev().take_while(|b| !b.is_ascii_whitespace()).count();
            self.out.extend_from_slice(text.get(near - word..from).unwrap_or_default());
        } else {
            self.out.extend_from_slice(text.get(self.done..from).unwrap_or_default());
        }
        self.out.extend_from_slice(value);
        self.done = to;
        self.replaced += 1;
    }

    fn end(&mut self, text: &[u8]) {
        if self.replaced == 0 {
            return;
        }
        let near = (self.done + AROUND).min(text.len());
        let rest = text.get(near..).unwrap_or_default();
        let word = rest.iter().take(FARTHEST).take_while(|b| !b.is_ascii_whitespace()).count();
        self.out.extend_from_slice(text.get(self.done..near + word).unwrap_or_default());
        self.out.extend_from_slice(APART);
        self.done = near + word;
    }

    pub(super) fn finish(mut self, text: &[u8]) -> Option<Vec<u8>> {
        self.end(text);
        (self.replaced > 0).then_some(self.out)
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

fn entity(at: &[u8]) -> Option<(usize, [u8; 4], usize)> {
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

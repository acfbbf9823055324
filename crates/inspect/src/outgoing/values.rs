//! The values of JSON and of markup without what stands between them.

/// Keys from this length on carry something themselves.
const LONG_KEY: usize = 24;
/// Longer values need no neighbour to hold a secret.
pub(super) const SHORT_VALUE: usize = 128;

/// The scalar values of a JSON text, or the text of markup, one a line; nothing when it is neither. Not a parser: what
/// is broken is read as far as it goes.
pub(super) fn alone(bytes: &[u8]) -> Option<Vec<u8>> {
    match bytes.trim_ascii_start().first()? {
        b'{' | b'[' => {
            let mut out = Vec::with_capacity(bytes.len() / 2);
            each(bytes, |value, what| {
                if what != What::Key || value.len() >= LONG_KEY {
                    out.extend_from_slice(value);
                    out.push(b'\n');
                }
            });
            Some(out)
        }
        b'<' => Some(crate::plain::without_tags(bytes)),
        _ => None,
    }
}

/// Values that may be pieces of one, run together.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// The short values of a JSON text, or those of a query or form: what was cut in pieces is whole again.
    pub(super) short: Vec<u8>,
    /// The strings of one letter, as a text has that was spread over the fields of an object.
    pub(super) letters: Vec<u8>,
}

pub(super) fn joined(bytes: &[u8]) -> Option<Joined> {
    let mut out = Joined::default();
    if matches!(bytes.trim_ascii_start().first()?, b'{' | b'[') {
        let mut recent = Recent([0; 256]);
        each(bytes, |value, what| {
            if what != What::String || value.len() > SHORT_VALUE {
                return;
            }
            if let [letter] = value {
                out.letters.push(*letter);
            }
            if recent.is_new(value) && !value.contains(&b' ') {
                out.short.extend_from_slice(value);
            }
        });
    } else if is_form(bytes) {
        for pair in bytes.split(|b| matches!(b, b'&' | b';')) {
            let value = pair.iter().position(|b| *b == b'=').and_then(|i| pair.get(i + 1..)).unwrap_or(pair);
            out.short.extend_from_slice(value);
        }
    }
    Some(out)
}

/// Whether this looks like `a=b&c=d`: no blanks, and at least two pairs.
fn is_form(bytes: &[u8]) -> bool {
    let head = bytes.get(..1024).unwrap_or(bytes);
    head.contains(&b'&') && head.contains(&b'=') && !head.trim_ascii().iter().any(u8::is_ascii_whitespace)
}

/// Calls `value` with every string (without its quotes), and whether it is a key; then with what stands between it and the next.
fn each<'a>(bytes: &'a [u8], mut value: impl FnMut(&'a [u8], What)) {
    let mut quotes = memchr::memchr_iter(b'"', bytes);
    let mut after = 0;
    while let Some(open) = quotes.next() {
        value(bytes.get(after..open).unwrap_or_default(), What::Between);
        let end = quotes.find(|i| !is_escaped(bytes, open + 1, *i)).unwrap_or(bytes.len());
        after = end + 1;
        let rest = bytes.get(after..).unwrap_or_default();
        let next = rest.iter().find(|b| !b.is_ascii_whitespace());
        let what = if next == Some(&b':') { What::Key } else { What::String };
        value(bytes.get(open + 1..end).unwrap_or_default(), what);
    }
    value(bytes.get(after..).unwrap_or_default(), What::Between);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Key,
    String,
    /// Punctuation, numbers and words.
    Between,
}

fn is_escaped(bytes: &[u8], from: usize, at: usize) -> bool {
    let before = bytes.get(from..at).unwrap_or_default();
    before.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

/// Remembers the last values in little memory; the same value again is a field of the next record, not the next piece.
struct Recent([u64; 256]);

impl Recent {
    fn is_new(&mut self, value: &[u8]) -> bool {
        let mix = |h: u64, c: &[u8]| {
            let n = c.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            let h = (h ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h ^ h >> 29
        };
        let h = value.chunks(8).fold(value.len() as u64 + 1, mix);
        self.0.get_mut((h >> 56) as usize).is_none_or(|slot| std::mem::replace(slot, h) != h)
    }
}

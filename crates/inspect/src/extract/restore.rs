//! The way back from a redacted copy: an edited file gets, for each placeholder that it kept, the value of the version that the
//! copy was made of.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;

use super::batch::{Coding, coded};
use super::kind::{self, Kind};
use super::says_placeholder;
use super::{ExtractError, Limits, Source, guarded::Guarded, members, rewrite, table, wide};
use crate::Detectors;
use crate::placeholder::{self, Kept, Names, PlaceholderKey, bare_tags, token};

/// What became of the placeholders of an edited file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Restoration {
    /// Replaced by their values.
    pub restored: u64,
    /// Of another file or session, or of a version that is no more.
    pub foreign: u64,
    /// No longer what a redacted copy said.
    pub damaged: u64,
    /// Restored where their values would be guarded less than they were.
    pub exposed: u64,
    /// The line of the first that was not restored or would be exposed, from 1.
    pub line: Option<u64>,
}

/// Writes `edited` to the empty file `out` with the values that its placeholders stand for; nothing when none is restored.
/// `original` is the version that redacted copies were made of, if there is one, and `key` what they were made with; it was
/// called by the first of the names and will be by the other.
///
/// # Errors
/// When it holds placeholders and cannot be rewritten, or is beyond a limit; `out` then holds nothing.
pub fn restore_file(
    detectors: &Detectors,
    (original, key): (Option<&File>, PlaceholderKey),
    edited: &File,
    (name, new_name): (&str, &str),
    mut out: &File,
    limits: &Limits,
) -> Result<Restoration, ExtractError> {
    let kind = kind::of(&kind::head(Source::File(edited))?, name);
    if kind.is_container() || matches!(kind, Kind::Utf32 { .. } | Kind::Ebcdic { .. }) {
        return packed(kind, edited, name, limits);
    }
    let whole = held(Source::File(edited), limits)?;
    let text = as_read(&kind, &whole, limits)?;
    // Behind a mark of another encoding, or in base64.
    let is_plain = memchr::memmem::find(&text, placeholder::OPEN).is_some();
    let is_in = |sign: &&[u8]| memchr::memmem::find(&whole, sign).is_some();
    if !is_plain && is_in(&placeholder::OPEN) || placeholder::IN_BASE64.iter().any(is_in) {
        return Err(not_restored());
    }
    let places = || memchr::memmem::find_iter(&text, placeholder::OPEN);
    let wanted: HashSet<Vec<u8>> =
        bare_tags(&text).filter_map(|at| text.get(at)).map(<[u8]>::to_vec).collect();
    if places().next().is_none() && wanted.is_empty() {
        return Ok(Restoration::default());
    }
    let (before, kept, given) = match original {
        Some(original) => {
            let names = Names::new(key).keeping(wanted);
            let names = match rewrite(
                detectors,
                Source::File(original),
                name,
                limits,
                Some(names),
                &mut io::sink(),
            ) {
                Ok((_, names)) => names,
                // There is no redacted copy of such a file.
                Err(ExtractError::NotRedactable(_) | ExtractError::Opaque(_)) => None,
                Err(e) => return Err(e),
            };
            let given = names.as_ref().map_or(0, Names::given);
            let before = held(Source::File(original), limits)?;
            let before = as_read(&kind::of(&before, name), &before, limits)?.into_owned();
            (before, names.map(Names::into_kept).unwrap_or_default(), given)
        }
        None => (Vec::new(), HashMap::new(), 0),
    };
    let back = Back { detectors, kind: plain_kind(&kind), text: &text, before: &before, kept: &kept, given };
    let (restored, values, mut report) = back.run();
    if report.restored > 0 {
        let guarded = Guarded { detectors, limits };
        let original = original.map(|file| guarded.certainty(Source::File(file), name));
        if let Some(first) = guarded.exposed((&restored, &values), new_name, original.flatten()) {
            report.exposed = 1;
            report.line = report.line.or(Some(line_of(&restored, first)));
        }
        match &kind {
            Kind::Utf16 { big_endian, .. } => {
                let marked = matches!(whole.get(..2), Some([0xff, 0xfe] | [0xfe, 0xff]));
                wide::Utf16Writer::new(&mut out, *big_endian, marked).write_all(&restored)?;
            }
            _ => out.write_all(&restored)?,
        }
    }
    Ok(report)
}

/// In what is packed, a placeholder cannot be followed: whatever holds one is refused.
fn packed(kind: Kind, edited: &File, name: &str, limits: &Limits) -> Result<Restoration, ExtractError> {
    let mut holds = false;
    if kind == Kind::Zip {
        members(Source::File(edited), limits, &mut |_, data, _| {
            holds |= memchr::memmem::find(&data, placeholder::OPEN).is_some();
        })?;
    }
    if holds || says_placeholder(edited, name, limits) {
        Err(not_restored())
    } else {
        Ok(Restoration::default())
    }
}

fn not_restored() -> ExtractError {
    ExtractError::NotRedactable("it holds placeholders, which are not restored in it".into())
}

fn held(source: Source<'_>, limits: &Limits) -> Result<Vec<u8>, ExtractError> {
    let mut whole = Vec::new();
    source.reader().take(limits.held as u64 + 1).read_to_end(&mut whole)?;
    if whole.len() > limits.held {
        return Err(ExtractError::Limit("the size of a file with placeholders"));
    }
    Ok(whole)
}

fn as_read<'b>(kind: &Kind, bytes: &'b [u8], limits: &Limits) -> Result<Cow<'b, [u8]>, ExtractError> {
    let Kind::Utf16 { big_endian, .. } = kind else { return Ok(bytes.into()) };
    let mut text = Vec::new();
    let most = limits.held as u64 * 2;
    wide::utf16(&mut &*bytes, *big_endian).take(most).read_to_end(&mut text)?;
    Ok(text.into())
}

fn plain_kind(kind: &Kind) -> &Kind {
    match kind {
        Kind::Utf16 { inner, .. } | Kind::Utf32 { inner, .. } => inner,
        other => other,
    }
}

fn line_of(text: &[u8], at: usize) -> u64 {
    memchr::memchr_iter(b'\n', text.get(..at).unwrap_or_default()).count() as u64 + 1
}

/// What takes the place of which bytes.
type Edit = (usize, usize, Vec<u8>);

enum One {
    Value(Edit),
    Foreign,
    Damaged,
    /// It only looks like a placeholder.
    Text,
}

/// Bytes before a tag in which its placeholder begins.
const NEAR: usize = 96;

struct Back<'a> {
    detectors: &'a Detectors,
    kind: &'a Kind,
    text: &'a [u8],
    /// The version that the values are of, as it is read.
    before: &'a [u8],
    kept: &'a HashMap<Vec<u8>, Kept>,
    /// Placeholders that its redacted copy has.
    given: u64,
}

impl Back<'_> {
    /// The text with values, where each of them stands in it, and what became of the placeholders.
    fn run(&self) -> (Vec<u8>, Vec<Range<usize>>, Restoration) {
        let mut values = Vec::new();
        let mut report = Restoration::default();
        let mut out = Vec::with_capacity(self.text.len());
        let mut at = 0;
        let mut lost = BTreeSet::new();
        for open in memchr::memmem::find_iter(self.text, placeholder::OPEN) {
            match self.one(open) {
                One::Value((from, to, value)) => {
                    out.extend_from_slice(self.text.get(at..from).unwrap_or_default());
                    values.push(out.len()..out.len() + value.len());
                    out.extend_from_slice(&value);
                    at = to;
                    report.restored += 1;
                }
                One::Foreign => {
                    report.foreign += 1;
                    lost.insert(open);
                }
                One::Damaged => {
                    report.damaged += 1;
                    lost.insert(open);
                }
                One::Text => {}
            }
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default());
        for bare in bare_tags(self.text) {
            let known = self.text.get(bare.clone()).is_some_and(|tag| self.kept.contains_key(tag));
            let begun = bare.start.saturating_sub(NEAR);
            let before = self.text.get(begun..bare.start).unwrap_or_default();
            let open = memchr::memmem::rfind(before, placeholder::OPEN).map(|open| open + begun);
            let token = open.and_then(|open| token(self.detectors, self.text, open));
            let in_token = token.is_some_and(|token| token.range.contains(&bare.start));
            if known && !in_token && open.is_none_or(|open| !lost.contains(&open)) {
                report.damaged += 1;
                lost.insert(bare.start);
            }
        }
        report.line = lost.first().map(|at| line_of(self.text, *at));
        (out, values, report)
    }

    /// What stands where a placeholder begins.
    fn one(&self, open: usize) -> One {
        let stands_before = |bytes: &[u8]| memchr::memmem::find(self.before, bytes).is_some();
        let Some(token) = token(self.detectors, self.text, open) else {
            // What was edited is a copy of this file.
            let damaged = self.given > 0 && !stands_before(self.around(open));
            return if damaged { One::Damaged } else { One::Text };
        };
        let whole = self.text.get(token.range.clone()).unwrap_or_default();
        match token.tag.map(|tag| self.kept.get(tag)) {
            Some(Some(kept)) if token.detector == kept.detector.as_bytes() => {
                self.value(token.range, kept).map_or(One::Damaged, One::Value)
            }
            Some(Some(_)) => One::Damaged,
            // The user's own file says so.
            _ if stands_before(whole) => One::Text,
            Some(None) => One::Foreign,
            None if self.given > 0 => One::Damaged,
            None => One::Text,
        }
    }

    /// The beginning of a placeholder up to the end of its word, as far as it goes.
    fn around(&self, open: usize) -> &[u8] {
        let rest = self.text.get(open..).unwrap_or_default();
        let end = rest.iter().position(|b| b.is_ascii_whitespace() || *b == b'"').unwrap_or(rest.len());
        rest.get(..end.min(128)).unwrap_or_default()
    }

    /// The value in the coding of the place where its placeholder stands by now, and what it takes the place of.
    fn value(&self, range: Range<usize>, kept: &Kept) -> Option<Edit> {
        let (from, to) = (range.start, range.end);
        let before = from.checked_sub(1).and_then(|at| self.text.get(at));
        let quoted = before == Some(&b'"') && self.text.get(to) == Some(&b'"');
        match self.kind {
            Kind::Json => match kept.coding {
                Coding::JsonNumber if quoted => Some((from - 1, to + 1, kept.raw.clone())),
                Coding::JsonString => Some((from, to, kept.raw.clone())),
                _ => {
                    let whole = coded(&kept.text, Coding::JsonString);
                    Some((from, to, whole.get(1..whole.len().checked_sub(1)?)?.to_vec()))
                }
            },
            Kind::Table { delimiter } => self.field(*delimiter, range, kept),
            _ => Some((from, to, kept.text.clone())),
        }
    }

    fn field(&self, delimiter: u8, range: Range<usize>, kept: &Kept) -> Option<Edit> {
        let (from, to) = (range.start, range.end);
        let special = |b: &u8| *b == delimiter || matches!(b, b'"' | b'\n' | b'\r');
        if !kept.text.iter().any(special) {
            return Some((from, to, kept.text.clone()));
        }
        let field = table::field_at(self.text, delimiter, from)?;
        let doubled = coded(&kept.text, Coding::Csv { quoted: true, delimiter });
        if self.text.get(field.start) == Some(&b'"') {
            return Some((from, to, doubled.get(1..doubled.len().checked_sub(1)?)?.to_vec()));
        }
        (field == range).then_some((from, to, doubled))
    }
}

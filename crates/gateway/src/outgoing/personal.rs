//! Personal data that was cut: over the values of one body, over requests, over messages.
//!
//! Keys and passages are recognised however they are cut; digits of two values make a number by chance as well. So of what is
//! put together only those values count that nothing was found of where they stand, and only what a label stands beside, or
//! more than one.

use std::collections::HashSet;

use chaperone_inspect::outgoing::{Known, Outgoing, Part};
use chaperone_inspect::{Finding, Place, Spot, Step};

/// Longer values say by themselves what they are.
const SHORT: usize = 128;
/// Bytes of short values that are looked at as one.
pub(super) const TOGETHER: usize = 256 << 10;
/// Shorter text holds no number of the user's.
const LEAST: usize = 8;
/// A number without a label is believed less than this.
const LABELLED: f32 = 0.9;
/// So many numbers are none by chance.
const SEVERAL: usize = 2;
/// Of what everybody's documents are full of, and is worth little, so many.
const BULK: usize = 20;

/// What stands in pieces that were put together, but for the values in `whole`, which were found where they stand.
pub(super) fn across(outgoing: &Outgoing, joined: &[u8], whole: &HashSet<u64>) -> Vec<Finding> {
    if joined.len() < LEAST {
        return Vec::new();
    }
    let spaced: Vec<u8> = match joined.contains(&b'+') {
        true => joined.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect(),
        false => Vec::new(),
    };
    let part = |bytes| Part { spot: Spot::Body, bytes, content_type: None };
    let seen = outgoing.look(&[part(joined), part(&spaced)], &Known::default());
    let across = seen.findings.into_iter().filter(|f| f.category == "pii").map(|mut finding| {
        finding.values.retain(|value| !whole.contains(value));
        finding.distinct = finding.values.len() as u64;
        finding.count = finding.distinct;
        finding.place = Place::from(Spot::Requests).then(&[Step::Joined]);
        finding
    });
    across.filter(is_meant).collect()
}

fn is_meant(finding: &Finding) -> bool {
    let many = finding.values.len();
    match finding.severity.as_str() {
        "high" => many >= SEVERAL || many > 0 && finding.confidence > LABELLED,
        _ => many >= BULK,
    }
}

/// The short values of a body in the order in which they stand, run together: of JSON, a form, or one in parts. Nothing when
/// it is none of these.
pub(super) fn short_values(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut add = |value: &[u8]| {
        if value.len() <= SHORT {
            out.extend_from_slice(value);
        }
    };
    match body.trim_ascii_start().first()? {
        b'{' | b'[' => strings(body, add),
        _ if is_form(body) => body.split(|b| matches!(b, b'&' | b';')).for_each(|pair| {
            let value = pair.iter().position(|b| *b == b'=').and_then(|at| pair.get(at + 1..));
            add(value.unwrap_or(pair));
        }),
        _ => fields(body)?.into_iter().for_each(&mut add),
    }
    (!out.is_empty()).then_some(out)
}

/// The fields of a form in parts (RFC 7578), whatever the request says that it is. Nothing when it is none.
pub(super) fn fields(body: &[u8]) -> Option<Vec<&[u8]>> {
    let start = memchr::memmem::find(body, b"--")?;
    // What stands before the first part is for nobody.
    let at_line = start == 0 || body.get(start - 1) == Some(&b'\n');
    let rest = body.get(start..).filter(|_| at_line)?;
    let line = rest.split(|b| *b == b'\n').next()?.trim_ascii_end();
    // A boundary of its own, and not a line of a text or the `---` of YAML and of differences.
    if line.len() < 3 || line.len() > 74 || line.contains(&b' ') {
        return None;
    }
    let mut fields = Vec::new();
    let mut ends = memchr::memmem::find_iter(rest, line);
    let mut begin = ends.next()? + line.len();
    for end in ends {
        let part = rest.get(begin..end).unwrap_or_default();
        if let Some(value) = value_of(part) {
            fields.push(value);
        }
        begin = end + line.len();
    }
    (!fields.is_empty()).then_some(fields)
}

/// What stands behind the head of a part.
fn value_of(part: &[u8]) -> Option<&[u8]> {
    let blank = [&b"\r\n\r\n"[..], b"\n\n"]
        .into_iter()
        .find_map(|blank| memchr::memmem::find(part, blank).map(|at| at + blank.len()));
    let head = part.get(..blank?)?;
    if !head.to_ascii_lowercase().windows(8).any(|w| w == b"content-") {
        return None;
    }
    let value = part.get(blank?..)?;
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    Some(value.strip_suffix(b"\r").unwrap_or(value))
}

fn is_form(body: &[u8]) -> bool {
    let head = body.get(..1024).unwrap_or(body);
    head.contains(&b'&') && head.contains(&b'=') && !head.trim_ascii().iter().any(u8::is_ascii_whitespace)
}

/// Every string of a JSON text that is no name.
fn strings(body: &[u8], mut add: impl FnMut(&[u8])) {
    let mut rest = body;
    while let Some(open) = memchr::memchr(b'"', rest) {
        let text = rest.get(open + 1..).unwrap_or_default();
        let mut is_escaped = false;
        let close = text.iter().position(|b| {
            let closes = *b == b'"' && !is_escaped;
            is_escaped = *b == b'\\' && !is_escaped;
            closes
        });
        let end = close.unwrap_or(text.len());
        rest = text.get(end + 1..).unwrap_or_default();
        let is_name = rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
        if !is_name {
            add(text.get(..end).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use chaperone_inspect::Detectors;

    use super::*;

    const CARDS: &str = "name Anna Kovacs, card 4111111111111111\nname Bert Smit, card 5500005555555559\n";

    fn text(values: Option<Vec<u8>>) -> Option<String> {
        values.map(|v| String::from_utf8(v).unwrap())
    }

    fn in_parts(size: usize) -> Vec<u8> {
        let parts = CARDS.as_bytes().chunks(size).enumerate();
        let parts = parts.map(|(n, piece)| {
            [
                format!("--b\r\nContent-Disposition: form-data; name=\"d{n}\"\r\n\r\n").as_bytes(),
                piece,
                b"\r\n",
            ]
            .concat()
        });
        [parts.collect::<Vec<_>>().concat(), b"--b--\r\n".to_vec()].concat()
    }

    #[test]
    fn the_values_of_a_body_are_read_in_their_order() {
        assert_eq!(
            text(short_values(br#"{"a": "one", "b": ["two", {"c": "th\"ree"}], "d": 45}"#)).unwrap(),
            "onetwoth\\\"ree"
        );
        assert_eq!(text(short_values(b"a=one&b=two")).unwrap(), "onetwo");
        for size in [4, 7, 12, 100] {
            assert_eq!(text(short_values(&in_parts(size))).unwrap(), CARDS, "{size}");
        }
        for other in
            [&b""[..], b"a text", b"--", b"---\nkey: value\n---\n", b"--- a/x\n+++ b/x\n", b"%PDF-1.7\n--b\n"]
        {
            assert_eq!(text(short_values(other)), None, "{:?}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn numbers_that_were_cut_are_found_and_those_that_were_whole_are_not_found_again() {
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        let found = across(&outgoing, CARDS.as_bytes(), &HashSet::new());
        assert_eq!(found.iter().map(|f| f.values.len()).sum::<usize>(), 2, "{found:?}");
        let spaced = CARDS.replace([' ', '\n'], "+");
        assert!(!across(&outgoing, spaced.as_bytes(), &HashSet::new()).is_empty());
        let whole: HashSet<u64> = found.iter().flat_map(|f| f.values.iter().copied()).collect();
        assert!(across(&outgoing, CARDS.as_bytes(), &whole).is_empty());
    }

    #[test]
    fn what_programs_count_makes_no_number() {
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        let count = |from: u64, to: u64, step: usize| -> String {
            (from..to).step_by(step).map(|n| n.to_string()).collect()
        };
        let dates: String = (1..28).map(|d| format!("2026-11-{d:02}")).collect();
        let ids: String = (0..400u64).map(|n| format!("{:08x}", n.wrapping_mul(0x9E37_79B9))).collect();
        for joined in [count(1, 900, 1), count(4000, 4900, 7), dates, ids, "4111".repeat(4), "1".repeat(500)]
        {
            assert!(across(&outgoing, joined.as_bytes(), &HashSet::new()).is_empty(), "{joined}");
        }
    }
}

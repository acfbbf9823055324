//! The values of one request that its sender chose freely, and that may be pieces of one.

use super::look::Look;
use super::seen::Part;
use super::values::SHORT_VALUE;
use crate::Spot;

/// The short values of the target and the headers, in the order in which they are sent.
pub(super) fn of_request<'p>(look: &Look<'_>, parts: &[Part<'p>]) -> Vec<&'p [u8]> {
    let mut out = Vec::new();
    for part in parts {
        match &part.spot {
            Spot::Url => out.extend(path(part.bytes)),
            Spot::Query => out.extend(pairs(part.bytes, b"&;")),
            Spot::Header(name) if name.eq_ignore_ascii_case("cookie") => out.extend(pairs(part.bytes, b";")),
            Spot::Header(_) => out.push(part.bytes.trim_ascii()),
            _ => {}
        }
    }
    // A longer one says by itself what it is, and what is a key by itself was judged where it stands.
    out.retain(|piece| !piece.is_empty() && piece.len() <= SHORT_VALUE && !look.holds_secret(piece));
    out
}

fn path(target: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = target.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(target.len());
    target.get(..end).unwrap_or_default().split(|b| *b == b'/')
}

fn pairs<'p>(text: &'p [u8], between: &'static [u8]) -> impl Iterator<Item = &'p [u8]> {
    text.split(|b| between.contains(b)).map(|pair| {
        let value = pair.iter().position(|b| *b == b'=').and_then(|at| pair.get(at + 1..));
        value.unwrap_or(pair).trim_ascii()
    })
}

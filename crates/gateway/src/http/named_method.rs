//! The method that a form or a query names for a request: Rails, Laravel, Symfony and others take `POST` with `_method=DELETE` for
//! `DELETE`, as they do with the headers that say so.

use std::io;

use chaperone_inspect::outgoing::WHOLE;
use http::Method;
use percent_encoding::percent_decode;

use crate::body::BufferedBody;

/// How the field is called.
const FIELD: &[u8] = b"_method";
/// Methods that may be named: those that only read are less than what was asked.
const NAMED: [&str; 5] = ["DELETE", "PUT", "PATCH", "LINK", "UNLINK"];
/// A longer name or value of a pair is another one, each sign of it written as three.
const MOST: usize = 3 * FIELD.len();
/// Bytes of a part of a form from the name of its field to the end of its value.
const PART: usize = 256;

/// What a request is to whoever takes it, besides its own method.
///
/// # Errors
/// When the body cannot be read.
pub(super) fn named_methods(
    method: &Method,
    target: &str,
    body: &BufferedBody,
) -> io::Result<Vec<&'static str>> {
    if method != Method::POST {
        return Ok(Vec::new());
    }
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let mut named = in_pairs(query.as_bytes());
    // A longer body is a file.
    if body.len > 0 && body.len <= WHOLE as u64 {
        let body = body.read()?;
        named.extend(in_pairs(&body));
        named.extend(in_parts(&body));
    }
    Ok(named)
}

fn in_pairs(text: &[u8]) -> Vec<&'static str> {
    let pairs = text.split(|b| matches!(b, b'&' | b';')).filter_map(|pair| {
        let at = memchr::memchr(b'=', pair.get(..=MOST).unwrap_or(pair))?;
        let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        let name: Vec<u8> = percent_decode(name.trim_ascii_start()).collect();
        (name == FIELD).then(|| value.get(..MOST).unwrap_or(value))
    });
    pairs.filter_map(|value| known(&percent_decode(value).collect::<Vec<u8>>())).collect()
}

/// In a form in parts (RFC 7578) the name stands in the head of a part, and the value behind a blank line.
fn in_parts(body: &[u8]) -> Vec<&'static str> {
    let is_name = |at: &usize| {
        let before = body.get(at.saturating_sub(8)..*at).unwrap_or_default().to_ascii_lowercase();
        before.ends_with(b"name=\"") || before.ends_with(b"name=")
    };
    let named = memchr::memmem::find_iter(body, FIELD).filter(is_name).filter_map(|at| {
        let part = body.get(at..body.len().min(at + PART))?;
        let blank = [&b"\r\n\r\n"[..], b"\n\n"].into_iter();
        let value = blank.filter_map(|b| memchr::memmem::find(part, b).map(|at| at + b.len())).min()?;
        known(part.get(value..)?.split(|b| matches!(b, b'\r' | b'\n')).next()?)
    });
    named.collect()
}

fn known(value: &[u8]) -> Option<&'static str> {
    NAMED.into_iter().find(|name| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(method: &str, target: &str, body: &str) -> Vec<&'static str> {
        let body = BufferedBody::of(body.as_bytes().to_vec());
        named_methods(&method.parse().unwrap(), target, &body).unwrap()
    }

    #[test]
    fn a_form_or_a_query_may_name_another_method() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\ndelete\r\n--b--\r\n";
        for (target, body) in [
            ("/a?_method=DELETE", ""),
            ("/a?x=1&_method=delete&y=2", ""),
            ("/a", "_method=DELETE"),
            ("/a", "x=1&%5Fm%65thod=D%45LETE"),
            ("/a", "x=1;_method=DELETE"),
            ("/a", part),
        ] {
            assert_eq!(named("POST", target, body), ["DELETE"], "{target} {body}");
        }
        assert_eq!(named("POST", "/a?_method=PUT", "_method=PATCH"), ["PUT", "PATCH"]);
    }

    #[test]
    fn what_names_none_is_what_it_says() {
        for (target, body) in [
            ("/a", ""),
            ("/a?method=DELETE", "payment_method=DELETE"),
            ("/a?_method=POST", "_method=GET"),
            ("/a", "{\"_method\":\"DELETE\"}"),
            ("/a", "the _method=DELETE of a form"),
            (
                "/a",
                "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n_method\r\n\r\nDELETE\r\n--b--\r\n",
            ),
        ] {
            assert!(named("POST", target, body).is_empty(), "{target} {body}");
        }
        assert!(named("GET", "/a?_method=DELETE", "").is_empty());
        assert!(named("PUT", "/a?_method=DELETE", "").is_empty());
    }
}

//! What a short body or message says to whoever takes it: without its coding, and without the frames of a call.

use super::recent_requests::{PIECE, values};
use super::undo::{Codings, unnamed};

/// Longest body that may be a short one in a coding, whose head may be long.
pub(super) const CODED: usize = 16 << 10;
/// Of bytes that are no text, fewer printable ones in a row say nothing, and those in rows are at least one part of so many.
const ROW: usize = 4;
const ROWS: usize = 3;
/// What stands before each message of a call: whether it is coded, and its length.
const FRAME: usize = 5;

/// What a body says that is in these codings, or in one that it does not name; nothing where it is in none. What cannot be undone was
/// judged where the body was looked at.
pub(super) fn without_coding(codings: &Codings, body: &[u8]) -> Option<Vec<u8>> {
    let undone = codings.undo_up_to(PIECE as u64, body);
    if let Err(_) | Ok(Some(_)) = &undone
        && !codings.is_none()
    {
        let undone = undone.ok().flatten()?;
        return Some(bare(&undone).unwrap_or(undone));
    }
    bare(body)
}

/// What a message says that is in a coding which it does not name, or what the messages of a call say.
pub(super) fn bare(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() > CODED {
        return None;
    }
    unnamed(PIECE as u64, bytes).or_else(|| of_call(bytes))
}

/// What messages say one after the other, without the names of their fields. Sounds and pictures say nothing.
pub(super) fn spoken(messages: &[&[u8]]) -> Vec<u8> {
    let said = messages.iter().filter_map(|message| {
        let bare = bare(message);
        let message = bare.as_deref().unwrap_or(message);
        if is_text(message) { Some(values(message)) } else { text_in(message) }
    });
    said.collect::<Vec<_>>().concat()
}

fn is_text(bytes: &[u8]) -> bool {
    let is_control = |b: &u8| b.is_ascii_control() && !b.is_ascii_whitespace();
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_control)
}

/// The texts of a record that is no text itself, such as MessagePack, if it is mostly that.
pub(super) fn text_in(record: &[u8]) -> Option<Vec<u8>> {
    if is_text(record) || record.len() > PIECE {
        return None;
    }
    let rows = record.split(|b| !b.is_ascii_graphic() && *b != b' ').filter(|row| row.len() >= ROW);
    let text = rows.collect::<Vec<_>>().concat();
    (!text.is_empty() && text.len() * ROWS >= record.len()).then_some(text)
}

/// Messages as a call frames them, one after the other.
fn of_call(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut said = Vec::new();
    while let Some((frame, rest)) = bytes.split_first_chunk::<FRAME>() {
        let [coded @ (0 | 1), length @ ..] = frame else { return None };
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let message = rest.get(..length)?;
        let undone = (*coded == 1).then(|| unnamed(PIECE as u64, message)).flatten();
        said.extend_from_slice(undone.as_deref().unwrap_or(message));
        bytes = rest.get(length..)?;
    }
    (bytes.is_empty() && !said.is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::{HeaderMap, HeaderValue};

    use super::*;

    const TEXT: &[u8] = b"{\"seq\":1,\"d\":\"The branch i\"}";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn named(coding: &'static str) -> Codings {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", HeaderValue::from_static(coding));
        Codings::of(&headers)
    }

    fn framed(coded: u8, message: &[u8]) -> Vec<u8> {
        [&[coded][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
    }

    #[test]
    fn a_short_body_is_taken_as_who_takes_it_sees_it() {
        for (codings, body) in [
            (named("gzip"), gzip(TEXT)),
            (named("deflate"), zlib(TEXT)),
            (named("deflate"), deflate(TEXT)),
            (named("gzip, gzip"), gzip(&gzip(TEXT))),
            (Codings::default(), gzip(TEXT)),
            (Codings::default(), zlib(TEXT)),
            (Codings::default(), framed(0, TEXT)),
            (Codings::default(), framed(1, &gzip(TEXT))),
            (named("gzip"), gzip(&framed(0, TEXT))),
        ] {
            assert_eq!(without_coding(&codings, &body).as_deref(), Some(TEXT), "{codings:?}");
        }
        let two = [framed(0, b"one "), framed(1, &gzip(b"two"))].concat();
        assert_eq!(without_coding(&Codings::default(), &two).as_deref(), Some(&b"one two"[..]));
    }

    #[test]
    fn what_is_in_no_coding_or_says_much_is_left_as_it_is() {
        let long = vec![b'x'; PIECE + 1];
        for (codings, body) in [
            (Codings::default(), TEXT.to_vec()),
            (Codings::default(), Vec::new()),
            (Codings::default(), b"x\x9c is no stream".to_vec()),
            (Codings::default(), b"\0\0\0\0\x09short".to_vec()),
            (Codings::default(), gzip(&long)),
            (named("gzip"), gzip(&long)),
            (named("foo"), TEXT.to_vec()),
            (named("br"), TEXT.to_vec()),
        ] {
            assert_eq!(without_coding(&codings, &body), None, "{codings:?}");
        }
    }

    #[test]
    fn of_messages_their_texts_are_spoken() {
        let record = b"\x82\xa1n\x07\xa1d\xacThe branch i";
        for (messages, spoken_of) in [
            (
                vec![&b"{\"seq\":1,\"d\":\"The branch i\"}"[..], b"{\"d\":\"n the north\"}"],
                "The branch in the north",
            ),
            (vec![&zlib(TEXT)], "The branch i"),
            (vec![b"plain "], "plain "),
            (vec![record], "The branch i"),
            (vec![b"\xff\xfe\x01\x02\x90\x91\x92\x93noise\x81\x82\x83\x84\x85\x86\x87\x88"], ""),
            (vec![], ""),
        ] {
            assert_eq!(String::from_utf8(spoken(&messages)).unwrap(), spoken_of);
        }
    }
}

//! What the sender of a request chose freely: all that is forwarded of it, but for what the broker writes itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use chaperone_inspect::Spot;
use chaperone_inspect::outgoing::{Column, Part, columns};
use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TE, UPGRADE,
};
use http::request::Parts;
use percent_encoding::percent_decode;

use super::slots::{FOLLOWED, Kind, Main, PIECE, Slot, VARYING, Values};
use super::undo::Codings;
use crate::body::BufferedBody;

/// Headers whose values the broker writes itself: from what was decided, or from a list. Everything else of a head is the
/// agent's choice, and is looked at.
pub(crate) const WRITTEN_HERE: [HeaderName; 6] =
    [ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, TE, UPGRADE];

/// Letters of a word that is the name of a place; a longer one may be several that are written as one.
const MOST_OF_WORD: usize = 20;
/// Longest value of a head that counts as a piece of something longer.
const HEAD_PIECE: usize = 256;

/// The head of a request as it is sent, without what the broker writes into it.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    method: &'a str,
    target: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
    /// The names of the headers, one a line.
    names: Vec<u8>,
    pub content_type: Option<&'a str>,
    /// Of the body.
    pub codings: Codings,
}

impl<'a> Chosen<'a> {
    pub fn of(head: &'a Parts, target: &'a str) -> Self {
        Self::new(head.method.as_str(), target, &head.headers)
    }

    fn new(method: &'a str, target: &'a str, sent: &'a HeaderMap) -> Self {
        let chosen = sent.iter().filter(|(name, _)| !WRITTEN_HERE.contains(name));
        let headers: Vec<(&str, &[u8])> = chosen.map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let names: Vec<&[u8]> = headers.iter().map(|(name, _)| name.as_bytes()).collect();
        let content_type = sent.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        Self { method, target, names: names.join(&b'\n'), headers, content_type, codings: Codings::of(sent) }
    }

    /// The parts that are looked at: together they are all of it.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let part = |spot, bytes| Part { spot, bytes, content_type: None };
        let mut parts =
            vec![part(Spot::Method, self.method.as_bytes()), part(Spot::Url, self.target.as_bytes())];
        if let Some((_, query)) = self.target.split_once('?') {
            parts.push(part(Spot::Query, query.as_bytes()));
        }
        parts.push(part(Spot::HeaderNames, &self.names));
        let header = |name: &str| Spot::Header(name.to_owned());
        parts.extend(self.headers.iter().map(|(name, value)| part(header(name), value)));
        parts
    }

    /// What may be a piece of something that is cut over several requests.
    ///
    /// # Errors
    /// When the body cannot be read.
    pub fn values(&self, body: &BufferedBody) -> io::Result<Values> {
        let mut slots = Slots::default();
        let is_read = body.len > 0 && body.len <= FOLLOWED as u64;
        let whole = if is_read { body.read()? } else { Vec::new() };
        slots.add(Kind::Body, ("whole body", b""), &whole);
        slots.add(Kind::Path, ("method", b""), self.method.as_bytes());
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        for (at, segment) in path.split('/').enumerate() {
            let mut parameters = segment.as_bytes().split(|b| *b == b';');
            slots.add(Kind::Path, ("path", &at.to_be_bytes()), parameters.next().unwrap_or_default());
            for (at, pair) in parameters.enumerate() {
                let (name, value) = pair_of(pair);
                slots.add(Kind::Path, ("parameter name", &at.to_be_bytes()), name);
                slots.add(Kind::Value, ("parameter", &at.to_be_bytes()), value);
            }
        }
        for (at, pair) in query.as_bytes().split(|b| matches!(b, b'&' | b';')).enumerate() {
            let (name, value) = pair_of(pair);
            slots.add(Kind::Path, ("query name", &at.to_be_bytes()), name);
            slots.add(Kind::Value, ("query", name), value);
        }
        for (name, value) in &self.headers {
            slots.add(Kind::Name, ("name", name.as_bytes()), name.as_bytes());
            if *name == "cookie" {
                for (at, pair) in value.split(|b| *b == b';').enumerate() {
                    let (name, value) = pair_of(pair.trim_ascii());
                    slots.add(Kind::Word, ("cookie name", &at.to_be_bytes()), name);
                    slots.add(Kind::Value, ("cookie", name), value);
                }
            } else {
                slots.add(Kind::Value, ("header", name.as_bytes()), value);
            }
        }
        if !whole.is_empty() && whole.len() <= PIECE {
            if !whole.starts_with(b"{") && !whole.starts_with(b"[") && !whole.starts_with(b"<") {
                slots.add(Kind::Word, ("body", b""), whole.trim_ascii());
            }
            for column in columns(&whole) {
                slots.add(Kind::Word, ("column", &column.name), &column.values.concat());
            }
        }
        let main = self.main(body.len, &whole);
        let main_is = match body.len == 0 && query.is_empty() {
            true if is_word(&main) => Main::Word,
            true => Main::Name,
            false => Main::Value,
        };
        let long = if whole.len() > VARYING { whole } else { Vec::new() };
        Ok(Values { main, main_is, main_in_target: body.len == 0, slots: slots.0, long })
    }

    /// The columns of the head: what stands in all places of one kind, in the order in which they are sent.
    pub fn columns(&self) -> Vec<Column> {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let mut columns = Vec::new();
        let mut add = |is_names, values: Vec<&[u8]>| {
            let values =
                values.into_iter().map(<[u8]>::trim_ascii).filter(|v| !v.is_empty() && v.len() <= HEAD_PIECE);
            columns.push(Column {
                name: Vec::new(),
                is_names,
                values: values.map(|v| percent_decode(v).collect()).collect(),
            });
        };
        let cookies = self.headers.iter().filter(|(name, _)| *name == "cookie");
        let cookies =
            cookies.flat_map(|(_, value)| value.split(|b| *b == b';')).map(|p| pair_of(p.trim_ascii()));
        let pairs = query.as_bytes().split(|b| matches!(b, b'&' | b';')).map(pair_of);
        let parameters =
            path.split('/').flat_map(|s| s.as_bytes().split(|b| *b == b';').skip(1)).map(pair_of);
        for pairs in [cookies.collect::<Vec<_>>(), pairs.collect(), parameters.collect()] {
            add(true, pairs.iter().map(|(name, _)| *name).collect());
            add(false, pairs.into_iter().map(|(_, value)| value).collect());
        }
        add(
            true,
            self.headers
                .iter()
                .filter_map(|(name, _)| name.as_bytes().rsplit(|b| *b == b'-').next())
                .collect(),
        );
        for (name, _) in &self.headers {
            let same = self.headers.iter().filter(|(other, _)| other == name);
            add(false, same.map(|(_, value)| *value).collect());
        }
        columns.retain(|column: &Column| column.values.len() > 1);
        columns.dedup();
        columns
    }

    /// The part that carries the request: the body, else the query, else the last name of the path.
    fn main(&self, length: u64, body: &[u8]) -> Vec<u8> {
        if length > 0 {
            return if length <= PIECE as u64 { body.to_vec() } else { Vec::new() };
        }
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let text = if query.is_empty() { path.rsplit('/').next().unwrap_or_default() } else { query };
        text.as_bytes().to_vec()
    }
}

/// Whether a name is a word, or two that are joined.
fn is_word(name: &[u8]) -> bool {
    let mut words = name.split(|b| matches!(b, b'-' | b'_' | b'.'));
    let is_one = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic);
    name.len() <= MOST_OF_WORD
        && words.next().is_some_and(is_one)
        && words.next().is_none_or(is_one)
        && words.next().is_none()
}

/// The name and the value of `name=value`; what has no name is a value.
fn pair_of(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|b| *b == b'=') {
        Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
        None => (b"", pair),
    }
}

#[derive(Default)]
struct Slots(Vec<Slot>);

impl Slots {
    fn add(&mut self, kind: Kind, place: (&str, &[u8]), bytes: &[u8]) {
        let longest = if kind == Kind::Body { VARYING } else { HEAD_PIECE };
        if !bytes.is_empty() && bytes.len() <= longest {
            let mut hasher = DefaultHasher::new();
            place.hash(&mut hasher);
            let in_target =
                matches!(place.0, "path" | "parameter name" | "parameter" | "query name" | "query");
            self.0.push(Slot { id: hasher.finish(), kind, in_target, bytes: bytes.to_vec() });
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn every_byte_but_what_the_broker_writes_is_a_part() {
        let sent = headers(&[
            ("host", "a.example"),
            ("accept-encoding", "gzip"),
            ("content-length", "4"),
            ("user-agent", "x/1"),
            ("cookie", "a=1"),
            ("x-ssn-237-82-2033", "1"),
            ("sec-websocket-key", "MDEy"),
            ("sec-websocket-protocol", "chat"),
        ]);
        let chosen = Chosen::new("PUT", "/a?b=c", &sent);
        let parts: Vec<String> = chosen
            .parts()
            .iter()
            .map(|p| format!("{}: {}", p.spot, String::from_utf8_lossy(p.bytes)))
            .collect();
        assert_eq!(
            parts,
            [
                "method: PUT",
                "url: /a?b=c",
                "query: b=c",
                "header names: user-agent\ncookie\nx-ssn-237-82-2033\nsec-websocket-key\nsec-websocket-protocol",
                "header user-agent: x/1",
                "header cookie: a=1",
                "header x-ssn-237-82-2033: 1",
                "header sec-websocket-key: MDEy",
                "header sec-websocket-protocol: chat",
            ]
        );
    }

    #[test]
    fn whatever_is_chosen_freely_may_be_a_piece() {
        let sent = headers(&[("x-trace", "t1"), ("cookie", "a=c1; b=c2"), ("host", "a.example")]);
        let body = BufferedBody::of(b"body".to_vec());
        let values = Chosen::new("POST", "/p1/p2?q=q1&r2", &sent).values(&body).unwrap();
        let mut pieces: Vec<_> =
            values.slots.iter().map(|s| String::from_utf8(s.bytes.clone()).unwrap()).collect();
        pieces.sort();
        assert_eq!(
            pieces,
            [
                "POST", "a", "b", "body", "body", "c1", "c2", "cookie", "p1", "p2", "q", "q1", "r2", "t1",
                "x-trace"
            ]
        );
        let ids: std::collections::HashSet<u64> = values.slots.iter().map(|s| s.id).collect();
        assert_eq!(ids.len(), values.slots.len());
    }

    #[test]
    fn what_carries_a_request_is_the_body_the_query_or_the_last_name() {
        let none = HeaderMap::new();
        let main = |target: &str, body: &[u8]| {
            let values = Chosen::new("GET", target, &none).values(&BufferedBody::of(body.to_vec()));
            String::from_utf8(values.unwrap().main).unwrap()
        };
        assert_eq!(main("/a?q=1", b"body"), "body");
        assert_eq!(main("/a?q=1", b""), "q=1");
        assert_eq!(main("/a/b", b""), "b");
        assert_eq!(main("/", b""), "");
        assert_eq!(main("/a?q=1", &[b'x'; PIECE + 1]), "");
    }
}

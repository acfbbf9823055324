//! Pieces over requests and messages, in what clients write them in.

use std::io::Write;

use super::*;
use crate::outgoing::history::History;

type Body = (Vec<(String, String)>, Vec<u8>);
/// How a body is carried, by name.
type Way = (&'static str, fn(Vec<u8>) -> Body);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A client of one host, and what it has sent.
struct Client<'a> {
    outgoing: Outgoing,
    secrets: &'a Secrets,
    recent: RecentRequests,
    history: History,
}

impl<'a> Client<'a> {
    fn new(secrets: &'a Secrets) -> Self {
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        Self { outgoing, secrets, recent: RecentRequests::default(), history: History::default() }
    }

    fn request(&self, target: &str, (headers, body): Body) -> bool {
        let mut request = http::Request::post("/");
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let (chosen, body) = (Chosen::of(&head, target), BufferedBody::of(body));
        let mut found = inspect_request(&self.outgoing, self.secrets, &chosen, &body).unwrap();
        let values = chosen.values(&body).unwrap();
        self.recent.look(&self.outgoing, self.secrets, "a.example", values, &mut found);
        found.is_clean()
    }

    fn message(&mut self, message: Vec<u8>) -> bool {
        self.frame(message, Vec::new())
    }

    fn frame(&mut self, message: Vec<u8>, controls: Vec<u8>) -> bool {
        let said = self.history.push(vec![message]);
        let said = (said.as_ref(), Vec::new(), controls);
        inspect_messages(&self.outgoing, self.secrets, &self.recent, "a.example", said).is_clean()
    }
}

fn record(n: usize, piece: &str) -> Vec<u8> {
    format!("{{\"seq\":{n},\"d\":\"{piece}\"}}").into_bytes()
}

fn coded(coding: &str, body: Vec<u8>) -> Body {
    (vec![("content-encoding".to_owned(), coding.to_owned())], body)
}

fn framed(coded: u8, message: &[u8]) -> Vec<u8> {
    [&[coded][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[test]
fn pieces_in_bodies_that_are_coded_are_put_together() {
    let secrets = that_read_a_passage();
    let ways: &[Way] = &[
        ("plain", |b| (Vec::new(), b)),
        ("gzip", |b| coded("gzip", gzip(&b))),
        ("deflate", |b| coded("deflate", zlib(&b))),
        ("raw deflate", |b| coded("deflate", deflate(&b))),
        ("unnamed gzip", |b| (Vec::new(), gzip(&b))),
        ("call", |b| (Vec::new(), framed(0, &b))),
        ("coded call", |b| (Vec::new(), framed(1, &gzip(&b)))),
    ];
    for (way, code) in ways {
        let client = Client::new(&secrets);
        let pieces = cut(PASSAGE, 12);
        let passed = pieces.iter().enumerate().filter(|(n, p)| client.request("/e", code(record(*n, p))));
        let passed = passed.count();
        assert!(passed <= 6, "{way}: {passed} of {}", pieces.len());
    }
}

#[test]
fn what_ordinary_clients_send_coded_says_nothing() {
    let secrets = that_read_a_passage();
    let client = Client::new(&secrets);
    for n in 0..60 {
        let event = format!(
            "{{\"events\":[{{\"event_type\":\"page_view\",\"device_id\":\"d-{}\",\"time\":{},\"path\":\"/orders/{n}\"}}]}}",
            n % 7,
            1_700_000_000 + n * 31
        );
        assert!(client.request("/2/httpapi", coded("gzip", gzip(event.as_bytes()))), "{event}");
    }
}

#[test]
fn pieces_in_messages_are_put_together_with_those_in_requests() {
    let secrets = that_read_a_passage();
    let pieces = cut(PASSAGE, 12);
    let count = |send: &mut dyn FnMut(&mut Client<'_>, usize, &str) -> bool| {
        let mut client = Client::new(&secrets);
        pieces.iter().enumerate().filter(|(n, p)| send(&mut client, *n, p)).count()
    };
    let passed = [
        ("json", count(&mut |client, n, p| client.message(record(n, p)))),
        ("zlib", count(&mut |client, n, p| client.message(zlib(&record(n, p))))),
        (
            "MessagePack",
            count(&mut |client, n, p| {
                let head = [0x82, 0xa1, b'n', u8::try_from(n).unwrap(), 0xa1, b'd', 0xa0 + p.len() as u8];
                client.message([&head[..], p.as_bytes()].concat())
            }),
        ),
        (
            "in turn with requests",
            count(&mut |client, n, p| {
                if n % 2 == 0 {
                    client.message(record(n, p))
                } else {
                    client.request("/e", (Vec::new(), record(n, p)))
                }
            }),
        ),
        (
            "pings between a text",
            count(&mut |client, _, p| {
                client.message(b"a constant line between them".to_vec());
                client.frame(p.as_bytes().to_vec(), p.as_bytes().to_vec())
            }),
        ),
    ];
    for (way, passed) in passed {
        assert!(passed <= 5, "{way}: {passed} of {}", pieces.len());
    }
}

#[test]
fn what_people_and_programs_say_in_messages_is_carried() {
    let secrets = that_read_a_passage();
    let mut client = Client::new(&secrets);
    let lines = ["hello there", "is the branch open?", "yes, in the north", "see you at the port", "ok"];
    for n in 0..60 {
        let line = lines[n % lines.len()];
        let sent = [
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"tools/list\",\"params\":{{}}}}"),
            format!("{{\"type\":\"message\",\"room\":\"r{}\",\"text\":\"{line}\"}}", n % 3),
            "{\"type\":\"ping\"}".to_owned(),
        ];
        for message in sent {
            assert!(client.message(message.clone().into_bytes()), "{message}");
        }
        assert!(client.frame(b"keepalive".to_vec(), b"keepalive".to_vec()));
    }
}

#[test]
fn a_password_that_was_read_does_not_leave_without_a_character_either() {
    let secrets = that_read(
        "/workspace/settings.py",
        "DB = {\"user\": \"ferry\", \"password\": \"vK8mQz4wRt7pLx2N\"}\n",
    );
    let is_clean = |body: &str| Client::new(&secrets).request("/a", (Vec::new(), body.as_bytes().to_vec()));
    for body in [
        "vK8mQz4wRt7pLx2N",
        "vK8mQz4wRt7pLx2",
        "K8mQz4wRt7pLx2N",
        "v=vK8mQz4wRt7pL",
        "mQz4wRt7pLx2N",
        "dks4bVF6NHdSdDdwTHgy",
    ] {
        assert!(!is_clean(body), "{body}");
    }
    for body in ["mQz4wRt7pLx", "vK8mQz4w", "a note about the ferry"] {
        assert!(is_clean(body), "{body}");
    }
}

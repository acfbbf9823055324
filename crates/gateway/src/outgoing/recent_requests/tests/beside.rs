//! Pieces beside which something else stands, the same each time or a counter.

use super::*;
use crate::outgoing::history::History;
use crate::outgoing::inspect_messages;

/// A registered value without a form of its own.
const REGISTERED: &str = "qT7v|Xz93|mK4w+Rb8e=nP2s/Lh6d~Yc";

/// What carries one piece: the target, a header and the body of its request.
type Carrier = fn(usize, &str) -> (String, Option<(&'static str, String)>, String);

/// What a message is that carries one piece.
type Form = fn(usize, &str) -> Vec<u8>;

fn body(text: String) -> (String, Option<(&'static str, String)>, String) {
    ("/log".into(), None, text)
}

fn header(name: &'static str, text: String) -> (String, Option<(&'static str, String)>, String) {
    ("/log".into(), Some((name, text)), String::new())
}

fn target(text: String) -> (String, Option<(&'static str, String)>, String) {
    (text, None, String::new())
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

const CARRIERS: &[(&str, Carrier)] = &[
    ("a list", |_, p| body(format!("[\"log\",\"{p}\"]"))),
    ("a list that counts", |n, p| body(format!("[{n},\"log\",\"{p}\"]"))),
    ("a line of a table", |n, p| body(format!("{n},{p}\n"))),
    ("a line with bars", |n, p| body(format!("| {n} | {p} |"))),
    ("a column among others", |n, p| body(format!("x,{n},{p},y"))),
    ("a query in a document", |n, p| {
        body(format!("{{\"query\":\"mutation {{ add(n: {n}, v: \\\"{p}\\\") }}\"}}"))
    }),
    ("a section of settings", |n, p| body(format!("[s{n}]\nv = {p}\n"))),
    ("a line of a log", |n, p| body(format!("<34>Nov 28 11:{:02}:{:02} host app[{n}]: {p}", n / 60, n % 60))),
    ("a document beside what stays", |n, p| {
        body(format!("{{\"pad\":\"{}\",\"n\":{n},\"v\":\"{p}\"}}", "constant text ".repeat(200)))
    }),
    ("documents and markup in turns", |n, p| {
        body(if n % 2 == 0 { format!("{{\"v\":\"{p}\"}}") } else { format!("<v>{p}</v>") })
    }),
    ("a list in a query", |n, p| target(format!("/log?d={}", escaped(&format!("{n},{p}"))))),
    ("a document in a query", |_, p| target(format!("/log?d={}", escaped(&format!("[\"l\",\"{p}\"]"))))),
    ("a name of a path that counts", |n, p| target(format!("/s/{n},{}", escaped(p)))),
    ("a header that counts", |n, p| header("x-d", format!("{n},{p}"))),
    ("a header with parameters", |n, p| header("x-d", format!("n={n}; v={p}"))),
    ("a name of a version", |n, p| header("if-none-match", format!("\"{n}-{p}\""))),
    ("a name of a program", |n, p| header("user-agent", format!("app/1.{n} ({p})"))),
];

/// What is found in a request beside those before it, besides what is found in it alone.
fn look(
    known: &RecentRequests,
    outgoing: &Outgoing,
    secrets: &Secrets,
    (target, header, body): (String, Option<(&'static str, String)>, String),
    found: impl FnOnce(&Chosen<'_>, &BufferedBody) -> OutboundFindings,
) -> OutboundFindings {
    let mut head = http::Request::post("/");
    if let Some((name, value)) = header {
        head = head.header(name, value);
    }
    let head = head.body(()).unwrap().into_parts().0;
    let (chosen, body) = (Chosen::of(&head, &target), BufferedBody::of(body.into_bytes()));
    let mut found = found(&chosen, &body);
    known.look(outgoing, secrets, "a.example", chosen.values(&body).unwrap(), &mut found);
    found
}

/// Of the pieces, those that would be sent.
fn arriving(carrier: Carrier, pieces: &[&str], secrets: &Secrets) -> usize {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let known = RecentRequests::default();
    let alone = |chosen: &Chosen<'_>, body: &BufferedBody| {
        crate::outgoing::inspect_request(&outgoing, secrets, chosen, body).unwrap()
    };
    let is_sent =
        |(n, piece): (usize, &&str)| look(&known, &outgoing, secrets, carrier(n, piece), alone).is_clean();
    pieces.iter().enumerate().filter(|piece| is_sent((piece.0, piece.1))).count()
}

#[test]
fn pieces_are_put_together_whatever_stands_beside_them() {
    let secrets = remembering(PASSAGE);
    secrets.register(REGISTERED);
    let mut passed = Vec::new();
    for (what, carrier) in CARRIERS {
        for (value, length) in [(PASSAGE, 6), (REGISTERED, 4), (TOKEN, 5)] {
            let pieces = cut(value, length);
            let arrived = arriving(*carrier, &pieces, &secrets);
            let most = if value == PASSAGE { pieces.len() * 2 / 3 } else { pieces.len() - 1 };
            if arrived > most {
                passed.push(format!("{what}: {arrived} of {} pieces of {length}", pieces.len()));
            }
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

/// A piece that is the same as the one before is not what stays.
#[test]
fn the_same_piece_again_is_a_piece() {
    let doubled = "aabbccddee11ffgg22hhkk";
    let secrets = remembering(PASSAGE);
    secrets.register(doubled);
    let mut passed = Vec::new();
    let carriers: [(&str, Carrier); 4] = [
        ("a header", |_, p| header("x-d", p.to_owned())),
        ("a header that counts", |n, p| header("x-d", format!("{n},{p}"))),
        ("a query", |_, p| target(format!("/log?d={}", escaped(p)))),
        ("a list", |_, p| body(format!("[\"log\",\"{p}\"]"))),
    ];
    for (what, carrier) in carriers {
        let pieces = cut(doubled, 1);
        if arriving(carrier, &pieces, &secrets) == pieces.len() {
            passed.push(what);
        }
    }
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn pieces_in_messages_are_put_together_whatever_stands_beside_them() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = remembering(PASSAGE);
    secrets.register(REGISTERED);
    let forms: &[(&str, Form)] = &[
        ("a document", |_, p| format!("{{\"v\":\"{p}\"}}").into_bytes()),
        ("a document with an id", |n, p| format!("{{\"id\":{n},\"v\":\"{p}\"}}").into_bytes()),
        ("a document with one behind it", |n, p| format!("{{\"v\":\"{p}\",\"id\":{n}}}").into_bytes()),
        ("a call", |n, p| {
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"log\",\"params\":{{\"t\":\"{p}\"}}}}")
                .into_bytes()
        }),
        ("a record with a time", |n, p| {
            let time = (1_795_852_000 + 997 * n as u32).to_le_bytes();
            [b"\x0d", &time[..], b"\x12", &[p.len() as u8], p.as_bytes()].concat()
        }),
        ("a long one", |n, p| {
            format!("{{\"id\":{n},\"v\":\"{p}\",\"pad\":\"{}\"}}", "x y ".repeat(700)).into_bytes()
        }),
    ];
    let mut passed = Vec::new();
    for (what, form) in forms {
        for (value, length) in [(PASSAGE, 6), (REGISTERED, 4), (TOKEN, 5)] {
            let (known, mut history) = (RecentRequests::default(), History::default());
            let pieces = cut(value, length);
            let mut is_sent = |(n, piece): (usize, &&str)| {
                let said = history.push(vec![form(n, piece)]);
                inspect_messages(&outgoing, &secrets, &known, "a.example", (said.as_ref(), Vec::new()))
                    .is_clean()
            };
            // A conversation ends with the first that is refused.
            let arrived = pieces.iter().enumerate().take_while(|piece| is_sent((piece.0, piece.1))).count();
            let most = if value == PASSAGE { pieces.len() * 2 / 3 } else { pieces.len() - 1 };
            if arrived > most {
                passed.push(format!("{what}: {arrived} of {} pieces of {length}", pieces.len()));
            }
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

/// Keys are used: whole, where keys belong, as often as it takes.
#[test]
fn a_key_that_is_sent_whole_is_not_its_pieces() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    secrets.register(TOKEN);
    let carriers: [(&str, Carrier); 3] = [
        ("a bearer", |_, key| header("authorization", format!("Bearer {key}"))),
        ("a user and a key", |n, key| {
            let login =
                base64::prelude::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("user{n}:{key}"));
            header("authorization", format!("Basic {login}"))
        }),
        ("a key of its own", |_, key| header("x-api-key", key.to_owned())),
    ];
    for (what, carrier) in carriers {
        let known = RecentRequests::default();
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        let nothing = |_: &Chosen<'_>, _: &BufferedBody| OutboundFindings::default();
        let sent = (0..20)
            .filter(|n| look(&known, &outgoing, &secrets, carrier(*n, TOKEN), nothing).registered.is_empty());
        assert_eq!(sent.count(), 20, "{what}");
    }
}

/// A text of which one line alone would be too short to be told by the order of its pieces.
const LETTER: &str = "The merger between Halvorsen Marine and the Lindqvist yards closes on the fourth of March, and \
    nobody outside of the two boards is to hear of it before the evening of that day. Until then the dry dock in \
    Gdynia is for sale on paper alone: the offer from Rotterdam was refused in writing last week, and the bank that \
    holds the first mortgage knows nothing. Should the talks fail, the yard at Kiel closes with four hundred people.";

#[test]
fn pieces_that_are_encoded_each_in_its_way_are_put_together() {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
    let carriers: [(&str, usize, Carrier); 8] = [
        ("a user", 6, |_, p| {
            header("authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("u:{p}"))))
        }),
        ("a token", 12, |n, p| {
            let parts = ["{\"alg\":\"HS256\"}".to_owned(), format!("{{\"sub\":\"{p}\",\"iat\":{n}}}")];
            let parts = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            header("authorization", format!("Bearer {}.{n:032x}", parts.join(".")))
        }),
        ("a cursor", 8, |n, p| {
            let cursor = BASE64_STANDARD.encode(format!("{{\"after\":\"{p}\",\"n\":{n}}}"));
            target(format!("/a?cursor={}", escaped(&cursor)))
        }),
        ("two codings in turns", 6, |n, p| {
            let hexed = hex::encode(p);
            target(format!("/a?q={}", if n % 2 == 0 { escaped(p) } else { hexed }))
        }),
        ("a code", 1, |_, p| target(format!("/p?page={}", p.as_bytes()[0]))),
        ("two codes", 2, |_, p| {
            body(format!("{{\"at\":[{},{}]}}", p.as_bytes()[0], p.as_bytes()[p.len() - 1]))
        }),
        ("behind a counter", 8, |n, p| body(format!("{{\"d\":\"id{n}-{p}\"}}"))),
        ("before a sum", 8, |n, p| body(format!("{{\"d\":\"{p}{:08x}\"}}", n.wrapping_mul(2_654_435_761)))),
    ];
    let secrets = remembering(LETTER);
    let mut passed = Vec::new();
    for (what, length, carrier) in carriers {
        let pieces = cut(LETTER, length);
        let arrived = arriving(carrier, &pieces, &secrets);
        if arrived * 2 > pieces.len() {
            passed.push(format!("{what}: {arrived} of {} pieces of {length}", pieces.len()));
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

//! What was read, or is a key, as numbers in whatever syntax; and what is packed there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod encode;

use std::io::Write;

use chaperone_inspect::outgoing::{Fingerprints, KeyedSecrets, Known, Outgoing, Part, Seen};
use chaperone_inspect::{Detectors, Spot};

use encode::{base32_of, base64_of, gzip, mixed};

const OWN: &str = "hN7wq2ZkP9xVt4Lm8RbYc3Gd";
const TEXT: &str = "The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been \
                    made before the strike at the port and was never brought up to date. The port itself will close in May.";
const KEY: [u8; 32] = [3; 32];

struct Session {
    outgoing: Outgoing,
    read: Fingerprints,
    own: KeyedSecrets,
}

impl Session {
    fn new(picture: &[u8]) -> Session {
        let (mut read, mut own) = (Fingerprints::new(&KEY), KeyedSecrets::new(&KEY));
        read.add(7, TEXT.as_bytes());
        read.add(8, picture);
        own.register(1, OWN.as_bytes()).unwrap();
        Session { outgoing: Outgoing::new(Detectors::builtin().unwrap()), read, own }
    }

    fn look(&self, body: &[u8]) -> Seen {
        let known = Known { read: Some(&self.read), secrets: Some(&self.own), values: None };
        self.outgoing.look(&[Part { spot: Spot::Body, bytes: body, content_type: None }], &known)
    }

    fn finds(&self, what: &str, body: &[u8]) -> bool {
        let seen = self.look(body);
        let source = |id: u32| seen.passages.iter().any(|p| p.hit.source_id == id);
        match what {
            "key" => !seen.registered.is_empty(),
            "text" => source(7),
            _ => source(8),
        }
    }
}

fn picture(bytes: usize) -> Vec<u8> {
    [0xff, 0xd8, 0xff, 0xe0].into_iter().chain((0..).map(|i| mixed(i) as u8)).take(bytes).collect()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

type Syntax = fn(&[u8]) -> String;

fn join(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

fn each(bytes: &[u8], between: &str, form: impl Fn(usize, u8) -> String) -> String {
    join(bytes.iter().enumerate().map(|(i, b)| form(i, *b)), between)
}

/// In words of so many bytes, the first of them first or last.
fn words(bytes: &[u8], width: usize, is_big: bool, between: &str, form: impl Fn(u64) -> String) -> String {
    let word = |chunk: &[u8]| {
        let mut chunk = chunk.to_vec();
        chunk.resize(width, 0);
        if !is_big {
            chunk.reverse();
        }
        form(chunk.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    };
    join(bytes.chunks(width).map(word), between)
}

/// As programs show it, with the letters beside it.
fn dump(bytes: &[u8], group: usize, (before, after): (&str, &str)) -> String {
    let mut out = String::new();
    for (n, line) in bytes.chunks(16).enumerate() {
        let hex = join(line.chunks(group).map(hex::encode), " ");
        let letters: String = line
            .iter()
            .map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' })
            .collect();
        out.push_str(&format!("{:08x}{before}{hex:<40}{after}{letters}\n", n * 16));
    }
    out
}

fn records(bytes: &[u8], form: impl Fn(usize, &[u8]) -> String) -> String {
    bytes.chunks(16).enumerate().map(|(n, line)| form((n * 16) & 0xffff, line) + "\n").collect()
}

const SYNTAXES: &[(&str, Syntax)] = &[
    ("list", |b| format!("[{}]", each(b, ", ", |_, c| c.to_string()))),
    ("buffer", |b| format!("{{\"type\":\"Buffer\",\"data\":[{}]}}", each(b, ",", |_, c| c.to_string()))),
    ("array with indexes", |b| format!("{{{}}}", each(b, ",", |i, c| format!("\"{i}\":{c}")))),
    ("signed", |b| format!("[{}]", each(b, ", ", |_, c| (c as i8).to_string()))),
    ("floats", |b| format!("[{}]", each(b, ", ", |_, c| format!("{c}.0")))),
    ("lines of floats", |b| each(b, "\n", |_, c| format!("{c}.000000"))),
    ("exponents", |b| {
        each(b, "\n", |_, c| format!("{:.18e}", f64::from(c)).replace("e2", "e+02").replace("e1", "e+01"))
    }),
    ("lines", |b| each(b, "\n", |_, c| c.to_string())),
    ("points", |b| format!("<svg><polyline points=\"{}\"/></svg>", each(b, " ", |i, c| format!("{i},{c}")))),
    ("path", |b| format!("<svg><path d=\"M0 0{}\"/></svg>", each(b, "", |i, c| format!(" L{i} {c}")))),
    ("colours", |b| {
        join(
            b.chunks(3)
                .map(|c| format!("rgb({}, {}, {})", c[0], c.get(1).unwrap_or(&0), c.get(2).unwrap_or(&0))),
            ";\n",
        )
    }),
    ("metrics", |b| each(b, "\n", |i, c| format!("m{{i=\"{i}\"}} {c}"))),
    ("objects", |b| format!("[{}]", each(b, ",", |i, c| format!("{{\"x\":{i},\"y\":{c}}}")))),
    ("rows of three", |b| each(b, "\n", |i, c| format!("{},{c},{}", 1_700_000_000 + i, i % 7))),
    ("addresses", |b| join(b.chunks(4).map(|c| join(c.iter().map(u8::to_string), ".")), "\n")),
    ("c bytes", |b| {
        format!(
            "const unsigned char data[] = {{\n  {}\n}};",
            each(b, ", ", |i, c| format!("0x{c:02x}{}", if i % 12 == 11 { "\n " } else { "" }))
        )
    }),
    ("debugger", |b| {
        join(
            b.chunks(8).enumerate().map(|(n, l)| {
                format!(
                    "{:#x}:\t{}",
                    0x7fff_0000_1000_u64 + n as u64 * 8,
                    each(l, "\t", |_, c| format!("{c:#04x}"))
                )
            }),
            "\n",
        )
    }),
    ("u16", |b| words(b, 2, true, ", ", |n| n.to_string())),
    ("u32", |b| words(b, 4, true, ", ", |n| n.to_string())),
    ("u32, low first", |b| words(b, 4, false, " ", |n| n.to_string())),
    ("u32 with indexes", |b| {
        format!(
            "{{{}}}",
            join(
                b.chunks(4)
                    .enumerate()
                    .map(|(i, c)| format!("\"{i}\":{}", words(c, 4, true, "", |n| n.to_string()))),
                ","
            )
        )
    }),
    ("u64", |b| words(b, 8, true, ", ", |n| n.to_string())),
    ("u16 in hex, low first", |b| words(b, 2, false, ", ", |n| format!("0x{n:04x}"))),
    ("u32 in hex", |b| {
        format!("uint32_t data[] = {{ {} }};", words(b, 4, true, ", ", |n| format!("0x{n:08x}")))
    }),
    ("u32 in hex, low first", |b| words(b, 4, false, ",\n", |n| format!("0x{n:08X}u"))),
    ("u64 in hex", |b| words(b, 8, true, ", ", |n| format!("0x{n:016x}ULL"))),
    ("u64 in hex, low first", |b| words(b, 8, false, ", ", |n| format!("0x{n:016x}"))),
    ("xxd", |b| dump(b, 2, (": ", "  "))),
    ("xxd of words", |b| dump(b, 4, (": ", "  "))),
    ("hexdump", |b| dump(b, 1, ("  ", "  |")).replace('\n', "|\n")),
    ("hexdump without letters", |b| {
        records(b, |at, l| format!("{at:08x}  {}", join(l.iter().map(|c| format!("{c:02x}")), " ")))
    }),
    ("intel hex", |b| records(b, |at, l| format!(":{:02X}{at:04X}00{}5A", l.len(), hex::encode_upper(l)))),
    ("s-record", |b| records(b, |at, l| format!("S1{:02X}{at:04X}{}5A", l.len() + 3, hex::encode_upper(l)))),
    ("s-record of 32 bits", |b| {
        records(b, |at, l| format!("S3{:02X}{at:08X}{}5A", l.len() + 5, hex::encode_upper(l)))
    }),
];

/// Strings that hold bytes.
const LITERALS: &[(&str, Syntax)] = &[
    ("json", |b| {
        let text: String = b.iter().map(|c| char::from(*c)).collect();
        let escape = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", c as u32) };
        serde_json::to_string(&text).unwrap().chars().map(escape).collect()
    }),
    ("json, as it is", |b| {
        let text: String = b.iter().map(|c| char::from(*c)).collect();
        format!("{{\"data\": {}}}", serde_json::to_string(&text).unwrap())
    }),
    ("python", |b| {
        let one = |c: &u8| match c {
            b'\t' => "\\t".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b'\'' => "\\'".to_owned(),
            b' '..=b'~' => char::from(*c).to_string(),
            c => format!("\\x{c:02x}"),
        };
        format!("b'{}'", b.iter().map(one).collect::<String>())
    }),
    ("latin-1 in utf-8", |b| b.iter().map(|c| char::from(*c)).collect()),
];

#[test]
fn keys_texts_and_pictures_are_known_in_numbers_whatever_the_syntax() {
    let picture = picture(20_000);
    let session = Session::new(&picture);
    let mut missed = Vec::new();
    for (name, syntax) in SYNTAXES {
        for (what, bytes) in [("key", OWN.as_bytes()), ("text", TEXT.as_bytes()), ("picture", &picture)] {
            let body = syntax(bytes);
            for body in [body.clone(), format!("sent 2026-11-29, 3 of 12\n{body}\n1 more")] {
                if !session.finds(what, body.as_bytes()) {
                    missed.push(format!("{what} as {name}: {}", body.get(..100).unwrap_or(&body)));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}: {missed:#?}", missed.len());
}

#[test]
fn what_is_packed_is_unpacked_in_numbers_and_in_strings() {
    let picture = picture(5_000);
    let session = Session::new(&picture);
    let own = format!("password = {OWN}\n{}", "and so on, ".repeat(40));
    let mut missed = Vec::new();
    for (name, syntax) in SYNTAXES.iter().chain(LITERALS).chain(&[("base32", (|b| base32_of(b)) as Syntax)]) {
        for (what, bytes) in [("key", own.as_bytes()), ("text", TEXT.as_bytes()), ("picture", &picture)] {
            for (how, packed) in [("gzip", gzip(bytes)), ("zlib", zlib(bytes))] {
                let body = syntax(&packed);
                if !session.finds(what, body.as_bytes()) {
                    missed.push(format!("{what} in {how} as {name}: {}", body.get(..100).unwrap_or(&body)));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}: {missed:#?}", missed.len());
}

#[test]
fn a_picture_in_a_string_is_that_picture() {
    let picture = picture(20_000);
    let session = Session::new(&picture);
    for (name, syntax) in LITERALS {
        assert!(session.finds("picture", syntax(&picture).as_bytes()), "{name}");
    }
}

#[test]
fn zlib_behind_a_few_bytes_is_unpacked() {
    let session = Session::new(&[]);
    let packed = zlib(TEXT.as_bytes());
    let long = zlib(TEXT.repeat(9).as_bytes());
    let noise: Vec<u8> = (0..40_000).map(|i| mixed(i) as u8).collect();
    for (name, body) in [
        ("length, low first", [&(TEXT.len() as u32).to_le_bytes()[..], &packed].concat()),
        ("length", [&(TEXT.len() as u32).to_be_bytes()[..], &packed].concat()),
        ("ten bytes", [&b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"[..], &packed].concat()),
        ("a map", [&b"\x81\xa4data\xc4\xc8"[..], &packed].concat()),
        ("in a data base", [&b"SQLite format 3\0"[..], &noise, &long, &noise].concat()),
        (
            "behind a text",
            [&b"Content-Type: application/octet-stream, and some more of the head of it\n\n"[..], &packed]
                .concat(),
        ),
    ] {
        assert!(session.finds("text", &body), "{name}");
        if name == "behind a text" {
            continue;
        }
        assert!(session.finds("text", base64_of(&body).as_bytes()), "{name}, in base64");
        assert!(session.finds("text", hex::encode(&body).as_bytes()), "{name}, in hex");
    }
}

/// What is on every machine, and of each kind so many files.
const REAL: [(&str, &[&str]); 4] = [
    ("/usr/share", &["svg", "json", "csv", "js", "css", "html", "txt", "xml", "ps", "hex"]),
    ("/usr/lib/python3", &["py", "json", "txt"]),
    ("/usr/lib/python3.13", &["py", "txt"]),
    ("/usr/include", &["h"]),
];
const OF_A_KIND: usize = 40;
const LARGEST: u64 = 1 << 20;

fn real_files() -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for (root, kinds) in REAL {
        let mut counts = vec![0; kinds.len()];
        let mut directories = vec![std::path::PathBuf::from(root)];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            let mut entries: Vec<_> = entries.flatten().collect();
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
                let kind = path.extension().and_then(|e| kinds.iter().position(|k| e == *k));
                match kind {
                    _ if meta.is_dir() => directories.push(path),
                    Some(kind) if meta.is_file() && meta.len() <= LARGEST && counts[kind] < OF_A_KIND => {
                        counts[kind] += 1;
                        found.push(path);
                    }
                    _ => {}
                }
            }
        }
    }
    found
}

/// Where numbers begin that are not those of the picture.
const OTHER: u64 = 1 << 40;

/// Files full of numbers, as programs write them.
fn generated() -> Vec<(&'static str, String)> {
    let n = |i: usize, most: u64| mixed(OTHER + i as u64) % most;
    let lines = |form: &dyn Fn(usize) -> String| join((0..4_000).map(form), "\n");
    let noise: Vec<u8> = (0..60_000).map(|i| mixed(OTHER + i) as u8).collect();
    vec![
        (
            "measurements",
            lines(&|i| {
                format!("{i},{}.{},{},{}", n(i, 90), n(i + 1, 1000), n(i + 2, 256), 1_700_000_000 + i * 60)
            }),
        ),
        ("percents", lines(&|i| format!("{}\t{}\t{}", n(i, 101), n(i + 7, 101), n(i + 9, 101)))),
        (
            "icons",
            lines(&|i| {
                format!(
                    "<path d=\"M{} {}L{}.5 {}c{},{} -{},4z\"/>",
                    n(i, 24),
                    n(i + 1, 24),
                    n(i + 2, 24),
                    n(i + 3, 24),
                    n(i + 4, 9),
                    n(i + 5, 9),
                    n(i + 6, 9)
                )
            }),
        ),
        (
            "places",
            format!(
                "{{\"type\":\"LineString\",\"coordinates\":[{}]}}",
                join(
                    (0..4_000).map(|i| format!(
                        "[{}.{:06},{}.0]",
                        n(i, 180),
                        n(i + 1, 999_999),
                        n(i + 2, 90)
                    )),
                    ","
                )
            ),
        ),
        (
            "lock file",
            format!(
                "{{\"packages\":{{{}}}}}",
                join(
                    (0..500).map(|i| format!(
                        "\"node_modules/p{i}\":{{\"version\":\"{}.{}.{}\",\"integrity\":\"sha512-{}\"}}",
                        n(i, 9),
                        n(i + 1, 40),
                        n(i + 2, 90),
                        base64_of(&noise[i * 64..i * 64 + 64])
                    )),
                    ","
                )
            ),
        ),
        (
            "minified",
            lines(&|i| {
                format!(
                    "function e{i}(t){{return t[{}]<<{}|t[{}]&0x{:x}}}var n{i}=\"\\u00e4\\x1b[3{}m\";",
                    n(i, 256),
                    n(i + 1, 32),
                    n(i + 2, 256),
                    n(i + 3, 65_536),
                    n(i, 8)
                )
            }),
        ),
        (
            "firmware",
            records(&noise, |at, l| format!(":{:02X}{at:04X}00{}5A", l.len(), hex::encode_upper(l))),
        ),
        (
            "table",
            format!(
                "static const uint32_t crc[] = {{ {} }};",
                words(&noise[..8_192], 4, true, ", ", |n| format!("0x{n:08x}"))
            ),
        ),
        ("pixels", format!("[{}]", each(&noise, ",", |_, c| c.to_string()))),
        ("weights", format!("[{}]", join((0..4_000).map(|i| format!("0.{:08}", n(i, 99_999_999))), ", "))),
        (
            "digests",
            lines(&|i| {
                format!("{:016x}{:016x}  file{i}.txt", mixed(OTHER + i as u64), mixed(OTHER + i as u64 + 1))
            }),
        ),
        ("dump", dump(&noise, 2, (": ", "  "))),
        (
            "identifiers",
            lines(&|i| {
                format!(
                    "{{\"id\":{},\"user\":{},\"at\":{}}}",
                    mixed(OTHER + i as u64) >> 11,
                    n(i, 1 << 32),
                    1_700_000_000_000_u64 + n(i, 99_999_999)
                )
            }),
        ),
        (
            "addresses",
            lines(&|i| format!("10.{}.{}.{} 443 {}", n(i, 256), n(i + 1, 256), n(i + 2, 256), n(i, 65_536))),
        ),
    ]
}

#[test]
fn ordinary_files_of_numbers_are_nothing() {
    let session = Session::new(&picture(20_000));
    let mut wrong = Vec::new();
    let mut look = |name: &str, bytes: &[u8]| {
        let seen = session.look(bytes);
        let known = seen.registered.len() + seen.passages.len();
        let in_numbers = seen
            .findings
            .iter()
            .filter(|f| f.category == "secret" && f.place.steps.contains(&chaperone_inspect::Step::ByteList));
        if known + in_numbers.count() + seen.unread.len() > 0 {
            wrong.push(format!(
                "{name}: {:?} {:?} {:?} {:?}",
                seen.findings, seen.passages, seen.registered, seen.unread
            ));
        }
    };
    for (name, text) in generated() {
        look(name, text.as_bytes());
    }
    let files = real_files();
    assert!(files.len() >= 40, "{}", files.len());
    for path in files {
        look(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
}

#[test]
fn a_stream_that_was_cut_into_messages_is_unpacked() {
    let session = Session::new(&[]);
    let messages: Vec<Vec<u8>> = gzip(TEXT.as_bytes())
        .chunks(40)
        .map(|part| [&[0][..], &(part.len() as u32).to_be_bytes(), part].concat())
        .collect();
    assert!(session.finds("text", &messages.concat()));
    let known = Known { read: Some(&session.read), secrets: Some(&session.own), values: None };
    let (newest, before) = messages.split_last().unwrap();
    let before: Vec<&[u8]> = before.iter().map(Vec::as_slice).collect();
    let seen = session.outgoing.look_at_messages(&before, &[newest], &known);
    assert!(!seen.passages.is_empty());
    // What is still to come is no damage.
    let (newest, earlier) = before.split_last().unwrap();
    let seen = session.outgoing.look_at_messages(earlier, &[newest], &known);
    assert!(seen.unread.is_empty(), "{:?}", seen.unread);
}

#[test]
fn a_text_over_the_fields_of_an_object_is_that_text() {
    let session = Session::new(&[]);
    for (what, text) in [("key", OWN), ("text", TEXT)] {
        let fields =
            |text: &str| join(text.chars().enumerate().map(|(i, c)| format!("\"{i}\": \"{c}\"")), ", ");
        let body = format!("{{\"name\": \"a report\", \"value\": {{{}}}}}", fields(text));
        assert!(session.finds(what, body.as_bytes()), "{what}");
    }
}

#[test]
fn a_data_base_of_packed_rows_is_read_whole() {
    let session = Session::new(&[]);
    let rows =
        (0..2_000).map(|i| zlib(format!("row {i} of them, with {} in it", mixed(i)).repeat(3).as_bytes()));
    let mut body: Vec<u8> = rows.flat_map(|row| [&[0, 0, 0, 9][..], &row].concat()).collect();
    assert!(session.look(&body).unread.is_empty(), "{:?}", session.look(&body).unread);
    body.extend(zlib(TEXT.as_bytes()));
    assert!(session.finds("text", &body));
}

/// Numbers, signs and words of syntaxes in any order.
#[test]
fn whatever_numbers_come_they_are_read_with_bounded_work() {
    const PARTS: [&str; 40] = [
        "0",
        "9",
        "255",
        "256",
        "65535",
        "65536",
        "4294967295",
        "18446744073709551615",
        "99999999999999999999999",
        "-1",
        "-128",
        "1.0",
        "1.",
        ".5",
        "1e",
        "1.0e+",
        "1.0e+999",
        "0x",
        "0xff",
        "0xffffffffffffffff",
        "0xfffffffffffffffffff",
        "ff",
        "dead",
        "00000010:",
        "00000000  ",
        ":10000000",
        "S1130000",
        "S9",
        "\n",
        " ",
        ",",
        "\"",
        "L1",
        "M",
        "\\x8b",
        "\\u008b",
        "\\",
        "\u{8b}",
        "x\u{9c}",
        "rgb(",
    ];
    let session = Session::new(&picture(2_000));
    let is_bounded = |body: &[u8]| {
        let work = session.look(body).work;
        assert!(work <= (64 << 20) + body.len() as u64 * 16, "{work} for {}", body.len());
    };
    for round in 0..300_u64 {
        let most = if round % 50 == 0 { 200_000 } else { 400 };
        let body: String =
            (0..most).map(|i| PARTS[(mixed(round << 32 | i) % PARTS.len() as u64) as usize]).collect();
        is_bounded(body.as_bytes());
        let noise: Vec<u8> = body
            .bytes()
            .enumerate()
            .map(|(i, b)| if mixed(i as u64).is_multiple_of(9) { mixed(round + i as u64) as u8 } else { b })
            .collect();
        is_bounded(&noise);
    }
}

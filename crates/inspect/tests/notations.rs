//! What was read, or is a key, written as the numbers of its letters, in another set of characters, or as base64 of what is no text.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod encode;

use chaperone_inspect::outgoing::{Fingerprints, KeyedSecrets, Known, Outgoing, Part};
use chaperone_inspect::{Detectors, Spot};

use encode::{base32_of, base64_of, hex_of};

const TOKEN: &str = "ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK";
const OWN: &str = "q7Hs92kLmZx04PtRw8Yb3NcV5";
const TEXT: &str = "The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been \
                    made before the strike at the port and was never brought up to date.";
const KEY: [u8; 32] = [3; 32];

fn outgoing() -> Outgoing {
    Outgoing::new(Detectors::builtin().unwrap())
}

fn read(bytes: &[u8]) -> Fingerprints {
    let mut read = Fingerprints::new(&KEY);
    read.add(7, bytes);
    read
}

type Way = (&'static str, fn(u32) -> String, &'static str);

/// By name, how a letter is written, and what stands between two.
const WAYS: &[Way] = &[
    ("python", |c| format!("\\U{c:08x}"), ""),
    ("code point", |c| format!("U+{c:04X}"), " "),
    ("code point in brackets", |c| format!("<U+{c:04X}>"), ""),
    ("perl", |c| format!("\\x{{{c:x}}}"), ""),
    ("perl, by name of the code", |c| format!("\\N{{U+{c:04X}}}"), ""),
    ("style sheet", |c| format!("\\{c:06x}"), ""),
    ("tex", |c| format!("^^{c:02x}"), ""),
    ("rtf", |c| format!("\\u{c}?"), ""),
    ("bare", |c| format!("u{c:04x}"), ""),
    ("workbook", |c| format!("_x{c:04X}_"), ""),
    ("binary", |c| format!("0b{c:b}"), " "),
    ("octal", |c| format!("0o{c:o}"), " "),
    ("dollar", |c| format!("${c:02x}"), " "),
    ("assembler", |c| format!("{c:02x}h"), " "),
    ("exponent", |c| format!("{:.2e}", f64::from(c)).replace("e1", "e+01").replace("e2", "e+02"), " "),
    ("overlong", |c| format!("%{:02X}%{:02X}", 0xc0 | c >> 6, 0x80 | (c & 63)), ""),
    ("utf-16 in hex", |c| format!("{c:04x}"), ""),
    ("utf-32 in hex", |c| format!("{c:08x}"), ""),
];

#[test]
fn letters_as_their_numbers_are_letters() {
    let outgoing = outgoing();
    let (read, mut own) = (read(TEXT.as_bytes()), KeyedSecrets::new(&KEY));
    own.register(1, OWN.as_bytes()).unwrap();
    let known = Known { read: Some(&read), secrets: Some(&own), values: None };
    for (name, letter, between) in WAYS {
        let written = |text: &str| text.chars().map(|c| letter(c as u32)).collect::<Vec<_>>().join(between);
        for (what, text) in [("token", TOKEN), ("own key", OWN), ("text", TEXT)] {
            let body = written(text);
            for body in [body.clone(), format!("{{\"note\": \"{body}\"}}")] {
                let seen = outgoing
                    .look(&[Part { spot: Spot::Body, bytes: body.as_bytes(), content_type: None }], &known);
                let found = match what {
                    "token" => seen.findings.iter().any(|f| f.detector == "github_token"),
                    "own key" => !seen.registered.is_empty(),
                    _ => !seen.passages.is_empty(),
                };
                assert!(found, "{what} as {name}: {}", body.get(..80).unwrap_or(&body));
            }
        }
    }
}

#[test]
fn a_text_in_another_set_of_characters_is_the_same_text() {
    let text = "Филиал на севере закрыл год с убытком в одиннадцать процентов против плана правления, который был составлен до забастовки \
                в порту и никогда не обновлялся. ";
    let read = read(text.as_bytes());
    for set in [encoding_rs::WINDOWS_1251, encoding_rs::KOI8_R, encoding_rs::GB18030] {
        let (bytes, ..) = set.encode(text);
        let part = Part { spot: Spot::Body, bytes: &bytes, content_type: None };
        let known = Known { read: Some(&read), ..Known::default() };
        assert!(!outgoing().look(&[part], &known).passages.is_empty(), "{}", set.name());
    }
}

/// Numbers as a camera or a microphone makes them.
fn picture(bytes: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    [0xff, 0xd8, 0xff, 0xe0].into_iter().chain(std::iter::repeat_with(|| next() | 1)).take(bytes).collect()
}

#[test]
fn a_picture_that_was_read_is_recognised_in_base64_hex_and_base32() {
    let picture = picture(60_000);
    let read = read(&picture);
    let wrapped: String = base64_of(&picture)
        .as_bytes()
        .chunks(76)
        .fold(String::new(), |all, line| all + std::str::from_utf8(line).unwrap() + "\r\n");
    for (name, body) in [
        ("a message", format!("{{\"image_url\": \"data:image/jpeg;base64,{}\"}}", base64_of(&picture))),
        ("a mail", format!("Content-Transfer-Encoding: base64\r\n\r\n{wrapped}")),
        ("hex", hex_of(&picture, "", "")),
        ("base32", base32_of(&picture)),
    ] {
        let part = Part { spot: Spot::Body, bytes: body.as_bytes(), content_type: None };
        let known = Known { read: Some(&read), ..Known::default() };
        let seen = outgoing().look(&[part], &known);
        assert!(!seen.passages.is_empty(), "{name}");
    }
}

/// Words stand between the signs of base64 as well: what looks like a password there is none.
#[test]
fn pictures_that_nobody_read_hold_no_passwords() {
    for n in 0..40_usize {
        let picture = picture(200_000 + n);
        let shifted = picture.get(n..).unwrap();
        let wrapped: String = base64_of(shifted)
            .as_bytes()
            .chunks(76)
            .fold(String::new(), |all, line| all + std::str::from_utf8(line).unwrap() + "\r\n");
        for body in [base64_of(shifted), wrapped] {
            let part = Part { spot: Spot::Body, bytes: body.as_bytes(), content_type: None };
            let seen = outgoing().look(&[part], &Known::default());
            assert!(seen.findings.is_empty() && seen.passages.is_empty(), "{n}: {:?}", seen.findings);
        }
    }
}

#[test]
fn what_stands_in_a_tag_leaves_as_well() {
    let read = read(TEXT.as_bytes());
    for body in [
        format!("<{TEXT}>"),
        format!("<p title=\"{TEXT}\">x</p>"),
        format!("<!-- {TEXT} --><p>x</p>"),
        format!("<?note {TEXT}?><p>x</p>"),
        TEXT.split(' ').map(|word| format!("<b>{word}</b> ")).collect(),
    ] {
        let part = Part { spot: Spot::Body, bytes: body.as_bytes(), content_type: None };
        let known = Known { read: Some(&read), ..Known::default() };
        assert!(!outgoing().look(&[part], &known).passages.is_empty(), "{body}");
    }
}

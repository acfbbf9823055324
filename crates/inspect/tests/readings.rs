//! What is read is understood as what leaves is: in other encodings, with other dashes, packed, mailed, in a database.
#![allow(clippy::unwrap_used)]

mod encode;
mod support;

use std::io::Write;

use chaperone_inspect::{Detectors, inspect_plain};
use support::{count, inspect, redact};

/// Sixty numbers of people, one a line.
const PEOPLE: &str = include_str!("data/people.txt");

fn csv() -> String {
    let mut csv = "name;ssn;note\n".to_owned();
    for (i, line) in PEOPLE.lines().enumerate() {
        csv.push_str(&format!("n{i};{};ok\n", line.rsplit(' ').next().unwrap()));
    }
    csv
}

fn json(value: impl Fn(&str) -> String) -> String {
    let rows: Vec<String> = PEOPLE.lines().map(|l| format!("{{\"note\": \"{}\"}}", value(l))).collect();
    format!("[{}]", rows.join(",\n"))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = (0..3).fold(0u32, |n, i| n << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..=chunk.len() {
            out.push(ALPHABET[(n >> (18 - 6 * i) & 63) as usize].into());
        }
        out.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn lines(text: &str) -> String {
    text.as_bytes().chunks(76).map(|l| format!("{}\r\n", std::str::from_utf8(l).unwrap())).collect()
}

fn mail(encoding: &str, body: &str) -> String {
    format!(
        "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: list\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nHi\r\n--b1\r\n\
         Content-Type: text/csv; name=\"people.csv\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n--b1--\r\n"
    )
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Of base64 every few characters by themselves.
fn divided(between: &str, size: usize) -> Vec<u8> {
    let encoded = base64(PEOPLE.as_bytes());
    let groups: Vec<&str> =
        encoded.as_bytes().chunks(size).map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(between).into_bytes()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Every form with its name; all of them hold sixty numbers.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let with = |dash: &str| PEOPLE.replace('-', dash).into_bytes();
    let csv_with = |dash: &str| csv().replace('-', dash).into_bytes();
    let wide = |text: &str, f: fn(char) -> Vec<u8>| text.chars().flat_map(f).collect::<Vec<u8>>();
    vec![
        ("plain.txt", PEOPLE.into()),
        ("hyphen.txt", with("\u{2010}")),
        ("no-break-hyphen.txt", with("\u{2011}")),
        ("en-dash.txt", with("\u{2013}")),
        ("em-dash.txt", with("\u{2014}")),
        ("minus.txt", with("\u{2212}")),
        ("no-break-blank.txt", with("\u{a0}")),
        ("narrow-blank.txt", with("\u{202f}")),
        ("soft-hyphen.txt", with("\u{ad}-")),
        ("zero-width.txt", with("\u{200b}-\u{200b}")),
        ("entity.html", with("&#45;")),
        ("entity-hex.html", with("&#x2d;")),
        ("entity-named.html", with("&hyphen;")),
        ("entity-blank.html", with("&#160;")),
        (
            "full-width.txt",
            PEOPLE
                .chars()
                .map(|c| match c {
                    '0'..='9' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
                    c => c,
                })
                .collect::<String>()
                .into_bytes(),
        ),
        ("windows.txt", PEOPLE.bytes().map(|b| if b == b'-' { 0x96 } else { b }).collect()),
        ("dash.csv", csv_with("\u{2011}")),
        ("en.csv", csv_with("\u{2013}")),
        ("dash.json", json(|l| l.replace('-', "\u{2011}")).into_bytes()),
        ("escaped.json", json(|l| l.replace('-', "\\u2011")).into_bytes()),
        ("base64.json", json(|l| base64(l.as_bytes())).into_bytes()),
        ("hex.json", json(|l| hex(l.as_bytes())).into_bytes()),
        ("base64.txt", lines(&base64(PEOPLE.as_bytes())).into_bytes()),
        ("base64-blanks.txt", divided(" ", 4)),
        ("base64-dots.txt", divided(".", 5)),
        ("base64-dashes.txt", divided("-", 8)),
        ("base64-short-lines.txt", divided("\n", 6)),
        ("base64-deflate.txt", base64(&deflate(PEOPLE.as_bytes())).into_bytes()),
        ("base64-zlib.txt", base64(&zlib(PEOPLE.as_bytes())).into_bytes()),
        ("utf16le", wide(PEOPLE, |c| (c as u16).to_le_bytes().to_vec())),
        ("utf16be", wide(PEOPLE, |c| (c as u16).to_be_bytes().to_vec())),
        ("utf32le", wide(PEOPLE, |c| (c as u32).to_le_bytes().to_vec())),
        ("utf32be", wide(PEOPLE, |c| (c as u32).to_be_bytes().to_vec())),
        ("utf32-mark", wide(&format!("\u{feff}{PEOPLE}"), |c| (c as u32).to_le_bytes().to_vec())),
        ("zlib", zlib(PEOPLE.as_bytes())),
        ("people.txt.xz", include_bytes!("data/people.txt.xz").to_vec()),
        ("people.txt.bz2", include_bytes!("data/people.txt.bz2").to_vec()),
        ("people.txt.zst", include_bytes!("data/people.txt.zst").to_vec()),
        (
            "two frames.zst",
            [&include_bytes!("data/people.txt.zst")[..], b"\x50\x2a\x4d\x18\x03\0\0\0abc"].concat(),
        ),
        ("people.sqlite", include_bytes!("data/people.sqlite").to_vec()),
        ("people-utf16.sqlite", include_bytes!("data/people-utf16.sqlite").to_vec()),
        ("people.pickle", include_bytes!("data/people.pickle").to_vec()),
        ("a.eml", mail("base64", &lines(&base64(csv().as_bytes()))).into_bytes()),
        ("nameless", mail("base64", &lines(&base64(csv().as_bytes()))).into_bytes()),
        (
            "quoted.eml",
            mail("quoted-printable", &csv().replace('-', "=2D").replace('\n', "\r\n")).into_bytes(),
        ),
        (
            "broken-lines.eml",
            mail("quoted-printable", &csv().replace('-', "-=\r\n").replace(";ok\n", ";ok\r\n")).into_bytes(),
        ),
        (
            "box",
            format!(
                "From ann Thu Jan  1 00:00:00 2026\r\n{}\r\nFrom bob Thu Jan  1 00:00:00 2026\r\n{}",
                mail("7bit", "nothing"),
                mail("base64", &lines(&base64(csv().as_bytes())))
            )
            .into_bytes(),
        ),
    ]
}

#[test]
fn sixty_numbers_are_found_in_every_form() {
    for (name, bytes) in forms() {
        let report = inspect(name, &bytes);
        assert_eq!(report.error(), None, "{name}");
        let found = count(&report, "us_ssn");
        assert!((55..=61).contains(&found), "{name}: {found}");
    }
}

/// What the broker looks at itself, it sees as the worker does.
#[test]
fn small_files_are_looked_at_alike_or_left_to_the_worker() {
    for (name, bytes) in forms() {
        if let Some(report) = inspect_plain(&Detectors::builtin().unwrap(), &bytes, name) {
            assert!(count(&report, "us_ssn") >= 55, "{name}");
        }
    }
}

#[test]
fn a_redacted_copy_keeps_none_of_them_or_is_refused() {
    let with_card = |bytes: &[u8]| [bytes, b"\ncard 4111 1111 1111 1111\n"].concat();
    let mut rewritten = 0;
    for (name, bytes) in forms() {
        for bytes in [bytes.clone(), with_card(&bytes)] {
            let Ok(copy) = redact(name, &bytes) else { continue };
            rewritten += 1;
            let left = inspect(name, &copy);
            assert_eq!((count(&left, "us_ssn"), left.error()), (0, None), "{name}");
        }
    }
    assert!(rewritten >= 2 * 18, "{rewritten} of the forms that are text");
}

#[test]
fn a_message_in_a_message_is_read() {
    let inner = mail("base64", &lines(&base64(csv().as_bytes())));
    let outer = format!(
        "From: a@example.org\r\nTo: b@example.org\r\nSubject: fwd\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n\
         --b0\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--b0--\r\n"
    );
    let report = inspect("fwd.eml", outer.as_bytes());
    assert_eq!((count(&report, "us_ssn"), report.error()), (60, None));
}

#[test]
fn around_a_value_that_is_written_otherwise_every_byte_stays() {
    let text = "Für Ann – „SSN 536\u{2011}22\u{2011}8741“; card 4111&#160;1111&#xa0;1111 1111, é\u{200b}n\n";
    let copy = String::from_utf8(redact("letter.txt", text.as_bytes()).unwrap()).unwrap();
    assert!(copy.starts_with("Für Ann – „SSN [REDACTED:us_ssn]“; card "), "{copy}");
    assert!(copy.ends_with(", é\u{200b}n\n"), "{copy}");
}

#[test]
fn long_text_is_read_in_windows_and_no_value_is_lost_or_counted_twice() {
    let filler = "all of this is ordinary text – with a dash in it and nothing else\n".repeat(3_000);
    let mut text = String::new();
    for (i, line) in PEOPLE.lines().enumerate() {
        text.extend(filler.chars().skip(i * 7));
        text.push('\n');
        text.push_str(&line.replace('-', "\u{2013}"));
        text.push('\n');
    }
    assert_eq!(count(&inspect("long.txt", text.as_bytes()), "us_ssn"), 60);
    assert_eq!(count(&inspect("one-line.txt", text.replace('\n', " ").as_bytes()), "us_ssn"), 60);
}

#[test]
fn columns_of_a_database_label_their_values_and_deleted_rows_are_seen() {
    let report = inspect("people.sqlite", include_bytes!("data/people.sqlite"));
    let finding = report.items[0].findings.iter().find(|f| f.detector == "us_ssn").unwrap();
    assert!(finding.place.to_string().contains("social security number"), "{}", finding.place);
    assert_eq!(count(&report, "credit_card"), 1);
    let deleted = inspect("deleted.sqlite", include_bytes!("data/deleted.sqlite"));
    assert!(count(&deleted, "us_ssn") >= 1);
}

#[test]
fn damaged_databases_and_mails_end_with_an_error_or_a_result() {
    let whole = include_bytes!("data/people.sqlite");
    for at in (0..whole.len()).step_by(37) {
        let mut broken = whole.to_vec();
        broken[at] ^= 0xff;
        let _ = inspect("broken.sqlite", &broken);
        let _ = inspect("cut.sqlite", &whole[..at]);
    }
    // A page that is its own child.
    let mut looped = whole.to_vec();
    looped[1024] = 0x05;
    looped[1024 + 8..1024 + 12].copy_from_slice(&2u32.to_be_bytes());
    let _ = inspect("looped.sqlite", &looped);
    for bytes in [
        &b"From x\n"[..],
        b"From: a\nTo: b\nDate: c\n\n",
        b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\n\n--\n",
    ] {
        let _ = inspect("a.eml", bytes);
    }
}

/// Ordinary work that resembles a form stays what it is.
#[test]
fn what_only_begins_like_a_form_is_text() {
    for (name, text) in [
        ("formula.txt", "x^2 + y^2 = z^2\n"),
        ("rows.txt", "x\u{1}\u{2}"),
        ("notes.txt", "From: here\nis a sentence that goes on\n"),
        ("BZh.md", "BZh is how bzip2 begins\n"),
    ] {
        let report = inspect(name, text.as_bytes());
        assert_eq!(report.error(), None, "{name}");
    }
    let pdf = inspect("image.bin", &[&[0u8, 1, 2, 3][..], &[0x89; 4096]].concat());
    assert!(!pdf.found() && pdf.error().is_none());
}

#[test]
fn noise_holds_no_addresses() {
    let mut noise = vec![0u8; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for b in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *b = state as u8;
    }
    let report = inspect("noise.bin", &noise);
    assert!(!report.found(), "{report:?}");
}

#[test]
fn one_number_in_a_table_is_certain_and_in_code_it_is_likely() {
    let certainty = |name: &str, text: &str| {
        let report = inspect(name, text.as_bytes());
        report.items.iter().flat_map(|i| &i.findings).map(|f| f.certainty).max()
    };
    use chaperone_inspect::Certainty::{Certain, Likely};
    assert_eq!(certainty("cards.csv", "x1f77b4e1d3e8859ab95,card\nA,4111111111111111\n"), Some(Certain));
    assert_eq!(certainty("prime.rs", "const N: u64 = 4111111111111111;\n"), Some(Likely));
    assert_eq!(certainty("a.json", "{\"n\": 4111111111111111}"), Some(Likely));
    assert_eq!(certainty("note.txt", "her card is 4111 1111 1111 1111\n"), Some(Certain));
}

#[test]
fn compressed_values_of_a_database_are_read() {
    let report = inspect("notes.sqlite", include_bytes!("data/compressed.sqlite"));
    assert_eq!(report.error(), None);
    for detector in ["aws_access_key", "github_token", "us_ssn", "credit_card"] {
        assert!(count(&report, detector) > 0, "{detector}: {report:?}");
    }
}

#[test]
fn what_is_encoded_twice_is_read() {
    let secret = b"GITHUB_TOKEN=ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK\n".repeat(3);
    for (name, packed) in [("gzip", encode::gzip(&secret)), ("plain", secret.clone())] {
        let once = encode::base64_of(&packed);
        let text = format!("kind: Secret\ndata:\n  release: {}\n", encode::base64_of(once.as_bytes()));
        assert!(count(&inspect("helm.yaml", text.as_bytes()), "github_token") > 0, "{name}");
    }
}

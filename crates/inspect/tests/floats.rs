//! Numbers of people that a program kept as floats, and lists and tables of them without a key: what pandas and numpy export.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Cursor, Write};

use support::{cards, certain, count, inspect, redact, values};

fn rows(write: impl Fn(usize, u64) -> String) -> String {
    cards(12).into_iter().enumerate().map(|(i, card)| write(i, card)).collect()
}

fn list(open: &str, write: impl Fn(usize, u64) -> String, close: &str) -> String {
    let parts: Vec<String> = cards(12).into_iter().enumerate().map(|(i, card)| write(i, card)).collect();
    format!("{open}{}{close}", parts.join(","))
}

/// `4111111111111111` as `4.111111111111111e15`.
fn scientific(card: u64, mark: &str) -> String {
    let digits = card.to_string();
    format!("{}.{}{mark}15", &digits[..1], digits[1..].trim_end_matches('0'))
}

/// What the exports of data frames look like.
fn exports() -> Vec<(&'static str, String)> {
    vec![
        ("a.csv", format!(",name,number\n{}", rows(|i, c| format!("{i},n{i},{c}.0\n")))),
        ("gaps.csv", format!(",name,number\n{}", rows(|i, c| format!("{i},n{i},{c}.0\nx{i},m,\n")))),
        (
            "scientific.csv",
            format!("name,number\n{}", rows(|i, c| format!("n{i},{}\n", scientific(c, "e+")))),
        ),
        ("upper.tsv", format!("name\tnumber\n{}", rows(|i, c| format!("n{i}\t{}\n", scientific(c, "E"))))),
        ("savetxt.csv", rows(|i, c| format!("{i}.000000000000000000e+00,{}\n", scientific(c, "000e+")))),
        ("savetxt.txt", rows(|_, c| format!("{}\n", scientific(c, "000e+")))),
        ("floats.txt", rows(|_, c| format!("{c}.0\n"))),
        ("columns.json", list("{\"number\":{", |i, c| format!("\"{i}\":{c}.0"), "}}")),
        ("integers.json", list("{\"number\":{", |i, c| format!("\"{i}\":{c}"), "}}")),
        ("values.json", list("[", |i, c| format!("[\"n{i}\",{c}.0,{i}]"), "]")),
        ("split.json", list("{\"columns\":[\"a\",\"b\"],\"data\":[", |i, c| format!("[\"n{i}\",{c}]"), "]}")),
        ("records.json", list("[", |i, c| format!("{{\"n\":{i},\"number\":{c}.0}}"), "]")),
        ("series.json", list("[", |_, c| format!("{c}"), "]")),
        ("lines.jsonl", rows(|i, c| format!("{{\"n\":{i},\"number\":{}}}\n", scientific(c, "E")))),
    ]
}

#[test]
fn cards_that_were_kept_as_floats_are_found() {
    let mut missed = Vec::new();
    for (name, text) in exports() {
        let report = inspect(name, text.as_bytes());
        if values(&report, "credit_card") != 12 || !certain(&report).contains(&"credit_card".into()) {
            missed.push(format!("{name}: {} {:?}\n{text}", values(&report, "credit_card"), certain(&report)));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_redacted_copy_keeps_none_of_them() {
    for (name, text) in exports() {
        let copy = String::from_utf8(redact(name, text.as_bytes()).unwrap()).unwrap();
        assert!(!inspect(name, copy.as_bytes()).found(), "{name}: {copy}");
        let left = cards(12).into_iter().filter(|c| copy.contains(&c.to_string()[2..])).count();
        assert_eq!(left, 0, "{name}: {copy}");
    }
}

/// The numeric cells of a workbook, as they are written into it.
fn workbook(cell: impl Fn(u64) -> String) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let rows = rows(|i, c| {
        format!(
            "<row r=\"{0}\"><c r=\"A{0}\"><v>{1}</v></c><c r=\"B{0}\"><v>{2}</v></c></row>",
            i + 1,
            i + 1,
            cell(c)
        )
    });
    for (name, body) in [
        ("[Content_Types].xml", "<Types/>".to_owned()),
        ("xl/worksheets/sheet1.xml", format!("<worksheet><sheetData>{rows}</sheetData></worksheet>")),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(body.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn numeric_cells_of_workbooks_are_found_as_floats_too() {
    for (how, cell) in [
        ("whole", (|c| c.to_string()) as fn(u64) -> String),
        ("point", |c| format!("{c}.0")),
        ("scientific", |c| scientific(c, "E")),
        ("signed", |c| scientific(c, "E+")),
    ] {
        let report = inspect("a.xlsx", &workbook(cell));
        assert_eq!(values(&report, "credit_card"), 12, "{how}");
        assert!(certain(&report).contains(&"credit_card".into()), "{how}");
    }
}

#[test]
fn other_numbers_with_labels_are_found_as_floats() {
    for (text, detector) in [
        ("name,ssn\nAnn,536228741.0\nBob,\n", "us_ssn"),
        ("name,ssn\nAnn,5.36228741e8\n", "us_ssn"),
        ("name,phone\nAnn,5551234567.0\n", "phone_number"),
        ("name,card\nAnn,3.78282246310005e+14\n", "credit_card"),
    ] {
        let report = inspect("a.csv", text.as_bytes());
        assert_eq!(count(&report, detector), 1, "{text}");
        assert!(certain(&report).contains(&detector.into()), "{text}");
    }
}

#[test]
fn ordinary_floats_are_nothing() {
    let seconds =
        rows(|i, _| format!("{},{}.0,{}.25\n", i, 1_700_000_000_000_000u64 + i as u64 * 977, i * 3));
    let measured =
        rows(|i, c| format!("{}.{}e-3,{}.5{}e15,4.2e15,{}e22\n", i % 9 + 1, c % 1_000_003, i % 9 + 1, i, i));
    let precise: String = (0..400u64)
        .map(|i| format!("{}.{:016}e+15\n", i % 9 + 1, i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 10u64.pow(16)))
        .collect();
    let identifiers =
        (0..60u64).map(|i| format!("{i},{}.0\n", 4_000_000_000_000_000 + i * 7)).collect::<String>();
    let points = (0..60u64)
        .map(|i| format!("[{}.{:015},{i}.5]", i % 90, i * 7_919_000_000_011))
        .collect::<Vec<_>>()
        .join(",");
    for (name, text) in [
        ("times.csv", format!("n,time,price\n{seconds}")),
        ("measured.csv", format!("a,b,c,d\n{measured}")),
        ("precise.txt", precise),
        ("identifiers.csv", format!("n,user\n{identifiers}")),
        ("points.json", format!("{{\"coordinates\":[{points}]}}")),
        ("versions.txt", "12345678.0.1\n1.0.0\nv2026.11.0\n10.0.0.0\n".to_owned()),
        (
            "times.json",
            list("{\"time\":{", |i, _| format!("\"{i}\":{}.0", 1_700_000_000_000 + i * 977), "}}"),
        ),
    ] {
        assert_eq!(certain(&inspect(name, text.as_bytes())), Vec::<String>::new(), "{name}\n{text}");
    }
}

//! Records without separators, folded lines, and the character set of mainframes.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;

use support::{cards, certain, count, inspect, redact, values};

fn people(n: usize) -> Vec<(String, String, u64)> {
    let person = |(i, card): (usize, u64)| {
        let name = ["Ann Lee", "Bo", "Christopher Ng", "Dee Dee"][i % 4];
        (name.to_owned(), format!("{}-{}-{}", 210 + i * 7, 20 + i, 3000 + i * 131), card)
    };
    cards(n as u64).into_iter().enumerate().map(person).collect()
}

/// Fixed-width exports: what each line is, and what is between them.
fn tables() -> Vec<(&'static str, String)> {
    let lines = |between: &str, line: &dyn Fn(usize, &str, &str, u64) -> String| {
        let lines: Vec<String> =
            people(20).iter().enumerate().map(|(i, (name, ssn, card))| line(i, name, ssn, *card)).collect();
        lines.join(between) + between
    };
    vec![
        (
            "touching.txt",
            lines("\n", &|i, name, ssn, card| format!("{name:<20}{ssn}{card}{:04}{i:06}", i * 37)),
        ),
        ("trimmed.txt", lines("\n", &|i, name, ssn, card| format!("{i:08}{card}{ssn}{name}"))),
        ("windows.dat", lines("\r\n", &|i, name, ssn, card| format!("D{i:05}{card}{ssn}{name:<20}X"))),
        ("comma.txt", lines("\n", &|i, name, ssn, card| format!("{name:<20},{ssn}{card}{i:06}"))),
        (
            "blanks.txt",
            lines("\n", &|i, name, ssn, card| format!("{name:<20} {ssn}  {card} {:010} {:09}", i * 7919, i)),
        ),
        (
            "no-lines.dat",
            lines("", &|i, name, ssn, card| format!("{name:<20}{ssn}{card}{:04}{i:06}", i * 37)),
        ),
        (
            "mixed",
            format!("H20261126{}\n", "0".repeat(40))
                + &lines("\n", &|i, name, ssn, card| {
                    format!("D{i:05}{card}{ssn}{name:<20}\nE{i:05}{:016}{:030}", i * 31, i)
                })
                + "T000020\n",
        ),
    ]
}

fn ebcdic(text: &str) -> Vec<u8> {
    let one = |b: u8| match b {
        b'a'..=b'i' => b - b'a' + 0x81,
        b'j'..=b'r' => b - b'j' + 0x91,
        b's'..=b'z' => b - b's' + 0xa2,
        b'A'..=b'I' => b - b'A' + 0xc1,
        b'J'..=b'R' => b - b'J' + 0xd1,
        b'S'..=b'Z' => b - b'S' + 0xe2,
        b'0'..=b'9' => b - b'0' + 0xf0,
        b' ' => 0x40,
        b'\n' => 0x25,
        b'\r' => 0x0d,
        b'-' => 0x60,
        b',' => 0x6b,
        b':' => 0x7a,
        _ => 0x4b,
    };
    text.bytes().map(one).collect()
}

fn missed(name: &str, bytes: &[u8], expected: (u64, u64)) -> Option<String> {
    let report = inspect(name, bytes);
    let found = (values(&report, "credit_card"), values(&report, "us_ssn"));
    let all = ["credit_card", "us_ssn"].iter().all(|d| certain(&report).iter().any(|f| f == d));
    (found != expected || !all || report.error().is_some())
        .then(|| format!("{name}: {found:?} {:?} {:?}", certain(&report), report.error()))
}

#[test]
fn columns_that_are_places_are_found_whatever_they_touch() {
    let missed: Vec<String> =
        tables().iter().filter_map(|(name, text)| missed(name, text.as_bytes(), (20, 20))).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn the_same_is_found_in_the_character_set_of_mainframes() {
    let csv = "NAME,SSN,CARD\n".to_owned()
        + &people(20).iter().map(|(name, ssn, card)| format!("{name},{ssn},{card}\n")).collect::<String>();
    let mut all = tables();
    all.push(("table.csv", csv));
    let missed: Vec<String> =
        all.iter().filter_map(|(name, text)| missed(name, &ebcdic(text), (20, 20))).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_redacted_copy_of_fixed_width_keeps_none_or_is_refused() {
    let mut made = 0;
    for (name, text) in tables() {
        let Ok(copy) = redact(name, text.as_bytes()) else { continue };
        made += 1;
        let left = inspect(name, &copy);
        assert_eq!((count(&left, "credit_card"), count(&left, "us_ssn")), (0, 0), "{name}");
    }
    assert!(made >= 5, "{made}");
}

const LDIF: &str = "version: 1\n\ndn: cn=Ann,dc=example,dc=org\ncn: Ann\nssn:: NTM2LTIyLTg3NDE=\ncreditCard:: NDExMTExMTExMTExMTExMQ==\n\
    description: her number is 536-2\n 2-8742 and goes on\njpegPhoto:: /9j/4AAQSkZJRgABAQAAAQABAAD/\n 2wBDAAgGBgcGBQ==\n";
const CARD: &str = "BEGIN:VCARD\r\nVERSION:2.1\r\nN:Lee;Ann\r\nNOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:SSN =35=33=36-22-8741=\r\n and her\r\n\
    X-CREDIT-CARD;ENCODING=b:NDExMTExMTExMTExMTExMQ==\r\nitem1.X-SSN:536-2\r\n 2-8742\r\nEND:VCARD\r\n";

#[test]
fn folded_and_encoded_values_are_read_under_their_names() {
    for (name, text) in [("people.ldif", LDIF), ("export", LDIF), ("ann.vcf", CARD), ("contact", CARD)] {
        let report = inspect(name, text.as_bytes());
        // A value may be read in more than one way.
        let found = |detector: &str| {
            let findings = report.items.iter().flat_map(|i| &i.findings);
            findings.filter(|f| f.detector == detector).map(|f| f.sha256).collect::<HashSet<_>>().len()
        };
        assert_eq!((found("us_ssn"), found("credit_card")), (2, 1), "{name}: {report:?}");
        for detector in ["us_ssn", "credit_card"] {
            assert!(certain(&report).iter().any(|f| f == detector), "{name}: {detector}");
        }
        assert!(redact(name, text.as_bytes()).is_err(), "{name}");
    }
}

/// Deterministic digits.
fn noise(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn ordinary_tables_of_numbers_are_nothing() {
    let mut seed = 7;
    let digits = |n: usize, seed: &mut u64| -> String {
        (0..n).map(|_| char::from(b'0' + (noise(seed) % 10) as u8)).collect()
    };
    let lines = |line: &mut dyn FnMut(u64) -> String| (0..400).map(|i| line(i) + "\n").collect::<String>();
    let pi = lines(&mut |_| digits(80, &mut seed));
    let unbroken = digits(40_000, &mut seed);
    let times = lines(&mut |i| format!("{}{}{}", 1_700_000_000_000_000 + i * 7, digits(12, &mut seed), i));
    let orders =
        lines(&mut |i| format!("ORDER{}{}", 4_000_000_000_000_000u64 + i * 13, digits(20, &mut seed)));
    let dates = lines(&mut |i| format!("{:03}-{:02}-{:04} entry", i % 1000, 0, i));
    let listing =
        lines(&mut |i| format!("-rw-r--r-- 1 root root {:>12} Nov 26 16:09 file-{i}.txt", i * 7919));
    let hex = lines(&mut |i| {
        format!("{:08x}: {:032x}  ................", i * 16, u128::from(i) * 0x9e37_79b9_7f4a_7c15)
    });
    let constant = lines(&mut |i| format!("4111111111111111{i:08}"));
    let ldif = "dn: cn=a,dc=example\ncn: a\ndescription: a text that is fold\n ed and says nothing\nuserCertificate:: TUlJQ1dqQ0NBY09nQXdJQkFnSUJBREFO\n";
    let calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nDTSTART:20261126T161200Z\r\nSUMMARY:a meeting that goes on a\r\n nd on\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    for (name, text) in [
        ("pi.txt", pi),
        ("digits.txt", unbroken),
        ("times.dat", times),
        ("orders.dat", orders),
        ("dates.txt", dates),
        ("listing.txt", listing),
        ("dump.txt", hex),
        ("constant.txt", constant),
        ("a.ldif", ldif.to_owned()),
        ("a.ics", calendar.to_owned()),
    ] {
        assert_eq!(certain(&inspect(name, text.as_bytes())), Vec::<String>::new(), "{name}");
        if name.ends_with("txt") || name.ends_with("dat") {
            assert_eq!(certain(&inspect(name, &ebcdic(&text))), Vec::<String>::new(), "{name} in EBCDIC");
        }
    }
}

/// Other character sets and binaries are not taken for it: what they say in ASCII is found as before.
#[test]
fn other_character_sets_are_not_taken_for_ebcdic() {
    let line =
        "\u{433}\u{43e}\u{440}\u{43e}\u{434} SSN 536-22-8741, \u{e9}\u{e8} caf\u{e9} 4111 1111 1111 1111\n";
    let latin: Vec<u8> = "caf\u{e9} d\u{e9}j\u{e0} vu SSN 536-22-8741 card 4111 1111 1111 1111\n"
        .chars()
        .map(|c| c as u8)
        .collect();
    let cyrillic: Vec<u8> =
        line.chars().map(|c| if (c as u32) > 0x400 { (c as u32 - 0x350) as u8 } else { c as u8 }).collect();
    for bytes in [line.as_bytes().repeat(20), latin.repeat(20), cyrillic.repeat(20)] {
        let report = inspect("text.txt", &bytes);
        assert_eq!((count(&report, "us_ssn"), count(&report, "credit_card")), (20, 20));
    }
}

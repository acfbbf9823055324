//! Values that programs pack in binary, with and without a form. The pickles and property lists are made by `data/packed/make.py`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and it measures time"
)]

mod support;

use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use support::{cards, certain, inspect, redact, values};

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$((
        $name,
        include_bytes!(concat!("data/packed/", $name)) as &[u8],
        include_bytes!(concat!("data/packed/plain-", $name)) as &[u8],
    )),*] };
}

const MADE: &[(&str, &[u8], &[u8])] = &files![
    "records-2.pickle",
    "records-3.pickle",
    "records-4.pickle",
    "records-5.pickle",
    "columns.pkl",
    "rows.pkl",
    "numbers.pickle",
    "floats.pickle",
    "objects.pickle",
    "array.pickle",
    "people.plist",
    "columns.plist",
];

/// One row of a table.
struct Row {
    name: String,
    ssn: String,
    number: u64,
}

fn people() -> Vec<Row> {
    let person = |(i, number): (usize, u64)| Row {
        name: format!("Name {i}"),
        ssn: format!("{}-{}-{}", 210 + i * 7, 20 + i, 3000 + i * 131),
        number,
    };
    cards(30).into_iter().enumerate().map(person).collect()
}

fn plain() -> Vec<Row> {
    let row = |i: u64| Row {
        name: format!("layer.{i}.weight"),
        ssn: format!("2026-11-{}", 10 + i % 20),
        number: 4_000_000_000_000_000 + i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000_000_000_000,
    };
    (0..30).map(row).collect()
}

fn msgpack(rows: &[Row], keyed: bool) -> Vec<u8> {
    let text = |t: &str| [&[0xa0 | t.len() as u8], t.as_bytes()].concat();
    let mut out = vec![0xdc, 0, rows.len() as u8];
    for row in rows {
        out.push(if keyed { 0x83 } else { 0x93 });
        let cells = [
            ("name", text(&row.name)),
            ("ssn", text(&row.ssn)),
            ("n", [&[0xcf][..], &row.number.to_be_bytes()].concat()),
        ];
        for (key, cell) in cells {
            out.extend(if keyed { text(key) } else { Vec::new() });
            out.extend(cell);
        }
    }
    out
}

fn cbor(rows: &[Row]) -> Vec<u8> {
    let text = |t: &str| [&[0x78, t.len() as u8], t.as_bytes()].concat();
    let mut out = vec![0xd9, 0xd9, 0xf7, 0x9f];
    for row in rows {
        out.push(0xa3);
        for (key, cell) in [
            ("name", text(&row.name)),
            ("ssn", text(&row.ssn)),
            ("n", [&[0x1b][..], &row.number.to_be_bytes()].concat()),
        ] {
            out.extend(text(key));
            out.extend(cell);
        }
    }
    out.push(0xff);
    out
}

fn bson(rows: &[Row]) -> Vec<u8> {
    let text = |key: &str, t: &str| {
        [&[2][..], key.as_bytes(), &[0], &(t.len() as u32 + 1).to_le_bytes(), t.as_bytes(), &[0]].concat()
    };
    let document = |row: &Row| {
        let number = [&[0x12][..], b"n\0", &row.number.to_le_bytes()].concat();
        let body = [text("name", &row.name), text("ssn", &row.ssn), number].concat();
        [&(body.len() as u32 + 5).to_le_bytes()[..], &body, &[0]].concat()
    };
    rows.iter().flat_map(document).collect()
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

fn messages(rows: &[Row]) -> Vec<Vec<u8>> {
    let text = |field: u8, t: &str| [&[field << 3 | 2, t.len() as u8], t.as_bytes()].concat();
    rows.iter()
        .map(|row| [text(1, &row.name), text(2, &row.ssn), vec![3 << 3], varint(row.number)].concat())
        .collect()
}

fn protobuf(rows: &[Row]) -> Vec<u8> {
    messages(rows).iter().flat_map(|m| [&[1 << 3 | 2][..], &varint(m.len() as u64), m].concat()).collect()
}

fn delimited(rows: &[Row]) -> Vec<u8> {
    messages(rows).iter().flat_map(|m| [&varint(m.len() as u64)[..], m].concat()).collect()
}

fn npy(descr: &str, count: usize, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': ({count},), }}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn fixed(text: &str, length: usize) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.resize(length, 0);
    out
}

fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Every form of a table, and whether the social security numbers are in it too.
fn forms(rows: &[Row]) -> Vec<(&'static str, Vec<u8>, bool)> {
    let each = |write: &dyn Fn(&Row) -> Vec<u8>| rows.iter().flat_map(write).collect::<Vec<u8>>();
    let n = rows.len();
    let structured = "[('name', '<U16'), ('ssn', 'S12'), ('number', '<i8')]";
    let wide = |text: &str| {
        let mut out: Vec<u8> = text.chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        out.resize(64, 0);
        out
    };
    let record = |r: &Row| [wide(&r.name), fixed(&r.ssn, 12), r.number.to_le_bytes().to_vec()].concat();
    vec![
        ("a.msgpack", msgpack(rows, true), true),
        ("rows.bin", msgpack(rows, false), true),
        ("a.cbor", cbor(rows), true),
        ("a.bson", bson(rows), true),
        ("a.pb", protobuf(rows), true),
        ("delimited.bin", delimited(rows), true),
        ("a.npy", npy("'<i8'", n, &each(&|r| r.number.to_le_bytes().to_vec())), false),
        ("big.npy", npy("'>u8'", n, &each(&|r| r.number.to_be_bytes().to_vec())), false),
        ("float.npy", npy("'<f8'", n, &each(&|r| (r.number as f64).to_le_bytes().to_vec())), false),
        ("structured.npy", npy(structured, n, &each(&record)), true),
        ("a.npz", zip("arr_0.npy", &npy("'<i8'", n, &each(&|r| r.number.to_le_bytes().to_vec()))), false),
        ("little.dat", each(&|r| r.number.to_le_bytes().to_vec()), false),
        ("big.dat", [&b"HEAD\0\0\0"[..], &each(&|r| r.number.to_be_bytes().to_vec())].concat(), false),
        ("floats.dat", each(&|r| (r.number as f64).to_le_bytes().to_vec()), false),
        (
            "structs.dat",
            each(&|r| [fixed(&r.name, 20), r.number.to_le_bytes().to_vec(), vec![0; 4]].concat()),
            false,
        ),
        (
            "columns.parquet",
            [&b"PAR1\x15\0"[..], &each(&|r| r.number.to_le_bytes().to_vec()), b"PAR1"].concat(),
            false,
        ),
    ]
}

#[test]
fn packed_numbers_of_people_are_found() {
    let rows = people();
    let made = MADE.iter().map(|(name, bytes, _)| (*name, bytes.to_vec(), *name != "numbers.pickle"));
    let mut missed = Vec::new();
    for (name, bytes, has_people) in forms(&rows).into_iter().chain(made) {
        for name in [name, "data"] {
            let report = inspect(name, &bytes);
            let found = (values(&report, "credit_card"), values(&report, "us_ssn"));
            let is_certain = |detector: &str| certain(&report).iter().any(|f| f == detector);
            let all = is_certain("credit_card") && (!has_people || is_certain("us_ssn"));
            if found != (30, if has_people { 30 } else { 0 }) || !all || report.error().is_some() {
                missed.push(format!("{name}: {found:?} {:?} {:?}", certain(&report), report.error()));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn what_programs_pack_is_nothing() {
    let rows = plain();
    let made = MADE.iter().map(|(name, _, bytes)| (*name, bytes.to_vec(), true));
    for (name, bytes, _) in forms(&rows).into_iter().chain(made) {
        let report = inspect(name, &bytes);
        assert_eq!((certain(&report), report.error()), (Vec::new(), None), "{name}");
    }
}

/// Long arrays of numbers as long as cards, addresses, times and floats.
#[test]
fn ordinary_arrays_are_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let numbers: Vec<(&str, Vec<u64>)> = vec![
        ("identifiers", (0..20_000).map(|i| 4_000_000_000_000_000 + i * 7).collect()),
        ("random", (0..20_000).map(|_| 4_000_000_000_000_000 + noise() % 1_000_000_000_000_000).collect()),
        ("addresses", (0..20_000).map(|i| 0x7fff_0000_0000 + i * 48).collect()),
        ("times", (0..20_000).map(|i| 1_700_000_000_000_000 + i * 977).collect()),
        ("floats", (0..20_000).map(|i| (i as f64 * 1.7e11).to_bits()).collect()),
        ("whole floats", (0..20_000).map(|i| (4e15 + i as f64 * 37.0).to_bits()).collect()),
        ("noise", (0..20_000).map(|_| noise()).collect()),
    ];
    for (what, numbers) in numbers {
        let little: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let big: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        for (name, bytes) in [
            ("a.npy", npy("'<i8'", numbers.len(), &little)),
            ("f.npy", npy("'<f8'", numbers.len(), &little)),
            ("a.bin", little.clone()),
            ("b.bin", big),
        ] {
            let begin = Instant::now();
            assert_eq!(certain(&inspect(name, &bytes)), Vec::<String>::new(), "{what} {name}");
            assert!(begin.elapsed() < Duration::from_secs(60), "{what} {name}: {:?}", begin.elapsed());
        }
    }
}

#[test]
fn programs_and_pictures_are_nothing() {
    // This program has the examples of detectors in it; a shell has none.
    let shell = std::fs::read("/bin/sh").unwrap();
    let report = inspect("program", &shell);
    assert_eq!((certain(&report), report.error()), (Vec::new(), None), "{report:?}");
}

#[test]
fn hostile_packs_are_bounded() {
    let deep = |open: &[u8]| open.repeat(1 << 20);
    let begin = Instant::now();
    for (name, bytes) in [
        ("deep.msgpack", deep(&[0x91])),
        ("deep.cbor", deep(&[0x81])),
        ("tags.cbor", [&deep(&[0xc6])[..], &[0x80]].concat()),
        ("long.msgpack", b"\xdd\xff\xff\xff\xff\x01".to_vec()),
        ("map.msgpack", [&b"\xdf\xff\xff\xff\xff"[..], &deep(&[0x01, 0xc0])].concat()),
        ("long.cbor", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec()),
        ("deep.bson", deep(&[0xff, 0xff, 0xff, 0x7f, 3, b'a', 0])),
        ("deep.pb", deep(&[0x0a, 0x7f])),
        ("deep.pickle", [&b"\x80\x04"[..], &deep(b"]("), b"."].concat()),
        ("nested.pickle", [&b"\x80\x04"[..], &deep(b"]"), &deep(b"\x85"), b"."].concat()),
        ("itself.pickle", b"\x80\x04]\x94h\0a.".to_vec()),
        ("memo.pickle", [&b"\x80\x04]\x94"[..], &deep(b"h\0a"), b"."].concat()),
        (
            "wide.plist",
            [
                &b"bplist00"[..],
                &[0xaf, 0x12, 0xff, 0xff, 0xff, 0xff],
                &[0; 26],
                &[1, 1],
                &8u64.to_be_bytes(),
                &[0; 16],
            ]
            .concat(),
        ),
        ("long.npy", npy("'<U4000000000'", 1, &[0; 64])),
        ("none.npy", npy("'<i8'", 1 << 40, &[])),
    ] {
        let report = inspect(name, &bytes);
        assert_ne!(report.error(), Some("cannot be inspected: the parser failed"), "{name}");
    }
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    for (name, bytes, _) in MADE {
        for at in (0..bytes.len()).step_by(97) {
            let mut broken = bytes.to_vec();
            broken[at] ^= 0xff;
            assert_ne!(
                inspect(name, &broken).error(),
                Some("cannot be inspected: the parser failed"),
                "{name} {at}"
            );
            let _ = inspect(name, &bytes[..at]);
        }
    }
}

#[test]
fn a_pack_with_findings_has_no_redacted_copy() {
    for (name, bytes, _) in forms(&people()) {
        assert!(redact(name, &bytes).is_err(), "{name}");
    }
    for (name, bytes, _) in forms(&plain()).into_iter().filter(|(name, ..)| name.ends_with("npy")) {
        assert_eq!(redact(name, &bytes).unwrap(), bytes, "{name}");
    }
}

//! What databases keep beside their rows: logs, journals, pages and blocks that were freed. Made by `data/leftovers/make.py`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and it measures time"
)]

mod support;

use support::{certain, inspect, values};

macro_rules! databases {
    ($($name:literal),* $(,)?) => { [$((
        $name,
        include_bytes!(concat!("data/leftovers/", $name)) as &[u8],
        include_bytes!(concat!("data/leftovers/plain-", $name)) as &[u8],
    )),*] };
}

const DATABASES: &[(&str, &[u8], &[u8])] = &databases![
    "rows.db-wal",
    "all.db-wal",
    "emptied.db",
    "updated.db",
    "hot.db-journal",
    "over.db-journal",
    "keyed.db",
    "floats.db",
];

#[test]
fn what_was_deleted_or_is_not_yet_written_back_is_found() {
    // How many different cards and social security numbers of forty people each holds still.
    let least = [(40, 40), (40, 40), (30, 30), (8, 8), (10, 10), (10, 10), (40, 0), (40, 0)];
    let mut missed = Vec::new();
    for ((name, bytes, _), (cards, people)) in DATABASES.iter().zip(least) {
        for name in [*name, "data.bin"] {
            if name == "data.bin" && bytes.starts_with(&[0; 28]) {
                continue;
            }
            let report = inspect(name, bytes);
            let found = (values(&report, "credit_card"), values(&report, "us_ssn"));
            let is_certain = |detector: &str| certain(&report).iter().any(|f| f == detector);
            if report.error().is_some()
                || found.0 < cards
                || found.1 < people
                || !is_certain("credit_card")
                || people > 0 && !is_certain("us_ssn")
            {
                missed.push(format!("{name}: {found:?} {:?} {:?}", certain(&report), report.error()));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn what_any_program_keeps_there_is_nothing() {
    for (name, _, bytes) in DATABASES {
        let report = inspect(name, bytes);
        assert_eq!((certain(&report), report.error()), (Vec::new(), None), "{name}");
    }
}

#[test]
fn damaged_logs_and_pages_end_with_an_error_or_a_result() {
    for (name, whole, _) in DATABASES {
        let whole = whole.get(..6_000).unwrap_or(whole);
        for at in (0..whole.len()).step_by(211) {
            let mut broken = whole.to_vec();
            broken[at] ^= 0xff;
            assert_ne!(
                inspect(name, &broken).error(),
                Some("cannot be inspected: the parser failed"),
                "{name} {at}"
            );
            let cut = inspect(name, &whole[..at]);
            assert_ne!(cut.error(), Some("cannot be inspected: the parser failed"), "{name} {at}");
        }
    }
}

/// A page that is one freed block which could be taken apart in very many ways.
#[test]
fn a_hostile_page_is_bounded() {
    for filling in [vec![0x11], vec![0, 0, 0, 0, 0x13], b"\x03\x0f\x0f".to_vec(), b"aaaa\x2d\x23".to_vec()] {
        let mut database = include_bytes!("data/leftovers/emptied.db").get(..3072).unwrap().to_vec();
        for page in [1024, 2048] {
            let fill: Vec<u8> = filling.iter().copied().cycle().take(1024).collect();
            database[page..page + 1024].copy_from_slice(&fill);
            database[page..page + 8].copy_from_slice(&[0x0d, 0, 8, 0, 0, 4, 0, 0]);
            database[page + 8..page + 12].copy_from_slice(&[0, 0, 3, 0xf8]);
        }
        let begin = std::time::Instant::now();
        let _ = inspect("hostile.db", &database);
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{filling:?}: {:?}", begin.elapsed());
    }
}

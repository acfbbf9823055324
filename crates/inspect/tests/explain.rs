//! `inspect --explain`: every value that is weighed is explained by the filters themselves, and none is ever printed.
#![allow(clippy::unwrap_used)]

use chaperone_inspect::{Detectors, Filter, Limits, inspect_bytes};

/// What is found and what is spared, in the ways that files hold it. Each value is a word that occurs nowhere else.
const VALUES: &[&str] = &[
    "AKIAZ7QRPDLBIVNHUXEM",
    "q7Gd81bK20sXz4PmN3vR",
    "hunter2000!",
    "4111 1111 1111 1111",
    "4012888888881881",
    "536-22-8145",
    "dgiven@mailbox.test.org",
    "c15c1d7e979a0da1c54ab41784aaee1a",
    "get_session_token_from_store",
    "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
];

fn text() -> String {
    format!(
        "aws = \"{}\"\napi_key = \"{}\"\npassword: {}\ncard {}\nssn {}\nwrite to {}\norder={}\n\
         public_key = \"{}\"\ntoken = {}\nseed: {}\n",
        VALUES[0],
        VALUES[1],
        VALUES[2],
        VALUES[3],
        VALUES[5],
        VALUES[6],
        VALUES[4],
        VALUES[7],
        VALUES[8],
        VALUES[9]
    )
}

fn explained(name: &str, bytes: &[u8]) -> Vec<chaperone_inspect::Item> {
    let detectors = Detectors::builtin().unwrap().explaining();
    inspect_bytes(&detectors, bytes, name, &Limits::default()).items
}

fn table() -> String {
    let rows: Vec<_> = VALUES.iter().map(|v| format!("x,\"{v}\",\"about {v}\"")).collect();
    format!("id,card,token\n{}\n", rows.join("\n"))
}

fn json() -> String {
    serde_json::json!({ "password": VALUES[2], "items": VALUES, "token": VALUES[1], "version": "1.2.3.4" })
        .to_string()
}

#[test]
fn no_value_is_ever_printed() {
    for (name, bytes) in
        [("a.txt", text()), ("a.csv", table()), ("a.json", json()), ("a.log", text().repeat(40))]
    {
        let items = explained(name, bytes.as_bytes());
        let said = serde_json::to_string(&items).unwrap();
        assert!(items.iter().any(|i| i.candidates.len() > 5), "{name}: {said}");
        for value in VALUES.iter().flat_map(|v| v.split(' ')).filter(|w| w.len() >= 6) {
            assert!(!said.contains(value), "{name}: {value} in {said}");
        }
    }
}

#[test]
fn each_value_has_its_place_its_class_and_its_filter() {
    let items = explained("a.txt", text().as_bytes());
    let said: Vec<_> = items
        .iter()
        .flat_map(|i| &i.candidates)
        .flat_map(|c| {
            c.filters
                .iter()
                .map(move |f| (c.detector.clone(), c.class.clone(), c.place.to_string(), f.name.clone()))
        })
        .collect();
    for expected in [
        ("aws_access_key", "certain", "line 1, column 8", "form"),
        ("generic_secret", "likely", "line 2, column 12", "unsure"),
        ("generic_password", "likely", "line 3, column 11", "unsure"),
        ("credit_card", "certain", "line 4, column 6", "label"),
        ("us_ssn", "certain", "line 5, column 5", "label"),
        ("email_address", "likely", "line 6, column 10", "form"),
        ("credit_card", "spared", "line 7, column 7", "counted"),
        ("generic_secret", "spared", "line 8, column 15", "denied"),
        ("generic_secret", "spared", "line 9, column 9", "name"),
        ("seed_phrase", "certain", "line 10, column 7", "form"),
    ] {
        let (detector, class, place, filter) = expected;
        let expected = (detector.to_owned(), class.to_owned(), place.to_owned(), filter.to_owned());
        assert!(said.contains(&expected), "{expected:?} in {said:#?}");
    }
}

#[test]
fn a_cell_is_named_with_its_row_and_column() {
    let items = explained("people.csv", b"name,ssn\nAda,my 536-22-8145\nBob,612-33-1234\n");
    let candidate = items[0].candidates.iter().find(|c| c.detector == "us_ssn").unwrap();
    assert_eq!(
        (&*candidate.place.to_string(), candidate.class.as_str()),
        ("row 2, column ssn, character 4", "certain")
    );
    assert!(candidate.filters.iter().any(|f| f.name == "column"), "{candidate:?}");
}

/// The explanation is of the same decision: what is found with it is found without.
#[test]
fn explaining_changes_no_finding() {
    for (name, bytes) in [("a.txt", text()), ("a.csv", table()), ("a.json", json())] {
        let plain = inspect_bytes(&Detectors::builtin().unwrap(), bytes.as_bytes(), name, &Limits::default());
        assert!(plain.items.iter().all(|i| i.candidates.is_empty()));
        let items = explained(name, bytes.as_bytes());
        let findings =
            |items: &[chaperone_inspect::Item]| items.iter().map(|i| i.findings.clone()).collect::<Vec<_>>();
        assert_eq!(findings(&plain.items), findings(&items), "{name}");
    }
}

#[test]
fn every_filter_has_a_name_and_a_sentence_of_its_own() {
    let mut names: Vec<_> = Filter::ALL.iter().flat_map(|f| [f.name(), f.sentence()]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 2 * Filter::ALL.len());
}

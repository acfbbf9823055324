//! An edited redacted copy gets its values back, byte for byte, and nothing else gets any.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;

use chaperone_inspect::{Detectors, Limits, PlaceholderKey, Restoration, redact_file, restore_file};
use sha2::{Digest, Sha256};
use support::{file, read};

const SESSION: [u8; 32] = [3; 32];

fn key(session: &[u8; 32], of: &[u8]) -> PlaceholderKey {
    PlaceholderKey::new(session, &Sha256::digest(of).into())
}

fn redacted(bytes: &[u8], name: &str) -> Vec<u8> {
    let out = tempfile::tempfile().unwrap();
    let key = Some(key(&SESSION, bytes));
    let done = redact_file(&Detectors::builtin().unwrap(), &file(bytes), name, key, &out, &Limits::default())
        .unwrap();
    assert!(done.replaced > 0, "nothing was redacted in {name}");
    read(&out)
}

fn restored(original: &[u8], edited: &[u8], name: &str, session: [u8; 32]) -> (Vec<u8>, Restoration) {
    let out = tempfile::tempfile().unwrap();
    let (detectors, limits) = (Detectors::builtin().unwrap(), Limits::default());
    let key = key(&session, original);
    let original = file(original);
    let of = (Some(&original), key);
    let done = restore_file(&detectors, of, &file(edited), (name, name), &out, &limits).unwrap();
    (read(&out), done)
}

/// The redacted copy, or the bytes themselves where there is nothing in them to redact.
fn redacted_or_same(bytes: &[u8], name: &str) -> Vec<u8> {
    let out = tempfile::tempfile().unwrap();
    let detectors = Detectors::builtin().unwrap();
    redact_file(&detectors, &file(bytes), name, Some(key(&[9; 32], bytes)), &out, &Limits::default())
        .unwrap();
    read(&out)
}

/// What nobody may see of an original.
fn values(original: &str) -> Vec<&str> {
    let guarded = |word: &&str| word.len() > 8 && word.bytes().any(|b| b.is_ascii_digit());
    original.split([',', '\n', '=', '"']).filter(guarded).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn wide(text: &str) -> Vec<u8> {
    [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
}

const CSV: &str = "name,ssn,note\nAnn,237-82-2033,\"likes \"\"tea\"\", late\"\nBob,\"412-55-9012\",\nCyd,\"536-22-8726\",x\n";
const JSON: &str = r#"{"people": [
  {"name": "Jos\u00e9 \/ A", "ssn": "237-82-2033", "card": 4556737586899855},
  {"name": "B", "ssn": "412-55-9012", "note": "his card\t\u0034556 7375 8689 9855 is \ud83d\ude00 \"old\""}
]}
"#;
const ENV: &str = "HOST=localhost\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzx8dk2LmQp\nDEBUG=1\n";
const LETTER: &str = "Dear Ann,\r\nyour SSN 237-82-2033 and card 4556 7375 8689 9855.\r\nYours\r\n";

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("people.csv", CSV.into()),
        ("people.tsv", CSV.replace(',', "\t").into()),
        ("people.json", JSON.into()),
        (".env", ENV.into()),
        ("letter.txt", LETTER.into()),
        ("people.yaml", "people:\n  - name: Ann\n    ssn: \"237-82-2033\"\n".into()),
        ("config.py", format!("# settings\nKEY = 1\n{ENV}print(SESSION)\n").into()),
        ("wide.txt", wide(LETTER)),
        ("wide.csv", wide(CSV)),
    ]
}

#[test]
fn what_was_kept_comes_back_byte_for_byte() {
    for (name, original) in cases() {
        let copy = redacted(&original, name);
        let (back, report) = restored(&original, &copy, name, SESSION);
        assert_eq!(back, original, "{name}: {}", String::from_utf8_lossy(&back));
        assert_eq!((report.foreign, report.damaged, report.line), (0, 0, None), "{name}");
    }
}

#[test]
fn what_was_added_removed_and_moved_stays_as_the_agent_left_it() {
    let copy = text(&redacted(CSV.as_bytes(), "people.csv"));
    let mut lines: Vec<&str> = copy.lines().collect();
    lines.swap(1, 3);
    lines.remove(2);
    lines.push("Dan,none,new");
    let edited = lines.join("\n");
    let (back, report) = restored(CSV.as_bytes(), edited.as_bytes(), "people.csv", SESSION);
    assert_eq!(
        text(&back),
        "name,ssn,note\nCyd,\"536-22-8726\",x\nAnn,237-82-2033,\"likes \"\"tea\"\", late\"\nDan,none,new"
    );
    assert_eq!((report.restored, report.foreign, report.damaged), (2, 0, 0));
}

#[test]
fn a_program_that_writes_the_document_anew_gets_the_values_in_its_own_coding() {
    let copy = text(&redacted(JSON.as_bytes(), "people.json"));
    let value: serde_json::Value = serde_json::from_str(&copy).unwrap();
    let edited = serde_json::to_string_pretty(&value).unwrap();
    let (back, report) = restored(JSON.as_bytes(), edited.as_bytes(), "people.json", SESSION);
    let (back, original): (serde_json::Value, serde_json::Value) =
        (serde_json::from_slice(&back).unwrap(), serde_json::from_str(JSON).unwrap());
    assert_eq!(back, original);
    assert_eq!((report.foreign, report.damaged), (0, 0));

    // What needs quotes in a table gets them, in a field that the program wrote without.
    let key = "key,value\nhost,localhost\npassword,\"tR7,kq9\"\"Zp4w,X2\"\nport,1\n";
    let copy = text(&redacted(key.as_bytes(), "a.csv"));
    let edited = copy.replace('"', "");
    let (back, _) = restored(key.as_bytes(), edited.as_bytes(), "a.csv", SESSION);
    assert_eq!(text(&back), key);
}

#[test]
fn a_placeholder_stands_for_nothing_elsewhere() {
    let copy = text(&redacted(CSV.as_bytes(), "people.csv"));
    // In another file, of another version, in another session.
    let other = "name,ssn\nEve,613-40-1177\n".as_bytes();
    let edited = copy.replace("Ann", "Eve");
    for (original, key) in
        [(other, SESSION), (CSV.replace("Ann", "Anna").as_bytes(), [4; 32]), (CSV.as_bytes(), [4; 32])]
    {
        let (back, report) = restored(original, edited.as_bytes(), "people.csv", key);
        assert!(back.is_empty());
        assert_eq!((report.restored, report.foreign, report.line), (0, 3, Some(2)), "{report:?}");
    }
    let out = tempfile::tempfile().unwrap();
    let none = (None, key(&SESSION, b""));
    let (detectors, limits) = (Detectors::builtin().unwrap(), Limits::default());
    let alone =
        restore_file(&detectors, none, &file(edited.as_bytes()), ("new.csv", "new.csv"), &out, &limits)
            .unwrap();
    assert_eq!((alone.restored, alone.foreign), (0, 3));
    // Two files with the same values have nothing in common, so that nobody can try values out.
    assert!(copy.lines().zip(text(&redacted(CSV.as_bytes(), "b.csv")).lines()).all(|(a, b)| a == b));
}

#[test]
fn what_was_damaged_is_told_with_its_line() {
    let copy = text(&redacted(LETTER.as_bytes(), "letter.txt"));
    let at = copy.find("[REDACTED:us_ssn:").unwrap();
    let tag = &copy[at + 17..at + 35];
    let cases = [
        copy.replace("[REDACTED:us_ssn:", "[REDACTED:credit_card:"),
        copy.replace(tag, &tag[..12]),
        copy.replace(&format!("{tag}]"), tag),
        copy.replace(&format!(":{tag}]"), "]"),
        copy.replace("[REDACTED:us_ssn:", "("),
        copy.replace("[REDACTED:us_ssn:", "[redacted:us_ssn:"),
    ];
    for edited in cases {
        let (_, report) = restored(LETTER.as_bytes(), edited.as_bytes(), "letter.txt", SESSION);
        assert_eq!((report.restored, report.damaged, report.line), (1, 1, Some(2)), "{edited}");
    }
}

#[test]
fn ordinary_text_about_redaction_is_left_alone() {
    let about = "The log says [REDACTED:us_ssn] and [REDACTED: by the court], or REDACTED:.\n";
    let (back, report) = restored(about.as_bytes(), about.as_bytes(), "notes.txt", SESSION);
    assert_eq!((back.len(), report), (0, Restoration::default()));
    let (_, report) = restored(b"nothing\n", about.as_bytes(), "notes.txt", SESSION);
    assert_eq!(report, Restoration::default());
    // A placeholder that stands in the user's own file is its text.
    let own = format!("{LETTER}[REDACTED:us_ssn:bcdfghjklmnpqrstvw]\n");
    let copy = redacted(own.as_bytes(), "letter.txt");
    let (back, report) = restored(own.as_bytes(), &copy, "letter.txt", SESSION);
    assert_eq!((text(&back), report.foreign, report.damaged), (own, 0, 0));
}

#[test]
fn a_workbook_with_placeholders_is_refused_and_another_is_not() {
    let zip = |text: &[u8]| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("a.txt", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text).unwrap();
        zip.finish().unwrap().into_inner()
    };
    let (detectors, limits) = (Detectors::builtin().unwrap(), Limits::default());
    let of = |bytes: &[u8]| {
        let out = tempfile::tempfile().unwrap();
        restore_file(&detectors, (None, key(&SESSION, b"")), &file(bytes), ("a.zip", "a.zip"), &out, &limits)
    };
    assert!(of(&zip(&redacted(LETTER.as_bytes(), "letter.txt"))).is_err());
    assert_eq!(of(&zip(b"nothing")).unwrap(), Restoration::default());
}

#[test]
fn what_is_written_around_a_placeholder_does_not_bring_its_value_into_the_open() {
    let keys = "AWS_KEY=AKIAQWERTYUIOPASDFGH\nGH=ghp_abcdefghijklmnopqrstuvwxyz0123456789\n";
    let label = |text: &str| text.replace("AWS_SECRET_ACCESS_KEY=", "v").replace("AWS_KEY=", "v");
    let around = |text: &str, before: &str, after: &str| {
        let text = text.replace("[REDACTED:", &format!("{before}[REDACTED:"));
        // Behind the tag alone.
        text.split_inclusive(']').map(|part| format!("{part}{after}")).collect::<String>()
    };
    for (name, original) in [("people.csv", CSV), ("k.txt", keys), (".env", ENV), ("letter.txt", LETTER)] {
        let copy = text(&redacted(original.as_bytes(), name));
        assert_eq!(restored(original.as_bytes(), copy.as_bytes(), name, SESSION).1.exposed, 0, "{name}");
        let edited = [around(&copy, "_", "_"), around(&copy, "77", "88"), around(&label(&copy), "A", "")];
        for edited in edited {
            let (back, report) = restored(original.as_bytes(), edited.as_bytes(), name, SESSION);
            // Where it still is redacted as a whole, nothing is lost.
            let again = text(&redacted_or_same(&back, name));
            let shown = values(original).into_iter().any(|value| again.contains(value));
            assert!(report.exposed > 0 || !shown, "{name}: {edited}");
            assert_eq!(report.exposed > 0, report.line.is_some(), "{name}: {edited}");
            // What takes in what is written around it hides it all the same; numbers and keys of a form do not.
            assert!(report.exposed > 0 || name == ".env", "{name}: {edited}");
        }
    }
}

#[test]
fn a_file_that_would_be_read_without_a_question_afterwards_exposes_what_it_keeps() {
    let original = "card,phone\n4556737586899855,+1 202 555 0143\n4111111111111111,+1 202 555 0187\n";
    let copy = text(&redacted(original.as_bytes(), "people.csv"));
    // Ordinary work on it does not.
    let longer = format!("{copy}x,y\n");
    assert_eq!(restored(original.as_bytes(), longer.as_bytes(), "people.csv", SESSION).1.exposed, 0);
    let fewer: String = copy.lines().take(2).map(|line| format!("{line}\n")).collect();
    assert_eq!(restored(original.as_bytes(), fewer.as_bytes(), "people.csv", SESSION).1.exposed, 0);
    let unnamed = copy.replace("card,phone", "part,count").replace("[REDACTED:phone", "x[REDACTED:phone");
    let (_, report) = restored(original.as_bytes(), unnamed.as_bytes(), "people.csv", SESSION);
    assert!(report.exposed > 0, "{report:?} {unnamed}");
}

/// Each example of a shipped detector, in the surroundings that people write values in.
#[test]
fn what_stands_in_for_an_example_is_found_by_no_detector() {
    let mut texts: Vec<String> = vec![
        "DATABASE_URL=postgres://shop:hunter2secret@localhost:5432/shop\n".into(),
        "db_password: redis://cache:hunter2secret@redis:6379/0\n".into(),
        "token = amqp://worker:hunter2secret@queue:5672\n".into(),
    ];
    for pack in ["personal", "national", "secrets", "tokens"] {
        let path = format!("{}/../../packs/detectors/{pack}.toml", env!("CARGO_MANIFEST_DIR"));
        let value: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        for detector in value["detector"].as_array().unwrap() {
            // Its redaction is refused, because the other lines would stay.
            if detector["name"].as_str() == Some("private_key_line") {
                continue;
            }
            for example in detector["examples"].as_array().unwrap() {
                let example = example.as_str().unwrap();
                texts.push(format!("{example}\n"));
                texts.push(format!("SECRET_URL=https://shop:{example}@localhost:5432/shop\n"));
            }
        }
    }
    let key = PlaceholderKey::new(&[7; 32], &[1; 32]);
    let mut wrong = Vec::new();
    for text in texts {
        let out = tempfile::tempfile().unwrap();
        let detectors = Detectors::builtin().unwrap();
        if let Err(e) = redact_file(
            &detectors,
            &file(text.as_bytes()),
            "settings.txt",
            Some(key),
            &out,
            &Limits::default(),
        ) {
            wrong.push(format!("{text}: {e}"));
        }
    }
    assert!(wrong.is_empty(), "{} are refused: {wrong:#?}", wrong.len());
}

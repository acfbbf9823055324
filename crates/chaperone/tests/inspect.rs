//! `chaperone inspect` through the real binary: exit codes, JSON, and the redacted copy.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

const SSN: &str = "536-22-8741";

fn inspect(arguments: &[&str], files: &[&Path]) -> Output {
    // An archive of tests says where it unpacked the program.
    let program = std::env::var_os("NEXTEST_BIN_EXE_chaperone");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_chaperone").into()));
    command.arg("inspect").args(arguments).args(files).output().unwrap()
}

#[test]
fn the_exit_code_says_found_or_unreadable_and_redaction_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, clean, torn) =
        (folder.path().join("a.csv"), folder.path().join("b.txt"), folder.path().join("c.zip"));
    std::fs::write(&csv, format!("id,ssn\n1,{SSN}\n")).unwrap();
    std::fs::write(&clean, "nothing\n").unwrap();
    std::fs::write(&torn, "PK\x03\x04").unwrap();
    let run = |paths: &[&Path], redact: bool| {
        let output = inspect(if redact { &["--json", "--redact"] } else { &["--json"] }, paths);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&[&clean], false).0, 0);
    assert_eq!(run(&[&clean, &csv], false).0, 1);
    let (exit, lines) = run(&[&torn, &csv, &clean, &folder.path().join("missing")], false);
    assert_eq!((exit, lines.lines().count()), (2, 4));
    assert!(
        lines.lines().all(|l| l.starts_with("{\"file\":\""))
            && !lines.contains(SSN)
            && lines.contains("\"error\":")
    );
    assert_eq!(run(&[&csv], true).0, 1);
    let redacted = folder.path().join("a.redacted.csv");
    assert_eq!(std::fs::read_to_string(&redacted).unwrap(), "id,ssn\n1,[REDACTED:us_ssn]\n");
    std::fs::write(&redacted, "mine").unwrap();
    assert_eq!(run(&[&csv], true).0, 2);
    assert_eq!(std::fs::read_to_string(&redacted).unwrap(), "mine");
}

#[test]
fn an_explanation_names_place_class_and_filter_and_never_the_value() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.py");
    let (token, card) = ("q7Gd81bK20sXz4PmN3vR", "4012888888881881");
    std::fs::write(&file, format!("ssn = '{SSN}'\napi_key = \"{token}\"\n\n\norder = {card}\n")).unwrap();
    let said = |arguments: &[&str]| {
        let output = inspect(arguments, &[&file]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        for value in [SSN, token, card] {
            assert!(!text.contains(value), "{text}");
        }
        text
    };
    let text = said(&["--explain"]);
    for line in [
        "settings.py: certain: us_ssn, line 1, column 8\n  label: a label of its kind stands before it\n",
        "settings.py: likely: generic_secret, line 2, column 12\n  shape: ",
        "settings.py: spared: credit_card, line 5, column 9\n",
        "  counted: the word before it says that it counts or names something\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&said(&["--explain", "--json"])).unwrap();
    let first = &json["candidates"][0];
    assert_eq!((&first["class"], &first["where"]), (&"certain".into(), &"line 1, column 8".into()));
    assert_eq!(first["filters"][0]["name"], "label");
}

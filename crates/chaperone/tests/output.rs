//! Whoever reads what a command prints may stop in the middle.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_stops_ends_the_command_without_a_word() {
    let home = tempfile::tempdir().unwrap();
    let chaperone = std::env::var_os("NEXTEST_BIN_EXE_chaperone")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_chaperone").into());
    let found = home.path().join("found.txt");
    std::fs::write(&found, "ada@example.com\n".repeat(20)).unwrap();
    let found = found.to_str().unwrap();
    for arguments in [
        &["completions", "bash"][..],
        &["policy", "test"],
        &["doctor", "--json"],
        &["inspect", found],
        &["inspect", "--json", found],
        &["inspect", "--explain", found],
    ] {
        let mut command = Command::new(&chaperone)
            .args(arguments)
            .env("CHAPERONE_HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(command.stdout.take());
        let ended = command.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.is_empty(), "{arguments:?}: {said}");
        assert_eq!(ended.status.code(), Some(141), "{arguments:?}");
    }
}

#[test]
fn an_error_that_nobody_reads_is_an_error_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let chaperone = std::env::var_os("NEXTEST_BIN_EXE_chaperone")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_chaperone").into());
    let mut command = Command::new(&chaperone)
        .args(["policy", "check", "no-such-file.rego"])
        .env("CHAPERONE_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command.stderr.take());
    assert_eq!(command.wait().unwrap().code(), Some(2));
}

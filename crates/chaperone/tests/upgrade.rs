//! The broker of one build and the commands of another: through the real binary and a copy of it, which is another file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "mcp/support.rs"]
#[allow(dead_code, reason = "only a part is needed here")]
mod support;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::Machine;

/// What a command of the other build prints.
fn upgraded(machine: &Machine, arguments: &[&str]) -> Output {
    let first = machine.command(arguments);
    let copy = machine.docs().parent().unwrap().join("upgraded");
    if !copy.exists() {
        std::fs::copy(first.get_program(), &copy).unwrap();
    }
    let mut command = Command::new(copy);
    for (name, value) in first.get_envs() {
        command.env(name, value.unwrap());
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn broker(out: &Output) -> u64 {
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    told["broker"]["pid"].as_u64().unwrap()
}

#[test]
fn an_idle_broker_of_another_build_leaves() {
    let machine = Machine::new();
    let sessions = ["sessions", "--json"];
    let old = broker(&machine.run(&sessions));
    assert_eq!(broker(&machine.run(&sessions)), old, "the same build keeps its broker");

    let out = upgraded(&machine, &sessions);
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let new = broker(&out);
    assert_ne!(new, old);
    assert_eq!(broker(&upgraded(&machine, &sessions)), new);
    assert!(!std::path::Path::new(&format!("/proc/{old}/fd/0")).exists(), "the old one is gone");
    let verified = upgraded(&machine, &["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn one_with_a_session_stays_and_the_command_says_so() {
    let machine = Machine::new();
    let sessions = ["sessions", "--json"];
    let talk = machine.talk(&[]).initialized();
    let old = broker(&machine.run(&sessions));

    let out = upgraded(&machine, &sessions);
    let said = String::from_utf8(out.stderr.clone()).unwrap();
    assert_eq!(broker(&out), old, "{said}");
    assert!(said.contains("another build") && said.contains("it runs 1 session"), "{said}");
    assert!(said.contains(&format!("pid {old}")), "{said}");

    drop(talk);
    machine.until("the end of the session", |machine| {
        let told = machine.ask(&["sessions", "--json"]);
        told["sessions"].as_array().unwrap().iter().all(|s| s["state"] == "ended").then_some(())
    });
    assert_ne!(broker(&upgraded(&machine, &sessions)), old);
}

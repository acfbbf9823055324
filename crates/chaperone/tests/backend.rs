//! Which backend a session runs on, and that everything says the same of it: through the real binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "mcp/support.rs"]
#[allow(dead_code, reason = "only the machine is needed here")]
mod support;

use std::process::Stdio;

use chaperone_cell::{BACKENDS, STRONGEST};
use serde_json::Value;
use support::Machine;

/// What a session runs on that asks for nothing.
const DEFAULT: &str = "native";

/// The strongest backend that works here, as `doctor` has tried them.
fn strongest(machine: &Machine) -> String {
    let layers = machine.ask(&["doctor", "--json"]);
    let mut backends = layers.as_array().unwrap().iter().filter(|layer| layer["layer"] == "backend");
    let works = backends.find(|layer| layer["state"] == "ok").unwrap();
    works["detail"].as_str().unwrap().split(':').next().unwrap().to_owned()
}

/// Refuses whatever is read, and says which backend it was told of.
const TELLS: &str = r#"
package chaperone.tells
import rego.v1
decision := {"effect": "deny", "reasons": [sprintf("runs_on_%s", [input.session.backend])]} if input.action == "read"
"#;

fn machine_that_tells() -> Machine {
    let machine = Machine::new();
    for (name, backend) in
        [("other", "backend = \"no-such-wall\""), ("best", "backend = \"strongest\""), ("silent", "")]
    {
        machine.profile(name, &format!("name = \"{name}\"\n{backend}\n[[mount]]\npath = \"/workspace\"\n"));
    }
    let policies = machine.docs().with_file_name("home/config/policies");
    std::fs::create_dir_all(&policies).unwrap();
    std::fs::write(policies.join("tells.rego"), TELLS).unwrap();
    assert!(machine.run(&["policy", "reload"]).status.success());
    machine.put("a.txt", "text\n");
    machine
}

/// What its first record, the list of sessions and policy say of the newest session.
fn told(machine: &Machine) -> [String; 3] {
    let sessions = machine.ask(&["sessions", "--all", "--json"]);
    let newest = sessions["sessions"].as_array().unwrap().last().unwrap().clone();
    let id = newest["id"].as_str().unwrap();
    let query = machine.run(&["audit", "query", "--session", id, "--json"]);
    let records = String::from_utf8(query.stdout).unwrap();
    let first: Value = serde_json::from_str(records.lines().next().unwrap()).unwrap();
    assert_eq!(first["action"], "start", "{first}");
    let shown = machine.ask(&["audit", "show", &first["seq"].to_string()]);
    let why = machine.ask(&["why", id, "--json"]);
    let reasons = why.as_array().unwrap().iter().flat_map(|entry| entry["reasons"].as_array().unwrap());
    let input = reasons.filter_map(|reason| reason.as_str()?.strip_prefix("runs_on_")).next();
    [&shown["payload"]["backend"], &newest["backend"]]
        .map(|said| said.as_str().unwrap_or_default().to_owned())
        .into_iter()
        .chain([input.unwrap_or_default().to_owned()])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[test]
fn a_session_says_what_runs_whatever_its_profile_names() {
    let name = "a_session_says_what_runs_whatever_its_profile_names";
    let machine = machine_that_tells();
    if !machine.has_cells(name) {
        return;
    }
    let strongest = strongest(&machine);
    for (options, own) in [
        (&["--profile", "other", "--backend", DEFAULT][..], DEFAULT),
        (&["--profile", "other", "--backend", STRONGEST], &*strongest),
        (&["--profile", "best"], &*strongest),
        (&["--profile", "silent"], DEFAULT),
    ] {
        let mut command = machine.command(&["run", "--ask", "deny", "--workspace"]);
        command.arg(machine.docs()).args(options).args(["--", "/bin/cat", "/workspace/a.txt"]);
        let ran = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(ran.status.code(), Some(1), "{options:?}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(told(&machine), [own, own, own], "{options:?}");
    }
}

#[test]
fn without_a_cell_there_is_no_backend() {
    let machine = machine_that_tells();
    let mut client = machine.talk(&["--profile", "silent"]).initialized();
    let path = serde_json::json!({ "path": "/workspace/a.txt" });
    assert!(client.call("read_file", path).is_err());
    assert_eq!(told(&machine), ["none", "none", "none"]);
}

#[test]
fn a_backend_that_there_is_not_is_refused_before_anything_is_made() {
    let machine = machine_that_tells();
    for options in [&["--profile", "other"][..], &["--profile", "silent", "--backend", "no such"]] {
        let mut command = machine.command(&["run", "--workspace"]);
        command.arg(machine.docs()).args(options).args(["--", "/bin/true"]);
        let ran = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(125), "{options:?}: {said}");
        assert!(said.contains("no_backend") && said.contains(BACKENDS[0].name()), "{options:?}: {said}");
        let mut shown = machine.command(&["profile", "show", "other", "--workspace"]);
        let shown = shown.arg(machine.docs()).stdin(Stdio::null()).output().unwrap();
        assert!(String::from_utf8(shown.stderr).unwrap().contains("no_backend"));
    }
    let staged = std::fs::read_dir(machine.docs().with_file_name("home/state/staging"));
    assert_eq!(staged.map(Iterator::count).unwrap_or_default(), 0);
}

#[test]
fn a_profile_shows_what_its_sessions_run_on() {
    let machine = machine_that_tells();
    let strongest = strongest(&machine);
    for (name, backend) in [("best", &*strongest), ("silent", DEFAULT)] {
        let mut command = machine.command(&["profile", "show", name, "--json", "--workspace"]);
        let shown = command.arg(machine.docs()).stdin(Stdio::null()).output().unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["backend"], backend, "{name}");
    }
}

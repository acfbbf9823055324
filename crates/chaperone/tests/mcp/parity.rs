//! The same pipeline behind the file system and the RPC: each denial on one is a denial on the other, in one and the
//! same session, and by the same rule.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use super::support::{Machine, PATIENCE, outcome};

const PROFILE: &str = r#"
name = "parity"
[[mount]]
path = "/workspace/files"
[[mount]]
path = "/workspace/reports"
actions = ["read", "list"]
[[mount]]
path = "/workspace/drop"
actions = ["write", "list"]
[[mount]]
path = "/workspace/order"
actions = ["read", "list", "rename"]
"#;

/// A cell whose agent does what this test says, by files and by tools.
struct Cell {
    process: Child,
    lines: Receiver<String>,
}

impl Cell {
    fn start(machine: &Machine, profile: &str) -> Self {
        let docs = machine.docs();
        let obey =
            r#"while IFS= read -r line; do eval "$line" 2>/dev/null; r=$?; echo; echo "done $r"; done"#;
        let mut process = machine
            .command(&["run", "--profile", profile, "--workspace"])
            .arg(docs)
            .args(["--ask", "deny", "--", "sh", "-c", obey])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
        Self { process, lines }
    }

    /// Run a command in the cell: whether it succeeded, and what it printed.
    fn shell(&mut self, command: &str) -> (bool, String) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut printed = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{command}: {e}"));
            match line.strip_prefix("done ") {
                Some(code) => return (code.trim() == "0", printed),
                None => printed.push_str(&line),
            }
        }
    }

    /// Call a tool from within the cell, in a conversation of its own.
    fn tool(&mut self, tool: &str, arguments: &Value) -> Result<Value, String> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool, "arguments": arguments, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "parity", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {} } } });
        let (_, printed) = self.shell(&format!("printf '%s\\n' '{call}' | chaperone mcp"));
        outcome(&serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed:?}")))
    }

    fn do_both(&mut self, deed: &Deed) -> (bool, Result<Value, String>) {
        let path = format!("/workspace/{}", deed.path);
        let other = format!("/workspace/{}", deed.to);
        let text = json!({ "path": path, "content": "x" });
        let on_path = json!({ "path": path });
        let (command, tool, arguments) = match deed.what {
            "read" => (format!("cat {path}"), "read_file", on_path),
            "table" => (format!("cat {path}"), "get_csv", on_path),
            "write" => (format!("printf x > {path}"), "write_file", text),
            "append" => (format!("printf x >> {path}"), "append_file", text),
            "delete" => (format!("rm {path}"), "delete", on_path),
            "list" => (format!("ls {path}"), "list_directory", on_path),
            "rename" => (format!("mv -T {path} {other}"), "rename", json!({ "from": path, "to": other })),
            unknown => panic!("{unknown}"),
        };
        // A denied deed changes nothing, and an allowed one is done by tool on a second file of the same kind.
        let by_tool = if deed.allowed && matches!(deed.what, "delete" | "rename") {
            serde_json::from_str(&arguments.to_string().replace(".txt", "-2.txt")).unwrap()
        } else {
            arguments
        };
        let by_file = self.shell(&command).0;
        (by_file, self.tool(tool, &by_tool))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

struct Deed {
    what: &'static str,
    path: &'static str,
    to: &'static str,
    allowed: bool,
}

const fn denied(what: &'static str, path: &'static str) -> Deed {
    Deed { what, path, to: "files/elsewhere.txt", allowed: false }
}

const fn allowed(what: &'static str, path: &'static str) -> Deed {
    Deed { what, path, to: "files/elsewhere.txt", allowed: true }
}

const DEEDS: &[Deed] = &[
    // What both allow, so that the rest is not vacuous.
    allowed("read", "files/plain.txt"),
    allowed("write", "files/plain.txt"),
    allowed("append", "files/plain.txt"),
    allowed("write", "files/new.txt"),
    allowed("list", "files"),
    allowed("delete", "files/gone.txt"),
    allowed("read", "reports/sales.csv"),
    allowed("table", "reports/sales.csv"),
    allowed("write", "drop/new.txt"),
    // Actions that the mount does not have.
    denied("write", "reports/sales.csv"),
    denied("append", "reports/sales.csv"),
    denied("write", "reports/new.csv"),
    denied("delete", "reports/sales.csv"),
    Deed { what: "rename", path: "reports/sales.csv", to: "reports/other.csv", allowed: false },
    denied("rename", "reports/sales.csv"),
    Deed { what: "rename", path: "files/plain.txt", to: "reports/plain.txt", allowed: false },
    denied("read", "drop/in.txt"),
    denied("delete", "drop/in.txt"),
    // Credentials.
    denied("read", "files/.ssh/id_ed25519"),
    denied("write", "files/.ssh/id_ed25519"),
    denied("append", "files/.ssh/id_ed25519"),
    denied("delete", "files/.ssh/id_ed25519"),
    Deed { what: "rename", path: "files/.ssh/id_ed25519", to: "files/key.txt", allowed: false },
    denied("write", "files/.aws/credentials"),
    denied("read", "files/.env"),
    // What would open a lasting way in.
    denied("write", "files/.ssh/authorized_keys"),
    // Personal data, with every ask answered by no.
    denied("read", "files/people.csv"),
    denied("table", "files/people.csv"),
    denied("append", "files/people.csv"),
    // What is not there, and what is outside.
    denied("read", "files/nothing.txt"),
    denied("read", "files/../../outside/secret.txt"),
    denied("read", "files/link-out"),
    denied("read", "files/folder-out/secret.txt"),
    denied("write", "files/folder-out/new.txt"),
];

fn furnished() -> Machine {
    let machine = Machine::new();
    machine.profile("parity", PROFILE);
    for (path, content) in [
        ("files/plain.txt", "plain"),
        ("files/gone.txt", "gone"),
        ("files/gone-2.txt", "gone"),
        ("reports/sales.csv", "region,sum\nnorth,1\n"),
        ("drop/in.txt", "in"),
        ("order/one.txt", "one"),
        ("order/two.txt", "two"),
        ("files/one.txt", "one"),
        ("files/two.txt", "two"),
        ("files/.ssh/id_ed25519", "CANARY key"),
        ("files/.aws/credentials", "CANARY credentials"),
        ("files/.env", "CANARY=tR7kq9Zp4wX2"),
        ("files/people.csv", "name,ssn\nAnn Lee,536-22-8726\nBo Li,219-09-9999\n"),
        ("../outside/secret.txt", "CANARY outside"),
    ] {
        machine.put(path, content);
    }
    let outside = machine.docs().parent().unwrap().join("outside");
    std::os::unix::fs::symlink(outside.join("secret.txt"), machine.docs().join("files/link-out")).unwrap();
    std::os::unix::fs::symlink(&outside, machine.docs().join("files/folder-out")).unwrap();
    machine
}

#[test]
fn each_denial_on_one_way_is_a_denial_on_the_other_by_the_same_rule() {
    let machine = furnished();
    if !machine.has_cells("each_denial_on_one_way_is_a_denial_on_the_other_by_the_same_rule") {
        return;
    }
    let mut cell = Cell::start(&machine, "parity");
    let mut wrong = Vec::new();
    for deed in DEEDS {
        let (by_file, by_tool) = cell.do_both(deed);
        if by_file != deed.allowed || by_tool.is_ok() != deed.allowed {
            wrong.push(format!("{} {}: by file {by_file}, by tool {by_tool:?}", deed.what, deed.path));
        }
        assert!(!format!("{by_tool:?}").contains("CANARY"), "{by_tool:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // The rules of the refusals, from the log: for each path the same set on both ways.
    let log = machine.run(&["audit", "query", "--json"]);
    let records: Vec<Value> =
        String::from_utf8(log.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for path in [
        "reports/sales.csv",
        "drop/in.txt",
        "files/.ssh/id_ed25519",
        "files/.env",
        "files/people.csv",
        "files/.ssh/authorized_keys",
    ] {
        let rules: BTreeSet<&str> = records
            .iter()
            .filter(|r| {
                r["resource"].as_str().is_some_and(|s| s.starts_with(&format!("/workspace/{path}")))
                    && r["effect"] == "deny"
                    && r["phase"] == "outcome"
            })
            .filter_map(|r| r["rule"].as_str())
            .collect();
        println!("{path}: {rules:?}");
        assert!(!rules.is_empty(), "no refusal of {path} is in the log");
    }
}

#[test]
fn who_may_only_rename_replaces_nothing_by_it() {
    let machine = furnished();
    if !machine.has_cells("who_may_only_rename_replaces_nothing_by_it") {
        return;
    }
    let mut cell = Cell::start(&machine, "parity");
    let over = |mount: &str| (format!("/workspace/{mount}/one.txt"), format!("/workspace/{mount}/two.txt"));
    let (one, two) = over("order");
    assert!(!cell.shell(&format!("mv -f -T {one} {two}")).0);
    let refused = cell.tool("rename", &json!({ "from": one, "to": two, "replace": true }));
    assert_eq!(refused.unwrap_err(), "not_permitted");
    assert_eq!(cell.shell(&format!("cat {one} {two}")), (true, "onetwo".to_owned()));
    // To a free name it may, and where it may write, too, it replaces.
    assert!(cell.shell(&format!("mv -T {one} /workspace/order/three.txt")).0);
    let (one, two) = over("files");
    assert!(cell.shell(&format!("mv -f -T {one} {two}")).0);
    assert_eq!(cell.shell(&format!("cat {two}")), (true, "one".to_owned()));
}

#[test]
fn a_file_of_terabytes_of_nothing_holds_up_neither_changes_nor_commit() {
    let machine = furnished();
    if !machine.has_cells("a_file_of_terabytes_of_nothing_holds_up_neither_changes_nor_commit") {
        return;
    }
    let mut cell = Cell::start(&machine, "parity");
    assert!(cell.shell("truncate -s 4T /workspace/files/huge").0);
    assert!(cell.shell("truncate -s 700M /workspace/files/large").0);
    assert!(cell.shell("printf x > /workspace/files/small").0);
    let session = machine.ask(&["sessions", "--json"])["sessions"][0]["id"].as_str().unwrap().to_owned();
    let begun = std::time::Instant::now();
    let shown = machine.ask(&["changes", &session, "--json"]).to_string();
    assert!(shown.contains("too_many_holes"), "{shown}");
    let committed = machine.run(&["commit", &session, "--unseen"]);
    let said = String::from_utf8(committed.stdout).unwrap();
    assert!(!committed.status.success() && said.contains("too_many_holes"), "{said}");
    assert!(begun.elapsed() < PATIENCE, "took {:?}", begun.elapsed());
    let of = |name: &str| std::fs::metadata(machine.docs().join("files").join(name)).unwrap();
    assert_eq!((of("small").len(), of("large").len()), (1, 700 << 20), "{said}");
    assert!(std::os::unix::fs::MetadataExt::blocks(&of("large")) * 512 < 1 << 20);
    assert!(!machine.docs().join("files/huge").exists());
    for (path, known) in [("files/nothing", false), ("files/huge", true)] {
        let discarded = machine.run(&["discard", &session, path]);
        assert_eq!(discarded.status.success(), known, "{path}");
    }
}

#[test]
fn a_revoked_capability_ends_both_ways_at_once() {
    let machine = furnished();
    if !machine.has_cells("a_revoked_capability_ends_both_ways_at_once") {
        return;
    }
    let mut cell = Cell::start(&machine, "parity");
    let before =
        [allowed("read", "files/plain.txt"), allowed("write", "files/plain.txt"), allowed("list", "reports")];
    for deed in &before {
        let (by_file, by_tool) = cell.do_both(deed);
        assert!(by_file && by_tool.is_ok(), "{}: {by_file} {by_tool:?}", deed.what);
    }
    let session = machine.ask(&["sessions", "--json"])["sessions"][0]["id"].as_str().unwrap().to_owned();
    let held = machine.run(&["capability", "show", &session]);
    let text = String::from_utf8(held.stdout).unwrap();
    let jti = text.split("\"jti\"").nth(1).and_then(|t| t.split('"').nth(1)).expect("its id").to_owned();
    assert!(machine.run(&["capability", "revoke", &jti]).status.success());
    for deed in [
        denied("read", "reports/sales.csv"),
        denied("write", "files/plain.txt"),
        denied("delete", "files/gone.txt"),
    ] {
        let (by_file, by_tool) = cell.do_both(&deed);
        assert!(!by_file, "{} by file after the revocation", deed.what);
        assert_eq!(by_tool.unwrap_err(), "revoked", "{}", deed.what);
    }
    // For good: the next session has a capability of its own.
    drop(cell);
    let mut next = Cell::start(&machine, "parity");
    let (by_file, by_tool) = next.do_both(&allowed("read", "files/plain.txt"));
    assert!(by_file && by_tool.is_ok(), "{by_file} {by_tool:?}");
}

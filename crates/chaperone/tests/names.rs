//! Names that an agent chooses steer no terminal and forge no line, whatever the user looks at: through the real binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "mcp/support.rs"]
#[allow(dead_code, reason = "only the machine is needed here")]
mod support;

use std::process::{Command, Output, Stdio};

use support::Machine;

/// Makes a file of each name, and a link whose target is one.
const AGENT: &str = r"
import os
names = ['clip\x1b]52;c;Y3VybCBldmls\x07board', 'csi\x1b[2Jclear', 'c1\x9b31mred',
         'line\nstaged    create innocent.csv', 'return\rstaged    create innocent.csv',
         'mirror\u202etxt.exe', 'zero\u200bwidth']
for name in names:
    with open('/workspace/' + name, 'w') as file: file.write(name)
    try: open('/workspace/.ssh/' + name)
    except OSError: pass
os.symlink('\x1b[2Jtarget', '/workspace/link')
";

const PROFILE: &str = "
name = \"names\"
description = \"names\"
[[mount]]
path = \"/workspace\"
[environment]
pass = [\"LANG\", \"LC_ALL\"]
";

/// Everything that a terminal was given, and that none of it does more than stand there.
fn plain(what: &str, output: &Output) -> String {
    let mut all = String::new();
    for stream in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(stream).unwrap_or_else(|e| panic!("{what}: {e}"));
        for line in text.split('\n') {
            let steers =
                |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
            assert!(!line.contains(steers), "{what}: {line:?}");
            assert!(!line.starts_with("staged    create innocent.csv"), "{what}: {line:?}");
        }
        all.push_str(text);
    }
    all
}

fn run(machine: &Machine, profile: &str) -> Output {
    let mut command: Command =
        machine.command(&["run", "--verbose", "--ask", "deny", "--profile", profile, "--workspace"]);
    command
        .arg(machine.docs())
        .args(["--", "/usr/bin/python3", "-X", "utf8", "-c", AGENT])
        .stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let machine = Machine::new();
    if !machine.has_cells("hostile_names_are_shown_and_do_nothing") {
        return;
    }
    machine.profile("names", PROFILE);
    machine.profile(
        "at-end",
        &PROFILE
            .replace("\"names\"", "\"at-end\"")
            .replace("[environment]", "[commit]\nat_end = true\n[environment]"),
    );
    let told = run(&machine, "names");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = plain("run", &told);
    assert!(told.contains("8 staged changes"), "{told}");
    let all = machine.ask(&["sessions", "--all", "--json"]);
    let session = all["sessions"][0]["id"].as_str().unwrap().to_owned();

    let changes = plain("changes", &machine.run(&["changes", &session]));
    for escaped in [
        "\\u{1b}]52",
        "\\u{1b}[2J",
        "\\u{9b}31m",
        "line\\u{a}staged",
        "return\\u{d}staged",
        "\\u{202e}",
        "\\u{200b}",
    ] {
        assert!(changes.contains(escaped), "{escaped}: {changes}");
    }
    plain("changes --json", &machine.run(&["changes", &session, "--json"]));
    plain("why", &machine.run(&["why", &session]));
    plain("why --json", &machine.run(&["why", &session, "--json"]));
    plain("approvals", &machine.run(&["approvals"]));
    plain("audit tail", &machine.run(&["audit", "tail", "-n", "1000"]));
    plain("audit query", &machine.run(&["audit", "query", "--json"]));
    let refused = plain("commit", &machine.run(&["commit", &session]));
    assert!(refused.contains("refused") && refused.contains("\\u{9b}31m"), "{refused}");
    let named = ["commit", &session, "c1\u{9b}31mred", "csi\u{1b}[2Jclear"];
    let committed = plain("commit of names", &machine.run(&named));
    assert!(committed.contains("committed") && committed.contains("\\u{9b}31m"), "{committed}");
    let undone = plain("undo", &machine.run(&["undo", &session]));
    assert!(undone.contains("\\u{9b}31m"), "{undone}");

    let told = plain("run, committed at its end", &run(&machine, "at-end"));
    assert!(told.contains("committed") && told.contains("\\u{202e}"), "{told}");

    run(&machine, "names");
    let last = machine.ask(&["sessions", "--all", "--json"]);
    let ids = last["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap());
    let discarded: String = ids.map(|id| plain("discard", &machine.run(&["discard", id]))).collect();
    assert!(discarded.contains("discarded") && discarded.contains("\\u{202e}"), "{discarded}");
}

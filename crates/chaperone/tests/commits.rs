//! What counts as shown, and what a shell makes of `*`: through the real binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "mcp/support.rs"]
#[allow(dead_code, reason = "only the machine is needed here")]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use support::Machine;

const PROFILE: &str = "
name = \"names\"
description = \"names\"
[[mount]]
path = \"/workspace\"
";

/// A run of this script in a cell, by the profile of these tests.
fn in_cell(machine: &Machine, script: &str) -> Command {
    let mut command: Command = machine.command(&["run", "--profile", "names", "--workspace"]);
    command.arg(machine.docs()).args(["--", "/bin/sh", "-c", script]);
    command
}

/// A session that is over and left what its shell made.
fn over(machine: &Machine, script: &str) -> String {
    machine.profile("names", PROFILE);
    let run = in_cell(machine, script).stdin(Stdio::null()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let all = machine.ask(&["sessions", "--all", "--json"]);
    all["sessions"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn only_what_reached_the_reader_counts_as_shown() {
    let machine = Machine::new();
    if !machine.has_cells("only_what_reached_the_reader_counts_as_shown") {
        return;
    }
    let session = over(&machine, "for i in $(seq 1000 1300); do echo $i > $i.txt; done");
    let mut changes: Command = machine.command(&["changes", &session]);
    let mut changes = changes.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(changes.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("1000.txt"), "{line}");
    assert_eq!(changes.wait().unwrap().code(), Some(141));

    let tried = machine.run(&["commit", &session]);
    let told = String::from_utf8(tried.stdout).unwrap();
    let count = |state: &str| told.lines().filter(|line| line.starts_with(state)).count();
    assert!(count("committed") < 150, "{told}");
    assert!(count("refused") > 150 && told.contains("changed_since_shown"), "{told}");
    // All of it read, and all of it counts.
    assert!(machine.run(&["changes", &session]).status.success());
    assert!(machine.run(&["commit", &session]).status.success());
    assert!(machine.docs().join("1300.txt").exists());
}

/// What each path came to in a commit.
fn states(told: &Output) -> Vec<(String, String)> {
    let told = String::from_utf8(told.stdout.clone()).unwrap();
    let mut states: Vec<(String, String)> = told
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| (words[2].to_owned(), words[0].to_owned()))
        .collect();
    states.sort();
    states
}

#[test]
fn a_look_at_some_paths_leaves_the_others_as_they_were() {
    let machine = Machine::new();
    if !machine.has_cells("a_look_at_some_paths_leaves_the_others_as_they_were") {
        return;
    }
    let session = over(&machine, "mkdir -p a/b; for f in a/b/c a/b/e a/d f; do echo $f > $f; done");
    let shown = machine.run(&["changes", &session, "./a/b/c", "f"]);
    let told = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{told}");
    assert!(told.contains("+a/b/c") && told.contains("+f") && told.contains("create a/b  [dir]"), "{told}");
    assert!(!told.contains("a/b/e") && !told.contains("a/d"), "{told}");
    let nothing = machine.run(&["changes", &session, "a/x"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no change matches a/x"));

    let done = machine.run(&["commit", &session]);
    let of = |path: &str, state: &str| (path.to_owned(), state.to_owned());
    let expected = [
        of("a", "committed"),
        of("a/b", "committed"),
        of("a/b/c", "committed"),
        of("a/b/e", "committed"),
        of("a/d", "committed"),
        of("f", "committed"),
    ];
    assert_eq!(states(&done), expected);
    assert!(machine.docs().join("a/d").exists() && machine.docs().join("a/b/e").exists());
}

#[test]
fn numbers_alone_count_as_no_look() {
    let machine = Machine::new();
    if !machine.has_cells("numbers_alone_count_as_no_look") {
        return;
    }
    let session =
        over(&machine, "printf 'a\\nb\\n' > text; head -c 3000 /dev/zero > data; mkdir -p d; echo x > d/x");
    let stat = machine.run(&["changes", "--stat", &session]);
    let told = String::from_utf8(stat.stdout).unwrap();
    for line in
        ["create text", "+2 −0", "create data", "3.0 kB", "4 changes: 4 create; +3 −0, 3.0 kB of no text"]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    let one = machine.ask(&["changes", "--stat", "--json", &session, "d"]);
    assert_eq!(one.as_array().unwrap().len(), 2, "{one}");
    // Had they counted as a look at everything, what was not looked at itself would be left.
    assert!(machine.run(&["changes", &session, "d"]).status.success());
    assert!(machine.run(&["changes", "--stat", &session]).status.success());
    let done = states(&machine.run(&["commit", &session]));
    assert!(done.len() == 4 && done.iter().all(|(_, state)| state == "committed"), "{done:?}");
}

#[test]
fn only_ended_sessions_with_nothing_staged_are_pruned() {
    let machine = Machine::new();
    if !machine.has_cells("only_ended_sessions_with_nothing_staged_are_pruned") {
        return;
    }
    machine.profile("names", PROFILE);
    let run = |script: &str| in_cell(&machine, script);
    let idle = || machine.ask(&["sessions", "--all", "--json"])["sessions"].as_array().unwrap().clone();
    let id = |n: usize| idle()[n]["id"].as_str().unwrap().to_owned();
    for script in ["true", "echo x > staged", "echo x > done"] {
        assert!(run(script).stdin(Stdio::null()).output().unwrap().status.success());
    }
    let [nothing, staged, done] = [id(0), id(1), id(2)];
    assert!(machine.run(&["commit", &done]).status.success());
    let mut running: Child =
        run("echo up; read line").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let alive = id(3);

    let listed = machine.run(&["sessions", "--all"]);
    let told = String::from_utf8(listed.stdout).unwrap();
    let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    let cells: Vec<(&str, &str, &str)> = rows.iter().skip(1).map(|row| (row[0], row[1], row[3])).collect();
    let expected = [
        (&*alive, "running", "-"),
        (&*done, "ended", "0"),
        (&*staged, "ended", "1"),
        (&*nothing, "ended", "0"),
    ];
    assert_eq!(cells, expected, "{told}");

    let pruned = |arguments: &[&str]| {
        let answer = machine.ask(&[&["sessions", "prune", "--json"], arguments].concat());
        let ids = answer["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let state = |id: &str| machine.docs().with_file_name("home").join("state/staging").join(id).exists();
    assert_eq!(pruned(&["--dry-run"]), [&*nothing]);
    assert!(state(&nothing));
    assert_eq!(pruned(&["--older-than", "1h"]), [""; 0]);
    assert_eq!(pruned(&[]), [&*nothing]);
    assert!(!state(&nothing) && state(&staged) && state(&done) && state(&alive));
    // What can be undone goes only with an age.
    let told = machine.run(&["sessions", "prune", "--older-than", "0s", "--dry-run"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("1 commit that cannot be undone then"));
    assert_eq!(pruned(&["--older-than", "0s"]), [&*done]);
    assert!(!state(&done) && state(&staged) && state(&alive));
    assert!(!machine.run(&["undo", &done]).status.success());
    let log = machine.run(&["audit", "query", "--session", &done, "--json"]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("prune"));
    assert_eq!(idle().len(), 2);
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success() || !state(&nothing));
}

#[test]
fn a_reason_is_accepted_of_the_named_paths_alone() {
    let machine = Machine::new();
    if !machine.has_cells("a_reason_is_accepted_of_the_named_paths_alone") {
        return;
    }
    let make = "mkdir bin; for f in bin/one bin/two three; do printf '#!/bin/sh\\n' > $f; chmod +x $f; done";
    let session = over(&machine, make);
    let first = machine.run(&["commit", &session]);
    let told = String::from_utf8(first.stderr.clone()).unwrap();
    assert_eq!(first.status.code(), Some(3), "{told}");
    let next = format!("chaperone commit --accept executable {session} bin/one bin/two three");
    assert!(told.contains(&next), "{told}");
    let there = |path: &str| machine.docs().join(path).exists();
    // Another reason is not this one, and without a path it is none.
    let other = machine.run(&["commit", "--accept", "runs_later", &session, "bin/one"]);
    assert_eq!((other.status.code(), there("bin/one")), (Some(3), false));
    assert_eq!(machine.run(&["commit", "--accept", "executable", &session]).status.code(), Some(2));

    let below = machine.run(&["commit", "--accept", "executable", &session, "bin"]);
    assert!(below.status.success(), "{}", String::from_utf8_lossy(&below.stderr));
    assert!(there("bin/one") && there("bin/two") && !there("three"));
    assert_eq!(machine.run(&["commit", &session]).status.code(), Some(3));
    assert!(machine.run(&["commit", "--confirm", "executable", &session]).status.success());
    assert!(there("three"));
}

#[test]
fn a_directory_confirms_nothing_of_what_is_below_it() {
    let machine = Machine::new();
    let help = String::from_utf8(machine.run(&["commit", "--help"]).stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("naming one confirms it alone, --accept what is below a directory"), "{help}");
    if !machine.has_cells("a_directory_confirms_nothing_of_what_is_below_it") {
        return;
    }
    let make = "mkdir d; echo text > d/notes; printf '#!/bin/sh\\n' > d/prog; chmod +x d/prog";
    let session = over(&machine, make);
    let there = |path: &str| machine.docs().join(path).exists();
    assert_eq!(machine.run(&["commit", &session, "d"]).status.code(), Some(3));
    assert!(there("d/notes") && !there("d/prog"));
    assert!(machine.run(&["commit", &session, "d/prog"]).status.success());
    assert!(there("d/prog"));
}

#[test]
fn a_file_that_is_called_like_an_option_speaks_for_nobody() {
    let machine = Machine::new();
    if !machine.has_cells("a_file_that_is_called_like_an_option_speaks_for_nobody") {
        return;
    }
    for name in ["--unseen", "--", "--conflict=theirs", "notes.txt"] {
        std::fs::write(machine.docs().join(name), "before\n").unwrap();
    }
    let session = over(&machine, "for name in ./--unseen notes.txt; do echo after > $name; done");
    // As `*` in that directory.
    for command in ["commit", "discard", "undo", "changes"] {
        let mut words: Command =
            machine.command(&[command, &session, "--", "--conflict=theirs", "--unseen", "notes.txt"]);
        let tried = words.current_dir(machine.docs()).output().unwrap();
        let told = String::from_utf8(tried.stderr).unwrap();
        assert_eq!(tried.status.code(), Some(2), "{command}: {told}");
        assert!(told.contains("is the name of a file here, too"), "{command}: {told}");
    }
    assert_eq!(std::fs::read_to_string(machine.docs().join("notes.txt")).unwrap(), "before\n");
    let mut words: Command = machine.command(&["commit", &session, "./--unseen"]);
    assert!(words.current_dir(machine.docs()).output().unwrap().status.success());
    assert_eq!(std::fs::read_to_string(machine.docs().join("--unseen")).unwrap(), "after\n");
    assert_eq!(std::fs::read_to_string(machine.docs().join("notes.txt")).unwrap(), "before\n");
}

#[test]
fn a_signal_ends_the_session_and_says_what_is_left_of_it() {
    let machine = Machine::new();
    if !machine.has_cells("a_signal_ends_the_session_and_says_what_is_left_of_it") {
        return;
    }
    machine.profile("names", PROFILE);
    // An agent that ends by the signal, and one that does not heed it and is ended by the second.
    for (script, signals) in [
        ("echo x > new; echo ready; sleep 1000", 1),
        ("trap 'echo heard' TERM; echo y > new; echo ready; while :; do sleep 0.1; done", 2),
    ] {
        let mut command = in_cell(&machine, script);
        let mut run =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(run.stdout.take().unwrap()).lines();
        assert_eq!(output.next().unwrap().unwrap(), "ready");
        for n in 1..=signals {
            Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
            // The next one is for an agent that got this one and goes on.
            if n < signals {
                assert_eq!(output.next().unwrap().unwrap(), "heard");
            }
        }
        let ended = run.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("was ended by SIGTERM"), "{said}");
        assert!(said.contains("staged change pending: chaperone changes"), "{said}");
        let code = if signals == 1 { 143 } else { 137 };
        assert_eq!(ended.status.code(), Some(code), "{said}");
        let running = machine.ask(&["sessions", "--json"]);
        assert!(running["sessions"].as_array().unwrap().iter().all(|s| s["state"] == "ended"), "{running}");
    }
}

#[test]
fn a_path_that_is_committed_already_is_no_error() {
    let machine = Machine::new();
    if !machine.has_cells("a_path_that_is_committed_already_is_no_error") {
        return;
    }
    let session = over(&machine, "mkdir d; echo x > d/x; echo y > y");
    assert!(machine.run(&["commit", &session, "d/x"]).status.success());
    for path in ["d/x", "d", "/workspace/d/x"] {
        let again = machine.run(&["commit", &session, path]);
        let said = String::from_utf8(again.stderr).unwrap();
        assert_eq!(again.status.code(), Some(0), "{said}");
        assert_eq!(said, format!("chaperone: {path} is committed already (commit 1)\n"));
    }
    let wrong = machine.run(&["commit", &session, "nothing/of/it"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("no change matches nothing/of/it"), "{said}");
    // With one that never was, it is the other that is missing.
    let both = machine.run(&["commit", &session, "d/x", "z"]);
    let said = String::from_utf8(both.stderr).unwrap();
    assert_eq!(both.status.code(), Some(1), "{said}");
    assert!(said.contains("no change matches z") && !said.contains("matches d/x"), "{said}");
    // What was taken back is committed no more.
    assert!(machine.run(&["undo", &session]).status.success());
    let undone = machine.run(&["commit", &session, "d/x"]);
    assert_eq!(undone.status.code(), Some(1), "{}", String::from_utf8_lossy(&undone.stderr));
}

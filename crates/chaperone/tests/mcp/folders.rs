//! Directories by tools: made with those above them, named where they are missing, and called by either of their places.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::support::Machine;

#[test]
fn a_directory_is_made_with_those_above_it_and_one_that_is_there_is_fine() {
    let machine = Machine::new();
    machine.put("a.txt", "a");
    machine.put("there/b.txt", "b");
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    let made = client.call("create_directory", json!({ "path": "/workspace/out/2026/may" })).unwrap();
    assert_eq!(made, json!({ "path": "/workspace/out/2026/may", "state": "staged" }));
    client.call("createDirectory", json!({ "path": "/workspace/out/2026" })).unwrap();
    client.call("create_directory", json!({ "path": "/workspace/there" })).unwrap();
    client.call("create_directory", json!({ "path": "/workspace" })).unwrap();
    client.call("write_file", json!({ "path": "/workspace/out/2026/may/x.txt", "content": "x" })).unwrap();
    client.call("rename", json!({ "from": "/workspace/a.txt", "to": "/workspace/out/a.txt" })).unwrap();
    for (path, code) in [
        ("/workspace/there/b.txt", "not_a_directory"),
        ("/workspace/there/b.txt/c", "not_a_directory"),
        ("/workspace/../c", "bad_path"),
        ("/etc/c", "bad_path"),
    ] {
        assert_eq!(client.call("create_directory", json!({ "path": path })).unwrap_err(), code, "{path}");
    }
    client.hang_up();
    let sessions = machine.ask(&["sessions", "--all", "--json"]);
    let session = sessions["sessions"][0]["id"].as_str().unwrap();
    let commit = machine.run(&["commit", session]);
    assert!(commit.status.success(), "{}", String::from_utf8_lossy(&commit.stdout));
    assert_eq!(std::fs::read_to_string(machine.docs().join("out/2026/may/x.txt")).unwrap(), "x");
    assert_eq!(std::fs::read_to_string(machine.docs().join("out/a.txt")).unwrap(), "a");
    // Each that was made was decided for itself.
    let log = machine.run(&["audit", "query", "--session", session, "--json"]);
    let log = String::from_utf8(log.stdout).unwrap();
    for made in ["\"/workspace/out\"", "\"/workspace/out/2026\"", "\"/workspace/out/2026/may\""] {
        assert!(log.contains(made), "{made} is not in the log");
    }
}

#[test]
fn a_missing_directory_is_named_with_the_tool_that_makes_it() {
    let machine = Machine::new();
    machine.put("a.txt", "a");
    machine.put("b.txt", "b");
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    for (tool, arguments) in [
        ("write_file", json!({ "path": "/workspace/out/x.txt", "content": "x" })),
        ("append_file", json!({ "path": "/workspace/out/x.txt", "content": "x" })),
        ("rename", json!({ "from": "/workspace/a.txt", "to": "/workspace/out/a.txt" })),
    ] {
        let told = client.refusal(tool, arguments);
        assert!(told.starts_with("not_found: the directory /workspace/out does not exist"), "{tool}: {told}");
        assert!(told.contains("create_directory"), "{tool}: {told}");
    }
    let told = client.refusal("rename", json!({ "from": "/workspace/none", "to": "/workspace/c.txt" }));
    assert!(told.starts_with("not_found: /workspace/none"), "{told}");
    let told = client.refusal("rename", json!({ "from": "/workspace/a.txt", "to": "/workspace/b.txt" }));
    assert!(told.starts_with("already_exists: /workspace/b.txt"), "{told}");
}

#[test]
fn a_staged_file_has_the_hash_of_its_content() {
    let machine = Machine::new();
    let mut client = machine.talk(&[]).initialized();
    let large = "x".repeat(5 << 20);
    for (content, hash) in [
        ("one", "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"),
        ("two", "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"),
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (&large, "dba67a476fa78973aabb087f214a1010f3bebca053674e0af50dfe5a582112be"),
    ] {
        client.call("write_file", json!({ "path": "/workspace/a.txt", "content": content })).unwrap();
        let expected = format!("sha256:{hash}");
        for offset in [0, 1, 4 << 20] {
            let read =
                client.call("read_file", json!({ "path": "/workspace/a.txt", "offset": offset })).unwrap();
            assert_eq!(read["content_hash"], expected, "{} bytes from {offset}", content.len());
        }
    }
}

#[test]
fn the_workspace_is_the_same_by_its_own_place() {
    let machine = Machine::new();
    machine.put("a.txt", "a");
    machine.put("sub/b.csv", "n\n1\n");
    let docs = machine.docs();
    let link = docs.with_file_name("linked");
    std::os::unix::fs::symlink(&docs, &link).unwrap();
    std::os::unix::fs::symlink(docs.join("sub"), docs.join("to-sub")).unwrap();
    let script = format!("exec chaperone mcp --ask deny --workspace {}", link.display());
    let mut client = machine.talk_by(&script).initialized();
    for own in [docs.display().to_string(), link.display().to_string()] {
        let at = |below: &str| format!("{own}{below}");
        assert_eq!(client.call("read_file", json!({ "path": at("/a.txt") })).unwrap()["content"], "a");
        assert_eq!(
            client.call("get_csv", json!({ "path": at("//sub/./b.csv") })).unwrap()["rows"],
            json!([["1"]])
        );
        assert_eq!(client.call("stat", json!({ "path": at("/sub") })).unwrap()["path"], "/workspace/sub");
        let names = client.call("list_directory", json!({ "path": own })).unwrap();
        assert_eq!(names["entries"][0]["name"], "a.txt", "{names}");
        let written = client.call("write_file", json!({ "path": at("/c.txt"), "content": "c" })).unwrap();
        assert_eq!(written["path"], "/workspace/c.txt");
        let moved = json!({ "from": at("/c.txt"), "to": at("/d.txt") });
        assert_eq!(client.call("rename", moved).unwrap()["path"], "/workspace/d.txt");
        client.call("append_file", json!({ "path": at("/d.txt"), "content": "d" })).unwrap();
        client.call("delete", json!({ "path": at("/d.txt") })).unwrap();
        client.call("create_directory", json!({ "path": at("/new/er") })).unwrap();
        assert_eq!(client.call("stat", json!({ "path": "sub" })).unwrap()["path"], "/workspace/sub");
        assert_eq!(client.call("read_file", json!({ "path": "../x" })).unwrap_err(), "bad_path");
        // A link of the workspace that says it by its own place stays inside, too.
        assert_eq!(
            client.call("get_csv", json!({ "path": at("/to-sub/b.csv") })).unwrap()["rows"],
            json!([["1"]])
        );
        for out in ["/../x", "/../person/x", "x", "/sub/../../x"] {
            let told = client.call("read_file", json!({ "path": at(out) })).unwrap_err();
            assert_eq!(told, "bad_path", "{out}");
        }
    }
}

#[test]
fn what_tools_make_has_the_modes_of_the_servers_umask() {
    for (umask, file, directory) in [("077", 0o600, 0o700), ("027", 0o640, 0o750), ("022", 0o644, 0o755)] {
        let machine = Machine::new();
        let script = format!("umask {umask}; exec chaperone mcp --ask deny --workspace .");
        let mut client = machine.talk_by(&script).initialized();
        client.call("create_directory", json!({ "path": "/workspace/d" })).unwrap();
        client.call("write_file", json!({ "path": "/workspace/d/letter", "content": "private" })).unwrap();
        client.hang_up();
        let sessions = machine.ask(&["sessions", "--all", "--json"]);
        let commit = machine.run(&["commit", sessions["sessions"][0]["id"].as_str().unwrap()]);
        assert!(commit.status.success(), "{}", String::from_utf8_lossy(&commit.stdout));
        for (name, mode) in [("d", directory), ("d/letter", file)] {
            let is = machine.docs().join(name).metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(is, mode, "{umask}: {name} is {is:o}");
        }
    }
}

//! The narrow RPC, driven through the real binary: schemas, limits, cancellation, hostile input.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod folders;
mod network;
mod parity;
mod support;

use std::fmt::Write as _;

use serde_json::{Value, json};
use support::{Machine, outcome};

const PEOPLE: &str = "name,ssn\nAnn Lee,536-22-8726\nBo Li,219-09-9999\n";

/// Directory of public cases, or why the test is skipped; where CI has it, it must be used.
fn cases(below: &str, test: &str) -> Option<std::path::PathBuf> {
    let Some(folder) = std::env::var_os("CHAPERONE_CASES") else {
        println!("SKIPPED {test}: CHAPERONE_CASES is not set");
        return None;
    };
    let folder = std::path::Path::new(&folder).join(below);
    assert!(folder.is_dir(), "{} is not there", folder.display());
    Some(folder)
}

#[test]
fn arguments_beside_the_schema_are_refused_with_a_reason() {
    let machine = Machine::new();
    machine.put("a.txt", "text");
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    for (tool, arguments) in [
        ("read_file", json!({ "path": "/workspace/a.txt", "mode": "rw" })),
        ("read_file", json!({})),
        ("read_file", json!({ "path": 7 })),
        ("read_file", json!({ "path": ["/workspace/a.txt"] })),
        ("read_file", json!({ "path": "/workspace/a.txt", "offset": -1 })),
        ("read_file", json!({ "path": "/workspace/a.txt", "offset": 1e300 })),
        ("read_file", json!({ "path": "/workspace/a.txt", "encoding": "utf-16" })),
        ("write_file", json!({ "path": "/workspace/b", "content": "%%%", "encoding": "base64" })),
        ("write_file", json!({ "path": "/workspace/b" })),
        ("list_capabilities", json!({ "all": true })),
        ("save_workbook", json!({ "dest_path": "/workspace/b.xlsx" })),
        ("request_elevation", json!({ "action": "commit", "path": "/workspace/b", "reason": "so" })),
    ] {
        assert_eq!(client.call(tool, arguments.clone()).unwrap_err(), "bad_arguments", "{tool} {arguments}");
    }
    assert_eq!(client.call("no_such_tool", json!({})).unwrap_err(), "rpc -32602");
    assert_eq!(
        client
            .call(
                "attenuate_capability",
                json!({ "permissions": [{ "action": "fly", "path": "/workspace" }] })
            )
            .unwrap_err(),
        "malformed"
    );
    assert_eq!(client.call("read_file", json!({ "path": "/workspace/a.txt" })).unwrap()["content"], "text");
}

#[test]
fn the_missions_spellings_are_accepted() {
    let machine = Machine::new();
    let mut client = machine.talk(&[]).initialized();
    client.call("writeFile", json!({ "path": "/workspace/a.csv", "contents": "a\n1\n" })).unwrap();
    assert_eq!(client.call("readFile", json!({ "path": "/workspace/a.csv" })).unwrap()["content"], "a\n1\n");
    assert_eq!(client.call("getCsv", json!({ "path": "/workspace/a.csv" })).unwrap()["rows"], json!([["1"]]));
    let none = json!({ "destPath": "/workspace/a.xlsx", "contentHash": "sha256:00" });
    assert_eq!(client.call("saveWorkbook", none).unwrap_err(), "no_such_blob");
}

#[test]
fn deep_arguments_are_refused_and_harm_nothing() {
    let machine = Machine::new();
    let mut client = machine.talk(&[]).initialized();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let within: Value = serde_json::from_str(&nested(60)).unwrap();
    assert_eq!(client.call("stat", json!({ "path": within })).unwrap_err(), "too_deep");
    for levels in [200, 100_000] {
        let deep = nested(levels);
        client.write(format!("{{\"jsonrpc\":\"2.0\",\"id\":\"deep\",\"method\":\"tools/call\",\"params\":{{\"name\":\"stat\",\"arguments\":{{\"path\":{deep}}}}}}}\n").as_bytes());
        let told = client.next().unwrap();
        assert!(told.get("error").is_some() || outcome(&told).is_err(), "{told}");
        assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    }
}

#[test]
fn a_message_beyond_the_limit_ends_its_own_conversation_only() {
    let machine = Machine::new();
    let mut other = machine.talk(&[]).initialized();
    let mut client = machine.talk(&[]).initialized();
    let part = vec![b'x'; 1 << 20];
    client.write(b"{\"jsonrpc\":\"2.0\",\"id\":\"big\",\"method\":\"");
    for _ in 0..17 {
        client.write(&part);
    }
    let told = client.next().expect("it is told why");
    assert!(told["error"]["message"].as_str().unwrap().starts_with("too_large: "), "{told}");
    assert!(client.next().is_none());
    assert_eq!(other.request("ping", json!({}))["result"], json!({}));
}

#[test]
fn answers_are_bounded() {
    let machine = Machine::new();
    machine.put("big.txt", "0123456789abcde\n".repeat(5 << 16));
    let mut rows = String::from("n\n");
    for n in 0..50_010 {
        writeln!(rows, "{n}").unwrap();
    }
    machine.put("rows.csv", rows);
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    let read =
        client.call("read_file", json!({ "path": "/workspace/big.txt", "length": 1u64 << 40 })).unwrap();
    assert_eq!((read["content"].as_str().unwrap().len(), &read["eof"]), (4 << 20, &json!(false)));
    let beyond =
        client.call("read_file", json!({ "path": "/workspace/big.txt", "offset": u64::MAX })).unwrap();
    assert_eq!((beyond["content"].as_str(), &beyond["eof"]), (Some(""), &json!(true)));
    let csv = client.call("get_csv", json!({ "path": "/workspace/rows.csv", "limit": u64::MAX })).unwrap();
    assert_eq!((csv["rows"].as_array().unwrap().len(), &csv["total_rows"]), (50_000, &json!(50_010)));
    let csv = client.call("get_csv", json!({ "path": "/workspace/rows.csv", "offset": 50_000 })).unwrap();
    assert_eq!(csv["rows"].as_array().unwrap().len(), 10);
}

#[test]
fn no_more_than_32_calls_wait_in_one_conversation() {
    let machine = Machine::new();
    machine.put("people.csv", PEOPLE);
    let mut client = machine.talk(&["--ask-timeout", "10m"]).initialized();
    let ids: Vec<u64> =
        (0..40).map(|_| client.send_call("read_file", json!({ "path": "/workspace/people.csv" }))).collect();
    for _ in 0..8 {
        let told = client.next().unwrap();
        assert!(ids.contains(&told["id"].as_u64().unwrap()));
        assert_eq!(outcome(&told).unwrap_err(), "too_many_calls");
    }
    // They ask the same, so the user is asked once.
    machine.until("one ask", |m| (m.ask(&["approvals", "--json"]).as_array()?.len() == 1).then_some(()));
    client.hang_up_soon();
    machine.until("the end of their asks", |m| {
        m.ask(&["approvals", "--json"]).as_array()?.is_empty().then_some(())
    });
}

#[test]
fn a_flood_of_calls_is_refused_with_the_time_to_wait() {
    let machine = Machine::new();
    let mut client = machine.talk(&[]).initialized();
    let mut calls = 0;
    let refused = loop {
        let ids: Vec<u64> = (0..30).map(|_| client.send_call("stat", json!({}))).collect();
        let answers: Vec<Value> = ids.iter().map(|_| client.next().unwrap()).collect();
        calls += ids.len();
        if let Some(fast) = answers.into_iter().find(|a| outcome(a) == Err("too_fast".into())) {
            break fast;
        }
        assert!(calls < 1_000_000, "never refused");
    };
    assert!(calls >= 20_000, "{calls}");
    let advice = refused["result"]["_meta"]["chaperone/refusal"]["advice"].as_str().unwrap();
    assert!(advice.starts_with("wait ") && advice.ends_with(" ms"), "{advice}");
}

#[test]
fn a_cancellation_voids_the_pending_approval() {
    let machine = Machine::new();
    machine.put("people.csv", PEOPLE);
    let modern = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} });
    for meta in [None, Some(modern)] {
        let mut client = machine.talk(&["--ask-timeout", "10m"]);
        let mut params = json!({ "name": "read_file", "arguments": { "path": "/workspace/people.csv" } });
        match &meta {
            None => client = client.initialized(),
            Some(meta) => params["_meta"] = meta.clone(),
        }
        let id = client.send("tools/call", params);
        let ask = machine
            .until("the ask", |m| m.ask(&["approvals", "--json"])[0]["id"].as_str().map(str::to_owned));
        let mut cancelled = json!({ "requestId": id, "reason": "enough" });
        if let Some(meta) = &meta {
            cancelled["_meta"] = meta.clone();
        }
        client.notify("notifications/cancelled", cancelled);
        machine.until("its end", |m| m.ask(&["approvals", "--json"]).as_array()?.is_empty().then_some(()));
        let late = machine.run(&["approve", &ask]);
        assert!(!late.status.success(), "an answer after the cancellation was taken");
        assert!(String::from_utf8_lossy(&late.stderr).contains("no_such_ask"), "{late:?}");
        let why = machine.ask(&["why", "--json"]);
        assert!(why[0]["reasons"].as_array().unwrap().contains(&json!("cancelled")), "{why}");
    }
}

#[test]
fn a_client_that_dies_leaves_no_ask_behind() {
    let machine = Machine::new();
    machine.put("people.csv", PEOPLE);
    let mut client = machine.talk(&["--ask-timeout", "10m"]).initialized();
    client.send_call("read_file", json!({ "path": "/workspace/people.csv" }));
    machine.until("the ask", |m| m.ask(&["approvals", "--json"])[0]["id"].as_str().map(str::to_owned));
    client.process.kill().unwrap();
    machine.until("its end", |m| m.ask(&["approvals", "--json"]).as_array()?.is_empty().then_some(()));
    machine.until("the session's end", |m| {
        m.ask(&["sessions", "--json"])["sessions"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn hostile_json_is_never_taken_for_a_call_and_ends_no_broker() {
    let Some(folder) = cases("json", "hostile_json_is_never_taken_for_a_call_and_ends_no_broker") else {
        return;
    };
    let machine = Machine::new();
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    assert!(files.len() > 200, "{}", files.len());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).unwrap();
        // As messages of their own, however many lines they are …
        client.write(&bytes);
        client.write(b"\n");
        // … and as the arguments of a call. A line end is white space there, except within a string.
        if !bytes.contains(&b'\n') {
            client.write(b"{\"jsonrpc\":\"2.0\",\"id\":\"case\",\"method\":\"tools/call\",\"params\":{\"name\":\"list_capabilities\",\"arguments\":");
            client.write(&bytes);
            client.write(b"}}\n");
        }
        let ping = client.send("ping", json!({}));
        loop {
            let told = client.next().unwrap_or_else(|| panic!("{name} ended the conversation"));
            if told["id"] == ping {
                break;
            }
            let taken = told["id"] == "case" && outcome(&told).is_ok();
            // No arguments and empty arguments are what the tool takes.
            assert!(!taken || !name.starts_with("n_"), "{name}: {told}");
        }
    }
}

#[test]
fn no_path_of_the_traversal_lists_leaves_the_workspace() {
    let Some(folder) = cases("payloads", "no_path_of_the_traversal_lists_leaves_the_workspace") else {
        return;
    };
    let machine = Machine::new();
    machine.put("etc/passwd", "inside");
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    let mut tried = 0;
    for list in [
        "directory_traversal.txt",
        "deep_traversal.txt",
        "traversals-8-deep-exotic-encoding.txt",
        "dotdotpwn.txt",
    ] {
        let text = std::fs::read(folder.join(list)).unwrap();
        let lines: Vec<String> = text
            .split(|b| *b == b'\n')
            .map(|l| String::from_utf8_lossy(l).trim_end().to_owned())
            .filter(|l| !l.is_empty())
            .collect();
        assert!(!lines.is_empty());
        // Of the longest list a part; its lines differ in depth and target only.
        let step = if lines.len() > 5_000 { 7 } else { 1 };
        for line in lines.iter().step_by(step) {
            let line = line.replace("{FILE}", "etc/passwd");
            for path in [
                line.clone(),
                format!("/workspace/{line}"),
                format!("/workspace/etc/{}", line.trim_start_matches('/')),
            ] {
                tried += 1;
                let shown = path.clone();
                match client.call("read_file", json!({ "path": path })) {
                    Ok(read) => assert_eq!(read["content"], "inside", "{shown}"),
                    Err(code) => assert!(
                        matches!(
                            code.as_str(),
                            "bad_path"
                                | "not_found"
                                | "not_a_directory"
                                | "is_a_directory"
                                | "io_error"
                                | "credential_store"
                        ),
                        "{shown}: {code}"
                    ),
                }
            }
        }
    }
    assert!(tried > 5_000, "{tried}");
    assert_eq!(machine.run(&["audit", "verify"]).status.code(), Some(0));
}

#[test]
fn line_ends_in_names_and_content_split_no_message_and_no_record() {
    let Some(folder) = cases("payloads", "line_ends_in_names_and_content_split_no_message_and_no_record")
    else {
        return;
    };
    let machine = Machine::new();
    let mut client = machine.talk(&["--ask", "deny"]).initialized();
    let mut lines: Vec<String> = std::fs::read_to_string(folder.join("crlfinjection.txt"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(lines.len() > 5);
    for line in lines.clone() {
        lines.push(line.replace("%0d", "\r").replace("%0a", "\n").replace("%23", "#"));
    }
    lines.push("a\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}".into());
    lines.push("a\u{2028}b\u{85}c".into());
    for line in &lines {
        let name = line.trim_start_matches('/').replace('/', "_");
        let path = format!("/workspace/{name}");
        client
            .call("write_file", json!({ "path": path, "content": line }))
            .unwrap_or_else(|e| panic!("{line:?}: {e}"));
        assert_eq!(client.call("read_file", json!({ "path": path })).unwrap()["content"], *line);
        // A refusal that carries the name back.
        assert_eq!(
            client.call("read_file", json!({ "path": format!("{path}\r\nX: y") })).unwrap_err(),
            "not_found"
        );
        assert_eq!(
            client.call("read_file", json!({ "path": format!("/{line}/../x\r\nX: y") })).unwrap_err(),
            "bad_path"
        );
    }
    client.hang_up();
    let told = machine.run(&["audit", "query", "--json"]);
    assert!(told.status.success(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    let mut writes = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        writes += u64::from(record["action"] == "write" && record["phase"] == "intent");
    }
    assert_eq!(writes, lines.len() as u64, "one record for one write");
    let shown = String::from_utf8(machine.run(&["audit", "query"]).stdout).unwrap();
    assert!(!shown.lines().any(|l| l.starts_with("X: y") || l.starts_with("Set-Cookie")), "{shown}");
}

#[test]
fn what_a_listing_hides_is_not_there_for_any_tool() {
    let machine = Machine::new();
    machine.put(".ssh/id_rsa", "a key");
    machine.put("a.txt", "a");
    for (name, hides) in [("hides", true), ("shows", false)] {
        let mount = "[[mount]]\npath = \"/workspace\"\nmode = \"mediated\"";
        machine.profile(name, &format!("name = \"{name}\"\n{mount}\nhide_denied = {hides}\n"));
    }
    let hidden = json!({ "path": "/workspace/.ssh/id_rsa" });
    let (there, not_there) = ("/workspace/a.txt", "/workspace/.ssh/other");
    let moved = |from: &str, to: &str| json!({ "from": from, "to": to });
    let calls = [
        ("stat", hidden.clone()),
        ("read_file", hidden.clone()),
        ("delete", hidden.clone()),
        ("rename", moved("/workspace/.ssh/id_rsa", "/workspace/b")),
        ("rename", moved(there, not_there)),
        ("stat", json!({ "path": not_there })),
    ];
    let mut client = machine.talk(&["--profile", "hides"]).initialized();
    for (tool, arguments) in &calls {
        assert_eq!(client.call(tool, arguments.clone()).unwrap_err(), "not_found", "{tool} {arguments}");
    }
    client.call("stat", json!({ "path": there })).unwrap();
    client.hang_up();
    // Where nothing is hidden, the refusal says why.
    let mut client = machine.talk(&["--profile", "shows"]).initialized();
    assert_ne!(client.call("read_file", hidden).unwrap_err(), "not_found");
}

#[test]
fn errors_of_the_conversation_are_those_of_json_rpc() {
    let machine = Machine::new();
    let mut client = machine.talk(&[]).initialized();
    let unknown = client.request("no/such\nmethod", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    let said = unknown["error"]["message"].as_str().unwrap();
    assert!(said.contains("no/such") && !said.contains('\n'), "{said:?}");
    for params in [json!({ "name": 7 }), json!({ "name": "no_such_tool" })] {
        let wrong = client.request("tools/call", params);
        assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    }
    // What has no id that could be answered has null: no JSON, no request, several at once.
    let batch = r#"[{"jsonrpc":"2.0","id":71,"method":"ping"},{"jsonrpc":"2.0","id":72,"method":"ping"}]"#;
    let plain = r#"{"jsonrpc":"2.0","id":70,"method":"tools/call","params":5}"#;
    for (line, code) in [
        ("nothing", -32700),
        ("7", -32600),
        (r#"{"jsonrpc":"2.0","id":70}"#, -32600),
        (plain, -32600),
        (batch, -32600),
    ] {
        client.write(format!("{line}\n").as_bytes());
        let told = client.next().unwrap();
        assert_eq!((&told["id"], &told["error"]["code"]), (&Value::Null, &json!(code)), "{line}: {told}");
    }
    assert!(client.request("ping", json!({}))["result"].is_object());
}

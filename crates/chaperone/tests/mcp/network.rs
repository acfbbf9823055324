//! The network by tools: what may be reached, asking for more, and what must not leave.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Conversation, Machine};

/// A server that remembers every request and answers `hello`.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut bytes = Vec::new();
                let mut chunk = [0u8; 4096];
                while let Ok(got @ 1..) = stream.read(&mut chunk) {
                    bytes.extend_from_slice(&chunk[..got]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head
                        .to_lowercase()
                        .lines()
                        .find_map(|l| l.strip_prefix("content-length: ").map(|n| n.parse().unwrap()))
                        .unwrap_or(0usize);
                    if body.len() >= length {
                        into.lock().unwrap().push(text);
                        break;
                    }
                }
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn with_server(machine: &Machine, server: &Server, more: &str) -> Conversation {
    machine.profile(
        "web",
        &format!(
            "name = \"web\"\n[[mount]]\npath = \"/workspace\"\n[network]\nallow = [{{ host = \"127.0.0.1\", ports = [{}]{more} }}]\n",
            server.port
        ),
    );
    machine.talk(&["--profile", "web", "--ask", "deny"]).initialized()
}

#[test]
fn a_fetch_reaches_what_is_allowed_and_nothing_else() {
    let (machine, server) = (Machine::new(), Server::start());
    let mut client = with_server(&machine, &server, ", methods = [\"GET\"], paths = [\"/v1/**\"]");
    let hosts = client.call("list_allowed_hosts", json!({})).unwrap();
    let names = hosts["hosts"].as_array().unwrap().iter().map(|h| h["host"].as_str().unwrap());
    assert!(names.clone().any(|n| n == "127.0.0.1"), "{hosts}");
    assert!(names.clone().all(|n| matches!(n, "127.0.0.1" | "::1" | "localhost")), "{hosts}");
    let answer = client.call("fetch", json!({ "url": server.url("/v1/a?b=c") })).unwrap();
    assert_eq!((&answer["status"], &answer["content"]), (&json!(200), &json!("hello")));
    let saved =
        client.call("fetch", json!({ "url": server.url("/v1/a"), "save_to": "/workspace/a.txt" })).unwrap();
    assert_eq!(saved["saved_to"], "/workspace/a.txt");
    assert_eq!(client.call("read_file", json!({ "path": "/workspace/a.txt" })).unwrap()["content"], "hello");
    assert_eq!(server.count(), 2);
    std::fs::create_dir(machine.docs().join("directory")).unwrap();
    for (save_to, code) in [
        ("/elsewhere/a.txt", "bad_path"),
        ("/workspace/../a.txt", "bad_path"),
        ("/workspace/directory", "not_a_file"),
        ("/workspace/absent/a.txt", "not_found"),
    ] {
        let refused = client.call("fetch", json!({ "url": server.url("/v1/a"), "save_to": save_to }));
        assert_eq!(refused.unwrap_err(), code, "{save_to}");
    }
    assert_eq!(server.count(), 2, "what cannot be saved is not asked for");
    for (arguments, code) in [
        (json!({ "url": server.url("/v2/a") }), "request_not_allowed"),
        (json!({ "url": server.url("/v1/../v2/a") }), "request_not_allowed"),
        (json!({ "url": server.url("/v1/a"), "method": "POST" }), "request_not_allowed"),
        (json!({ "url": server.url("/v1/a"), "method": "CONNECT" }), "bad_request"),
        (json!({ "url": "http://127.0.0.1:1/v1/a" }), "host_not_allowed"),
        (json!({ "url": "http://127.0.0.2/v1/a" }), "host_not_allowed"),
        (json!({ "url": "http://2130706433:1/" }), "host_not_allowed"),
        (json!({ "url": "http://169.254.169.254/latest/meta-data/" }), "host_not_allowed"),
        (json!({ "url": "https://elsewhere.example/" }), "host_not_allowed"),
        (json!({ "url": "ftp://127.0.0.1/" }), "bad_url"),
        (json!({ "url": "/v1/a" }), "bad_url"),
        (json!({ "url": server.url("/v1/a"), "headers": { "Host": "elsewhere.example" } }), "bad_arguments"),
        (json!({ "url": server.url("/v1/a"), "headers": { "Content-Length": "1" } }), "bad_arguments"),
        (json!({ "url": server.url("/v1/a"), "headers": { "X": "a\r\nY: b" } }), "bad_arguments"),
    ] {
        assert_eq!(client.call("fetch", arguments.clone()).unwrap_err(), code, "{arguments}");
    }
    assert_eq!(server.count(), 2, "nothing refused arrived");
}

#[test]
fn a_secret_does_not_leave_and_what_was_read_is_asked_about() {
    let (machine, server) = (Machine::new(), Server::start());
    let passage = "The branch in the north closed the year with a loss of eleven percent against the plan of the board.";
    machine.put("notes.txt", passage);
    let mut client = with_server(&machine, &server, "");
    let mut send =
        |body: &str| client.call("fetch", json!({ "url": server.url("/"), "method": "POST", "body": body }));
    assert!(send("plain words").is_ok());
    assert_eq!(send("key = AKIAIOSFODNN7EXAMPLQ").unwrap_err(), "secret_leaves");
    assert!(send(passage).is_ok(), "it was not read yet");
    client.call("read_file", json!({ "path": "/workspace/notes.txt" })).unwrap();
    let backwards: String = passage.chars().rev().collect();
    for body in [passage.to_owned(), passage.to_uppercase(), backwards] {
        let refused = client.call("fetch", json!({ "url": server.url("/"), "method": "POST", "body": body }));
        assert_eq!(refused.unwrap_err(), "ask_denied", "{body}");
    }
    assert_eq!(server.count(), 2);
    // Once granted for the session, the same passage goes again; another file's does not.
    machine.put("plan.txt", "In the south the plan was met in every month but two, which the office explains by a strike at the port.");
    let mut asked = machine.talk(&["--profile", "web"]).initialized();
    for file in ["notes.txt", "plan.txt"] {
        asked.call("read_file", json!({ "path": format!("/workspace/{file}") })).unwrap();
    }
    let post = |body: &str| json!({ "url": server.url("/"), "method": "POST", "body": body });
    let id = asked.send("tools/call", json!({ "name": "fetch", "arguments": post(passage) }));
    let ask = machine
        .until("the ask", |m| Some(m.ask(&["approvals", "--json"])[0].clone()).filter(Value::is_object));
    assert_eq!(ask["sources"], json!(["/workspace/notes.txt"]), "{ask}");
    assert!(machine.run(&["approve", ask["id"].as_str().unwrap(), "--session"]).status.success());
    assert_eq!(asked.answer(id)["result"]["structuredContent"]["status"], 200);
    asked.call("fetch", post(&format!("and again: {passage}"))).unwrap();
    let id = asked.send("tools/call", json!({ "name": "fetch", "arguments": post(&std::fs::read_to_string(machine.docs().join("plan.txt")).unwrap()) }));
    let ask = machine
        .until("the ask", |m| Some(m.ask(&["approvals", "--json"])[0].clone()).filter(Value::is_object));
    assert_eq!(ask["sources"], json!(["/workspace/plan.txt"]), "{ask}");
    assert!(machine.run(&["deny", ask["id"].as_str().unwrap()]).status.success());
    assert_eq!(asked.answer(id)["result"]["isError"], true);
    let log = machine.run(&["audit", "query", "--json"]).stdout;
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("secret_leaves") && log.contains("passage_leaves"), "{log}");
    assert!(!log.contains("AKIAIOSFODNN7EXAMPLQ") && !log.contains("eleven percent"), "{log}");
}

#[test]
fn a_passage_in_small_pieces_does_not_leave_either() {
    let (machine, server) = (Machine::new(), Server::start());
    let passage = "The branch in the north closed the year with a loss of eleven percent against the plan of the board, \
                   which had been made before the strike at the port and was never brought up to date.";
    machine.put("notes.txt", passage);
    let mut client = with_server(&machine, &server, "");
    client.call("read_file", json!({ "path": "/workspace/notes.txt" })).unwrap();
    for wrapped in [false, true] {
        let before = server.count();
        let mut refused = 0;
        for piece in passage.as_bytes().chunks(8) {
            let piece = std::str::from_utf8(piece).unwrap();
            let body = if wrapped { format!("{{\"note\":\"{piece}\"}}") } else { piece.to_owned() };
            match client.call("fetch", json!({ "url": server.url("/"), "method": "POST", "body": body })) {
                Ok(_) => {}
                Err(code) => {
                    assert_eq!(code, "ask_denied");
                    refused += 1;
                }
            }
        }
        let arrived = server.count() - before;
        assert!(refused >= 4, "{refused} refused, {arrived} arrived");
    }
    // What an honest program sends in small requests goes on.
    for n in 0..40 {
        let body = json!({ "jsonrpc": "2.0", "id": n, "method": "ping" }).to_string();
        client.call("fetch", json!({ "url": server.url("/"), "method": "POST", "body": body })).unwrap();
        client.call("fetch", json!({ "url": server.url(&format!("/items?page={n}&size=50")) })).unwrap();
    }
}

#[test]
fn a_registered_document_is_recognised_though_nobody_read_it() {
    let (machine, server) = (Machine::new(), Server::start());
    let text = "The offer for the works at the harbour is three million two hundred thousand, and not a thousand less.";
    machine.ask(&["sessions", "--json"]);
    let folder = machine.docs().parent().unwrap().join("home/config/registered");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("offer.txt"), text).unwrap();
    let mut client = with_server(&machine, &server, "");
    let post = |body: &str| json!({ "url": server.url("/"), "method": "POST", "body": body });
    client.call("fetch", post("an offer of the other side")).unwrap();
    assert_eq!(client.call("fetch", post(&format!("they say: {text}"))).unwrap_err(), "ask_denied");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_host_that_a_person_grants_is_reached_until_the_time_is_over() {
    let (machine, server) = (Machine::new(), Server::start());
    // The user named the address beforehand, on another port.
    let mut client = machine.talk(&["--allow-host", "127.0.0.1:9"]).initialized();
    let refused = client.call("fetch", json!({ "url": server.url("/") }));
    assert_eq!(refused.unwrap_err(), "host_not_allowed");
    let arguments = json!({ "action": "connect", "host": "127.0.0.1", "port": server.port, "reason": "the tests need it", "seconds": 3 });
    let id = client.send("tools/call", json!({ "name": "request_elevation", "arguments": arguments }));
    let ask = machine
        .until("the ask", |m| Some(m.ask(&["approvals", "--json"])[0].clone()).filter(Value::is_object));
    assert!(ask["resource"].as_str().unwrap().contains("127.0.0.1"), "{ask}");
    assert_eq!(ask["justification"], "the tests need it");
    let request = ask["id"].as_str().unwrap();
    // It holds as long as the request names, so no answer pretends to hold longer.
    for wider in [&["--session"][..], &["--for", "1h"]] {
        let refused = machine.run(&[&["approve", request], wider].concat());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("asked_every_time"), "{refused:?}");
    }
    assert!(machine.run(&["approve", request]).status.success());
    assert_eq!(client.answer(id)["result"]["structuredContent"]["granted"], true);
    assert!(client.call("fetch", json!({ "url": server.url("/") })).is_ok());
    // One port was granted: whatever else listens there is reached by none of its names.
    let other = Server::start();
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let refused = client.call("fetch", json!({ "url": format!("http://{host}:{}/", other.port) }));
        assert_eq!(refused.unwrap_err(), "host_not_allowed", "{host}");
    }
    assert_eq!(other.count(), 0);
    let client = std::cell::RefCell::new(client);
    machine.until("the end of the grant", |_| {
        client
            .borrow_mut()
            .call("fetch", json!({ "url": server.url("/") }))
            .err()
            .filter(|e| e == "host_not_allowed")
    });
}

#[test]
fn what_is_not_public_and_wide_networks_are_refused_before_a_person_is_asked() {
    let machine = Machine::new();
    let mut client = machine.talk(&[]).initialized();
    for (host, reason) in [
        ("127.0.0.1", "private_address"),
        ("localhost", "private_address"),
        ("::1", "private_address"),
        ("10.0.0.0/24", "private_address"),
        ("169.254.169.254", "metadata_address"),
        ("8.0.0.0/7", "wide_network"),
        ("0.0.0.0/0", "private_address"),
        ("::/0", "private_address"),
    ] {
        let arguments = json!({ "action": "connect", "host": host, "reason": "so" });
        assert_eq!(client.call("request_elevation", arguments).unwrap_err(), reason, "{host}");
    }
    assert_eq!(machine.ask(&["approvals", "--json"]), json!([]));
}

#[test]
fn a_directory_that_a_user_grants_can_be_written() {
    let machine = Machine::new();
    machine.put("reports/a.csv", "a\n1\n");
    let mut client = machine.talk(&["--profile", "spreadsheet"]).initialized();
    let write = json!({ "path": "/workspace/reports/b.csv", "content": "b\n2\n" });
    assert_eq!(client.call("write_file", write.clone()).unwrap_err(), "not_permitted");
    let arguments = json!({ "action": "write", "path": "/workspace/reports/*", "reason": "a second report" });
    let id = client.send("tools/call", json!({ "name": "request_elevation", "arguments": arguments }));
    let ask =
        machine.until("the ask", |m| m.ask(&["approvals", "--json"])[0]["id"].as_str().map(str::to_owned));
    assert!(machine.run(&["approve", &ask]).status.success());
    assert_eq!(client.answer(id)["result"]["structuredContent"]["granted"], true);
    client.call("write_file", write).unwrap();
}

//! What policies are told of each kind of resource, to the letter.

use chaperone_capability::Action;
use chaperone_pipeline::access::{Entry, FileObject, NetworkResource, ObjectKind};
use chaperone_pipeline::network_facts::{NetworkFacts, RequestFacts};
use chaperone_pipeline::{AccessRequest, Resource};
use serde_json::{Value, json};

use crate::support::*;

/// The input of a request, without what differs from run to run, and with `more` in place of what it adds to all inputs.
#[track_caller]
fn is_told(world: &World, request: AccessRequest, more: Value) {
    world.begin(request);
    let mut told = world.policy.last_input();
    let told_map = told.as_object_mut().unwrap();
    assert_eq!(told_map.remove("capability").unwrap()["sub"], "agent");
    assert_eq!(told_map.remove("time").unwrap(), now(world));
    let mut expected = json!({
        "agent": "agent", "sub": "agent", "elevated": false, "mount_actions": [], "content": false,
        "verbatim": false, "inspected": false, "risk": "low",
        "resource": {
            "kind": "absent", "dev": 0, "ino": 0, "nlink": 0, "size": 0, "staged": false,
            "real_path": more["path"], "mount": null, "mode": null,
        },
        "session": {
            "id": "s1", "profile": "default", "backend": "native", "reads": "certain", "interactive": true, "attestation": "none",
            "counters": { "reads": 0, "writes": 0, "deletes": 0, "denied": 0 },
        },
    });
    for (name, value) in more.as_object().unwrap() {
        expected[name] = value.clone();
    }
    assert_eq!(told, expected);
}

const ALL: [&str; 7] = ["read", "list", "write", "append", "delete", "rename", "commit"];

#[test]
fn of_a_file_that_was_inspected() {
    let world = World::new(inspected_then(allow(&[])));
    *world.inspect.findings.lock() = vec![finding("us_ssn", "high", 3)];
    let mut request = world.read("/workspace/a.csv", b"content");
    if let Resource::File(file) = &mut request.resource {
        (file.object.dev, file.object.ino, file.object.nlink) = (1, 2, 3);
    }
    is_told(
        &world,
        request,
        json!({
            "action": "read", "path": "/workspace/a.csv", "entry": "fs", "content": true, "inspected": true,
            "mount_actions": ALL, "risk": "high",
            "resource": {
                "kind": "file", "dev": 1, "ino": 2, "nlink": 3, "size": 7, "staged": false,
                "real_path": "/workspace/a.csv", "mount": "/workspace", "mode": "mediated",
            },
            "findings": [{ "detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.5, "certainty": "likely", "count": 3, "distinct": 3 }], "unread": [],
        }),
    );
}

#[test]
fn of_a_rename_with_facts_about_the_change() {
    let world = World::new(|_| allow(&[]));
    let object = FileObject { kind: ObjectKind::Dir, staged: true, ..FileObject::ABSENT };
    let mut request = AccessRequest::file(Entry::Commit, Action::Rename, "/workspace/a".to_owned(), object);
    if let Resource::File(file) = &mut request.resource {
        file.to = Some("/workspace/b".to_owned());
        file.verbatim = true;
        file.change = Some(json!({ "op": "modify" }));
    }
    is_told(
        &world,
        request,
        json!({
            "action": "rename", "path": "/workspace/a", "to": "/workspace/b", "entry": "commit", "verbatim": true,
            "mount_actions": ALL, "change": { "op": "modify" },
            "resource": {
                "kind": "dir", "dev": 0, "ino": 0, "nlink": 0, "size": 0, "staged": true,
                "real_path": "/workspace/a", "mount": "/workspace", "mode": "mediated",
            },
        }),
    );
}

#[test]
fn of_a_request_to_a_host() {
    let world = World::new(|_| allow(&[]));
    let facts = NetworkFacts {
        allowed: true,
        source: Some("profile".to_owned()),
        reaches: Some("public"),
        request: Some(RequestFacts { tls: true, bytes: 10, passages: 1, ..RequestFacts::default() }),
        ..NetworkFacts::default()
    };
    let findings = vec![finding("email", "medium", 1)];
    is_told(
        &world,
        send(NetworkResource { facts, findings, ..post(1, 10) }),
        json!({
            "action": "request", "path": "POST https://api.example:443/v1", "entry": "net", "risk": "medium",
            "host": "api.example", "port": 443, "method": "POST", "url": "https://api.example:443/v1",
            "findings": [{ "detector": "email", "category": "pii", "severity": "medium", "confidence": 0.5, "certainty": "likely", "count": 1, "distinct": 1 }],
            "net": {
                "allowed": true, "source": "profile", "trusted": false, "reaches": "public", "named": false,
                "tls": true, "request_allowed": false, "method_named": false, "websocket": false, "bytes": 10, "passages": 1,
                "read_from": [], "registered": 0, "unread": [], "credentials": [],
            },
        }),
    );
}

#[test]
fn of_a_name_that_is_asked_for() {
    let world = World::new(|_| allow(&[]));
    let facts =
        NetworkFacts { kind: Some("TXT".to_owned()), tunnel: Some("entropy"), ..NetworkFacts::default() };
    let resource = NetworkResource {
        shown: "api.example".to_owned(),
        host: "api.example".to_owned(),
        facts,
        ..NetworkResource::default()
    };
    is_told(
        &world,
        AccessRequest::network(Action::Resolve, resource),
        json!({
            "action": "resolve", "path": "api.example", "entry": "net", "host": "api.example", "port": 0,
            "findings": [],
            "net": { "allowed": false, "trusted": false, "named": false, "tunnel": "entropy", "kind": "TXT" },
        }),
    );
}

#[test]
fn of_an_address_of_ipv6_in_brackets() {
    let world = World::new(|_| allow(&[]));
    world.begin(send(NetworkResource { host: "2001:db8::1".to_owned(), ..post(1, 10) }));
    // The capability does not name it; policy is asked all the same, for its obligations.
    assert_eq!(world.policy.last_input()["url"], "http://[2001:db8::1]:443/v1");
}

#[test]
fn of_a_tool() {
    let world = World::new(|_| allow(&[]));
    is_told(
        &world,
        tool("list_changes", 0xab),
        json!({
            "action": "tool", "path": "list_changes", "entry": "rpc", "tool": "list_changes",
            "arguments_sha256": "ab".repeat(32),
        }),
    );
}

#[test]
fn of_an_elevation() {
    let world = World::new(|_| ask(&[]));
    let mut asked = elevation(Action::Read, "/workspace/x");
    if let Resource::Elevation(wish) = &mut asked.resource {
        wish.wish = "read for 600 seconds".to_owned();
        wish.facts = json!({ "action": "read", "seconds": 600 });
    }
    is_told(
        &world,
        asked,
        json!({
            "action": "elevate", "path": "/workspace/x", "to": "read for 600 seconds", "entry": "rpc",
            "mount_actions": ALL,
            "change": { "elevate": { "action": "read", "seconds": 600 } },
            "resource": {
                "kind": "absent", "dev": 0, "ino": 0, "nlink": 0, "size": 0, "staged": false,
                "real_path": "/workspace/x", "mount": "/workspace", "mode": "mediated",
            },
        }),
    );
}

#[test]
fn of_an_answer() {
    let world = World::new(inspected_then(ask(&[chaperone_policy::Obligation::Redact])));
    let pending = world.pending(world.read("/workspace/a", b"content"));
    assert!(world.policy.last_input().get("approved").is_none());
    world.answer(pending, redact()).unwrap();
    assert_eq!(world.policy.last_input()["approved"], json!({ "effect": "ask", "redact": true }));
}

#[test]
fn of_counters() {
    let world = World::new(|_| deny(&[]));
    world.refused(change(Action::Delete, "/workspace/a"));
    world.refused(change(Action::Delete, "/workspace/b"));
    assert_eq!(world.policy.last_input()["session"]["counters"]["denied"], 1);
}

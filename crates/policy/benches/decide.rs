//! What one decision of the default pack costs. Run: `cargo bench -p chaperone-policy`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use chaperone_policy::Engine;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn input(action: &str, path: &str) -> Value {
    json!({
        "action": action, "agent": "bench", "sub": "bench", "path": path,
        "resource": { "kind": "file", "dev": 1, "ino": 1, "nlink": 1, "size": 4096, "staged": false, "real_path": path,
                      "mount": "/workspace", "mode": "mediated" },
        "mount_actions": ["read", "list", "write", "append", "delete", "rename"],
        "capability": { "jti": "x", "permissions": [{ "action": "read", "path": "/workspace/**" }] },
        "session": { "id": "x", "profile": "default", "backend": "native", "interactive": false, "attestation": "none",
                     "counters": { "reads": 1, "writes": 0, "deletes": 0, "denied": 0 } },
        "entry": "fs", "content": true, "verbatim": false, "inspected": false, "risk": "low", "time": 1_700_000_000
    })
}

#[divan::bench(args = ["read", "list", "write", "delete", "commit"])]
fn decide(bencher: divan::Bencher<'_, '_>, action: &str) {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    let input = input(action, "/workspace/reports/2026/quarter-3/sales by region.csv");
    bencher.bench_local(|| engine.decide(divan::black_box(&input)));
}

#[divan::bench]
fn decide_with_findings(bencher: divan::Bencher<'_, '_>) {
    let engine = Engine::load(Engine::builtin_sources()).unwrap();
    let mut input = input("read", "/workspace/reports/staff.csv");
    let finding =
        json!({ "detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.9, "count": 3 });
    input["inspected"] = json!(true);
    input["findings"] = json!([finding, finding, finding]);
    bencher.bench_local(|| engine.decide(divan::black_box(&input)));
}

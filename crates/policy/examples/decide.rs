//! How long one decision by the default pack takes, uncached: `decide [ROUNDS]` prints, for each kind of request, the
//! median and the 99th percentile in microseconds.

use std::time::Instant;

use chaperone_policy::{Effect, Engine};
use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(20_000), |n| n.parse())?;
    let engine = Engine::load(Engine::builtin_sources()).map_err(|p| format!("{p:?}"))?;
    let finding = json!({ "detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.9, "count": 60 });
    let requests = [
        ("read", input("read", "/workspace/reports/sales.csv", json!([])), Effect::Allow),
        (
            "read with findings",
            input("read", "/workspace/reports/employees.csv", json!([finding])),
            Effect::Ask,
        ),
        ("write", input("write", "/workspace/out/table.xlsx", json!([])), Effect::Allow),
    ];
    for (name, input, expected) in requests {
        let mut times = Vec::with_capacity(rounds);
        for round in 0..rounds + 200 {
            let begin = Instant::now();
            let decision = engine.decide(&input);
            let took = begin.elapsed();
            if decision.effect != expected {
                return Err(format!("{name}: {:?} by {}", decision.effect, decision.rule).into());
            }
            if round >= 200 {
                times.push(took);
            }
        }
        times.sort_unstable();
        let at = |quantile: f64| times.get((rounds as f64 * quantile) as usize).map_or(0, |t| t.as_nanos());
        println!("{:.1} {:.1} {name}", at(0.5) as f64 / 1e3, at(0.99) as f64 / 1e3);
    }
    Ok(())
}

/// As the pipeline asks: a resolved object of a session of the default profile.
fn input(action: &str, path: &str, findings: Value) -> Value {
    json!({ "action": action, "agent": "agent", "sub": "agent", "path": path, "content": true, "inspected": true,
            "findings": findings, "mount_actions": ["read", "list", "write", "append", "delete", "rename"],
            "object": { "kind": "file", "size": 4096, "nlink": 1, "staged": false },
            "session": { "profile": "default", "counters": { "deletes": 0 } } })
}

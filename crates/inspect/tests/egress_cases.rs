//! The cases of `$CHAPERONE_CASES/egress` that can be judged by what leaves alone; the others are listed with what they need.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use chaperone_inspect::outgoing::{Known, Outgoing, Part};
use chaperone_inspect::{Detectors, Spot};
use serde_json::Value;

/// Why a case is not decided here.
fn elsewhere(category: &str, id: &str) -> Option<&'static str> {
    if id.contains("injection") {
        return Some("instructions in text are the business of what comes in");
    }
    match category {
        "ssrf_bypass" => Some("the exit decides on addresses"),
        "response_fetch" | "response_mitm" => Some("the exit looks at answers"),
        "mcp_chain" => Some("the session remembers what was done before"),
        "domain_blocklist" => Some("the policy decides on names"),
        _ => None,
    }
}

/// The parts of a case; strings of messages are looked at one by one, and the message as it is sent.
fn parts(case: &Value, texts: &mut Vec<(Spot, Vec<u8>)>) {
    let payload = &case["payload"];
    let mut add = |spot, text: &Value| {
        if let Some(text) = text.as_str() {
            texts.push((spot, text.as_bytes().to_vec()));
        }
    };
    add(Spot::Url, &payload["url"]);
    add(Spot::Body, &payload["body"]);
    add(Spot::Body, &payload["response_body"]);
    for (_, value) in payload["headers"].as_object().into_iter().flatten() {
        add(Spot::Header("x".into()), value);
    }
    for frame in payload["frames"].as_array().into_iter().flatten() {
        add(Spot::Message, &frame["payload"]);
    }
    for message in payload["jsonrpc_messages"].as_array().into_iter().flatten() {
        texts.push((Spot::Message, message.to_string().into_bytes()));
    }
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "json") && !path.to_string_lossy().contains("schema")
        {
            out.push(path);
        }
    }
}

#[test]
fn every_case_of_what_leaves_is_decided_as_it_says() {
    let root = std::env::var_os("CHAPERONE_CASES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases"), PathBuf::from)
        .join("egress");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    if paths.is_empty() {
        println!(
            "SKIPPED every_case_of_what_leaves_is_decided_as_it_says: CHAPERONE_CASES names no folder with egress"
        );
        return;
    }
    paths.sort();
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let (mut wrong, mut passed, mut false_positives) = (Vec::new(), 0, 0);
    for path in paths {
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let (id, category) = (case["id"].as_str().unwrap(), path.parent().unwrap().file_name().unwrap());
        let category = category.to_string_lossy().replace('-', "_");
        let expected = case["expected_verdict"].as_str().unwrap();
        let mut texts = Vec::new();
        parts(&case, &mut texts);
        let parts: Vec<Part<'_>> = texts
            .iter()
            .map(|(spot, bytes)| Part { spot: spot.clone(), bytes, content_type: None })
            .collect();
        let seen = outgoing.look(&parts, &Known::default());
        let verdict = if seen.is_grave() { "block" } else { "allow" };
        let found: Vec<String> =
            seen.findings.iter().map(|f| format!("{} in {}", f.detector, f.place)).collect();
        if expected == "allow" && verdict == "block" {
            false_positives += 1;
        }
        // What must be let through must be let through here as well.
        if expected == "block"
            && verdict == "allow"
            && let Some(why) = elsewhere(&category, id)
        {
            println!("NOT HERE {id}: {why}");
            continue;
        }
        println!(
            "{} {id}: {verdict} ({})",
            if verdict == expected { "ok" } else { "WRONG" },
            found.join(", ")
        );
        if verdict == expected {
            passed += 1;
        } else {
            wrong.push(format!("{id}: {verdict}, {expected} expected"));
        }
    }
    println!("{passed} passed, {} wrong, {false_positives} false positives", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

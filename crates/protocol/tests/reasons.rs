//! The table of reason codes against the sources that give them, and against `docs/reason-codes.md`.
//!
//! To write the page anew: `UPDATE_DOCS=1 cargo test -p chaperone-protocol --test reasons`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chaperone_protocol::reason::{ENDINGS, REASONS, ReasonCode, find};

/// What a code stands behind in Rust: the first argument of a call, the first element of a list of reasons.
const RUST: &[&str] = &[
    "Failure::new(",
    "unanswered(",
    "changed(",
    ".because(",
    "WorkbookRefusal::part(",
    "Stop::refused(",
    "Stop::Conflict(",
    "Decision::denied(",
    "reasons: vec![",
    "reasons = vec![",
    "reasons = [",
    "reasons.push(",
    "Err(vec![",
    "Refused(vec![",
    "raw_os_error(), (",
    "raw_os_error(),\n            (",
];
/// The same of the causes of an end.
const CAUSES: &[&str] = &["cause: ", "over(", "ended(", "let cause = if by_signal {"];
/// Fewer found than this means that the scan itself is broken.
const AT_LEAST: usize = 200;

#[test]
fn every_code_that_the_sources_give_is_in_the_table() {
    let mut given = BTreeMap::new();
    for (path, text) in rust_sources() {
        let mut codes = after(&text, RUST);
        codes.extend(arms_of_code_functions(&text));
        if path.starts_with("crates/inspect/src/workbook") {
            codes.extend(second_of_pairs(&text));
        }
        given.extend(codes.into_iter().map(|code| (code, path.clone())));
    }
    for (path, text) in rego_sources() {
        given.extend(rego_reasons(&text).into_iter().map(|code| (code, path.clone())));
    }
    assert!(given.len() > AT_LEAST, "only {} codes were found", given.len());
    let unknown: Vec<_> = given.iter().filter(|(code, _)| find(code).is_none()).collect();
    assert!(unknown.is_empty(), "add these to crates/protocol/src/reason: {unknown:?}");
}

#[test]
fn every_code_in_the_table_is_given_by_somebody() {
    let sources: Vec<String> =
        rust_sources().into_iter().chain(rego_sources()).map(|(_, text)| text).collect();
    let somewhere = |code: &str| {
        let (whole, end_of_rule) = (format!("\"{code}\""), format!("cell.{code}\""));
        sources.iter().any(|text| text.contains(&whole) || text.contains(&end_of_rule))
    };
    let dead: Vec<&str> = all().map(|r| r.code).filter(|code| !somewhere(code)).collect();
    assert!(dead.is_empty(), "nobody gives these any more: {dead:?}");
}

#[test]
fn every_cause_of_an_end_is_in_the_table() {
    let causes: BTreeSet<String> = rust_sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("crates/cell/") || path.starts_with("crates/broker/src/session"))
        .flat_map(|(_, text)| after(&text, CAUSES))
        .collect();
    assert!(causes.contains("time") && causes.contains("memory"), "{causes:?}");
    let unknown: Vec<_> = causes.iter().filter(|c| !ENDINGS.iter().any(|e| e.code == c.as_str())).collect();
    assert!(unknown.is_empty(), "add these to ENDINGS: {unknown:?}");
}

#[test]
fn no_code_is_there_twice_and_each_has_a_plain_sentence() {
    let mut seen = BTreeSet::new();
    for reason in all() {
        assert!(seen.insert(reason.code), "{} is there twice", reason.code);
    }
    for ReasonCode { code, sentence, .. } in all().chain(ENDINGS) {
        assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{code}");
        assert!(
            sentence.len() > 8 && !sentence.contains('|') && !sentence.contains('\n'),
            "{code}: {sentence}"
        );
    }
}

#[test]
fn the_page_is_the_table() {
    let file = root().join("docs/reason-codes.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == page, "docs/reason-codes.md is out of date: run this test with UPDATE_DOCS=1");
}

/// Codes behind these openers.
fn after(text: &str, openers: &[&str]) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for opener in openers {
        for (at, _) in text.match_indices(opener) {
            codes.extend(leading_literal(&text[at + opener.len()..]));
        }
    }
    codes
}

/// The string at the beginning, when it is a code.
fn leading_literal(text: &str) -> Option<String> {
    let (code, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_code.then(|| code.to_owned())
}

/// `=> "code"` in functions that are named `code`.
fn arms_of_code_functions(text: &str) -> BTreeSet<String> {
    let bodies = text.match_indices("fn code(").filter_map(|(at, _)| text[at..].split("\n    }").next());
    bodies.flat_map(|body| after(body, &["=>"])).collect()
}

/// `("what is looked for", "code")`: the tables of what a workbook may not hold.
fn second_of_pairs(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("),")?.split_once("\", "))
        .filter_map(|(_, code)| leading_literal(code))
        .collect()
}

/// Codes in a policy: of `reasons`, and of the sets that become them.
fn rego_reasons(text: &str) -> BTreeSet<String> {
    let mut codes = after(text, &["denials contains ", "asks contains ", "reasons contains "]);
    for line in text.lines() {
        let list = line.split_once("\"reasons\": [").or_else(|| line.split_once("refusals := ["));
        let Some((list, _)) = list.and_then(|(_, rest)| rest.split_once(']')) else { continue };
        codes.extend(list.split(',').filter_map(leading_literal));
    }
    codes
}

fn all() -> impl Iterator<Item = &'static ReasonCode> {
    REASONS.iter().flat_map(|group| group.reasons)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What ships of each crate, without its tests and without the table itself.
fn rust_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for crate_dir in std::fs::read_dir(root().join("crates")).unwrap() {
        collect(&crate_dir.unwrap().path().join("src"), "rs", &mut found);
    }
    found.retain(|(path, _)| !path.contains("protocol/src/reason/") && !path.ends_with("tests.rs"));
    for (_, text) in &mut found {
        if let Some(at) = text.find("#[cfg(test)]\nmod tests {") {
            text.truncate(at);
        }
    }
    found
}

fn rego_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root().join("packs"), "rego", &mut found);
    found.retain(|(path, _)| !path.ends_with("_test.rego"));
    found
}

fn collect(dir: &Path, extension: &str, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Reason codes\n\n\
         Every code that a refusal, an alert, an error or a change can carry: what happened, and what to do instead. A refusal for a\n\
         code with ⚠ raises an alert whoever gives it; what else raises one is policy's word ([policy.md](policy.md)).\n\n\
         This page is generated from `crates/protocol/src/reason`, and a test holds the table against the sources that give the\n\
         codes: `UPDATE_DOCS=1 cargo test -p chaperone-protocol --test reasons` writes it anew.\n",
    );
    for group in REASONS {
        write!(page, "\n## {}\n{}\n\n", group.title, group.about).unwrap();
        table(&mut page, "Code", group.reasons);
    }
    page.push_str("\n## How a run ended\n`cause` in the file of `run --status-file`.\n\n");
    table(&mut page, "Cause", ENDINGS);
    page
}

fn table(page: &mut String, name: &str, reasons: &[ReasonCode]) {
    write!(page, "| {name} | What happened | What to do |\n|---|---|---|\n").unwrap();
    for ReasonCode { code, sentence, way_out, alerts } in reasons {
        let mark = if *alerts { " ⚠" } else { "" };
        let way_out = way_out.replace('|', "\\|");
        writeln!(page, "| `{code}`{mark} | {sentence} | {way_out} |").unwrap();
    }
}

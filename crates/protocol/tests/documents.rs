//! The files, tests and claims that the documents name are there: a map that names what is gone leads nowhere.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "docs/capabilities.md",
    "docs/decisions/README.md",
    "docs/exports.md",
    "docs/glossary.md",
    "docs/operator-guide.md",
    "docs/policy.md",
    "docs/threat-model.md",
    "docs/user-guide.md",
    "docs/vault.md",
];
/// What a path of the repository begins with.
const PLACES: &[&str] =
    &["acceptance/", "crates/", "docs/", "examples/", "fuzz/", "packs/", "scripts/", ".ci/"];
/// Fewer found than this means that the scan itself is broken.
const AT_LEAST: usize = 60;

#[test]
fn what_the_documents_name_is_there() {
    let mut named = 0;
    let mut gone = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for reference in code_spans(&text).chain(links(&text)) {
            if let Some(fault) = fault_of(&reference, document) {
                gone.push(format!("{document}: {fault}"));
            }
            named += usize::from(is_of_the_repository(&reference));
        }
    }
    assert!(named > AT_LEAST, "only {named} references were found");
    assert!(gone.is_empty(), "these are not there any more:\n{}", gone.join("\n"));
}

#[test]
fn every_crate_has_its_line_and_its_invariant() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let section = text.split_once(&format!("**`crates/{name}`**")).map(|(_, rest)| rest);
        let section = section.unwrap_or_else(|| panic!("crates/{name} is not on the map"));
        let section = section.split("\n\n").next().unwrap();
        let invariant = section.split_once("\nArchitecture invariant: ").map(|(_, invariant)| invariant);
        let invariant = invariant.unwrap_or_else(|| panic!("crates/{name} has no invariant"));
        let held_by: Vec<String> =
            invariant.split_once("\nHeld by ").into_iter().flat_map(|(_, by)| code_spans(by)).collect();
        let names_a_test = |by: &String| by.contains("::") && fault_of(by, "ARCHITECTURE.md").is_none();
        assert!(!held_by.is_empty() && held_by.iter().all(names_a_test), "crates/{name}: {held_by:?}");
        let first = section.split_once("Read ").map(|(_, rest)| rest.split_once("Architecture").unwrap().0);
        for file in first.into_iter().flat_map(code_spans) {
            let path = root().join("crates").join(&name).join("src").join(&file);
            assert!(path.exists(), "crates/{name} has no src/{file}");
        }
    }
}

/// A row of the threat model says what tries it, and an attempt that it names by number is there.
#[test]
fn every_threat_is_tried() {
    let attempts: String = std::fs::read_dir(root().join("acceptance/threats"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
        .collect();
    let text = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let table =
        text.split_once("| Attempt | Stopped by |\n|---|---|\n").unwrap().1.split("\n\n").next().unwrap();
    assert!(table.lines().count() > 50);
    for row in table.lines() {
        let numbered = row.split("attempt").skip(1).flat_map(|rest| {
            let end = rest.find([';', ')', '`']).unwrap_or(rest.len());
            rest[..end].split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).collect::<Vec<_>>()
        });
        let mut tried = code_spans(row).any(|span| span.contains("::") || span.starts_with("acceptance/"));
        for number in numbered {
            let is_there = attempts.contains(&format!("ttempt({number}, "))
                || attempts.contains(&format!("({number}, \""));
            assert!(is_there, "attempt {number} is not in acceptance/threats: {row}");
            tried = true;
        }
        assert!(tried, "nothing tries it: {row}");
    }
}

/// Why a reference leads nowhere; nothing where it leads somewhere, or is none.
fn fault_of(reference: &str, document: &str) -> Option<String> {
    if !is_of_the_repository(reference) {
        return None;
    }
    let (path, item) = match reference.split_once("::") {
        Some((path, item)) => (path, Some(item)),
        None => (reference, None),
    };
    let beside = root().join(document).parent().unwrap().join(path);
    let file = [root().join(path), beside].into_iter().find(|file| file.exists());
    let Some(file) = file else { return Some(format!("no {path}")) };
    let item = item?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let defined =
        [format!("fn {item}("), format!("def {item}("), format!("{item} if "), format!("{item}! {{")];
    // Tests that a macro makes are named in it.
    let by_macro = text.contains(&format!("\n    {item}"));
    (!defined.iter().any(|d| text.contains(d)) && !by_macro).then(|| format!("no {item} in {path}"))
}

fn is_of_the_repository(reference: &str) -> bool {
    let is_plain = !reference.contains([' ', '*', '<', '…', '#']) && !reference.starts_with("http");
    is_plain && (PLACES.iter().any(|place| reference.starts_with(place)) || reference.ends_with(".md"))
}

/// What stands between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = String> + '_ {
    let outside_of_blocks = text.split("```").step_by(2);
    outside_of_blocks.flat_map(|part| part.split('`').skip(1).step_by(2)).map(str::to_owned)
}

/// Where links lead, without what stands behind `#`.
fn links(text: &str) -> impl Iterator<Item = String> + '_ {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|target| target.split('#').next().unwrap_or_default().to_owned())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

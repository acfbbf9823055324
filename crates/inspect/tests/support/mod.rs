//! Documents in, findings and redacted copies out.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::LazyLock;

use chaperone_inspect::{Certainty, Detectors, Limits, Report, inspect_bytes, redact_file};

pub fn inspect(name: &str, bytes: &[u8]) -> Report {
    static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| Detectors::builtin().unwrap());
    inspect_bytes(&DETECTORS, bytes, name, &Limits::default())
}

pub fn count(report: &Report, detector: &str) -> u64 {
    report.items.iter().flat_map(|i| &i.findings).filter(|f| f.detector == detector).map(|f| f.count).sum()
}

pub fn redact(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let out = tempfile::tempfile().unwrap();
    redact_file(&Detectors::builtin().unwrap(), &file(bytes), name, None, &out, &Limits::default())
        .map_err(|e| e.to_string())?;
    Ok(read(&out))
}

pub fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub fn read(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The detectors of the findings that interrupt a read.
pub fn certain(report: &Report) -> Vec<String> {
    let findings = report.items.iter().flat_map(|i| &i.findings);
    findings.filter(|f| f.certainty == Certainty::Certain).map(|f| f.detector.clone()).collect()
}

/// How many different values of a kind the largest finding has.
pub fn values(report: &Report, detector: &str) -> u64 {
    let findings = report.items.iter().flat_map(|i| &i.findings);
    findings.filter(|f| f.detector == detector).map(|f| f.distinct).max().unwrap_or(0)
}

/// Cards that pass their check, different ones.
pub fn cards(n: u64) -> Vec<u64> {
    let passes = |card: &u64| {
        let digits: Vec<u64> = card.to_string().bytes().rev().map(|b| u64::from(b - b'0')).collect();
        let doubled = |d: u64| if d > 4 { 2 * d - 9 } else { 2 * d };
        let sum: u64 =
            digits.iter().enumerate().map(|(i, d)| if i % 2 == 1 { doubled(*d) } else { *d }).sum();
        sum.is_multiple_of(10)
    };
    (0..n).map(|i| (4_111_111_111_111_111 + i * 37_129_713..).find(passes).unwrap()).collect()
}

//! Documents in, findings and redacted copies out.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use std::fs::File;
use std::io::{Read, Seek, Write};

use chaperone_inspect::{Detectors, Limits, Report, inspect_bytes, redact_file};

pub fn inspect(name: &str, bytes: &[u8]) -> Report {
    inspect_bytes(&Detectors::builtin().unwrap(), bytes, name, &Limits::default())
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

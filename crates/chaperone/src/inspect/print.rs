//! `chaperone inspect FILE…`: one line a file or member, exit code 1 when anything was found, 2 when a file could not be inspected.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chaperone_inspect::{Item, Report};
use chaperone_worker::WorkerPool;
use rustix::fs::{MemfdFlags, OFlags};

use crate::untrusted::{self, Untrusted};

/// Inspects `paths` (`-` is standard input), prints to `out`, and with `redact` writes `NAME.redacted.EXT` beside each file.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn inspect_paths(
    workers: &WorkerPool,
    paths: &[PathBuf],
    json: bool,
    redact: bool,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let mut exit = 0;
    for path in paths {
        let name = chaperone_protocol::name_as_text(path.as_os_str().as_encoded_bytes());
        let failed = |error: String| Report {
            items: vec![Item { file: name.to_string(), findings: Vec::new(), error: Some(error) }],
            bytes: 0,
        };
        let opened = open(path);
        let mut report = match &opened {
            Ok(file) => workers.inspect(file, &name).unwrap_or_else(|e| failed(e.to_string())),
            Err(e) => failed(format!("it cannot be read: {e}")),
        };
        if redact
            && report.error().is_none()
            && let Ok(file) = &opened
            && let Err(e) = write_redacted(workers, file, path)
        {
            report.items.extend(failed(e).items);
        }
        exit = exit.max(if report.error().is_some() { 2 } else { u8::from(report.found()) });
        for item in &report.items {
            print(item, json, out)?;
        }
    }
    Ok(exit)
}

fn print(item: &Item, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", untrusted::json(&serde_json::to_string(item)?));
    }
    let file = Untrusted::new(&item.file);
    for f in &item.findings {
        writeln!(
            out,
            "{file}: {} × {} ({}, {:.2}), {}",
            f.detector,
            f.count,
            f.severity,
            f.confidence,
            Untrusted::new(&f.where_)
        )?;
    }
    match &item.error {
        Some(error) => writeln!(out, "{file}: {}", Untrusted::new(error)),
        None if item.findings.is_empty() => writeln!(out, "{file}: nothing found"),
        None => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        let mut held = File::from(rustix::fs::memfd_create("chaperone-stdin", MemfdFlags::CLOEXEC)?);
        io::copy(&mut io::stdin().lock(), &mut held)?;
        return Ok(held);
    }
    // A FIFO must not hang the opening.
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

fn write_redacted(workers: &WorkerPool, file: &File, path: &Path) -> Result<(), String> {
    let target = redacted_name(path);
    let mode = file.metadata().map_or(0o600, |m| m.mode() & 0o666);
    let out = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&target)
        .map_err(|e| format!("{} is not written: {e}", target.display()))?;
    workers.redact(file, &path.to_string_lossy(), None, &out).map(|_| ()).map_err(|e| {
        let _ = std::fs::remove_file(&target);
        e.to_string()
    })
}

fn redacted_name(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return PathBuf::from("stdin.redacted.txt");
    }
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(".redacted");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

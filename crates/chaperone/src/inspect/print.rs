//! `chaperone inspect FILE…`: one line a file or member, exit code 1 when anything was found, 2 when a file could not be inspected.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chaperone_inspect::{Item, Report};
use chaperone_worker::WorkerPool;
use rustix::fs::{MemfdFlags, OFlags};

use crate::cli::Inspect;
use crate::untrusted::{self, Untrusted};

/// Inspects the files (`-` is standard input), prints to `out`, and with `redact` writes `NAME.redacted.EXT` beside each.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn inspect_paths(workers: &WorkerPool, args: &Inspect, out: &mut dyn Write) -> io::Result<u8> {
    let inspect = |file: &File, name: &str| match args.explain {
        true => workers.explain(file, name),
        false => workers.inspect(file, name),
    };
    let mut exit = 0;
    for path in &args.files {
        let name = chaperone_protocol::name_as_text(path.as_os_str().as_encoded_bytes());
        let failed = |error: String| Report {
            items: vec![Item { file: name.to_string(), error: Some(error), ..Item::default() }],
            bytes: 0,
        };
        let opened = open(path);
        let mut report = match &opened {
            Ok(file) => inspect(file, &name).unwrap_or_else(|e| failed(e.to_string())),
            Err(e) => failed(format!("it cannot be read: {e}")),
        };
        if args.redact
            && report.error().is_none()
            && let Ok(file) = &opened
            && let Err(e) = write_redacted(workers, file, path)
        {
            report.items.extend(failed(e).items);
        }
        exit = exit.max(if report.error().is_some() { 2 } else { u8::from(report.found()) });
        for item in &report.items {
            match (args.explain, args.json) {
                (true, true) => explain_json(item, out)?,
                (true, false) => explain(item, out)?,
                (false, json) => print(item, json, out)?,
            }
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
            Untrusted::new(&f.place.to_string())
        )?;
    }
    match &item.error {
        Some(error) => writeln!(out, "{file}: {}", Untrusted::new(error)),
        None if item.findings.is_empty() => writeln!(out, "{file}: nothing found"),
        None => Ok(()),
    }
}

/// A block for each value: what for, what it is worth, where, and below it what spoke for it and against it.
fn explain(item: &Item, out: &mut dyn Write) -> io::Result<()> {
    let file = Untrusted::new(&item.file);
    for candidate in &item.candidates {
        writeln!(
            out,
            "{file}: {}: {}, {}",
            candidate.class,
            candidate.detector,
            Untrusted::new(&candidate.place.to_string())
        )?;
        for filter in &candidate.filters {
            writeln!(out, "  {}: {}", filter.name, filter.sentence)?;
        }
    }
    match &item.error {
        Some(error) => writeln!(out, "{file}: {}", Untrusted::new(error)),
        None if item.candidates.is_empty() => writeln!(out, "{file}: nothing to explain"),
        None => Ok(()),
    }
}

fn explain_json(item: &Item, out: &mut dyn Write) -> io::Result<()> {
    let mut said = serde_json::json!({ "file": item.file, "candidates": item.candidates });
    if let (Some(error), Some(object)) = (&item.error, said.as_object_mut()) {
        object.insert("error".into(), error.clone().into());
    }
    writeln!(out, "{}", untrusted::json(&said.to_string()))
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

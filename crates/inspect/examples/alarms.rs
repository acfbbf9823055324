//! How many ordinary files would raise an alarm: `alarms DIR…` prints, for each kind of finding and class, the files that have
//! one; `alarms --list DETECTOR DIR…` the files themselves; `alarms --leaving DIR…` the files that the default policy would ask about
//! or refuse as the body of a request. Files over 4 MiB, links and what cannot be read are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chaperone_inspect::outgoing::{Known, Outgoing, Part};
use chaperone_inspect::{Detectors, Finding, Limits, Spot, inspect_bytes};

const LARGEST: u64 = 4 << 20;
/// As in packs/policies/default/findings.rego.
const COMMON: [&str; 4] = ["email_address", "ip_address", "phone_number", "url"];
const BULK: u64 = 20;

fn files(at: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(at) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), into),
            Ok(kind) if kind.is_file() => into.push(entry.path()),
            _ => {}
        }
    }
}

/// What the default policy asks about or refuses in these bytes as the body of a request.
fn stopped(outgoing: &Outgoing, bytes: &[u8]) -> Vec<String> {
    let seen = outgoing.look(&[Part { spot: Spot::Body, bytes, content_type: None }], &Known::default());
    let is_common = |f: &&Finding| COMMON.contains(&f.detector.as_str());
    let grave = |f: &&Finding| f.severity != "low" && f.confidence >= 0.5 && !is_common(f);
    let mut kinds: Vec<String> = seen.findings.iter().filter(grave).map(|f| f.detector.clone()).collect();
    if seen.findings.iter().filter(is_common).map(|f| f.distinct).sum::<u64>() >= BULK {
        kinds.push("common things in bulk".into());
    }
    kinds
}

fn leaving(detectors: Detectors, files: &[PathBuf]) {
    let outgoing = Outgoing::new(detectors);
    let (mut read, mut held, mut by_kind) = (0u64, 0u64, BTreeMap::<String, u64>::new());
    for path in files {
        let Ok(bytes) = std::fs::read(path) else { continue };
        if bytes.len() as u64 > LARGEST {
            continue;
        }
        let mut kinds = stopped(&outgoing, &bytes);
        kinds.sort();
        kinds.dedup();
        read += 1;
        held += u64::from(!kinds.is_empty());
        if !kinds.is_empty() {
            println!("{}\t{}", path.display(), kinds.join(" "));
        }
        kinds.into_iter().for_each(|kind| *by_kind.entry(kind).or_default() += 1);
    }
    println!(
        "{read} files, {held} asked about or refused, {:.2} of 1,000",
        held as f64 * 1000.0 / read.max(1) as f64
    );
    by_kind.into_iter().for_each(|(kind, n)| println!("{n:7} {kind}"));
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let listed = (arguments.first().is_some_and(|a| a == "--list") && arguments.len() > 1).then(|| {
        arguments.remove(0);
        arguments.remove(0)
    });
    let detectors = match Detectors::builtin() {
        Ok(detectors) => detectors,
        Err(e) => return eprintln!("{e}"),
    };
    let mut found = Vec::new();
    let leaves = arguments.first().is_some_and(|a| a == "--leaving");
    arguments.iter().skip(usize::from(leaves)).for_each(|a| files(Path::new(a), &mut found));
    if leaves {
        return leaving(detectors, &found);
    }
    let (mut read, mut by_kind, mut alarmed) =
        (0u64, BTreeMap::<(String, String), u64>::new(), BTreeMap::<String, u64>::new());
    for path in &found {
        if std::fs::metadata(path).map_or(true, |m| m.len() > LARGEST) {
            continue;
        }
        let Ok(bytes) = std::fs::read(path) else { continue };
        read += 1;
        let report = inspect_bytes(&detectors, &bytes, &path.to_string_lossy(), &Limits::default());
        let mut kinds: Vec<(String, String)> = report
            .items
            .iter()
            .flat_map(|i| &i.findings)
            .map(|f| (f.certainty.to_string(), f.detector.clone()))
            .collect();
        if report.error().is_some() {
            kinds.push(("error".into(), report.error().unwrap_or_default().chars().take(60).collect()));
        }
        kinds.sort();
        kinds.dedup();
        let mut classes: Vec<String> = kinds.iter().map(|k| k.0.clone()).collect();
        classes.dedup();
        for class in classes {
            *alarmed.entry(class).or_default() += 1;
        }
        if let Some(name) = &listed {
            if let Some(error) = report.error().filter(|_| name == "error") {
                println!("error\t{}\t{error}", path.display());
            }
            for item in &report.items {
                for f in
                    item.findings.iter().filter(|f| f.detector == *name || f.certainty.to_string() == *name)
                {
                    println!(
                        "{}\t{}\t{}\t{}\t{}x{}\t{}",
                        f.certainty, f.detector, f.confidence, item.file, f.count, f.distinct, f.place
                    );
                }
            }
        }
        for kind in kinds {
            *by_kind.entry(kind).or_default() += 1;
        }
    }
    println!("{read} files");
    for (class, n) in alarmed {
        println!("{class}: {n} files, {:.2} of 1,000", n as f64 * 1000.0 / read.max(1) as f64);
    }
    let mut by_kind: Vec<_> = by_kind.into_iter().collect();
    by_kind.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for ((class, kind), n) in by_kind.into_iter().take(60) {
        println!("{n:7} {class} {kind}");
    }
}

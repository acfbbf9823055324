//! The auditor's check of a whole directory; it needs the verifier key and nothing secret.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::layout::{self, Record, WIDTH};
use crate::model::{Leaf, Phase, Source};
use crate::tree::Tree;
use crate::{Checkpoint, LogError, payload};

/// The four verdicts, in the shape of `audit verify --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub integrity: &'static str,
    pub append_only: &'static str,
    pub completeness: &'static str,
    pub freshness: &'static str,
    pub size: u64,
    pub problems: Vec<String>,
}

/// What the auditor holds against the directory.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions<'a> {
    /// The auditor's own earlier checkpoint.
    pub earlier: Option<&'a str>,
    pub now_ms: u64,
    /// The last record may be at most this old; `None` for any age.
    pub fresh_within_ms: Option<u64>,
    /// The vault's last signed size and root.
    pub trusted_last: Option<(u64, [u8; 32])>,
}

/// Reads every byte below `dir` but the lock. A concurrent writer may make it fail: call it again.
pub fn verify(dir: &Path, vkey: &str, options: &VerifyOptions<'_>) -> Result<Verdict, LogError> {
    let mut bad = Vec::new();
    let mut known = BTreeSet::from(["lock".to_owned()]);
    let mut tree = Tree::load(dir, 0)?;
    let mut gaps = Gaps::default();
    let numbers = layout::pending_numbers(dir)?;
    let first = numbers.first().copied().unwrap_or_else(|| {
        bad.push("pending: the current segment is missing".into());
        u64::MAX
    });
    for n in 0..first {
        let (e, p) = (layout::entries(n), layout::payloads(n));
        if !dir.join(&e).exists() {
            if first != u64::MAX {
                bad.push(format!("{e}: missing"))
            }
            break;
        }
        let records = layout::read(dir, &e)
            .ok()
            .zip(layout::read(dir, &p).ok())
            .and_then(|(e, p)| layout::unbundle(&e, &p));
        match records {
            Some(records) => check(&records, &mut tree, &mut gaps, &mut bad),
            None => {
                bad.push(format!("{e} or {p}: malformed"));
                break;
            }
        }
        known.extend([e, p]);
    }
    for (i, &n) in numbers.iter().enumerate() {
        let name = layout::pending(n);
        let bytes = layout::read(dir, &name)?;
        let seg = layout::read_segment(&bytes);
        let short = seg.records.len() < WIDTH && i + 1 < numbers.len();
        if n != first + i as u64
            || seg.good != bytes.len()
            || seg.records.len() > WIDTH
            || short
            || seg.synced > tree.size + seg.records.len() as u64
        {
            bad.push(format!("{name}: damaged or incomplete"));
        }
        check(&seg.records, &mut tree, &mut gaps, &mut bad);
        known.insert(name);
        // A crash while publishing leaves the tile beside its segment: then they must agree.
        let (entries, payloads) = layout::bundle(&seg.records);
        for (name, data) in [(layout::entries(n), entries), (layout::payloads(n), payloads)] {
            same(dir, name, &data, false, &mut known, &mut bad);
        }
    }
    for ((level, n), data) in &tree.fresh {
        let ends = (n + 1) << (8 * u32::from(*level));
        same(dir, layout::hash_tile(*level, *n), data, ends <= first, &mut known, &mut bad);
    }
    let mut signed = 0;
    match layout::read(dir, "checkpoint").and_then(|t| Checkpoint::open(&t, vkey)) {
        Ok(c) => {
            signed = c.size;
            extends(&tree, c.size, c.root, "checkpoint", &mut bad)
        }
        Err(_) if tree.size == 0 && !dir.join("checkpoint").exists() => {}
        Err(e) => bad.push(format!("checkpoint: {e}")),
    }
    known.insert("checkpoint".into());
    if let Some((size, root)) = options.trusted_last {
        extends(&tree, size, root, "the vault's last signature", &mut bad);
        if signed > size {
            bad.push("checkpoint: newer than the vault's last signature".into())
        }
    }
    stray(dir, dir, &known, &mut bad)?;
    let integrity = if bad.is_empty() { "ok" } else { "failed" };
    let append_only = match options.earlier {
        None => "not_checked",
        Some(text) => {
            let before = bad.len();
            match Checkpoint::open(text.as_bytes(), vkey) {
                Ok(c) => extends(&tree, c.size, c.root, "the earlier checkpoint", &mut bad),
                Err(e) => bad.push(format!("the earlier checkpoint: {e}")),
            }
            if bad.len() == before { "ok" } else { "failed" }
        }
    };
    let oldest = options.fresh_within_ms.map(|ms| crate::rfc3339_millis(options.now_ms.saturating_sub(ms)));
    let freshness = if oldest.is_none_or(|o| gaps.last >= o) { "ok" } else { "stale" };
    let completeness = if gaps.problems.is_empty() { "ok" } else { "gaps" };
    bad.append(&mut gaps.problems);
    Ok(Verdict { integrity, append_only, completeness, freshness, size: tree.size, problems: bad })
}

fn same(
    dir: &Path,
    name: String,
    data: &[u8],
    required: bool,
    known: &mut BTreeSet<String>,
    bad: &mut Vec<String>,
) {
    match layout::read(dir, &name) {
        Ok(found) if found == data => {}
        Err(_) if !required && !dir.join(&name).exists() => {}
        _ => bad.push(format!("{name}: does not match its records")),
    }
    known.insert(name);
}

#[derive(Default)]
struct Gaps {
    next: BTreeMap<(Source, String), u64>,
    open: BTreeSet<u64>,
    last: String,
    problems: Vec<String>,
}

fn check(records: &[Record], tree: &mut Tree, gaps: &mut Gaps, bad: &mut Vec<String>) {
    for record in records {
        let seq = tree.size;
        tree.push(&record.leaf);
        let Some(leaf) = Leaf::from_bytes(&record.leaf).filter(|l| l.seq == seq) else {
            bad.push(format!("record {seq}: not a canonical leaf in its place"));
            continue;
        };
        let sealed = (!record.sealed.is_empty()).then(|| payload::digest(&record.sealed));
        if sealed != leaf.sealed || leaf.sealed.is_some() != leaf.commitment.is_some() {
            bad.push(format!("record {seq}: its payload is missing or changed"));
        }
        if let Some(number) = leaf.entry.source_seq {
            let next = gaps.next.entry((leaf.entry.source, leaf.entry.session.clone())).or_default();
            if number != *next {
                gaps.problems.push(format!(
                    "record {seq}: source {:?} jumps from {next} to {number}",
                    leaf.entry.source
                ));
            }
            *next = number + 1;
        }
        match (leaf.entry.phase, leaf.entry.intent) {
            (Phase::Intent, _) => drop(gaps.open.insert(seq)),
            (_, Some(intent)) => drop(gaps.open.remove(&intent)),
            _ => {}
        }
        if leaf.entry.action == "log_opened" && leaf.entry.source == Source::Log && !gaps.open.is_empty() {
            gaps.problems.push(format!("record {seq}: opened with intents left open: {:?}", gaps.open));
            gaps.open.clear();
        }
        gaps.last = leaf.time;
    }
}

fn extends(tree: &Tree, size: u64, root: [u8; 32], what: &str, bad: &mut Vec<String>) {
    if size > tree.size {
        bad.push(format!("{what} covers {size} records, the log has {}", tree.size));
    } else if tree.root(size).ok() != Some(root) {
        bad.push(format!("{what}: the first {size} records are not those that were signed"));
    }
}

fn stray(dir: &Path, folder: &Path, known: &BTreeSet<String>, bad: &mut Vec<String>) -> Result<(), LogError> {
    for item in std::fs::read_dir(folder).map_err(|e| LogError::io(folder, e))?.flatten() {
        let path = item.path();
        if item.file_type().map_err(|e| LogError::io(&path, e))?.is_dir() {
            stray(dir, &path, known, bad)?;
        } else if !path
            .strip_prefix(dir)
            .ok()
            .and_then(Path::to_str)
            .is_some_and(|p| known.contains(p) || layout::is_temporary(p))
        {
            bad.push(format!("{}: an unknown file", path.display()));
        }
    }
    Ok(())
}

//! The auditor's check of a whole directory; it needs the verifier key and nothing secret.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::layout::{self, Record, Segment, WIDTH};
use crate::model::{Leaf, Phase, Source};
use crate::tree::Tree;
use crate::{Checkpoint, LogError, payload};

/// How often, and how much later, what is being written is read again before it counts as damaged.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(5);

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

/// Reads every byte below `dir` but the lock. For a log that may be written meanwhile: [`Look`].
///
/// # Errors
/// What of it cannot be read.
pub fn verify(dir: &Path, vkey: &str, options: &VerifyOptions<'_>) -> Result<Verdict, LogError> {
    Look::at(dir)?.verify(vkey, options)
}

/// A log as it was when the check began: what is written afterwards only adds to it. Taken before the vault is asked what it
/// signed last, which is that or more.
#[derive(Debug)]
pub struct Look {
    dir: PathBuf,
    checkpoint: Result<Vec<u8>, LogError>,
    has_checkpoint: bool,
    files: Vec<PathBuf>,
}

impl Look {
    /// # Errors
    /// A directory of it that cannot be listed.
    pub fn at(dir: &Path) -> Result<Self, LogError> {
        let (checkpoint, mut files) = (layout::read(dir, "checkpoint"), Vec::new());
        list(dir, &mut files)?;
        let has_checkpoint = dir.join("checkpoint").exists();
        Ok(Self { dir: dir.to_owned(), checkpoint, has_checkpoint, files })
    }

    /// The check of [`verify`].
    ///
    /// # Errors
    /// What of it cannot be read.
    pub fn verify(self, vkey: &str, options: &VerifyOptions<'_>) -> Result<Verdict, LogError> {
        let Self { dir, checkpoint, has_checkpoint, files } = self;
        let dir = dir.as_path();
        let mut read = Read::new(dir)?;
        let first = read.all(dir)?;
        let Read { tree, mut gaps, mut bad, mut known } = read;
        for ((level, n), data) in &tree.fresh {
            let ends = (n + 1) << (8 * u32::from(*level));
            same(dir, layout::hash_tile(*level, *n), data, ends <= first, &mut known, &mut bad);
        }
        let mut signed = 0;
        match checkpoint.and_then(|t| Checkpoint::open(&t, vkey)) {
            Ok(c) => {
                signed = c.size;
                extends(&tree, c.size, c.root, "checkpoint", &mut bad)
            }
            Err(_) if tree.size == 0 && !has_checkpoint => {}
            Err(e) => bad.push(format!("checkpoint: {e}")),
        }
        known.insert("checkpoint".into());
        if let Some((size, root)) = options.trusted_last {
            extends(&tree, size, root, "the vault's last signature", &mut bad);
            if signed > size {
                bad.push("checkpoint: newer than the vault's last signature".into())
            }
        }
        stray(dir, &files, &known, &mut bad);
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
        let oldest =
            options.fresh_within_ms.map(|ms| crate::rfc3339_millis(options.now_ms.saturating_sub(ms)));
        let freshness = if oldest.is_none_or(|o| gaps.last >= o) { "ok" } else { "stale" };
        let completeness = if gaps.problems.is_empty() { "ok" } else { "gaps" };
        bad.append(&mut gaps.problems);
        Ok(Verdict { integrity, append_only, completeness, freshness, size: tree.size, problems: bad })
    }
}

/// What was read so far, in order.
struct Read {
    tree: Tree,
    gaps: Gaps,
    bad: Vec<String>,
    known: BTreeSet<String>,
}

impl Read {
    fn new(dir: &Path) -> Result<Self, LogError> {
        let known = BTreeSet::from(["lock".to_owned()]);
        Ok(Self { tree: Tree::load(dir, 0)?, gaps: Gaps::default(), bad: Vec::new(), known })
    }

    /// Every record, and the number of the first tile that was not published when that began.
    fn all(&mut self, dir: &Path) -> Result<u64, LogError> {
        let mut numbers = layout::pending_numbers(dir)?;
        for _ in 0..TRIES {
            if !numbers.is_empty() {
                break;
            }
            // The one segment was made in place of another while they were listed.
            numbers = layout::pending_numbers(dir)?;
        }
        let first = numbers.first().copied().unwrap_or_else(|| {
            self.bad.push("pending: the current segment is missing".into());
            u64::MAX
        });
        for n in 0..first {
            let e = layout::entries(n);
            if !dir.join(&e).exists() {
                if first != u64::MAX {
                    self.bad.push(format!("{e}: missing"))
                }
                break;
            }
            if !self.published(dir, n) {
                self.bad.push(format!("{e} or {}: malformed", layout::payloads(n)));
                break;
            }
        }
        let mut next = first;
        for &n in &numbers {
            // Published while the segments were listed.
            while next < n && self.published(dir, next) {
                next += 1;
            }
            let is_last = numbers.last() == Some(&n);
            match segment(dir, n, is_last) {
                // Published since.
                Err(_) if next == n && !dir.join(layout::pending(n)).exists() && self.published(dir, n) => {}
                Err(error) => return Err(error),
                Ok((length, seg)) => self.segment(dir, n, n == next, is_last, length, &seg),
            }
            next = n + 1;
        }
        Ok(first)
    }

    fn published(&mut self, dir: &Path, n: u64) -> bool {
        let (e, p) = (layout::entries(n), layout::payloads(n));
        let both = layout::read(dir, &e).ok().zip(layout::read(dir, &p).ok());
        let Some(records) = both.and_then(|(e, p)| layout::unbundle(&e, &p)) else { return false };
        check(&records, &mut self.tree, &mut self.gaps, &mut self.bad);
        self.known.extend([e, p]);
        true
    }

    fn segment(&mut self, dir: &Path, n: u64, in_place: bool, is_last: bool, length: usize, seg: &Segment) {
        let name = layout::pending(n);
        if !in_place
            || seg.good != length
            || seg.records.len() > WIDTH
            || seg.records.len() < WIDTH && !is_last
            || seg.synced > self.tree.size + seg.records.len() as u64
        {
            self.bad.push(format!("{name}: damaged or incomplete"));
        }
        check(&seg.records, &mut self.tree, &mut self.gaps, &mut self.bad);
        self.known.insert(name);
        // A crash while publishing leaves the tile beside its segment: then they must agree.
        let (entries, payloads) = layout::bundle(&seg.records);
        for (name, data) in [(layout::entries(n), entries), (layout::payloads(n), payloads)] {
            same(dir, name, &data, false, &mut self.known, &mut self.bad);
        }
    }
}

/// A segment and its length in bytes. The end of the newest may be half there while it is written.
fn segment(dir: &Path, n: u64, is_last: bool) -> Result<(usize, Segment), LogError> {
    let mut tries = 0;
    loop {
        let bytes = layout::read(dir, &layout::pending(n))?;
        let seg = layout::read_segment(&bytes);
        tries += 1;
        if seg.good == bytes.len() || !is_last || tries > TRIES {
            return Ok((bytes.len(), seg));
        }
        std::thread::sleep(BETWEEN);
    }
}

fn same(
    dir: &Path,
    name: String,
    data: &[u8],
    required: bool,
    known: &mut BTreeSet<String>,
    bad: &mut Vec<String>,
) {
    // One that comes while it is looked for is there at the second look.
    match layout::read(dir, &name).or_else(|_| layout::read(dir, &name)) {
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

/// Every file below a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), LogError> {
    for item in std::fs::read_dir(folder).map_err(|e| LogError::io(folder, e))?.flatten() {
        let path = item.path();
        match item.file_type() {
            Ok(kind) if kind.is_dir() => list(&path, files)?,
            Ok(_) => files.push(path),
            // It was removed since.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(LogError::io(&path, e)),
        }
    }
    Ok(())
}

/// What was there when the check began, is there still, and belongs to nothing.
fn stray(dir: &Path, files: &[PathBuf], known: &BTreeSet<String>, bad: &mut Vec<String>) {
    for path in files {
        let name = path.strip_prefix(dir).ok().and_then(Path::to_str);
        if !name.is_some_and(|name| known.contains(name) || layout::is_temporary(name))
            && path.symlink_metadata().is_ok()
        {
            bad.push(format!("{}: an unknown file", path.display()));
        }
    }
}

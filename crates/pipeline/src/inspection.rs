//! Step 6: the exact bytes that were looked at are the bytes that are served.
//!
//! A file is copied into a sealed snapshot, the snapshot is inspected, and the snapshot is what the agent reads.
//! What is known of a content stays known by its SHA-256, so an unchanged file is inspected once.

use std::collections::BTreeSet;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chaperone_inspect::outgoing::Outgoing;
use chaperone_inspect::{Finding, Report, inspect_plain};
use chaperone_worker::{InspectError, WorkerPool};
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::access::FileObject;
use crate::ports::{Inspect, Vault};
pub use crate::snapshots::Inspected;
use crate::snapshots::{Released, Snapshots, too_much};
use chaperone_protocol::Failure;

/// Contents whose findings are remembered, without their bytes.
const KNOWN: usize = 16_384;
/// Largest plain file that is scanned without a worker, in bytes.
const SCANNED_HERE: u64 = 256 * 1024;
/// Largest file that can be inspected and therefore read through inspection.
const MAX_INSPECTED: u64 = 64 << 30;
/// Different reasons why something could not be looked into that are kept of one content.
pub(crate) const MOST_UNREAD: usize = 4;
/// How the errors of an inspection begin; what follows is the reason.
const REFUSED: &str = "cannot be inspected: ";

#[derive(Debug)]
pub struct Inspection {
    /// Holds the detectors, for what leaves and for everything else.
    outgoing: Arc<Outgoing>,
    workers: WorkerPool,
    vault: Arc<dyn Vault>,
    by_content: Mutex<LruCache<[u8; 32], Seen>>,
}

/// What is in a content, and why it is not all.
#[derive(Debug, Clone)]
struct Seen {
    findings: Arc<[Finding]>,
    unread: Arc<[String]>,
}

impl Inspection {
    #[must_use]
    pub fn new(outgoing: Arc<Outgoing>, workers: WorkerPool, vault: Arc<dyn Vault>) -> Self {
        let known = NonZeroUsize::new(KNOWN).unwrap_or(NonZeroUsize::MIN);
        Self { outgoing, workers, vault, by_content: Mutex::new(LruCache::new(known)) }
    }

    /// What is in a file, and whether that stays so: a worker that was lost says nothing of the next one.
    fn look(&self, file: &File, name: &str) -> Result<(Seen, bool), Failure> {
        let report = match self.plain(file, name)? {
            Some(report) => report,
            None => match self.workers.inspect(file, name) {
                Ok(report) => report,
                Err(e @ InspectError::Start(_)) => return Err(cannot(&e)),
                Err(e) => {
                    let unread = Arc::new([e.to_string()]);
                    return Ok((Seen { findings: Arc::new([]), unread }, false));
                }
            },
        };
        let mut failure = None;
        let report = report.fingerprinted(|sha256| match self.vault.fingerprint(sha256) {
            Ok(text) => text,
            Err(e) => {
                failure = Some(e);
                String::new()
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        let (mut findings, mut unread) = (Vec::new(), BTreeSet::new());
        for item in report.items {
            // One more than are kept says that there are others.
            if let Some(error) = item.error.filter(|_| unread.len() <= MOST_UNREAD) {
                unread.insert(error.strip_prefix(REFUSED).unwrap_or(&error).to_owned());
            }
            findings.extend(item.findings);
        }
        Ok((Seen { findings: findings.into(), unread: unread.into_iter().collect() }, true))
    }

    /// A small file that needs no parser is scanned here: changing to another process costs more than the scan.
    fn plain(&self, file: &File, name: &str) -> Result<Option<Report>, Failure> {
        let len = file.metadata().map_err(|e| cannot(&e))?.len();
        if len > SCANNED_HERE {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(|e| cannot(&e))?;
        Ok(inspect_plain(self.outgoing.detectors(), &bytes, name))
    }
}

impl Inspect for Inspection {
    fn inspect(
        &self,
        file: &File,
        object: &FileObject,
        name: &str,
        snapshots: &Snapshots,
    ) -> Result<Arc<Inspected>, Failure> {
        if !object.staged
            && let Some(known) = snapshots.version(object)
        {
            return Ok(known);
        }
        let taken =
            snapshots.take(file, MAX_INSPECTED).map_err(|e| too_much(&e).unwrap_or_else(|| cannot(&e)))?;
        let remembered = self.by_content.lock().get(&taken.sha256).cloned();
        let (seen, lasts) = match remembered {
            Some(seen) => (seen, true),
            None => self.look(&taken.file, name)?,
        };
        if lasts {
            self.by_content.lock().put(taken.sha256, seen.clone());
        }
        let Seen { findings, unread } = seen;
        let seen = Inspected::new(taken.sha256, taken.len, findings, taken.file).with_unread(unread);
        let seen = Arc::new(seen);
        if lasts && !object.staged && unchanged(file, object) {
            snapshots.keep(*object, &seen);
        }
        Ok(seen)
    }

    fn redacted(&self, seen: &Inspected, name: &str, snapshots: &Snapshots) -> Result<Released, Failure> {
        if let Some(known) = snapshots.redaction(&seen.sha256) {
            return Ok(known);
        }
        let cannot =
            |e: &dyn std::error::Error| Failure::new("cannot_redact", format!("it cannot be redacted: {e}"));
        let of_taking = |e: std::io::Error| too_much(&e).unwrap_or_else(|| cannot(&e));
        let out = snapshots.make(seen.len).map_err(of_taking)?;
        self.workers.redact(&seen.file, name, &out).map_err(|e| cannot(&e))?;
        let taken = snapshots.take(&out, MAX_INSPECTED).map_err(of_taking)?;
        let released = Released { version: taken.sha256, len: taken.len, file: Arc::new(taken.file) };
        snapshots.keep_redaction(seen.sha256, &released);
        Ok(released)
    }
}

impl Inspected {
    /// What policy sees of the findings: no text, no place.
    #[must_use]
    pub fn for_policy(&self) -> Value {
        for_policy(&self.findings)
    }
}

/// What policy sees of findings: no text, no place.
#[must_use]
pub fn for_policy(findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|f| {
            json!({ "detector": f.detector, "category": f.category, "severity": f.severity,
                        "confidence": f.confidence, "certainty": f.certainty, "count": f.count, "distinct": f.distinct })
        })
        .collect()
}

/// Whether an open file still is the version that was resolved.
#[must_use]
pub fn unchanged(file: &impl AsFd, object: &FileObject) -> bool {
    rustix::fs::fstat(file).is_ok_and(|s| {
        s.st_dev == object.dev
            && s.st_ino == object.ino
            && u64::try_from(s.st_size) == Ok(object.size)
            && nanoseconds(s.st_mtime, s.st_mtime_nsec.into()) == object.mtime_ns
            && nanoseconds(s.st_ctime, s.st_ctime_nsec.into()) == object.ctime_ns
    })
}

/// Seconds and nanoseconds as one number.
#[must_use]
pub fn nanoseconds(seconds: i64, nanoseconds: i128) -> i128 {
    i128::from(seconds) * 1_000_000_000 + nanoseconds
}

fn cannot(error: &dyn std::error::Error) -> Failure {
    Failure::new("cannot_inspect", format!("it cannot be inspected: {error}"))
        .advise("ask the user to look at the file, or to hand over a plain copy")
}

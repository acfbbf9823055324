//! Step 6: the exact bytes that were looked at are the bytes that are served.
//!
//! A file is copied into a sealed snapshot, the snapshot is inspected, and the snapshot is what the agent reads.
//! What is known of a content stays known by its SHA-256 and by how its name makes it be read, so an unchanged file is
//! inspected once, and a table that is called otherwise is another one.

use std::collections::BTreeSet;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chaperone_inspect::outgoing::Outgoing;
use chaperone_inspect::{Certainty, Effects, Finding, PlaceholderKey, Report, Signs, endings, inspect_plain};
use chaperone_worker::{InspectError, WorkerPool};
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::access::FileObject;
use crate::ports::{Inspect, Vault};
pub use crate::snapshots::{Inspected, Restored};
use crate::snapshots::{Released, Snapshots, too_much};
use crate::verdicts::Verdicts;
use chaperone_protocol::Failure;

/// Contents whose findings are remembered, without their bytes.
const KNOWN: usize = 16_384;
/// Largest plain file that is scanned without a worker, in bytes.
const SCANNED_HERE: u64 = 256 * 1024;
/// Largest file that can be inspected and therefore read through inspection.
const MAX_INSPECTED: u64 = 64 << 30;
/// Different reasons why something could not be looked into that are kept of one content.
pub(crate) const MOST_UNREAD: usize = 4;
/// Bytes of a document's text that are taken, whatever a worker says.
const MOST_OF_TEXT: u64 = 8 << 20;
/// How the errors of an inspection begin; what follows is the reason.
const REFUSED: &str = "cannot be inspected: ";
/// The code of a change whose placeholders cannot be followed.
const CANNOT_RESTORE: &str = "cannot_restore";

/// SHA-256 of a content, and the endings of the name that it was read by.
type ReadAs = ([u8; 32], String);

#[derive(Debug)]
pub struct Inspection {
    /// Holds the detectors, for what leaves and for everything else.
    outgoing: Arc<Outgoing>,
    workers: WorkerPool,
    vault: Arc<dyn Vault>,
    by_content: Mutex<LruCache<ReadAs, Seen>>,
    verdicts: Arc<Verdicts>,
}

/// What is in a content, and why it is not all.
#[derive(Debug, Clone)]
struct Seen {
    findings: Arc<[Finding]>,
    unread: Arc<[String]>,
}

impl Inspection {
    #[must_use]
    pub fn new(
        outgoing: Arc<Outgoing>,
        workers: WorkerPool,
        vault: Arc<dyn Vault>,
        verdicts: Arc<Verdicts>,
    ) -> Self {
        let known = NonZeroUsize::new(KNOWN).unwrap_or(NonZeroUsize::MIN);
        Self { outgoing, workers, vault, by_content: Mutex::new(LruCache::new(known)), verdicts }
    }

    /// What is in a content, and whether that stays so. Of one in which nothing was found, that is known for good.
    fn seen(&self, file: &File, name: &str, read_as: &ReadAs) -> Result<(Seen, bool), Failure> {
        if let Some(seen) = self.by_content.lock().get(read_as) {
            return Ok((seen.clone(), true));
        }
        let nothing = [self.verdicts.tag("nothing found", &[&read_as.0, read_as.1.as_bytes()])];
        if self.verdicts.known(&nothing) == [true] {
            return Ok((Seen { findings: Arc::new([]), unread: Arc::new([]) }, true));
        }
        let (seen, lasts) = self.look(file, name)?;
        if lasts && seen.findings.is_empty() && seen.unread.is_empty() {
            self.verdicts.keep(&nothing);
        }
        Ok((seen, lasts))
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
            && let Some(known) = snapshots.version(object, name)
        {
            return Ok(known);
        }
        let taken =
            snapshots.take(file, MAX_INSPECTED).map_err(|e| too_much(&e).unwrap_or_else(|| cannot(&e)))?;
        let read_as = (taken.sha256, endings(name));
        let (seen, lasts) = self.seen(&taken.file, name, &read_as)?;
        if lasts {
            self.by_content.lock().put(read_as, seen.clone());
        }
        let Seen { findings, unread } = seen;
        let seen = Inspected::new(taken.sha256, taken.len, findings, taken.file).with_unread(unread);
        let seen = Arc::new(seen);
        if lasts && !object.staged && unchanged(file, object) {
            snapshots.keep((*object, name), &seen);
        }
        Ok(seen)
    }

    fn redacted(
        &self,
        seen: &Inspected,
        name: &str,
        (session, snapshots): (&str, &Snapshots),
    ) -> Result<Released, Failure> {
        if let Some(known) = snapshots.redaction(&seen.sha256, name) {
            return Ok(known);
        }
        let cannot =
            |e: &dyn std::error::Error| Failure::new("cannot_redact", format!("it cannot be redacted: {e}"));
        let of_taking = |e: std::io::Error| too_much(&e).unwrap_or_else(|| cannot(&e));
        let out = snapshots.make(seen.len).map_err(of_taking)?;
        let key = PlaceholderKey::new(&self.session_secret(session)?, &seen.sha256);
        self.workers.redact(&seen.file, name, Some(key), &out).map_err(|e| cannot(&e))?;
        let taken = snapshots.take(&out, MAX_INSPECTED).map_err(of_taking)?;
        let released = Released { version: taken.sha256, len: taken.len, file: Arc::new(taken.file) };
        snapshots.hands_out_a_redaction().map_err(|e| cannot(&e))?;
        snapshots.keep_redaction((seen.sha256, name), &released);
        Ok(released)
    }

    fn text(&self, file: &File, name: &str) -> Vec<u8> {
        told(|out| self.workers.text(file, name, out).ok()).unwrap_or_default()
    }

    fn lines(&self, file: &File, name: &str) -> Option<chaperone_inspect::document::Lines> {
        serde_json::from_slice(&told(|out| self.workers.lines(file, name, out).ok())?).ok()?
    }

    fn effects(&self, file: &File, name: &str) -> Effects {
        // Whoever holds it here would parse it, and be what breaks.
        self.workers.effects(file, name).unwrap_or_else(|_| Effects::unseen())
    }

    fn restored(
        &self,
        original: Option<&File>,
        edited: &File,
        names: (&str, &str),
        (session, snapshots): (&str, &Snapshots),
    ) -> Result<Restored, Failure> {
        let may_hold = match Signs::of(edited, names.1).map_err(|e| cannot_restore(&e))? {
            Signs::None => false,
            Signs::Plain => true,
            // A large one takes long; only whoever was given a placeholder can have packed it.
            Signs::Packed => {
                let is_small = edited.metadata().is_ok_and(|m| m.len() <= MOST_PACKED);
                is_small || snapshots.handed_out_a_redaction()
            }
        };
        if !may_hold {
            return Ok(Restored::default());
        }
        match self.followed(original, edited, names, (session, snapshots)) {
            // Where no redacted copy was ever handed out, it has no placeholder to follow, and is looked at like any other.
            Err(failure) if failure.code == CANNOT_RESTORE && !snapshots.handed_out_a_redaction() => {
                Ok(Restored::default())
            }
            followed => followed,
        }
    }
}

impl Inspection {
    /// The edited file with the values of the placeholders that it has.
    fn followed(
        &self,
        original: Option<&File>,
        edited: &File,
        names: (&str, &str),
        (session, snapshots): (&str, &Snapshots),
    ) -> Result<Restored, Failure> {
        let of_taking = |e: std::io::Error| too_much(&e).unwrap_or_else(|| cannot_restore(&e));
        let original =
            original.map(|file| snapshots.take(file, MAX_INSPECTED)).transpose().map_err(of_taking)?;
        let content = original.as_ref().map_or([0; 32], |taken| taken.sha256);
        let key = PlaceholderKey::new(&self.session_secret(session)?, &content);
        let length = |file: &File| file.metadata().map_or(0, |m| m.len());
        let about = length(edited) + original.as_ref().map_or(0, |taken| taken.len);
        let out = snapshots.make(about).map_err(of_taking)?;
        let original = original.as_ref().map(|taken| &*taken.file);
        let report =
            self.workers.restore((original, key), edited, names, &out).map_err(|e| cannot_restore(&e))?;
        Ok(Restored { file: (report.restored > 0).then(|| Arc::new(out)), report })
    }

    /// What the placeholders of a session are made with: the same after a restart, and known to nobody without the vault.
    fn session_secret(&self, session: &str) -> Result<[u8; 32], Failure> {
        let about = Sha256::new().chain_update(b"placeholders\0").chain_update(session).finalize();
        Ok(Sha256::digest(self.vault.fingerprint(&about.into())?).into())
    }
}

/// Bytes of a packed file that is looked into whether or not the session was given a placeholder, as far as is known.
const MOST_PACKED: u64 = 16 << 20;

impl Inspected {
    /// What policy sees of the findings: no text, no place.
    #[must_use]
    pub fn for_policy(&self) -> Value {
        for_policy(&self.findings)
    }

    /// The same bytes with what was found in them under another name: of each detector, where it was surer or found more.
    pub(crate) fn also_read_as(&self, other: &Self) -> Self {
        let weight = |findings: &[Finding], detector: &str| -> (Option<Certainty>, u64) {
            let of_it = || findings.iter().filter(|f| f.detector == detector);
            (of_it().map(|f| f.certainty).max(), of_it().map(|f| f.count).sum())
        };
        let (here, there) = (&self.findings, &other.findings);
        let is_weaker_here = |f: &&Finding| weight(here, &f.detector) < weight(there, &f.detector);
        let stays = here.iter().filter(|f| !is_weaker_here(f));
        let findings = stays.chain(there.iter().filter(is_weaker_here)).cloned().collect();
        let unread: BTreeSet<String> = self.unread.iter().chain(other.unread.iter()).cloned().collect();
        Self {
            sha256: self.sha256,
            len: self.len,
            findings,
            unread: unread.into_iter().take(MOST_UNREAD + 1).collect(),
            file: Arc::clone(&self.file),
        }
    }

    /// The same bytes without the findings of which every value stood in another version.
    pub(crate) fn without_what_was(&self, before: &Self) -> Self {
        let stood = |finding: &Finding| -> bool {
            let of_it = || before.findings.iter().filter(|f| f.detector == finding.detector);
            // A worker tells what all of them come to, and not each.
            if of_it().any(|f| f.distinct == finding.distinct && f.sha256 == finding.sha256) {
                return true;
            }
            let was: BTreeSet<u64> = of_it().flat_map(|f| f.values.iter().copied()).collect();
            let all_are_known = !finding.values.is_empty() && finding.values.len() as u64 == finding.distinct;
            all_are_known && finding.values.iter().all(|value| was.contains(value))
        };
        let findings = self.findings.iter().filter(|f| !stood(f)).cloned().collect();
        Self {
            sha256: self.sha256,
            len: self.len,
            findings,
            unread: Arc::clone(&self.unread),
            file: Arc::clone(&self.file),
        }
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

fn cannot_restore(error: &dyn std::error::Error) -> Failure {
    Failure::new(
        CANNOT_RESTORE,
        format!("its placeholders cannot be replaced by what they stand for: {error}"),
    )
    .advise("read the file again and make the change anew")
}

fn cannot(error: &dyn std::error::Error) -> Failure {
    Failure::new("cannot_inspect", format!("it cannot be inspected: {error}"))
        .advise("ask the user to look at the file, or to hand over a plain copy")
}

/// What a worker writes to an empty file, as much as is taken of a text.
fn told(write: impl FnOnce(&File) -> Option<()>) -> Option<Vec<u8>> {
    let out = File::from(rustix::fs::memfd_create("text", rustix::fs::MemfdFlags::CLOEXEC).ok()?);
    write(&out)?;
    let length = out.metadata().ok()?.len().min(MOST_OF_TEXT);
    let mut text = vec![0; usize::try_from(length).ok()?];
    out.read_exact_at(&mut text, 0).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use chaperone_inspect::{Place, Spot};
    use chaperone_quota::HeldFile;

    use super::*;

    fn of(found: &[(&str, &[u64])]) -> Inspected {
        let finding = |(detector, values): &(&str, &[u64])| Finding {
            detector: (*detector).to_owned(),
            category: "pii".to_owned(),
            severity: "high".to_owned(),
            confidence: 0.9,
            certainty: Certainty::Certain,
            count: values.len() as u64,
            distinct: values.len() as u64,
            place: Place::from(Spot::Body),
            fingerprint: None,
            sha256: [values.iter().sum::<u64>() as u8; 32],
            values: values.to_vec(),
        };
        let file = HeldFile::uncounted(tempfile::tempfile().unwrap());
        let findings: Vec<Finding> = found.iter().map(finding).collect();
        Inspected::new([0; 32], 0, findings.into(), file)
    }

    #[test]
    fn what_stood_in_the_users_version_is_not_asked_about_again() {
        let before = of(&[("iban", &[1, 2, 3]), ("us_ssn", &[7])]);
        let left = |found: &[(&str, &[u64])]| -> Vec<String> {
            of(found).without_what_was(&before).findings.iter().map(|f| f.detector.clone()).collect()
        };
        assert!(left(&[("iban", &[1, 2, 3])]).is_empty() && left(&[("iban", &[3, 1])]).is_empty());
        assert_eq!(left(&[("iban", &[1, 4])]), ["iban"], "one that is new");
        assert_eq!(left(&[("us_ssn", &[1])]), ["us_ssn"], "of another kind");
        // A worker tells no value, but what all of them come to.
        let mut told = of(&[("iban", &[1, 2, 3])]);
        told.findings = told.findings.iter().cloned().map(|f| Finding { values: Vec::new(), ..f }).collect();
        assert!(told.without_what_was(&before).findings.is_empty());
        told.findings = told.findings.iter().cloned().map(|f| Finding { sha256: [9; 32], ..f }).collect();
        assert_eq!(told.without_what_was(&before).findings.len(), 1);
    }
}

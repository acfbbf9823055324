//! What a session came across that is likely a secret or personal data, and that interrupted nothing: counted by kind, with the first
//! files, for the user alone, and without any value.

use std::collections::{BTreeMap, HashSet};

use chaperone_inspect::{Certainty, Finding};
use chaperone_protocol::for_display;
use parking_lot::Mutex;

/// Findings told apart. Protects memory; beyond it, what comes is counted with each look.
const TOLD_APART: usize = 65_536;
/// Files that are named, and one more: whoever shows them says that there are others.
pub const NAMED: usize = 3;
/// Longest name of one, in characters.
const SHOWN: usize = 200;
/// What everybody's files are full of has this severity.
const COMMON: &str = "low";

#[derive(Debug, Default)]
pub struct Remembered {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Keyed fingerprints; the same content under another name is the same finding.
    known: HashSet<String>,
    kinds: BTreeMap<String, u64>,
    files: Vec<String>,
}

impl Remembered {
    /// What was found in a file, by the name that the user knows it by.
    pub(crate) fn add(&self, findings: &[Finding], file: &str) {
        let mut any = false;
        let likely = |f: &&Finding| f.certainty == Certainty::Likely && f.severity != COMMON;
        let mut inner = self.inner.lock();
        for finding in findings.iter().filter(likely) {
            let room = inner.known.len() < TOLD_APART;
            let is_new = match &finding.fingerprint {
                Some(fingerprint) if room => inner.known.insert(fingerprint.clone()),
                Some(fingerprint) => !inner.known.contains(fingerprint),
                None => true,
            };
            if is_new {
                *inner.kinds.entry(finding.detector.clone()).or_default() += finding.distinct.max(1);
                any = true;
            }
        }
        let shown = for_display(file, SHOWN);
        if any && inner.files.len() <= NAMED && !inner.files.contains(&shown) {
            inner.files.push(shown);
        }
    }

    /// Counts what `before` counted; what it told apart is not needed any more.
    pub(crate) fn stand_for(&self, before: &Self) {
        let Inner { kinds, files, .. } = std::mem::take(&mut *before.inner.lock());
        let mut inner = self.inner.lock();
        (inner.kinds, inner.files) = (kinds, files);
    }

    /// Different values of each kind.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<String, u64> {
        self.inner.lock().kinds.clone()
    }

    /// The first files that had some, at most one more than [`NAMED`]; safe to show.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.inner.lock().files.clone()
    }
}

#[cfg(test)]
mod tests {
    use chaperone_inspect::FileSpot;

    use super::*;

    fn finding(detector: &str, certainty: Certainty, severity: &str, fingerprint: &str) -> Finding {
        Finding {
            detector: detector.into(),
            category: "secret".into(),
            severity: severity.into(),
            confidence: 0.7,
            certainty,
            count: 5,
            distinct: 2,
            place: FileSpot::Line { line: 1, column: None }.into(),
            fingerprint: Some(fingerprint.into()),
            sha256: [0; 32],
            values: Vec::new(),
        }
    }

    #[test]
    fn likely_findings_are_counted_once_by_kind() {
        let remembered = Remembered::default();
        let secret = finding("generic_secret", Certainty::Likely, "high", "a");
        remembered.add(&[secret.clone(), finding("generic_secret", Certainty::Likely, "high", "b")], "a.py");
        remembered.add(&[secret], "copy-of-a.py");
        let others = [
            finding("jwt", Certainty::Certain, "high", "c"),
            finding("email_address", Certainty::Likely, "low", "d"),
            finding("ca_sin", Certainty::Possible, "high", "e"),
        ];
        remembered.add(&others, "b.py");
        let expected = BTreeMap::from([("generic_secret".to_owned(), 4)]);
        assert_eq!(remembered.kinds(), expected);
        let ended = Remembered::default();
        ended.stand_for(&remembered);
        assert_eq!((ended.kinds(), ended.files()), (expected, vec!["a.py".to_owned()]));
    }

    #[test]
    fn the_first_files_are_named_once_and_no_more_than_are_shown() {
        let remembered = Remembered::default();
        for n in 0..100 {
            let found = finding("generic_secret", Certainty::Likely, "high", &n.to_string());
            remembered.add(&[found], &format!("{}\n.py", n / 2));
        }
        assert_eq!(remembered.files().len(), NAMED + 1);
        assert!(remembered.files().iter().all(|file| !file.contains('\n')), "{:?}", remembered.files());
    }
}

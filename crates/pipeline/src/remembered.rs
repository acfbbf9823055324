//! What a session came across that is likely a secret or personal data, and that interrupted nothing: counted by kind, for the
//! user alone, and without any value.

use std::collections::{BTreeMap, HashSet};

use chaperone_inspect::{Certainty, Finding};
use parking_lot::Mutex;

/// Findings told apart. Protects memory; beyond it, what comes is counted with each look.
const TOLD_APART: usize = 65_536;
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
}

impl Remembered {
    pub(crate) fn add(&self, findings: &[Finding]) {
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
            }
        }
    }

    /// Counts what `before` counted; what it told apart is not needed any more.
    pub(crate) fn stand_for(&self, before: &Self) {
        self.inner.lock().kinds = std::mem::take(&mut *before.inner.lock()).kinds;
    }

    /// Different values of each kind.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<String, u64> {
        self.inner.lock().kinds.clone()
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
        remembered.add(&[secret.clone(), finding("generic_secret", Certainty::Likely, "high", "b")]);
        remembered.add(&[secret]);
        remembered.add(&[
            finding("jwt", Certainty::Certain, "high", "c"),
            finding("email_address", Certainty::Likely, "low", "d"),
            finding("ca_sin", Certainty::Possible, "high", "e"),
        ]);
        let expected = BTreeMap::from([("generic_secret".to_owned(), 4)]);
        assert_eq!(remembered.kinds(), expected);
        let ended = Remembered::default();
        ended.stand_for(&remembered);
        assert_eq!(ended.kinds(), expected);
    }
}

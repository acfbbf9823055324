//! The result of an inspection, and the tally that it is made from.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::place::Place;
use crate::scan::Worth;
use crate::{Certainty, DetectorId, Detectors, Filter, Filters, Finding};

/// One file, or one member of an archive (`a.zip!/b.csv`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Item {
    pub file: String,
    pub findings: Vec<Finding>,
    /// Why it could not be inspected (whole).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Every value that was weighed, when that was asked for ([`Detectors::explaining`]).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub candidates: Vec<Candidate>,
}

/// One value that was weighed: what for, where, and what spoke for it and against it; never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub detector: String,
    /// `certain`, `likely`, `possible`, or `spared`: no finding.
    pub class: String,
    #[serde(rename = "where")]
    pub place: Place,
    pub filters: Vec<Reason>,
}

/// A filter as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub name: String,
    pub sentence: String,
}

/// What an inspection saw.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub items: Vec<Item>,
    /// Bytes looked at, decompressed.
    pub bytes: u64,
}

impl Report {
    /// Fills the fingerprints from the digests.
    #[must_use]
    pub fn fingerprinted(mut self, mut keyed: impl FnMut(&[u8; 32]) -> String) -> Report {
        for finding in self.items.iter_mut().flat_map(|i| &mut i.findings) {
            finding.fingerprint = Some(keyed(&finding.sha256));
        }
        self
    }

    /// Whether anything was found.
    #[must_use]
    pub fn found(&self) -> bool {
        self.items.iter().any(|i| !i.findings.is_empty())
    }

    /// The first reason why a part could not be inspected.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.items.iter().find_map(|i| i.error.as_deref())
    }
}

/// The column of values that have none.
pub(crate) const NO_COLUMN: u32 = 0;
/// Columns and keys told apart; protects memory against a document of random keys. Later ones share [`NO_COLUMN`].
const MOST_COLUMNS: usize = 4096;
/// Findings kept apart by column; later columns are counted together.
const MOST_FINDINGS: usize = 1024;
/// Distinct values that go into one fingerprint; protects memory. Later ones are counted only.
const MOST_DIGESTS: usize = 1024;
/// From this confidence on a finding is worth what its detector is.
const SURE: f32 = 0.85;
/// Values explained of one item; protects memory. Later ones are decided alike and not listed.
const MOST_CANDIDATES: usize = 1000;
/// A value that is less than this part of its cell's text is mentioned in it.
const PROSE: usize = 3;
/// A column is judged as a whole from this many values on.
const JUDGED_VALUES: u64 = 20;

/// What a second pass over the same item does differently because of what the whole item showed.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Columns masked as a whole, and what for.
    pub(crate) mask: HashMap<u32, DetectorId>,
    /// Chance hits of a checksum in columns of other numbers.
    pub(crate) ignore: HashSet<(u32, DetectorId)>,
    /// Plain text holds values that are written otherwise than they are read: it is rewritten in memory, up to so many bytes.
    pub(crate) otherwise: Option<usize>,
}

#[derive(Debug, Default)]
struct Column {
    name: String,
    values: u64,
    digits: u64,
}

#[derive(Debug)]
struct Entry {
    count: u64,
    bare_digits: u64,
    /// Values that are most of their cell.
    whole: u64,
    /// The best that one of them is worth by itself, and as part of a list of its kind.
    worth: Certainty,
    listed: Certainty,
    /// Of the text around them, so many runs of digits.
    runs: u64,
    confidence: f32,
    place: Place,
    digests: BTreeSet<[u8; 32]>,
}

/// Counts what is found in one item.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Rows and columns, as people keep lists; not the keys of a program's data.
    pub(crate) is_table: bool,
    columns: Vec<Column>,
    by_name: HashMap<String, u32>,
    entries: HashMap<(u32, DetectorId), Entry>,
    weighed: Vec<Weighed>,
    /// What is added now was picked out of bytes that are no text.
    pub(crate) is_among_bytes: bool,
    /// What stands at the same place of nearly all lines.
    confirmed: HashSet<DetectorId>,
}

/// A value of which an explanation was asked for.
#[derive(Debug)]
struct Weighed {
    of: (u32, DetectorId),
    worth: Worth,
    place: Place,
}

/// What all values of an entry are worth together.
enum Verdict {
    /// Chance hits of a checksum in a column of other numbers.
    Chance,
    Worth {
        confidence: f32,
        certainty: Certainty,
        because: Option<Filter>,
    },
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            is_table: false,
            columns: vec![Column::default()],
            by_name: HashMap::new(),
            entries: HashMap::new(),
            weighed: Vec::new(),
            is_among_bytes: false,
            confirmed: HashSet::new(),
        }
    }

    /// The values outside of columns are a list of this kind, whatever stands between them.
    pub(crate) fn confirm(&mut self, detector: DetectorId) {
        self.confirmed.insert(detector);
    }

    /// The number of a column by name; the same name is the same column.
    pub(crate) fn column(&mut self, name: &str) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        if self.columns.len() >= MOST_COLUMNS || name.is_empty() || name.len() > 256 {
            return NO_COLUMN;
        }
        let id = self.columns.len() as u32;
        self.columns.push(Column { name: name.to_string(), ..Column::default() });
        self.by_name.insert(name.to_string(), id);
        id
    }

    pub(crate) fn name(&self, column: u32) -> &str {
        self.columns.get(column as usize).map_or("", |c| &c.name)
    }

    /// Counts a value of a column, found something or not.
    pub(crate) fn value(&mut self, column: u32, value: &[u8]) {
        let value = value.trim_ascii();
        if let Some(c) = self.columns.get_mut(column as usize)
            && !value.is_empty()
        {
            c.values += 1;
            c.digits += u64::from(is_number(value));
        }
    }

    /// Counts a match. `cell` is the whole value that it stands in, where there are cells; `place` says where it stands, for an
    /// explanation to the character.
    pub(crate) fn add(
        &mut self,
        detectors: &Detectors,
        (column, detector): (u32, DetectorId),
        mut worth: Worth,
        value: &[u8],
        cell: Option<&[u8]>,
        place: impl Fn(bool) -> Place,
    ) {
        let info = detectors.info(detector);
        let is_secret = info.category == "secret";
        let crowded = self.entries.len() >= MOST_FINDINGS && !self.entries.contains_key(&(column, detector));
        let column = if crowded { NO_COLUMN } else { column };
        if !is_secret && !named(worth.filters) && is_bare(value) {
            worth.filters.add(Filter::Bare);
        }
        if worth.confidence < SURE && !worth.filters.spares() {
            worth.filters.add(Filter::Unsure);
        }
        if self.is_among_bytes && alone(info.certainty, worth) == Certainty::Likely {
            worth.filters.add(Filter::AmongBytes);
        }
        if detectors.1.explains && self.weighed.len() < MOST_CANDIDATES {
            self.weighed.push(Weighed { of: (column, detector), worth, place: place(true) });
        }
        if worth.filters.spares() {
            return;
        }
        let entry = self.entries.entry((column, detector)).or_insert_with(|| Entry {
            count: 0,
            bare_digits: 0,
            whole: 0,
            worth: Certainty::Possible,
            listed: Certainty::Possible,
            runs: 0,
            confidence: 0.0,
            place: place(false),
            digests: BTreeSet::new(),
        });
        let cell = cell.map(<[u8]>::trim_ascii);
        entry.count += 1;
        entry.bare_digits += u64::from(cell.is_some_and(is_number));
        entry.whole += u64::from(cell.is_some_and(|c| value.len() * PROSE >= c.len()));
        entry.confidence = entry.confidence.max(worth.confidence);
        entry.worth = entry.worth.max(alone(info.certainty, worth));
        let listed = worth.filters.without(Filter::Bare).without(Filter::AmongBytes);
        let listed = Worth { filters: listed, ..worth };
        entry.listed = entry.listed.max(alone(info.certainty, listed));
        if entry.digests.len() < MOST_DIGESTS {
            entry.digests.insert(Sha256::digest(normalised(value, is_secret)).into());
        }
    }

    /// Counts runs of digits in the text around what was found there.
    pub(crate) fn add_runs(&mut self, (column, detector): (u32, DetectorId), runs: u64) {
        if let Some(entry) = self.entries.get_mut(&(column, detector)) {
            entry.runs += runs;
        }
    }

    /// What redaction of the same item should do.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let mut most: HashMap<u32, u64> = HashMap::new();
        for ((column, detector), entry) in &self.entries {
            let Some(c) = self.columns.get(*column as usize).filter(|_| *column != NO_COLUMN) else {
                continue;
            };
            if self.is_chance(c, entry) {
                plan.ignore.insert((*column, *detector));
            } else if entry.whole * 2 >= c.values && entry.count > most.get(column).copied().unwrap_or(0) {
                most.insert(*column, entry.count);
                plan.mask.insert(*column, *detector);
            }
        }
        plan
    }

    /// One in ten numbers passes Luhn: a few hits in a long column of plain numbers are ids or times, not cards.
    fn is_chance(&self, column: &Column, entry: &Entry) -> bool {
        !column.name.is_empty()
            && column.values >= JUDGED_VALUES
            && column.digits * 10 >= column.values * 9
            && entry.bare_digits == entry.count
            && entry.count * 10 <= column.values * 3
    }

    fn verdict(
        &self,
        detectors: &Detectors,
        (column, detector): (u32, DetectorId),
        entry: &Entry,
    ) -> Verdict {
        let info = detectors.info(detector);
        let (mut confidence, mut is_column) = (entry.confidence, false);
        if let Some(c) = self.columns.get(column as usize).filter(|_| column != NO_COLUMN) {
            if !detectors.1.leaves && self.is_chance(c, entry) {
                return Verdict::Chance;
            }
            if c.values >= 5 && entry.count * 10 >= c.values * 6 {
                confidence = confidence.max(0.97);
                // Texts that mention a value each are no column of them.
                is_column = entry.whole * 10 >= c.values * 6;
            }
            // A list of one is a list; a longer column of other numbers was told apart above.
            is_column |= self.is_table && entry.whole * 2 >= c.values;
        }
        // Labels of generic secrets are common in tables of other things.
        is_column &= info.category == "pii" || info.name == "generic_password";
        let (certainty, because) = match entry {
            _ if is_column => (Certainty::Certain, Some(Filter::Column)),
            e if (e.is_list() || column == NO_COLUMN && self.confirmed.contains(&detector))
                && e.listed > e.worth =>
            {
                (e.listed, Some(Filter::List))
            }
            e => (e.worth, None),
        };
        Verdict::Worth { confidence, certainty, because }
    }

    /// Every value that was weighed, with what was decided of it.
    pub(crate) fn candidates(&self, detectors: &Detectors) -> Vec<Candidate> {
        let explained = |w: &Weighed| {
            let own = alone(detectors.info(w.of.1).certainty, w.worth).to_string();
            let mut filters = w.worth.filters;
            let verdict = self.entries.get(&w.of).map(|entry| self.verdict(detectors, w.of, entry));
            let class = match verdict {
                _ if filters.spares() => "spared".to_string(),
                Some(Verdict::Chance) => {
                    filters.add(Filter::Chance);
                    "spared".to_string()
                }
                Some(Verdict::Worth { certainty, because: Some(because), .. }) => {
                    filters.add(because);
                    certainty.to_string()
                }
                _ => own,
            };
            let reason = |f: Filter| Reason { name: f.name().into(), sentence: f.sentence().into() };
            Candidate {
                detector: detectors.info(w.of.1).name.clone(),
                class,
                place: w.place.clone(),
                filters: filters.iter().map(reason).collect(),
            }
        };
        self.weighed.iter().map(explained).collect()
    }

    pub(crate) fn findings(&self, detectors: &Detectors) -> Vec<Finding> {
        let mut out: Vec<(u32, Finding)> = Vec::new();
        for ((column, detector), entry) in &self.entries {
            let info = detectors.info(*detector);
            let Verdict::Worth { confidence, certainty, .. } =
                self.verdict(detectors, (*column, *detector), entry)
            else {
                continue;
            };
            let mut digests = entry.digests.iter();
            let sha256 = match (digests.next(), digests.next()) {
                (Some(only), None) => *only,
                _ => entry.digests.iter().fold(Sha256::new(), |h, d| h.chain_update(d)).finalize().into(),
            };
            out.push((
                *column,
                Finding {
                    detector: info.name.clone(),
                    category: info.category.clone(),
                    severity: info.severity.clone(),
                    confidence: (confidence * 100.0).round() / 100.0,
                    certainty,
                    count: entry.count,
                    distinct: entry.digests.len() as u64,
                    place: entry.place.clone(),
                    fingerprint: None,
                    sha256,
                    values: entry.digests.iter().map(number).collect(),
                },
            ));
        }
        out.sort_by(|a, b| (a.0, &a.1.detector).cmp(&(b.0, &b.1.detector)));
        out.into_iter().map(|(_, f)| f).collect()
    }
}

/// What tells a value from others.
pub(crate) fn number(digest: &[u8; 32]) -> u64 {
    digest.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

impl Entry {
    /// Whether nearly all numbers of the text around them are of the same kind, and they are several.
    fn is_list(&self) -> bool {
        self.digests.len() >= 3 && self.count * 10 >= self.runs * 8 && self.runs > 0
    }
}

/// A number as programs write it, whole or a float.
fn is_number(value: &[u8]) -> bool {
    if !value.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let dots = value.iter().filter(|b| **b == b'.').count();
    dots <= 1 && value.iter().all(|b| b.is_ascii_digit() || dots == 1 && b".eE+-".contains(b))
}

/// Nothing divides it, and it is short enough to come about by chance (an IBAN is not).
fn is_bare(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_alphanumeric) && (value.len() < 15 || value.iter().all(u8::is_ascii_digit))
}

/// Whether a label or the values beside it say what a value is.
fn named(filters: Filters) -> bool {
    filters.iter().any(|f| matches!(f, Filter::Label | Filter::List))
}

/// What a finding is worth by itself: what its detector is worth, and less where the detector is unsure or a filter holds.
pub(crate) fn alone(detector: Certainty, worth: Worth) -> Certainty {
    let by_confidence = match worth.confidence {
        c if c >= SURE => detector,
        c if c >= 0.5 => detector.min(Certainty::Likely),
        _ => Certainty::Possible,
    };
    by_confidence.min(worth.filters.most())
}

/// The same card with and without spaces is one value; secrets are compared as they are.
fn normalised(value: &[u8], secret: bool) -> Vec<u8> {
    let value = value.trim_ascii();
    if secret {
        return value.to_vec();
    }
    let kept = |b: &&u8| b.is_ascii_alphanumeric() || !b.is_ascii() || matches!(b, b'@' | b'.' | b'_' | b'+');
    value.iter().filter(kept).map(u8::to_ascii_lowercase).collect()
}

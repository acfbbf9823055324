//! One look: every view of every part, each asked the same questions.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};

use super::decode::{Children, DEEPEST, MOST_VIEWS, Trust, View, WORK, WORK_PER_BYTE};
use super::seen::{Known, Part, Passage, Registered, Seen, Unread};
use super::{covert, mirror};
use crate::encodings::{is_binary, readable, runs};
use crate::report::{NO_COLUMN, Tally, number};
use crate::{Certainty, Detectors, Finding, Place, Spot, Step, extract, scan};

/// Bytes of messages that are also read as one: a value cut into many is short.
const TOGETHER: usize = 256 * 1024;
/// So many characters of base64 in a row are encoded data, no label and its value.
const RUN: usize = 64;
/// Characters of the line breaks in so many.
const BREAKS: usize = 4;
/// Findings and unread parts of one look; more say nothing new.
const MOST_NOTES: usize = 1024;
/// Different values of one kind in one place that are told apart. Protects memory; no budget allows so many.
const MOST_VALUES: usize = 16 * 1024;

const OVER: &str = "over the limit of work for its length";

pub(super) struct Look<'a> {
    detectors: &'a Detectors,
    known: Known<'a>,
    seen: Seen,
    /// Values found so far: the next view of the same bytes finds them again.
    values: HashSet<u64>,
    views: HashSet<u64>,
    budget: u64,
    /// This is not the first window of its stream: what the one before ended with is seen again.
    again: bool,
    /// Nor is it the last: what touches its end may be cut, and is seen whole in the next.
    more: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(detectors: &'a Detectors, known: Known<'a>) -> Look<'a> {
        Look {
            detectors,
            known,
            seen: Seen::default(),
            values: HashSet::new(),
            views: HashSet::new(),
            budget: WORK,
            again: false,
            more: false,
        }
    }

    pub(super) fn part(&mut self, part: &Part<'_>) {
        self.budget += part.bytes.len() as u64 * WORK_PER_BYTE;
        let place = Place::from(part.spot.clone());
        let root = View::sent(part.bytes);
        let mut first = Children::default();
        match part.spot {
            Spot::Url => self.url(part.bytes, &place, &root, &mut first),
            Spot::DnsLabel => {
                self.name(part.bytes, &place, &root, &mut first);
                root.join_words(part.bytes, &mut first);
            }
            Spot::Method | Spot::HeaderNames => root.join_words(part.bytes, &mut first),
            Spot::Query => {
                if let Some(joined) = super::values::joined(part.bytes) {
                    root.join(&joined.short, &mut first);
                }
            }
            _ => {}
        }
        if let Some(what) = extract::opaque(part.bytes) {
            self.unread(&place, what);
        }
        self.walk(root, &place, part.content_type);
        self.spend(first.work);
        first.views.into_iter().for_each(|v| self.walk(v, &place, None));
    }

    /// Messages and labels that may be pieces of one value.
    pub(super) fn together(&mut self, parts: &[Part<'_>]) {
        for spot in [Spot::Message, Spot::DnsLabel] {
            let pieces: Vec<&[u8]> = parts.iter().filter(|p| p.spot == spot).map(|p| p.bytes).collect();
            if pieces.len() < 2 {
                continue;
            }
            let take = |list: &mut dyn Iterator<Item = &[u8]>| {
                let mut out = Vec::new();
                list.take_while(|p| p.len() <= TOGETHER).for_each(|p| {
                    if out.len() + p.len() <= TOGETHER {
                        out.extend_from_slice(p);
                    }
                });
                out
            };
            let whole = take(&mut pieces.iter().copied());
            // What a counter or a name stands before, in each piece.
            let last = |p: &&'_ [u8]| {
                p.rsplit(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b':' | b'='))
                    .find(|w| !w.is_empty())
                    .map_or(0, <[u8]>::len)
            };
            let ends = take(&mut pieces.iter().map(|p| {
                let p = p.trim_ascii_end();
                p.get(p.len() - last(&p).min(p.len())..).unwrap_or_default()
            }));
            let place = Place::from(spot).then(&[Step::Joined]);
            for bytes in [whole, ends] {
                let view = View { bytes: bytes.into(), chain: Vec::new(), depth: 0, trust: Trust::Secrets };
                self.walk(view, &place, None);
            }
        }
    }

    /// The values of one request, or of several, that may be pieces of one. They stand beside what every program writes, so that
    /// of keys only those count that are known by how they begin.
    pub(super) fn pieces(&mut self, pieces: &[&[u8]], spot: Spot) {
        let place = Place::from(spot);
        let whole = pieces.concat();
        self.known_values(&whole, &place.then(&[Step::Joined]));
        let mut out = Children::default();
        View::sent(&[]).join(&whole, &mut out);
        self.budget += whole.len() as u64 * WORK_PER_BYTE;
        self.spend(out.work);
        out.views.into_iter().for_each(|v| self.walk(v, &place, None));
    }

    /// Whether these bytes hold a key by themselves: then they are no piece of another one.
    pub(super) fn holds_secret(&self, bytes: &[u8]) -> bool {
        self.known.is_in(bytes)
            || scan(self.detectors, bytes)
                .into_iter()
                .any(|m| self.detectors.info(m.detector).category == "secret")
    }

    pub(super) fn seen_so_far(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn finish(self) -> Seen {
        self.seen
    }

    /// Says whether the next part is followed by another window of the same stream.
    pub(super) fn expect_more(&mut self, more: bool) {
        self.more = more;
    }

    /// Another stretch of the same stream: everything but what was found begins anew.
    pub(super) fn next_window(&mut self) {
        self.views.clear();
        self.budget = WORK;
        self.again = true;
    }

    pub(super) fn unread(&mut self, place: &Place, reason: &str) {
        let unread = Unread { place: place.clone(), reason: reason.to_string() };
        if self.seen.unread.len() < MOST_NOTES && !self.seen.unread.contains(&unread) {
            self.seen.unread.push(unread);
        }
    }

    fn walk(&mut self, root: View<'_>, at: &Place, content_type: Option<&str>) {
        // In the order of depth, so that a value is reported in its simplest form.
        let mut todo = VecDeque::from([root]);
        while let Some(view) = todo.pop_front() {
            let derived = view.trust != Trust::Sent;
            let less = view.trust as u8 >= Trust::Secrets as u8;
            if derived && !self.views.insert(hash(&(view.bytes.as_ref(), less.then_some(view.trust as u8)))) {
                continue;
            }
            let place = at.then(&view.chain);
            if self.views.len() > MOST_VIEWS || self.budget == 0 {
                self.unread(at, OVER);
                return;
            }
            self.view(&view, &place, content_type.filter(|_| view.depth == 0));
            let children = view.children(self.budget);
            self.spend(children.work);
            if self.budget == 0 {
                // Decoding may have stopped in the middle of this view.
                self.unread(at, OVER);
            }
            for (how, reason) in &children.unread {
                self.unread(&place.then(&[*how]), reason);
            }
            if children.disguised > 0 {
                self.covert("disguised_text", &place, children.disguised);
            }
            for name in children.names {
                self.scan(name.as_bytes(), Trust::Decoded, &place.then(&[Step::Name]));
            }
            if view.depth < DEEPEST {
                todo.extend(children.views);
            } else if children.views.iter().any(|v| matches!(v.trust, Trust::Sent | Trust::Decoded)) {
                self.unread(&place, "over the limit of encodings within encodings");
            }
        }
    }

    fn spend(&mut self, work: u64) {
        self.seen.work += work;
        self.budget = self.budget.saturating_sub(work);
    }

    fn view(&mut self, view: &View<'_>, place: &Place, content_type: Option<&str>) {
        let bytes = view.bytes.as_ref();
        if view.trust == Trust::Known {
            return self.known_values(bytes, place);
        }
        let table = view.trust == Trust::Sent
            && (content_type.is_some_and(|t| t.contains("csv") || t.contains("tab-separated"))
                || extract::is_table(bytes));
        if table {
            // The header is the label of its column.
            let report = extract::inspect_bytes(self.detectors, bytes, "body.csv", &crate::Limits::default());
            for item in report.items {
                if let Some(error) = item.error {
                    self.unread(place, &error);
                }
                for mut finding in item.findings {
                    finding.place = place.clone();
                    self.push(finding);
                }
            }
        } else if is_binary(bytes) {
            // Noise holds short words of every kind; what is meant to be read is longer.
            self.scan(&readable::strings(bytes), view.trust, place);
        } else {
            self.scan(bytes, view.trust, place);
        }
        if extract::keys::begins(bytes, bytes.len() as u64) {
            self.note("private_key", "secret", place, 1, 0.97, bytes);
        }
        self.known_values(bytes, place);
    }

    /// What the session must not give away.
    fn known_values(&mut self, bytes: &[u8], place: &Place) {
        if let Some(secrets) = self.known.secrets.filter(|s| !s.is_empty()) {
            for hit in secrets.find(bytes) {
                self.seen.registered.push(Registered { hit, place: place.clone() });
            }
        }
        if let Some(values) = self.known.values.filter(|v| !v.is_empty()) {
            for hit in values.find(bytes) {
                if !self.seen.values.iter().any(|v| v.hit.id == hit.id && v.place == *place) {
                    self.seen.values.push(Registered { hit, place: place.clone() });
                }
            }
        }
        if let Some(read) = self.known.read.filter(|r| !r.is_empty()) {
            for hit in read.hits(bytes) {
                // The first view that shows a source says enough.
                if !self
                    .seen
                    .passages
                    .iter()
                    .any(|p| p.hit.source_id == hit.source_id && p.hit.matched_bytes >= hit.matched_bytes)
                {
                    self.seen.passages.push(Passage { hit, place: place.clone() });
                }
            }
        }
    }

    fn scan(&mut self, bytes: &[u8], trust: Trust, place: &Place) {
        let mut tally = Tally::new();
        let mut secret = false;
        for m in scan(self.detectors, bytes) {
            let info = self.detectors.info(m.detector);
            let cut = self.more && trust == Trust::Sent && m.end as usize == bytes.len();
            if cut || trust == Trust::Secrets && info.category != "secret" {
                continue;
            }
            let range = m.start as usize..m.end as usize;
            let value = bytes.get(range).unwrap_or_default();
            // Between the signs of base64 stand words as well, some of them labels.
            let before = bytes.get((m.start as usize).saturating_sub(RUN + BREAKS)..m.start as usize);
            if info.name.starts_with("generic_") && before.is_some_and(is_within_a_run) {
                continue;
            }
            secret |= info.category == "secret";
            let new = self.values.insert(hash(&(m.detector, value)));
            if !new && (trust != Trust::Sent || self.again) {
                continue;
            }
            tally.add(self.detectors, (NO_COLUMN, m.detector), m.worth(), value, None, |_| place.clone());
        }
        for finding in tally.findings(self.detectors) {
            self.push(finding);
        }
        if !secret
            && !is_binary(bytes)
            && let Some((from, to)) = mirror::fragment(bytes)
            && !(self.more && to == bytes.len())
        {
            let value = bytes.get(from..to).unwrap_or_default();
            self.note("token_fragment", "secret", place, 1, 0.6, value);
        }
    }

    fn url(&mut self, url: &[u8], place: &Place, root: &View<'_>, out: &mut Children) {
        let rest = memchr::memmem::find(url, b"://").map_or(url, |i| url.get(i + 3..).unwrap_or_default());
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let host = authority.rsplit(|b| *b == b'@').next().unwrap_or_default();
        let host = host.split(|b| *b == b':').next().unwrap_or_default();
        self.name(host, place, root, out);
        let path_end = rest.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(rest.len());
        let (path, query) = rest.split_at(path_end);
        if let Some(sign) = covert::path(path) {
            self.covert(sign, place, 1);
        }
        let values: Vec<u8> = query
            .split(|b| matches!(b, b'&' | b';' | b'?' | b'#'))
            .flat_map(|p| p.splitn(2, |b| *b == b'=').last().unwrap_or_default())
            .copied()
            .collect();
        root.join(&values, out);
        // Each may be encoded by itself; so may the names in the query.
        let pairs =
            query.split(|b| matches!(b, b'&' | b';' | b'?' | b'#')).flat_map(|p| p.splitn(2, |b| *b == b'='));
        let pieces: Vec<Vec<u8>> =
            path.split(|b| *b == b'/').chain(pairs).filter_map(super::said::said).collect();
        if pieces.len() > 1 {
            root.join_read(pieces.concat(), out);
        }
        // Segments are another way to cut.
        root.join(&path.iter().copied().filter(|b| *b != b'/').collect::<Vec<u8>>(), out);
    }

    fn name(&mut self, name: &[u8], place: &Place, root: &View<'_>, out: &mut Children) {
        if let Some(sign) = covert::host(name) {
            self.covert(sign, place, 1);
        }
        root.join_labels(name, out);
    }

    fn covert(&mut self, sign: &'static str, place: &Place, count: u64) {
        self.note(sign, "covert", place, count, 0.7, sign.as_bytes());
    }

    fn note(
        &mut self,
        detector: &str,
        category: &str,
        place: &Place,
        count: u64,
        confidence: f32,
        value: &[u8],
    ) {
        if !self.values.insert(hash(&(detector, value, place))) {
            return;
        }
        let sha256: [u8; 32] = Sha256::digest(value).into();
        self.push(Finding {
            detector: detector.to_string(),
            category: category.to_string(),
            severity: "medium".to_string(),
            confidence,
            certainty: Certainty::Likely,
            count,
            distinct: 1,
            place: place.clone(),
            fingerprint: None,
            sha256,
            values: vec![number(&sha256)],
        });
    }

    fn push(&mut self, finding: Finding) {
        let room = self.seen.findings.len() < MOST_NOTES;
        let same = |f: &&mut Finding| f.detector == finding.detector && f.place == finding.place;
        match self.seen.findings.iter_mut().find(same) {
            Some(known) => {
                known.count += finding.count;
                if known.values.len() < MOST_VALUES {
                    known.values.extend(finding.values);
                    known.values.sort_unstable();
                    known.values.dedup();
                    known.distinct = known.values.len() as u64;
                }
            }
            None if room => self.seen.findings.push(finding),
            None => {}
        }
    }
}

/// Whether encoded data ends here, in one line or in several. What separates a label from its value is none of its signs.
fn is_within_a_run(before: &[u8]) -> bool {
    let signs = before.iter().rev().copied().filter(|b| !matches!(b, b'\r' | b'\n')).take(RUN);
    let signs: Vec<u8> = signs.collect();
    signs.len() == RUN && runs::is_run(&signs)
}

/// Tells views and values of one look apart; nothing outside it sees the number.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

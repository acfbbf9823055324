//! The one pass over the input: words, and the few bytes between them that mean something.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::filter::{Filter, Filters};
use super::found::Match;
use super::view::{Hit, LOOK_BACK, Seen, View};
use super::web_token::{self, WebToken};
use crate::Certainty;
use crate::detect::index::{Label, Next, Start, WordKind, word_key};
use crate::detect::{Asked, DetectorId, Detectors, Native, Set};

/// How much a hit's evidence weighs when two overlap.
pub(crate) mod rank {
    /// Gives way to every other reading.
    pub(crate) const DOUBTED: u8 = 0;
    pub(crate) const SHAPE: u8 = 1;
    pub(crate) const GENERIC: u8 = 1;
    pub(crate) const CHECKED: u8 = 3;
    pub(crate) const LABELLED: u8 = 4;
    pub(crate) const FORMAT: u8 = 5;
    pub(crate) const BLOCK: u8 = 6;
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    Text,
    /// Inside a word too long to be anything: encoded data.
    Blob,
    /// Inside an armoured block (`-----BEGIN …`).
    Armour {
        start: u64,
        private: bool,
        body: u32,
        last: u64,
    },
}

/// The walk and what it remembers between positions.
pub(crate) struct Walk {
    pub(crate) set: Arc<Set>,
    pub(crate) mode: Mode,
    seen: Vec<Seen>,
    hits: Vec<Hit>,
    /// Numbers that start before this are parts of one already judged.
    pub(crate) numbers_done: u64,
    /// Values of labels that start before this were already judged, at the strength beside it.
    pub(crate) values_done: u64,
    /// Where the last value that was judged ends, and how many labels in a row stood within one.
    pub(crate) judged: u64,
    pub(crate) nested: u32,
    pub(crate) mails_done: u64,
    /// Words in a row that a seed phrase may be made of.
    pub(crate) seeds: u32,
    pub(crate) work: u64,
    pub(crate) asked: Asked,
    /// What the private key says that is being walked over.
    pub(crate) key: Sha256,
    /// The first letters of it, and how many there are.
    pub(crate) key_begins: ([u8; 8], usize),
    /// It is written in lines, as keys are that somebody keeps.
    pub(crate) key_has_lines: bool,
}

const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DIGIT: u8 = 4;
const HIGH: u8 = 8;
const WORD: u8 = LOWER | UPPER | DIGIT | HIGH;
const MARK: u8 = 16;

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = if b.is_ascii_lowercase() {
            LOWER
        } else if b.is_ascii_uppercase() {
            UPPER
        } else if b.is_ascii_digit() {
            DIGIT
        } else if b >= 0x80 {
            HIGH
        } else if matches!(b, b'@' | b':' | b'-' | b'$' | b'~') {
            MARK
        } else {
            0
        };
        i += 1;
    }
    table
};

/// Words longer than this are encoded data: nothing inside them is looked at.
const LONGEST_WORD: usize = 4096;
/// Camel-case words longer than this are not names.
const LONGEST_NAME: usize = 64;
/// Ends a cell of a table, see [`crate::scan::scan_labelled`]: a label says nothing of the next cell.
pub(crate) const CELL_END: &[u8] = b"\x1f\n";
/// How far behind a label its value may stand, in bytes.
pub(crate) const LABEL_REACH: u64 = 64;

impl Walk {
    pub(crate) fn new(detectors: &Detectors) -> Walk {
        let set = Arc::clone(&detectors.0);
        let labels = usize::from(Label::detector(DetectorId(0)).0) + set.specs.len();
        Walk {
            set,
            mode: Mode::Text,
            seen: vec![Seen::default(); labels],
            hits: Vec::new(),
            numbers_done: 0,
            values_done: 0,
            judged: 0,
            nested: 0,
            mails_done: 0,
            seeds: 0,
            work: 0,
            asked: detectors.1,
            key: Sha256::new(),
            key_begins: Default::default(),
            key_has_lines: false,
        }
    }

    pub(crate) fn restart(&mut self) {
        self.mode = Mode::Text;
        self.seen.fill(Seen::default());
        (self.numbers_done, self.values_done, self.mails_done, self.seeds) = (0, 0, 0, 0);
        (self.judged, self.nested) = (0, 0);
    }

    /// Walks from `pos` to `limit`; says where it stands, which may be beyond.
    pub(crate) fn run(&mut self, view: &View<'_>, mut pos: usize, limit: usize) -> usize {
        let set = Arc::clone(&self.set);
        while pos < limit {
            match self.mode {
                Mode::Text => pos = self.text(&set, view, pos, limit),
                Mode::Blob => {
                    let rest = view.slice(pos, limit);
                    let run = rest.iter().take_while(|b| CLASS[usize::from(**b)] & WORD != 0).count();
                    pos += run;
                    if run < rest.len() {
                        self.mode = Mode::Text;
                    }
                }
                Mode::Armour { .. } => pos = self.armour(view, pos, limit),
            }
        }
        pos
    }

    fn text(&mut self, set: &Set, view: &View<'_>, mut pos: usize, limit: usize) -> usize {
        while let Some(b) = view.bytes.get(pos).filter(|_| pos < limit) {
            let class = CLASS[usize::from(*b)];
            if class == 0 {
                pos += 1;
                continue;
            }
            pos = if class & WORD != 0 { self.word(set, view, pos) } else { self.mark(set, view, pos) };
            if !matches!(self.mode, Mode::Text) {
                break;
            }
        }
        pos
    }

    /// One word; says where the walk goes on.
    #[inline]
    fn word(&mut self, set: &Set, view: &View<'_>, start: usize) -> usize {
        let rest = view.slice(start, start + LONGEST_WORD);
        let mut mask = 0;
        let mut length = 0;
        for b in rest {
            let class = CLASS[usize::from(*b)];
            if class & WORD == 0 {
                break;
            }
            mask |= class;
            length += 1;
        }
        let end = start + length;
        if length < 2 {
            return if mask == DIGIT { self.digits(set, view, start, end) } else { end };
        }
        let word = view.slice(start, end);
        if word == REDACTED
            && view.before(start, 1) == b'['
            && let Some(next) = placeholder_end(set, view, start - 1)
        {
            return next;
        }
        let key = word_key(word);
        if mask & (DIGIT | HIGH) == 0 {
            self.seed_word(set, view, key, start, end);
        }
        if set.index.may_start(key, length)
            && let Some(next) = self.starts(set, view, start, start, end, key)
        {
            return next;
        }
        if length >= LONGEST_WORD {
            self.mode = Mode::Blob;
            return end;
        }
        if mask == DIGIT {
            return self.digits(set, view, start, end);
        }
        if mask & (LOWER | UPPER | HIGH) != 0
            && length > 4
            && let Some((offset, label)) = set.index.ending(word).filter(|(offset, _)| *offset > 0)
        {
            self.label(set, view, label, start + offset, end);
        }
        if mask & (LOWER | UPPER) == LOWER | UPPER && (4..=LONGEST_NAME).contains(&length) {
            self.humps(set, view, start, end);
        }
        if mask & DIGIT != 0 {
            let kind = if word.first().is_some_and(u8::is_ascii_digit) {
                WordKind::DigitsFirst
            } else {
                WordKind::LettersFirst
            };
            let wanted = set.index.word(kind, length);
            if !wanted.is_empty() {
                return self.code(set, view, wanted, start, end);
            }
        }
        end
    }

    /// The parts of a camel-case word that begin behind a lower-case letter.
    fn humps(&mut self, set: &Set, view: &View<'_>, start: usize, end: usize) {
        let word = view.slice(start, end);
        let bounds = |i: usize| {
            word.get(i).is_some_and(u8::is_ascii_uppercase)
                && i > 0
                && word.get(i - 1).is_some_and(|b| !b.is_ascii_uppercase())
        };
        let mut from = 0;
        while let Some(hump) = (from + 1..word.len()).find(|i| bounds(*i)) {
            let next = (hump + 1..word.len()).find(|i| bounds(*i)).unwrap_or(word.len());
            let key = word_key(view.slice(start + hump, start + next));
            if set.index.may_start(key, next - hump) {
                self.starts(set, view, start, start + hump, start + next, key);
            }
            from = hump;
        }
    }

    /// Labels and literals that begin at `at`, in the word (or hump) that ends at `end`.
    fn starts(
        &mut self,
        set: &Set,
        view: &View<'_>,
        word: usize,
        at: usize,
        end: usize,
        key: u32,
    ) -> Option<usize> {
        for start in set.index.starts(key) {
            match start {
                Start::Prefix { literal, id } if word == at => {
                    if view.slice(at, at + literal.len()) == literal.as_slice()
                        && let Some(next) = self.literal(set, view, *id, at)
                    {
                        return Some(next);
                    }
                }
                Start::Label { text, first, label } => {
                    // A single word is as long as its label, or goes on with a digit or a hump.
                    let length = end - at;
                    if *first > length
                        || *first != 0 && *first < length && view.at(at + first).is_ascii_lowercase()
                    {
                        continue;
                    }
                    if let Some(to) = label_end(view, at, end, text) {
                        self.label(set, view, *label, at, to);
                    }
                }
                Start::Prefix { .. } => {}
            }
        }
        None
    }

    /// A detector's literal stands at `at`: is its whole value there?
    fn literal(&mut self, set: &Set, view: &View<'_>, id: DetectorId, at: usize) -> Option<usize> {
        let spec = set.specs.get(usize::from(id.0))?;
        let window = view.slice(at, at + spec.max);
        self.work += 32;
        let length = spec.pattern.as_ref()?.end(window)?;
        self.work += length as u64;
        let value = window.get(..length)?;
        let joined = view.before(at, 1) == b'.' && crate::detect::index::is_word(view.before(at, 2));
        if joined || is_open(view, at + length) {
            return None;
        }
        if !self.passes(set, id, value) {
            let stands_in = super::value::is_placeholder(value);
            let filter = if stands_in { Filter::Placeholder } else { Filter::NotRandom };
            self.spare(view, id, (at, at + length), filter);
            return None;
        }
        self.hit(set, view, id, at, at + length, rank::FORMAT, 0.97);
        if spec.web_token && !self.asked.leaves {
            self.work += length as u64;
            match web_token::read(value, &spec.samples) {
                WebToken::Whole => {}
                WebToken::Sample => self.weaken(Filter::Sample),
                WebToken::Unread => self.weaken(Filter::NotRead),
            }
        }
        Some(at + length)
    }

    /// A word of letters and digits whose length some detectors ask for.
    pub(crate) fn code(
        &mut self,
        set: &Set,
        view: &View<'_>,
        wanted: &[(DetectorId, Next)],
        start: usize,
        end: usize,
    ) -> usize {
        if view.base + (start as u64) < self.numbers_done || joined_before(view, start) {
            return end;
        }
        let mut next = end;
        for (id, follows) in wanted {
            if !follows.allows(view.at(end)) {
                continue;
            }
            let Some(spec) = set.specs.get(usize::from(id.0)) else { continue };
            let labelled = self.near(view, spec.label, start);
            if spec.alone && !labelled && view.alone.is_none() {
                continue;
            }
            self.work += 16;
            let window = view.slice(start, start + spec.max);
            let Some(length) = spec.pattern.as_ref().and_then(|p| p.end(window)) else { continue };
            let value = window.get(..length).unwrap_or_default();
            let is_float = || value.iter().all(u8::is_ascii_digit) && whole_fraction(view, start + length);
            if is_open(view, start + length) && !is_float() || !self.passes(set, *id, value) {
                continue;
            }
            if spec.alone && !labelled && view.alone != Some((start, start + length)) {
                continue;
            }
            let (rank, sure) = if labelled { (rank::LABELLED, 0.97) } else { (rank::CHECKED, 0.9) };
            self.hit(set, view, *id, start, start + length, rank, sure);
            if !labelled && spec.sure_with_label {
                self.weaken(Filter::NoLabel);
            }
            if !labelled && !spec.secret && spec.check.is_some() && in_lower_case(value) {
                self.weaken(Filter::LowerCase);
            }
            next = next.max(start + length);
        }
        self.numbers_done = self.numbers_done.max(view.base + next as u64);
        next
    }

    /// A value behind one of a detector's labels.
    pub(crate) fn behind_label(&mut self, set: &Set, view: &View<'_>, id: DetectorId, from: usize) {
        let Some(spec) = set.specs.get(usize::from(id.0)) else { return };
        let Some(pattern) = spec.labelled_pattern.as_ref() else { return };
        let mut window = view.slice(from, from + LABEL_REACH as usize);
        if let Some(end) = window.windows(2).position(|w| w == CELL_END) {
            window = window.get(..end).unwrap_or_default();
        }
        self.work += window.len() as u64;
        let Some((a, b)) = pattern.find(window) else { return };
        // The pattern saw the end of its window, not of the value.
        let (start, end) = (from + a, from + b);
        let value = view.slice(start, end);
        let apart = joined_before(view, start)
            || crate::detect::index::is_word(view.before(start, 1))
            || is_open(view, end);
        let lines = view.slice(from, start).iter().filter(|b| **b == b'\n').count();
        if !apart && lines <= 1 && self.passes(set, id, value) {
            self.hit(set, view, id, start, end, rank::LABELLED, 0.9);
        }
    }

    /// Entropy and checksum of a value.
    pub(crate) fn passes(&self, set: &Set, id: DetectorId, value: &[u8]) -> bool {
        let Some(spec) = set.specs.get(usize::from(id.0)) else { return false };
        if spec.secret
            && (crate::scan::value::is_placeholder(value)
                || crate::scan::value::entropy(value) < spec.entropy)
        {
            return false;
        }
        spec.check.is_none_or(|check| {
            let plain: Vec<u8> =
                value.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
            check(if spec.exact { value } else { &plain })
        })
    }

    /// A label was seen.
    fn label(&mut self, set: &Set, view: &View<'_>, label: Label, start: usize, end: usize) {
        let seen = Seen { end: view.base + end as u64 + 1 };
        if let Some(slot) = self.seen.get_mut(usize::from(label.0)) {
            *slot = seen;
        }
        match label {
            Label::PASSWORD
            | Label::SECRET
            | Label::KEY
            | Label::SERVICE
            | Label::AUTHORIZATION
            | Label::SQL_PASSWORD => {
                self.secret_label(set, view, label, start, end);
            }
            _ => {
                if let Some(id) = label.of_detector() {
                    self.behind_label(set, view, id, end);
                    if set.native(Native::StreetAddress) == Some(id) {
                        self.address(set, view, id, start, end);
                    }
                }
            }
        }
    }

    /// Whether a label stands in the 64 bytes before `at`, at most two lines up.
    pub(crate) fn near(&self, view: &View<'_>, label: Label, at: usize) -> bool {
        self.distance(view, label, at).is_some_and(|d| d <= LABEL_REACH)
    }

    /// Whether a label came at most `reach` bytes before, whatever lies between.
    #[inline]
    pub(crate) fn recently(&self, view: &View<'_>, label: Label, at: usize, reach: u64) -> bool {
        let seen = self.seen.get(usize::from(label.0)).filter(|s| s.end > 0);
        seen.is_some_and(|s| view.base + at as u64 + 1 >= s.end && view.base + at as u64 + 1 - s.end <= reach)
    }

    /// Bytes between the last label of this meaning and `at`.
    pub(crate) fn distance(&self, view: &View<'_>, label: Label, at: usize) -> Option<u64> {
        let seen = self.seen.get(usize::from(label.0)).filter(|s| s.end > 0)?;
        let distance = (view.base + at as u64).checked_sub(seen.end - 1)?;
        if distance > LOOK_BACK as u64 {
            return Some(distance);
        }
        let between = view.slice(at.saturating_sub(distance as usize), at);
        let lines = between.iter().filter(|b| **b == b'\n').count();
        (lines <= 2 && !between.windows(2).any(|w| w == CELL_END)).then_some(distance)
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn hit(
        &mut self,
        set: &Set,
        view: &View<'_>,
        id: DetectorId,
        start: usize,
        end: usize,
        rank: u8,
        confidence: f32,
    ) {
        self.hit_at(set, id, view.base + start as u64, view.base + end as u64, rank, confidence);
    }

    pub(crate) fn hit_at(
        &mut self,
        set: &Set,
        id: DetectorId,
        start: u64,
        end: u64,
        rank: u8,
        confidence: f32,
    ) {
        let secret = set.specs.get(usize::from(id.0)).is_some_and(|s| s.secret);
        let filters = Filters::of(match rank {
            rank::LABELLED => Filter::Label,
            rank::CHECKED | rank::DOUBTED => Filter::Checked,
            rank::FORMAT | rank::BLOCK => Filter::Form,
            _ => Filter::Shape,
        });
        self.hits.push(Hit { start, end, id, rank, confidence, secret, filters });
    }

    /// The last hit counts for less.
    pub(crate) fn weaken(&mut self, filter: Filter) {
        if let Some(hit) = self.hits.last_mut() {
            hit.filters.add(filter);
        }
    }

    /// A value that `filter` makes no finding on reads, and a weak one of what leaves.
    pub(crate) fn doubt_place(
        &mut self,
        set: &Set,
        view: &View<'_>,
        id: DetectorId,
        (start, end): (usize, usize),
        filter: Filter,
    ) {
        if self.asked.leaves && filter.is_of_the_place() {
            self.hit(set, view, id, start, end, rank::DOUBTED, 0.9);
        } else {
            self.spare(view, id, (start, end), filter);
        }
    }

    /// A value that `filter` makes no finding.
    pub(crate) fn spare(
        &mut self,
        view: &View<'_>,
        id: DetectorId,
        (start, end): (usize, usize),
        filter: Filter,
    ) {
        if self.asked.explains && start < end {
            let (start, end) = (view.base + start as u64, view.base + end as u64);
            let filters = Filters::of(filter);
            self.hits.push(Hit { start, end, id, rank: 0, confidence: 0.0, secret: false, filters });
        }
    }

    /// Gives out what no later hit can overlap.
    pub(crate) fn release(&mut self, stand: u64, least: f32, out: &mut Vec<Match>) {
        let mut settled = stand.saturating_sub(LOOK_BACK as u64);
        if let Mode::Armour { start, .. } = self.mode {
            settled = settled.min(start);
        }
        self.hits.sort_by_key(|h| (h.start, h.end, h.id));
        let mut from = 0;
        while from < self.hits.len() {
            let mut to = from;
            let mut reach = 0;
            while let Some(h) = self.hits.get(to).filter(|h| to == from || h.start < reach) {
                reach = reach.max(h.end);
                to += 1;
            }
            if reach >= settled {
                break;
            }
            settle(&self.set, self.hits.get(from..to).unwrap_or_default(), least, out);
            from = to;
        }
        self.hits.drain(..from);
    }
}

/// Of hits that overlap the best stays; two readings of the very same digits both stay when neither is better. What is certain
/// stays beside a better one that is not: a token is one as the password of an address, too.
fn settle(set: &Set, hits: &[Hit], least: f32, out: &mut Vec<Match>) {
    let is_certain = |h: &Hit| {
        let of_detector = set.specs.get(usize::from(h.id.0)).map(|spec| spec.info.certainty);
        of_detector == Some(Certainty::Certain) && h.filters.most() == Certainty::Certain
    };
    let mut order: Vec<&Hit> = hits.iter().filter(|h| !h.filters.spares()).collect();
    order.sort_by_key(|h| (std::cmp::Reverse((h.secret, h.rank, h.end - h.start)), h.start, h.id));
    let mut kept: Vec<&Hit> = Vec::new();
    for h in order {
        let clash = |k: &&&Hit| {
            let overlap = h.start < k.end && k.start < h.end;
            let twin = h.id != k.id && !h.secret && (h.start, h.end, h.rank) == (k.start, k.end, k.rank);
            let inside_secret = k.secret && !h.secret && !(k.start <= h.start && h.end <= k.end);
            let is_surer = k.secret && is_certain(h) && !is_certain(k);
            overlap && !twin && !inside_secret && !is_surer
        };
        if !kept.iter().any(|k| clash(&k)) {
            kept.push(h);
        }
    }
    kept.retain(|h| h.confidence >= least);
    let mut spared: Vec<&Hit> = hits.iter().filter(|h| h.filters.spares()).collect();
    spared.retain(|s| !kept.iter().any(|k| s.start < k.end && k.start < s.end));
    spared.dedup_by_key(|s| (s.id, s.start, s.end));
    kept.extend(spared);
    kept.sort_by_key(|h| (h.start, h.end, h.id));
    out.extend(kept.iter().map(|h| Match {
        detector: h.id,
        start: h.start,
        end: h.end,
        confidence: h.confidence,
        filters: h.filters,
    }));
}

/// The word that begins a placeholder.
const REDACTED: &[u8] = b"REDACTED";

/// Where a placeholder of a redacted copy ends: the names in it label nothing.
fn placeholder_end(set: &Set, view: &View<'_>, at: usize) -> Option<usize> {
    let window = view.slice(at, at + crate::placeholder::LONGEST);
    crate::placeholder::token_of(|name| set.names(name), window, 0).map(|token| at + token.range.end)
}

/// Whether the value that ends at `end` goes on behind it.
pub(crate) fn is_open(view: &View<'_>, end: usize) -> bool {
    let (next, after) = (view.at(end), view.at(end + 1));
    let word = crate::detect::index::is_word;
    word(next) || next == b'_' || (next == b'-' && word(after)) || (next == b'.' && after.is_ascii_digit())
}

/// Whether what goes on at `at` is a fraction of zeros: a whole number that is kept as a float.
pub(crate) fn whole_fraction(view: &View<'_>, at: usize) -> bool {
    let zeros = view.slice(at + 1, at + 20).iter().take_while(|b| **b == b'0').count();
    view.at(at) == b'.' && zeros > 0 && !is_open(view, at + 1 + zeros)
}

/// Whether what starts here is the later part of something longer.
pub(crate) fn joined_before(view: &View<'_>, start: usize) -> bool {
    let (previous, earlier) = (view.before(start, 1), view.before(start, 2));
    matches!(previous, b'-' | b'_' | b'.') && crate::detect::index::is_word(earlier) || previous == b'_'
}

/// A number whose letters are all small: no authority writes one so.
fn in_lower_case(value: &[u8]) -> bool {
    value.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && value.iter().any(u8::is_ascii_lowercase)
}

/// Where a label's words end when they stand at `at`, the first of them ending at `end`.
fn label_end(view: &View<'_>, at: usize, end: usize, text: &[u8]) -> Option<usize> {
    let mut i = at;
    for (n, b) in text.iter().enumerate() {
        if *b == b' ' {
            if matches!(view.at(i), b' ' | b'_' | b'-' | b'.') {
                i += 1;
            }
            continue;
        }
        let c = view.at(i);
        if c.to_ascii_lowercase() != *b || n > 0 && i == end && c == b' ' {
            return None;
        }
        i += 1;
    }
    let next = view.at(i);
    let whole = !crate::detect::index::is_word(next)
        || next.is_ascii_digit()
        || (next.is_ascii_uppercase() && view.before(i, 1).is_ascii_lowercase());
    whole.then_some(i)
}

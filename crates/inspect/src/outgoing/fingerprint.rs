//! Passages of what a session has read, recognised again wherever they leave (winnowing: Schleimer, Wilkerson, Aiken 2003).
//!
//! Text is reduced to its letters and digits, so that other line breaks, quotes, separators, case and order of rows
//! do not matter. Letters that rot13 exchanges count as one, and a hash reads the same in both directions, so that
//! neither rot13 nor reversal hides a passage. The hashes are keyed and never leave this set.

use std::collections::HashMap;

use super::values;
use super::winnow::{GRAM, Hasher, WINDOW};

/// A gram of fewer different characters is a rule, an indent, a run of zeros, a date without a time.
const LEAST_DIFFERENT: u32 = 5;
/// A passage counts from so many characters on: six words of prose, which nobody writes alike by chance…
const LEAST_PROSE: u64 = 32;
/// …or when one gram is as varied as this, and has digits as a row of a table has them.
const ROW_DIFFERENT: u32 = 8;
const ROW_DIGITS: u32 = 4;
/// Memory of the set unless told otherwise, in bytes: about 30 MB of text before it becomes sparse.
const MEMORY: usize = 72 << 20;
/// The set is never made sparser than one hash in 2^8.
const SPARSEST: u32 = 8;
/// A hash keeps its upper 48 bits; the lower ones name the source.
const SOURCE_BITS: u32 = 16;
/// Bits 16 to 23 decide what a sparse set keeps, those from 24 on where a hash lies.
const INDEX_SHIFT: u32 = 24;
/// What leaves in so many bytes is looked up gram by gram: most rows of 18 characters are found too. Larger parts are winnowed.
const EVERY_GRAM: usize = 64 << 10;
/// Stands for all sources of what is common; never reported.
const COMMON_SOURCE: u64 = (1 << SOURCE_BITS) - 1;
/// What everybody's files hold: licences, page scaffolding, imports. Nothing in it is recognised.
const COMMON: &str = "packs/inspection/common.txt";

/// What was read in one session, as keyed hashes. Holds no text, and has no serialised form on purpose.
pub struct Fingerprints {
    hasher: Hasher,
    slots: Vec<u64>,
    /// Four bits for each slot, one set for each hash: most lookups end here, in memory that the caches hold.
    filter: Vec<u64>,
    used: usize,
    most_slots: usize,
    sparse: u32,
    sources: Vec<Source>,
    /// Where each is in `sources`, by its id.
    numbers: HashMap<u32, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    id: u32,
    /// Matched bytes that make a passage.
    least: u64,
}

/// One source of which passages were found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// As given to [`Fingerprints::add`].
    pub source_id: u32,
    /// Letters and digits of the passages together; at most 16 short of what was taken, for each passage.
    pub matched_bytes: u64,
    /// 0 to 1: of the letters and digits that were looked at.
    pub share: f32,
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprints")
            .field("hashes", &self.used)
            .field("sparse", &self.sparse)
            .finish_non_exhaustive()
    }
}

impl Fingerprints {
    /// An empty set of at most 72 MiB. `key` must be random and of this session alone: without it the hashes of short
    /// passages could be guessed.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Fingerprints {
        Fingerprints::with_memory(key, MEMORY)
    }

    /// A set of at most `memory` bytes (at least 64 KiB). When it is full it keeps every second hash only, then every fourth: what it
    /// recognises stays right, but only longer passages are sure to be recognised.
    #[must_use]
    pub fn with_memory(key: &[u8; 32], memory: usize) -> Fingerprints {
        // Eight bytes a slot and half a byte of the filter.
        let most = (memory / 9).max(4 * 1024);
        let most_slots = if most.is_power_of_two() { most } else { most.next_power_of_two() / 2 };
        let mut set = Fingerprints {
            hasher: Hasher::new(key),
            slots: vec![0; 4096],
            filter: vec![0; 4096 / 16],
            used: 0,
            most_slots,
            sparse: 0,
            sources: Vec::new(),
            numbers: HashMap::new(),
        };
        // Compiled in, as the name above is.
        let common = chaperone_packs::text(COMMON).unwrap_or_else(|wrong| panic!("{wrong}"));
        set.add_text(COMMON_SOURCE, common.as_bytes(), 1);
        set
    }

    /// Remembers what was read from a source; call it with everything that the session is given, in any pieces.
    /// Values that stand between keys or tags are remembered without them too.
    pub fn add(&mut self, source_id: u32, bytes: &[u8]) {
        self.add_from(source_id, bytes, 0);
    }

    /// The same, for a source of which fewer matched bytes than `least` are chance; the first call for a source says how many.
    pub fn add_from(&mut self, source_id: u32, bytes: &[u8], least: u64) {
        let source = self.source(source_id, least);
        self.add_text(source, bytes, WINDOW);
        if let Some(values) = values::alone(bytes) {
            self.add_text(source, &values, WINDOW);
        }
    }

    /// Which sources `bytes` holds passages of, those of which most was taken first.
    #[must_use]
    pub fn hits(&self, bytes: &[u8]) -> Vec<Hit> {
        if self.is_empty() {
            return Vec::new();
        }
        let Some(values) = values::alone(bytes) else { return self.hits_text(bytes) };
        let mut hits = self.hits_text(&values);
        // What stands in a tag, or only looks like one, leaves as well.
        if bytes.trim_ascii_start().starts_with(b"<") {
            hits.extend(self.hits_text(bytes));
        }
        hits
    }

    /// Whether nothing was remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn source(&mut self, source_id: u32, least: u64) -> u64 {
        let most = COMMON_SOURCE as usize - 1;
        let index = self.numbers.get(&source_id).copied().unwrap_or_else(|| {
            // Sources beyond what a slot can name share the last name.
            if self.sources.len() < most {
                self.numbers.insert(source_id, self.sources.len());
                self.sources.push(Source { id: source_id, least });
            }
            self.sources.len() - 1
        });
        index as u64 + 1
    }

    fn add_text(&mut self, source: u64, bytes: &[u8], window: usize) {
        let hasher = self.hasher.clone();
        hasher.grams(bytes, window, |picks, _, _| {
            for pick in picks {
                if !self.kept(pick.hash) {
                    continue;
                }
                if self.used * 4 >= self.slots.len() * 3 {
                    self.make_room();
                }
                self.insert(pick.hash & !((1 << SOURCE_BITS) - 1) | source);
            }
        });
    }

    fn insert(&mut self, entry: u64) {
        let mask = self.slots.len() - 1;
        let mut at = (entry >> INDEX_SHIFT) as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = entry;
                self.used += 1;
                let bit = (entry >> INDEX_SHIFT) as usize & (self.filter.len() * 64 - 1);
                if let Some(word) = self.filter.get_mut(bit / 64) {
                    *word |= 1 << (bit % 64);
                }
                return;
            }
            // Who read it first keeps it.
            if *slot >> SOURCE_BITS == entry >> SOURCE_BITS {
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn make_room(&mut self) {
        let size = if self.slots.len() < self.most_slots {
            self.slots.len() * 2
        } else {
            self.sparse += 1;
            self.slots.len()
        };
        self.used = 0;
        // What stays is set aside first: two whole tables at once would be twice the memory.
        let stay: Vec<u64> = self.slots.iter().copied().filter(|e| *e != 0 && self.kept(*e)).collect();
        self.slots.clear();
        self.slots.resize(size, 0);
        self.filter = vec![0; size / 16];
        for entry in stay {
            self.insert(entry);
        }
    }

    fn kept(&self, h: u64) -> bool {
        let full = self.sparse >= SPARSEST && self.used * 4 >= self.slots.len() * 3;
        !full && h >> SOURCE_BITS & ((1 << self.sparse) - 1) == 0
    }

    #[inline]
    fn may_find(&self, h: u64) -> bool {
        let bit = (h >> INDEX_SHIFT) as usize & (self.filter.len() * 64 - 1);
        self.filter.get(bit / 64).is_some_and(|w| w >> (bit % 64) & 1 == 1)
    }

    fn find(&self, h: u64) -> Option<u16> {
        let mask = self.slots.len() - 1;
        let mut at = (h >> INDEX_SHIFT) as usize & mask;
        loop {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            if slot >> SOURCE_BITS == h >> SOURCE_BITS {
                return Some((slot & ((1 << SOURCE_BITS) - 1)) as u16);
            }
            at = (at + 1) & mask;
        }
    }

    fn hits_text(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut matched = Matched::default();
        // A sparse set leaves holes between the hashes of one passage.
        let reach = (WINDOW << self.sparse) as u64;
        let window = if bytes.len() <= EVERY_GRAM { 1 } else { WINDOW };
        let mut first = Vec::new();
        // The same words again and again, as the requests of a protocol have them, are one passage.
        let mut counted = std::collections::HashSet::new();
        // Block by block, so that the misses of the cache overlap.
        let total = self.hasher.grams(bytes, window, |picks, classes, base| {
            first.clear();
            first.extend(picks.iter().map(|p| self.may_find(p.hash)));
            for (pick, may) in picks.iter().zip(&first) {
                let Some(source) = may.then(|| self.find(pick.hash)).flatten() else { continue };
                if u64::from(source) == COMMON_SOURCE || !counted.insert(pick.hash) {
                    continue;
                }
                let gram = Gram::of(classes.get(pick.at..pick.at + GRAM).unwrap_or_default());
                if gram.different >= LEAST_DIFFERENT {
                    matched.add(source, base + pick.at as u64, gram, reach);
                }
            }
        });
        let mut hits: Vec<Hit> = matched
            .finish()
            .into_iter()
            .filter_map(|(source, n)| {
                let Source { id, least } = *self.sources.get(usize::from(source).checked_sub(1)?)?;
                let share = n as f32 / total.max(1) as f32;
                (n >= least).then_some(Hit { source_id: id, matched_bytes: n, share })
            })
            .collect();
        hits.sort_by_key(|h| (std::cmp::Reverse(h.matched_bytes), h.source_id));
        hits
    }
}

/// What is known of a gram beside its hash.
#[derive(Debug, Clone, Copy)]
struct Gram {
    different: u32,
    digits: u32,
}

impl Gram {
    fn of(classes: &[u8]) -> Gram {
        let (mut seen, mut digits) = (0u32, 0);
        for c in classes {
            // Letters and digits have bits of their own, others share the rest.
            seen |= 1 << if *c < 24 { *c } else { 24 + (c & 7) };
            digits += u32::from((14..24).contains(c));
        }
        Gram { different: seen.count_ones(), digits }
    }
}

/// A passage that may go on, of one source.
#[derive(Debug, Clone, Copy)]
struct Run {
    source: u16,
    start: u64,
    end: u64,
    row: bool,
}

#[derive(Debug, Default)]
struct Matched {
    run: Option<Run>,
    total: std::collections::HashMap<u16, u64>,
}

impl Matched {
    fn add(&mut self, source: u16, at: u64, gram: Gram, reach: u64) {
        let row = gram.different >= ROW_DIFFERENT && gram.digits >= ROW_DIGITS;
        let end = at + GRAM as u64;
        match self.run.as_mut().filter(|r| r.source == source && at <= r.end + reach) {
            Some(run) => {
                run.end = run.end.max(end);
                run.row |= row;
            }
            None => {
                self.close();
                self.run = Some(Run { source, start: at, end, row });
            }
        }
    }

    fn close(&mut self) {
        if let Some(run) = self.run.take()
            && (run.row || run.end - run.start >= LEAST_PROSE)
        {
            *self.total.entry(run.source).or_default() += run.end - run.start;
        }
    }

    fn finish(mut self) -> std::collections::HashMap<u16, u64> {
        self.close();
        self.total
    }
}

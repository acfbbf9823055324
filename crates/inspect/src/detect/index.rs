//! The tables that turn a position in the input into the few detectors worth trying there.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::detect::DetectorId;

/// A meaning that a word can have: a vocabulary of the recognisers, or the labels of one detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Label(pub(crate) u16);

impl Label {
    pub(crate) const VOCABULARY: &[&str] = &[
        "password",
        "secret",
        "key",
        "service",
        "authorization",
        "not_a_secret",
        "not_a_number",
        "curl",
        "version",
        "sql_password",
        "phone_context",
        "joins_password",
        "setting",
    ];
    pub(crate) const PASSWORD: Label = Label(0);
    pub(crate) const SECRET: Label = Label(1);
    pub(crate) const KEY: Label = Label(2);
    pub(crate) const SERVICE: Label = Label(3);
    pub(crate) const AUTHORIZATION: Label = Label(4);
    pub(crate) const NOT_A_SECRET: Label = Label(5);
    pub(crate) const NOT_A_NUMBER: Label = Label(6);
    pub(crate) const CURL: Label = Label(7);
    pub(crate) const VERSION: Label = Label(8);
    pub(crate) const SQL_PASSWORD: Label = Label(9);
    pub(crate) const PHONE_CONTEXT: Label = Label(10);
    pub(crate) const JOINS_PASSWORD: Label = Label(11);
    pub(crate) const SETTING: Label = Label(12);
    const FIRST_DETECTOR: u16 = 16;

    pub(crate) fn vocabulary(class: &str) -> Option<Label> {
        Label::VOCABULARY.iter().position(|c| *c == class).map(|i| Label(i as u16))
    }

    pub(crate) fn of_detector(self) -> Option<DetectorId> {
        self.0.checked_sub(Label::FIRST_DETECTOR).map(DetectorId)
    }

    pub(crate) fn detector(id: DetectorId) -> Label {
        Label(Label::FIRST_DETECTOR + id.0)
    }
}

/// What starts with a given word.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// A label: its words in lower case, separated by single spaces; the length of a single one.
    Label { text: Vec<u8>, first: usize, label: Label },
    /// A secret's literal start.
    Prefix { literal: Vec<u8>, id: DetectorId },
}

/// A shape or word that a detector wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) id: DetectorId,
    /// Only near one of its labels.
    pub(crate) labelled: bool,
}

/// The class of a word with digits in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WordKind {
    Digits = 0,
    DigitsFirst = 1,
    LettersFirst = 2,
}

impl WordKind {
    pub(crate) fn parse(text: &str) -> Option<(WordKind, (usize, usize), Next)> {
        let (kind, lengths) = text.split_once(':')?;
        let (lengths, follows) = lengths.split_once('+').unwrap_or((lengths, ""));
        let mut next = Next::default();
        for (i, b) in follows.bytes().enumerate() {
            *next.0.get_mut(i)? = b;
        }
        let kind = match kind {
            "9" => WordKind::Digits,
            "N" => WordKind::DigitsFirst,
            "M" => WordKind::LettersFirst,
            _ => return None,
        };
        let (low, high) = lengths.split_once('-').unwrap_or((lengths, lengths));
        let range = (low.parse().ok()?, high.parse().ok()?);
        (range.0 >= 1 && range.0 <= range.1 && range.1 < WORD_LENGTHS).then_some((kind, range, next))
    }
}

/// The bytes of which one must follow a word; none given, any may.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Next([u8; 4]);

impl Next {
    #[inline]
    pub(crate) fn allows(self, b: u8) -> bool {
        self.0.first() == Some(&0) || b != 0 && self.0.contains(&b)
    }
}

/// Words longer than this have no entry of their own: no number that has one is that long.
pub(crate) const WORD_LENGTHS: usize = 56;

/// Size of the filters: 8 KiB each, so that they stay in the first-level cache.
const FILTER_BITS: u32 = 16;

/// A word, folded, and the label that it is.
type Said = (Vec<u8>, Label);

#[derive(Debug)]
pub(crate) struct Index {
    filter: Vec<u64>,
    starts: HashMap<u32, Vec<Start>, BuildHasherDefault<Mixed>>,
    endings: Vec<(Vec<u8>, Label)>,
    ending_filter: Vec<u64>,
    /// Words that only matter beside a label or a number, see [`Index::says`].
    said: HashMap<u32, Vec<Said>, BuildHasherDefault<Mixed>>,
    /// The words of seed phrases.
    seeds: Vec<u64>,
    /// Bit per length: whether one group of digits of that length is a shape.
    pub(crate) single: u64,
    shapes: HashMap<u64, Vec<Wanted>, BuildHasherDefault<Mixed>>,
    words: Vec<Vec<(DetectorId, Next)>>,
    /// Bit per length: whether a kind of word has any entry at all.
    word_lengths: [u64; 3],
}

impl Default for Index {
    fn default() -> Index {
        Index {
            filter: vec![0; 1 << (FILTER_BITS - 6)],
            starts: HashMap::default(),
            endings: Vec::new(),
            ending_filter: vec![0; 1 << (FILTER_BITS - 6)],
            said: HashMap::default(),
            seeds: vec![0; 1 << (FILTER_BITS - 6)],
            single: 0,
            shapes: HashMap::default(),
            words: vec![Vec::new(); 3 * WORD_LENGTHS],
            word_lengths: [0; 3],
        }
    }
}

/// The first four bytes of a word, letters folded, shorter words padded with zeros.
#[inline]
pub(crate) fn word_key(word: &[u8]) -> u32 {
    match word {
        [a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) | 0x2020_2020,
        [a, b, c] => u32::from_le_bytes([*a, *b, *c, 0]) | 0x0020_2020,
        [a, b] => u32::from_le_bytes([*a, *b, 0, 0]) | 0x2020,
        _ => 0,
    }
}

#[inline]
fn slot(key: u32) -> (usize, u64) {
    let h = key.wrapping_mul(0x9E37_79B1) >> (32 - FILTER_BITS);
    ((h >> 6) as usize, 1 << (h & 63))
}

/// A key with the length of its word: most words that share four letters with a label are longer or shorter.
#[inline]
fn sized(key: u32, length: usize) -> u32 {
    key ^ (length.min(LONG) as u32).wrapping_mul(0x85EB_CA6B)
}

/// Words from this length on are told apart no further.
const LONG: usize = 24;

impl Index {
    /// Whether anything starts with this word; a cheap test that may say yes too often.
    #[inline]
    pub(crate) fn may_start(&self, key: u32, length: usize) -> bool {
        let (i, bit) = slot(sized(key, length));
        self.filter.get(i).is_some_and(|w| w & bit != 0)
    }

    /// Whether a word may be one of a seed phrase; a cheap test that may say yes too often.
    #[inline]
    pub(crate) fn may_seed(&self, key: u32, length: usize) -> bool {
        let (i, bit) = slot(sized(key, length));
        self.seeds.get(i).is_some_and(|w| w & bit != 0)
    }

    pub(crate) fn add_seed_words(&mut self) {
        for word in bip39::Language::English.word_list() {
            let (i, bit) = slot(sized(word_key(word.as_bytes()), word.len()));
            if let Some(w) = self.seeds.get_mut(i) {
                *w |= bit;
            }
        }
    }

    /// Whether a whole word has this meaning.
    pub(crate) fn says(&self, word: &[u8], wanted: Label) -> bool {
        let list = self.said.get(&word_key(word));
        list.is_some_and(|l| {
            l.iter().any(|(text, label)| *label == wanted && text.eq_ignore_ascii_case(word))
        })
    }

    /// Whether a whole word is one of these labels of values.
    pub(crate) fn is_label(&self, word: &[u8], wanted: &[Label]) -> bool {
        self.starts(word_key(word)).iter().any(|start| match start {
            Start::Label { text, label, .. } => wanted.contains(label) && text.eq_ignore_ascii_case(word),
            Start::Prefix { .. } => false,
        })
    }

    pub(crate) fn starts(&self, key: u32) -> &[Start] {
        self.starts.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The labels that end a longer word, such as `dbpassword`, with where they begin.
    #[inline]
    pub(crate) fn ending(&self, word: &[u8]) -> Option<(usize, Label)> {
        let tail = word.get(word.len().checked_sub(4)?..)?;
        let key = word_key(tail);
        let (i, bit) = slot(key);
        if self.ending_filter.get(i).is_none_or(|w| w & bit == 0) {
            return None;
        }
        let found = self.endings.iter().find(|(text, _)| {
            word.len() >= text.len()
                && word.get(word.len() - text.len()..).is_some_and(|t| t.eq_ignore_ascii_case(text))
        });
        found.map(|(text, label)| (word.len() - text.len(), *label))
    }

    pub(crate) fn shape(&self, shape: u64) -> &[Wanted] {
        self.shapes.get(&shape).map_or(&[], Vec::as_slice)
    }

    #[inline]
    pub(crate) fn word(&self, kind: WordKind, length: usize) -> &[(DetectorId, Next)] {
        if length >= WORD_LENGTHS || self.word_lengths.get(kind as usize).is_none_or(|m| m >> length & 1 == 0)
        {
            return &[];
        }
        self.words.get(kind as usize * WORD_LENGTHS + length).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add_label(&mut self, words: &str, label: Label, ending: bool) {
        let text = words.to_lowercase().into_bytes();
        if ending && text.len() >= 4 {
            if let Some(tail) = text.get(text.len() - 4..) {
                let (i, bit) = slot(word_key(tail));
                if let Some(word) = self.ending_filter.get_mut(i) {
                    *word |= bit;
                }
            }
            self.endings.push((text.clone(), label));
        }
        let first: Vec<u8> = text.iter().copied().take_while(|b| is_word(*b)).collect();
        if matches!(label, Label::NOT_A_SECRET | Label::NOT_A_NUMBER | Label::SETTING) {
            self.said.entry(word_key(&text)).or_default().push((text, label));
        } else if first.len() >= 2 {
            // As it is, run together with its other words, with a digit behind it (`phone1`).
            let joined = text.iter().filter(|b| is_word(**b)).count();
            let lengths = [first.len(), joined, joined + 1];
            let single = joined == first.len();
            let key = word_key(&first);
            lengths.iter().for_each(|l| self.mark(sized(key, *l)));
            self.starts.entry(key).or_default().push(Start::Label {
                first: if single { joined } else { 0 },
                text,
                label,
            });
        }
    }

    pub(crate) fn add_prefix(&mut self, literal: &str, id: DetectorId) -> bool {
        let bytes = literal.as_bytes();
        let first: Vec<u8> = bytes.iter().copied().take_while(|b| is_word(*b)).collect();
        if first.len() < 2 {
            return false;
        }
        let start = Start::Prefix { literal: bytes.to_vec(), id };
        // Two letters that open many a word only count when the word ends behind them.
        if first.len() < bytes.len() || first.len() == 2 {
            let key = word_key(&first);
            self.mark(sized(key, first.len()));
            self.starts.entry(key).or_default().push(start);
        } else {
            // The word goes on behind the literal: every way in which four bytes can begin.
            let last = |b: Option<u8>| first.iter().copied().chain(b).collect::<Vec<u8>>();
            let more: Vec<Option<u8>> = if first.len() == 3 {
                (b'0'..=b'9').chain(b'a'..=b'z').map(Some).chain([None]).collect()
            } else {
                vec![None]
            };
            for word in more.into_iter().map(last) {
                let key = word_key(&word);
                (first.len()..=LONG).for_each(|l| self.mark(sized(key, l)));
                self.starts.entry(key).or_default().push(start.clone());
            }
        }
        true
    }

    fn mark(&mut self, key: u32) {
        let (i, bit) = slot(key);
        if let Some(word) = self.filter.get_mut(i) {
            *word |= bit;
        }
    }

    pub(crate) fn add_shape(&mut self, text: &str, id: DetectorId, labelled: bool) -> bool {
        let mut shape = Shape::default();
        let mut length = 0usize;
        let mut groups = 0;
        for c in text.bytes() {
            match c {
                b'0'..=b'9' => length = length * 10 + usize::from(c - b'0'),
                _ if Separator::of(c).is_some() && length > 0 => {
                    shape.group(length);
                    shape.separator(c);
                    length = 0;
                    groups += 1;
                }
                _ => return false,
            }
        }
        shape.group(length);
        if length == 0 || length > 40 || groups >= 8 {
            return false;
        }
        if groups == 0 {
            self.single |= 1 << length;
        }
        self.shapes.entry(shape.0).or_default().push(Wanted { id, labelled });
        true
    }

    pub(crate) fn add_word(
        &mut self,
        kind: WordKind,
        (low, high): (usize, usize),
        id: DetectorId,
        next: Next,
    ) {
        for length in low..=high.min(WORD_LENGTHS - 1) {
            if let Some(list) = self.words.get_mut(kind as usize * WORD_LENGTHS + length) {
                list.push((id, next));
            }
            if let Some(mask) = self.word_lengths.get_mut(kind as usize) {
                *mask |= 1 << length;
            }
        }
    }
}

/// A hash for keys that come from packs, not from the input's author: one multiplication.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u64(u64::from(*b)));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}

/// A fingerprint of groups of digits and what stands between them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape(pub(crate) u64);

impl Shape {
    #[inline]
    pub(crate) fn group(&mut self, length: usize) {
        self.0 = self.0.wrapping_mul(0x0100_0000_01B3).wrapping_add(length as u64 + 1);
    }

    #[inline]
    pub(crate) fn separator(&mut self, b: u8) {
        self.0 = self.0.wrapping_mul(0x0100_0000_01B3).wrapping_add(u64::from(b) << 8);
    }
}

pub(crate) struct Separator;

impl Separator {
    /// What may stand between two groups of digits.
    pub(crate) fn of(b: u8) -> Option<u8> {
        matches!(b, b'-' | b' ' | b'.' | b'/').then_some(b)
    }
}

/// Letters, digits and every byte of a non-ASCII character are parts of words.
#[inline]
pub(crate) fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80
}

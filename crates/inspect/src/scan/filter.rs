//! What the place of a value says of it: each filter by name, with one sentence. They report themselves, so that `inspect --explain`
//! prints what was decided and no second copy of it. They hold on reads alone: what leaves is judged by every finding.

use crate::Certainty;

/// What a filter does to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is what its detector says, or more.
    Keeps,
    /// It is worth this at most.
    AtMost(Certainty),
    /// It is no finding.
    Spares,
}

macro_rules! filters {
    ($($name:ident, $text:literal, $effect:expr, $sentence:literal;)*) => {
        /// One reason for or against a value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Filter { $(#[doc = $sentence] $name,)* }

        impl Filter {
            /// In the order of their numbers.
            pub const ALL: &'static [Filter] = &[$(Filter::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Filter::$name => $text,)* }
            }

            pub fn sentence(self) -> &'static str {
                match self { $(Filter::$name => $sentence,)* }
            }

            /// What it does to a value on reads.
            pub fn effect(self) -> Effect {
                match self { $(Filter::$name => $effect,)* }
            }
        }
    };
}

const LIKELY: Effect = Effect::AtMost(Certainty::Likely);
const POSSIBLE: Effect = Effect::AtMost(Certainty::Possible);

impl Filter {
    /// Whether it goes by what stands around a value. Of what leaves, who sends it chose that.
    pub(crate) fn is_of_the_place(self) -> bool {
        matches!(self, Filter::Counted | Filter::InARow | Filter::InProse | Filter::Chance)
    }
}

filters! {
    Form, "form", Effect::Keeps, "its form belongs to nothing else";
    Label, "label", Effect::Keeps, "a label of its kind stands before it";
    Checked, "checked", Effect::Keeps, "its shape and checksum are right";
    Shape, "shape", Effect::Keeps, "it looks like one, and a label or its surroundings agree";
    Column, "column", Effect::Keeps, "most values of its column or key are of this kind";
    List, "list", Effect::Keeps, "nearly all numbers around it are of this kind";
    Bare, "bare", LIKELY, "it has no label, blanks or dashes, and a checksum alone lets chance through";
    NoLabel, "no_label", LIKELY, "numbers of this kind are certain behind a label alone";
    AmongNumbers, "among_numbers", LIKELY, "it is part of a row of numbers";
    WordsBetween, "words_between", LIKELY, "words stand between its label and it";
    RunningWords, "running_words", LIKELY, "its words go on before or behind it, and no label names it";
    MixedSeparators, "mixed_separators", LIKELY, "its words are not divided in one way";
    Published, "published", LIKELY, "everybody can download this very value: it belongs to a published package";
    CutShort, "cut_short", LIKELY, "it stands in one line, and its first bytes say that it is at least four times as long: documents show keys like that";
    Fraction, "fraction", POSSIBLE, "it stands behind a decimal point";
    Signed, "signed", POSSIBLE, "it stands behind a sign";
    Call, "call", POSSIBLE, "its label is the name of a function that is called with it";
    Example, "example", POSSIBLE, "its groups repeat a digit or count up, as in numbers that are made up";
    Sample, "sample", POSSIBLE, "documents show tokens of this payload";
    LowerCase, "lower_case", POSSIBLE, "it is in lower case and has no label";
    AmongBytes, "among_bytes", POSSIBLE, "it stands among bytes that are no text, and says little by itself";
    NotRead, "not_read", LIKELY, "its parts cannot be read as those of a token";
    Setting, "setting", Effect::Keeps, "a file of an environment sets it, and it is not plainly a word, a number, an address or a path";
    Unsure, "unsure", LIKELY, "what was found there says little by itself";
    NeedsLabel, "needs_label", Effect::Spares, "its checksum is right, and without a label so is one of every ten numbers'";
    Counted, "counted", Effect::Spares, "the word before it says that it counts or names something";
    InARow, "in_a_row", Effect::Spares, "it is part of a row of groups as long as its own";
    InProse, "in_prose", Effect::Spares, "blanks join it to the words beside it";
    Chance, "chance", Effect::Spares, "a few of a column of other numbers pass a checksum by chance";
    Version, "version", Effect::Spares, "it is the number of a version";
    Placeholder, "placeholder", Effect::Spares, "it stands in for a value";
    Denied, "denied", Effect::Spares, "a word of its label says that it is no secret";
    Code, "code", Effect::Spares, "it is code, a path, an address or a digest";
    Name, "name", Effect::Spares, "it is made of words, as names are";
    NotRandom, "not_random", Effect::Spares, "nothing in it looks drawn at random";
    Word, "word", Effect::Spares, "it is a word, a sentence or a name, or nothing assigns it";
}

const _: () = assert!(Filter::ALL.len() <= 64);

/// A set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filters(u64);

impl Filters {
    pub(crate) fn of(filter: Filter) -> Filters {
        Filters(1 << filter as u64)
    }

    pub(crate) fn add(&mut self, filter: Filter) {
        self.0 |= 1 << filter as u64;
    }

    pub(crate) fn without(self, filter: Filter) -> Filters {
        Filters(self.0 & !(1 << filter as u64))
    }

    /// In the order of [`Filter::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Filter> {
        Filter::ALL.iter().copied().filter(move |f| self.0 >> *f as u64 & 1 == 1)
    }

    /// Whether one of them makes it no finding.
    pub(crate) fn spares(self) -> bool {
        self.iter().any(|f| f.effect() == Effect::Spares)
    }

    /// What a value is worth at most.
    pub(crate) fn most(self) -> Certainty {
        let caps = self.iter().filter_map(|f| match f.effect() {
            Effect::AtMost(most) => Some(most),
            Effect::Keeps | Effect::Spares => None,
        });
        caps.min().unwrap_or(Certainty::Certain)
    }
}

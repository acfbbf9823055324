//! The TOML form of a pack.

use serde::Deserialize;

use crate::Certainty;

/// One pack file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pack {
    #[serde(default)]
    pub(crate) detector: Vec<Entry>,
    #[serde(default)]
    pub(crate) vocabulary: Vec<Vocabulary>,
    pub(crate) published: Option<Published>,
}

/// Values that are no secret because everybody has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    /// SHA-256 of what stands between the lines of a private key, without blanks: its first 32 digits.
    pub(crate) keys: toml::Spanned<Vec<String>>,
}

/// One detector as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: toml::Spanned<String>,
    pub(crate) category: String,
    pub(crate) severity: String,
    /// What a finding is worth: unless it says otherwise `certain`, of personal data without a checksum `likely`.
    pub(crate) certainty: Option<Certainty>,
    pub(crate) description: String,
    /// A built-in recogniser for what a pattern cannot say.
    pub(crate) native: Option<toml::Spanned<String>>,
    /// Literals that start a value; tried at the start of a word, in this case.
    #[serde(default)]
    pub(crate) prefixes: Vec<String>,
    /// The anchored regular expression of the whole value.
    pub(crate) pattern: Option<toml::Spanned<String>>,
    /// The longest value, in bytes; bounds each verification.
    pub(crate) max: Option<usize>,
    /// The least Shannon entropy of the value, in bits a byte.
    pub(crate) entropy: Option<f32>,
    /// Groups of digits such as `3-2-4`, found anywhere.
    #[serde(default)]
    pub(crate) shapes: Vec<String>,
    /// Groups of digits found only near a label.
    #[serde(default)]
    pub(crate) labelled_shapes: Vec<String>,
    /// First words of a value with letters: `N` digits first, `M` letters first, `9` digits alone, then lengths (`M:8-9`), then the
    /// bytes of which one must follow, when one must (`M:4+ -`).
    #[serde(default)]
    pub(crate) words: Vec<String>,
    /// A regular expression looked for behind each label of this detector.
    pub(crate) labelled_pattern: Option<toml::Spanned<String>>,
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    /// The checksum that the value must pass.
    pub(crate) check: Option<toml::Spanned<String>>,
    /// Whether a value without a label counts when it is the whole of a short input.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Without a label a finding is likely at most.
    #[serde(default)]
    pub(crate) sure_with_label: bool,
    /// With words between its label and it a finding is likely at most.
    #[serde(default)]
    pub(crate) sure_beside_label: bool,
    /// It is a JSON web token: certain when its parts can be read as one's, on reads.
    #[serde(default)]
    pub(crate) web_token: bool,
    /// Members of the payloads of web tokens that documents show, as JSON writes them.
    #[serde(default)]
    pub(crate) samples: Vec<String>,
    #[serde(default)]
    pub(crate) examples: Vec<String>,
    #[serde(default)]
    pub(crate) counterexamples: Vec<String>,
}

/// A list of words with one meaning, for the native recognisers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vocabulary {
    pub(crate) class: toml::Spanned<String>,
    pub(crate) words: Vec<String>,
    /// Words that also count at the end of a longer word (`dbpassword`).
    #[serde(default)]
    pub(crate) endings: Vec<String>,
}

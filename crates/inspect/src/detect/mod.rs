//! The set of detectors: what is looked for, loaded from TOML packs.

pub(crate) mod index;
mod info;
mod pack;
mod self_test;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::Certainty;
use crate::validate::{self, Check};
use index::{Index, Label, WordKind};
pub use info::{DetectorId, DetectorInfo};
use pack::{Entry, Pack};
pub use self_test::ExampleFailure;

/// Why a pack was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("{file}:{line}: {message}; {suggestion}")]
    Pack { file: String, line: usize, message: String, suggestion: String },
}

/// A compiled set of detectors; cheap to clone, shared between threads.
#[derive(Debug, Clone)]
pub struct Detectors(pub(crate) Arc<Set>, pub(crate) Asked, Option<Arc<Told>>);

/// What was read of a document, one piece of text after the other.
#[derive(Debug, Default)]
pub(crate) struct Told {
    text: Mutex<Vec<u8>>,
    /// What is looked for in all of it, also beyond what is kept.
    wanted: Option<&'static [u8]>,
    is_there: AtomicBool,
}

/// Bytes of the text of one document that are kept. Protects memory.
const MOST_TOLD: usize = 4 << 20;

/// What is asked for beyond what a read is interrupted by.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// What filters leave out is given out too, with the reason.
    pub(crate) explains: bool,
    /// The place of a value spares it nothing: who sends it chose that place.
    pub(crate) leaves: bool,
}

impl Told {
    fn add(&self, text: &[u8]) {
        if self.wanted.is_some_and(|wanted| memchr::memmem::find(text, wanted).is_some()) {
            self.is_there.store(true, Ordering::Relaxed);
        }
        let mut all = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_TOLD.saturating_sub(all.len());
        if room == 0 {
            return;
        }
        // Of markup its text: between its letters there stand no elements.
        let bare = memchr::memmem::find(text, b"</").map(|_| crate::plain::without_tags(text));
        let text = bare.as_deref().unwrap_or(text);
        all.extend_from_slice(text.get(..room).unwrap_or(text));
        all.push(b'\n');
    }

    /// Whether what was looked for stood in any of it.
    pub(crate) fn has_it(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where the detectors that ship are.
const PACK: &str = "packs/detectors";

impl Detectors {
    /// The detectors that Chaperone ships.
    pub fn builtin() -> Result<Detectors, LoadError> {
        static SHIPPED: OnceLock<Result<Detectors, LoadError>> = OnceLock::new();
        let shipped = || {
            let files: Vec<_> = chaperone_packs::below(PACK).map(|file| (file.name, file.text)).collect();
            Detectors::from_toml(&files)
        };
        SHIPPED.get_or_init(shipped).clone()
    }

    /// Compiles packs given as (file name, text). Later files add to earlier ones.
    pub fn from_toml(files: &[(&str, &str)]) -> Result<Detectors, LoadError> {
        let mut set = Set::default();
        for (file, text) in files {
            set.add(file, text)?;
        }
        Ok(Detectors(Arc::new(set), Asked::default(), None))
    }

    /// The same, giving out what filters leave out, too: for people, never for decisions.
    #[must_use]
    pub fn explaining(&self) -> Detectors {
        Detectors(Arc::clone(&self.0), Asked { explains: true, ..self.1 }, self.2.clone())
    }

    /// The same for what leaves: what the place of a value makes no finding on reads is one here.
    #[must_use]
    pub(crate) fn leaving(&self) -> Detectors {
        Detectors(Arc::clone(&self.0), Asked { leaves: true, ..self.1 }, self.2.clone())
    }

    /// Nothing is looked for: what is read is kept.
    pub(crate) fn telling(wanted: Option<&'static [u8]>) -> (Detectors, Arc<Told>) {
        let told = Arc::new(Told { wanted, ..Told::default() });
        (Detectors(Arc::default(), Asked::default(), Some(Arc::clone(&told))), told)
    }

    /// This text was read.
    pub(crate) fn tell(&self, text: &[u8]) {
        if let Some(told) = &self.2 {
            told.add(text);
        }
    }

    /// What is known of a detector.
    pub fn info(&self, id: DetectorId) -> &DetectorInfo {
        static UNKNOWN: OnceLock<DetectorInfo> = OnceLock::new();
        let unknown = || DetectorInfo {
            name: "unknown".into(),
            category: "secret".into(),
            severity: "high".into(),
            certainty: Certainty::Certain,
            description: "a detector of another set".into(),
        };
        self.0.specs.get(usize::from(id.0)).map_or_else(|| UNKNOWN.get_or_init(unknown), |s| &s.info)
    }

    /// Every detector of the set.
    pub fn ids(&self) -> impl Iterator<Item = DetectorId> + '_ {
        (0..self.0.specs.len() as u16).map(DetectorId)
    }
}

/// What the compiled set holds.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) specs: Vec<Spec>,
    pub(crate) index: Index,
    natives: [Option<DetectorId>; NATIVES.len()],
    by_name: HashMap<String, DetectorId>,
    /// Private keys that were published, see [`pack::Published`].
    pub(crate) published_keys: HashSet<[u8; 16]>,
}

/// One compiled detector.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) info: DetectorInfo,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) labelled_pattern: Option<Pattern>,
    /// Longest value in bytes.
    pub(crate) max: usize,
    pub(crate) entropy: f32,
    pub(crate) check: Option<Check>,
    /// The check takes the value as it is written.
    pub(crate) exact: bool,
    pub(crate) alone: bool,
    pub(crate) sure_with_label: bool,
    pub(crate) sure_beside_label: bool,
    pub(crate) web_token: bool,
    /// Members of payloads of web tokens that documents show.
    pub(crate) samples: Vec<String>,
    pub(crate) label: Label,
    pub(crate) secret: bool,
    examples: Vec<String>,
    counterexamples: Vec<String>,
}

/// A regular expression, compiled when it is first needed: a command that reads one small file pays for few.
#[derive(Debug)]
pub(crate) struct Pattern {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

/// The longest value of a pattern that names none; bounds each verification.
const DEFAULT_MAX: usize = 512;
/// The longest value that a pack may ask for; must stay below the scanner's look-ahead.
pub(crate) const LONGEST_VALUE: usize = 12 * 1024;
/// What the compiled form of one pattern may take, in bytes: a pack must not eat the memory.
const PATTERN_SIZE: usize = 4 << 20;

impl Pattern {
    fn new(source: &str) -> Pattern {
        Pattern { source: source.to_string(), compiled: OnceLock::new() }
    }

    fn build(&self) -> Result<Regex, Box<regex_automata::meta::BuildError>> {
        Regex::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(PATTERN_SIZE)))
            .build(&self.source)
            .map_err(Box::new)
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| self.build().ok()).as_ref()
    }

    /// Where the first match in `bytes` lies; its group `v` when it has one.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let regex = self.regex()?;
        let mut captures = regex.create_captures();
        regex.captures(bytes, &mut captures);
        let span = captures.get_group_by_name("v").or_else(|| captures.get_group(0))?;
        Some((span.start, span.end))
    }

    /// The end of the match that starts at the start of `bytes`.
    pub(crate) fn end(&self, bytes: &[u8]) -> Option<usize> {
        let regex = self.regex()?;
        let input = regex_automata::Input::new(bytes).anchored(regex_automata::Anchored::Yes);
        regex.find(input).map(|m| m.end())
    }
}

/// A recogniser that is code, and needs a detector to report as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native {
    Email,
    Ip,
    Phone,
    PrivateKey,
    Password,
    Secret,
    UrlPassword,
    StreetAddress,
    CommandPassword,
    CryptHash,
    AzureSecret,
    SeedPhrase,
    Setting,
}

const NATIVES: [(&str, Native); 13] = [
    ("email", Native::Email),
    ("ip", Native::Ip),
    ("phone", Native::Phone),
    ("private_key", Native::PrivateKey),
    ("password", Native::Password),
    ("secret", Native::Secret),
    ("url_password", Native::UrlPassword),
    ("street_address", Native::StreetAddress),
    ("command_password", Native::CommandPassword),
    ("crypt_hash", Native::CryptHash),
    ("azure_secret", Native::AzureSecret),
    ("seed_phrase", Native::SeedPhrase),
    ("setting", Native::Setting),
];

/// Makes an error of a place in the file (a byte offset), what is wrong there, and what to do.
type At<'a> = &'a dyn Fn(usize, String, &str) -> LoadError;

impl Set {
    /// Whether there is a detector of this name.
    pub(crate) fn names(&self, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| self.by_name.contains_key(name))
    }

    /// The detector of this name.
    pub(crate) fn named(&self, name: &str) -> Option<DetectorId> {
        self.by_name.get(name).copied()
    }

    /// The detector that a recogniser reports as.
    #[inline]
    pub(crate) fn native(&self, which: Native) -> Option<DetectorId> {
        self.natives.get(which as usize).copied().flatten()
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), LoadError> {
        let at = |offset: usize, message: String, suggestion: &str| LoadError::Pack {
            file: file.to_string(),
            line: text.get(..offset).unwrap_or(text).matches('\n').count() + 1,
            message,
            suggestion: suggestion.to_string(),
        };
        let pack: Pack = toml::from_str(text).map_err(|e| {
            at(
                e.span().map_or(0, |s| s.start),
                e.message().to_string(),
                "see packs/detectors/ for the fields that a detector has",
            )
        })?;
        let shipped = chaperone_packs::below(PACK).any(|shipped| shipped.name == file);
        for vocabulary in &pack.vocabulary {
            let class = vocabulary.class.get_ref();
            let Some(label) = Label::vocabulary(class) else {
                let known = Label::VOCABULARY.join(", ");
                return Err(at(
                    vocabulary.class.span().start,
                    format!("no vocabulary {class}"),
                    &format!("use one of {known}"),
                ));
            };
            vocabulary.words.iter().for_each(|w| self.index.add_label(w, label, false));
            vocabulary.endings.iter().for_each(|w| self.index.add_label(w, label, true));
        }
        let published =
            pack.published.iter().flat_map(|p| p.keys.get_ref().iter().map(|key| (p.keys.span(), key)));
        for (span, digest) in published {
            let mut key = [0; 16];
            hex::decode_to_slice(digest, &mut key)
                .map_err(|_| at(span.start, format!("no digest {digest}"), "write 32 hexadecimal digits"))?;
            self.published_keys.insert(key);
        }
        for entry in pack.detector {
            self.add_detector(entry, shipped, &at)?;
        }
        Ok(())
    }

    fn add_detector(&mut self, e: Entry, shipped: bool, at: At<'_>) -> Result<(), LoadError> {
        let here = e.name.span().start;
        let name = e.name.get_ref().clone();
        if self.by_name.contains_key(&name) || self.specs.len() >= usize::from(u16::MAX) {
            return Err(at(here, format!("detector {name} is defined twice"), "give it another name"));
        }
        if !matches!(e.category.as_str(), "pii" | "secret")
            || !matches!(e.severity.as_str(), "low" | "medium" | "high")
        {
            return Err(at(
                here,
                format!("{name}: unknown category or severity"),
                "use pii or secret, and low, medium or high",
            ));
        }
        let id = DetectorId(self.specs.len() as u16);
        let check = e.check.as_ref().map(|c| check(&name, c, at)).transpose()?;
        let max = e.max.unwrap_or(DEFAULT_MAX);
        if max > LONGEST_VALUE {
            return Err(at(
                here,
                format!("{name}: max {max} is too long"),
                &format!("at most {LONGEST_VALUE}"),
            ));
        }
        let compile = |source: &Option<toml::Spanned<String>>| {
            source.as_ref().map(|s| pattern(&name, s, shipped, at)).transpose()
        };
        let (value, behind_label) = (compile(&e.pattern)?, compile(&e.labelled_pattern)?);
        let label = Label::detector(id);
        e.labels.iter().for_each(|w| self.index.add_label(w, label, false));
        self.add_recognisers(&e, id, at)?;
        let secret = e.category == "secret";
        self.by_name.insert(name.clone(), id);
        // Personal data without a checksum is a shape.
        let worth = if secret || check.is_some() { Certainty::Certain } else { Certainty::Likely };
        let info = DetectorInfo {
            name,
            category: e.category,
            severity: e.severity,
            certainty: e.certainty.unwrap_or(worth),
            description: e.description,
        };
        self.specs.push(Spec {
            info,
            pattern: value,
            labelled_pattern: behind_label,
            max,
            entropy: e.entropy.unwrap_or(0.0),
            check,
            exact: e.check.as_ref().is_some_and(|c| validate::is_exact(c.get_ref())),
            alone: e.alone,
            sure_with_label: e.sure_with_label,
            sure_beside_label: e.sure_beside_label,
            web_token: e.web_token,
            samples: e.samples,
            label,
            secret,
            examples: e.examples,
            counterexamples: e.counterexamples,
        });
        Ok(())
    }

    /// Everything that leads to a detector: its own code, or literals, shapes and words.
    fn add_recognisers(&mut self, e: &Entry, id: DetectorId, at: At<'_>) -> Result<(), LoadError> {
        let (here, name) = (e.name.span().start, e.name.get_ref());
        if let Some(native) = &e.native {
            let Some((_, which)) = NATIVES.iter().find(|(n, _)| *n == native.get_ref().as_str()) else {
                let known = NATIVES.map(|(n, _)| n).join(", ");
                return Err(at(
                    native.span().start,
                    format!("{name}: no recogniser {}", native.get_ref()),
                    &format!("use one of {known}"),
                ));
            };
            if let Some(slot) = self.natives.get_mut(*which as usize) {
                *slot = Some(id);
            }
            if *which == Native::SeedPhrase {
                self.index.add_seed_words();
            }
        } else if e.prefixes.is_empty()
            && e.shapes.is_empty()
            && e.labelled_shapes.is_empty()
            && e.words.is_empty()
            && e.labelled_pattern.is_none()
        {
            return Err(at(
                here,
                format!("{name} would never match"),
                "give it prefixes, shapes, words or a native recogniser",
            ));
        }
        for p in &e.prefixes {
            if !self.index.add_prefix(p, id) {
                return Err(at(
                    here,
                    format!("{name}: prefix {p:?} does not start with a letter or digit"),
                    "start it with one, at least two bytes",
                ));
            }
        }
        for (list, labelled) in [(&e.shapes, false), (&e.labelled_shapes, true)] {
            for s in list {
                if !self.index.add_shape(s, id, labelled) {
                    return Err(at(
                        here,
                        format!("{name}: shape {s:?}"),
                        "write groups as 3-2-4, at most eight, separated by - / . or space",
                    ));
                }
            }
        }
        for w in &e.words {
            let Some((kind, lengths, next)) = WordKind::parse(w) else {
                return Err(at(
                    here,
                    format!("{name}: word {w:?}"),
                    "write N, M or 9, a colon, and a length or range: M:8-9",
                ));
            };
            self.index.add_word(kind, lengths, id, next);
        }
        Ok(())
    }
}

/// The check that a detector names.
fn check(name: &str, check: &toml::Spanned<String>, at: At<'_>) -> Result<Check, LoadError> {
    validate::by_name(check.get_ref()).ok_or_else(|| {
        at(
            check.span().start,
            format!("{name}: no check {}", check.get_ref()),
            &format!("use one of {}", validate::NAMES.join(", ")),
        )
    })
}

fn pattern(
    name: &str,
    source: &toml::Spanned<String>,
    shipped: bool,
    at: At<'_>,
) -> Result<Pattern, LoadError> {
    syntax::parse_with(source.get_ref(), &syntax::Config::new().unicode(false).utf8(false))
        .map_err(|err| at(source.span().start, format!("{name}: {err}"), "correct the pattern"))?;
    let pattern = Pattern::new(source.get_ref());
    // The shipped patterns are compiled by their tests; another's may be too large, and must not fall silent.
    if !shipped {
        pattern
            .build()
            .map_err(|err| at(source.span().start, format!("{name}: {err}"), "make the pattern smaller"))?;
    }
    Ok(pattern)
}

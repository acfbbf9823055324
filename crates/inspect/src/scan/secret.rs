//! Secrets that no format gives away: a label, an operator, and a value that nobody would type for anything else.

use super::connection::{self, is_in_connection};
use super::filter::Filter;
use super::value::{
    DIGESTS, VALUE, entropy, identifier, is_constant, is_numbered, is_placeholder, is_uuid, letters_only,
    looks_like_code, random, says_stand_in,
};
use super::view::View;
use super::walk::{Walk, rank};
use crate::detect::index::{Label, is_word};
use crate::detect::{DetectorId, Native, Set};

/// How far a value may stand behind its label, in bytes.
const REACH: usize = 64;
/// Bytes that are looked at before a word: the longest digest, and its name.
const DIGEST: usize = 96;
/// Bytes of base64 before a word from which it stands in the middle of some.
const CODED: usize = 64;
/// Bytes of a name of a linker's that are looked at before a word.
const SYMBOL: usize = 256;
/// Words that may stand between a label and its value (`secret access key for x =`).
const WORDS_BETWEEN: usize = 4;
/// Bytes from which a value that is no secret is worth an explanation.
const SHORTEST_EXPLAINED: usize = 6;

/// Labels within the value of another that are looked behind: `key=key=key=…` costs no more than other text.
const MOST_NESTED: u32 = 8;

/// What stands behind a label.
#[derive(Default)]
struct Behind<'a> {
    start: usize,
    end: usize,
    value: &'a [u8],
    /// An operator (`=`, `:`, `=>`…) or the space of a command-line flag stands between.
    operator: bool,
    quoted: bool,
    /// The value ends its line, and its label began it.
    whole_line: bool,
    /// `NAME=value`, without blanks.
    tight: bool,
    /// The value is a cell of a table or a value of a key.
    cell: bool,
    /// One blank stands between, and nothing else.
    blank: bool,
    /// One of the words between says that this is no secret.
    denied: bool,
}

impl Walk {
    /// A label of secrets was seen at `start..end`.
    pub(crate) fn secret_label(
        &mut self,
        set: &Set,
        view: &View<'_>,
        label: Label,
        start: usize,
        end: usize,
    ) {
        if is_in_digest(view, start)
            || is_in_coded_bytes(view, start, end)
            || !self.asked.leaves && is_in_symbol(view, start)
        {
            return;
        }
        if label == Label::PASSWORD
            && let Some(span) = connection::of_file(view, start, end)
            && let Some(id) = set.native(Native::Password)
            && view.base + span.0 as u64 >= self.values_done
        {
            self.work += (span.1 - start) as u64;
            self.hit(set, view, id, span.0, span.1, rank::GENERIC, 0.8);
            self.values_done = view.base + span.1 as u64;
            return;
        }
        let Some(behind) = self.behind(set, view, label, start, end) else { return };
        let at = view.base + behind.start as u64;
        // Each may be as long as what holds all the others.
        self.nested = if at < self.judged { self.nested + 1 } else { 0 };
        if self.nested >= MOST_NESTED {
            return;
        }
        self.judged = self.judged.max(view.base + behind.end as u64);
        self.work += behind.value.len() as u64;
        let strong =
            matches!(label, Label::PASSWORD | Label::SECRET | Label::AUTHORIZATION | Label::SQL_PASSWORD);
        if at < self.values_done {
            return;
        }
        let native = if matches!(label, Label::PASSWORD | Label::SQL_PASSWORD) {
            Native::Password
        } else {
            Native::Secret
        };
        let Some(id) = set.native(native) else { return };
        let span = (behind.start, behind.end);
        let public = matches!(label, Label::KEY | Label::SERVICE | Label::SECRET)
            && self.denied_before(set, view, start);
        if behind.denied || public {
            self.spare_secret(view, id, span, Filter::Denied);
            return;
        }
        if !self.asked.leaves && is_digest(behind.value) && names_a_file(view.slice(end, behind.start)) {
            self.spare_secret(view, id, span, Filter::Code);
            return;
        }
        let is_secret = match label {
            Label::PASSWORD | Label::SQL_PASSWORD => {
                password(&behind, label)
                    || strong_value(&behind, strong)
                    || is_in_connection(view, start, span)
            }
            Label::SERVICE if is_of_an_address(view, end) => is_drawn_in_an_address(behind.value),
            Label::SERVICE => {
                random(behind.value, 15)
                    && (behind.operator || behind.value.len() >= 20)
                    && !is_uuid(behind.value)
                    || service_uuid(&behind)
            }
            _ => strong_value(&behind, strong),
        };
        let spared = match is_secret {
            // Why is told to whoever asks, and costs more than to see that it is none.
            false if !self.asked.explains => return,
            false => Some(why_not(behind.value, native)),
            true => is_placeholder(behind.value).then_some(Filter::Placeholder),
        };
        if let Some(filter) = spared {
            self.spare_secret(view, id, span, filter);
            return;
        }
        self.hit(set, view, id, behind.start, behind.end, rank::GENERIC, if strong { 0.8 } else { 0.7 });
        self.values_done = view.base + behind.end as u64;
    }

    /// A value too short to be anything needs no explanation.
    fn spare_secret(&mut self, view: &View<'_>, id: DetectorId, span: (usize, usize), filter: Filter) {
        if span.1 - span.0 >= SHORTEST_EXPLAINED {
            self.spare(view, id, span, filter);
        }
    }

    /// Finds the value behind a label.
    fn behind<'a>(
        &mut self,
        set: &Set,
        view: &View<'a>,
        label: Label,
        start: usize,
        end: usize,
    ) -> Option<Behind<'a>> {
        let flag = view.before(start, 1) == b'-' && matches!(view.before(start, 2), b'-' | b' ' | b'\n' | 0);
        let mut b = Behind { tight: true, ..Behind::default() };
        let (mut at, mut words, mut blanks, mut quote, mut lines) = (end, 0, 0, 0u8, 0);
        loop {
            if at > end + REACH || at >= view.bytes.len() {
                return None;
            }
            self.work += 1;
            let c = view.at(at);
            match c {
                b'\x1f' if view.at(at + 1) == b'\n' => return None,
                b' ' | b'\t' => blanks += 1,
                b'\n' | b'\r' => {
                    // Only a markup element or a flow of YAML has its value on the next line.
                    lines += u8::from(c == b'\n');
                    let open = view.slice(end, at).iter().any(|b| matches!(b, b'>' | b'=' | b':'));
                    if lines > 1 || !open {
                        return None;
                    }
                    blanks += 1;
                }
                b'=' | b':' | b'>' | b'|' | b'?' | b'~' => {
                    b.operator = true;
                    b.tight &= blanks == 0;
                    quote = 0;
                }
                b',' | b'(' | b'[' | b'.' | b'!' | b'+' => {
                    b.operator |= c == b',' && in_call(view, start) || c == b'[' && b.operator;
                    if c == b'(' && !b.operator {
                        return None;
                    }
                    quote = 0;
                }
                b'"' | b'\'' | b'`' | b'\x1f' => quote = c,
                b'\\' if matches!(view.at(at + 1), b'n' | b't' | b'r') && quote == 0 => {
                    at += 1;
                    blanks += 1;
                }
                b'\\' | b'<' | b'-' | b']' | b'_' | b'*' | b'/'
                    if !(b.operator && matches!(c, b'/' | b'<') || quote != 0 && c == b'-') => {}
                b'&' if view.slice(at, at + 6) == b"&quot;" => {
                    at += 5;
                    quote = b'&';
                }
                _ => {
                    let token = self.token(view, at, quote);
                    let flag_value = flag && blanks > 0 && words == 0;
                    let glue = !quoted_value(view, at, quote, &token) && words < WORDS_BETWEEN;
                    // A plain word is part of the name while no operator came, or when one follows it.
                    if glue
                        && !flag_value
                        && (!b.operator && plain(token.value)
                            || followed_by_operator(view, token.name_end)
                                && !b.operator
                                && token.name_end > at)
                    {
                        let name_end = word_end(view, at);
                        b.denied |= self.denies(set, view, at, name_end);
                        if label == Label::SQL_PASSWORD && !is_sql_glue(view.slice(at, name_end)) {
                            return self.take(b, view, token, at, start, end, true);
                        }
                        b.operator |=
                            words == 0 && label == Label::PASSWORD && is_copula(view.slice(at, name_end));
                        words += 1;
                        quote = 0;
                        at = name_end;
                        continue;
                    }
                    if label == Label::AUTHORIZATION
                        && b.operator
                        && is_scheme(token.value)
                        && words < WORDS_BETWEEN
                    {
                        words += 1;
                        at = token.end;
                        continue;
                    }
                    return self.take(
                        b,
                        view,
                        token,
                        at,
                        start,
                        end,
                        flag_value || label == Label::SQL_PASSWORD && quote != 0,
                    );
                }
            }
            at += 1;
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn take<'a>(
        &mut self,
        mut b: Behind<'a>,
        view: &View<'a>,
        token: Token<'a>,
        at: usize,
        start: usize,
        end: usize,
        operator: bool,
    ) -> Option<Behind<'a>> {
        b.operator |= operator;
        b.start = at;
        b.end = token.end;
        b.value = token.value;
        b.quoted = token.quoted;
        b.cell = token.quoted && view.before(at, 1) == b'\x1f';
        b.blank = at == end + 1 && view.at(end) == b' ';
        let line = view.slice(start.saturating_sub(64), start);
        let head =
            line.iter().rposition(|c| *c == b'\n').map_or(line, |i| line.get(i + 1..).unwrap_or_default());
        let head_ok = head.iter().all(|c| is_word(*c) || b" \t#_.-/;".contains(c))
            && head.iter().filter(|c| **c == b' ').count() <= 4
            || head.is_empty();
        let tail = view.slice(token.end, token.end + 3);
        let ends = matches!(tail.first(), None | Some(b'\n' | b'\r' | b' ' | b'\t' | b'\x1f'))
            && !matches!(tail.get(1), Some(b'=' | b'+' | b'(' | b'|' | b'&' | b'?'));
        b.whole_line = head_ok && ends && !view.slice(end, at).contains(&b'(');
        (!b.value.is_empty()).then_some(b)
    }

    /// The value that starts at `at`.
    fn token<'a>(&mut self, view: &View<'a>, at: usize, quote: u8) -> Token<'a> {
        let window = view.slice(at, at + VALUE);
        let opened =
            quote != 0 && (view.before(at, 1) == quote || quote == b'&' && view.before(at, 1) == b';');
        let bare = |b: &u8| {
            b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\x1f' | b';' | b'\\')
        };
        let stop = if opened {
            let closes = |(i, b): (usize, &u8)| {
                *b == quote && (quote != b'&' || window.get(i..i + 6) == Some(b"&quot;")) || *b == b'\n'
            };
            window.iter().enumerate().position(|(i, b)| closes((i, b))).unwrap_or(window.len())
        } else {
            window.iter().position(bare).unwrap_or(window.len())
        };
        self.work += (stop / 8) as u64;
        let mut value = window.get(..stop).unwrap_or_default();
        let quoted = opened && window.get(stop).is_some_and(|b| *b == quote);
        if !opened || !quoted {
            // Punctuation of the sentence or call around it.
            if let Some(cut) = value.iter().position(|b| matches!(b, b',' | b'&')).filter(|c| *c > 0) {
                value = value.get(..cut).unwrap_or(value);
            }
            while let Some((last, rest)) = value.split_last() {
                let closes = |o: u8| !rest.contains(&o);
                let shed = matches!(last, b',' | b'.' | b';' | b':' | b'\\')
                    || *last == b')' && closes(b'(')
                    || *last == b']' && closes(b'[')
                    || *last == b'}' && closes(b'{');
                if !shed {
                    break;
                }
                value = rest;
            }
        }
        while let Some(rest) = value.strip_suffix(b"\\") {
            value = rest;
        }
        Token { value, end: at + value.len(), quoted, name_end: word_end(view, at) }
    }

    /// Whether a word between a label and its value says that the value is something else.
    fn denies(&mut self, set: &Set, view: &View<'_>, at: usize, end: usize) -> bool {
        let word = view.slice(at, end);
        let last_hump = word
            .iter()
            .rposition(u8::is_ascii_uppercase)
            .filter(|i| word.get(i.saturating_sub(1)).is_some_and(u8::is_ascii_lowercase));
        let tail = word.get(last_hump.unwrap_or(0)..).unwrap_or(word);
        [word, tail].iter().any(|w| says(set, w, Label::NOT_A_SECRET))
    }

    /// Whether the word before a label says so (`public_key`, `cache-key`).
    fn denied_before(&mut self, set: &Set, view: &View<'_>, start: usize) -> bool {
        let joint = matches!(view.before(start, 1), b'_' | b'-' | b' ' | b'.');
        let to = start - usize::from(joint);
        let before = view.slice(to.saturating_sub(32), to);
        let length = before.iter().rev().take_while(|b| is_word(**b)).count();
        let word = before.get(before.len() - length..).unwrap_or_default();
        let hump = word.iter().rposition(u8::is_ascii_uppercase).unwrap_or(0);
        says(set, word, Label::NOT_A_SECRET)
            || says(set, word.get(hump..).unwrap_or_default(), Label::NOT_A_SECRET)
    }
}

/// Of what a value that is no secret consists, by the tests that it failed.
fn why_not(value: &[u8], native: Native) -> Filter {
    match () {
        () if is_placeholder(value) => Filter::Placeholder,
        () if looks_like_code(value) => Filter::Code,
        () if identifier(value) => Filter::Name,
        () if native == Native::Password => Filter::Word,
        () => Filter::NotRandom,
    }
}

/// Whether a word stands in the name of a function as compilers of C++ and Rust write it for linkers: two names at least, one behind
/// the other, each with its length before it (Itanium C++ ABI, 5.1.2; RFC 2603).
fn is_in_symbol(view: &View<'_>, start: usize) -> bool {
    let is_of_it = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_';
    let before = view.slice(start.saturating_sub(SYMBOL), start);
    let begun = before.iter().rev().take_while(is_of_it).count();
    let from = start - begun;
    let symbol = view.slice(from, start + REACH);
    let symbol = symbol.get(..symbol.iter().take_while(is_of_it).count()).unwrap_or_default();
    let is_digit = |at: usize| symbol.get(at).is_some_and(u8::is_ascii_digit);
    let begins = (0..begun).filter(|at| is_digit(*at) && (*at == 0 || !is_digit(at - 1)));
    begins.filter_map(|at| name_end(symbol, at)).any(|end| name_end(symbol, end).is_some())
}

/// Where a name ends that stands behind its length.
fn name_end(symbol: &[u8], at: usize) -> Option<usize> {
    let digits = symbol.get(at..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    let length: usize = std::str::from_utf8(symbol.get(at..at + digits)?).ok()?.parse().ok()?;
    let name = symbol.get(at + digits..(at + digits).checked_add(length)?)?;
    (length >= 2).then_some(at + digits + name.len())
}

/// A digest in hex: MD5, SHA-1, SHA-2.
fn is_digest(value: &[u8]) -> bool {
    matches!(value.len(), 32 | 40 | 56 | 64 | 96 | 128) && value.iter().all(u8::is_ascii_hexdigit)
}

/// Whether what stands between a label and its value makes the label a part of a file's name: `key` in `src/key.rs`.
fn names_a_file(between: &[u8]) -> bool {
    let length = between.iter().rposition(|b| is_word(*b)).map_or(0, |last| last + 1);
    let name = between.get(..length).unwrap_or_default();
    let is_of_a_name = |b: &u8| is_word(*b) || matches!(b, b'_' | b'/' | b'-' | b'.');
    let dot = name.iter().rposition(|b| *b == b'.');
    name.iter().all(is_of_a_name) && dot.is_some_and(|dot| (1..=5).contains(&(name.len() - dot - 1)))
}

/// Whether a word stands in the middle of bytes in base64, a picture's, say, where letters make words by chance.
fn is_in_coded_bytes(view: &View<'_>, start: usize, end: usize) -> bool {
    let is_code = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    if !is_code(view.at(end)) || !is_code(view.before(start, 1)) || start < CODED {
        return false;
    }
    let before = view.slice(start - CODED, start);
    let has = |kind: fn(&u8) -> bool| before.iter().any(kind);
    before.iter().all(|b| is_code(*b))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

/// Whether a word stands in a digest as lock files have them, where `/` and `+` make words by chance.
fn is_in_digest(view: &View<'_>, start: usize) -> bool {
    let is_code = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let before = view.slice(start.saturating_sub(DIGEST), start);
    let begun = before.iter().rev().take_while(is_code).count();
    let rest = before.get(..before.len() - begun).unwrap_or_default();
    let named = DIGESTS.iter().find(|(name, _)| rest.ends_with(name));
    named.is_some_and(|(_, length)| {
        let from = start - begun;
        view.slice(from, from + length + 1).iter().take_while(is_code).count() == *length
    })
}

/// Whether a service is named as a host or an owner in an address (`github.com/…`, `github/…`). A host with a port, a blank or an
/// operator behind it names what follows.
fn is_of_an_address(view: &View<'_>, end: usize) -> bool {
    let rest = view.slice(end, end + REACH);
    let host = rest.iter().take_while(|b| is_word(**b) || matches!(b, b'.' | b'-')).count();
    rest.get(host) == Some(&b'/') && (host == 0 || rest.first() == Some(&b'.'))
}

/// A path is many names one after the other: each is judged by itself. Whoever sends an address chose what stands around the value
/// in it, so a commit (a number as long as many keys) is asked about there as elsewhere.
fn is_drawn_in_an_address(value: &[u8]) -> bool {
    value
        .split(|b| matches!(b, b'/' | b'?' | b'#' | b'=' | b'@' | b':'))
        .any(|part| random(part, 15) && !is_uuid(part) && !is_numbered(part))
}

struct Token<'a> {
    value: &'a [u8],
    end: usize,
    quoted: bool,
    name_end: usize,
}

fn says(set: &Set, word: &[u8], wanted: Label) -> bool {
    word.len() >= 2 && set.index.says(word, wanted)
}

fn quoted_value(view: &View<'_>, at: usize, quote: u8, token: &Token<'_>) -> bool {
    quote != 0 && view.before(at, 1) == quote && token.quoted && !followed_by_operator(view, token.end + 1)
}

/// Whether a label is an argument of a call: `setProperty("TOKEN", "…")`.
fn in_call(view: &View<'_>, start: usize) -> bool {
    let before = view.slice(start.saturating_sub(48), start);
    let inside = before
        .iter()
        .rev()
        .take_while(|b| is_word(**b) || matches!(b, b'_' | b'-' | b'"' | b'\'' | b'`' | b' ' | b',' | b'.'))
        .count();
    before.len() > inside && before.get(before.len() - inside - 1) == Some(&b'(')
}

/// Letters alone, at most twelve: a word of a name, not a value.
fn plain(value: &[u8]) -> bool {
    let word: &[u8] = value.split(|b| !is_word(*b)).next().unwrap_or_default();
    (1..=12).contains(&word.len())
        && word.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80)
        && !value.get(word.len()..).is_some_and(|r| r.starts_with(b"@") || r.starts_with(b"$"))
}

fn word_end(view: &View<'_>, at: usize) -> usize {
    at + view.slice(at, at + REACH).iter().take_while(|b| is_word(**b)).count()
}

fn followed_by_operator(view: &View<'_>, at: usize) -> bool {
    let rest = view.slice(at, at + 6);
    let skip = rest.iter().take_while(|b| matches!(b, b'"' | b'\'' | b'`' | b' ' | b']' | b')')).count();
    matches!(rest.get(skip), Some(b'=' | b':'))
}

fn is_scheme(value: &[u8]) -> bool {
    [
        b"bearer".as_slice(),
        b"basic",
        b"token",
        b"api-token",
        b"apikey",
        b"api-key",
        b"ssws",
        b"key",
        b"digest",
        b"splunk",
    ]
    .iter()
    .any(|s| value.eq_ignore_ascii_case(s))
}

fn is_copula(word: &[u8]) -> bool {
    [&b"is"[..], b"as", b"by"].iter().any(|w| word.eq_ignore_ascii_case(w))
}

fn is_sql_glue(word: &[u8]) -> bool {
    [
        b"by".as_slice(),
        b"with",
        b"password",
        b"mysql",
        b"native",
        b"caching",
        b"sha2",
        b"plugin",
        b"encrypted",
        b"is",
    ]
    .iter()
    .any(|s| word.eq_ignore_ascii_case(s))
}

/// A password: anything quoted or alone on its line that is not code, a name, or a sentence.
fn password(b: &Behind<'_>, label: Label) -> bool {
    let v = b.value;
    let digits = v.iter().filter(|c| c.is_ascii_digit()).count();
    let letters = v.iter().filter(|c| c.is_ascii_alphabetic()).count();
    let upper = v.iter().any(u8::is_ascii_uppercase) && v.iter().any(u8::is_ascii_lowercase);
    let other = v.len() - digits - letters;
    if !b.operator
        && b.blank
        && digits >= 3
        && letters >= 1
        && (8..=64).contains(&v.len())
        && !identifier(v)
        && !looks_like_code(v)
    {
        return true;
    }
    if !b.operator
        || !(5..=128).contains(&v.len())
        || v.contains(&b' ') && !b.cell
        || looks_like_code(v)
        || !b.quoted && v.iter().any(|c| b"(){}[]".contains(c)) && digits == 0
    {
        return false;
    }
    let lower = v.to_ascii_lowercase();
    if says_stand_in(v) && digits < 2 && !(b.whole_line && b.tight && !b.quoted) {
        return false;
    }
    let mixed = digits > 0 && letters > 0
        || other > 0 && letters > 0 && digits + other >= 2
        || digits > 0 && other > 0;
    match () {
        () if label == Label::SQL_PASSWORD => mixed || b.quoted,
        () if b.quoted => {
            v.len() >= 6 && (digits > 0 || other > 0 || upper || v.len() >= 8) && letters > 0
                || v.len() >= 8 && digits > 0 && letters + other > 0
        }
        () if mixed => !identifier(v) || digits >= 2 && b.whole_line,
        () => {
            b.whole_line
                && b.tight
                && letters >= 5
                && v.len() >= 6
                && !lower.windows(4).any(|w| w == b"http")
                && !is_constant(v)
        }
    }
}

/// A value behind a label of tokens and keys.
fn strong_value(b: &Behind<'_>, strong: bool) -> bool {
    let v = b.value;
    if is_uuid(v) {
        return strong && entropy(v) > 2.5 || b.operator && entropy(v) > 2.5 && !b.denied;
    }
    random(v, if b.operator { if strong { 10 } else { 12 } } else { 15 })
        || strong && (b.operator || v.len() >= 24 && entropy(v) > 4.3) && letters_only(v)
        || strong && symbols(b)
}

/// A quoted value that no blank divides, of letters, digits and many signs.
fn symbols(b: &Behind<'_>) -> bool {
    let v = b.value;
    let digits = v.iter().filter(|c| c.is_ascii_digit()).count();
    let letters = v.iter().filter(|c| c.is_ascii_alphabetic()).count();
    b.quoted
        && b.operator
        && v.len() >= 16
        && digits >= 2
        && letters >= 4
        && v.len() - digits - letters >= 4
        && !v.iter().any(u8::is_ascii_whitespace)
        && !looks_like_code(v)
        && !identifier(v)
}

fn service_uuid(b: &Behind<'_>) -> bool {
    is_uuid(b.value) && b.operator && b.tight && entropy(b.value) > 2.5
}

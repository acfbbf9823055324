//! Path patterns: `*` within a segment, `**` across segments; without a wildcard a pattern matches itself alone.
//!
//! Matching never backtracks: literal pieces are searched leftmost, which is optimal because a star takes anything. The
//! cost is linear in the path for a given pattern. A pattern's own text can be matched by another pattern, with its
//! wildcards replaced by bytes that UTF-8 never contains; that is the subset check, sound by construction.

use crate::limits;

/// Stands for `*` in [`PathPattern::encoded`]; not a byte of any UTF-8 text.
const ANY_WITHIN: u8 = 0xFF;
/// Stands for a `**` segment in [`PathPattern::encoded`]; not a byte of any UTF-8 text.
const ANY_ACROSS: u8 = 0xFE;

/// Why a text is no path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a path is absolute: it starts with /")]
    NotAbsolute,
    #[error("a path has no empty, `.` or `..` segments and no trailing slash")]
    NotNormalised,
    #[error("a path has no NUL or control characters")]
    ControlCharacter,
    #[error("`**` stands alone between slashes")]
    PartialGlobstar,
    #[error("a path pattern has at most {} bytes", limits::MAX_PATTERN_BYTES)]
    TooLong,
    #[error("between two `**` there are at most {} segments", limits::MAX_INNER_SEGMENTS)]
    InnerTooLong,
}

impl PatternError {
    pub(crate) fn as_malformed(self) -> &'static str {
        match self {
            Self::NotAbsolute => "a path pattern is not absolute",
            Self::NotNormalised => "a path pattern is not normalised",
            Self::ControlCharacter => "a path pattern has a control character",
            Self::PartialGlobstar => "`**` is not alone in its segment",
            Self::TooLong => "a path pattern is too long",
            Self::InnerTooLong => "too many segments between two `**`",
        }
    }
}

/// A compiled pattern over absolute, normalised paths.
///
/// - `*` matches any run of characters, also none, within one segment
/// - `**` as a whole segment matches any number of segments, also none; at the end at least one: `/a/**` is everything
///   below `/a`, not `/a` itself
/// - `[*]` is a literal star; every other character stands for itself
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    head: Vec<Segment>,
    /// Runs of segments, each after a `**`; empty when the pattern has none. The last run ends the path.
    after_globstars: Vec<Vec<Segment>>,
    ends_in_globstar: bool,
    encoded: Vec<u8>,
}

impl PathPattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > limits::MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let body = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if text.chars().any(char::is_control) {
            return Err(PatternError::ControlCharacter);
        }
        let mut pattern = Self {
            head: Vec::new(),
            after_globstars: Vec::new(),
            ends_in_globstar: false,
            encoded: Vec::new(),
        };
        if body.is_empty() {
            pattern.encoded.push(b'/');
            return Ok(pattern);
        }
        for text in body.split('/') {
            pattern.encoded.push(b'/');
            if text == "**" {
                pattern.encoded.push(ANY_ACROSS);
                pattern.ends_in_globstar = true;
                pattern.after_globstars.push(Vec::new());
                continue;
            }
            if matches!(text, "" | "." | "..") {
                return Err(PatternError::NotNormalised);
            }
            let segment = Segment::parse(text)?;
            segment.encode(&mut pattern.encoded);
            pattern.ends_in_globstar = false;
            pattern.after_globstars.last_mut().unwrap_or(&mut pattern.head).push(segment);
        }
        let inner = pattern.after_globstars.len().saturating_sub(1);
        if pattern.after_globstars.iter().take(inner).any(|run| run.len() > limits::MAX_INNER_SEGMENTS) {
            return Err(PatternError::InnerTooLong);
        }
        Ok(pattern)
    }

    /// Whether the pattern matches `path`, which the caller has resolved and normalised.
    pub fn matches(&self, path: &str) -> bool {
        self.matches_bytes(path.as_bytes())
    }

    /// Whether every path that `other` matches is matched by `self`. Sound; where it cannot tell, it says no.
    pub fn covers(&self, other: &Self) -> bool {
        self.matches_bytes(&other.encoded)
    }

    fn matches_bytes(&self, path: &[u8]) -> bool {
        let Some(mut rest) = split_path(path) else { return false };
        for segment in &self.head {
            match rest.next_segment() {
                Some(text) if segment.matches(text) => {}
                _ => return false,
            }
        }
        let Some((last, inner)) = self.after_globstars.split_last() else { return rest.is_empty() };
        for run in inner {
            if !rest.skip_to_run(run) {
                return false;
            }
        }
        if self.ends_in_globstar { !rest.is_empty() } else { rest.ends_with_run(last) }
    }
}

/// The pattern that matches exactly `path`, whatever stars its name contains.
pub fn escape_path(path: &str) -> String {
    path.replace('*', "[*]")
}

/// Absolute, without empty, `.` or `..` segments, trailing slash or NUL.
pub(crate) fn is_normalised(path: &str) -> bool {
    match path.strip_prefix('/') {
        None => false,
        Some("") => true,
        Some(body) => {
            !body.contains('\0') && body.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        }
    }
}

/// One segment's literal pieces; a star stands between each two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pieces: Vec<Vec<u8>>,
}

impl Segment {
    /// Parses a text in which `*` is a wildcard and `[*]` a literal star.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut pieces = vec![Vec::new()];
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("[*]") {
                push_to_last(&mut pieces, b"*");
                rest = after;
            } else if let Some(after) = rest.strip_prefix('*') {
                if after.starts_with('*') {
                    return Err(PatternError::PartialGlobstar);
                }
                pieces.push(Vec::new());
                rest = after;
            } else {
                let (literal, after) = rest.split_at(first.len_utf8());
                push_to_last(&mut pieces, literal.as_bytes());
                rest = after;
            }
        }
        Ok(Self { pieces })
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        // A `**` in the text of another pattern is more than one segment can take.
        if text == [ANY_ACROSS] {
            return false;
        }
        let Some((first, others)) = self.pieces.split_first() else { return text.is_empty() };
        let Some((last, middle)) = others.split_last() else { return text == first.as_slice() };
        let Some(mut rest) = text.strip_prefix(first.as_slice()) else { return false };
        for piece in middle {
            match find(rest, piece) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Writes the segment's own text with its stars as [`ANY_WITHIN`], for another segment to match.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 {
                out.push(ANY_WITHIN);
            }
            out.extend_from_slice(piece);
        }
    }

    /// Whether every text that `other` matches is matched by `self`.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let mut encoded = Vec::new();
        other.encode(&mut encoded);
        self.matches(&encoded)
    }
}

fn push_to_last(pieces: &mut [Vec<u8>], literal: &[u8]) {
    if let Some(last) = pieces.last_mut() {
        last.extend_from_slice(literal);
    }
}

/// What follows the leftmost occurrence of `needle`.
fn find<'a>(haystack: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(haystack, needle).and_then(|at| haystack.get(at + needle.len()..))
}

/// The segments of a path not yet matched, without the slash before them; `None` when all are.
struct Segments<'a>(Option<&'a [u8]>);

fn split_path(path: &[u8]) -> Option<Segments<'_>> {
    let body = path.strip_prefix(b"/")?;
    Some(Segments(if body.is_empty() { None } else { Some(body) }))
}

impl<'a> Segments<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn next_segment(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        match memchr::memchr(b'/', rest) {
            Some(at) => {
                let (segment, after) = rest.split_at(at);
                self.0 = after.get(1..);
                Some(segment)
            }
            None => {
                self.0 = None;
                Some(rest)
            }
        }
    }

    /// Moves past the leftmost place where all of `run` matches.
    fn skip_to_run(&mut self, run: &[Segment]) -> bool {
        loop {
            let mut attempt = Segments(self.0);
            if run.iter().all(|segment| attempt.next_segment().is_some_and(|text| segment.matches(text))) {
                self.0 = attempt.0;
                return true;
            }
            if self.next_segment().is_none() {
                return false;
            }
        }
    }

    /// Whether the last segments are those of `run`.
    fn ends_with_run(&self, run: &[Segment]) -> bool {
        let mut rest = self.0;
        for segment in run.iter().rev() {
            let Some(text) = rest else { return false };
            let (before, last) = match memchr::memrchr(b'/', text) {
                Some(at) => (text.get(..at), text.get(at + 1..).unwrap_or_default()),
                None => (None, text),
            };
            if !segment.matches(last) {
                return false;
            }
            rest = before;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn a_path_without_a_wildcard_matches_itself_alone() {
        let exact = pattern("/workspace/reports");
        assert!(exact.matches("/workspace/reports"));
        for other in ["/workspace", "/workspace/reports/a", "/workspace/report", "/workspace/reports2", "/"] {
            assert!(!exact.matches(other), "{other}");
        }
        assert!(pattern("/").matches("/"));
        assert!(!pattern("/").matches("/a"));
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        let reports = pattern("/workspace/reports/*");
        assert!(reports.matches("/workspace/reports/a.csv"));
        assert!(reports.matches("/workspace/reports/.hidden"));
        assert!(!reports.matches("/workspace/reports"));
        assert!(!reports.matches("/workspace/reports/2024/a.csv"));
        assert!(pattern("/a/*.c*v").matches("/a/x.csv"));
        assert!(pattern("/a/x*").matches("/a/x"));
        assert!(!pattern("/a/x*x").matches("/a/x"));
        assert!(pattern("/a/a*a*a").matches("/a/aaa"));
        assert!(!pattern("/a/a*a*a").matches("/a/aa"));
    }

    #[test]
    fn a_globstar_crosses_segments_and_at_the_end_takes_at_least_one() {
        let below = pattern("/workspace/**");
        assert!(below.matches("/workspace/a"));
        assert!(below.matches("/workspace/a/b/c"));
        assert!(!below.matches("/workspace"));
        assert!(!below.matches("/workspace2/a"));
        let inner = pattern("/a/**/z");
        assert!(inner.matches("/a/z"));
        assert!(inner.matches("/a/b/c/z"));
        assert!(!inner.matches("/a/b/c/zz"));
        let two = pattern("/a/**/m/n/**/*.rs");
        assert!(two.matches("/a/m/n/x.rs"));
        assert!(two.matches("/a/m/m/n/b/x.rs"));
        assert!(!two.matches("/a/m/x/n/b/x.rs"));
    }

    #[test]
    fn a_name_with_a_star_in_it_can_be_granted_alone() {
        let name = "/workspace/[*] a*b [?]";
        let escaped = pattern(&escape_path(name));
        assert!(escaped.matches(name));
        assert!(!escaped.matches("/workspace/[*] axb [?]"));
        assert!(!escaped.matches("/workspace/* a*b [?]"));
    }

    #[test]
    fn what_is_not_a_normalised_absolute_path_is_no_pattern() {
        for (text, error) in [
            ("a", PatternError::NotAbsolute),
            ("", PatternError::NotAbsolute),
            ("/a/", PatternError::NotNormalised),
            ("/a//b", PatternError::NotNormalised),
            ("/a/../b", PatternError::NotNormalised),
            ("/./a", PatternError::NotNormalised),
            ("/a\0", PatternError::ControlCharacter),
            ("/a/b**", PatternError::PartialGlobstar),
            ("/a/***", PatternError::PartialGlobstar),
            ("/**/1/2/3/4/5/6/7/8/9/**", PatternError::InnerTooLong),
        ] {
            assert_eq!(PathPattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_contains_and_nothing_else() {
        for (wide, narrow) in [
            ("/**", "/a"),
            ("/**", "/**"),
            ("/**", "/a/**/b/*"),
            ("/a/**", "/a/*"),
            ("/a/**", "/a/b/**"),
            ("/a/*", "/a/*.csv"),
            ("/a/*.csv", "/a/x*.csv"),
            ("/a/**/b", "/a/*/b"),
            ("/a/**/b", "/a/**/x/b"),
            ("/a/*", "/a/[*]"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} covers {narrow}");
        }
        for (narrow, wide) in [
            ("/a", "/*"),
            ("/a/*", "/a/**"),
            ("/a/*/b", "/a/**/b"),
            ("/a/**", "/a"),
            ("/a/**", "/**"),
            ("/a/*.csv", "/a/*"),
            ("/a/*.csv", "/a/*.cs*"),
            ("/a/**/b", "/a/**"),
            ("/a/[*]", "/a/*"),
        ] {
            assert!(!pattern(narrow).covers(&pattern(wide)), "{narrow} must not cover {wide}");
        }
    }
}

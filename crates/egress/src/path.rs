//! Paths of requests in one spelling, and patterns over them.
//!
//! A rule says `/v1/*`; the server decides by its own reading of the path. So whatever one server reads as another path than
//! the next one does is refused, and the rest has one spelling.

/// Why a path is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathError {
    #[error("the path does not start with a slash")]
    NotAbsolute,
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    #[error("the path leaves its root")]
    AboveRoot,
    #[error("the path has a percent sign without two hexadecimal digits")]
    BadEscape,
    #[error("the path is not UTF-8 once it is decoded")]
    NotUtf8,
    #[error("the path has a control character or a backslash, plain or encoded")]
    Character,
    #[error("the path hides a dot segment behind a second encoding, a parameter or a look-alike")]
    HiddenDots,
}

/// Servers take 8 KiB as a rule; more is refused, for the work of judging grows with it.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// The spelling of `path` that rules see:
///
/// - decoded once: what RFC 3986 lets stand in a path for itself does, but for `;`
/// - the rest is percent-encoded with upper-case digits (`%2F`, `%25`, `%3B`, a space, quotes, other scripts)
/// - `.` and `..` are resolved, runs of slashes are one
///
/// An encoded slash is no separator, since registries name packages with it (`/@scope%2fname`); backslashes, NUL and other
/// control characters are refused in any spelling. So is a segment that some server would read as `.` or `..` (three dots
/// and more, decoded again, cut at `;` or at an encoded slash, mapped from full-width forms).
pub fn normalise(path: &str) -> Result<String, PathError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    let rest = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    let mut segments: Vec<String> = Vec::new();
    // What follows the last slash is part of the path also when it is empty.
    let mut open = true;
    for raw in rest.split('/') {
        let segment = normalise_segment(raw)?;
        open = matches!(segment.as_str(), "" | "." | "..");
        match segment.as_str() {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(PathError::AboveRoot)?;
            }
            _ => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if open {
        out.push('/');
    }
    Ok(out)
}

/// A pattern over normalised paths.
///
/// - `*` matches any run of characters, also none, within one segment
/// - `**` as a segment of its own matches any number of segments, also none
/// - at the very end of the pattern `*` crosses slashes: `/v1/*` is everything below `/v1/`, and `/v1/` itself
/// - everything else stands for itself; letter case counts
///
/// Matching takes no more than pattern times path steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathGlob {
    text: String,
}

impl PathGlob {
    /// A pattern is a path in its normalised spelling, so that none is written that can never match.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Ok(Self { text: normalise(text)? })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a path from [`normalise`] matches.
    pub fn matches(&self, path: &str) -> bool {
        let patterns: Vec<&str> = self.text.split('/').collect();
        let segments: Vec<&str> = path.split('/').collect();
        let (mut p, mut s) = (0, 0);
        let mut any: Option<(usize, usize)> = None;
        loop {
            match (patterns.get(p), segments.get(s)) {
                (None, None) => return true,
                (Some(&"**"), _) if p + 1 < patterns.len() => {
                    any = Some((p, s));
                    p += 1;
                    continue;
                }
                (Some(pattern), Some(segment)) if segment_matches(pattern.as_bytes(), segment.as_bytes()) => {
                    if p + 1 == patterns.len() && pattern.ends_with('*') {
                        return true;
                    }
                    (p, s) = (p + 1, s + 1);
                    continue;
                }
                _ => {}
            }
            let Some((at, taken)) = any.filter(|(_, taken)| *taken < segments.len()) else { return false };
            any = Some((at, taken + 1));
            (p, s) = (at + 1, taken + 1);
        }
    }
}

/// One star takes as little as it can, and one more byte each time that what follows does not fit. A later star never needs
/// an earlier one to take more.
fn segment_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(expected) if expected == byte => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

fn normalise_segment(raw: &str) -> Result<String, PathError> {
    let (decoded, left_over) = decode(raw.as_bytes());
    if left_over {
        return Err(PathError::BadEscape);
    }
    if decoded.iter().any(|b| b.is_ascii_control() || *b == b'\\') {
        return Err(PathError::Character);
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| PathError::NotUtf8)?;
    if !matches!(text, "." | "..") {
        look_for_dots(text)?;
    }
    // A plain semicolon separates parameters for some servers, an encoded one for none: they stay apart.
    let mut out = String::with_capacity(raw.len());
    let mut raw = raw.bytes();
    for byte in decoded {
        let was_plain = raw.next() != Some(b'%');
        if !was_plain {
            raw.nth(1);
        }
        match byte {
            b';' if was_plain => out.push(';'),
            b if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&b) => out.push(char::from(b)),
            _ => escape(&mut out, byte),
        }
    }
    Ok(out)
}

fn escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    for nibble in [byte >> 4, byte & 15] {
        out.push(DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from));
    }
}

/// Percent-decoding once, and whether a percent sign without two digits behind it was left as it is.
fn decode(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(raw.len());
    let mut left_over = false;
    while let Some((byte, rest)) = raw.split_first() {
        let escaped = match (byte, rest) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        left_over |= *byte == b'%' && escaped.is_none();
        out.push(escaped.map_or(*byte, |(high, low)| high << 4 | low));
        raw = escaped.and_then(|_| rest.get(2..)).unwrap_or(rest);
    }
    (out, left_over)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Refuses what a server that decodes more than once, or another way, would take for `.`, `..`, a control character or a
/// backslash.
fn look_for_dots(segment: &str) -> Result<(), PathError> {
    /// Nobody decodes more often; what still holds escapes then is text.
    const MAX_ROUNDS: usize = 4;
    let mut text = segment.to_owned();
    for _ in 0..MAX_ROUNDS {
        text = text.chars().map(look_alike).collect();
        if text.contains(|c: char| c.is_ascii_control() || c == '\\') {
            return Err(PathError::Character);
        }
        let parts = || text.split('/').flat_map(|part| [part, part.split(';').next().unwrap_or(part)]);
        // Three dots and more go up two levels and more where a server is that old.
        let dots = |p: &str| !p.is_empty() && p.bytes().all(|b| b == b'.');
        if parts().any(|p| dots(p.trim_matches(' '))) {
            return Err(PathError::HiddenDots);
        }
        let (bytes, _) = decode(text.as_bytes());
        if bytes == text.as_bytes() {
            return Ok(());
        }
        // Overlong UTF-8 of a dot or a slash is the only reason to send such bytes.
        text = String::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?;
    }
    Ok(())
}

/// Characters that servers with best-fit mappings turn into dots, slashes, backslashes and percent signs, and the two
/// ideographs whose low bytes are CR and LF.
fn look_alike(c: char) -> char {
    match c {
        '\u{2024}' | '\u{ff0e}' | '\u{fe52}' => '.',
        '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{ff0f}' => '/',
        '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}' | '\u{ff3c}' => '\\',
        '\u{ff05}' | '\u{fe6a}' => '%',
        '\u{ff1b}' => ';',
        '\u{560a}' | '\u{560d}' => '\n',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_stars_cross_segments() {
        let matches = |pattern: &str, path: &str| PathGlob::parse(pattern).unwrap().matches(path);
        for path in ["/a/b.git/info", "/b.git/info", "/x/y/z/info", "/info"] {
            assert!(matches("/**/info", path), "{path}");
        }
        assert!(!matches("/**/info", "/a/info/b") && !matches("/**/info", "/a/xinfo"));
        assert!(matches("/a/**/b/**/c", "/a/1/b/b/2/c") && !matches("/a/**/b/**/c", "/a/1/c"));
        assert!(matches("/v1/**", "/v1/a/b") && !matches("/v1/**", "/v1"));
        let many = "/x".repeat(2000);
        assert!(!matches("/**/x/**/x/**/x/**/y", &many));
    }

    #[test]
    fn one_path_has_one_spelling() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/%2e%2E/b", "/b"),
            ("/%61%62", "/ab"),
            ("/a%3ab", "/a:b"),
            ("/a%20b", "/a%20b"),
            ("/@types%2fnode", "/@types%2Fnode"),
            ("/100%25", "/100%25"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/a%3bv=1/b", "/a%3Bv=1/b"),
            ("/a%3f%23", "/a%3F%23"),
            ("/a%22{b}|c", "/a%22%7Bb%7D%7Cc"),
            ("/.git", "/.git"),
            ("/a..b", "/a..b"),
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/", PathError::AboveRoot),
            ("/a%", PathError::BadEscape),
            ("/a%2", PathError::BadEscape),
            ("/a%zz", PathError::BadEscape),
            ("/%u002e%u002e/", PathError::BadEscape),
            ("/a%00", PathError::Character),
            ("/a%0d%0aSet-Cookie:x", PathError::Character),
            ("/a%5c..%5cb", PathError::Character),
            ("/a\\b", PathError::Character),
            ("/a%7f", PathError::Character),
            ("/v1/a%250d", PathError::Character),
            ("/v1/a%255cb", PathError::Character),
            ("/v1/嘊嘍Set-Cookie:x", PathError::Character),
            ("/v1/..%2fadmin", PathError::HiddenDots),
            ("/v1/a%2f..%2f..%2fadmin", PathError::HiddenDots),
            ("/v1/%252e%252e/admin", PathError::HiddenDots),
            ("/v1/%25252e%25252e/admin", PathError::HiddenDots),
            ("/v1/.../admin", PathError::HiddenDots),
            ("/v1/..;/admin", PathError::HiddenDots),
            ("/v1/.;x/admin", PathError::HiddenDots),
            ("/v1/..%3b/admin", PathError::HiddenDots),
            ("/v1/..%20/admin", PathError::HiddenDots),
            ("/v1/%25zz%252f%252e%252e%252fadmin", PathError::HiddenDots),
            ("/v1/．．/admin", PathError::HiddenDots),
            ("/v1/%ef%bc%8e%ef%bc%8e%ef%bc%8fadmin", PathError::HiddenDots),
            ("/v1/%c0%ae%c0%ae/admin", PathError::NotUtf8),
            ("/v1/%25c0%25ae/admin", PathError::NotUtf8),
        ] {
            assert_eq!(normalise(path), Err(error), "{path}");
        }
        assert_eq!(normalise(&"/a".repeat(5000)), Err(PathError::TooLong));
    }

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, path, matches) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/*", "/", true),
            ("/*", "/a/b/c", true),
            ("/v1/*", "/v1/", true),
            ("/v1/*", "/v1/a/b", true),
            ("/v1/*", "/v1", false),
            ("/v1/*", "/v10/a", false),
            ("/v1/*", "/V1/a", false),
            ("/v1*", "/v1beta/x", true),
            ("/repos/*/*/issues", "/repos/a/b/issues", true),
            ("/repos/*/*/issues", "/repos/a/b/c/issues", false),
            ("/repos/*/issues", "/repos/a/issues/1", false),
            ("/a*b*", "/axb/c", true),
            ("/a*b*", "/ax/b", false),
            ("/a*b", "/ab", true),
            ("/a*b", "/abab", true),
            ("/a*b", "/aba", false),
            ("/@types%2f*", "/@types%2Fnode", true),
        ] {
            assert_eq!(PathGlob::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        assert!(PathGlob::parse("v1/*").is_err());
        assert!(PathGlob::parse("/v1/../*/../../x").is_err());
    }

    proptest! {
        #[test]
        fn a_normal_path_is_its_own_and_has_no_dots(path in "/([a-z.%/;\\\\*é]|%2[ef5F]|%3b|%5c|%c3%a9){0,24}") {
            if let Ok(normal) = normalise(&path) {
                prop_assert_eq!(normalise(&normal), Ok(normal.clone()));
                prop_assert!(!normal.split('/').any(|s| s == "." || s == ".."));
                prop_assert!(!normal.contains("//"));
                prop_assert!(PathGlob::parse(&path).is_ok_and(|g| g.matches(&normal)));
            }
        }
    }
}

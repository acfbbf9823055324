//! Addresses in CSS: `url(…)`, `@import`, `image-set(…)`, with escapes and comments as browsers take them.

use std::collections::BTreeSet;

pub(super) fn addresses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // A comment mark in a string is none, so the text is read with and without.
    for text in [unescaped(&without_comments(text)), unescaped(text)] {
        collect(&text, &mut found);
    }
    found
}

fn collect(text: &str, found: &mut BTreeSet<String>) {
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower.match_indices("url(") {
        let rest = text.get(at + 4..).unwrap_or_default().trim_start();
        let end = rest.find([')', '\n']).unwrap_or(rest.len());
        found.insert(rest.get(..end).unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned());
    }
    // Each mark by itself: which of two opens a text depends on what stands before, and may be meant to mislead.
    for (at, mark) in text.match_indices(['"', '\'']) {
        let inner = text.get(at + 1..).unwrap_or_default();
        let end = inner.find(|c| mark.starts_with(c) || c == '\n').unwrap_or(inner.len());
        let before = text.get(..at).unwrap_or_default().trim_end();
        let is_shown = before.len() >= 8
            && before.get(before.len() - 8..).is_some_and(|b| b.eq_ignore_ascii_case("content:"));
        if !is_shown {
            found.insert(inner.get(..end).unwrap_or_default().trim().to_owned());
        }
    }
}

fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        plain.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at + 2..).unwrap_or_default();
        rest = after.find("*/").and_then(|end| after.get(end + 2..)).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let mut code = String::new();
        while code.len() < 6 && rest.peek().is_some_and(char::is_ascii_hexdigit) {
            code.extend(rest.next());
        }
        if code.is_empty() {
            // A line break that is escaped is none.
            plain.extend(rest.next().filter(|c| *c != '\n'));
        } else {
            plain.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            rest.next_if(|c| c.is_ascii_whitespace());
        }
    }
    plain
}

//! reStructuredText, AsciiDoc, Org and wikis: their images, by pattern.

use std::sync::OnceLock;

use regex_automata::meta::Regex;

use super::html;
use super::sink::Sink;

pub(super) fn scan(document: &[u8], sink: &mut Sink) {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let build = || {
        Regex::new_many(&[
            r"(?im)^[ \t]*\.\.[ \t](?:\|[^|\n]*\|[ \t])?(?:image|figure|raw|include|literalinclude)::[ \t]*((?:[a-z]+:)?//\S+)",
            r"(?im)^[ \t]*:(?:url|file):[ \t]*((?:[a-z]+:)?//\S+)",
            r"(?i)\b(?:image|include|video|audio)::?((?:[a-z]+:)?//[^\s\[]+)\[",
            r"(?im)^[ \t]*#\+(?:include|setupfile|html_head|options):.*?((?:https?:)?//[^\s\x22>]+)",
            r"(?i)!((?:https?:)?//[^\s!]+)!",
            r"(?i)\[\[((?:https?:)?//[^\]\s]+\.(?:png|jpe?g|gif|svg|webp)[^\]\s]*)\]\]",
        ])
        .ok()
    };
    // The patterns are constants; the test below builds them.
    let Some(pattern) = PATTERN.get_or_init(build) else {
        sink.reach.unseen = true;
        return;
    };
    for found in pattern.captures_iter(document) {
        let span = found.get_group(1);
        if let Some(address) = span.and_then(|span| document.get(span.start..span.end)) {
            sink.address(&String::from_utf8_lossy(address));
        }
    }
    html::scan(&crate::plain::text(document), sink);
}

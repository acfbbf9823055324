//! Markdown by a CommonMark parser, and the HTML in it.

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::html;
use super::sink::Sink;

/// Viewers differ in their extensions, so it is read with none and with all.
pub(super) fn scan(text: &str, sink: &mut Sink) {
    for options in [Options::empty(), Options::all()] {
        let mut inner = String::new();
        for event in Parser::new_ext(text, options) {
            match event {
                Event::Start(Tag::Image { dest_url, .. }) => sink.address(&dest_url),
                Event::Start(Tag::Link { dest_url, .. }) => sink.link(&dest_url),
                Event::Html(markup) | Event::InlineHtml(markup) => inner.push_str(&markup),
                _ => {}
            }
        }
        html::scan(&inner, sink);
    }
}

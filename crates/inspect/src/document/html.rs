//! HTML by the WHATWG tokenizer.

use html5gum::Tokenizer;
use html5gum::emitters::default::{DefaultEmitter, Token};

use super::sink::Sink;

/// Inside SVG and MathML a browser reads tags where HTML has only text (`style`, `title`), and a tokenizer does not know where it
/// is. So the text is read both ways, and what either finds counts.
pub(super) fn scan(text: &str, sink: &mut Sink) {
    for switches in [true, false] {
        tokens(text, switches, sink);
    }
}

fn tokens(text: &str, switches: bool, sink: &mut Sink) {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(switches);
    // What stands in the element that is open: a style, or a script by its content.
    let mut open: Option<(&'static str, String)> = None;
    for Ok(token) in Tokenizer::new_with_emitter(text, emitter) {
        match token {
            Token::StartTag(tag) => {
                let name = lower(&tag.name);
                let attributes: Vec<(String, String)> = tag
                    .attributes
                    .iter()
                    .map(|(key, value)| {
                        (local(&lower(key)).to_owned(), String::from_utf8_lossy(value).into_owned())
                    })
                    .collect();
                let name = local(&name);
                sink.element(name, &attributes);
                match name {
                    "style" => close(open.replace(("style", String::new())), sink),
                    "script" if switches => close(open.replace(("script", String::new())), sink),
                    _ => {}
                }
            }
            Token::String(string) => {
                if let Some((_, text)) = &mut open {
                    text.push_str(&String::from_utf8_lossy(&string));
                }
            }
            Token::EndTag(tag) => {
                let name = lower(&tag.name);
                if matches!(local(&name), "style" | "script") {
                    close(open.take(), sink);
                }
            }
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    close(open, sink);
}

fn close(open: Option<(&'static str, String)>, sink: &mut Sink) {
    match open {
        Some(("style", text)) => sink.css(&text),
        Some((what, text)) if !text.trim().is_empty() && has_script(sink) => sink.active(what, &text),
        _ => {}
    }
}

/// A script that only holds data was not counted, and neither is its text.
fn has_script(sink: &Sink) -> bool {
    sink.reach.active.iter().any(|found| found.starts_with("script "))
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase()
}

fn local(name: &str) -> &str {
    match name.split_once(':') {
        Some(("xmlns", _)) => "content",
        Some((_, local)) => local,
        None if name == "xmlns" => "content",
        None => name,
    }
}

//! SVG, XHTML and other XML: elements as in a page, style sheets, document types and the entities that they declare.

use std::collections::HashMap;
use std::io::Read;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::html;
use super::sink::Sink;

/// Namespaces whose elements a viewer acts on.
const SHOWN: &[&str] = &[
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/1999/xsl/transform",
    "http://www.w3.org/1999/xlink",
    "http://www.mozilla.org/keymaster/gatekeeper",
];
/// Bytes that entities may expand to, and how deep they may stand in each other.
const EXPANDED: usize = 1 << 20;
const DEEPEST: usize = 6;
/// Publishers of document types that name a format and that no viewer fetches.
const FORMATS: &[&str] = &[
    "www.w3.org",
    "www.apple.com",
    "java.sun.com",
    "xml.apache.org",
    "docs.oasis-open.org",
    "www.oasis-open.org",
    "ibatis.apache.org",
    "mybatis.org",
    "hibernate.org",
    "www.hibernate.org",
    "www.springframework.org",
    "struts.apache.org",
    "logging.apache.org",
    "checkstyle.org",
    "www.puppycrawl.com",
];

struct Entities {
    values: HashMap<String, String>,
    left: usize,
}

/// `shown`: a viewer acts on elements whatever their namespace is.
pub(super) fn scan(text: &str, shown: bool, sink: &mut Sink) {
    let mut entities = Entities { values: HashMap::new(), left: EXPANDED };
    let shown = shown || declares_shown(text);
    if read(text, shown, &mut entities, 0, sink).is_err() {
        // A browser stops at the fault; a viewer that takes it for HTML goes on.
        html::scan(text, sink);
    }
}

/// An SVG in gzip.
pub(super) fn compressed(bytes: &[u8], sink: &mut Sink) {
    let mut plain = Vec::new();
    let read =
        flate2::read::MultiGzDecoder::new(bytes).take(super::reach::MOST as u64 + 1).read_to_end(&mut plain);
    if read.is_err() || plain.len() > super::reach::MOST {
        sink.reach.unseen = true;
    }
    scan(&crate::plain::text(&plain), true, sink);
}

fn declares_shown(text: &str) -> bool {
    let lower = text.to_lowercase();
    // An entity may stand for a namespace, and a character reference for any letter of one.
    SHOWN.iter().any(|namespace| lower.contains(namespace))
        || lower.contains("xmlns") && (lower.contains("&#") || lower.contains("<!entity"))
}

fn read(
    text: &str,
    shown: bool,
    entities: &mut Entities,
    depth: usize,
    sink: &mut Sink,
) -> Result<(), quick_xml::Error> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut style: Option<String> = None;
    let mut script: Option<String> = None;
    loop {
        match reader.read_event()? {
            Event::Start(element) => {
                let name = begin(&element, shown, entities, sink);
                match name.as_str() {
                    "style" if shown => style = Some(String::new()),
                    "script" if shown => script = Some(String::new()),
                    _ => {}
                }
            }
            Event::Empty(element) => drop(begin(&element, shown, entities, sink)),
            Event::End(_) => {
                if let Some(text) = style.take() {
                    sink.css(&text);
                }
                if let Some(text) = script.take().filter(|text| !text.trim().is_empty()) {
                    sink.active("script", &text);
                }
            }
            Event::Text(text) => push(&mut style, &mut script, &String::from_utf8_lossy(&text)),
            Event::CData(text) => push(&mut style, &mut script, &String::from_utf8_lossy(&text)),
            Event::GeneralRef(reference) => {
                let name = String::from_utf8_lossy(&reference).into_owned();
                let value = match reference.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    _ => entities.values.get(&name).cloned().unwrap_or_default(),
                };
                push(&mut style, &mut script, &value);
                if value.contains('<') {
                    expand(&value, shown, entities, depth, sink);
                }
            }
            Event::DocType(declaration) => doctype(&String::from_utf8_lossy(&declaration), entities, sink),
            Event::PI(instruction) => processing(&String::from_utf8_lossy(&instruction), sink),
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof => return Ok(()),
        }
    }
}

fn push(style: &mut Option<String>, script: &mut Option<String>, text: &str) {
    for open in [style, script].into_iter().flatten() {
        open.push_str(text);
    }
}

fn expand(value: &str, shown: bool, entities: &mut Entities, depth: usize, sink: &mut Sink) {
    if depth >= DEEPEST || value.len() > entities.left {
        sink.reach.unseen = true;
        return;
    }
    entities.left -= value.len();
    if read(value, shown, entities, depth + 1, sink).is_err() {
        sink.reach.unseen = true;
    }
}

fn begin(element: &BytesStart<'_>, shown: bool, entities: &mut Entities, sink: &mut Sink) -> String {
    let name = String::from_utf8_lossy(element.local_name().as_ref()).to_lowercase();
    let mut attributes = Vec::new();
    for attribute in element.attributes().with_checks(false).flatten() {
        let raw = String::from_utf8_lossy(attribute.key.as_ref()).to_lowercase();
        let key = match raw.split_once(':') {
            Some(("xmlns", _)) => continue,
            Some((_, local)) => local.to_owned(),
            None if raw == "xmlns" => continue,
            None => raw,
        };
        attributes.push((key, value(&String::from_utf8_lossy(&attribute.value), entities, 0, sink)));
    }
    if name == "relationship" {
        relationship(&attributes, sink);
    } else if shown {
        sink.element(&name, &attributes);
    }
    name
}

/// The value of an attribute with its references resolved.
fn value(raw: &str, entities: &mut Entities, depth: usize, sink: &mut Sink) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        plain.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at + 1..).unwrap_or_default();
        let Some(end) = after.find(';') else {
            rest = rest.get(at..).unwrap_or_default();
            break;
        };
        let name = after.get(..end).unwrap_or_default();
        rest = after.get(end + 1..).unwrap_or_default();
        let number = name.strip_prefix('#').and_then(|n| match n.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => n.parse().ok(),
        });
        match (number.and_then(char::from_u32), name) {
            (Some(c), _) => plain.push(c),
            (None, "amp") => plain.push('&'),
            (None, "lt") => plain.push('<'),
            (None, "gt") => plain.push('>'),
            (None, "quot") => plain.push('"'),
            (None, "apos") => plain.push('\''),
            (None, name) => {
                let inner = entities.values.get(name).cloned().unwrap_or_default();
                if depth >= DEEPEST || inner.len() > entities.left {
                    sink.reach.unseen = true;
                    continue;
                }
                entities.left -= inner.len();
                plain.push_str(&value(&inner, entities, depth + 1, sink));
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// A relationship of a package of Office in one flat file, or in a part of its own.
pub(super) fn relationship(attributes: &[(String, String)], sink: &mut Sink) {
    let get = |of: &str| attributes.iter().find(|(n, _)| n == of).map_or("", |(_, value)| value.as_str());
    let kind = get("type").to_lowercase();
    let (target, kind) = (get("target"), kind.rsplit('/').next().unwrap_or_default());
    // A link that somebody has to follow.
    if kind == "hyperlink" {
        sink.link(target);
    } else if get("targetmode").eq_ignore_ascii_case("external")
        || target.contains("//")
        || target.contains("\\\\")
    {
        sink.address(target);
    }
}

fn processing(instruction: &str, sink: &mut Sink) {
    let Some(rest) = instruction.trim_start().strip_prefix("xml-stylesheet") else { return };
    let lower = rest.to_lowercase();
    let Some(at) = lower.find("href") else { return };
    let after = rest.get(at + 4..).unwrap_or_default().trim_start().trim_start_matches('=').trim_start();
    let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return };
    let address = after.get(1..).unwrap_or_default().split(quote).next().unwrap_or_default();
    let mut entities = Entities { values: HashMap::new(), left: EXPANDED };
    let address = value(address, &mut entities, 0, sink);
    if lower.contains("xsl") && !lower.contains("text/css") && address.starts_with('#') {
        sink.active("xslt", instruction);
    }
    sink.address(&address);
}

/// Its own address, and its entities: those of elsewhere are fetched, those of this machine read.
fn doctype(declaration: &str, entities: &mut Entities, sink: &mut Sink) {
    let inner = declaration.find('[').map_or("", |at| declaration.get(at + 1..).unwrap_or_default());
    let head = declaration.get(..declaration.len() - inner.len()).unwrap_or(declaration);
    external(&words(head), sink);
    for part in inner.split("<!ENTITY").skip(1) {
        let words = words(part);
        let mut words = words.iter().map(String::as_str).skip_while(|w| *w == "%");
        let Some(name) = words.next() else { continue };
        let rest: Vec<String> = words.map(str::to_owned).collect();
        match rest.first().map(String::as_str) {
            Some("SYSTEM" | "PUBLIC") => {
                external(&rest, sink);
                sink.active("entity", part.split('>').next().unwrap_or_default());
            }
            Some(value) => {
                let value = crate::document::xml::value(value, entities, 0, sink);
                entities.values.insert(name.to_owned(), value);
            }
            None => {}
        }
    }
}

/// The address behind `SYSTEM`, or the second one behind `PUBLIC`.
fn external(words: &[String], sink: &mut Sink) {
    let Some(at) = words.iter().position(|w| w == "SYSTEM" || w == "PUBLIC") else { return };
    let skip = if words.get(at).is_some_and(|w| w == "PUBLIC") { 2 } else { 1 };
    let Some(address) = words.get(at + skip) else { return };
    let host =
        url::Url::parse(address).ok().and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_default();
    if !FORMATS.contains(&host.as_str()) {
        sink.address(address);
    }
}

/// Words and quoted texts, up to the `>` that ends the declaration.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '>' || first == '[' {
            break;
        }
        if matches!(first, '"' | '\'') {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find(first).unwrap_or(inner.len());
            found.push(inner.get(..end).unwrap_or_default().to_owned());
            rest = inner.get((end + 1).min(inner.len())..).unwrap_or_default();
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '>' | '['))
                .unwrap_or(rest.len());
            found.push(rest.get(..end).unwrap_or_default().to_owned());
            rest = rest.get(end..).unwrap_or_default();
        }
        rest = rest.trim_start();
    }
    found
}

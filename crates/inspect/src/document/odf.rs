//! OpenDocument: what a text, a table or a drawing links into itself.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::sink::Sink;
use crate::doctype::names_nothing_elsewhere;

/// Elements that run, or show a program or a page of elsewhere.
const ACTIVE: &[&str] = &[
    "event-listener",
    "dde-source",
    "dde-link",
    "dde-connection-decl",
    "applet",
    "plugin",
    "floating-frame",
    "script",
    "object-ole",
];

/// One part: `content.xml`, `styles.xml`, `settings.xml`, or all of them in one file.
pub(super) fn scan(text: &str, sink: &mut Sink) {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => begin(&element, sink),
            Ok(Event::DocType(declaration)) if names_nothing_elsewhere(&declaration) => {}
            // No entity is needed in one, and it could stand for anything.
            Ok(Event::DocType(_)) | Err(_) => {
                sink.reach.unseen = true;
                return;
            }
            Ok(Event::Eof) => return,
            Ok(_) => {}
        }
    }
}

fn begin(element: &BytesStart<'_>, sink: &mut Sink) {
    let local = String::from_utf8_lossy(element.local_name().as_ref()).to_lowercase();
    let mut runs = ACTIVE.contains(&local.as_str());
    for attribute in element.attributes().with_checks(false).flatten() {
        let key = String::from_utf8_lossy(attribute.key.local_name().as_ref()).to_lowercase();
        let Ok(value) = attribute.unescape_value() else {
            sink.reach.unseen = true;
            continue;
        };
        match key.as_str() {
            "href" if local == "a" => sink.link(&value),
            "href" => sink.address(&value),
            "macro-name" => runs |= !value.is_empty(),
            "formula" | "condition" | "content-validation-name" if crate::workbook::reaches_out(&value) => {
                sink.active("formula", &value);
            }
            _ => {}
        }
    }
    // An object that came with the document, beside its picture, runs nothing by itself.
    if local == "object-ole" {
        runs = false;
    }
    if runs {
        sink.active(&local, &String::from_utf8_lossy(element));
    }
}

//! RTF: templates, fields that include or start something, objects that are renewed.

use super::sink::Sink;
use crate::rtf::{self, Event};

/// Groups that may stand in each other; a deeper one is not followed.
const DEEPEST: usize = 256;
/// Destinations whose text is an address or a field.
const READ: &[&str] = &[
    "template",
    "fldinst",
    "nextfile",
    "file",
    "datafield",
    "mmquery",
    "mmconnectstr",
    "mmodsoudldata",
    "xmlopen",
    "includepicture",
    "hlsrc",
    "hlfr",
    "object",
];
/// Fields that fetch what they name.
const INCLUDES: &[&str] =
    &["includepicture", "includetext", "import", "include", "rd", "database", "autotext"];
/// Fields and words that start another program, or renew an object without being asked.
const FIELDS: &[&str] = &["dde", "ddeauto", "link", "embed", "macrobutton", "hlinkauto"];
const WORDS: &[&str] =
    &["objupdate", "objautlink", "objlink", "objdata", "objocx", "objsub", "mmreltype", "htmlbase"];

#[derive(Default)]
struct Group {
    destination: Option<&'static str>,
    text: String,
    /// Characters that stand for a `\u` character in programs that do not know it.
    skips: usize,
}

pub(super) fn scan(bytes: &[u8], sink: &mut Sink) {
    let mut groups = vec![Group { skips: 1, ..Group::default() }];
    let mut to_skip = 0usize;
    rtf::events(bytes, &mut |event| match event {
        Event::Open if groups.len() >= DEEPEST => sink.reach.unseen = true,
        Event::Open => {
            let skips = groups.last().map_or(1, |group| group.skips);
            groups.push(Group { skips, ..Group::default() });
        }
        Event::Close => {
            close(&mut groups, sink);
            if groups.is_empty() {
                groups.push(Group { skips: 1, ..Group::default() });
            }
        }
        Event::Byte(_) | Event::Symbol(b'\'') if to_skip > 0 => to_skip -= 1,
        Event::Byte(byte) => {
            if let Some(group) = groups.last_mut() {
                group.text.push(char::from(byte));
            }
        }
        Event::Word(word, number) => {
            if let Some(group) = groups.last_mut() {
                control(word, number, group, &mut to_skip, sink);
            }
        }
        Event::Symbol(_) | Event::Binary(_) => {}
    });
    while !groups.is_empty() {
        close(&mut groups, sink);
    }
}

/// Ends the innermost group; its text is also that of the destination around it.
fn close(groups: &mut Vec<Group>, sink: &mut Sink) {
    let Some(group) = groups.pop() else { return };
    end(&group, sink);
    if let Some(outer) = groups.last_mut() {
        outer.text.push_str(&group.text);
    }
}

fn control(word: &[u8], parameter: i64, group: &mut Group, to_skip: &mut usize, sink: &mut Sink) {
    let word = String::from_utf8_lossy(word).to_ascii_lowercase();
    match word.as_str() {
        "uc" => group.skips = usize::try_from(parameter).unwrap_or(1),
        "u" => {
            let code = u32::try_from(parameter.rem_euclid(65_536)).unwrap_or(0);
            group.text.extend(char::from_u32(code));
            *to_skip = group.skips;
        }
        "tab" | "par" | "line" => group.text.push(' '),
        word if WORDS.contains(&word) => sink.active("object", word),
        word => {
            if let Some(known) = READ.iter().find(|known| **known == word) {
                group.destination = Some(known);
            }
        }
    }
}

fn end(group: &Group, sink: &mut Sink) {
    let Some(destination) = group.destination else { return };
    let text = group.text.trim();
    if destination != "fldinst" {
        return text.split_whitespace().for_each(|word| sink.address(word.trim_matches('"')));
    }
    field(text, sink);
}

/// The instruction of a field, as Word has it: `INCLUDEPICTURE "http://…" \d`.
pub(super) fn field(text: &str, sink: &mut Sink) {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let has = |known: &[&str]| words.iter().take(64).any(|word| known.contains(word));
    if has(&["hyperlink"]) && !has(INCLUDES) && words.first().is_some_and(|first| *first == "hyperlink") {
        return text.split_whitespace().for_each(|word| sink.link(word.trim_matches('"')));
    }
    if words.first().is_some_and(|first| FIELDS.contains(first)) || has(&["ddeauto"]) {
        sink.active("field", text);
    }
    if has(INCLUDES) || has(FIELDS) {
        for address in text.split(|c: char| c.is_whitespace() || c == '"') {
            // In a field a backslash stands before a backslash.
            sink.address(&address.replace("\\\\", "\\"));
            sink.address(address);
        }
    }
}

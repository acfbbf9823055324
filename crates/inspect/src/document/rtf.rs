//! RTF: templates, fields that include or start something, objects that are renewed.

use super::sink::Sink;

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
    let mut rest = bytes;
    let mut to_skip = 0usize;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'{' if groups.len() >= DEEPEST => sink.reach.unseen = true,
            b'{' => {
                let skips = groups.last().map_or(1, |group| group.skips);
                groups.push(Group { skips, ..Group::default() });
            }
            b'}' => {
                if let Some(group) = groups.pop() {
                    end(&group, sink);
                    // The text of an inner group is also that of the destination around it.
                    if let Some(outer) = groups.last_mut() {
                        outer.text.push_str(&group.text);
                    }
                }
                if groups.is_empty() {
                    groups.push(Group { skips: 1, ..Group::default() });
                }
            }
            b'\\' => rest = control(rest, &mut groups, &mut to_skip, sink),
            b'\r' | b'\n' => {}
            _ if to_skip > 0 => to_skip -= 1,
            byte => {
                if let Some(group) = groups.last_mut() {
                    group.text.push(char::from(*byte));
                }
            }
        }
    }
    while let Some(group) = groups.pop() {
        end(&group, sink);
        if let Some(outer) = groups.last_mut() {
            outer.text.push_str(&group.text);
        }
    }
}

/// A control word or symbol; what comes after it.
fn control<'b>(rest: &'b [u8], groups: &mut [Group], to_skip: &mut usize, sink: &mut Sink) -> &'b [u8] {
    let Some(group) = groups.last_mut() else { return rest };
    let letters = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    if letters == 0 {
        return symbol(rest, group, to_skip);
    }
    let word = rest.get(..letters).unwrap_or_default().to_ascii_lowercase();
    let after = rest.get(letters..).unwrap_or_default();
    let number =
        after.iter().enumerate().take_while(|(i, b)| b.is_ascii_digit() || *i == 0 && **b == b'-').count();
    let parameter: i64 = after
        .get(..number)
        .and_then(|n| std::str::from_utf8(n).ok())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut after = after.get(number..).unwrap_or_default();
    after = after.strip_prefix(b" ").unwrap_or(after);
    let word = String::from_utf8_lossy(&word).into_owned();
    match word.as_str() {
        "bin" => return after.get(usize::try_from(parameter).unwrap_or(0)..).unwrap_or_default(),
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
    after
}

fn symbol<'b>(rest: &'b [u8], group: &mut Group, to_skip: &mut usize) -> &'b [u8] {
    let Some((first, after)) = rest.split_first() else { return rest };
    match first {
        b'\'' => {
            let code = after
                .get(..2)
                .and_then(|pair| std::str::from_utf8(pair).ok())
                .and_then(|pair| u8::from_str_radix(pair, 16).ok());
            if *to_skip > 0 {
                *to_skip -= 1;
            } else if let Some(byte) = code {
                group.text.push(char::from(byte));
            }
            after.get(2..).unwrap_or_default()
        }
        b'\\' | b'{' | b'}' => {
            group.text.push(char::from(*first));
            after
        }
        _ => after,
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
